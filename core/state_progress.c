// What attempts tell of their progress: a string beside the job's log.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state_internal.h"

// Behind the time a job is kept: one that runs long, and says nothing more, keeps what it told.
#define REST_MS (UINT64_C(30) * 86400 * 1000)

enum { TAKEN = 1, STALE = -1, NO_LOG = -3 };

static void on_put(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err = cause ? *cause : (struct ty_err){0};
    int64_t answer = cause ? 0 : reply->integer;
    if (answer == STALE) {
        ty_state_count_refused(call->state, call->shard);
        ty_err_set(&err, TY_EABORTED, "progress: the attempt owns the log no more");
    } else if (answer == NO_LOG) {
        ty_err_set(&err, TY_ENOTFOUND, "progress: there is no log");
    } else if (!cause && answer != TAKEN) {
        ty_err_set(&err, TY_EINTERNAL, "Redis: an answer of another shape");
    }
    call->fn.done(call->context, answer == TAKEN ? NULL : &err);
    free(call);
}

void ty_state_progress_put(struct ty_state *state, const struct ty_id *id, const struct ty_token *token, const void *bytes,
                           size_t len, ty_done_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    uint64_t kept_ms = state->options.job_retention_ms;
    struct ty_args args;
    char key[48];
    call->fn.done = fn;
    call->shard = ty_state_shard_of(state, id);
    ty_state_args(state, 0, &args);
    ty_args_add(&args, token->bytes, sizeof token->bytes);
    ty_args_add_u64(&args, kept_ms ? kept_ms + REST_MS : 0);
    ty_args_add(&args, bytes, len);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_PROGRESS, key, &args, on_put, call);
}

static void on_got(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    bool is_there = !cause && reply->type == TY_REDIS_BYTES;
    call->fn.progress(call->context, cause, is_there ? reply->bytes : NULL, is_there ? reply->len : 0);
    free(call);
}

void ty_state_progress_get(struct ty_state *state, const struct ty_id *id, ty_progress_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    char meta[48], key[52];
    call->fn.progress = fn;
    ty_state_log_key(id, meta);
    snprintf(key, sizeof key, "%s:p", meta);
    const char *argv[] = {"GET", key};
    size_t lens[] = {3, strlen(key)};
    ty_redis_command(state->redis, 2, argv, lens, on_got, call);
}
