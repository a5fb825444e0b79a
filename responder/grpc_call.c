// What a call can be told by its handler, and the batches behind it.
#include <grpc/byte_buffer.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/wire.h"
#include "responder/grpc_internal.h"

// ---- batches ----

// A batch that does not start is a mistake of ours; the call is given up, the process goes on.
static bool start_batch(struct ty_rpc *rpc, const grpc_op *ops, size_t count, struct ty_rpc_tag *tag)
{
    grpc_call_error error = grpc_call_start_batch(rpc->call, ops, count, tag, NULL);
    if (error == GRPC_CALL_OK)
        return true;
    ty_log(TY_LOG_ERROR, "grpc.batch_refused", TY_KV("error", "%s", grpc_call_error_to_string(error)));
    grpc_call_cancel(rpc->call, NULL);
    return false;
}

void ty_rpc_receive_close(struct ty_rpc *rpc)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &rpc->was_cancelled;
    if (start_batch(rpc, &op, 1, &rpc->on_closed))
        rpc->holds++;
}

void ty_rpc_receive_message(struct ty_rpc *rpc)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &rpc->request;
    if (start_batch(rpc, &op, 1, &rpc->on_message))
        rpc->holds++;
}

static grpc_slice status_text(const struct ty_err *err)
{
    TY_BUF(text);
    ty_utf8_repair(err->message, strlen(err->message), &text);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '%')
            text.data[i] = '?';
    if (!text.len)
        ty_buf_add_text(&text, ty_code_name(err->code));
    return grpc_slice_from_copied_buffer((const char *)text.data, text.len);
}

void ty_rpc_send_end(struct ty_rpc *rpc, const struct ty_err *err)
{
    grpc_op ops[4] = {0};
    size_t count = 0;
    grpc_slice text;
    if (!ty_rpc_tells_closed(rpc)) {
        ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[count++].data.recv_close_on_server.cancelled = &rpc->was_cancelled;
    }
    if (!rpc->initial_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (rpc->reply && !ty_rpc_is_stream(rpc)) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = rpc->reply;
    }
    ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[count].data.send_status_from_server.status = err ? (grpc_status_code)ty_code_grpc(err->code) : GRPC_STATUS_OK;
    ops[count].data.send_status_from_server.trailing_metadata = rpc->trailing;
    ops[count].data.send_status_from_server.trailing_metadata_count = rpc->trailing_count;
    if (err) {
        text = status_text(err);
        ops[count].data.send_status_from_server.status_details = &text;
    }
    count++;
    if (ty_rpc_is_stream(rpc))
        rpc->holds++;
    else
        atomic_fetch_add(&rpc->refs, 1);
    if (!start_batch(rpc, ops, count, &rpc->on_sent)) {
        if (ty_rpc_is_stream(rpc))
            rpc->holds--;
        else
            atomic_fetch_sub(&rpc->refs, 1);
    }
    if (err)
        grpc_slice_unref(text);
}

void ty_rpc_answer(struct ty_rpc *rpc, const struct ty_err *err)
{
    if (rpc->answered)
        return;
    rpc->answered = true;
    ty_loop_clear_timer(rpc->grpc->loop, &rpc->timer);
    if (rpc->sending) {
        rpc->ends_later = true;
        if (err) {
            rpc->end = ty_xmalloc(sizeof *rpc->end);
            *rpc->end = *err;
        }
    } else {
        ty_rpc_send_end(rpc, err);
    }
    ty_rpc_release(rpc);
}

// ---- calls, for the handlers ----

void *ty_rpc_context(const struct ty_rpc *rpc)
{
    return rpc->grpc->context;
}

void *ty_rpc_scratch(struct ty_rpc *rpc)
{
    return rpc->scratch;
}

bool ty_rpc_is_answered(const struct ty_rpc *rpc)
{
    return rpc->answered;
}

bool ty_rpc_is_cancelled(const struct ty_rpc *rpc)
{
    return rpc->cancelled;
}

bool ty_rpc_metadata(const struct ty_rpc *rpc, size_t index, const char **ret_key, size_t *ret_key_len,
                     const char **ret_value, size_t *ret_value_len)
{
    if (index >= rpc->metadata.count)
        return false;
    const grpc_metadata *entry = &rpc->metadata.metadata[index];
    *ret_key = (const char *)GRPC_SLICE_START_PTR(entry->key);
    *ret_key_len = GRPC_SLICE_LENGTH(entry->key);
    *ret_value = (const char *)GRPC_SLICE_START_PTR(entry->value);
    *ret_value_len = GRPC_SLICE_LENGTH(entry->value);
    return true;
}

void ty_rpc_add_trailing_bytes(struct ty_rpc *rpc, const char *key, const void *bytes, size_t len)
{
    if (rpc->answered || rpc->trailing_count == TY_RPC_TRAILING_MAX)
        return;
    grpc_metadata *entry = &rpc->trailing[rpc->trailing_count++];
    entry->key = grpc_slice_from_copied_string(key);
    entry->value = grpc_slice_from_copied_buffer(bytes, len);
}

void ty_rpc_add_trailing(struct ty_rpc *rpc, const char *key, const char *value)
{
    ty_rpc_add_trailing_bytes(rpc, key, value, strlen(value));
}

static grpc_byte_buffer *one_slice(grpc_slice slice)
{
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

void ty_rpc_reply(struct ty_rpc *rpc, const void *bytes, size_t len)
{
    if (rpc->answered)
        return;
    rpc->reply = one_slice(grpc_slice_from_copied_buffer(bytes, len));
    ty_rpc_answer(rpc, NULL);
}

void ty_rpc_reply_take(struct ty_rpc *rpc, struct ty_buf *message)
{
    if (rpc->answered)
        return;
    if (message->len) {
        rpc->reply = one_slice(grpc_slice_new(message->data, message->len, free));
        *message = (struct ty_buf){0};
    } else {
        rpc->reply = one_slice(grpc_empty_slice());
    }
    ty_rpc_answer(rpc, NULL);
}

void ty_rpc_fail(struct ty_rpc *rpc, const struct ty_err *err)
{
    ty_rpc_answer(rpc, err);
}

void ty_rpc_end(struct ty_rpc *rpc)
{
    ty_rpc_answer(rpc, NULL);
}

bool ty_rpc_send(struct ty_rpc *rpc, const void *bytes, size_t len)
{
    grpc_op ops[2] = {0};
    size_t count = 0;
    if ((rpc->answered && !rpc->ends_later) || rpc->sending)
        return false;
    rpc->reply = one_slice(grpc_slice_from_copied_buffer(bytes, len));
    if (!rpc->initial_sent)
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[count].op = GRPC_OP_SEND_MESSAGE;
    ops[count++].data.send_message.send_message = rpc->reply;
    if (!start_batch(rpc, ops, count, &rpc->on_sent))
        return false;
    rpc->holds++;
    rpc->initial_sent = rpc->sending = true;
    return true;
}

