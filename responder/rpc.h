// A call (struct ty_rpc) as its handler sees it, whatever it came by: gRPC (grpc_server.h) or HTTP (http_server.h). A handler
// includes this and nothing of a transport. All of it is for the loop's thread, and nothing blocks.
//
// A call lives until it is answered and nobody holds it. A handler that waits for something holds the call and releases it in
// the callback; an answer to a call that has one already is dropped, so a late callback need not ask.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/key.h"
#include "core/limits.h"

struct ty_rpc;

// Room a handler has in the call itself, zeroed before its first callback.
#define TY_RPC_SCRATCH_BYTES 384
// Calls whose answers may be large (is_heavy) that are worked on at once; more wait for their turn, first come first served, within their
// time limit: so that they cannot ask more of the store together than it gives within the time of one command.
#define TY_RPC_HEAVY_AT_ONCE 8
// Memory of large answers that clients have not taken yet; above it heavy calls are refused with RESOURCE_EXHAUSTED.
#define TY_RPC_UNSENT_BYTES (192 * 1024 * 1024)
// A call that is not answered by then gets on_timeout; what is left of TY_LIMIT_RPC_MS is for the answer's way.
#define TY_RPC_TIMEOUT_MS (TY_LIMIT_RPC_MS - 300)
// Calls of one transport being worked on at once; more are refused with RESOURCE_EXHAUSTED.
#define TY_RPC_MAX_CALLS 20000
// Entries of an answer's trailing metadata; more are dropped.
#define TY_RPC_TRAILING_MAX 8

// What a caller needs for an RPC, while authentication is on. Which organization is a second question: see access.h.
enum ty_access_needed {
    TY_NEEDS_UNSAID,  // nobody has thought of it: as TY_NEEDS_OWNER
    TY_NEEDS_NOTHING, // anybody, without a token too
    TY_NEEDS_READ,
    TY_NEEDS_SUBMIT,
    TY_NEEDS_OWNER,
};

// Whose token came with a call.
struct ty_principal {
    bool is_known; // false: authentication is off, or the call needs nothing
    struct ty_id key_id;
    enum ty_key_role role;
    int64_t issued_s, expires_s; // of the token, seconds since 1970
    char organization[TY_LIMIT_ID_BYTES + 1];
};

// One RPC of the table that a transport is made with.
struct ty_rpc_method {
    const char *path; // "/package.Service/Method"
    enum ty_access_needed access;
    const ProtobufCMessageDescriptor *request, *response;
    bool is_stream;      // any number of messages both ways; no time limit
    bool takes_one;      // of a stream: one request, and the end of the client's side ends nothing
    bool tells_closed;   // ty_rpc_is_cancelled is kept up to date (always so for streams)
    bool is_heavy;       // unary: see TY_RPC_HEAVY_AT_ONCE
    // A request that passed the wire check. The message is borrowed for the call.
    void (*on_request)(struct ty_rpc *rpc, const ProtobufCMessage *message);
    // Unary: the time is up or the client's deadline passed, and there is no answer. NULL: UNAVAILABLE.
    void (*on_timeout)(struct ty_rpc *rpc);
    // Stream: the message given to ty_rpc_send left, and another may be sent, even if the end waits for its turn. May be NULL.
    void (*on_sent)(struct ty_rpc *rpc);
    // The last callback of a call: free what the scratch area owns. May be NULL.
    void (*on_done)(struct ty_rpc *rpc);
};

// The context that the transport was made with.
void *ty_rpc_context(const struct ty_rpc *rpc);
void *ty_rpc_scratch(struct ty_rpc *rpc);
void ty_rpc_hold(struct ty_rpc *rpc);
void ty_rpc_release(struct ty_rpc *rpc);
bool ty_rpc_is_answered(const struct ty_rpc *rpc);
bool ty_rpc_is_cancelled(const struct ty_rpc *rpc);

// Request metadata in the order received; false behind the last. Borrowed, not NUL-terminated.
bool ty_rpc_metadata(const struct ty_rpc *rpc, size_t index, const char **ret_key, size_t *ret_key_len,
                     const char **ret_value, size_t *ret_value_len);
// From where the call comes, as gRPC writes it ("ipv4:10.0.0.1:4711"); "" where the transport cannot say. Returns out.
const char *ty_rpc_peer(const struct ty_rpc *rpc, char *out, size_t size);
enum ty_access_needed ty_rpc_access(const struct ty_rpc *rpc);
// Borrowed; of a call that was admitted it stays as it is.
const struct ty_principal *ty_rpc_principal(const struct ty_rpc *rpc);
// By whoever admits the call (access.c).
void ty_rpc_set_principal(struct ty_rpc *rpc, const struct ty_principal *principal);

// For the answer to come; both are copied. At most TY_RPC_TRAILING_MAX.
void ty_rpc_add_trailing(struct ty_rpc *rpc, const char *key, const char *value);
// The same with any bytes; key ends in "-bin", and the wire carries them in base64.
void ty_rpc_add_trailing_bytes(struct ty_rpc *rpc, const char *key, const void *bytes, size_t len);

// Answers a unary call: OK with the message (copied).
void ty_rpc_reply(struct ty_rpc *rpc, const void *bytes, size_t len);
// The same without a copy: takes the buffer's memory and leaves it empty.
void ty_rpc_reply_take(struct ty_rpc *rpc, struct ty_buf *message);
// Ends any call with an error. The message is made valid UTF-8 without percent signs, which some clients misread.
void ty_rpc_fail(struct ty_rpc *rpc, const struct ty_err *err);
// Streams: ends it with OK behind what is on its way.
void ty_rpc_end(struct ty_rpc *rpc);
// Streams: sends one message (copied). False when the last one is still on its way (on_sent says when it has left) or the
// stream has ended.
bool ty_rpc_send(struct ty_rpc *rpc, const void *bytes, size_t len);
