#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log.h"
#include "worker/run/run_internal.h"

#define AGAIN_MS 500

enum phase {
    IDLE,
    ASKING,  // the answer is to come
    UNKNOWN, // it did not come: whether jobs were claimed is not known, the same is asked again
};

struct ty_claim {
    struct ty_run *run;
    const char **pools; // pool_count of them twice over, so that any of them can be the first
    size_t pool_count, first_pool;
    ty_claim_room_fn room;
    ty_claim_take_fn take;
    void *context;
    enum phase phase;
    bool freed, again, paused;
    struct ty_token token;
    unsigned shard, shards_left, asked;
    uint64_t sent_ns;
    struct ty_timer timer;
};

static void ask(struct ty_claim *claim);

static void destroy(struct ty_claim *claim)
{
    free(claim->pools);
    free(claim);
}

static void next_shard(struct ty_claim *claim)
{
    claim->shard = (claim->shard + 1) % ty_state_shards(claim->run->state);
    claim->shards_left--;
}

static void go_on(struct ty_claim *claim)
{
    struct ty_run *run = claim->run;
    unsigned room = claim->room(claim->context);
    if (!claim->shards_left && claim->again) {
        claim->again = false;
        claim->shards_left = ty_state_shards(run->state);
    }
    if (!claim->shards_left || !room || !run->up || run->draining || claim->paused) {
        claim->shards_left = 0;
        claim->phase = IDLE;
        ty_run_check_drained(run);
        return;
    }
    claim->asked = room < TY_LIMIT_CLAIM_JOBS ? room : TY_LIMIT_CLAIM_JOBS;
    claim->token = ty_token_new();
    claim->first_pool = (claim->first_pool + 1) % claim->pool_count;
    claim->sent_ns = ty_clock_boot_ns();
    ask(claim);
}

static void on_timer(void *context)
{
    struct ty_claim *claim = context;
    claim->paused = false;
    if (claim->phase == UNKNOWN && claim->run->up)
        ask(claim);
    else
        ty_claim_wake(claim);
}

static void take_error(struct ty_claim *claim, const struct ty_err *err)
{
    struct ty_run *run = claim->run;
    if (err->code == TY_EUNAVAILABLE || err->code == TY_EDEADLINE) {
        claim->phase = UNKNOWN;
        ty_loop_set_timer(run->loop, &claim->timer, ty_run_jitter(run, AGAIN_MS), on_timer, claim);
        return;
    }
    ty_log(TY_LOG_WARN, "claim", TY_KV("error", "%s", err->message));
    claim->shards_left = 0;
    claim->again = false;
    go_on(claim);
}

static void on_claimed(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct ty_claim *claim = context;
    struct ty_run *run = claim->run;
    if (!ty_run_release(run) || claim->freed) {
        destroy(claim);
        return;
    }
    if (err) {
        take_error(claim, err);
        return;
    }
    run->figures.claimed += count;
    // The phase stays ASKING while the jobs are taken: a wake from inside is remembered, not acted upon.
    if (count)
        claim->take(claim->context, &claim->token, claim->shard, claim->sent_ns, jobs, count);
    if (count < claim->asked)
        next_shard(claim);
    go_on(claim);
}

static void ask(struct ty_claim *claim)
{
    struct ty_run *run = claim->run;
    // With a maximum of 0 the answer says what was claimed before, and nothing more is.
    unsigned max = run->draining ? 0 : claim->asked;
    claim->phase = ASKING;
    ty_lease_renew_unknown(run, claim->shard);
    ty_run_hold(run);
    ty_state_claim(run->state, claim->shard, &claim->token, run->options.worker, max, run->options.lease_ms,
                   claim->pools + claim->first_pool, claim->pool_count, on_claimed, claim);
}

struct ty_claim *ty_claim_new(struct ty_run *run, const char *const *pools, size_t pool_count, ty_claim_room_fn room,
                              ty_claim_take_fn take, void *context)
{
    struct ty_claim *claim = ty_xcalloc(1, sizeof *claim);
    *claim = (struct ty_claim){.run = run, .pool_count = pool_count, .room = room, .take = take, .context = context};
    claim->pools = ty_xcalloc(2 * pool_count, sizeof *claim->pools);
    for (size_t i = 0; i < 2 * pool_count; i++)
        claim->pools[i] = pools[i % pool_count];
    return claim;
}

void ty_claim_free(struct ty_claim *claim)
{
    if (!claim)
        return;
    ty_loop_clear_timer(claim->run->loop, &claim->timer);
    claim->freed = true;
    if (claim->phase != ASKING)
        destroy(claim);
}

void ty_claim_wake(struct ty_claim *claim)
{
    struct ty_run *run = claim->run;
    if (claim->phase == UNKNOWN) {
        if (run->up)
            ask(claim);
        return;
    }
    claim->again = true;
    if (claim->phase == IDLE && run->up && !run->draining && !claim->paused) {
        claim->again = false;
        claim->shards_left = ty_state_shards(run->state);
        go_on(claim);
    }
}

bool ty_claim_is_idle(const struct ty_claim *claim)
{
    return claim->phase == IDLE;
}

void ty_claim_pause(struct ty_claim *claim, uint64_t ms)
{
    claim->paused = true;
    if (claim->phase != UNKNOWN)
        ty_loop_set_timer(claim->run->loop, &claim->timer, ty_run_jitter(claim->run, ms), on_timer, claim);
}
