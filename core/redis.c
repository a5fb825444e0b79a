#include "core/redis.h"

#include <ctype.h>
#include <hiredis/async.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"

#define CHECK_MS 100
#define RECONNECT_MAX_MS 2000
#define SCRIPTS_MAX 32
#define CHANNELS_MAX 64

// One command without its answer; a list in the order of issue.
struct pending {
    struct ty_redis *redis;
    ty_redis_fn fn;
    void *context;
    uint64_t issued_ms;
    bool is_script;
    struct pending *prev, *next;
};

struct channel {
    struct ty_redis *redis;
    char *name;
    ty_redis_message_fn fn;
    void *context;
};

struct ty_redis {
    struct ty_loop *loop;
    struct ty_redis_options options;
    char *host, *user, *password, *path; // path: of a Unix socket, instead of host
    int port, database;
    ty_redis_state_fn on_state;
    void *context;
    redisAsyncContext *connection;
    int fd;
    bool up, connected, watching, wants_write, freeing;
    uint64_t backoff_ms, connect_started_ms;
    struct ty_err cause; // why outstanding commands fail
    struct ty_timer reconnect, check;
    struct pending *oldest, *newest;
    size_t pending_count;
    struct pending *refused, **refused_tail; // failed before they were sent; told in the next turn
    struct ty_timer refusals;
    const struct ty_redis_script *loaded[SCRIPTS_MAX];
    size_t loaded_count;
    struct channel channels[CHANNELS_MAX];
    size_t channel_count;
};

static void start_connect(void *context);

// ---- the connection under our loop ----

static void update_events(struct ty_redis *redis, bool write)
{
    if (redis->watching)
        ty_loop_change_fd(redis->loop, redis->fd, TY_LOOP_READ | (write ? TY_LOOP_WRITE : 0));
}

static void on_fd(void *context, int fd, unsigned events)
{
    struct ty_redis *redis = context;
    (void)fd;
    if (redis->connection && (events & TY_LOOP_WRITE || !redis->connected))
        redisAsyncHandleWrite(redis->connection);
    if (redis->connection && redis->connected && events & (TY_LOOP_READ | TY_LOOP_HANGUP))
        redisAsyncHandleRead(redis->connection);
    if (redis->connection && redis->connected && !redis->wants_write)
        update_events(redis, false);
}

static void ev_write(void *context)
{
    ((struct ty_redis *)context)->wants_write = true;
}

static void ev_no_write(void *context)
{
    ((struct ty_redis *)context)->wants_write = false;
}

static void ev_ignore(void *context)
{
    (void)context;
}

static void ev_cleanup(void *context)
{
    struct ty_redis *redis = context;
    if (redis->watching)
        ty_loop_remove_fd(redis->loop, redis->fd);
    redis->watching = false;
}

// The end of a turn: what it gathered leaves in one write.
static void on_flush(void *context)
{
    struct ty_redis *redis = context;
    if (!redis->connection || !redis->connected || !redis->wants_write)
        return;
    redisAsyncHandleWrite(redis->connection);
    if (redis->connection && redis->wants_write)
        update_events(redis, true);
}

static void went_down(struct ty_redis *redis)
{
    bool was_up = redis->up;
    redis->connection = NULL;
    redis->connected = redis->up = redis->wants_write = false;
    redis->loaded_count = 0;
    if (redis->freeing)
        return;
    redis->backoff_ms = redis->backoff_ms ? redis->backoff_ms * 2 : redis->options.reconnect_ms;
    if (redis->backoff_ms > RECONNECT_MAX_MS)
        redis->backoff_ms = RECONNECT_MAX_MS;
    uint64_t jitter = (uint64_t)rand() % (redis->backoff_ms / 2 + 1);
    ty_loop_set_timer(redis->loop, &redis->reconnect, redis->backoff_ms / 2 + jitter, start_connect, redis);
    if (was_up)
        redis->on_state(redis->context, false, &redis->cause);
}

// Breaks the connection; outstanding commands fail with `cause`.
static void break_connection(struct ty_redis *redis)
{
    redisAsyncContext *connection = redis->connection;
    if (!connection)
        return;
    redisAsyncFree(connection); // callbacks run now, or at the end of the callback we are in
}

static void on_disconnect(const redisAsyncContext *connection, int status)
{
    struct ty_redis *redis = connection->data;
    if (status != REDIS_OK && connection->errstr && *connection->errstr)
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: %s", connection->errstr);
    went_down(redis);
}

static void no_answer(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    (void)context;
    (void)reply;
    (void)err;
}

static void issue(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, bool is_script,
                  ty_redis_fn fn, void *context);

static void on_message(redisAsyncContext *connection, void *raw, void *context)
{
    const redisReply *reply = raw;
    struct channel *channel = context;
    (void)connection;
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 && reply->element[2]->type == REDIS_REPLY_STRING)
        channel->fn(channel->context, channel->name, reply->element[2]->str, (size_t)reply->element[2]->len);
}

static void subscribe_now(struct ty_redis *redis, struct channel *channel)
{
    redisAsyncCommand(redis->connection, on_message, channel, "SUBSCRIBE %s", channel->name);
}

static void on_pong(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct ty_redis *redis = context;
    if (!reply) {
        (void)err;
        return; // the connection is going; went_down follows
    }
    if (reply->type == TY_REDIS_ERROR) {
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: %.*s", (int)reply->len, reply->bytes);
        redis->on_state(redis->context, false, &redis->cause);
        break_connection(redis);
        return;
    }
    redis->up = true;
    redis->backoff_ms = 0;
    for (size_t i = 0; i < redis->channel_count; i++)
        subscribe_now(redis, &redis->channels[i]);
    redis->on_state(redis->context, true, NULL);
}

static void greet(struct ty_redis *redis)
{
    if (redis->password) {
        const char *argv[3] = {"AUTH"};
        size_t lens[3] = {4};
        int argc = 1;
        if (redis->user)
            argv[argc++] = redis->user;
        argv[argc++] = redis->password;
        for (int i = 1; i < argc; i++)
            lens[i] = strlen(argv[i]);
        issue(redis, argc, argv, lens, false, no_answer, NULL);
    }
    if (redis->database) {
        char number[16];
        snprintf(number, sizeof number, "%d", redis->database);
        issue(redis, 2, (const char *[]){"SELECT", number}, (size_t[]){6, strlen(number)}, false, no_answer, NULL);
    }
    issue(redis, 1, (const char *[]){"PING"}, (size_t[]){4}, false, on_pong, redis);
}

static void on_connect(const redisAsyncContext *connection, int status)
{
    struct ty_redis *redis = connection->data;
    if (status != REDIS_OK) {
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: %s", connection->errstr);
        redis->on_state(redis->context, false, &redis->cause);
        went_down(redis); // hiredis frees the context itself
        return;
    }
    redis->connected = true;
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: the connection was lost");
    greet(redis);
}

static void start_connect(void *context)
{
    struct ty_redis *redis = context;
    redisAsyncContext *connection = redis->path ? redisAsyncConnectUnix(redis->path)
                                                : redisAsyncConnect(redis->host, redis->port);
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: cannot connect to %s", redis->options.url);
    if (!connection || connection->err) {
        if (connection) {
            ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: %s", connection->errstr);
            redisAsyncFree(connection);
        }
        redis->on_state(redis->context, false, &redis->cause);
        went_down(redis);
        return;
    }
    redis->connection = connection;
    redis->connect_started_ms = ty_clock_mono_ms();
    redis->fd = connection->c.fd;
    connection->data = redis;
    connection->ev.data = redis;
    connection->ev.addRead = ev_ignore;
    connection->ev.delRead = ev_ignore;
    connection->ev.addWrite = ev_write;
    connection->ev.delWrite = ev_no_write;
    connection->ev.cleanup = ev_cleanup;
    redisEnableKeepAlive(&connection->c);
    struct ty_err err;
    if (ty_loop_add_fd(redis->loop, redis->fd, TY_LOOP_READ | TY_LOOP_WRITE, on_fd, redis, &err) < 0) {
        redis->cause = err;
        redisAsyncFree(connection);
        went_down(redis);
        return;
    }
    redis->watching = true;
    redisAsyncSetConnectCallback(connection, on_connect);
    redisAsyncSetDisconnectCallback(connection, on_disconnect);
}

static void on_check(void *context)
{
    struct ty_redis *redis = context;
    uint64_t now = ty_clock_mono_ms();
    ty_loop_set_timer(redis->loop, &redis->check, CHECK_MS, on_check, redis);
    if (!redis->connection)
        return;
    bool late = redis->oldest && now - redis->oldest->issued_ms > redis->options.command_ms;
    bool slow = !redis->connected && now - redis->connect_started_ms > redis->options.connect_ms;
    if (!late && !slow)
        return;
    ty_err_set(&redis->cause, TY_EDEADLINE, "Redis: no answer within %llu ms",
               (unsigned long long)(late ? redis->options.command_ms : redis->options.connect_ms));
    bool connected = redis->connected;
    break_connection(redis);
    if (!connected)
        went_down(redis); // hiredis tells of a disconnect only after a connect
}

// ---- replies ----

static void convert(const redisReply *from, struct ty_redis_reply *to)
{
    *to = (struct ty_redis_reply){.bytes = from->str, .len = (size_t)from->len};
    switch (from->type) {
    case REDIS_REPLY_INTEGER:
        *to = (struct ty_redis_reply){.type = TY_REDIS_INT, .integer = from->integer};
        break;
    case REDIS_REPLY_STRING: to->type = TY_REDIS_BYTES; break;
    case REDIS_REPLY_STATUS: to->type = TY_REDIS_STATUS; break;
    case REDIS_REPLY_ERROR: to->type = TY_REDIS_ERROR; break;
    case REDIS_REPLY_ARRAY: {
        struct ty_redis_reply *items = ty_xcalloc(from->elements, sizeof *items);
        for (size_t i = 0; i < from->elements; i++)
            convert(from->element[i], &items[i]);
        *to = (struct ty_redis_reply){.type = TY_REDIS_ARRAY, .count = from->elements, .items = items};
        break;
    }
    default: *to = (struct ty_redis_reply){.type = TY_REDIS_NIL}; break;
    }
}

static void release(struct ty_redis_reply *reply)
{
    if (reply->type != TY_REDIS_ARRAY)
        return;
    for (size_t i = 0; i < reply->count; i++)
        release((struct ty_redis_reply *)&reply->items[i]);
    free((void *)reply->items);
}

static bool starts(const struct ty_redis_reply *reply, const char *word)
{
    return reply->len >= strlen(word) && !memcmp(reply->bytes, word, strlen(word));
}

// Error replies that mean "did not run, try again" or "full", not a mistake of ours.
static bool error_of(struct ty_redis *redis, const struct pending *pending, const struct ty_redis_reply *reply,
                     struct ty_err *err)
{
    static const char *const away[] = {"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY "};
    for (size_t i = 0; i < sizeof away / sizeof *away; i++)
        if (starts(reply, away[i]))
            return ty_err_set(err, TY_EUNAVAILABLE, "Redis: %.*s", (int)reply->len, reply->bytes), true;
    if (starts(reply, "OOM"))
        return ty_err_set(err, TY_EEXHAUSTED, "Redis is full: %.*s", (int)reply->len, reply->bytes), true;
    if (pending->is_script && starts(reply, "NOSCRIPT")) {
        redis->loaded_count = 0;
        return ty_err_set(err, TY_EUNAVAILABLE, "Redis lost its scripts; they are loaded again"), true;
    }
    return false;
}

static void unlink_pending(struct ty_redis *redis, struct pending *pending)
{
    *(pending->prev ? &pending->prev->next : &redis->oldest) = pending->next;
    *(pending->next ? &pending->next->prev : &redis->newest) = pending->prev;
    redis->pending_count--;
}

static void on_reply(redisAsyncContext *connection, void *raw, void *context)
{
    struct pending *pending = context;
    struct ty_redis *redis = pending->redis;
    struct ty_redis_reply reply;
    struct ty_err err;
    (void)connection;
    unlink_pending(redis, pending);
    if (!raw) {
        err = redis->cause;
        pending->fn(pending->context, NULL, &err);
    } else {
        convert(raw, &reply);
        if (reply.type == TY_REDIS_ERROR && error_of(redis, pending, &reply, &err))
            pending->fn(pending->context, NULL, &err);
        else
            pending->fn(pending->context, &reply, NULL);
        release(&reply);
    }
    free(pending);
}

// ---- commands ----

static void issue(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, bool is_script,
                  ty_redis_fn fn, void *context)
{
    struct pending *pending = ty_xcalloc(1, sizeof *pending);
    *pending = (struct pending){.redis = redis, .fn = fn, .context = context, .issued_ms = ty_clock_mono_ms(),
                                .is_script = is_script, .prev = redis->newest};
    *(redis->newest ? &redis->newest->next : &redis->oldest) = pending;
    redis->newest = pending;
    redis->pending_count++;
    redisAsyncCommandArgv(redis->connection, on_reply, pending, argc, (const char **)argv, lens);
}

static void tell_refused(void *context)
{
    struct ty_redis *redis = context;
    struct pending *refused = redis->refused;
    redis->refused = NULL;
    redis->refused_tail = &redis->refused;
    while (refused) {
        struct pending *next = refused->next;
        struct ty_err err = redis->cause;
        if (redis->up)
            ty_err_set(&err, TY_EEXHAUSTED, "Redis: too many commands are waiting for their answers");
        refused->fn(refused->context, NULL, &err);
        free(refused);
        refused = next;
    }
}

static void refuse(struct ty_redis *redis, ty_redis_fn fn, void *context)
{
    struct pending *pending = ty_xcalloc(1, sizeof *pending);
    *pending = (struct pending){.redis = redis, .fn = fn, .context = context};
    *redis->refused_tail = pending;
    redis->refused_tail = &pending->next;
    if (!redis->refusals.index)
        ty_loop_set_timer(redis->loop, &redis->refusals, 0, tell_refused, redis);
}

void ty_redis_command(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, ty_redis_fn fn,
                      void *context)
{
    if (!redis->up || redis->pending_count >= redis->options.max_pending)
        refuse(redis, fn, context);
    else
        issue(redis, argc, argv, lens, false, fn, context);
}

void ty_redis_script_init(struct ty_redis_script *script, const char *name, const unsigned char *source,
                          size_t source_len)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    *script = (struct ty_redis_script){.name = name, .source = source, .source_len = source_len};
    if (EVP_Digest(source, source_len, digest, &len, EVP_sha1(), NULL) != 1)
        abort();
    for (unsigned i = 0; i < len; i++)
        snprintf(script->sha1 + 2 * i, 3, "%02x", digest[i]);
}

static void load_script(struct ty_redis *redis, const struct ty_redis_script *script)
{
    for (size_t i = 0; i < redis->loaded_count; i++)
        if (redis->loaded[i] == script)
            return;
    const char *argv[] = {"SCRIPT", "LOAD", (const char *)script->source};
    issue(redis, 3, argv, (size_t[]){6, 4, script->source_len}, false, no_answer, NULL);
    if (redis->loaded_count < SCRIPTS_MAX)
        redis->loaded[redis->loaded_count++] = script;
}

void ty_redis_eval(struct ty_redis *redis, const struct ty_redis_script *script, int key_count, int argc,
                   const char *const *argv, const size_t *lens, ty_redis_fn fn, void *context)
{
    if (!redis->up || redis->pending_count >= redis->options.max_pending) {
        refuse(redis, fn, context);
        return;
    }
    load_script(redis, script);
    const char **all = ty_xmalloc(((size_t)argc + 3) * sizeof *all);
    size_t *all_lens = ty_xmalloc(((size_t)argc + 3) * sizeof *all_lens);
    char keys[16];
    all[0] = "EVALSHA";
    all[1] = script->sha1;
    all[2] = keys;
    all_lens[0] = 7;
    all_lens[1] = 40;
    all_lens[2] = (size_t)snprintf(keys, sizeof keys, "%d", key_count);
    memcpy(all + 3, argv, (size_t)argc * sizeof *all);
    memcpy(all_lens + 3, lens, (size_t)argc * sizeof *all_lens);
    issue(redis, argc + 3, all, all_lens, true, fn, context);
    free(all);
    free(all_lens);
}

void ty_redis_subscribe(struct ty_redis *redis, const char *channel, ty_redis_message_fn fn, void *context)
{
    if (redis->channel_count == CHANNELS_MAX)
        abort(); // as many as there may be shards
    struct channel *slot = &redis->channels[redis->channel_count++];
    *slot = (struct channel){.redis = redis, .name = ty_xstrdup(channel), .fn = fn, .context = context};
    if (redis->up)
        subscribe_now(redis, slot);
}

// ---- life ----

static int parse_url(struct ty_redis *redis, const char *url, struct ty_err *err)
{
    if (!strncmp(url, "unix://", 7) && url[7] == '/') {
        redis->path = ty_xstrdup(url + 7);
        return 0;
    }
    if (strncmp(url, "redis://", 8))
        return ty_err_set(err, TY_EINVALID, "Redis: \"%.128s\" starts with neither redis:// nor unix:///", url);
    const char *rest = url + 8, *at = strrchr(rest, '@');
    if (at) {
        const char *colon = memchr(rest, ':', (size_t)(at - rest));
        if (!colon)
            return ty_err_set(err, TY_EINVALID, "Redis: the URL has a user but no password");
        if (colon > rest)
            redis->user = ty_xasprintf("%.*s", (int)(colon - rest), rest);
        redis->password = ty_xasprintf("%.*s", (int)(at - colon - 1), colon + 1);
        rest = at + 1;
    }
    const char *slash = strchrnul(rest, '/'), *colon = memrchr(rest, ':', (size_t)(slash - rest));
    const char *host_end = colon ? colon : slash;
    char *end = NULL;
    redis->port = colon ? (int)strtol(colon + 1, &end, 10) : 6379;
    if (host_end == rest || (colon && end != slash) || redis->port < 1 || redis->port > 65535)
        return ty_err_set(err, TY_EINVALID, "Redis: \"%.128s\" is not redis://host:port", rest);
    redis->host = ty_xasprintf("%.*s", (int)(host_end - rest), rest);
    if (*slash && slash[1]) {
        redis->database = (int)strtol(slash + 1, &end, 10);
        if (*end || redis->database < 0)
            return ty_err_set(err, TY_EINVALID, "Redis: \"%.32s\" is not a database number", slash + 1);
    }
    return 0;
}

struct ty_redis *ty_redis_new(struct ty_loop *loop, const struct ty_redis_options *options, ty_redis_state_fn on_state,
                              void *context, struct ty_err *err)
{
    struct ty_redis *redis = ty_xcalloc(1, sizeof *redis);
    redis->loop = loop;
    redis->options = *options;
    redis->options.url = ty_xstrdup(options->url);
    redis->options.connect_ms = options->connect_ms ? options->connect_ms : 2000;
    redis->options.command_ms = options->command_ms ? options->command_ms : 4000;
    redis->options.reconnect_ms = options->reconnect_ms ? options->reconnect_ms : 50;
    redis->options.max_pending = options->max_pending ? options->max_pending : 65536;
    redis->on_state = on_state;
    redis->context = context;
    redis->refused_tail = &redis->refused;
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: not connected yet");
    ty_loop_add_flush(loop, on_flush, redis);
    if (parse_url(redis, options->url, err) < 0) {
        ty_redis_free(redis);
        return NULL;
    }
    ty_loop_set_timer(loop, &redis->reconnect, 0, start_connect, redis);
    ty_loop_set_timer(loop, &redis->check, CHECK_MS, on_check, redis);
    return redis;
}

void ty_redis_free(struct ty_redis *redis)
{
    if (!redis)
        return;
    redis->freeing = true;
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis: the client is closing");
    break_connection(redis);
    redis->up = false;
    tell_refused(redis);
    ty_loop_clear_timer(redis->loop, &redis->reconnect);
    ty_loop_clear_timer(redis->loop, &redis->check);
    ty_loop_clear_timer(redis->loop, &redis->refusals);
    ty_loop_remove_flush(redis->loop, on_flush, redis);
    for (size_t i = 0; i < redis->channel_count; i++)
        free(redis->channels[i].name);
    free((char *)redis->options.url);
    free(redis->host);
    free(redis->user);
    free(redis->password);
    free(redis->path);
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
