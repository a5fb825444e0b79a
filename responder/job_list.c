// JobService.ListJobs: a page of an organization's jobs, in either order of two times, that fit what is asked. What no index serves is
// held against each job in turn, a bounded number of them a call; then the page says how far it came.
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "responder/access.h"
#include "responder/job_filter.h"
#include "responder/job_merge.h"
#include "responder/job_view.h"
#include "responder/service_internal.h"

#define PAGE_JOBS 100
#define SCAN_US (UINT64_C(2) * 1000000) // well within TY_RPC_TIMEOUT_MS

enum { REPLY_JOBS = 1, REPLY_NEXT = 2, REPLY_PARTIAL = 3, REPLY_EXAMINED = 4, REPLY_SCANNED_TO = 5 };

struct job_list {
    struct ty_rpc *rpc;
    Trainyard__V1__ListJobsRequest *request; // a copy: the filter borrows from it
    struct ty_job_filter filter;
    struct ty_list_cursor from, last; // where it begins; the last job that was looked at
    struct ty_job_merge *merge;
    unsigned limit, jobs, examined;
    uint64_t begun_us;
    struct ty_buf answer;
};

static struct job_list **slot(struct ty_rpc *rpc)
{
    return ty_rpc_scratch(rpc);
}

static void reply(struct job_list *list, bool is_end, bool is_partial)
{
    struct ty_buf *out = &list->answer;
    if (!is_end) {
        char token[TY_LIST_TOKEN_BYTES];
        uint8_t digest[TY_LIST_DIGEST_BYTES];
        ty_job_filter_digest(&list->filter, digest);
        ty_list_token_encode(digest, &list->last, token);
        ty_buf_add_tag_bytes(out, REPLY_NEXT, token, strlen(token));
    }
    if (is_partial)
        ty_buf_add_tag_varint(out, REPLY_PARTIAL, 1);
    if (list->examined) {
        ty_buf_add_tag_varint(out, REPLY_EXAMINED, list->examined);
        ty_buf_add_tag_time(out, REPLY_SCANNED_TO, list->last.time_us);
    }
    ty_rpc_reply_take(list->rpc, out);
}

static bool is_tired(const struct job_list *list)
{
    return list->examined >= TY_LIMIT_LIST_SCAN_JOBS || ty_clock_mono_us() - list->begun_us > SCAN_US;
}

// Full: the next job that fits is for another page, so that none is looked for where this is the last one.
static bool is_full(const struct job_list *list, size_t more)
{
    return list->jobs && more && (list->jobs >= list->limit || list->answer.len + more > TY_LIMIT_LIST_PAGE_BYTES);
}

static void on_ready(void *context)
{
    struct job_list *list = context;
    struct ty_merged job;
    enum ty_merge_step step;
    bool is_partial = false;
    while ((step = ty_job_merge_next(list->merge, &job)) == TY_MERGE_JOB) {
        is_partial = list->examined && is_tired(list);
        if (is_partial || is_full(list, job.len))
            break;
        ty_buf_add(&list->answer, job.bytes, job.len);
        list->jobs += job.len != 0;
        list->examined++;
        list->last = job.place;
        ty_job_merge_take(list->merge);
    }
    if (step != TY_MERGE_WAIT)
        reply(list, step == TY_MERGE_END, is_partial);
}

static void encode(void *context, const struct ty_claimed *job, struct ty_buf *out)
{
    const struct job_list *list = context;
    if (ty_job_filter_fits(&list->filter, &job->record))
        ty_job_view_add(&job->record, REPLY_JOBS, out);
}

static int take(struct job_list *list, struct ty_err *err)
{
    const Trainyard__V1__ListJobsRequest *request = list->request;
    uint8_t digest[TY_LIST_DIGEST_BYTES];
    if (ty_job_filter_init(&list->filter, request, err) < 0)
        return -(int)err->code;
    if (request->limit > TY_LIMIT_LIST_PAGE_JOBS)
        return ty_err_set(err, TY_EINVALID, "limit: %u; at most %d are allowed", request->limit, TY_LIMIT_LIST_PAGE_JOBS);
    list->limit = request->limit ? request->limit : PAGE_JOBS;
    if (!*request->page_token)
        return 0;
    ty_job_filter_digest(&list->filter, digest);
    return ty_list_token_decode("page_token", request->page_token, digest, &list->from, err);
}

static Trainyard__V1__ListJobsRequest *copy(const ProtobufCMessage *message)
{
    TY_BUF(bytes);
    size_t len = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, ty_buf_reserve(&bytes, len + 1));
    return trainyard__v1__list_jobs_request__unpack(NULL, len, bytes.data);
}

void ty_job_list_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    struct ty_err err;
    struct job_list *list = ty_xcalloc(1, sizeof *list);
    *slot(rpc) = list;
    list->rpc = rpc;
    list->request = copy(message);
    list->begun_us = ty_clock_mono_us();
    if (take(list, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!ty_access_needs_organization(rpc, list->filter.organization_id) || !ty_service_needs_store(rpc))
        return;
    struct ty_job_merge_options options = {.rpc = rpc, .encode = encode, .on_ready = on_ready, .context = list};
    ty_job_filter_query(&list->filter, &options.query);
    if (*list->request->page_token)
        options.query.after = &list->from;
    list->merge = ty_job_merge_new(&options);
    on_ready(list);
}

void ty_job_list_on_done(struct ty_rpc *rpc)
{
    struct job_list *list = *slot(rpc);
    if (!list)
        return;
    ty_job_merge_free(list->merge);
    ty_buf_done(&list->answer);
    trainyard__v1__list_jobs_request__free_unpacked(list->request, NULL);
    free(list);
}
