// What grpc_server.c and grpc_call.c share. The only two files that see gRPC's headers.
#pragma once

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "responder/grpc_server.h"
#include "responder/rpc_transport.h"
#include "responder/tls.h"

enum ty_grpc_tag_kind { TAG_NEW, TAG_MESSAGE, TAG_SENT, TAG_CLOSED, TAG_STOPPED };

// What a batch is known by on the completion queue, and a link of the mailbox.
struct ty_grpc_tag {
    enum ty_grpc_tag_kind kind;
    bool ok;
    struct ty_grpc_call *call;
    struct ty_grpc_tag *next;
};

struct ty_grpc_slot {
    const struct ty_rpc_method *table;
    void *registered;
};

struct ty_grpc_call {
    struct ty_rpc rpc; // first: one is the other
    struct ty_grpc *grpc;
    const struct ty_grpc_slot *slot; // NULL: a method that we do not have
    grpc_call *call;
    gpr_timespec deadline;
    grpc_call_details details; // unknown methods only
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *reply;
    struct ty_grpc_tag on_new, on_message, on_sent, on_closed;
    // One for each batch on the completion queue whose end only its thread sees, and one for the loop's side.
    atomic_int refs;
    int was_cancelled; // written by the library before on_closed
    bool initial_sent;
    size_t large_bytes;   // of an answer that has not left; 0: none, or a small one
    struct ty_timer slow; // until when it must have left
    struct ty_grpc_call *next; // in the pool
};

struct ty_grpc {
    struct ty_rpc_calls calls;
    grpc_server *server;
    grpc_completion_queue *queue;
    pthread_t thread;
    bool started;
    unsigned port;
    struct ty_tls *tls;      // NULL: plaintext
    uint64_t tls_generation; // as handed to the library, which asks from one thread at a time
    struct ty_grpc_slot *methods;
    size_t method_count;
    struct ty_grpc_call *pool;               // completion queue's thread only
    _Atomic(struct ty_grpc_call *) returned; // on their way to the pool, from any thread
    _Atomic(struct ty_grpc_tag *) mailbox; // newest first
    struct ty_grpc_tag on_stopped;
    void (*stopped)(void *context);
    void *stopped_context;
    bool server_stopped;
};

extern const struct ty_rpc_transport ty_grpc_transport;

// As the options ask for; the caller releases it.
grpc_server_credentials *ty_grpc_credentials(struct ty_grpc *grpc);
// A large answer has left, or never will.
void ty_grpc_on_large_sent(struct ty_grpc_call *call);
// Drops one of the references in call->refs; any thread.
void ty_grpc_call_unref(struct ty_grpc_call *call);
// Start a batch whose end comes back through the mailbox and holds the call until then.
void ty_grpc_receive_close(struct ty_grpc_call *call);
void ty_grpc_receive_message(struct ty_grpc_call *call);
