// The only door to hiredis: one asynchronous connection under our loop, with our own timeouts and reconnects.
// Commands that are issued in one turn of the loop leave in one write. No hiredis type shows. Loop thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"

struct ty_redis;
// Whether rediss:// is understood: hiredis has TLS from 1.0 on.
bool ty_redis_has_tls(void);

// A file with a password: larger ones are refused.
#define TY_REDIS_SECRET_BYTES 4096
// The URL with the file's text, without the line's end behind it, in place of a password; *ret_text is the caller's. A user may
// stand in it, a password in it is dropped. TY_EINVALID, or as of ty_file_read; the message begins with the path, or is that of a
// malformed URL.
int ty_redis_url_with_password(const char *text, const char *path, char **ret_text, struct ty_err *err) TY_MUST_USE;
// Overwrites and frees such a text; for TY_CLEANUP.
void ty_redis_url_forget(char **text);

// A reply as a tree; borrowed for the time of the callback.
enum ty_redis_type { TY_REDIS_NIL, TY_REDIS_INT, TY_REDIS_BYTES, TY_REDIS_STATUS, TY_REDIS_ERROR, TY_REDIS_ARRAY };
struct ty_redis_reply {
    enum ty_redis_type type;
    int64_t integer;
    const char *bytes; // BYTES, STATUS, ERROR; NUL-terminated behind len
    size_t len;
    size_t count; // ARRAY
    const struct ty_redis_reply *items;
};

// Exactly one call for each command. reply is NULL when the connection failed, the deadline passed, or the client was
// freed (err says which: TY_EUNAVAILABLE or TY_EDEADLINE; the command may or may not have run), and when more than max_pending
// commands wait (TY_EEXHAUSTED; it did not run). A Redis error reply is delivered as a reply of type ERROR with err NULL,
// except LOADING, READONLY, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, BUSY, MISCONF and NOREPLICAS, which arrive as
// TY_EUNAVAILABLE (the command did not run), and OOM as TY_EEXHAUSTED.
typedef void (*ty_redis_fn)(void *context, const struct ty_redis_reply *reply, const struct ty_err *err);
// up = connected, authenticated, answering PING and, for a subscriber, subscribed; called again at each change, and while it is
// down when the reason (err) changes.
typedef void (*ty_redis_state_fn)(void *context, bool up, const struct ty_err *err);
// A published message.
typedef void (*ty_redis_message_fn)(void *context, const char *channel, const char *bytes, size_t len);

struct ty_redis_options {
    const char *url;          // redis://[user:password@]host[:port][/db], rediss:// where hiredis has TLS, or unix://[user:password@]/path; %XX in user, password
    uint64_t connect_ms;      // from the start of an attempt to up: default 2000
    uint64_t command_ms;      // deadline of a command: default 4000. The oldest unanswered command past it breaks the connection
    uint64_t reconnect_ms;    // first back-off, doubled with jitter to at most 2000: default 50
    size_t max_pending;       // unanswered commands; beyond it ty_redis_command fails at once: default 65536
};

// Starts connecting at once and keeps reconnecting for ever. A name is resolved anew for each attempt, on a thread of its own;
// its addresses are tried in turn. Returns NULL and err on a malformed url. The options are copied. SIGPIPE, when it has its
// default action, is set to be ignored, and children inherit that.
struct ty_redis *ty_redis_new(struct ty_loop *loop, const struct ty_redis_options *options,
                              ty_redis_state_fn on_state, void *context, struct ty_err *err);
// Fails all outstanding commands (their callbacks run now; what those issue fails too), then frees. on_state is not called.
// Never from inside one of this client's own callbacks.
void ty_redis_free(struct ty_redis *redis);
bool ty_redis_is_up(const struct ty_redis *redis);
size_t ty_redis_pending(const struct ty_redis *redis);

// Queues one command (copied). When the connection is down the callback comes from the next turn of the loop, never from
// inside this call, with TY_EUNAVAILABLE. Commands are never resent by this module: what was sent and not answered is unknown.
void ty_redis_command(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens,
                      ty_redis_fn fn, void *context);

// A script by its source. It is loaded before its first use on each connection and then called by its digest. When the
// server has lost its scripts meanwhile (SCRIPT FLUSH), the call fails with TY_EUNAVAILABLE: it did not run, and the
// next one finds the script loaded again.
struct ty_redis_script {
    const char *name;
    const unsigned char *source; // NUL-terminated
    size_t source_len;
    char sha1[41]; // filled by ty_redis_script_init
};
void ty_redis_script_init(struct ty_redis_script *script, const char *name, const unsigned char *source,
                          size_t source_len);
void ty_redis_eval(struct ty_redis *redis, const struct ty_redis_script *script, int key_count, int argc,
                   const char *const *argv, const size_t *lens, ty_redis_fn fn, void *context);

// Turns this connection into a subscriber of one more channel (again after each reconnect); no other commands then. One
// subscription a name.
void ty_redis_subscribe(struct ty_redis *redis, const char *channel, ty_redis_message_fn fn, void *context);
// fn will not come any more. A subscriber keeps at least one channel: it does not become a client of commands again.
void ty_redis_unsubscribe(struct ty_redis *redis, const char *channel);
