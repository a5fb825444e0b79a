// Commands, scripts and their replies. The connection: redis_link.c.
#include "core/redis.h"

#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/redis_internal.h"

// ---- replies ----

static void unlink_pending(struct ty_redis *redis, struct ty_redis_pending *pending)
{
    *(pending->prev ? &pending->prev->next : &redis->oldest) = pending->next;
    *(pending->next ? &pending->next->prev : &redis->newest) = pending->prev;
    redis->pending_count--;
}

// The server has lost its scripts: each is loaded again before its next call. Calls that were under way from before say so
// too, but only the first of them counts.
static void lost_scripts(struct ty_redis *redis, const struct ty_redis_pending *pending, struct ty_err *err)
{
    if (pending->script_epoch == redis->script_epoch) {
        redis->loaded_count = 0;
        redis->script_epoch++;
    }
    if (redis->script_err.code != TY_OK)
        *err = redis->script_err;
    else
        ty_err_set(err, TY_EUNAVAILABLE, "Redis at %s lost its scripts; they are being loaded again", redis->url.shown);
}

static void deliver(struct ty_redis *redis, const struct ty_redis_pending *pending, const redisReply *raw)
{
    // A callback may run the loop and so come back here: the nodes are this call's until it is done.
    struct ty_redis_nodes nodes = redis->nodes;
    struct ty_redis_reply reply;
    struct ty_err err;
    redis->nodes = (struct ty_redis_nodes){0};
    ty_redis_reply_convert(raw, &reply, &nodes);
    bool refused = false;
    if (reply.type == TY_REDIS_ERROR) {
        refused = ty_redis_reply_refused(&reply, &err);
        if (!refused && pending->script_epoch && ty_redis_reply_starts(&reply, "NOSCRIPT ")) {
            lost_scripts(redis, pending, &err);
            refused = true;
        }
    }
    pending->fn(pending->context, refused ? NULL : &reply, refused ? &err : NULL);
    free(redis->nodes.items);
    redis->nodes = nodes;
}

static void on_reply(redisAsyncContext *connection, void *raw, void *context)
{
    struct ty_redis_pending *pending = context;
    struct ty_redis *redis = pending->redis;
    unlink_pending(redis, pending);
    if (raw) {
        deliver(redis, pending, raw);
    } else {
        // The connection is going. What is issued from here on is refused at once, until on_disconnect has been.
        redis->up = false;
        if (connection->err)
            ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: %s", redis->url.shown, connection->errstr);
        struct ty_err err = redis->cause;
        pending->fn(pending->context, NULL, &err);
    }
    free(pending);
}

// ---- commands ----

static void tell_refused(void *context)
{
    struct ty_redis *redis = context;
    struct ty_redis_pending *refused = redis->refused;
    redis->refused = NULL;
    redis->refused_tail = &redis->refused;
    while (refused) {
        struct ty_redis_pending *next = refused->next;
        struct ty_err err;
        if (refused->refused == TY_EEXHAUSTED)
            ty_err_set(&err, TY_EEXHAUSTED, "Redis at %s: %zu commands wait for their answers already", redis->url.shown,
                       redis->options.max_pending);
        else
            ty_err_set(&err, TY_EUNAVAILABLE, "%s", redis->cause.message);
        refused->fn(refused->context, NULL, &err);
        free(refused);
        refused = next;
    }
}

static void refuse_pending(struct ty_redis *redis, struct ty_redis_pending *pending, enum ty_code code)
{
    pending->refused = code;
    pending->next = NULL;
    *redis->refused_tail = pending;
    redis->refused_tail = &pending->next;
    if (!redis->refusals.index)
        ty_loop_set_timer(redis->loop, &redis->refusals, 0, tell_refused, redis);
}

// True when there is no use in sending: the callback will come from the loop.
static bool refuse(struct ty_redis *redis, ty_redis_fn fn, void *context)
{
    if (redis->up && redis->pending_count < redis->options.max_pending)
        return false;
    struct ty_redis_pending *pending = ty_xmalloc(sizeof *pending);
    *pending = (struct ty_redis_pending){.redis = redis, .fn = fn, .context = context};
    refuse_pending(redis, pending, redis->up ? TY_EEXHAUSTED : TY_EUNAVAILABLE);
    return true;
}

void ty_redis_issue(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, bool is_script,
                    ty_redis_fn fn, void *context)
{
    struct ty_redis_pending *pending = ty_xmalloc(sizeof *pending);
    *pending = (struct ty_redis_pending){.redis = redis, .fn = fn, .context = context, .issued_ms = ty_clock_mono_ms(),
                                .script_epoch = is_script ? redis->script_epoch : 0, .prev = redis->newest};
    *(redis->newest ? &redis->newest->next : &redis->oldest) = pending;
    redis->newest = pending;
    redis->pending_count++;
    if (redisAsyncCommandArgv(redis->connection, on_reply, pending, argc, (const char **)argv, lens) != REDIS_OK) {
        // hiredis takes nothing more once it has begun to end the connection.
        unlink_pending(redis, pending);
        refuse_pending(redis, pending, TY_EUNAVAILABLE);
        return;
    }
    ty_redis_link_watch_age(redis);
}

void ty_redis_command(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, ty_redis_fn fn,
                      void *context)
{
    if (!refuse(redis, fn, context))
        ty_redis_issue(redis, argc, argv, lens, false, fn, context);
}

// ---- scripts ----

void ty_redis_script_init(struct ty_redis_script *script, const char *name, const unsigned char *source,
                          size_t source_len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    *script = (struct ty_redis_script){.name = name, .source = source, .source_len = source_len};
    if (EVP_Digest(source, source_len, digest, &len, EVP_sha1(), NULL) != 1)
        abort(); // SHA-1 is in every libcrypto
    for (unsigned i = 0; i < len; i++)
        snprintf(script->sha1 + 2 * i, 3, "%02x", digest[i]);
}

static void on_loaded(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct ty_redis *redis = context;
    (void)err; // a lost connection is told to the call behind this one
    if (reply && reply->type == TY_REDIS_ERROR)
        ty_err_set(&redis->script_err, TY_EINTERNAL, "Redis at %s refused a script: %.*s", redis->url.shown,
                   (int)reply->len, reply->bytes);
    else if (reply)
        redis->script_err.code = TY_OK;
}

static void load_script(struct ty_redis *redis, const struct ty_redis_script *script)
{
    for (size_t i = 0; i < redis->loaded_count; i++)
        if (redis->loaded[i] == script)
            return;
    const char *argv[] = {"SCRIPT", "LOAD", (const char *)script->source};
    ty_redis_issue(redis, 3, argv, (size_t[]){6, 4, script->source_len}, false, on_loaded, redis);
    if (redis->loaded_count < TY_REDIS_SCRIPTS_MAX)
        redis->loaded[redis->loaded_count++] = script;
}

void ty_redis_eval(struct ty_redis *redis, const struct ty_redis_script *script, int key_count, int argc,
                   const char *const *argv, const size_t *lens, ty_redis_fn fn, void *context)
{
    if (refuse(redis, fn, context))
        return;
    load_script(redis, script);
    size_t count = (size_t)argc;
    if (count + 3 > redis->arg_cap) {
        redis->arg_cap = 2 * (count + 3);
        redis->argv = ty_xrealloc(redis->argv, redis->arg_cap * sizeof *redis->argv);
        redis->lens = ty_xrealloc(redis->lens, redis->arg_cap * sizeof *redis->lens);
    }
    char keys[16];
    redis->argv[0] = "EVALSHA";
    redis->argv[1] = script->sha1;
    redis->argv[2] = keys;
    redis->lens[0] = 7;
    redis->lens[1] = sizeof script->sha1 - 1;
    redis->lens[2] = (size_t)snprintf(keys, sizeof keys, "%d", key_count);
    if (count) {
        memcpy(redis->argv + 3, argv, count * sizeof *argv);
        memcpy(redis->lens + 3, lens, count * sizeof *lens);
    }
    ty_redis_issue(redis, argc + 3, redis->argv, redis->lens, true, fn, context);
}

// ---- life ----

// hiredis writes with write(2): a server that has closed the connection would end the process by SIGPIPE.
static void ignore_sigpipe(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && !(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_DFL) {
        action.sa_handler = SIG_IGN;
        sigaction(SIGPIPE, &action, NULL);
    }
}

static uint64_t or_default(uint64_t value, uint64_t fallback)
{
    return value ? value : fallback;
}

struct ty_redis *ty_redis_new(struct ty_loop *loop, const struct ty_redis_options *options, ty_redis_state_fn on_state,
                              void *context, struct ty_err *err)
{
    struct ty_redis_url url;
    if (ty_redis_url_parse(options->url, &url, err) < 0) {
        ty_redis_url_done(&url);
        return NULL;
    }
    ignore_sigpipe();
    struct ty_redis *redis = ty_xcalloc(1, sizeof *redis);
    redis->loop = loop;
    redis->url = url;
    redis->options = (struct ty_redis_options){
        .connect_ms = or_default(options->connect_ms, 2000),
        .command_ms = or_default(options->command_ms, 4000),
        .reconnect_ms = or_default(options->reconnect_ms, 50),
        .max_pending = options->max_pending ? options->max_pending : 65536,
    };
    redis->on_state = on_state;
    redis->context = context;
    redis->script_epoch = 1;
    redis->refused_tail = &redis->refused;
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: not connected yet", url.shown);
    ty_loop_add_flush(loop, ty_redis_link_flush, redis);
    ty_loop_set_timer(loop, &redis->reconnect, 0, ty_redis_link_start, redis);
    return redis;
}

void ty_redis_free(struct ty_redis *redis)
{
    if (!redis)
        return;
    redis->freeing = true;
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: the client is closing", redis->url.shown);
    ty_redis_link_break(redis);
    while (redis->refused)
        tell_refused(redis);
    ty_loop_clear_timer(redis->loop, &redis->reconnect);
    ty_loop_clear_timer(redis->loop, &redis->deadline);
    ty_loop_clear_timer(redis->loop, &redis->refusals);
    ty_loop_remove_flush(redis->loop, ty_redis_link_flush, redis);
    ty_redis_channels_free(redis);
    ty_redis_url_done(&redis->url);
    free(redis->nodes.items);
    free(redis->argv);
    free(redis->lens);
    free(redis);
}

bool ty_redis_is_up(const struct ty_redis *redis)
{
    return redis->up;
}

size_t ty_redis_pending(const struct ty_redis *redis)
{
    return redis->pending_count;
}
