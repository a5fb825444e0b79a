// How an attempt's end is told, again and again until the store has taken it, and what follows when it has.
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/log.h"
#include "worker/run/run_internal.h"
#include "worker/run/spawn.h"

#define TELL_AGAIN_MS 1000
#define LINK_AGAIN_MS 5000
#define TAIL_BYTES (TY_LIMIT_ERROR_MESSAGE_BYTES - 1500) // leaves room for the verdict's own text

// ---- judging ----

static char *tail_of(const struct ty_attempt *attempt)
{
    TY_BUF(tail);
    if (attempt->ship)
        ty_ship_tail(attempt->ship, TAIL_BYTES, &tail);
    return ty_xstrdup(ty_buf_text(&tail));
}

void ty_finish_judge(struct ty_attempt *attempt)
{
    TY_BUF(collected);
    struct ty_err err;
    if (attempt->judged)
        return;
    attempt->judged = true;
    char *tail TY_FREE = tail_of(attempt);
    if (ty_job_dir_read(attempt->dir, "collected", &collected, &err) == 0)
        attempt->model_stage = ty_job_dir_field(&collected, "stage");
    ty_verdict_of(&attempt->ending, tail, attempt->model_stage != NULL, &attempt->verdict);
    struct ty_retries retries;
    memcpy(retries.bits, attempt->ticket.retries, sizeof retries.bits);
    ty_verdict_retry(&attempt->ending, &retries, &attempt->verdict);
}

// ---- telling ----

static void again(void *context)
{
    ty_finish_tell(context);
}

static void set_again(struct ty_attempt *attempt)
{
    if (attempt->run->up)
        ty_loop_set_timer(attempt->run->loop, &attempt->timer, ty_run_jitter(attempt->run, TELL_AGAIN_MS), again, attempt);
}

// The store went back to before this job: its submit will be replayed and a renewal will take it up again.
static void wait_for_job(struct ty_attempt *attempt)
{
    uint64_t now_ms = ty_loop_now_ms(attempt->run->loop);
    if (!attempt->unknown_since_ms)
        attempt->unknown_since_ms = now_ms;
    if (now_ms - attempt->unknown_since_ms > attempt->run->options.lost_lease_limit_ms) {
        ty_attempt_on(attempt, TY_ATTEMPT_ON_REFUSED);
        return;
    }
    ty_lease_renew_soon(attempt);
    set_again(attempt);
}

// "Already done by this token" may have been done by the lease clock, too.
static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_attempt *attempt = context;
    struct ty_run *run = attempt->run;
    const struct ty_ticket *ticket = &attempt->ticket;
    if (ty_run_release(run) && attempt->state == TY_ATTEMPT_TELLING) {
        attempt->telling = false;
        if (err)
            set_again(attempt);
        else if (record && record->state == TY_JOB_COMPLETED && record->attempt == ticket->attempt &&
                 record->fence == ticket->fence)
            ty_attempt_on(attempt, TY_ATTEMPT_ON_TOLD);
        else
            ty_attempt_on(attempt, TY_ATTEMPT_ON_REFUSED);
    }
    ty_attempt_release(attempt);
}

static void check_completed(struct ty_attempt *attempt)
{
    attempt->telling = true;
    ty_run_hold(attempt->run);
    ty_state_get(attempt->run->state, &attempt->ticket.id, on_got, ty_attempt_hold(attempt));
}

static void take_answer(struct ty_attempt *attempt, enum ty_finished finished)
{
    switch (finished) {
    case TY_FINISHED:
        ty_attempt_on(attempt, TY_ATTEMPT_ON_TOLD);
        break;
    case TY_FINISH_ALREADY:
        if (attempt->verdict.action == TY_FINISH_COMPLETED)
            check_completed(attempt);
        else
            ty_attempt_on(attempt, TY_ATTEMPT_ON_TOLD);
        break;
    case TY_FINISH_DELETED: // nobody wants the model
        free(attempt->model_stage);
        attempt->model_stage = NULL;
        ty_attempt_on(attempt, TY_ATTEMPT_ON_TOLD);
        break;
    case TY_FINISH_UNKNOWN:
        wait_for_job(attempt);
        break;
    case TY_FINISH_LATER:
        attempt->unknown_since_ms = 0;
        ty_lease_renew_soon(attempt);
        set_again(attempt);
        break;
    default:
        ty_attempt_on(attempt, TY_ATTEMPT_ON_REFUSED);
        break;
    }
}

static void on_finished(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct ty_attempt *attempt = context;
    if (ty_run_release(attempt->run) && attempt->state == TY_ATTEMPT_TELLING) {
        attempt->telling = false;
        if (err || !count) {
            bool is_away = err && (err->code == TY_EUNAVAILABLE || err->code == TY_EDEADLINE);
            if (!is_away)
                ty_log(TY_LOG_WARN, "attempt.tell", TY_KV("job", "%s", attempt->id),
                       TY_KV("error", "%s", err ? err->message : "an empty answer"));
            set_again(attempt);
        } else {
            take_answer(attempt, (enum ty_finished)results[0]);
        }
    }
    ty_attempt_release(attempt);
}

// "" where the store has the whole log.
static void say_incomplete(const struct ty_attempt *attempt, struct ty_buf *out)
{
    uint64_t lines, bytes;
    if (attempt->ship && !ty_ship_is_sealed(attempt->ship)) {
        ty_ship_missing(attempt->ship, &lines, &bytes);
        ty_verdict_incomplete(lines, bytes, out);
    }
}

static void add_patch(struct ty_attempt *attempt, struct ty_buf *patch)
{
    const struct ty_verdict *verdict = &attempt->verdict;
    TY_BUF(incomplete);
    say_incomplete(attempt, &incomplete);
    if (verdict->action == TY_FINISH_COMPLETED) {
        char *model TY_FREE = ty_xasprintf("%s/%s", attempt->ticket.organization, attempt->ticket.model);
        ty_patch_model(patch, model);
        if (incomplete.len)
            ty_patch_error(patch, 0, ty_buf_text(&incomplete)); // OK, and a word
    } else if (verdict->grpc_code) {
        TY_BUF(message);
        char *tail TY_FREE = tail_of(attempt);
        ty_verdict_message(verdict, attempt->ticket.attempt, tail, ty_buf_text(&incomplete), &message);
        ty_patch_error(patch, verdict->grpc_code, ty_buf_text(&message));
    }
}

void ty_finish_tell(struct ty_attempt *attempt)
{
    struct ty_run *run = attempt->run;
    TY_BUF(patch);
    if (attempt->telling || !run->up)
        return;
    ty_loop_clear_timer(run->loop, &attempt->timer);
    add_patch(attempt, &patch);
    struct ty_finish finish = {
        .id = attempt->ticket.id,
        .token = attempt->ticket.token,
        .attempt = attempt->ticket.attempt,
        .action = attempt->verdict.action == TY_FINISH_COMPLETED && attempt->model_stage ? TY_FINISH_COMPLETED_MODEL
                                                                                      : attempt->verdict.action,
        .reason = attempt->verdict.reason,
        .patch = patch.data,
        .patch_len = patch.len,
    };
    attempt->telling = true;
    ty_run_hold(run);
    ty_state_finish(run->state, attempt->shard, &finish, 1, on_finished, ty_attempt_hold(attempt));
}

// ---- linking ----

static void link_again(void *context)
{
    ty_finish_link(context);
}

static void on_link_end(void *context, pid_t pid, int code, int value)
{
    struct ty_attempt *attempt = context;
    (void)pid;
    attempt->link_pid = 0;
    bool is_done = code == CLD_EXITED && value == 0, is_refused = code == CLD_EXITED && value == 1;
    if (!is_done)
        ty_log(TY_LOG_ERROR, "model.link", TY_KV("job", "%s", attempt->id), TY_KV("model", "%s", attempt->ticket.model),
               TY_KV("version", "%s", attempt->ticket.model_version),
               TY_KV("error", "%s", is_refused ? "another job has this name and version" : "the store is in trouble"));
    if (is_done || is_refused) {
        ty_state_linked(attempt->run->state, &attempt->ticket.id);
        ty_attempt_on(attempt, TY_ATTEMPT_ON_LINKED);
    } else {
        ty_loop_set_timer(attempt->run->loop, &attempt->timer, LINK_AGAIN_MS, link_again, attempt);
    }
}

void ty_finish_link(struct ty_attempt *attempt)
{
    const struct ty_run_options *site = &attempt->run->options;
    const struct ty_ticket *ticket = &attempt->ticket;
    const char *argv[] = {site->stage_path, "link", "--store", site->store_dir, "--stage", attempt->model_stage,
                          "--organization", ticket->organization, "--model", ticket->model, "--model-version",
                          ticket->model_version, NULL};
    char *output TY_FREE = ty_xasprintf("%s/supervisor.log", attempt->dir);
    struct ty_err err;
    if (ty_spawn(attempt->run->loop, argv, output, on_link_end, attempt, &attempt->link_pid, &err) == 0)
        return;
    ty_log(TY_LOG_ERROR, "model.link", TY_KV("job", "%s", attempt->id), TY_KV("error", "%s", err.message));
    ty_loop_set_timer(attempt->run->loop, &attempt->timer, LINK_AGAIN_MS, link_again, attempt);
}
