// Leases, kept from here, where no job's code runs. One call renews all attempts of a shard, a third of a lease apart; what
// has news (a stage, a question) goes at once. Each answer moves the supervisor's own deadline on, counted from when the
// renewal was sent, since the store's lease cannot have begun before.
#include <stdlib.h>

#include "core/clock.h"
#include "core/log.h"
#include "worker/run/run_internal.h"

#define NEWS_AGAIN_MS 100 // news that came while a renewal was on its way
#define NEWS_SLOW_MS 1000 // news that the store did not take

enum which { ALL, NEWS, UNKNOWN };

struct renewal {
    struct ty_attempt *attempt;
    uint8_t stage;
    bool tells_version;
};

struct call {
    struct ty_run *run;
    uint64_t sent_ns;
    size_t count;
    struct renewal renewals[];
};

static void on_news_timer(void *context);

static bool has_news(const struct ty_attempt *attempt)
{
    return attempt->ask || attempt->stage != attempt->stage_told || (attempt->script_version && !attempt->version_told);
}

static void renew_news(struct ty_run *run, uint64_t delay_ms)
{
    const struct ty_timer *timer = &run->news_timer;
    if (!timer->index || timer->due_ms > ty_clock_mono_ms() + delay_ms)
        ty_loop_set_timer(run->loop, &run->news_timer, delay_ms, on_news_timer, run);
}

static void move_deadline(struct ty_attempt *attempt, uint64_t sent_ns)
{
    uint64_t deadline_ns = sent_ns + (uint64_t)attempt->run->options.lease_ms * 1000000;
    if (attempt->control && atomic_load(&attempt->control->deadline_ns) < deadline_ns)
        atomic_store(&attempt->control->deadline_ns, deadline_ns);
}

static void take_result(struct ty_attempt *attempt, const struct renewal *renewal, uint64_t sent_ns, enum ty_renewed renewed)
{
    switch (renewed) {
    case TY_RENEWED:
    case TY_RENEW_CANCEL:
        attempt->unknown_since_ms = 0;
        attempt->stage_told = renewal->stage;
        attempt->version_told = attempt->version_told || renewal->tells_version;
        move_deadline(attempt, sent_ns);
        if (renewed == TY_RENEW_CANCEL)
            ty_attempt_on(attempt, TY_ATTEMPT_ON_CANCEL);
        break;
    case TY_RENEW_LOST:
    case TY_RENEW_DELETED:
        ty_attempt_on(attempt, TY_ATTEMPT_ON_LOST);
        break;
    default: // unknown to a store that went back: the job runs on
        if (!attempt->unknown_since_ms)
            attempt->unknown_since_ms = ty_loop_now_ms(attempt->run->loop);
        break;
    }
}

static void on_renewed(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    struct ty_run *run = call->run;
    bool goes_on = ty_run_release(run), has_more = false, is_slow = err != NULL;
    for (size_t i = 0; i < call->count; i++) {
        struct ty_attempt *attempt = call->renewals[i].attempt;
        attempt->renewing = false;
        if (goes_on && !err && i < count)
            take_result(attempt, &call->renewals[i], call->sent_ns, (enum ty_renewed)results[i]);
        is_slow = is_slow || (i < count && results[i] == TY_RENEW_UNKNOWN);
        has_more = has_more || (goes_on && ty_attempt_holds_lease(attempt) && has_news(attempt));
        ty_attempt_release(attempt);
    }
    free(call);
    if (!goes_on)
        return;
    if (err && run->up) {
        ty_log(TY_LOG_WARN, "lease.renew", TY_KV("error", "%s", err->message));
        ty_lease_start(run);
    }
    if (has_more && run->up)
        renew_news(run, is_slow ? NEWS_SLOW_MS : NEWS_AGAIN_MS);
}

static bool is_wanted(const struct ty_attempt *attempt, unsigned shard, enum which which)
{
    if (attempt->shard != shard || !ty_attempt_holds_lease(attempt))
        return false;
    if (which == UNKNOWN)
        return attempt->unknown_since_ms != 0;
    return !attempt->renewing && (which == ALL || has_news(attempt));
}

static void renew_shard(struct ty_run *run, unsigned shard, enum which which)
{
    size_t count = 0;
    for (struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next)
        count += is_wanted(attempt, shard, which);
    if (!count)
        return;
    struct call *call = ty_xcalloc(1, sizeof *call + count * sizeof call->renewals[0]);
    struct ty_renewal *renewals = ty_xcalloc(count, sizeof *renewals);
    struct ty_buf *patches = ty_xcalloc(count, sizeof *patches);
    *call = (struct call){.run = run, .sent_ns = ty_clock_boot_ns()};
    for (struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next) {
        if (!is_wanted(attempt, shard, which))
            continue;
        size_t i = call->count++;
        bool tells_version = attempt->script_version && !attempt->version_told;
        if (tells_version)
            ty_patch_script_version(&patches[i], attempt->script_version);
        renewals[i] = (struct ty_renewal){
            .id = attempt->ticket.id, .token = attempt->ticket.token, .attempt = attempt->ticket.attempt,
            .fence = attempt->ticket.fence, .lease_ms = run->options.lease_ms, .stage = attempt->stage,
            .patch = patches[i].data, .patch_len = patches[i].len, .worker = run->options.worker};
        call->renewals[i] = (struct renewal){ty_attempt_hold(attempt), attempt->stage, tells_version};
        attempt->renewing = true;
        attempt->ask = false;
    }
    ty_run_hold(run);
    ty_state_renew(run->state, shard, renewals, count, on_renewed, call);
    for (size_t i = 0; i < count; i++)
        ty_buf_done(&patches[i]);
    free(patches);
    free(renewals);
}

static void renew(struct ty_run *run, enum which which)
{
    for (unsigned shard = 0; run->up && shard < ty_state_shards(run->state); shard++)
        renew_shard(run, shard, which);
}

static void on_news_timer(void *context)
{
    renew(context, NEWS);
}

static void on_renew_timer(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->renew_timer, run->options.lease_ms / 3, on_renew_timer, run);
    renew(run, ALL);
}

void ty_lease_renew_all(struct ty_run *run)
{
    on_renew_timer(run);
}

void ty_lease_renew_due(struct ty_run *run)
{
    if (run->renew_timer.index && run->renew_timer.due_ms <= ty_loop_now_ms(run->loop))
        on_renew_timer(run);
}

// The claim that follows on the same connection finds the job taken up again.
void ty_lease_renew_unknown(struct ty_run *run, unsigned shard)
{
    renew_shard(run, shard, UNKNOWN);
}

// A ninth of a lease, so that an error leaves time for more tries within it.
void ty_lease_start(struct ty_run *run)
{
    ty_loop_set_timer(run->loop, &run->renew_timer, run->options.lease_ms / 9, on_renew_timer, run);
}

void ty_lease_stop(struct ty_run *run)
{
    ty_loop_clear_timer(run->loop, &run->renew_timer);
    ty_loop_clear_timer(run->loop, &run->news_timer);
}

void ty_lease_renew_soon(struct ty_attempt *attempt)
{
    attempt->ask = true;
    renew_news(attempt->run, 0);
}
