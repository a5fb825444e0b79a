// JobService.GetJob: all that is known of a job. The store is asked why it waits, then for its record, then for what its script has
// told.
#include <stdlib.h>
#include <string.h>

#include "responder/access.h"
#include "responder/job_view.h"
#include "responder/service_internal.h"
#include "trainyard/v1/job_service.pb-c.h"

enum { REPLY_JOB = 1, REPLY_WAIT = 2, REPLY_HISTORY = 3, REPLY_PROGRESS = 4 };
enum { WAIT_REASON = 1, WAIT_POSITION = 2, WAIT_NOT_BEFORE = 3, WAIT_LIMIT = 4, WAIT_POSITION_IS_LEAST = 5 };

// What a call remembers while the store is asked.
struct job_get {
    struct ty_id id;
    struct ty_buf wait, answer;
};

_Static_assert(sizeof(struct job_get) <= TY_RPC_SCRATCH_BYTES, "get fits a call");

// The job is told also where this cannot be.
static void on_progress(void *context, const struct ty_err *err, const void *bytes, size_t len)
{
    struct ty_rpc *rpc = context;
    struct job_get *get = ty_rpc_scratch(rpc);
    if (!err && bytes)
        ty_buf_add_tag_bytes(&get->answer, REPLY_PROGRESS, bytes, len);
    ty_rpc_reply_take(rpc, &get->answer);
    ty_rpc_release(rpc);
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    struct ty_service *service = ty_rpc_context(rpc);
    struct job_get *get = ty_rpc_scratch(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!record || !ty_access_may_see_job(rpc, record)) {
        ty_service_no_such_job(rpc);
    } else {
        ty_job_view_add(record, REPLY_JOB, &get->answer);
        if (get->wait.len && record->state == TY_JOB_PENDING)
            ty_buf_add_tag_bytes(&get->answer, REPLY_WAIT, get->wait.data, get->wait.len);
        ty_job_view_add_history(record, REPLY_HISTORY, &get->answer);
        ty_state_progress_get(service->state, &get->id, on_progress, rpc);
        return;
    }
    ty_rpc_release(rpc);
}

static void on_wait(void *context, const struct ty_err *err, const struct ty_wait *wait)
{
    struct ty_rpc *rpc = context;
    struct ty_service *service = ty_rpc_context(rpc);
    struct job_get *get = ty_rpc_scratch(rpc);
    // The job is told also where this cannot be.
    if (!err && wait->is_waiting) {
        ty_buf_add_tag_bytes(&get->wait, WAIT_REASON, wait->why, strlen(wait->why));
        if (wait->position)
            ty_buf_add_tag_varint(&get->wait, WAIT_POSITION, wait->position);
        if (wait->due_us)
            ty_buf_add_tag_time(&get->wait, WAIT_NOT_BEFORE, wait->due_us);
        if (wait->limit)
            ty_buf_add_tag_varint(&get->wait, WAIT_LIMIT, wait->limit);
        if (wait->is_least)
            ty_buf_add_tag_varint(&get->wait, WAIT_POSITION_IS_LEAST, 1);
    }
    ty_state_get(service->state, &get->id, on_job, rpc);
}

void ty_job_get_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Trainyard__V1__GetJobRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct job_get *get = ty_rpc_scratch(rpc);
    if (!ty_service_job_id(rpc, request->id, &get->id) || !ty_service_needs_store(rpc))
        return;
    ty_rpc_hold(rpc);
    ty_state_wait(service->state, &get->id, on_wait, rpc);
}

void ty_job_get_on_done(struct ty_rpc *rpc)
{
    struct job_get *get = ty_rpc_scratch(rpc);
    ty_buf_done(&get->wait);
    ty_buf_done(&get->answer);
}
