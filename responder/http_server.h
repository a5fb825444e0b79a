// HTTP/1.1 for what does not speak gRPC, as another transport of the same calls (rpc.h), and the only door to libmicrohttpd
// (http_server.c, http_request.c). The library runs on our loop: its epoll descriptor is a source, nothing of it blocks, it has no
// thread. docs/http.md says what is served. Loop thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"
#include "responder/rpc.h"

// A request's line and headers, and the library's buffer for the body: 431 above.
#define TY_HTTP_HEADER_BYTES (32 * 1024)
// A request's body is one message of TY_LIMIT_REQUEST_BYTES; JSON may be this much longer: 413 above.
#define TY_HTTP_BODY_BYTES (2 * TY_LIMIT_REQUEST_BYTES)
// Bodies that are being received, of all requests together: 429 above.
#define TY_HTTP_BODIES_BYTES (64 * 1024 * 1024)
// Answers that wait for their clients to take them, of all requests together: 429 above, for one that is larger than TY_HTTP_SMALL_BYTES.
#define TY_HTTP_ANSWERS_BYTES (512 * 1024 * 1024)
#define TY_HTTP_SMALL_BYTES (64 * 1024)
// What is read of a body without a length that is too long, before the connection is closed: enough for the 413 to arrive.
#define TY_HTTP_DISCARD_BYTES (8 * 1024 * 1024)
// A request from its first byte (of a new connection: from accept) to the last of its body: the connection is closed.
#define TY_HTTP_READ_MS 20000
// A connection between two requests: closed.
#define TY_HTTP_IDLE_MS 60000
// An answer, or one message of a stream, until the client has taken it: the connection is closed.
#define TY_HTTP_WRITE_MS 120000
// A client that takes or sends not one byte meanwhile: closed.
#define TY_HTTP_STALL_MS 60000
// Connections that wait to be accepted.
#define TY_HTTP_BACKLOG 511

struct ty_http;
struct ty_tls;

struct ty_http_options {
    const char *host; // "127.0.0.1", "::1", "localhost"
    unsigned port;    // 0: a free one
    // Connections at once; more wait in the backlog. Of one address: more are closed at once.
    unsigned max_connections, max_per_address;
    // Origins whose pages may call, "*" for all; NULL-terminated, borrowed. NULL: none.
    char *const *origins;
    // Requests are refused (421) whose Host is none of this machine's own names: a page could otherwise make its own name lead
    // here (DNS rebinding), and be of the same origin then.
    bool local_names_only;
    struct ty_tls *tls; // borrowed until ty_http_free; NULL: plaintext
    // For /readyz: false with the reason.
    bool (*is_ready)(void *context, struct ty_err *err);
};

// Listens and serves. options (but for host), methods and context are borrowed. TY_EUNAVAILABLE when the address cannot be bound.
int ty_http_new(struct ty_loop *loop, const struct ty_http_options *options, const struct ty_rpc_method *methods, size_t count,
                void *context, struct ty_http **ret_http, struct ty_err *err) TY_MUST_USE;
unsigned ty_http_port(const struct ty_http *http);
// Takes no more connections and refuses new calls, ends the streams, lets unary calls finish; on_stopped comes when all are done.
void ty_http_stop(struct ty_http *http, void (*on_stopped)(void *context), void *context);
// After ty_http_stop: breaks the connections of what still runs.
void ty_http_cancel_calls(struct ty_http *http);
// Only after on_stopped, or when nothing was ever served. NULL is fine.
void ty_http_free(struct ty_http *http);
const char *ty_http_version(void);
