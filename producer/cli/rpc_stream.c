// A call that a stream of messages answers. Three batches: what is sent, each message in turn, and the status, which comes
// when the last message was taken.
#include <grpc/support/time.h>
#include <stdlib.h>

#include "core/buf.h"
#include "producer/cli/rpc_internal.h"

struct ty_rpc_stream {
    struct ty_rpc_client *client;
    struct ty_rpc_call call;
    char sent_tag, message_tag, status_tag; // by their addresses
    bool is_sending, is_receiving, has_status;
};

static bool wait_for(struct ty_rpc_stream *stream, void *tag, gpr_timespec until)
{
    return grpc_completion_queue_pluck(stream->client->queue, tag, until, NULL).type == GRPC_OP_COMPLETE;
}

static int start(struct ty_rpc_stream *stream, const grpc_op *ops, size_t count, void *tag, struct ty_err *err)
{
    grpc_call_error error = grpc_call_start_batch(stream->call.call, ops, count, tag, NULL);
    if (error != GRPC_CALL_OK)
        return ty_err_set(err, TY_EINTERNAL, "grpc: %s", grpc_call_error_to_string(error));
    return 0;
}

static int ask_status(struct ty_rpc_stream *stream, struct ty_err *err)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &stream->call.trailing;
    op.data.recv_status_on_client.status = &stream->call.status;
    op.data.recv_status_on_client.status_details = &stream->call.details;
    return start(stream, &op, 1, &stream->status_tag, err);
}

static int send(struct ty_rpc_stream *stream, struct ty_err *err)
{
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                      {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
                      {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    ops[0].data.send_initial_metadata.metadata = stream->call.metadata;
    ops[0].data.send_initial_metadata.count = stream->call.metadata_count;
    ops[1].data.send_message.send_message = stream->call.sent;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &stream->call.initial;
    return start(stream, ops, 4, &stream->sent_tag, err);
}

int ty_rpc_stream_open(struct ty_rpc_client *client, const char *path, const ProtobufCMessage *request,
                       struct ty_rpc_stream **ret_stream, struct ty_err *err)
{
    if (ty_rpc_log_in(client, err) < 0)
        return -(int)err->code;
    struct ty_rpc_stream *stream = ty_xcalloc(1, sizeof *stream);
    stream->client = client;
    ty_rpc_open_call(client, path, 0, &stream->call);
    stream->call.sent = ty_rpc_pack(request);
    if (ask_status(stream, err) < 0) {
        ty_rpc_close_call(&stream->call);
        free(stream);
        return -(int)err->code;
    }
    if (send(stream, err) < 0) {
        ty_rpc_stream_close(stream);
        return -(int)err->code;
    }
    stream->is_sending = true;
    *ret_stream = stream;
    return 0;
}

// Both batches that may be under way end with the call, and before it is closed.
static void take_status(struct ty_rpc_stream *stream)
{
    gpr_timespec forever = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (stream->is_sending)
        wait_for(stream, &stream->sent_tag, forever);
    if (!stream->has_status)
        wait_for(stream, &stream->status_tag, forever);
    stream->is_sending = false;
    stream->has_status = true;
}

int ty_rpc_stream_next(struct ty_rpc_stream *stream, const ProtobufCMessageDescriptor *descriptor, int wait_ms,
                       ProtobufCMessage **ret_message, struct ty_err *err)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    gpr_timespec until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(wait_ms, GPR_TIMESPAN));
    op.data.recv_message.recv_message = &stream->call.received;
    if (!stream->is_receiving && start(stream, &op, 1, &stream->message_tag, err) < 0)
        return -(int)err->code;
    stream->is_receiving = true;
    if (!wait_for(stream, &stream->message_tag, until))
        return TY_RPC_STREAM_QUIET;
    stream->is_receiving = false;
    if (!stream->call.received) {
        take_status(stream);
        return stream->call.status == GRPC_STATUS_OK ? TY_RPC_STREAM_END : ty_rpc_call_err(stream->client, &stream->call, err);
    }
    int rc = ty_rpc_unpack(stream->client, stream->call.received, descriptor, ret_message, err);
    grpc_byte_buffer_destroy(stream->call.received);
    stream->call.received = NULL;
    return rc < 0 ? rc : TY_RPC_STREAM_MESSAGE;
}

void ty_rpc_stream_close(struct ty_rpc_stream *stream)
{
    if (!stream)
        return;
    if (!stream->has_status)
        grpc_call_cancel(stream->call.call, NULL);
    if (stream->is_receiving)
        wait_for(stream, &stream->message_tag, gpr_inf_future(GPR_CLOCK_MONOTONIC));
    take_status(stream);
    ty_rpc_close_call(&stream->call);
    free(stream);
}
