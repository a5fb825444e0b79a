#include "worker/run/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/limits.h"
#include "core/log.h"
#include "worker/run/run_internal.h"

#define TICK_MS 100
#define POLL_MS 1000
#define RECLAIM_MS 1000
#define LOG_WAIT_MS 60000
#define SETTLE_DRAIN_MS 2000
#define SWEEP_MS 10000
#define DRAIN_SLACK_MS 10000
#define PENDING_ATTEMPTS 16 // beyond two a slot: ended attempts whose logs and ends the store has yet to take

uint64_t ty_run_jitter(struct ty_run *run, uint64_t ms)
{
    return ms - ms / 4 + (uint64_t)rand_r(&run->seed) % (ms / 2 + 1);
}

static void destroy(struct ty_run *run);

void ty_run_hold(struct ty_run *run)
{
    run->calls++;
}

bool ty_run_release(struct ty_run *run)
{
    bool goes_on = !run->freed;
    if (--run->calls == 0 && run->freed)
        destroy(run);
    return goes_on;
}

// ---- ticks ----

static bool wants_ticks(const struct ty_attempt *attempt)
{
    return attempt->state == TY_ATTEMPT_RUNNING || attempt->state == TY_ATTEMPT_SHIPPING ||
           attempt->state == TY_ATTEMPT_LEAVING;
}

// One timer for all attempts; looking at one costs a few loads from its mapped control file.
static void on_tick(void *context)
{
    struct ty_run *run = context;
    bool more = false;
    for (struct ty_attempt *attempt = run->attempts, *next; attempt; attempt = next) {
        next = attempt->next;
        more = more || wants_ticks(attempt);
        ty_attempt_tick(attempt);
    }
    if (more)
        ty_loop_set_timer(run->loop, &run->tick_timer, TICK_MS, on_tick, run);
}

static void start_ticks(struct ty_run *run)
{
    if (!run->tick_timer.index)
        ty_loop_set_timer(run->loop, &run->tick_timer, TICK_MS, on_tick, run);
}

static void claim(struct ty_run *run)
{
    if (run->claim)
        ty_claim_wake(run->claim);
    ty_null_runner_wake(run);
}

static void on_poll(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->poll_timer, ty_run_jitter(run, POLL_MS), on_poll, run);
    claim(run);
}

static void on_reclaimed(void *context, const struct ty_err *err, unsigned count)
{
    struct ty_run *run = context;
    run->reclaims--;
    if (ty_run_release(run) && !err && count)
        ty_log(TY_LOG_INFO, "lease.reclaimed", TY_KV("count", "%u", count));
}

static void on_reclaim(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->reclaim_timer, ty_run_jitter(run, RECLAIM_MS), on_reclaim, run);
    if (!run->up || run->reclaims)
        return;
    ty_lease_renew_due(run); // first: a worker that stood still does not take its own attempts' leases
    run->reclaims = ty_state_shards(run->state);
    for (unsigned shard = 0; shard < ty_state_shards(run->state); shard++) {
        ty_run_hold(run);
        ty_state_reclaim(run->state, shard, run->options.lease_ms, on_reclaimed, run);
    }
}

// ---- claiming for the runner process ----

static unsigned room(void *context)
{
    const struct ty_run *run = context;
    unsigned slots = run->options.slots, most = 2 * slots + PENDING_ATTEMPTS;
    unsigned attempts = run->attempt_count - run->settling; // what waits for Kafka only holds nothing up
    if (run->busy >= slots || attempts >= most)
        return 0;
    unsigned free_slots = slots - run->busy, free_attempts = most - attempts;
    return free_slots < free_attempts ? free_slots : free_attempts;
}

static void take(void *context, const struct ty_token *token, unsigned shard, uint64_t sent_ns,
                 const struct ty_claimed *jobs, size_t count)
{
    struct ty_run *run = context;
    (void)shard; // follows from the id
    for (size_t i = 0; i < count; i++)
        ty_attempt_start(run, token, sent_ns, &jobs[i]);
    start_ticks(run);
}

// ---- start ----

static int resolve(const char *label, char **path, bool is_program, struct ty_err *err)
{
    struct stat st;
    char *real = realpath(*path, NULL);
    if (!real)
        return ty_err_set(err, TY_EINVALID, "%s %s: %s", label, *path, strerror(errno));
    free(*path);
    *path = real;
    if (stat(real, &st) < 0)
        return ty_err_set(err, TY_EINVALID, "%s %s: %s", label, real, strerror(errno));
    if (is_program ? !S_ISREG(st.st_mode) || access(real, X_OK) < 0 : !S_ISDIR(st.st_mode))
        return ty_err_set(err, TY_EINVALID, "%s %s: is no %s", label, real, is_program ? "program" : "directory");
    return 0;
}

// With its parents.
static int make_dir(const char *path, struct ty_err *err)
{
    char *copy TY_FREE = ty_xstrdup(path);
    for (char *at = *copy ? strchr(copy + 1, '/') : NULL; at; *at = '/', at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(copy, 0755) < 0 && errno != EEXIST)
            return ty_err_set(err, TY_EINVALID, "work directory %s: %s", copy, strerror(errno));
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return ty_err_set(err, TY_EINVALID, "work directory %s: %s", path, strerror(errno));
    return 0;
}

static int open_work_dir(struct ty_run *run, struct ty_err *err)
{
    if (make_dir(run->options.work_dir, err) < 0 ||
        resolve("work directory", (char **)&run->options.work_dir, false, err) < 0)
        return -(int)err->code;
    char *lock TY_FREE = ty_xasprintf("%s/lock", run->options.work_dir);
    run->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (run->lock_fd < 0)
        return ty_err_set(err, TY_EINVALID, "work directory: %s: %s", lock, strerror(errno));
    if (flock(run->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return ty_err_set(err, TY_EEXISTS, "another worker has the work directory %s", run->options.work_dir);
    run->jobs_dir = ty_xasprintf("%s/jobs", run->options.work_dir);
    run->trash_dir = ty_xasprintf("%s/trash", run->options.work_dir);
    return make_dir(run->jobs_dir, err) < 0 || make_dir(run->trash_dir, err) < 0 ? -(int)err->code : 0;
}

static bool is_served(const struct ty_run_options *options, const char *key)
{
    if (!options->containers)
        return true;
    for (char **at = options->containers; *at; at++)
        if (!strcmp(*at, key))
            return true;
    return false;
}

static int choose_pools(struct ty_run *run, struct ty_err *err)
{
    size_t count = ty_catalog_container_count(run->catalog);
    run->pools = ty_xcalloc(count + 1, sizeof *run->pools);
    run->null_pools = ty_xcalloc(count + 1, sizeof *run->null_pools);
    for (char **at = run->options.containers; at && *at; at++) {
        const struct ty_container *container = **at ? ty_catalog_container(run->catalog, *at) : NULL;
        if (!container)
            return ty_err_set(err, TY_EINVALID, "container \"%s\" is not in the catalogue", *at);
        if (container->runner == TY_RUNNER_CONTAINER)
            return ty_err_set(err, TY_EINVALID, "container \"%s\": this worker cannot run containers", *at);
    }
    for (size_t i = 0; i < count; i++) {
        const struct ty_container *container = ty_catalog_container_at(run->catalog, i);
        if (!is_served(&run->options, container->key))
            continue;
        if (container->runner == TY_RUNNER_PROCESS)
            run->pools[run->pool_count++] = container->key;
        else if (container->runner == TY_RUNNER_NULL)
            run->null_pools[run->null_pool_count++] = container->key;
    }
    return 0;
}

static void copy_options(struct ty_run *run, const struct ty_run_options *options)
{
    size_t count = 0;
    run->options = *options;
    if (!run->options.log_wait_ms)
        run->options.log_wait_ms = LOG_WAIT_MS;
    if (!run->options.sweep_ms)
        run->options.sweep_ms = SWEEP_MS;
    if (!run->options.stderr_level)
        run->options.stderr_level = "info";
    run->options.worker = ty_xstrdup(options->worker);
    run->options.work_dir = ty_xstrdup(options->work_dir);
    run->options.store_dir = ty_xstrdup(options->store_dir);
    run->options.exec_path = ty_xstrdup(options->exec_path);
    run->options.stage_path = ty_xstrdup(options->stage_path);
    if (!options->containers)
        return;
    while (options->containers[count])
        count++;
    run->options.containers = ty_xcalloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++)
        run->options.containers[i] = ty_xstrdup(options->containers[i]);
}

static void read_boot_id(char out[64])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, out, 63);
    if (fd >= 0)
        close(fd);
    out[got > 0 ? got : 0] = 0;
    out[strcspn(out, "\n")] = 0;
}

static int check_options(const struct ty_run_options *options, struct ty_err *err)
{
    if (!*options->worker || strlen(options->worker) > TY_LIMIT_WORKER_NAME_BYTES || strpbrk(options->worker, "\r\n"))
        return ty_err_set(err, TY_EINVALID, "the worker's name must have 1 to %d characters and be one line",
                          TY_LIMIT_WORKER_NAME_BYTES);
    if (options->lease_ms < 100)
        return ty_err_set(err, TY_EINVALID, "a lease of %u ms is too short", options->lease_ms);
    return 0;
}

static int prepare(struct ty_run *run, struct ty_err *err)
{
    if (choose_pools(run, err) < 0 || resolve("store directory", (char **)&run->options.store_dir, false, err) < 0 ||
        resolve("trainyard-exec", (char **)&run->options.exec_path, true, err) < 0 ||
        resolve("trainyard-stage", (char **)&run->options.stage_path, true, err) < 0 || open_work_dir(run, err) < 0)
        return -(int)err->code;
    return ty_adopt_all(run, err);
}

int ty_run_new(struct ty_loop *loop, struct ty_state *state, const struct ty_catalog *catalog,
               const struct ty_run_options *options, struct ty_run **ret_run, struct ty_err *err)
{
    if (check_options(options, err) < 0)
        return -(int)err->code;
    struct ty_run *run = ty_xcalloc(1, sizeof *run);
    run->loop = loop;
    run->state = state;
    run->catalog = catalog;
    run->lock_fd = -1;
    run->settle_round = 1;
    run->seed = (unsigned)getpid() ^ (unsigned)ty_loop_now_ms(loop);
    run->up = ty_state_is_up(state);
    copy_options(run, options);
    read_boot_id(run->boot_id);
    if (prepare(run, err) < 0) {
        ty_run_free(run);
        return -(int)err->code;
    }
    if (run->pool_count && run->options.slots)
        run->claim = ty_claim_new(run, run->pools, run->pool_count, room, take, run);
    ty_null_runner_start(run);
    ty_sweep_start(run);
    ty_relink_start(run);
    ty_retire_start(run);
    ty_log_usage_start(run);
    ty_orphans_start(run);
    ty_stages_start(run);
    if (run->attempts)
        start_ticks(run);
    ty_loop_set_timer(loop, &run->poll_timer, 0, on_poll, run);
    ty_loop_set_timer(loop, &run->reclaim_timer, ty_run_jitter(run, RECLAIM_MS), on_reclaim, run);
    ty_lease_renew_all(run);
    *ret_run = run;
    return 0;
}

// ---- what comes from outside ----

void ty_run_on_store(struct ty_run *run, bool up)
{
    run->up = up;
    for (struct ty_attempt *attempt = run->attempts, *next; attempt; attempt = next) {
        next = attempt->next;
        ty_attempt_on_store(attempt, up);
    }
    if (!up)
        return;
    ty_lease_renew_all(run);
    ty_settle_soon(run);
    claim(run);
}

void ty_run_on_notice(struct ty_run *run, bool ready, const struct ty_id *cancel_id)
{
    if (ready)
        claim(run);
    if (!cancel_id)
        return;
    // A notice is only a word; whether this attempt is to stop is the renewal's to say.
    for (struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next)
        if (ty_id_equal(&attempt->ticket.id, cancel_id) && ty_attempt_holds_lease(attempt))
            ty_lease_renew_soon(attempt);
}

struct ty_run_figures ty_run_figures(const struct ty_run *run)
{
    struct ty_run_figures figures = run->figures;
    figures.running = run->busy;
    return figures;
}

void ty_run_shed_logs(struct ty_run *run, bool shed)
{
    run->sheds_logs = shed; // looked at with each tick
}

// ---- drain ----

static void finish_drain(void *context)
{
    struct ty_run *run = context;
    if (run->drained)
        return;
    run->drained = true;
    ty_loop_clear_timer(run->loop, &run->drain_timer);
    ty_loop_clear_timer(run->loop, &run->drain_limit_timer);
    ty_loop_clear_timer(run->loop, &run->drained_timer);
    if (run->attempts)
        ty_log(TY_LOG_WARN, "run.left", TY_KV("attempts", "%u", run->attempt_count));
    run->drained_fn(run->drained_context);
}

void ty_run_check_drained(struct ty_run *run)
{
    bool is_idle = run->attempt_count == run->settling && (!run->claim || ty_claim_is_idle(run->claim)) && ty_null_runner_is_idle(run);
    // What only waits for Kafka to have its end is finished by the next worker, if it must be.
    if (run->draining && !run->drained && is_idle && (!run->attempts || !run->drained_timer.index))
        ty_loop_set_timer(run->loop, &run->drained_timer, run->attempts ? SETTLE_DRAIN_MS : 0, finish_drain, run);
}

static void stop_all(void *context)
{
    struct ty_run *run = context;
    for (struct ty_attempt *attempt = run->attempts, *next; attempt; attempt = next) {
        next = attempt->next;
        ty_attempt_on(attempt, TY_ATTEMPT_ON_DRAIN);
    }
}

void ty_run_drain(struct ty_run *run, ty_run_drained_fn fn, void *context)
{
    uint64_t drain_ms = run->options.drain_ms, stop_ms = run->options.grace_ms + DRAIN_SLACK_MS;
    if (run->draining) {
        stop_all(run);
        if (run->drain_timer.index) {
            ty_loop_clear_timer(run->loop, &run->drain_timer);
            ty_loop_set_timer(run->loop, &run->drain_limit_timer, stop_ms, finish_drain, run);
        }
        return;
    }
    run->draining = true;
    ty_log(TY_LOG_INFO, "run.draining", TY_KV("attempts", "%u", run->attempt_count));
    run->drained_fn = fn;
    run->drained_context = context;
    ty_loop_set_timer(run->loop, &run->drain_timer, drain_ms, stop_all, run);
    ty_loop_set_timer(run->loop, &run->drain_limit_timer, drain_ms + stop_ms, finish_drain, run);
    ty_run_check_drained(run);
}

// ---- end ----

static void free_options(struct ty_run_options *options)
{
    for (char **at = options->containers; at && *at; at++)
        free(*at);
    free(options->containers);
    free((char *)options->worker);
    free((char *)options->work_dir);
    free((char *)options->store_dir);
    free((char *)options->exec_path);
    free((char *)options->stage_path);
}

static void destroy(struct ty_run *run)
{
    free_options(&run->options);
    free(run->jobs_dir);
    free(run->trash_dir);
    free(run->pools);
    free(run->null_pools);
    free(run);
}

static void clear_timers(struct ty_run *run)
{
    struct ty_timer *timers[] = {&run->poll_timer,  &run->tick_timer,        &run->reclaim_timer,
                                 &run->drain_timer, &run->drain_limit_timer, &run->drained_timer};
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
        ty_loop_clear_timer(run->loop, timers[i]);
    ty_lease_stop(run);
    ty_settle_stop(run);
}

void ty_run_free(struct ty_run *run)
{
    if (!run)
        return;
    run->freed = true;
    clear_timers(run);
    while (run->attempts)
        ty_attempt_abandon(run->attempts);
    ty_claim_free(run->claim);
    ty_null_runner_free(run);
    ty_sweep_stop(run);
    ty_relink_stop(run);
    ty_retire_stop(run);
    ty_log_usage_stop(run);
    ty_orphans_stop(run);
    ty_stages_stop(run);
    if (run->lock_fd >= 0)
        close(run->lock_fd);
    if (!run->calls)
        destroy(run);
}
