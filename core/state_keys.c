// Access keys out of the store. They lie on shard 0; in with them: state_apply.c.
#include <stdlib.h>

#include "core/buf.h"
#include "core/state_internal.h"

#define HEAD 4 // items before the keys

static uint64_t number(const struct ty_redis_reply *reply)
{
    return reply->type == TY_REDIS_BYTES ? strtoull(reply->bytes, NULL, 10) : (uint64_t)reply->integer;
}

static bool is_whole(const struct ty_redis_reply *reply)
{
    if (reply->items[1].type != TY_REDIS_BYTES)
        return false;
    for (size_t i = HEAD; i + 2 < reply->count; i += 3)
        if (reply->items[i + 1].type != TY_REDIS_BYTES || reply->items[i + 2].type != TY_REDIS_BYTES)
            return false;
    return true;
}

static void deliver(struct ty_call *call, const struct ty_redis_reply *reply)
{
    size_t count = (reply->count - HEAD) / 3;
    struct ty_err err;
    if (!is_whole(reply)) {
        ty_err_set(&err, TY_EINTERNAL, "Redis: keys in another shape");
        call->fn.keys(call->context, &err, NULL);
        return;
    }
    struct ty_stored_key *keys = ty_xcalloc(count + 1, sizeof *keys);
    for (size_t i = 0; i < count; i++) {
        const struct ty_redis_reply *items = &reply->items[HEAD + 3 * i];
        keys[i] = (struct ty_stored_key){.order = number(&items[0]), .name = items[1].bytes, .name_len = items[1].len,
                                         .value = items[2].bytes, .value_len = items[2].len};
    }
    struct ty_key_page page = {.is_whole = reply->items[0].integer == 1, .incarnation = reply->items[1].bytes,
                               .latest = number(&reply->items[2]),
                               .more = reply->items[3].integer == 1, .keys = keys, .count = count};
    call->fn.keys(call->context, NULL, &page);
    free(keys);
}

static void on_keys(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, HEAD, &err) < 0)
        call->fn.keys(call->context, &err, NULL);
    else
        deliver(call, reply);
    free(call);
}

void ty_state_keys(struct ty_state *state, uint64_t after, unsigned max, ty_keys_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    struct ty_args args;
    char key[24];
    call->fn.keys = fn;
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, after);
    ty_args_add_u64(&args, max);
    ty_state_meta_key(state, 0, key);
    ty_state_eval(state, TY_SCRIPT_KEYS, key, &args, on_keys, call);
}
