// The other side of rpc.h: what a transport (gRPC, HTTP) embeds in its own calls and tells them. The rules of a call's life
// are in rpc.c, once; a transport only moves bytes. Loop thread only, but for ty_rpc_init.
#pragma once

#include <stdalign.h>

#include "core/loop.h"
#include "responder/rpc.h"

// What a transport does for a call of its own.
struct ty_rpc_transport {
    // As ty_rpc_metadata.
    bool (*metadata)(const struct ty_rpc *rpc, size_t index, const char **ret_key, size_t *ret_key_len,
                     const char **ret_value, size_t *ret_value_len);
    // Sends the end, once: the reply of a unary call that went well (message; empty for none, and for streams), then the
    // trailing metadata and the status. err NULL: OK. May take the buffer's memory.
    void (*end)(struct ty_rpc *rpc, struct ty_buf *message, const struct ty_err *err);
    // Streams: sends one message; ty_rpc_on_sent comes when it has left. May take the buffer's memory. False: it cannot.
    bool (*send)(struct ty_rpc *rpc, struct ty_buf *message);
    // As ty_rpc_peer. NULL: it cannot say.
    const char *(*peer)(const struct ty_rpc *rpc, char *out, size_t size);
    // Nobody holds the call, and on_done has come: the memory is the transport's again.
    void (*done)(struct ty_rpc *rpc);
};

// The calls of one transport.
struct ty_rpc_calls {
    struct ty_loop *loop;
    void *context; // ty_rpc_context
    const struct ty_rpc_transport *transport;
    size_t count;
    struct ty_rpc *streams;
    struct ty_rpc *waiting, *last_waiting; // heavy calls that wait for their turn
    unsigned heavy;                        // that are worked on
    bool is_giving_turns;
    size_t unsent_bytes; // kept by the transport: of large answers that have not left
    bool stopping;
    // The last call is done. NULL: nobody asks.
    void (*on_idle)(void *transport_context);
    void *transport_context;
};

struct ty_rpc_trailing {
    char *key; // the value lies behind it in the same memory
    const void *value;
    size_t value_len;
};

struct ty_rpc {
    struct ty_rpc_calls *calls;
    const struct ty_rpc_method *method; // NULL: one that we do not have
    // The unanswered call, each hold of a handler or of the transport.
    int holds;
    bool answered, cancelled, sending, ends_later;
    bool admitted; // its token was looked at
    struct ty_principal principal;
    struct ty_err *end_err; // ends_later: with this status; NULL: OK
    struct ty_timer timer;
    struct ty_rpc_trailing trailing[TY_RPC_TRAILING_MAX];
    size_t trailing_count;
    ProtobufCMessage *request;    // owned while the call waits for its turn
    struct ty_rpc *wait_next;
    bool has_turn;
    struct ty_rpc *stream_next, **stream_at; // among the open streams
    alignas(max_align_t) unsigned char scratch[TY_RPC_SCRATCH_BYTES];
};

// Any thread: a call that has not begun, with one hold for its answer.
void ty_rpc_init(struct ty_rpc *rpc, struct ty_rpc_calls *calls, const struct ty_rpc_method *method);
// Begins it: counts it, and sets the time limit of a unary call (timeout_ms: what the client gives it; ours is kept). False:
// it was refused and answered (no such method, too many calls, stopping), and may be gone.
bool ty_rpc_start(struct ty_rpc *rpc, uint64_t timeout_ms);
// The one way of a request message to its handler, called by every transport: asks whether the caller may (access.h; once a call),
// checks the bytes, unpacks, hands over. What is wrong fails the call.
void ty_rpc_dispatch(struct ty_rpc *rpc, const uint8_t *bytes, size_t len);
// The client of a stream has said all that it wants to say.
void ty_rpc_on_half_close(struct ty_rpc *rpc);
// The message of ty_rpc_transport.send has left (ok), or never will. True: the transport takes the stream's next request.
bool ty_rpc_on_sent(struct ty_rpc *rpc, bool ok);
// Behind a dispatch of a stream: whether the next request is taken at once. One that is answered by a message is not: a stream
// cannot flood us.
bool ty_rpc_takes_more(const struct ty_rpc *rpc);
// The client has left, or has everything.
void ty_rpc_on_closed(struct ty_rpc *rpc, bool cancelled);

bool ty_rpc_is_stream(const struct ty_rpc *rpc);
// Whether the handler wants to know that the client has left.
bool ty_rpc_tells_closed(const struct ty_rpc *rpc);
// Answers once; err NULL: OK.
void ty_rpc_answer(struct ty_rpc *rpc, struct ty_buf *message, const struct ty_err *err);
// An error's message as it goes over the wire: never empty, valid UTF-8, no percent signs.
void ty_rpc_status_text(const struct ty_err *err, struct ty_buf *out);
// No new calls, and the open streams end with UNAVAILABLE.
void ty_rpc_stop_calls(struct ty_rpc_calls *calls);
