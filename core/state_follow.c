// What those who follow a log need beside its pages: where its attempts begin and end, and word that it has grown.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

// ---- spans ----

static void on_spans(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 0, &err) < 0) {
        call->fn.log_spans(call->context, &err, NULL, 0);
        free(call);
        return;
    }
    size_t count = reply->count / 3;
    struct ty_log_span *spans = ty_xcalloc(count + 1, sizeof *spans);
    for (size_t i = 0; i < count; i++) {
        const struct ty_redis_reply *at = &reply->items[3 * i];
        spans[i] = (struct ty_log_span){(uint32_t)at[0].integer, (uint64_t)at[1].integer, (uint64_t)at[2].integer};
    }
    call->fn.log_spans(call->context, NULL, spans, count);
    free(spans);
    free(call);
}

void ty_state_log_spans(struct ty_state *state, const struct ty_id *id, unsigned max_attempts, ty_log_spans_fn fn,
                        void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.log_spans = fn;
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, max_attempts);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_SPANS, key, &args, on_spans, call);
}

// ---- news ----

struct ty_log_watch {
    struct ty_state *state;
    char key[48];
    ty_log_news_fn fn;
    void *context;
    struct ty_log_watch *next, **at;
};

static void on_message(void *context, const char *channel, const char *bytes, size_t len)
{
    struct ty_log_watch *watch = context;
    (void)channel;
    (void)bytes;
    (void)len;
    watch->fn(watch->context);
}

static void on_nothing(void *context, const char *channel, const char *bytes, size_t len)
{
    (void)context;
    (void)channel;
    (void)bytes;
    (void)len;
}

// Whatever was said while the line was down is asked for.
static void on_line(void *context, bool up, const struct ty_err *err)
{
    struct ty_state *state = context;
    (void)err;
    for (struct ty_log_watch *watch = up ? state->log_watches : NULL, *next; watch; watch = next) {
        next = watch->next;
        watch->fn(watch->context);
    }
}

// The line is opened by the first watch. It keeps a channel on which nobody speaks, so that it stays a subscriber.
static int open_line(struct ty_state *state, struct ty_err *err)
{
    struct ty_redis_options redis = {.url = state->options.redis_url};
    char channel[24];
    if (state->log_line)
        return 0;
    state->log_line = ty_redis_new(state->loop, &redis, on_line, state, err);
    if (!state->log_line)
        return -(int)err->code;
    snprintf(channel, sizeof channel, "%sl", state->prefix[0]);
    ty_redis_subscribe(state->log_line, channel, on_nothing, NULL);
    return 0;
}

int ty_state_log_watch(struct ty_state *state, const struct ty_id *id, ty_log_news_fn fn, void *context,
                       struct ty_log_watch **ret_watch, struct ty_err *err)
{
    if (open_line(state, err) < 0)
        return -(int)err->code;
    struct ty_log_watch *watch = ty_xcalloc(1, sizeof *watch);
    *watch = (struct ty_log_watch){.state = state, .fn = fn, .context = context, .next = state->log_watches,
                                   .at = &state->log_watches};
    if (watch->next)
        watch->next->at = &watch->next;
    state->log_watches = watch;
    ty_state_log_key(id, watch->key);
    ty_redis_subscribe(state->log_line, watch->key, on_message, watch);
    *ret_watch = watch;
    return 0;
}

void ty_state_log_unwatch(struct ty_log_watch *watch)
{
    if (!watch)
        return;
    ty_redis_unsubscribe(watch->state->log_line, watch->key);
    *watch->at = watch->next;
    if (watch->next)
        watch->next->at = watch->at;
    free(watch);
}
