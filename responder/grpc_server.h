// The only door to gRPC's C surface: a server under our loop. One thread of the library's completion queue takes what
// comes off the wire and hands it to the loop through a mailbox (many calls, one wake); calls (rpc.h) live on the loop's
// thread, and every function here is for that thread only.
#pragma once

#include <stddef.h>

#include "core/err.h"
#include "core/loop.h"
#include "responder/rpc.h"

struct ty_grpc;
struct ty_tls;

// How long a new connection has for its TLS handshake and the first frames of HTTP/2, together; then it is closed.
#define TY_GRPC_HANDSHAKE_MS 10000
// Calls at once on one connection: more are refused by the library.
#define TY_GRPC_STREAMS 1000
// All metadata of a call together: RESOURCE_EXHAUSTED by the library.
#define TY_GRPC_METADATA_BYTES 16384
// A client that has been silent for so long is pinged, and cut when it does not answer in time.
#define TY_GRPC_KEEPALIVE_MS 30000
#define TY_GRPC_KEEPALIVE_TIMEOUT_MS 20000
// Clients may ping as often, with a call or without; the third that comes earlier ends the connection (GOAWAY).
#define TY_GRPC_PING_INTERVAL_MS 9000
// An answer larger than this must have been taken by the client within that time: else the call is cut, and the log says so.
#define TY_GRPC_LARGE_BYTES 65536
#define TY_GRPC_SEND_MS 30000

struct ty_grpc_options {
    const char *host;    // "127.0.0.1", "::1", "localhost"
    unsigned port;       // 0: a free one
    size_t max_request_bytes;
    struct ty_tls *tls;  // borrowed until ty_grpc_free; NULL: plaintext HTTP/2
};

// Listens and starts serving. methods and context are borrowed. TY_EUNAVAILABLE when the address cannot be bound.
int ty_grpc_new(struct ty_loop *loop, const struct ty_grpc_options *options, const struct ty_rpc_method *methods,
                size_t count, void *context, struct ty_grpc **ret_grpc, struct ty_err *err) TY_MUST_USE;
unsigned ty_grpc_port(const struct ty_grpc *grpc);
// Refuses new calls, ends the streams, lets unary calls finish; on_stopped comes when all are done.
void ty_grpc_stop(struct ty_grpc *grpc, void (*on_stopped)(void *context), void *context);
// After ty_grpc_stop: cancels what still runs.
void ty_grpc_cancel_calls(struct ty_grpc *grpc);
// Only after on_stopped, or when nothing was ever served. NULL is fine.
void ty_grpc_free(struct ty_grpc *grpc);
const char *ty_grpc_version(void);
