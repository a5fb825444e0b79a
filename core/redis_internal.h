// What redis.c (commands), redis_link.c (the connection), redis_channel.c, redis_address.c and redis_reply.c share. Inside the Redis door only.
#pragma once

#include <hiredis/async.h>

#include "core/redis.h"

#define TY_REDIS_SCRIPTS_MAX 32

// A parsed URL. Owner frees with ty_redis_url_done.
struct ty_redis_url {
    char *host, *path; // one of them; path: of a Unix socket
    char *user, *password;
    bool tls;
    int port, database;
    char *shown; // where it leads, without the credentials: for messages
};

// No message repeats a part of the URL that may hold the password.
int ty_redis_url_parse(const char *text, struct ty_redis_url *url, struct ty_err *err) TY_MUST_USE;
void ty_redis_url_done(struct ty_redis_url *url);

// Name resolution off the loop's thread. fn comes once, on the loop's thread, never from inside ty_redis_lookup_start;
// it takes `addresses`: numeric, NULL-terminated, IPv4 first; NULL with err when there is none.
struct ty_redis_lookup;
typedef void (*ty_redis_found_fn)(void *context, char **addresses, const struct ty_err *err);
struct ty_redis_lookup *ty_redis_lookup_start(struct ty_loop *loop, const char *host, ty_redis_found_fn fn, void *context,
                                              struct ty_err *err);
// fn will not come any more. Does not wait for the resolver.
void ty_redis_lookup_cancel(struct ty_redis_lookup *lookup);
bool ty_redis_is_numeric(const char *host);

// The memory of one reply's nodes, used again for the next reply.
struct ty_redis_nodes {
    struct ty_redis_reply *items;
    size_t cap;
};

// Converts a reply of hiredis; bytes are borrowed from it, the nodes live in `nodes`.
void ty_redis_reply_convert(const redisReply *from, struct ty_redis_reply *to, struct ty_redis_nodes *nodes);
// True when an error reply means that the command did not run and may do so later, or that the store is full.
bool ty_redis_reply_refused(const struct ty_redis_reply *reply, struct ty_err *err);
bool ty_redis_reply_starts(const struct ty_redis_reply *reply, const char *word);

// One command without its answer; a list in the order of issue.
struct ty_redis_pending {
    struct ty_redis *redis;
    ty_redis_fn fn;
    void *context;
    uint64_t issued_ms;
    uint32_t script_epoch; // 0: not a script call
    enum ty_code refused;  // why it was not sent
    struct ty_redis_pending *prev, *next;
};

struct ty_redis_channel {
    struct ty_redis *redis;
    char *name;
    int place; // what the server was told of it
    ty_redis_message_fn fn; // NULL: nobody listens any more
    void *context;
    struct ty_redis_channel *next, **at;
};

struct ty_redis {
    struct ty_loop *loop;
    struct ty_redis_options options;
    struct ty_redis_url url;
    ty_redis_state_fn on_state;
    void *context;

    // The way to a connection: lookup, then connection without connected, then connected, then up.
    struct ty_redis_lookup *lookup;
    redisAsyncContext *connection;
    int fd;
    bool connected, up, freeing;
    bool watching, watching_write, wants_write;
    size_t attempts;
    uint64_t backoff_ms, up_since_ms;
    struct ty_err cause; // why outstanding commands fail
    bool told, told_up;  // what on_state was told last
    struct ty_err told_cause;
    struct ty_timer reconnect, deadline;
    bool is_extended; // the deadline, once

    struct ty_redis_pending *oldest, *newest;
    size_t pending_count;
    struct ty_redis_pending *refused, **refused_tail; // failed before they were sent; told in the next turn
    struct ty_timer refusals;

    const struct ty_redis_script *loaded[TY_REDIS_SCRIPTS_MAX];
    size_t loaded_count;
    uint32_t script_epoch; // rises when the server turns out to have lost its scripts
    struct ty_err script_err; // code other than TY_OK: the server refused a script
    struct ty_redis_channel *channels;
    bool listening; // the connection has been asked for the channels

    struct ty_redis_nodes nodes;
    const char **argv; // scratch of ty_redis_eval
    size_t *lens;
    size_t arg_cap;
};

// redis_link.c
void ty_redis_link_start(void *redis);
// Gives up what there is of a connection; outstanding commands fail with `cause`. Inside a callback of hiredis that happens
// when the callback has returned.
void ty_redis_link_break(struct ty_redis *redis);
// The end of a turn of the loop: what it gathered leaves in one write.
void ty_redis_link_flush(void *redis);
// Watches the age of the oldest unanswered command.
void ty_redis_link_watch_age(struct ty_redis *redis);
void ty_redis_link_set_up(struct ty_redis *redis);
// redis_channel.c: asks a new connection for all of them; it has gone; the client goes.
void ty_redis_channels_ask(struct ty_redis *redis);
void ty_redis_channels_lose(struct ty_redis *redis);
void ty_redis_channels_free(struct ty_redis *redis);
// redis.c: sends without asking whether the connection is up.
void ty_redis_issue(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, bool is_script,
                    ty_redis_fn fn, void *context);
