#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/redis.h"
#include "core/catalog.h"
#include "core/kafka.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/state.h"
#include "core/store_memory.h"
#include "worker/events/events.h"
#include "worker/intake/intake.h"
#include "worker/run/run.h"

#define HOUR_MS (UINT64_C(3600) * 1000)
#define REPORT_MS 60000
#define INTAKE_STOP_MS 10000
#define BATCH_BYTES (1u << 20)
#define EVENTS_LEASE_MS 5000u

struct ty_worker {
    struct ty_loop *loop;
    const struct ty_worker_settings *settings;
    struct ty_catalog *catalog;
    struct ty_state *state;
    struct ty_publisher *publisher; // dead letters
    struct ty_intake *intake;
    struct ty_events *events;
    struct ty_store_memory *memory;
    struct ty_run *run;
    struct ty_timer report;
    char *name, *exec_path, *stage_path;
    bool ready, stopping; // ready: has met the store
    bool is_ill;          // something of the intake is not as it should be
    struct ty_err failure; // why it cannot go on; TY_OK: it can
    unsigned roles_left; // to stop
};

// ---- start ----

static int choose_name(struct ty_worker *worker, struct ty_err *err)
{
    char host[128] = "worker";
    const char *given = worker->settings->name;
    if (gethostname(host, sizeof host - 1) < 0)
        snprintf(host, sizeof host, "worker");
    worker->name = given ? ty_xstrdup(given) : ty_xasprintf("%.96s-%d", host, (int)getpid());
    size_t len = strlen(worker->name);
    if (!len || len > TY_LIMIT_WORKER_NAME_BYTES)
        return ty_err_set(err, TY_EINVALID, "--name: %zu bytes; 1 to %d are allowed", len, TY_LIMIT_WORKER_NAME_BYTES);
    return 0;
}

// The helper programs: where the setting says, else beside this program, else where they are installed.
static int find_program(const struct ty_worker *worker, const char *name, char **ret_path, struct ty_err *err)
{
    char self[4096];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = 0;
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = 0;
    const char *given = worker->settings->libexec_dir;
    char *places[] = {given ? ty_xasprintf("%s/%s", given, name) : ty_xasprintf("%s/%s", self, name),
                      given ? NULL : ty_xasprintf("%s/../libexec/trainyard/%s", self, name)};
    *ret_path = NULL;
    for (size_t i = 0; i < 2; i++) {
        if (!*ret_path && places[i] && access(places[i], X_OK) == 0)
            *ret_path = realpath(places[i], NULL);
        free(places[i]);
    }
    if (!*ret_path)
        return ty_err_set(err, TY_EINVALID, "%s is not in %s; --libexec-dir says where it is", name, given ? given : self);
    return 0;
}

static void write_ready_file(const struct ty_worker *worker)
{
    const char *path = worker->settings->ready_file;
    char *aside TY_FREE = ty_xasprintf("%s.%d", path, (int)getpid());
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool written = fd >= 0 && dprintf(fd, "%s\n", worker->name) > 0;
    if (fd < 0 || close(fd) < 0 || !written || rename(aside, path) < 0)
        ty_log(TY_LOG_ERROR, "worker.ready_file", TY_KV("path", "%s", path), TY_KV("error", "%s", strerror(errno)));
}

static void say_ready(const struct ty_worker *worker)
{
    const char *path = worker->settings->ready_file;
    ty_log(worker->is_ill ? TY_LOG_WARN : TY_LOG_INFO, worker->is_ill ? "worker.not_ready" : "worker.ready",
           TY_KV("worker", "%s", worker->name));
    if (!path)
        return;
    if (!worker->is_ill)
        write_ready_file(worker);
    else if (unlink(path) < 0 && errno != ENOENT)
        ty_log(TY_LOG_ERROR, "worker.ready_file", TY_KV("path", "%s", path), TY_KV("error", "%s", strerror(errno)));
}

static void on_store(void *context, bool up, const struct ty_err *err)
{
    struct ty_worker *worker = context;
    if (up)
        ty_log(TY_LOG_INFO, "store.up");
    else
        ty_log(TY_LOG_WARN, "store.away", TY_KV("reason", "%s", err ? err->message : "closed"));
    // A store of another shape will never fit: a worker that stayed would hold partitions and apply nothing.
    if (!up && err && err->code == TY_EPRECONDITION) {
        worker->failure = *err;
        ty_loop_stop(worker->loop);
    }
    if (worker->memory)
        ty_store_memory_on_store(worker->memory, up);
    if (worker->intake)
        ty_intake_on_store(worker->intake, up);
    if (worker->events)
        ty_events_on_store(worker->events, up);
    if (worker->run)
        ty_run_on_store(worker->run, up);
    if (up && !worker->ready) {
        worker->ready = true;
        say_ready(worker);
    }
}

// The intake has said what is not well.
static void on_health(void *context, bool is_well)
{
    struct ty_worker *worker = context;
    if (is_well && worker->stopping)
        return; // what is let go now is no better for it
    worker->is_ill = !is_well;
    if (worker->ready)
        say_ready(worker);
}

static void on_notice(void *context, bool ready, const struct ty_id *cancel_id)
{
    struct ty_worker *worker = context;
    if (worker->run)
        ty_run_on_notice(worker->run, ready, cancel_id);
}

static void on_memory(void *context, enum ty_memory_level level, const struct ty_err *misfit)
{
    struct ty_worker *worker = context;
    if (misfit) { // jobs would vanish from it: as bad as a store of another shape
        worker->failure = *misfit;
        ty_loop_stop(worker->loop);
        return;
    }
    if (worker->intake)
        ty_intake_hold_submits(worker->intake, level >= TY_MEMORY_NO_SUBMITS);
    if (worker->run)
        ty_run_shed_logs(worker->run, level >= TY_MEMORY_NO_LOGS);
}

static int open_store(struct ty_worker *worker, struct ty_err *err)
{
    const struct ty_worker_settings *settings = worker->settings;
    char *url TY_CLEANUP(ty_redis_url_forget) = NULL;
    if (settings->redis_password_file &&
        ty_redis_url_with_password(settings->redis, settings->redis_password_file, &url, err) < 0)
        return ty_err_prefix(err, "--redis-password-file");
    struct ty_state_options options = {
        .redis_url = url ? url : settings->redis,
        .shards = (unsigned)settings->shards,
        .command_ms = (uint64_t)settings->redis_timeout_ms,
        .tombstone_ms = (uint64_t)settings->tombstone_hours * HOUR_MS,
        .horizon_ms = (uint64_t)settings->horizon_hours * HOUR_MS,
        .job_retention_ms = (uint64_t)settings->retention_days * 24 * HOUR_MS,
        .log_retention_ms = settings->log_retention_hours < 0 ? UINT64_MAX : (uint64_t)settings->log_retention_hours * HOUR_MS,
        .job_log_bytes = (uint64_t)settings->job_log_bytes,
        .default_max_attempts = (uint32_t)settings->max_attempts,
        .max_losses = (uint32_t)settings->max_losses,
        .retry_base_ms = (uint32_t)settings->retry_base_ms,
        .retry_max_ms = (uint32_t)settings->retry_max_ms,
        .has_events = true,
    };
    if (ty_state_new(worker->loop, &options, on_store, worker, &worker->state, err) < 0)
        return err->code == TY_EINVALID ? ty_err_prefix(err, "--redis") : -(int)err->code;
    struct ty_store_memory_options memory = {.budget_bytes = (uint64_t)settings->store_budget_bytes,
                                             .admit_percent = (unsigned)settings->store_admit_percent,
                                             .shed_percent = (unsigned)settings->store_shed_percent};
    worker->memory = ty_store_memory_new(worker->loop, worker->state, &memory, on_memory, worker);
    return 0;
}

static int start_intake(struct ty_worker *worker, struct ty_err *err)
{
    const struct ty_worker_settings *settings = worker->settings;
    struct ty_intake_options options = {
        .kafka = {.brokers = settings->kafka_brokers,
                  .client_id = worker->name,
                  .topic_prefix = settings->topic_prefix,
                  .properties = settings->kafka_properties},
        .group_id = settings->group_id,
        .batch_commands = (unsigned)settings->batch_commands,
        .batch_bytes = BATCH_BYTES,
        .requires_signatures = settings->require_signatures,
        .breaker_percent = (unsigned)settings->breaker_percent,
        .stall_ms = (uint64_t)settings->stall_timeout_s * 1000,
        .health_fn = on_health,
        .health_context = worker,
    };
    if (ty_publisher_new(&options.kafka, &worker->publisher, err) < 0)
        return -(int)err->code;
    if (ty_intake_new(worker->loop, worker->state, worker->catalog, worker->publisher, &options, &worker->intake, err) < 0)
        return -(int)err->code;
    struct ty_events_options events = {.kafka = options.kafka, .worker = worker->name, .lease_ms = EVENTS_LEASE_MS,
                                       .job_lease_ms = (uint32_t)settings->lease_ms,
                                       .is_manual = settings->rebuild == 1};
    return ty_events_new(worker->loop, worker->state, &events, &worker->events, err);
}

static const char *const stderr_levels[] = {"info", "warn", "error"}; // as the setting's choices

static int start_run(struct ty_worker *worker, struct ty_err *err)
{
    const struct ty_worker_settings *settings = worker->settings;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (find_program(worker, "trainyard-exec", &worker->exec_path, err) < 0 ||
        find_program(worker, "trainyard-stage", &worker->stage_path, err) < 0)
        return -(int)err->code;
    struct ty_run_options options = {
        .worker = worker->name,
        .work_dir = settings->work_dir,
        .store_dir = settings->store_dir,
        .exec_path = worker->exec_path,
        .stage_path = worker->stage_path,
        .slots = settings->slots ? (unsigned)settings->slots : processors > 0 ? (unsigned)processors : 1,
        .null_slots = (unsigned)settings->null_slots,
        .lease_ms = (uint32_t)settings->lease_ms,
        .grace_ms = (uint64_t)settings->grace_ms,
        .drain_ms = (uint64_t)settings->drain_ms,
        .max_runtime_ms = (uint64_t)settings->max_runtime_s * 1000,
        .lost_lease_limit_ms = (uint64_t)settings->lost_lease_limit_ms,
        .install_timeout_ms = (uint64_t)settings->install_timeout_s * 1000,
        .prepare_timeout_ms = (uint64_t)settings->prepare_timeout_s * 1000,
        .collect_timeout_ms = (uint64_t)settings->collect_timeout_s * 1000,
        .model_retention_ms = (uint64_t)settings->model_retention_days * 24 * HOUR_MS,
        .organization_log_bytes = (uint64_t)settings->organization_log_bytes,
        .total_log_bytes = (uint64_t)settings->total_log_bytes,
        .keep_job_dirs = settings->keep_job_dirs,
        .spool_limit_bytes = (uint64_t)settings->spool_limit_bytes,
        .stderr_level = stderr_levels[settings->log_stderr_level],
        .job_dirs_ms = (uint64_t)settings->job_dir_hours * HOUR_MS,
        .containers = settings->containers,
    };
    if (ty_run_new(worker->loop, worker->state, worker->catalog, &options, &worker->run, err) < 0)
        return -(int)err->code;
    return ty_state_listen(worker->state, on_notice, worker, err);
}

static void on_report(void *context)
{
    struct ty_worker *worker = context;
    ty_worker_report(worker);
    ty_loop_set_timer(worker->loop, &worker->report, REPORT_MS, on_report, worker);
}

int ty_worker_start(struct ty_loop *loop, const struct ty_worker_settings *settings, struct ty_worker **ret_worker,
                    struct ty_err *err)
{
    struct ty_worker_roles roles;
    struct ty_worker *worker = ty_xcalloc(1, sizeof *worker);
    worker->loop = loop;
    worker->settings = settings;
    if (ty_worker_settings_check(settings, err) < 0 || ty_worker_roles(settings, &roles, err) < 0 || choose_name(worker, err) < 0 ||
        ty_catalog_load(settings->catalog_dir, &worker->catalog, err) < 0 || open_store(worker, err) < 0 ||
        (roles.intake && start_intake(worker, err) < 0) || (roles.run && start_run(worker, err) < 0)) {
        ty_worker_free(worker);
        return -(int)err->code;
    }
    ty_loop_set_timer(loop, &worker->report, REPORT_MS, on_report, worker);
    *ret_worker = worker;
    return 0;
}

// ---- stop ----

static void on_role_stopped(void *context)
{
    struct ty_worker *worker = context;
    if (--worker->roles_left)
        return;
    if (worker->events) // last, so that it publishes how the jobs of this worker ended
        ty_events_stop(worker->events);
    ty_worker_report(worker);
    ty_log(TY_LOG_INFO, "worker.stopped");
    ty_loop_stop(worker->loop);
}

void ty_worker_stop(struct ty_worker *worker)
{
    if (worker->stopping) {
        if (worker->run)
            ty_run_drain(worker->run, on_role_stopped, worker);
        return;
    }
    worker->stopping = true;
    worker->roles_left = (worker->intake ? 1u : 0u) + (worker->run ? 1u : 0u);
    ty_log(TY_LOG_INFO, "worker.draining");
    if (worker->intake)
        ty_intake_stop(worker->intake, INTAKE_STOP_MS, on_role_stopped, worker);
    if (worker->run)
        ty_run_drain(worker->run, on_role_stopped, worker);
}

int ty_worker_failure(const struct ty_worker *worker, struct ty_err *err)
{
    if (worker->failure.code != TY_OK)
        *err = worker->failure;
    return -(int)worker->failure.code;
}

void ty_worker_report(const struct ty_worker *worker)
{
    if (worker->intake) {
        struct ty_intake_figures in = ty_intake_figures(worker->intake);
        ty_log(TY_LOG_INFO, "intake.figures", TY_KV("received", "%" PRIu64, in.received),
               TY_KV("applied", "%" PRIu64, in.applied), TY_KV("duplicates", "%" PRIu64, in.duplicates),
               TY_KV("conflicts", "%" PRIu64, in.conflicts), TY_KV("noops", "%" PRIu64, in.noops),
               TY_KV("tombstones", "%" PRIu64, in.tombstones), TY_KV("deleted", "%" PRIu64, in.deleted),
               TY_KV("refused", "%" PRIu64, in.refused), TY_KV("too_old", "%" PRIu64, in.too_old), TY_KV("unsigned", "%" PRIu64, in.unsigned_refused), TY_KV("dead_lettered", "%" PRIu64, in.dead_lettered),
               TY_KV("gaps", "%" PRIu64, in.gaps), TY_KV("dropped_stale", "%" PRIu64, in.dropped_stale),
               TY_KV("breaker_opened", "%" PRIu64, in.breaker_opened), TY_KV("held_partitions", "%zu", in.held_partitions),
               TY_KV("stalls", "%" PRIu64, in.stalls), TY_KV("reopened", "%" PRIu64, in.reopened));
    }
    if (worker->events) {
        struct ty_events_figures events = ty_events_figures(worker->events);
        ty_log(TY_LOG_INFO, "events.figures", TY_KV("shards", "%u", events.shards),
               TY_KV("published", "%" PRIu64, events.published), TY_KV("nulls", "%" PRIu64, events.nulls),
               TY_KV("batches", "%" PRIu64, events.batches), TY_KV("fenced", "%" PRIu64, events.fenced),
               TY_KV("gaps", "%" PRIu64, events.gaps), TY_KV("replays", "%" PRIu64, events.replays),
               TY_KV("events_read", "%" PRIu64, events.events_read), TY_KV("restored", "%" PRIu64, events.restored), TY_KV("poisoned", "%" PRIu64, events.poisoned));
    }
    if (worker->run) {
        struct ty_run_figures run = ty_run_figures(worker->run);
        ty_log(TY_LOG_INFO, "run.figures", TY_KV("running", "%u", run.running), TY_KV("claimed", "%" PRIu64, run.claimed),
               TY_KV("started", "%" PRIu64, run.started), TY_KV("completed", "%" PRIu64, run.completed),
               TY_KV("failed", "%" PRIu64, run.failed), TY_KV("canceled", "%" PRIu64, run.canceled),
               TY_KV("handed_back", "%" PRIu64, run.handed_back), TY_KV("retried", "%" PRIu64, run.retried),
               TY_KV("lost", "%" PRIu64, run.lost), TY_KV("told_again", "%" PRIu64, run.told_again),
               TY_KV("adopted", "%" PRIu64, run.adopted), TY_KV("retired", "%" PRIu64, run.retired),
               TY_KV("log_entries", "%" PRIu64, run.log_entries));
    }
}

void ty_worker_free(struct ty_worker *worker)
{
    if (!worker)
        return;
    ty_loop_clear_timer(worker->loop, &worker->report);
    // The roles let go of their outstanding calls first; the store then answers each with an error.
    ty_events_free(worker->events);
    ty_intake_free(worker->intake);
    ty_run_free(worker->run);
    ty_store_memory_free(worker->memory);
    ty_state_free(worker->state);
    ty_publisher_free(worker->publisher, 1000);
    ty_catalog_free(worker->catalog);
    free(worker->name);
    free(worker->exec_path);
    free(worker->stage_path);
    free(worker);
}

void ty_worker_print_version(FILE *out)
{
    fprintf(out, "trainyard-worker %s\nlibrdkafka %s\nhiredis %d.%d.%d, %s TLS\nprotobuf-c %s\n", TY_VERSION,
            rd_kafka_version_str(), HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH, ty_redis_has_tls() ? "with" : "without", protobuf_c_version());
}
