// The connection to Redis: reached, greeted, watched, given up and reached again.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/redis_internal.h"
#include "core/redis_tls.h"

#define RECONNECT_MAX_MS 2000
// A connection that lived this long starts its next back-off from the beginning.
#define STABLE_MS 1000
// A deadline that is looked at so late: this process stood still, and what it has asked may not even have been sent.
#define LATE_MS 100
#define LATE_MORE_MS 500

// ---- the connection under our loop ----

static void watch_write(struct ty_redis *redis, bool write)
{
    if (!redis->watching || redis->watching_write == write)
        return;
    redis->watching_write = write;
    ty_loop_change_fd(redis->loop, redis->fd, TY_LOOP_READ | (write ? TY_LOOP_WRITE : 0));
}

static void on_fd(void *context, int fd, unsigned events)
{
    struct ty_redis *redis = context;
    (void)fd;
    if (events & TY_LOOP_WRITE || !redis->connected)
        redisAsyncHandleWrite(redis->connection);
    if (redis->connection && redis->connected && events & (TY_LOOP_READ | TY_LOOP_HANGUP))
        redisAsyncHandleRead(redis->connection);
    if (redis->connection && redis->connected && !redis->wants_write)
        watch_write(redis, false);
}

static void ev_add_write(void *context)
{
    ((struct ty_redis *)context)->wants_write = true;
}

static void ev_del_write(void *context)
{
    ((struct ty_redis *)context)->wants_write = false;
}

static void ev_ignore(void *context)
{
    (void)context; // it is always read from
}

static void ev_cleanup(void *context)
{
    struct ty_redis *redis = context;
    if (redis->watching)
        ty_loop_remove_fd(redis->loop, redis->fd);
    redis->watching = false;
}

void ty_redis_link_flush(void *context)
{
    struct ty_redis *redis = context;
    if (!redis->connected || !redis->wants_write || redis->watching_write)
        return;
    redisAsyncHandleWrite(redis->connection);
    if (redis->connected && redis->wants_write)
        watch_write(redis, true);
}

// ---- down ----

static void tell_down(struct ty_redis *redis)
{
    if (redis->freeing || (redis->told && !redis->told_up && !strcmp(redis->told_cause.message, redis->cause.message)))
        return;
    redis->told = true;
    redis->told_up = false;
    redis->told_cause = redis->cause;
    redis->on_state(redis->context, false, &redis->cause);
}

// Whatever there was of a connection is gone (or is being freed by hiredis, our caller): the next attempt is due.
static void went_down(struct ty_redis *redis)
{
    redis->connection = NULL;
    redis->connected = redis->up = redis->wants_write = false;
    redis->loaded_count = 0;
    redis->script_err.code = TY_OK;
    ty_redis_channels_lose(redis);
    ty_loop_clear_timer(redis->loop, &redis->deadline);
    if (redis->freeing)
        return;
    uint64_t now = ty_clock_mono_ms();
    if (redis->up_since_ms && now - redis->up_since_ms >= STABLE_MS)
        redis->backoff_ms = 0;
    redis->up_since_ms = 0;
    redis->backoff_ms = redis->backoff_ms ? redis->backoff_ms * 2 : redis->options.reconnect_ms;
    if (redis->backoff_ms > RECONNECT_MAX_MS)
        redis->backoff_ms = RECONNECT_MAX_MS;
    uint64_t jitter = arc4random_uniform((uint32_t)(redis->backoff_ms / 2 + 1));
    ty_loop_set_timer(redis->loop, &redis->reconnect, redis->backoff_ms / 2 + jitter, ty_redis_link_start, redis);
    tell_down(redis);
}

void ty_redis_link_break(struct ty_redis *redis)
{
    redis->up = false;
    ty_redis_lookup_cancel(redis->lookup);
    redis->lookup = NULL;
    bool connected = redis->connected;
    if (redis->connection)
        redisAsyncFree(redis->connection);
    if (!connected)
        went_down(redis); // hiredis tells of a disconnect only after a connect
}

static void on_disconnect(const redisAsyncContext *connection, int status)
{
    struct ty_redis *redis = connection->data;
    (void)status;
    if (connection->err)
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: %s", redis->url.shown, connection->errstr);
    went_down(redis);
}

static void on_deadline(void *context)
{
    struct ty_redis *redis = context;
    uint64_t limit = redis->options.command_ms, now = ty_clock_mono_ms();
    if (ty_loop_now_ms(redis->loop) >= redis->deadline.due_ms + LATE_MS) {
        ty_loop_set_timer(redis->loop, &redis->deadline, LATE_MORE_MS, on_deadline, redis);
    } else if (!redis->up) {
        ty_err_set(&redis->cause, TY_EDEADLINE, "Redis at %s: no connection within %llu ms", redis->url.shown,
                   (unsigned long long)redis->options.connect_ms);
        ty_redis_link_break(redis);
    } else if (redis->oldest && now - redis->oldest->issued_ms >= limit) {
        ty_err_set(&redis->cause, TY_EDEADLINE, "Redis at %s: no answer within %llu ms", redis->url.shown,
                   (unsigned long long)limit);
        ty_redis_link_break(redis);
    } else if (redis->oldest) {
        ty_loop_set_timer(redis->loop, &redis->deadline, redis->oldest->issued_ms + limit - now, on_deadline, redis);
    }
}

void ty_redis_link_watch_age(struct ty_redis *redis)
{
    if (redis->up && !redis->deadline.index)
        ty_loop_set_timer(redis->loop, &redis->deadline, redis->options.command_ms, on_deadline, redis);
}

// ---- up ----

void ty_redis_link_set_up(struct ty_redis *redis)
{
    redis->up = redis->told = redis->told_up = true;
    redis->up_since_ms = ty_clock_mono_ms();
    ty_loop_clear_timer(redis->loop, &redis->deadline);
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: the connection was lost", redis->url.shown);
    redis->on_state(redis->context, true, NULL);
}

// The answer to AUTH, SELECT or PING. Anything but success makes the connection useless.
static bool greeted(struct ty_redis *redis, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    if (reply && reply->type != TY_REDIS_ERROR)
        return true;
    if (reply)
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: %.*s", redis->url.shown, (int)reply->len, reply->bytes);
    else
        redis->cause = *err;
    if (redis->connection)
        ty_redis_link_break(redis);
    return false;
}

static void on_greeted(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    greeted(context, reply, err);
}

static void on_pong(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct ty_redis *redis = context;
    if (!greeted(redis, reply, err))
        return;
    ty_redis_channels_ask(redis);
    if (!redis->channels)
        ty_redis_link_set_up(redis);
}

static void greet(struct ty_redis *redis)
{
    if (redis->url.password) {
        const char *argv[3] = {"AUTH"};
        size_t lens[3] = {4};
        int argc = 1;
        if (redis->url.user)
            argv[argc++] = redis->url.user;
        argv[argc++] = redis->url.password;
        for (int i = 1; i < argc; i++)
            lens[i] = strlen(argv[i]);
        ty_redis_issue(redis, argc, argv, lens, false, on_greeted, redis);
    }
    if (redis->url.database) {
        char number[16];
        size_t len = (size_t)snprintf(number, sizeof number, "%d", redis->url.database);
        ty_redis_issue(redis, 2, (const char *[]){"SELECT", number}, (size_t[]){6, len}, false, on_greeted, redis);
    }
    ty_redis_issue(redis, 1, (const char *[]){"PING"}, (size_t[]){4}, false, on_pong, redis);
}

static void on_connect(const redisAsyncContext *connection, int status)
{
    struct ty_redis *redis = connection->data;
    if (status != REDIS_OK) {
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: %s", redis->url.shown, connection->c.errstr);
        went_down(redis); // hiredis frees the context itself
        return;
    }
    redis->connected = true;
    ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: the connection was lost", redis->url.shown);
    greet(redis);
}

static int watch(struct ty_redis *redis, redisAsyncContext *connection)
{
    redis->connection = connection;
    redis->fd = connection->c.fd;
    connection->data = redis;
    connection->ev.data = redis;
    connection->ev.addRead = ev_ignore;
    connection->ev.delRead = ev_ignore;
    connection->ev.addWrite = ev_add_write;
    connection->ev.delWrite = ev_del_write;
    connection->ev.cleanup = ev_cleanup;
    if (ty_loop_add_fd(redis->loop, redis->fd, TY_LOOP_READ | TY_LOOP_WRITE, on_fd, redis, &redis->cause) < 0)
        return -1;
    redis->watching = redis->watching_write = true;
    redisAsyncSetConnectCallback(connection, on_connect);
    redisAsyncSetDisconnectCallback(connection, on_disconnect);
    return 0;
}

static void connect_to(struct ty_redis *redis, const char *address)
{
    redisAsyncContext *connection =
        redis->url.path ? redisAsyncConnectUnix(redis->url.path) : redisAsyncConnect(address, redis->url.port);
    if (!connection || connection->err) {
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: %s", redis->url.shown,
                   connection ? connection->c.errstr : "out of memory");
        if (connection)
            redisAsyncFree(connection);
        went_down(redis);
        return;
    }
    if (redis->url.host)
        redisEnableKeepAlive(&connection->c);
    struct ty_err err;
    if (redis->url.tls && ty_redis_tls_start(connection, redis->url.host, &err) < 0) {
        ty_err_set(&redis->cause, TY_EUNAVAILABLE, "Redis at %s: %s", redis->url.shown, err.message);
        redisAsyncFree(connection);
        went_down(redis);
        return;
    }
    if (watch(redis, connection) < 0)
        ty_redis_link_break(redis);
}

static void on_found(void *context, char **addresses, const struct ty_err *err)
{
    struct ty_redis *redis = context;
    redis->lookup = NULL;
    if (!addresses) {
        redis->cause = *err;
        went_down(redis);
        return;
    }
    size_t count = 0;
    while (addresses[count])
        count++;
    connect_to(redis, addresses[redis->attempts++ % count]);
    for (size_t i = 0; i < count; i++)
        free(addresses[i]);
    free(addresses);
}

void ty_redis_link_start(void *context)
{
    struct ty_redis *redis = context;
    ty_loop_set_timer(redis->loop, &redis->deadline, redis->options.connect_ms, on_deadline, redis);
    if (redis->url.path || ty_redis_is_numeric(redis->url.host)) {
        connect_to(redis, redis->url.host);
        return;
    }
    redis->lookup = ty_redis_lookup_start(redis->loop, redis->url.host, on_found, redis, &redis->cause);
    if (!redis->lookup)
        went_down(redis);
}
