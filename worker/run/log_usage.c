// What the logs of this worker's attempts take, told to their shards, whose answers say what the logs of an organization and of all
// take. A log above a limit of these is kept short (ship.h); no job ends by it.
#include <stdlib.h>

#include "core/log.h"
#include "worker/run/run_internal.h"

#define TELL_MS 2000

struct call {
    struct ty_run *run;
    size_t count;
    struct {
        struct ty_attempt *attempt;
        uint64_t bytes;
    } told[];
};

// Each shard has its part of the limit, as it has of the jobs.
static bool is_over(const struct ty_run *run, uint64_t bytes, uint64_t limit)
{
    return limit && bytes > limit / ty_state_shards(run->state);
}

static void set_short(struct ty_attempt *attempt, bool is_short)
{
    if (attempt->log_is_short == is_short)
        return;
    attempt->log_is_short = is_short;
    ty_log(TY_LOG_WARN, "log.limit", TY_KV("job", "%s", attempt->id), TY_KV("organization", "%s", attempt->ticket.organization),
           TY_KV("kept", "%s", is_short ? "short" : "whole"));
}

static void on_sums(void *context, const struct ty_err *err, uint64_t total, const uint64_t *organizations, size_t count)
{
    struct call *call = context;
    struct ty_run *run = call->run;
    bool goes_on = ty_run_release(run);
    for (size_t i = 0; i < call->count; i++) {
        struct ty_attempt *attempt = call->told[i].attempt;
        if (goes_on && !err && i < count) {
            attempt->log_bytes_told = call->told[i].bytes;
            set_short(attempt, is_over(run, organizations[i], run->options.organization_log_bytes) ||
                                   is_over(run, total, run->options.total_log_bytes));
        }
        ty_attempt_release(attempt);
    }
    free(call);
}

static bool has_news(const struct ty_attempt *attempt, unsigned shard)
{
    return attempt->shard == shard && attempt->log_bytes != attempt->log_bytes_told;
}

static void tell_shard(struct ty_run *run, unsigned shard)
{
    size_t count = 0;
    for (struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next)
        count += has_news(attempt, shard);
    if (!count)
        return;
    struct call *call = ty_xcalloc(1, sizeof *call + count * sizeof call->told[0]);
    struct ty_log_usage *usages = ty_xcalloc(count, sizeof *usages);
    call->run = run;
    for (struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next) {
        if (!has_news(attempt, shard))
            continue;
        call->told[call->count].attempt = ty_attempt_hold(attempt);
        call->told[call->count].bytes = attempt->log_bytes;
        usages[call->count++] = (struct ty_log_usage){attempt->ticket.id, attempt->ticket.organization, attempt->log_bytes};
    }
    ty_run_hold(run);
    ty_state_log_sums(run->state, shard, usages, call->count, on_sums, call);
    free(usages);
}

static void tell(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->log_usage_timer, ty_run_jitter(run, TELL_MS), tell, run);
    for (unsigned shard = 0; run->up && shard < ty_state_shards(run->state); shard++)
        tell_shard(run, shard);
}

void ty_log_usage_tell(struct ty_attempt *attempt)
{
    if (attempt->run->up)
        tell_shard(attempt->run, attempt->shard);
}

void ty_log_usage_start(struct ty_run *run)
{
    ty_loop_set_timer(run->loop, &run->log_usage_timer, ty_run_jitter(run, TELL_MS), tell, run);
}

void ty_log_usage_stop(struct ty_run *run)
{
    ty_loop_clear_timer(run->loop, &run->log_usage_timer);
}
