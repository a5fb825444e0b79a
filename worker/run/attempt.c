#include "worker/run/attempt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "worker/run/plan.h"
#include "worker/run/run_internal.h"
#include "worker/run/strays.h"

#define FULL_WAIT_MS 5000 // for the rest of a log, by a store that is full
#define SAFE_MS 2500      // the store writes to its disk every second
#define SAFE_AGAIN_MS 1000
#define PROBE_TICKS 5     // how often a supervisor that is not our child is looked for

static bool holds_slot(enum ty_attempt_state state)
{
    return state == TY_ATTEMPT_RUNNING || state == TY_ATTEMPT_LEAVING;
}

// Only Kafka, or time, is waited for.
static bool is_settling(enum ty_attempt_state state)
{
    return state == TY_ATTEMPT_SETTLING || state == TY_ATTEMPT_KEEPING;
}

static void enter(struct ty_attempt *attempt, enum ty_attempt_state state)
{
    struct ty_run *run = attempt->run;
    bool frees_slot = holds_slot(attempt->state) && !holds_slot(state);
    run->settling -= is_settling(attempt->state);
    run->settling += is_settling(state);
    attempt->state = state;
    if (frees_slot) {
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

struct ty_attempt *ty_attempt_new(struct ty_run *run, char *dir, const struct ty_ticket *ticket)
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
    attempt->run->busy -= holds_slot(attempt->state);
    attempt->run->settling -= is_settling(attempt->state);
    attempt->state = TY_ATTEMPT_GONE;
    forget(attempt);
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

// Without the record of its end the supervisor was killed.
static void kill_strays(struct ty_attempt *attempt)
{
    unsigned strays = ty_job_dir_has(attempt->dir, "exit") ? 0 : ty_strays_kill(attempt->dir);
    if (strays)
        ty_log(TY_LOG_WARN, "attempt.strays", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
               TY_KV("killed", "%u", strays));
}

static void ship_rest(struct ty_attempt *attempt)
{
    kill_strays(attempt);
    ty_attempt_look_at_stage(attempt);
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

static void drop_rest(struct ty_attempt *attempt)
{
    kill_strays(attempt);
    drop(attempt);
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

static void count(struct ty_attempt *attempt)
{
    struct ty_run_figures *figures = &attempt->run->figures;
    enum ty_finish_action action = attempt->verdict.action;
    figures->completed += action == TY_FINISH_COMPLETED;
    figures->failed += action == TY_FINISH_FAILED;
    figures->canceled += action == TY_FINISH_CANCELED;
    figures->handed_back += action == TY_FINISH_HAND_BACK;
    figures->retried += action == TY_FINISH_RETRY;
}

// From here on the attempt keeps what it has on the disk until its end stands, or another's: the store may go back, and then
// only this worker knows how it ended. With Kafka away there may be many such, so they hold no files open.
static void settle(struct ty_attempt *attempt)
{
    ty_ship_free(attempt->ship);
    attempt->ship = NULL;
    enter(attempt, TY_ATTEMPT_SETTLING);
    ty_settle_soon(attempt->run);
    ty_run_check_drained(attempt->run);
}

static void told(struct ty_attempt *attempt)
{
    struct ty_err err;
    ty_log(TY_LOG_INFO, "attempt.told", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt),
           TY_KV("action", "%c", attempt->verdict.action), TY_KV("reason", "%s", ty_reason_name(attempt->verdict.reason)));
    if (!attempt->is_taken) {
        attempt->is_taken = true;
        attempt->settling_since_ms = ty_loop_now_ms(attempt->run->loop);
        count(attempt);
        if (attempt->has_dir && ty_job_dir_write(attempt->dir, TY_TAKEN_FILE, "", 0, &err) < 0)
            ty_log(TY_LOG_WARN, "attempt.dir", TY_KV("error", "%s", err.message));
    }
    settle(attempt);
}

static void refused(struct ty_attempt *attempt)
{
    if (attempt->is_taken)
        settle(attempt);
    else
        drop(attempt);
}

static void look_at_log(void *context);

static void on_spans(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count)
{
    struct ty_attempt *attempt = context;
    if (ty_run_release(attempt->run) && attempt->state == TY_ATTEMPT_KEEPING) {
        bool is_lost = !err && count && spans[0].attempt == attempt->ticket.attempt && spans[0].next < attempt->log_end;
        if (err)
            ty_loop_set_timer(attempt->run->loop, &attempt->timer, SAFE_AGAIN_MS, look_at_log, attempt);
        else
            ty_attempt_on(attempt, is_lost ? TY_ATTEMPT_ON_TELL_AGAIN : TY_ATTEMPT_ON_LOG_SAFE);
    }
    ty_attempt_release(attempt);
}

static void look_at_log(void *context)
{
    struct ty_attempt *attempt = context;
    ty_run_hold(attempt->run);
    ty_state_log_spans(attempt->run->state, &attempt->ticket.id, 1, on_spans, ty_attempt_hold(attempt));
}

// Logs lie elsewhere than jobs, and a store that is killed loses its last second: the spool stays until the end of the log has
// outlived that.
static void keep(struct ty_attempt *attempt)
{
    uint64_t age_ms = ty_loop_now_ms(attempt->run->loop) - attempt->log_end_ms;
    if (!attempt->log_end) {
        go(attempt);
        return;
    }
    enter(attempt, TY_ATTEMPT_KEEPING);
    ty_loop_set_timer(attempt->run->loop, &attempt->timer, age_ms < SAFE_MS ? SAFE_MS - age_ms : 0, look_at_log, attempt);
    ty_run_check_drained(attempt->run);
}

static void settled(struct ty_attempt *attempt)
{
    if (attempt->verdict.action != TY_FINISH_COMPLETED || !attempt->model_stage) {
        keep(attempt);
        return;
    }
    enter(attempt, TY_ATTEMPT_LINKING);
    ty_finish_link(attempt);
}

// The log first, as always: the store may have lost that, too. Meanwhile a renewal takes the job up again.
static void tell_again(struct ty_attempt *attempt)
{
    ty_log(TY_LOG_WARN, "attempt.tell_again", TY_KV("job", "%s", attempt->id), TY_KV("attempt", "%u", attempt->ticket.attempt));
    attempt->run->figures.told_again++;
    attempt->log_end = 0;
    attempt->unknown_since_ms = 0;
    if (!attempt->control) { // it had no log
        tell(attempt);
        return;
    }
    ty_attempt_open_log(attempt);
    attempt->waiting_since_ms = ty_loop_now_ms(attempt->run->loop);
    attempt->log_progress = ty_ship_progress(attempt->ship);
    ty_ship_end(attempt->ship);
    enter(attempt, TY_ATTEMPT_SHIPPING);
    ty_lease_renew_soon(attempt);
}

// What is not in the table does not happen in that state.
static void (*const table[TY_ATTEMPT_STATES][TY_ATTEMPT_EVENTS])(struct ty_attempt *attempt) = {
    [TY_ATTEMPT_RUNNING] = {
        [TY_ATTEMPT_ON_UNSTARTED] = tell,
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
        [TY_ATTEMPT_ON_REFUSED] = refused,
    },
    [TY_ATTEMPT_SETTLING] = {
        [TY_ATTEMPT_ON_SETTLED] = settled,
        [TY_ATTEMPT_ON_TELL_AGAIN] = tell_again,
        [TY_ATTEMPT_ON_OTHER_END] = drop,
    },
    [TY_ATTEMPT_LINKING] = {
        [TY_ATTEMPT_ON_LINKED] = keep,
    },
    [TY_ATTEMPT_KEEPING] = {
        [TY_ATTEMPT_ON_LOG_SAFE] = go,
        [TY_ATTEMPT_ON_TELL_AGAIN] = tell_again,
    },
    [TY_ATTEMPT_LEAVING] = {
        [TY_ATTEMPT_ON_SUPERVISOR_END] = drop_rest,
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

void ty_attempt_look_at_stage(struct ty_attempt *attempt)
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
    // A store that takes no log at all may take none for long: the job's end does not wait for that.
    uint64_t wait_ms = attempt->run->options.log_wait_ms;
    if (attempt->run->sheds_logs && wait_ms > FULL_WAIT_MS)
        wait_ms = FULL_WAIT_MS;
    if (now_ms - attempt->waiting_since_ms >= wait_ms) {
        ty_ship_give_up(attempt->ship);
        ty_attempt_on(attempt, TY_ATTEMPT_ON_LOG_TIMEOUT);
    }
}

void ty_attempt_tick(struct ty_attempt *attempt)
{
    switch (attempt->state) {
    case TY_ATTEMPT_RUNNING:
        ty_attempt_look_at_stage(attempt);
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
    struct ty_attempt *attempt = context;
    if (event == TY_SHIP_SEALED) {
        attempt->log_end = ty_ship_next(attempt->ship);
        attempt->log_end_ms = ty_loop_now_ms(attempt->run->loop);
        ty_log_usage_tell(attempt);
    }
    ty_attempt_on(attempt, events[event]);
}

void ty_attempt_open_log(struct ty_attempt *attempt)
{
    const struct ty_ticket *ticket = &attempt->ticket;
    const struct ty_container *container = ticket->container ? ty_catalog_container(attempt->run->catalog, ticket->container) : NULL;
    struct ty_ship_options options = {
        .loop = attempt->run->loop,
        .state = attempt->run->state,
        .control = attempt->control,
        .dir = attempt->dir,
        .worker = ticket->worker,
        .steps = ty_plan_steps,
        .step_count = TY_PLAN_STEPS,
        .stderr_level = attempt->run->options.stderr_level,
        .after = ticket->after,
        .id = ticket->id,
        .token = ticket->token,
        .attempt = ticket->attempt,
        .fence = ticket->fence,
        .started_us = ticket->claimed_us,
        .entries = &attempt->run->figures.log_entries,
        .is_shedding = &attempt->run->sheds_logs,
        .stored_bytes = &attempt->log_bytes,
        .is_short = &attempt->log_is_short,
        .progress_rules = container ? container->progress : NULL,
    };
    attempt->ship = ty_ship_new(&options, on_ship, attempt);
}

