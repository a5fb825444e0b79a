// The store's side of logs. Their keys are tagged by job, so that logs spread over a cluster.
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

// The log lies in a slot of its own, so its scripts cannot count beside the others: that it refused a stale attempt is told to the
// job's shard behind it. One that is lost on the way is not counted.
static void count_refused(struct ty_state *state, unsigned shard)
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
    uint64_t next = 0;
    int64_t answer = 0;
    int rc = ty_state_check_array(reply, cause, 2, &err);
    if (rc == 0) {
        answer = reply->items[0].integer;
        next = (uint64_t)reply->items[1].integer;
        if (answer == -1) {
            count_refused(call->state, (unsigned)call->count);
            rc = ty_err_set(&err, TY_EABORTED, "log: another attempt has it");
        }
        else if (answer == -2)
            rc = ty_err_set(&err, TY_EPRECONDITION, "log: a hole before the first entry");
        else if (answer == -3)
            rc = ty_err_set(&err, TY_ENOTFOUND, "log: it is not open");
    }
    call->fn.log(call->context, rc < 0 ? &err : NULL, next, answer == 2);
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
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_OPEN, key, &args, on_log, call);
}

void ty_state_log_append(struct ty_state *state, const struct ty_id *id, uint32_t attempt,
                         const struct ty_token *token, uint64_t first, const struct ty_bytes *entries,
                         size_t count, bool end, ty_log_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.log = fn;
    call->count = ty_state_shard_of(state, id); // who counts what is refused
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, attempt);
    ty_args_add(&args, token->bytes, sizeof token->bytes);
    ty_args_add_u64(&args, first);
    ty_args_add_text(&args, end ? "1" : "0");
    ty_args_add_u64(&args, state->options.log_retention_ms);
    for (size_t i = 0; i < count; i++)
        ty_args_add(&args, entries[i].data, entries[i].len);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_APPEND, key, &args, on_log, call);
}

// The runs as the script gives them: attempt, first sequence, count. False when they are not the entries'.
static bool take_runs(const struct ty_redis_reply *reply, size_t entries, struct ty_log_run **ret_runs, size_t *ret_count)
{
    size_t count = reply->type == TY_REDIS_ARRAY ? reply->count / 3 : 0, covered = 0;
    struct ty_log_run *runs = ty_xcalloc(count + 1, sizeof *runs);
    for (size_t i = 0; i < count; i++) {
        const struct ty_redis_reply *at = &reply->items[3 * i];
        runs[i] = (struct ty_log_run){(uint32_t)at[0].integer, (uint64_t)at[1].integer, (size_t)at[2].integer};
        covered += runs[i].count;
    }
    *ret_runs = runs;
    *ret_count = count;
    return covered == entries;
}

static void on_page(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_log_run *runs TY_FREE = NULL;
    size_t run_count = 0;
    int rc = ty_state_check_array(reply, cause, 5, &err);
    if (rc == 0 && !take_runs(&reply->items[4], reply->count - 5, &runs, &run_count))
        rc = ty_err_set(&err, TY_EINTERNAL, "Redis: a page of a log without the places of its entries");
    if (rc < 0) {
        call->fn.log_page(call->context, &err, NULL);
        free(call);
        return;
    }
    size_t count = reply->count - 5;
    struct ty_bytes *entries = ty_xcalloc(count + 1, sizeof *entries);
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct ty_bytes){reply->items[5 + i].bytes, reply->items[5 + i].len};
    struct ty_log_page page = {
        .entries = entries,
        .count = count,
        .runs = runs,
        .run_count = run_count,
        .more = reply->items[0].integer != 0,
        .ended = reply->items[1].integer != 0,
        .next_attempt = (uint32_t)reply->items[2].integer,
        .next_sequence = (uint64_t)reply->items[3].integer,
    };
    call->fn.log_page(call->context, NULL, &page);
    free(entries);
    free(call);
}

void ty_state_log_page(struct ty_state *state, const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                       unsigned max_entries, size_t max_bytes, ty_log_page_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.log_page = fn;
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, attempt);
    ty_args_add_u64(&args, sequence);
    ty_args_add_u64(&args, max_entries);
    ty_args_add_u64(&args, max_bytes);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_PAGE, key, &args, on_page, call);
}

static void on_removed(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    (void)context;
    (void)reply;
    (void)cause;
}

void ty_state_log_remove(struct ty_state *state, const struct ty_id *id, uint32_t attempts)
{
    char key[48];
    ty_state_log_key(id, key);
    struct ty_args args = {0};
    ty_args_add_text(&args, "UNLINK");
    ty_args_add_text(&args, key);
    char *names = ty_xmalloc((size_t)attempts * 64 + 1);
    for (uint32_t a = 1; a <= attempts; a++) {
        char *name = names + (size_t)(a - 1) * 64;
        snprintf(name, 64, "%s:%u", key, a);
        ty_args_add_text(&args, name);
    }
    ty_redis_command(state->redis, (int)args.count, args.argv, args.lens, on_removed, NULL);
    free(names);
    ty_args_done(&args);
}
