// GetTrainingJob: a byte copy of what the store has. What was asked of the job beside the request goes into trailing metadata;
// so does, where the call asks for it (request metadata "trainyard-explain: true"), why a pending job has not begun.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "responder/access.h"
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

// What a call remembers while the store is asked.
struct get {
    struct ty_id id;
    bool is_waiting, is_least;
    uint64_t position, due_us, limit;
    char why[32];
};

_Static_assert(sizeof(struct get) <= TY_RPC_SCRATCH_BYTES, "get fits a call");

// With the options' entry at most five of the TY_RPC_TRAILING_MAX that an answer takes.
static void add_wait(struct ty_rpc *rpc, const struct get *get)
{
    char number[24];
    ty_rpc_add_trailing(rpc, "trainyard-pending-reason", get->why);
    snprintf(number, sizeof number, "%" PRIu64, get->position);
    if (get->position)
        ty_rpc_add_trailing(rpc, "trainyard-pending-position", number);
    if (get->is_least)
        ty_rpc_add_trailing(rpc, "trainyard-pending-position-least", "true");
    snprintf(number, sizeof number, "%" PRIu64, get->due_us ? get->due_us : get->limit);
    if (get->due_us)
        ty_rpc_add_trailing(rpc, "trainyard-pending-due-us", number);
    else if (get->limit)
        ty_rpc_add_trailing(rpc, "trainyard-pending-limit", number);
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    struct ty_service *service = ty_rpc_context(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!record || !ty_access_may_see_job(rpc, record)) {
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
        const struct get *get = ty_rpc_scratch(rpc);
        add_options(rpc, record);
        if (get->is_waiting && record->state == TY_JOB_PENDING)
            add_wait(rpc, get);
        ty_rpc_reply(rpc, start, out->len - ROOM + head.len);
    }
    ty_rpc_release(rpc);
}

static void on_wait(void *context, const struct ty_err *err, const struct ty_wait *wait)
{
    struct ty_rpc *rpc = context;
    struct ty_service *service = ty_rpc_context(rpc);
    struct get *get = ty_rpc_scratch(rpc);
    // The job is told also where this cannot be.
    if (!err && wait->is_waiting) {
        get->is_waiting = true;
        get->position = wait->position;
        get->is_least = wait->is_least;
        get->due_us = wait->due_us;
        get->limit = wait->limit;
        snprintf(get->why, sizeof get->why, "%s", wait->why);
    }
    ty_state_get(service->state, &get->id, on_job, rpc);
}

static bool is_to_explain(const struct ty_rpc *rpc)
{
    char value[8];
    return ty_service_metadata(rpc, "trainyard-explain", value, sizeof value) && !strcmp(value, "true");
}

void ty_get_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Viam__App__Mltraining__V1__GetTrainingJobRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct get *get = ty_rpc_scratch(rpc);
    *get = (struct get){0};
    if (!ty_service_job_id(rpc, request->id, &get->id) || !ty_service_needs_store(rpc))
        return;
    ty_rpc_hold(rpc);
    if (is_to_explain(rpc))
        ty_state_wait(service->state, &get->id, on_wait, rpc);
    else
        ty_state_get(service->state, &get->id, on_job, rpc);
}
