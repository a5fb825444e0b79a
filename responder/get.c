// GetTrainingJob: a byte copy of what the store has. What was asked of the job beside the request goes into trailing metadata.
#include <stdio.h>

#include "core/limits.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define FIELD_METADATA 1

// Either the options, or how many bytes they have: none, or more than headers should carry.
static void add_options(struct ty_rpc *rpc, const struct ty_record *record)
{
    char count[24];
    if (record->options_len && record->options_len <= TY_LIMIT_TRAILING_OPTIONS_BYTES) {
        ty_rpc_add_trailing_bytes(rpc, "trainyard-options-bin", record->options, record->options_len);
    } else {
        snprintf(count, sizeof count, "%zu", record->options_len);
        ty_rpc_add_trailing(rpc, "trainyard-options-bytes", count);
    }
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    struct ty_service *service = ty_rpc_context(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!record) {
        ty_service_no_such_job(rpc);
    } else {
        // The message's length stands before it: leave room for the longest and put the head where it ends.
        struct ty_buf *out = &service->scratch;
        TY_BUF(head);
        enum { ROOM = 12 };
        ty_buf_clear(out);
        ty_buf_reserve(out, ROOM);
        out->len = ROOM;
        ty_record_metadata(record, out);
        ty_buf_add_varint(&head, FIELD_METADATA << 3 | 2);
        ty_buf_add_varint(&head, out->len - ROOM);
        uint8_t *start = out->data + ROOM - head.len;
        for (size_t i = 0; i < head.len; i++)
            start[i] = head.data[i];
        add_options(rpc, record);
        ty_rpc_reply(rpc, start, out->len - ROOM + head.len);
    }
    ty_rpc_release(rpc);
}

void ty_get_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Viam__App__Mltraining__V1__GetTrainingJobRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_id id;
    if (!ty_service_job_id(rpc, request->id, &id) || !ty_service_needs_store(rpc))
        return;
    ty_rpc_hold(rpc);
    ty_state_get(service->state, &id, on_job, rpc);
}
