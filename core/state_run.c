// The store's side of the run role: claims, leases, ends.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/state_internal.h"

#define RECLAIM_LIMIT 256
#define RECLAIM_TICK_MS 1000
#define SITE_BYTES 48
#define RETIRE_LIMIT 256
#define RETIRE_KEYS 1000 // of the store looked over in one step

static void on_claimed(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_claimed *jobs = NULL;
    size_t count = 0;
    if (ty_state_check_array(reply, cause, 0, &err) < 0 || ty_state_take_jobs(reply, 0, &jobs, &count, &err) < 0)
        call->fn.claim(call->context, &err, NULL, 0);
    else
        call->fn.claim(call->context, NULL, jobs, count);
    free(jobs);
    free(call);
}

void ty_state_claim(struct ty_state *state, unsigned shard, const struct ty_token *token, const char *worker,
                    unsigned max, uint32_t lease_ms, const char *const *pools, size_t pool_count, ty_claim_fn fn,
                    void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.claim = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add(&args, token->bytes, sizeof token->bytes);
    ty_args_add_text(&args, worker);
    ty_args_add_u64(&args, max < TY_LIMIT_CLAIM_JOBS ? max : TY_LIMIT_CLAIM_JOBS);
    ty_args_add_u64(&args, lease_ms);
    ty_args_add_u64(&args, state->tick[shard]);
    for (size_t i = 0; i < pool_count; i++)
        ty_args_add_text(&args, pools[i]);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_CLAIM, key, &args, on_claimed, call);
}

void ty_state_on_results(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, call->count, &err) < 0) {
        call->fn.results(call->context, &err, NULL, call->count);
    } else {
        int *results = ty_xcalloc(call->count + 1, sizeof *results);
        for (size_t i = 0; i < call->count; i++)
            results[i] = (int)reply->items[i].integer;
        call->fn.results(call->context, NULL, results, call->count);
        free(results);
    }
    free(call);
}

void ty_state_renew(struct ty_state *state, unsigned shard, const struct ty_renewal *renewals, size_t count,
                    ty_results_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.results = fn;
    call->count = count;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    for (size_t i = 0; i < count; i++) {
        const struct ty_renewal *r = &renewals[i];
        ty_args_add(&args, r->id.bytes, sizeof r->id.bytes);
        ty_args_add(&args, r->token.bytes, sizeof r->token.bytes);
        ty_args_add_u64(&args, r->attempt);
        ty_args_add_u64(&args, r->fence);
        ty_args_add_u64(&args, r->lease_ms);
        ty_args_add_u64(&args, r->stage);
        ty_args_add(&args, r->patch, r->patch_len);
        ty_args_add_text(&args, r->worker);
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_RENEW, key, &args, ty_state_on_results, call);
}

// What the site says about attempts that end early, as site_of in prelude.lua.in reads it.
static void add_site(const struct ty_state *state, struct ty_args *args)
{
    const struct ty_state_options *site = &state->options;
    char *text = ty_args_keep(args, SITE_BYTES);
    snprintf(text, SITE_BYTES, "%" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32, site->default_max_attempts, site->max_losses,
             site->retry_base_ms, site->retry_max_ms);
    ty_args_add_text(args, text);
}

// A finish may have removed its job, and then its logs go too.
struct finish_call {
    struct ty_call *call;
    struct ty_id *ids;
    uint32_t *attempts;
};

static void on_finished(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct finish_call *finish = context;
    struct ty_state *state = finish->call->state;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, finish->call->count, &err) == 0)
        for (size_t i = 0; i < finish->call->count; i++)
            if (reply->items[i].integer == TY_FINISH_DELETED)
                ty_state_log_remove(state, &finish->ids[i], finish->attempts[i]);
    ty_state_on_results(finish->call, reply, cause);
    free(finish->ids);
    free(finish->attempts);
    free(finish);
}

void ty_state_finish(struct ty_state *state, unsigned shard, const struct ty_finish *finishes, size_t count,
                     ty_results_fn fn, void *context)
{
    struct finish_call *finish = ty_xcalloc(1, sizeof *finish);
    finish->call = ty_call_new(state, context);
    finish->call->fn.results = fn;
    finish->call->count = count;
    finish->ids = ty_xcalloc(count + 1, sizeof *finish->ids);
    finish->attempts = ty_xcalloc(count + 1, sizeof *finish->attempts);
    struct ty_args args;
    char key[24], *actions = ty_xcalloc(count + 1, 1);
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    add_site(state, &args);
    for (size_t i = 0; i < count; i++) {
        const struct ty_finish *f = &finishes[i];
        finish->ids[i] = f->id;
        finish->attempts[i] = f->attempt;
        actions[i] = (char)f->action;
        ty_args_add(&args, f->id.bytes, sizeof f->id.bytes);
        ty_args_add(&args, f->token.bytes, sizeof f->token.bytes);
        ty_args_add_u64(&args, f->attempt);
        ty_args_add(&args, &actions[i], 1);
        ty_args_add_u64(&args, (uint64_t)f->reason);
        ty_args_add(&args, f->patch, f->patch_len);
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_FINISH, key, &args, on_finished, finish);
    free(actions);
}

void ty_state_end_log(struct ty_state *state, const struct ty_id *id, int64_t attempt)
{
    if (attempt < 0)
        ty_state_log_seal(state, id, (uint32_t)-attempt, true);
    else
        ty_state_log_remove(state, id, (uint32_t)attempt);
}

void ty_state_end_logs(struct ty_state *state, const struct ty_redis_reply *reply, size_t at)
{
    for (; at + 1 < reply->count; at += 2) {
        struct ty_id id;
        if (reply->items[at].len != sizeof id.bytes)
            continue;
        memcpy(id.bytes, reply->items[at].bytes, sizeof id.bytes);
        ty_state_end_log(state, &id, reply->items[at + 1].integer);
    }
}

// What a lost worker had takes no more of its log; what was to be deleted is gone, and its logs go too.
static void take_logs(struct ty_state *state, const struct ty_redis_reply *reply, size_t at)
{
    enum { QUEUED, ENDED, REMOVED };
    for (; at + 2 < reply->count; at += 3) {
        struct ty_id id;
        if (reply->items[at].len != sizeof id.bytes)
            continue;
        memcpy(id.bytes, reply->items[at].bytes, sizeof id.bytes);
        uint32_t attempt = (uint32_t)reply->items[at + 1].integer;
        if (reply->items[at + 2].integer == REMOVED)
            ty_state_log_remove(state, &id, attempt);
        else
            ty_state_log_seal(state, &id, attempt, reply->items[at + 2].integer == ENDED);
    }
}

static void on_reclaimed(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 2, &err) < 0) {
        call->fn.reclaim(call->context, &err, 0);
        free(call);
        return;
    }
    // A clock that a slow answer brings is older than what was seen since.
    if ((uint64_t)reply->items[1].integer > call->state->tick[call->shard])
        call->state->tick[call->shard] = (uint64_t)reply->items[1].integer;
    take_logs(call->state, reply, 2);
    call->fn.reclaim(call->context, NULL, (unsigned)reply->items[0].integer);
    free(call);
}

void ty_state_reclaim(struct ty_state *state, unsigned shard, uint32_t lease_ms, ty_reclaim_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.reclaim = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    add_site(state, &args);
    ty_args_add_u64(&args, lease_ms);
    ty_args_add_u64(&args, RECLAIM_LIMIT);
    ty_args_add_u64(&args, RECLAIM_TICK_MS);
    ty_args_add_u64(&args, state->tick[shard]);
    call->shard = shard;
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_RECLAIM, key, &args, on_reclaimed, call);
}

static void on_retired(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 1, &err) < 0) {
        call->fn.retire(call->context, &err, 0, 0);
    } else {
        ty_state_end_logs(call->state, reply, 1);
        call->fn.retire(call->context, NULL, (unsigned)(reply->count / 2), (unsigned)reply->items[0].integer);
    }
    free(call);
}

void ty_state_retire(struct ty_state *state, unsigned shard, uint64_t interval_ms, ty_retire_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.retire = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    ty_args_add_u64(&args, state->options.job_retention_ms);
    ty_args_add_u64(&args, RETIRE_LIMIT);
    ty_args_add_u64(&args, interval_ms);
    ty_args_add_u64(&args, state->tick[shard]);
    ty_args_add_u64(&args, RETIRE_KEYS);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_RETIRE, key, &args, on_retired, call);
}

void ty_state_unlinked(struct ty_state *state, unsigned shard, uint64_t age_ms, unsigned max, ty_claim_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.claim = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, age_ms);
    ty_args_add_u64(&args, max);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_UNLINKED, key, &args, on_claimed, call);
}

static void on_linked(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    (void)context;
    (void)reply;
    (void)cause;
}

void ty_state_linked(struct ty_state *state, const struct ty_id *id)
{
    char *key TY_FREE = ty_xasprintf("%su", state->prefix[ty_state_shard_of(state, id)]);
    const char *argv[] = {"ZREM", key, (const char *)id->bytes};
    size_t lens[] = {4, strlen(key), sizeof id->bytes};
    ty_redis_command(state->redis, 3, argv, lens, on_linked, NULL);
}
