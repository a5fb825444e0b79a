// What logs take: told to the job's shard, and put right there by looking at the logs, which lie in slots of their own.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

#define LOOK_LOGS 1000 // in one step

static void on_sums(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    int rc = ty_state_check_array(reply, cause, call->count + 1, &err);
    uint64_t *sums = ty_xcalloc(call->count + 1, sizeof *sums);
    for (size_t i = 0; rc == 0 && i < call->count; i++)
        sums[i] = (uint64_t)reply->items[1 + i].integer;
    if (call->fn.log_sums)
        call->fn.log_sums(call->context, rc < 0 ? &err : NULL, rc < 0 ? 0 : (uint64_t)reply->items[0].integer, sums, call->count);
    free(sums);
    free(call);
}

void ty_state_log_sums(struct ty_state *state, unsigned shard, const struct ty_log_usage *usages, size_t count, ty_log_sums_fn fn,
                       void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.log_sums = fn;
    call->count = count;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    for (size_t i = 0; i < count; i++) {
        ty_args_add(&args, usages[i].id.bytes, sizeof usages[i].id.bytes);
        ty_args_add_text(&args, usages[i].organization ? usages[i].organization : "");
        ty_args_add_u64(&args, usages[i].bytes);
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_LOG_SUMS, key, &args, on_sums, call);
}

// ---- looking ----

struct look {
    struct ty_state *state;
    struct ty_id id;
};

static void on_size(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct look *look = context;
    struct ty_log_usage usage = {.id = look->id};
    (void)cause;
    if (reply && reply->type == TY_REDIS_BYTES)
        usage.bytes = strtoull(reply->bytes, NULL, 10);
    if (reply && (reply->type == TY_REDIS_BYTES || reply->type == TY_REDIS_NIL))
        ty_state_log_sums(look->state, ty_state_shard_of(look->state, &look->id), &usage, 1, NULL, NULL);
    free(look);
}

static void on_looked(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 0, &err) == 0)
        for (size_t i = 0; i < reply->count; i++) {
            if (reply->items[i].len != sizeof(struct ty_id))
                continue;
            struct look *look = ty_xcalloc(1, sizeof *look);
            char key[48];
            look->state = call->state;
            memcpy(look->id.bytes, reply->items[i].bytes, sizeof look->id.bytes);
            ty_state_log_key(&look->id, key);
            const char *argv[] = {"HGET", key, "y"};
            size_t lens[] = {4, strlen(key), 1};
            ty_redis_command(call->state->redis, 3, argv, lens, on_size, look);
        }
    free(call);
}

void ty_state_log_look(struct ty_state *state, unsigned shard, uint64_t interval_ms)
{
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, interval_ms);
    ty_args_add_u64(&args, LOOK_LOGS);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_LOG_LOOK, key, &args, on_looked, ty_call_new(state, NULL));
}
