#include "worker/run/attempt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "worker/run/plan.h"
#include "worker/run/run_internal.h"
#include "worker/run/spawn.h"

#define LOG_WAIT_MS 60000    // how long the end of a job waits for a store that takes nothing of its log
#define DISK_PAUSE_MS 10000  // claims wait after this machine could not start an attempt
#define PROBE_TICKS 5        // how often a supervisor that is not our child is looked for

static void enter(struct ty_attempt *attempt, enum ty_attempt_state state)
{
    struct ty_run *run = attempt->run;
    bool held = attempt->state == TY_ATTEMPT_RUNNING || attempt->state == TY_ATTEMPT_LEAVING;
    bool holds = state == TY_ATTEMPT_RUNNING || state == TY_ATTEMPT_LEAVING;
    attempt->state = state;
    if (held && !holds) {
        run->busy--;
        if (run->claim)
            ty_claim_wake(run->claim);
    }
}

// ---- life ----

struct ty_attempt *ty_attempt_hold(struct ty_attempt *attempt)
{
    attempt->refs++;
    return attempt;
}

void ty_attempt_release(struct ty_attempt *attempt)
{
    if (--attempt->refs)
        return;
    ty_ticket_done(&attempt->ticket);
    ty_ending_done(&attempt->ending);
    free(attempt->script_version);
    free(attempt->model_stage);
    free(attempt->dir);
    free(attempt);
}

static struct ty_attempt *add(struct ty_run *run, char *dir, const struct ty_ticket *ticket)
{
    struct ty_attempt *attempt = ty_xcalloc(1, sizeof *attempt);
    attempt->run = run;
    attempt->refs = 1;
    attempt->dir = dir;
    attempt->ticket = *ticket;
    attempt->shard = ty_state_shard_of(run->state, &ticket->id);
    attempt->stage = TY_STAGE_CLAIMED;
    ty_id_format(&ticket->id, attempt->id);
    attempt->next = run->attempts;
    run->attempts = attempt;
    run->attempt_count++;
    run->busy++; // RUNNING until it is found otherwise
    return attempt;
}

static void detach(struct ty_attempt *attempt)
{
    struct ty_loop *loop = attempt->run->loop;
    ty_loop_clear_timer(loop, &attempt->timer);
    if (attempt->pid)
        ty_loop_remove_child(loop, attempt->pid);
    if (attempt->link_pid)
        ty_loop_remove_child(loop, attempt->link_pid);
    attempt->pid = attempt->link_pid = 0;
    ty_ship_free(attempt->ship);
    attempt->ship = NULL;
    ty_job_dir_unmap(attempt->control);
    attempt->control = NULL;
}

static void forget(struct ty_attempt *attempt)
{
    struct ty_run *run = attempt->run;
    struct ty_attempt **at = &run->attempts;
    while (*at != attempt)
        at = &(*at)->next;
    *at = attempt->next;
    run->attempt_count--;
    detach(attempt);
}

// The attempt is over for this worker; nothing in its directory is wanted any more.
static void go(struct ty_attempt *attempt)
{
    struct ty_run *run = attempt->run;
    struct ty_err err;
    enter(attempt, TY_ATTEMPT_GONE);
    forget(attempt);
    if (attempt->has_dir && !run->options.keep_job_dirs)
        ty_sweep_dir(run, attempt->dir);
    else if (attempt->has_dir && ty_job_dir_write(attempt->dir, "told", "", 0, &err) < 0)
        ty_log(TY_LOG_WARN, "attempt.dir", TY_KV("error", "%s", err.message));
    ty_run_check_drained(run);
    ty_attempt_release(attempt);
}

void ty_attempt_abandon(struct ty_attempt *attempt)
{
    forget(attempt);
    attempt->state = TY_ATTEMPT_GONE;
    ty_attempt_release(attempt);
}

static void drop(struct ty_attempt *attempt)
{
    attempt->run->figures.lost++;
    ty_log(TY_LOG_WARN, "attempt.lost", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt));
    go(attempt);
}

// ---- what events do ----

static void request_stop(struct ty_attempt *attempt, enum ty_exec_stop why)
{
    uint32_t none = TY_EXEC_STOP_NONE;
    if (why == TY_EXEC_STOP_LOST)
        atomic_store(&attempt->control->stop, (uint32_t)why);
    else if (!atomic_compare_exchange_strong(&attempt->control->stop, &none, (uint32_t)why))
        return;
    // One that is not our child sees the request by itself, within 250 ms.
    if (attempt->pid)
        kill(attempt->pid, SIGTERM);
    ty_log(TY_LOG_INFO, "attempt.stop", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("why", "%s", why == TY_EXEC_STOP_CANCEL ? "canceled" : why == TY_EXEC_STOP_LOST ? "lost" : "drain"));
}

static void cancel(struct ty_attempt *attempt)
{
    request_stop(attempt, TY_EXEC_STOP_CANCEL);
}

static void drain(struct ty_attempt *attempt)
{
    request_stop(attempt, TY_EXEC_STOP_DRAIN);
}

static void leave(struct ty_attempt *attempt)
{
    enter(attempt, TY_ATTEMPT_LEAVING);
    ty_ship_free(attempt->ship);
    attempt->ship = NULL;
    request_stop(attempt, TY_EXEC_STOP_LOST);
}

static void look_at_stage(struct ty_attempt *attempt);

static void read_ending(struct ty_attempt *attempt)
{
    TY_BUF(text);
    struct ty_err err;
    if (ty_job_dir_read(attempt->dir, "exit", &text, &err) < 0)
        ty_buf_clear(&text);
    ty_ending_parse(&text, &attempt->ending);
    ty_log(TY_LOG_INFO, "attempt.ended", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("outcome", "%s", attempt->ending.outcome), TY_KV("step", "%s", attempt->ending.step),
           TY_KV("code", "%d", attempt->ending.code));
}

static void ship_rest(struct ty_attempt *attempt)
{
    look_at_stage(attempt);
    read_ending(attempt);
    if (!strcmp(attempt->ending.outcome, "lost")) {
        drop(attempt);
        return;
    }
    attempt->waiting_since_ms = ty_loop_now_ms(attempt->run->loop);
    attempt->log_progress = ty_ship_progress(attempt->ship);
    ty_ship_end(attempt->ship);
    enter(attempt, TY_ATTEMPT_SHIPPING);
}

static void close_log(struct ty_attempt *attempt)
{
    TY_BUF(closing);
    ty_finish_judge(attempt);
    ty_verdict_closing(&attempt->verdict, attempt->ticket.attempt, &closing);
    uint64_t time_us = attempt->ending.ended_us ? attempt->ending.ended_us : ty_clock_wall_us();
    bool is_bad = attempt->verdict.action == TY_FINISH_FAILED || attempt->verdict.action == TY_FINISH_RETRY;
    ty_ship_close(attempt->ship, time_us, is_bad ? "error" : "info", ty_buf_text(&closing));
}

static void tell(struct ty_attempt *attempt)
{
    ty_finish_judge(attempt);
    enter(attempt, TY_ATTEMPT_TELLING);
    ty_finish_tell(attempt);
}

static void told(struct ty_attempt *attempt)
{
    struct ty_run_figures *figures = &attempt->run->figures;
    enum ty_finish_action action = attempt->verdict.action;
    ty_log(TY_LOG_INFO, "attempt.told", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("action", "%c", action), TY_KV("reason", "%s", ty_reason_name(attempt->verdict.reason)));
    figures->completed += action == TY_FINISH_COMPLETED;
    figures->failed += action == TY_FINISH_FAILED;
    figures->canceled += action == TY_FINISH_CANCELED;
    figures->handed_back += action == TY_FINISH_HAND_BACK;
    figures->retried += action == TY_FINISH_RETRY;
    if (action != TY_FINISH_COMPLETED || !attempt->model_stage) {
        go(attempt);
        return;
    }
    enter(attempt, TY_ATTEMPT_LINKING);
    ty_finish_link(attempt);
}

// What is not in the table does not happen in that state.
static void (*const table[TY_ATTEMPT_STATES][TY_ATTEMPT_EVENTS])(struct ty_attempt *attempt) = {
    [TY_ATTEMPT_RUNNING] = {
        [TY_ATTEMPT_ON_SUPERVISOR_END] = ship_rest,
        [TY_ATTEMPT_ON_CANCEL] = cancel,
        [TY_ATTEMPT_ON_DRAIN] = drain,
        [TY_ATTEMPT_ON_LOST] = leave,
        [TY_ATTEMPT_ON_LOG_LOST] = leave,
    },
    [TY_ATTEMPT_SHIPPING] = {
        [TY_ATTEMPT_ON_LOG_READ] = close_log,
        [TY_ATTEMPT_ON_LOG_SEALED] = tell,
        [TY_ATTEMPT_ON_LOG_TIMEOUT] = tell,
        [TY_ATTEMPT_ON_LOST] = tell,
        [TY_ATTEMPT_ON_LOG_LOST] = drop,
    },
    // Once it has ended, a lost lease may mean that the store has taken the end already, from this worker or from the one
    // before it: only the answer to telling counts.
    [TY_ATTEMPT_TELLING] = {
        [TY_ATTEMPT_ON_TOLD] = told,
        [TY_ATTEMPT_ON_REFUSED] = drop,
    },
    [TY_ATTEMPT_LINKING] = {
        [TY_ATTEMPT_ON_LINKED] = go,
    },
    [TY_ATTEMPT_LEAVING] = {
        [TY_ATTEMPT_ON_SUPERVISOR_END] = drop,
    },
};

void ty_attempt_on(struct ty_attempt *attempt, enum ty_attempt_event event)
{
    if (table[attempt->state][event])
        table[attempt->state][event](attempt);
}

bool ty_attempt_holds_lease(const struct ty_attempt *attempt)
{
    return attempt->state == TY_ATTEMPT_RUNNING || attempt->state == TY_ATTEMPT_SHIPPING ||
           (attempt->state == TY_ATTEMPT_TELLING && !attempt->telling);
}

// ---- looking ----

static void look_at_stage(struct ty_attempt *attempt)
{
    uint32_t step = atomic_load(&attempt->control->step);
    uint8_t stage = (uint8_t)(step ? step - 1 + TY_STAGE_PREPARE : TY_STAGE_CLAIMED);
    if (stage == attempt->stage)
        return;
    attempt->stage = stage;
    TY_BUF(text);
    struct ty_err err;
    if (stage > TY_STAGE_PREPARE && !attempt->script_version &&
        ty_job_dir_read(attempt->dir, "prepared", &text, &err) == 0)
        attempt->script_version = ty_job_dir_field(&text, "script_version");
    ty_lease_renew_soon(attempt);
}

static bool supervisor_has_ended(struct ty_attempt *attempt)
{
    if (attempt->pid)
        return false; // its end will be reported
    return atomic_load(&attempt->control->done) ||
           (attempt->probes++ % PROBE_TICKS == 0 && !ty_job_dir_is_held(attempt->dir));
}

static void check_log_progress(struct ty_attempt *attempt)
{
    uint64_t now_ms = ty_loop_now_ms(attempt->run->loop), progress = ty_ship_progress(attempt->ship);
    if (progress != attempt->log_progress || !attempt->run->up)
        attempt->waiting_since_ms = now_ms;
    attempt->log_progress = progress;
    if (now_ms - attempt->waiting_since_ms >= LOG_WAIT_MS)
        ty_attempt_on(attempt, TY_ATTEMPT_ON_LOG_TIMEOUT);
}

void ty_attempt_tick(struct ty_attempt *attempt)
{
    switch (attempt->state) {
    case TY_ATTEMPT_RUNNING:
        look_at_stage(attempt);
        if (supervisor_has_ended(attempt))
            ty_attempt_on(attempt, TY_ATTEMPT_ON_SUPERVISOR_END);
        else
            ty_ship_tick(attempt->ship);
        break;
    case TY_ATTEMPT_SHIPPING:
        check_log_progress(attempt);
        break;
    case TY_ATTEMPT_LEAVING:
        if (supervisor_has_ended(attempt))
            ty_attempt_on(attempt, TY_ATTEMPT_ON_SUPERVISOR_END);
        break;
    default:
        break;
    }
}

void ty_attempt_on_store(struct ty_attempt *attempt, bool up)
{
    if (attempt->ship)
        ty_ship_on_store(attempt->ship, up);
    if (up && attempt->state == TY_ATTEMPT_TELLING)
        ty_finish_tell(attempt);
}

static void on_ship(void *context, enum ty_ship_event event)
{
    static const enum ty_attempt_event events[] = {
        [TY_SHIP_READ] = TY_ATTEMPT_ON_LOG_READ,
        [TY_SHIP_SEALED] = TY_ATTEMPT_ON_LOG_SEALED,
        [TY_SHIP_LOST] = TY_ATTEMPT_ON_LOG_LOST,
    };
    ty_attempt_on(context, events[event]);
}

static void open_ship(struct ty_attempt *attempt)
{
    const struct ty_ticket *ticket = &attempt->ticket;
    struct ty_ship_options options = {
        .loop = attempt->run->loop,
        .state = attempt->run->state,
        .control = attempt->control,
        .dir = attempt->dir,
        .worker = ticket->worker,
        .steps = ty_plan_steps,
        .step_count = TY_PLAN_STEPS,
        .id = ticket->id,
        .token = ticket->token,
        .attempt = ticket->attempt,
        .fence = ticket->fence,
        .started_us = ticket->claimed_us,
        .entries = &attempt->run->figures.log_entries,
    };
    attempt->ship = ty_ship_new(&options, on_ship, attempt);
}

// ---- starting ----

static void on_supervisor_end(void *context, pid_t pid, int code, int value)
{
    struct ty_attempt *attempt = context;
    (void)pid;
    attempt->pid = 0;
    if (code != CLD_EXITED || value != 0)
        ty_log(TY_LOG_WARN, "attempt.supervisor", TY_KV("job", "%s", attempt->id),
               TY_KV("attempt", "%u", attempt->ticket.attempt),
               TY_KV(code == CLD_EXITED ? "code" : "signal", "%d", value));
    ty_attempt_on(attempt, TY_ATTEMPT_ON_SUPERVISOR_END);
}

static int write_plan(struct ty_attempt *attempt, const struct ty_job *job, struct ty_err *err)
{
    const struct ty_run_options *site = &attempt->run->options;
    TY_BUF(plan);
    struct ty_plan_options options = {
        .dir = attempt->dir,
        .store_dir = site->store_dir,
        .stage_path = site->stage_path,
        .boot_id = attempt->run->boot_id,
        .id = attempt->id,
        .attempt = attempt->ticket.attempt,
        .fence = attempt->ticket.fence,
        .token = &attempt->ticket.token,
        .grace_ms = site->grace_ms,
        .max_runtime_ms = site->max_runtime_ms,
        .lost_lease_limit_ms = site->lost_lease_limit_ms,
        .install_timeout_ms = site->install_timeout_ms,
        .prepare_timeout_ms = site->prepare_timeout_ms,
        .collect_timeout_ms = site->collect_timeout_ms,
    };
    if (ty_plan_build(job, &options, &plan, err) < 0)
        return -(int)err->code;
    return ty_job_dir_write(attempt->dir, "plan", plan.data, plan.len, err);
}

static int start_supervisor(struct ty_attempt *attempt, uint64_t deadline_ns, struct ty_err *err)
{
    const char *argv[] = {attempt->run->options.exec_path, attempt->dir, NULL};
    char *output TY_FREE = ty_xasprintf("%s/supervisor.log", attempt->dir);
    if (ty_job_dir_map(attempt->dir, true, &attempt->control, err) < 0)
        return -(int)err->code;
    atomic_store(&attempt->control->deadline_ns, deadline_ns);
    return ty_spawn(attempt->run->loop, argv, output, on_supervisor_end, attempt, &attempt->pid, err);
}

static int make_dir(struct ty_attempt *attempt, struct ty_err *err)
{
    int rc = ty_job_dir_make(attempt->dir, err);
    // A store that went back gives out the same attempt again. What was kept of the first makes room; what is still at work
    // does not.
    if (rc == -TY_EEXISTS && ty_job_dir_has(attempt->dir, "told")) {
        ty_sweep_dir(attempt->run, attempt->dir);
        rc = ty_job_dir_make(attempt->dir, err);
    }
    attempt->has_dir = rc == 0 || rc == -TY_ESYSTEM;
    return rc;
}

static int start(struct ty_attempt *attempt, const struct ty_job *job, uint64_t deadline_ns, struct ty_err *err)
{
    if (job->container->runner != TY_RUNNER_PROCESS || !job->container->python)
        return ty_err_set(err, TY_EPRECONDITION, "container %s does not run as a process", job->container->key);
    if (make_dir(attempt, err) < 0 || ty_ticket_write(&attempt->ticket, attempt->dir, err) < 0 ||
        write_plan(attempt, job, err) < 0)
        return -(int)err->code;
    return start_supervisor(attempt, deadline_ns, err);
}

// What is this machine's trouble must not cost the job an attempt, nor may this worker take the next one at once.
static void give_up_start(struct ty_attempt *attempt, const struct ty_err *err)
{
    bool is_ours = err->code == TY_ESYSTEM || err->code == TY_EEXISTS;
    ty_log(TY_LOG_ERROR, "attempt.start", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("error", "%s", err->message));
    attempt->verdict = (struct ty_verdict){
        .is_told = true,
        .action = is_ours ? TY_FINISH_HAND_BACK : TY_FINISH_RETRY,
        .reason = is_ours ? TY_REASON_HANDED_BACK : TY_REASON_INTERNAL,
        .grpc_code = ty_code_grpc(err->code),
    };
    snprintf(attempt->verdict.text, sizeof attempt->verdict.text, "%s", err->message);
    attempt->judged = true;
    if (is_ours && attempt->run->claim)
        ty_claim_pause(attempt->run->claim, DISK_PAUSE_MS);
    tell(attempt);
}

static void hand_back_unstarted(struct ty_attempt *attempt)
{
    attempt->verdict = (struct ty_verdict){
        .is_told = true, .action = TY_FINISH_HAND_BACK, .reason = TY_REASON_HANDED_BACK,
        .text = "the worker was stopped before it had started the attempt"};
    attempt->judged = true;
    tell(attempt);
}

static struct ty_ticket ticket_for(struct ty_run *run, const struct ty_token *token, const struct ty_claimed *claimed,
                                   const struct ty_job *job)
{
    return (struct ty_ticket){
        .id = claimed->id,
        .token = *token,
        .attempt = claimed->record.attempt,
        .fence = claimed->record.fence,
        .claimed_us = ty_clock_wall_us(),
        .worker = ty_xstrdup(run->options.worker),
        .organization = ty_xstrdup(job->metadata ? job->metadata->organization_id : ""),
        .model = ty_xstrdup(job->metadata ? job->metadata->model_name : ""),
        .model_version = ty_xstrdup(job->metadata ? job->metadata->model_version : ""),
    };
}

void ty_attempt_start(struct ty_run *run, const struct ty_token *token, uint64_t sent_ns,
                      const struct ty_claimed *claimed)
{
    struct ty_job job = {0};
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES];
    int rc = ty_job_read(&claimed->record, run->catalog, &job, &err);
    struct ty_ticket ticket = ticket_for(run, token, claimed, &job);
    char *dir = ty_xasprintf("%s/%s-%u", run->jobs_dir, ty_id_format(&claimed->id, id), claimed->record.attempt);
    struct ty_attempt *attempt = add(run, dir, &ticket);
    attempt->stage_told = TY_STAGE_CLAIMED;
    if (rc == 0 && run->draining) {
        ty_job_done(&job);
        hand_back_unstarted(attempt);
        return;
    }
    if (rc == 0)
        rc = start(attempt, &job, sent_ns + (uint64_t)run->options.lease_ms * 1000000, &err);
    ty_job_done(&job);
    if (rc < 0) {
        give_up_start(attempt, &err);
        return;
    }
    run->figures.started++;
    ty_log(TY_LOG_INFO, "attempt.started", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("pid", "%d", (int)attempt->pid));
    open_ship(attempt);
}

// ---- adopting ----

void ty_attempt_adopt(struct ty_run *run, const char *dir, struct ty_ticket *ticket)
{
    struct ty_err err;
    struct ty_attempt *attempt = add(run, ty_xstrdup(dir), ticket);
    attempt->has_dir = true;
    *ticket = (struct ty_ticket){0};
    bool is_held = ty_job_dir_is_held(dir);
    bool was_started = is_held || ty_job_dir_has(dir, "exit") || !ty_job_dir_forbid_start(dir);
    run->figures.adopted++;
    ty_log(TY_LOG_INFO, "attempt.adopted", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("found", "%s", is_held ? "running" : was_started ? "ended" : "not started"));
    if (!was_started) {
        hand_back_unstarted(attempt);
        return;
    }
    if (ty_job_dir_map(dir, false, &attempt->control, &err) < 0) {
        // Of another version, perhaps: whoever runs there is left alone, and the lease will pass.
        ty_log(TY_LOG_ERROR, "attempt.adopt", TY_KV("error", "%s", err.message));
        enter(attempt, TY_ATTEMPT_GONE);
        ty_attempt_abandon(attempt);
        return;
    }
    open_ship(attempt);
    if (!is_held)
        ty_attempt_on(attempt, TY_ATTEMPT_ON_SUPERVISOR_END);
}
