// What grpc_server.c and grpc_call.c share. The only two files that see gRPC's headers.
#pragma once

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "core/limits.h"
#include "responder/grpc_server.h"
#include "responder/tls.h"

#define TY_RPC_TRAILING_MAX 4

enum ty_rpc_tag_kind { TAG_NEW, TAG_MESSAGE, TAG_SENT, TAG_CLOSED, TAG_STOPPED };

// What a batch is known by on the completion queue, and a link of the mailbox.
struct ty_rpc_tag {
    enum ty_rpc_tag_kind kind;
    bool ok;
    struct ty_rpc *rpc;
    struct ty_rpc_tag *next;
};

struct ty_rpc_slot {
    const struct ty_rpc_method *table;
    void *registered;
};

struct ty_rpc {
    struct ty_grpc *grpc;
    const struct ty_rpc_slot *method; // NULL: one that we do not have
    grpc_call *call;
    gpr_timespec deadline;
    grpc_call_details details; // unknown methods only
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *reply;
    struct ty_rpc_tag on_new, on_message, on_sent, on_closed;
    // One for each batch on the completion queue whose end only its thread sees, and one for the loop's side.
    atomic_int refs;
    // The loop's side: the unanswered call, each hold, each batch whose end comes through the mailbox.
    int holds;
    int was_cancelled; // written by the library before on_closed
    bool answered, cancelled, sending, initial_sent, ends_later;
    struct ty_err *end; // ends_later: with this status; NULL: OK
    struct ty_timer timer;
    grpc_metadata trailing[TY_RPC_TRAILING_MAX];
    size_t trailing_count;
    struct ty_rpc *next;                  // in the pool
    struct ty_rpc *stream_next, **stream_at; // among the open streams
    alignas(max_align_t) unsigned char scratch[TY_RPC_SCRATCH_BYTES];
};

struct ty_grpc {
    struct ty_loop *loop;
    void *context;
    grpc_server *server;
    grpc_completion_queue *queue;
    pthread_t thread;
    bool started;
    unsigned port;
    struct ty_tls *tls;      // NULL: plaintext
    uint64_t tls_generation; // as handed to the library, which asks from one thread at a time
    struct ty_rpc_slot *methods;
    size_t method_count;
    struct ty_rpc *pool;               // completion queue's thread only
    _Atomic(struct ty_rpc *) returned; // on their way to the pool, from any thread
    _Atomic(struct ty_rpc_tag *) mailbox; // newest first
    struct ty_rpc *streams;
    size_t calls;
    struct ty_rpc_tag on_stopped;
    void (*stopped)(void *context);
    void *stopped_context;
    bool stopping, server_stopped;
};

// As the options ask for; the caller releases it.
grpc_server_credentials *ty_grpc_credentials(struct ty_grpc *grpc);
// Drops one of the references in rpc->refs; any thread.
void ty_rpc_unref(struct ty_rpc *rpc);
bool ty_rpc_is_stream(const struct ty_rpc *rpc);
// Whether the end of the call is told by a batch of its own.
bool ty_rpc_tells_closed(const struct ty_rpc *rpc);
// Start a batch whose end comes back through the mailbox.
void ty_rpc_receive_close(struct ty_rpc *rpc);
void ty_rpc_receive_message(struct ty_rpc *rpc);
// Sends the end of a call: status, and before it whatever has not left yet. err NULL: OK.
void ty_rpc_send_end(struct ty_rpc *rpc, const struct ty_err *err);
// Answers once; err NULL: OK.
void ty_rpc_answer(struct ty_rpc *rpc, const struct ty_err *err);
