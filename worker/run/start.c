// How an attempt begins: claimed and started, or found on disk and gone on with.
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "worker/run/plan.h"
#include "worker/run/run_internal.h"
#include "worker/run/spawn.h"

#define DISK_PAUSE_MS 10000 // claims wait after this machine could not start an attempt

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
        .spool_limit_bytes = site->spool_limit_bytes,
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
    ty_attempt_on(attempt, TY_ATTEMPT_ON_UNSTARTED);
}

static void hand_back_unstarted(struct ty_attempt *attempt)
{
    attempt->verdict = (struct ty_verdict){
        .is_told = true, .action = TY_FINISH_HAND_BACK, .reason = TY_REASON_HANDED_BACK,
        .text = "the worker was stopped before it had started the attempt"};
    attempt->judged = true;
    ty_attempt_on(attempt, TY_ATTEMPT_ON_UNSTARTED);
}

// Why the attempt before this one ended, in a word; NULL where the record does not say.
static const char *reason_before(const struct ty_record *record)
{
    const uint8_t *entry;
    const char *found = NULL;
    size_t offset = 0, len;
    uint8_t type;
    while (ty_record_tail_next(record, &offset, &type, &entry, &len))
        if (type == TY_TAIL_HISTORY && len >= 5 && ty_get_le(entry + 3, 2) + 1 == record->attempt && entry[2] != TY_REASON_NONE)
            found = ty_reason_name(entry[2]);
    return found;
}

static struct ty_ticket ticket_for(struct ty_run *run, const struct ty_token *token, const struct ty_claimed *claimed,
                                   const struct ty_job *job)
{
    struct ty_retries retries;
    const char *after = reason_before(&claimed->record);
    ty_retries_of(job->options ? job->options->retry : NULL, &retries);
    struct ty_ticket ticket = {
        .id = claimed->id,
        .token = *token,
        .attempt = claimed->record.attempt,
        .fence = claimed->record.fence,
        .claimed_us = ty_clock_wall_us(),
        .worker = ty_xstrdup(run->options.worker),
        .organization = ty_xstrdup(job->metadata ? job->metadata->organization_id : ""),
        .model = ty_xstrdup(job->metadata ? job->metadata->model_name : ""),
        .model_version = ty_xstrdup(job->metadata ? job->metadata->model_version : ""),
        .container = job->container ? ty_xstrdup(job->container->key) : NULL,
        .after = after ? ty_xstrdup(after) : NULL,
    };
    memcpy(ticket.retries, retries.bits, sizeof ticket.retries);
    return ticket;
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
    struct ty_attempt *attempt = ty_attempt_new(run, dir, &ticket);
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
    ty_attempt_open_log(attempt);
}

// ---- adopting ----

void ty_attempt_adopt(struct ty_run *run, const char *dir, struct ty_ticket *ticket)
{
    struct ty_err err;
    struct ty_attempt *attempt = ty_attempt_new(run, ty_xstrdup(dir), ticket);
    attempt->has_dir = true;
    attempt->is_taken = ty_job_dir_has(dir, TY_TAKEN_FILE);
    attempt->settling_since_ms = ty_loop_now_ms(run->loop);
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
        ty_attempt_abandon(attempt);
        return;
    }
    ty_attempt_look_at_stage(attempt); // before a renewal tells the store another one
    ty_attempt_open_log(attempt);
    if (!is_held)
        ty_attempt_on(attempt, TY_ATTEMPT_ON_SUPERVISOR_END);
}
