// ListTrainingJobs: all jobs of an organization in one answer, newest first. What does not fit an answer is told in trailing
// metadata, with the token of the place where it is cut: another call with that as the request metadata "trainyard-page-token", or
// ListJobs, goes on there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "responder/access.h"
#include "responder/job_filter.h"
#include "responder/job_merge.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define FIELD_JOBS 1
#define TOKEN_KEY "trainyard-page-token"

struct list {
    struct ty_rpc *rpc;
    char *organization_id;
    struct ty_job_filter filter;
    struct ty_list_cursor from, last; // where it begins; the last job of the answer
    struct ty_job_merge *merge;
    size_t returned;
    struct ty_buf answer;
};

static struct list **slot(struct ty_rpc *rpc)
{
    return ty_rpc_scratch(rpc);
}

static void reply(struct list *list, bool is_cut)
{
    if (is_cut) {
        char number[24], token[TY_LIST_TOKEN_BYTES];
        uint8_t digest[TY_LIST_DIGEST_BYTES];
        snprintf(number, sizeof number, "%zu", list->returned);
        ty_job_filter_digest(&list->filter, digest);
        ty_rpc_add_trailing(list->rpc, "trainyard-list-truncated", "true");
        ty_rpc_add_trailing(list->rpc, "trainyard-list-total-returned", number);
        ty_rpc_add_trailing(list->rpc, "trainyard-next-page-token", ty_list_token_encode(digest, &list->last, token));
    }
    ty_rpc_reply_take(list->rpc, &list->answer);
}

// Moves jobs into the answer until the store is asked for more, the answer is full, or nothing is left. The first one fits always:
// a job is smaller than a command.
static void on_ready(void *context)
{
    struct list *list = context;
    struct ty_merged job;
    enum ty_merge_step step;
    while ((step = ty_job_merge_next(list->merge, &job)) == TY_MERGE_JOB) {
        if (list->returned && list->answer.len + job.len > TY_LIMIT_LIST_BYTES)
            break;
        ty_buf_add(&list->answer, job.bytes, job.len);
        list->returned++;
        list->last = job.place;
        ty_job_merge_take(list->merge);
    }
    if (step != TY_MERGE_WAIT)
        reply(list, step == TY_MERGE_JOB);
}

static void encode(void *context, const struct ty_claimed *job, struct ty_buf *out)
{
    TY_BUF(metadata);
    (void)context;
    ty_record_metadata(&job->record, &metadata);
    ty_buf_add_tag_bytes(out, FIELD_JOBS, metadata.data, metadata.len);
}

static int check(const Viam__App__Mltraining__V1__ListTrainingJobsRequest *request, struct ty_err *err)
{
    if (ty_name_check("organization_id", request->organization_id, TY_LIMIT_ID_BYTES, err) < 0)
        return -(int)err->code;
    if (!protobuf_c_enum_descriptor_get_value(&viam__app__mltraining__v1__training_status__descriptor,
                                              (int)request->status))
        return ty_err_set(err, TY_EINVALID, "status: %d is no value of it", (int)request->status);
    return 0;
}

// Where the call asks to go on. 1: it does, 0: from the start.
static int take_token(const struct list *list, struct ty_list_cursor *ret_from, struct ty_err *err)
{
    char text[TY_LIST_TOKEN_BYTES + 1]; // one more, so that a longer one is none
    uint8_t digest[TY_LIST_DIGEST_BYTES];
    if (!ty_service_metadata(list->rpc, TOKEN_KEY, text, sizeof text))
        return 0;
    ty_job_filter_digest(&list->filter, digest);
    return ty_list_token_decode("metadata " TOKEN_KEY, text, digest, ret_from, err) < 0 ? -(int)err->code : 1;
}

void ty_list_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Viam__App__Mltraining__V1__ListTrainingJobsRequest *request = (const void *)message;
    struct ty_err err;
    if (check(request, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!ty_access_needs_organization(rpc, request->organization_id) || !ty_service_needs_store(rpc))
        return;
    struct list *list = ty_xcalloc(1, sizeof *list);
    *slot(rpc) = list;
    list->rpc = rpc;
    list->organization_id = ty_xstrdup(request->organization_id);
    ty_job_filter_init_stock(&list->filter, list->organization_id, (int)request->status);
    struct ty_job_merge_options options = {.rpc = rpc, .encode = encode, .on_ready = on_ready, .context = list};
    ty_job_filter_query(&list->filter, &options.query);
    int goes_on = take_token(list, &list->from, &err);
    if (goes_on < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (goes_on)
        options.query.after = &list->from;
    list->merge = ty_job_merge_new(&options);
    on_ready(list);
}

void ty_list_on_done(struct ty_rpc *rpc)
{
    struct list *list = *slot(rpc);
    if (!list)
        return;
    ty_job_merge_free(list->merge);
    ty_buf_done(&list->answer);
    free(list->organization_id);
    free(list);
}
