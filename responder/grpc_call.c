// What a call sends and gets, as batches of the library.
#include <grpc/byte_buffer.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "responder/grpc_internal.h"

// A batch that does not start is a mistake of ours; the call is given up, the process goes on.
static bool start_batch(struct ty_grpc_call *call, const grpc_op *ops, size_t count, struct ty_grpc_tag *tag)
{
    grpc_call_error error = grpc_call_start_batch(call->call, ops, count, tag, NULL);
    if (error == GRPC_CALL_OK)
        return true;
    ty_log(TY_LOG_ERROR, "grpc.batch_refused", TY_KV("error", "%s", grpc_call_error_to_string(error)));
    grpc_call_cancel(call->call, NULL);
    return false;
}

void ty_grpc_receive_close(struct ty_grpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->was_cancelled;
    if (start_batch(call, &op, 1, &call->on_closed))
        ty_rpc_hold(&call->rpc);
}

void ty_grpc_receive_message(struct ty_grpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->request;
    if (start_batch(call, &op, 1, &call->on_message))
        ty_rpc_hold(&call->rpc);
}

static bool metadata(const struct ty_rpc *rpc, size_t index, const char **ret_key, size_t *ret_key_len,
                     const char **ret_value, size_t *ret_value_len)
{
    const struct ty_grpc_call *call = (const struct ty_grpc_call *)rpc;
    if (index >= call->metadata.count)
        return false;
    const grpc_metadata *entry = &call->metadata.metadata[index];
    *ret_key = (const char *)GRPC_SLICE_START_PTR(entry->key);
    *ret_key_len = GRPC_SLICE_LENGTH(entry->key);
    *ret_value = (const char *)GRPC_SLICE_START_PTR(entry->value);
    *ret_value_len = GRPC_SLICE_LENGTH(entry->value);
    return true;
}

static const char *peer(const struct ty_rpc *rpc, char *out, size_t size)
{
    const struct ty_grpc_call *call = (const struct ty_grpc_call *)rpc;
    char *text = grpc_call_get_peer(call->call);
    snprintf(out, size, "%s", text ? text : "");
    gpr_free(text);
    return out;
}

// Takes the buffer's memory.
static grpc_byte_buffer *take_message(struct ty_buf *message)
{
    grpc_slice slice = message && message->len ? grpc_slice_new(message->data, message->len, free) : grpc_empty_slice();
    if (message && message->len)
        *message = (struct ty_buf){0};
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

// Sends status and trailing metadata, and whatever has not left yet before them.
static void send_end(struct ty_grpc_call *call, grpc_metadata *trailing, const grpc_slice *text, enum ty_code code)
{
    bool is_stream = ty_rpc_is_stream(&call->rpc);
    grpc_op ops[4] = {0};
    size_t count = 0;
    if (!ty_rpc_tells_closed(&call->rpc)) {
        ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[count++].data.recv_close_on_server.cancelled = &call->was_cancelled;
    }
    if (!call->initial_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (call->reply && !is_stream) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = call->reply;
    }
    ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[count].data.send_status_from_server.status = text ? (grpc_status_code)ty_code_grpc(code) : GRPC_STATUS_OK;
    ops[count].data.send_status_from_server.trailing_metadata = trailing;
    ops[count].data.send_status_from_server.trailing_metadata_count = call->rpc.trailing_count;
    ops[count++].data.send_status_from_server.status_details = (grpc_slice *)text;
    // Of a stream, and of a large answer, the loop hears that the end has left, of others only the completion queue's thread.
    bool is_heard = is_stream || call->large_bytes;
    if (!is_heard)
        atomic_fetch_add(&call->refs, 1);
    bool started = start_batch(call, ops, count, &call->on_sent);
    if (is_heard && started)
        ty_rpc_hold(&call->rpc);
    else if (!is_heard && !started)
        atomic_fetch_sub(&call->refs, 1);
    if (call->large_bytes && !started)
        ty_grpc_on_large_sent(call);
}

static void on_slow(void *context)
{
    struct ty_grpc_call *call = context;
    ty_log(TY_LOG_WARN, "grpc.slow_client", TY_KV("bytes", "%zu", call->large_bytes), TY_KV("method", "%s", call->rpc.method->path));
    grpc_call_cancel(call->call, NULL);
}

static void watch_large(struct ty_grpc_call *call, size_t bytes)
{
    call->large_bytes = bytes;
    call->grpc->calls.unsent_bytes += bytes;
    ty_loop_set_timer(call->grpc->calls.loop, &call->slow, TY_GRPC_SEND_MS, on_slow, call);
}

void ty_grpc_on_large_sent(struct ty_grpc_call *call)
{
    ty_loop_clear_timer(call->grpc->calls.loop, &call->slow);
    call->grpc->calls.unsent_bytes -= call->large_bytes;
    call->large_bytes = 0;
}

static void end(struct ty_rpc *rpc, struct ty_buf *message, const struct ty_err *err)
{
    struct ty_grpc_call *call = (struct ty_grpc_call *)rpc;
    grpc_metadata trailing[TY_RPC_TRAILING_MAX];
    grpc_slice text;
    TY_BUF(words);
    for (size_t i = 0; i < rpc->trailing_count; i++) {
        trailing[i].key = grpc_slice_from_copied_string(rpc->trailing[i].key);
        trailing[i].value = grpc_slice_from_copied_buffer(rpc->trailing[i].value, rpc->trailing[i].value_len);
    }
    if (err) {
        ty_rpc_status_text(err, &words);
        text = grpc_slice_from_copied_buffer((const char *)words.data, words.len);
    } else if (!ty_rpc_is_stream(rpc)) {
        if (message && message->len > TY_GRPC_LARGE_BYTES)
            watch_large(call, message->cap);
        call->reply = take_message(message);
    }
    send_end(call, trailing, err ? &text : NULL, err ? err->code : TY_OK);
    if (err)
        grpc_slice_unref(text);
    for (size_t i = 0; i < rpc->trailing_count; i++) {
        grpc_slice_unref(trailing[i].key);
        grpc_slice_unref(trailing[i].value);
    }
}

static bool send(struct ty_rpc *rpc, struct ty_buf *message)
{
    struct ty_grpc_call *call = (struct ty_grpc_call *)rpc;
    grpc_op ops[2] = {0};
    size_t count = 0;
    call->reply = take_message(message);
    if (!call->initial_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = call->reply;
    if (!start_batch(call, ops, count, &call->on_sent))
        return false;
    ty_rpc_hold(rpc);
    call->initial_sent = true;
    return true;
}

static void done(struct ty_rpc *rpc)
{
    ty_grpc_call_unref((struct ty_grpc_call *)rpc);
}

const struct ty_rpc_transport ty_grpc_transport = {.metadata = metadata, .peer = peer, .end = end, .send = send, .done = done};
