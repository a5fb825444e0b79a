// GetTrainingJobLogs: one page a call. The job and the page are asked for in one turn, so a page costs one round trip.
#include <stdlib.h>

#include "core/limits.h"
#include "responder/page_token.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define FIELD_LOGS 1
#define FIELD_NEXT_PAGE_TOKEN 2

struct logs {
    struct ty_id id;
    struct ty_buf answer;
    unsigned answers_missing;
};

_Static_assert(sizeof(struct logs) <= TY_RPC_SCRATCH_BYTES, "logs fits a call");

// The job is asked for first and answers first, so an unknown job has ended the call before its empty page comes.
static void one_answered(struct ty_rpc *rpc)
{
    struct logs *logs = ty_rpc_scratch(rpc);
    if (--logs->answers_missing == 0)
        ty_rpc_reply_take(rpc, &logs->answer);
    ty_rpc_release(rpc);
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    if (err)
        ty_service_store_failed(rpc, err);
    else if (!record)
        ty_service_no_such_job(rpc);
    one_answered(rpc);
}

static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct ty_rpc *rpc = context;
    struct logs *logs = ty_rpc_scratch(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!ty_rpc_is_answered(rpc)) {
        char token[TY_PAGE_TOKEN_BYTES];
        for (size_t i = 0; i < page->count; i++)
            ty_buf_add_tag_bytes(&logs->answer, FIELD_LOGS, page->entries[i].data, page->entries[i].len);
        if (page->more) {
            ty_page_token_encode(&logs->id, page->next_attempt, page->next_sequence, token);
            ty_buf_add_tag_bytes(&logs->answer, FIELD_NEXT_PAGE_TOKEN, token, sizeof token - 1);
        }
    }
    one_answered(rpc);
}

void ty_logs_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Viam__App__Mltraining__V1__GetTrainingJobLogsRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct logs *logs = ty_rpc_scratch(rpc);
    uint32_t attempt = 0;
    uint64_t sequence = 0;
    struct ty_err err;
    bool has_token =
        request->_page_token_case == VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST___PAGE_TOKEN_PAGE_TOKEN &&
        *request->page_token;
    if (!ty_service_job_id(rpc, request->id, &logs->id))
        return;
    if (has_token && ty_page_token_decode(request->page_token, &logs->id, &attempt, &sequence, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!ty_service_needs_store(rpc))
        return;
    logs->answers_missing = 2;
    ty_rpc_hold(rpc);
    ty_rpc_hold(rpc);
    ty_state_get(service->state, &logs->id, on_job, rpc);
    ty_state_log_page(service->state, &logs->id, attempt, sequence, TY_LIMIT_LOG_PAGE_ENTRIES, TY_LIMIT_LOG_PAGE_BYTES,
                      on_page, rpc);
}

void ty_logs_on_done(struct ty_rpc *rpc)
{
    struct logs *logs = ty_rpc_scratch(rpc);
    ty_buf_done(&logs->answer);
}
