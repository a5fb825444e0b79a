// The store's side of logs: what is written and removed. Their keys are tagged by job, so that logs spread over a cluster.
// Reading: state_log_page.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

void ty_state_log_key(const struct ty_id *id, char out[48])
{
    char *at = out;
    *at++ = '{';
    for (size_t i = 0; i < sizeof id->bytes; i++)
        at += sprintf(at, "%02x", id->bytes[i]);
    sprintf(at, "}:l");
}

static void on_counted(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    (void)context;
    (void)reply;
    (void)cause;
}

void ty_state_count_refused(struct ty_state *state, unsigned shard)
{
    char key[24];
    ty_state_meta_key(state, shard, key);
    const char *argv[] = {"HINCRBY", key, "stale_refused", "1"};
    size_t lens[] = {7, strlen(key), 13, 1};
    ty_redis_command(state->redis, 4, argv, lens, on_counted, NULL);
}

static void on_log(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_log_place place = {0};
    int64_t answer = 0;
    int rc = ty_state_check_array(reply, cause, 1, &err);
    if (rc == 0) {
        answer = reply->items[0].integer;
        if (reply->count >= 3)
            place = (struct ty_log_place){.next = (uint64_t)reply->items[1].integer,
                                          .sealed = (uint64_t)reply->items[2].integer,
                                          .bytes = reply->count >= 4 ? (uint64_t)reply->items[3].integer : 0,
                                          .fresh = answer == 2};
        if (answer == -1) {
            ty_state_count_refused(call->state, (unsigned)call->count);
            rc = ty_err_set(&err, TY_EABORTED, "log: another attempt has it");
        }
        else if (answer == -2)
            rc = ty_err_set(&err, TY_EPRECONDITION, "log: a hole before the first entry");
        else if (answer == -3)
            rc = ty_err_set(&err, TY_ENOTFOUND, "log: it is not open");
        else if (answer == -4)
            rc = ty_err_set(&err, TY_EABORTED, "log: its job was deleted");
    }
    call->fn.log(call->context, rc < 0 ? &err : NULL, &place);
    free(call);
}

void ty_state_log_open(struct ty_state *state, const struct ty_id *id, uint32_t attempt, uint64_t fence,
                       const struct ty_token *token, uint64_t first, ty_log_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.log = fn;
    call->count = ty_state_shard_of(state, id); // who counts what is refused
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, attempt);
    ty_args_add_u64(&args, fence);
    ty_args_add(&args, token->bytes, sizeof token->bytes);
    ty_args_add_u64(&args, first);
    ty_args_add_u64(&args, state->options.job_log_bytes);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_OPEN, key, &args, on_log, call);
}

static void add_retention(const struct ty_state *state, struct ty_args *args)
{
    if (state->options.log_retention_ms == UINT64_MAX)
        ty_args_add_text(args, "-1");
    else
        ty_args_add_u64(args, state->options.log_retention_ms);
}

void ty_state_log_append(struct ty_state *state, const struct ty_log_append *append, ty_log_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.log = fn;
    call->count = ty_state_shard_of(state, &append->id); // who counts what is refused
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, append->attempt);
    ty_args_add(&args, append->token.bytes, sizeof append->token.bytes);
    ty_args_add_text(&args, append->end ? "1" : "0");
    add_retention(state, &args);
    ty_args_add_u64(&args, append->limit_bytes ? append->limit_bytes : state->options.job_log_bytes);
    ty_args_add_u64(&args, append->short_bytes);
    ty_args_add_u64(&args, append->first);
    ty_args_add_u64(&args, append->chunk_count);
    for (size_t i = 0; i < append->chunk_count; i++)
        ty_args_add(&args, append->chunks[i].data, append->chunks[i].len);
    for (size_t i = 0; i < append->count; i++)
        ty_args_add(&args, append->entries[i].data, append->entries[i].len);
    ty_state_log_key(&append->id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_APPEND, key, &args, on_log, call);
}

static void on_done(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    (void)context;
    (void)reply;
    (void)cause;
}

struct removal {
    struct ty_state *state;
    struct ty_id id;
};

static void on_removed(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct removal *removal = context;
    struct ty_log_usage gone = {.id = removal->id};
    (void)cause;
    if (reply)
        ty_state_log_sums(removal->state, ty_state_shard_of(removal->state, &gone.id), &gone, 1, NULL, NULL);
    free(removal);
}

void ty_state_log_remove(struct ty_state *state, const struct ty_id *id, uint32_t attempts)
{
    struct removal *removal = ty_xcalloc(1, sizeof *removal);
    struct ty_args args;
    char key[48];
    *removal = (struct removal){state, *id};
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, attempts);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_REMOVE, key, &args, on_removed, removal);
}

void ty_state_log_seal(struct ty_state *state, const struct ty_id *id, uint32_t attempt, bool ended)
{
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, attempt);
    ty_args_add_text(&args, ended ? "1" : "0");
    add_retention(state, &args);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_SEAL, key, &args, on_done, NULL);
}
