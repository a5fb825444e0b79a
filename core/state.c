// The store's connection, and answers out. Commands in: state_apply.c. Claims and leases: state_run.c. Logs: state_log.c.
#include "core/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"
#include "core/state_internal.h"
#include "schemas/schemas.h"

static void load_scripts(struct ty_state *state)
{
    static const char *const names[TY_SCRIPTS] = {
        [TY_SCRIPT_ATTACH] = "attach", [TY_SCRIPT_CLAIM] = "claim", [TY_SCRIPT_CONTROL] = "control",
        [TY_SCRIPT_FINISH] = "finish", [TY_SCRIPT_HELD] = "held", [TY_SCRIPT_HELLO] = "hello", [TY_SCRIPT_KEYS] = "keys", [TY_SCRIPT_LIST] = "list",
        [TY_SCRIPT_LOG_APPEND] = "log_append", [TY_SCRIPT_LOG_OPEN] = "log_open",
        [TY_SCRIPT_LOG_PAGE] = "log_page", [TY_SCRIPT_LOG_REMOVE] = "log_remove", [TY_SCRIPT_LOG_SEAL] = "log_seal",
        [TY_SCRIPT_LOG_SPANS] = "log_spans", [TY_SCRIPT_LOG_SUMS] = "log_sums", [TY_SCRIPT_LOG_LOOK] = "log_look",
        [TY_SCRIPT_OUTBOX] = "outbox", [TY_SCRIPT_PROGRESS] = "progress", [TY_SCRIPT_PUBLISHED] = "published",
        [TY_SCRIPT_REBUILD] = "rebuild", [TY_SCRIPT_RECLAIM] = "reclaim", [TY_SCRIPT_RENEW] = "renew",
        [TY_SCRIPT_PLACE] = "place", [TY_SCRIPT_RULES] = "rules",
        [TY_SCRIPT_REPLAYED] = "replayed", [TY_SCRIPT_RESTORE] = "restore", [TY_SCRIPT_RETIRE] = "retire", [TY_SCRIPT_SETTLED] = "settled",
        [TY_SCRIPT_SUBMIT] = "submit", [TY_SCRIPT_UNLINKED] = "unlinked",
    };
    for (size_t i = 0; i < TY_SCRIPTS; i++)
        for (const struct ty_schema_script *s = ty_schema_scripts; s->name; s++)
            if (!strcmp(s->name, names[i]))
                ty_redis_script_init(&state->scripts[i], s->name, s->source, s->source_len);
}

struct ty_call *ty_call_new(struct ty_state *state, void *context)
{
    struct ty_call *call = ty_xcalloc(1, sizeof *call);
    call->state = state;
    call->context = context;
    return call;
}

void ty_state_args(const struct ty_state *state, unsigned shard, struct ty_args *args)
{
    *args = (struct ty_args){0};
    ty_args_add_text(args, "1"); // the place of KEYS[1], set by ty_state_eval
    ty_args_add_text(args, state->prefix[shard]);
}

void ty_state_eval(struct ty_state *state, enum ty_script script, const char *key, struct ty_args *args,
                   ty_redis_fn fn, void *context)
{
    args->argv[0] = key;
    args->lens[0] = strlen(key);
    ty_redis_eval(state->redis, &state->scripts[script], 1, (int)args->count, args->argv, args->lens, fn, context);
    ty_args_done(args);
}

void ty_state_meta_key(const struct ty_state *state, unsigned shard, char out[24])
{
    snprintf(out, 24, "%sm", state->prefix[shard]);
}

int ty_state_check_array(const struct ty_redis_reply *reply, const struct ty_err *cause, size_t min,
                         struct ty_err *err)
{
    if (!reply) {
        *err = *cause;
        return -(int)cause->code;
    }
    if (reply->type == TY_REDIS_ERROR)
        return ty_err_set(err, TY_EINTERNAL, "Redis: %.*s", (int)reply->len, reply->bytes);
    if (reply->type != TY_REDIS_ARRAY || reply->count < min)
        return ty_err_set(err, TY_EINTERNAL, "Redis: an unexpected kind of reply");
    return 0;
}

// ---- connection ----

static void set_up(struct ty_state *state, bool up, const struct ty_err *err)
{
    if (state->is_up == up && !(err && !up))
        return;
    state->is_up = up;
    state->was_up = state->was_up || up;
    state->on_up(state->up_context, up, err);
}

#define HELLO_AGAIN_MS 500

static void send_hello(struct ty_state *state, unsigned shard);

static void say_hello(void *context)
{
    struct ty_state *state = context;
    state->hellos_left = state->options.shards;
    send_hello(state, 0);
}

// A replica: of the store that it was before, one that another took over from. At the start it is the wrong address.
static int replica_err(const struct ty_state *state, struct ty_err *err)
{
    return ty_err_set(err, state->was_up ? TY_EUNAVAILABLE : TY_EPRECONDITION,
                      "this Redis is a replica of another (role:slave), where jobs cannot be kept; name its master");
}

// A store that is loading, or may not write (a full disk, no replica), keeps its connections: it is asked again.
static void on_hello_refused(struct ty_state *state, const struct ty_err *cause)
{
    struct ty_err err = *cause;
    if (!ty_redis_is_up(state->redis))
        return;
    if (strstr(cause->message, "READONLY"))
        replica_err(state, &err);
    if (!state->refused)
        set_up(state, false, &err);
    state->refused = true;
    state->hellos_left = 0;
    if (!state->hellos_out)
        ty_loop_set_timer(state->loop, &state->hello_again, HELLO_AGAIN_MS, say_hello, state);
}

// Shard 0 is asked first and alone: a program of another shape must not write its own into shards that the store has not.
static void on_hello(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_state *state = context;
    struct ty_err err;
    state->hellos_out--;
    if (!reply) {
        on_hello_refused(state, cause);
        return;
    }
    if (ty_state_check_array(reply, cause, 3, &err) < 0) {
        set_up(state, false, &err); // the script itself is refused: that does not mend itself
        return;
    }
    if (state->refused && !state->hellos_left) {
        on_hello_refused(state, cause); // another shard's answer was no
        return;
    }
    if (state->misfit || !state->hellos_left)
        return;
    if (reply->items[2].integer) {
        replica_err(state, &err);
        on_hello_refused(state, &err);
        return;
    }
    if (reply->items[0].integer > TY_RECORD_FORMAT || reply->items[1].integer != (int64_t)state->options.shards) {
        ty_err_set(&err, TY_EPRECONDITION,
                   "the store was made with record format %lld and %lld shards; this program has format %d and %u shards",
                   (long long)reply->items[0].integer, (long long)reply->items[1].integer, TY_RECORD_FORMAT,
                   state->options.shards);
        state->misfit = true;
        set_up(state, false, &err);
        return;
    }
    bool is_first = state->hellos_left == state->options.shards;
    for (unsigned shard = 1; is_first && shard < state->options.shards; shard++)
        send_hello(state, shard);
    if (--state->hellos_left == 0)
        set_up(state, true, NULL);
}

static void send_hello(struct ty_state *state, unsigned shard)
{
    struct ty_args args;
    char key[24];
    ty_state_meta_key(state, shard, key);
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, TY_RECORD_FORMAT);
    ty_args_add_u64(&args, state->options.shards);
    ty_args_add_text(&args, state->options.has_events ? "1" : "0");
    state->hellos_out++;
    ty_state_eval(state, TY_SCRIPT_HELLO, key, &args, on_hello, state);
}

static void on_redis(void *context, bool up, const struct ty_err *err)
{
    struct ty_state *state = context;
    ty_loop_clear_timer(state->loop, &state->hello_again);
    state->refused = state->misfit = false;
    if (up) {
        say_hello(state);
        return;
    }
    state->hellos_left = 0;
    set_up(state, false, err);
}

int ty_state_new(struct ty_loop *loop, const struct ty_state_options *options, ty_state_up_fn on_up,
                 void *context, struct ty_state **ret_state, struct ty_err *err)
{
    if (options->shards < 1 || options->shards > TY_SHARDS_MAX)
        return ty_err_set(err, TY_EINVALID, "shards: %u is not within 1..%d", options->shards, TY_SHARDS_MAX);
    struct ty_state *state = ty_xcalloc(1, sizeof *state);
    state->loop = loop;
    state->options = *options;
    state->options.redis_url = ty_xstrdup(options->redis_url);
    state->on_up = on_up;
    state->up_context = context;
    for (unsigned shard = 0; shard < options->shards; shard++)
        snprintf(state->prefix[shard], sizeof state->prefix[shard], "{ty:%u}:", shard);
    load_scripts(state);
    struct ty_redis_options redis = {.url = state->options.redis_url, .command_ms = options->command_ms};
    state->redis = ty_redis_new(loop, &redis, on_redis, state, err);
    if (!state->redis) {
        ty_state_free(state);
        return -(int)err->code;
    }
    *ret_state = state;
    return 0;
}

void ty_state_free(struct ty_state *state)
{
    if (!state)
        return;
    state->on_notice = NULL;
    ty_loop_clear_timer(state->loop, &state->hello_again);
    ty_redis_free(state->listener);
    ty_redis_free(state->redis);
    ty_redis_free(state->log_line); // what was given up may have ended a watch
    ty_loop_clear_timer(state->loop, &state->hello_again); // a call that was given up may have set it
    free((char *)state->options.redis_url);
    free(state);
}

bool ty_state_is_up(const struct ty_state *state)
{
    return state->is_up;
}

unsigned ty_state_shards(const struct ty_state *state)
{
    return state->options.shards;
}

unsigned ty_state_shard_of(const struct ty_state *state, const struct ty_id *id)
{
    // The last bytes are random in both kinds of id.
    return ((unsigned)id->bytes[14] << 8 | id->bytes[15]) % state->options.shards;
}

// ---- notices ----

static void on_message(void *context, const char *channel, const char *bytes, size_t len)
{
    struct ty_state *state = context;
    (void)channel;
    if (!state->on_notice)
        return;
    if (len == 1 && bytes[0] == 'r')
        state->on_notice(state->notice_context, true, NULL);
    if (len == 17 && bytes[0] == 'c') {
        struct ty_id id;
        memcpy(id.bytes, bytes + 1, sizeof id.bytes);
        state->on_notice(state->notice_context, false, &id);
    }
}

static void on_listener(void *context, bool up, const struct ty_err *err)
{
    struct ty_state *state = context;
    (void)err;
    // Whatever was said while the line was down is asked for again.
    if (up && state->on_notice)
        state->on_notice(state->notice_context, true, NULL);
}

int ty_state_listen(struct ty_state *state, ty_notice_fn fn, void *context, struct ty_err *err)
{
    state->on_notice = fn;
    state->notice_context = context;
    struct ty_redis_options redis = {.url = state->options.redis_url};
    state->listener = ty_redis_new(state->loop, &redis, on_listener, state, err);
    if (!state->listener)
        return -(int)err->code;
    for (unsigned shard = 0; shard < state->options.shards; shard++) {
        char channel[24];
        snprintf(channel, sizeof channel, "%sn", state->prefix[shard]);
        ty_redis_subscribe(state->listener, channel, on_message, state);
    }
    return 0;
}

// ---- answers ----

static void on_info(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    bool is_good = reply && reply->type == TY_REDIS_BYTES;
    if (!reply)
        err = *cause;
    else if (!is_good)
        ty_err_set(&err, TY_EINTERNAL, "Redis: INFO: %s", reply->bytes ? reply->bytes : "an unexpected kind of reply");
    call->fn.info(call->context, is_good ? NULL : &err, is_good ? reply->bytes : NULL);
    free(call);
}

void ty_state_info(struct ty_state *state, const char *section, ty_info_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.info = fn;
    const char *argv[] = {"INFO", section};
    size_t lens[] = {4, strlen(section)};
    ty_redis_command(state->redis, 2, argv, lens, on_info, call);
}

// Who was here first wrote down the format: without it everything was lost since this program came.
static bool was_emptied(const struct ty_state *state, const struct ty_redis_reply *format)
{
    return state->options.has_events && format->type == TY_REDIS_NIL;
}

// There is no such job, unless the store went back or was lost and has not been made again yet.
static void on_whether_whole(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 3, &err) < 0) {
        call->fn.get(call->context, &err, NULL);
        free(call);
        return;
    }
    const struct ty_redis_reply *replay = &reply->items[0];
    bool is_empty = was_emptied(call->state, &reply->items[2]);
    if (is_empty && call->state->is_up && !call->state->hellos_out)
        say_hello(call->state); // so that it is not trusted by others either
    bool is_partial = is_empty || reply->items[1].type == TY_REDIS_BYTES ||
                      (replay->type == TY_REDIS_BYTES && (!strcmp(replay->bytes, "needed") || !strcmp(replay->bytes, "asked")));
    if (is_partial)
        ty_err_set(&err, TY_EUNAVAILABLE, "the job store is being made again from Kafka; whether there is such a job is not known yet");
    call->fn.get(call->context, is_partial ? &err : NULL, NULL);
    free(call);
}

static void ask_whether_whole(struct ty_call *call)
{
    char key[24];
    ty_state_meta_key(call->state, call->shard, key);
    const char *argv[] = {"HMGET", key, "replay", "submits", "format"};
    size_t lens[] = {5, strlen(key), 6, 7, 6};
    ty_redis_command(call->state->redis, 5, argv, lens, on_whether_whole, call);
}

static void on_got(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_record record;
    if (!reply) {
        call->fn.get(call->context, cause, NULL);
    } else if (reply->type == TY_REDIS_NIL) {
        ask_whether_whole(call);
        return;
    } else if (reply->type != TY_REDIS_BYTES) {
        ty_err_set(&err, TY_EINTERNAL, "Redis: %s", reply->bytes ? reply->bytes : "an unexpected kind of reply");
        call->fn.get(call->context, &err, NULL);
    } else if (ty_record_decode(reply->bytes, reply->len, &record, &err) < 0) {
        call->fn.get(call->context, &err, NULL);
    } else {
        call->fn.get(call->context, NULL, record.state == TY_JOB_TOMBSTONE ? NULL : &record);
    }
    free(call);
}

void ty_state_get(struct ty_state *state, const struct ty_id *id, ty_get_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.get = fn;
    call->shard = ty_state_shard_of(state, id);
    char key[48];
    int prefix = snprintf(key, sizeof key, "%sj:", state->prefix[ty_state_shard_of(state, id)]);
    memcpy(key + prefix, id->bytes, sizeof id->bytes);
    const char *argv[] = {"GET", key};
    size_t lens[] = {3, (size_t)prefix + sizeof id->bytes};
    ty_redis_command(state->redis, 2, argv, lens, on_got, call);
}

static void on_waits(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_wait wait = {0};
    bool is_good = ty_state_check_array(reply, cause, 0, &err) == 0;
    if (is_good && reply->count >= 4 && reply->items[0].type == TY_REDIS_BYTES) {
        wait = (struct ty_wait){.is_waiting = true, .why = reply->items[0].bytes, .position = (uint64_t)reply->items[1].integer,
                                .due_us = (uint64_t)reply->items[2].integer, .limit = (uint64_t)reply->items[3].integer,
                                .is_least = reply->count >= 5 && reply->items[4].integer == 1};
    }
    call->fn.wait(call->context, is_good ? NULL : &err, is_good ? &wait : NULL);
    free(call);
}

void ty_state_wait(struct ty_state *state, const struct ty_id *id, ty_wait_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    unsigned shard = ty_state_shard_of(state, id);
    struct ty_args args;
    char key[24];
    call->fn.wait = fn;
    ty_state_args(state, shard, &args);
    ty_args_add(&args, id->bytes, sizeof id->bytes);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_PLACE, key, &args, on_waits, call);
}

// id, record, id, record, ... from items[at] on.
int ty_state_take_jobs(const struct ty_redis_reply *reply, size_t at, struct ty_claimed **ret_jobs,
                       size_t *ret_count, struct ty_err *err)
{
    size_t count = (reply->count - at) / 2;
    struct ty_claimed *jobs = ty_xcalloc(count + 1, sizeof *jobs);
    for (size_t i = 0; i < count; i++) {
        const struct ty_redis_reply *id = &reply->items[at + 2 * i], *bytes = id + 1;
        int rc = id->len == sizeof jobs[i].id.bytes
                     ? ty_record_decode(bytes->bytes, bytes->len, &jobs[i].record, err)
                     : ty_err_set(err, TY_EDATALOSS, "Redis: an id of %zu bytes", id->len);
        if (rc < 0) {
            free(jobs);
            return rc;
        }
        memcpy(jobs[i].id.bytes, id->bytes, id->len);
    }
    *ret_jobs = jobs;
    *ret_count = count;
    return 0;
}
