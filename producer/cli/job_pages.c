#include "producer/cli/job_pages.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "producer/cli/filter.h"
#include "producer/cli/names.h"
#include "producer/cli/when.h"

typedef Trainyard__V1__ListJobsRequest Request;
typedef Trainyard__V1__ListJobsReply Reply;
typedef Trainyard__V1__ListJobsRequest__LabelsEntry Label;

const char *const ty_job_page_keys[] = {"status", "model", "dataset", "label", "created-since", "created-before",
                                        "ended-since", "ended-before", NULL};

// ---- filters ----

static int take_one(const struct ty_filters *filters, const char *key, char **ret_text, struct ty_err *err)
{
    const char *text = ty_filters_get(filters, key, 0);
    if (ty_filters_get(filters, key, 1))
        return ty_err_set(err, TY_EINVALID, "--filter %s: is given twice", key);
    if (text)
        *ret_text = (char *)text;
    return 0;
}

// An age ("12h") or a time.
static int take_time(const struct ty_filters *filters, const char *key, uint64_t now_us, Google__Protobuf__Timestamp *time,
                     Google__Protobuf__Timestamp **ret_time, struct ty_err *err)
{
    char *text = NULL;
    uint64_t age_s, time_us;
    struct ty_err ignored;
    if (take_one(filters, key, &text, err) < 0)
        return -(int)err->code;
    if (!text)
        return 0;
    if (ty_filter_age(key, text, &age_s, &ignored) == 0)
        time_us = now_us > age_s * 1000000 ? now_us - age_s * 1000000 : 0;
    else if (!ty_when_parse(text, &time_us))
        return ty_err_set(err, TY_EINVALID, "--filter %s: \"%.64s\" is neither an age, such as 12h or 30d, nor a time, such as "
                          "2026-11-24T18:42:24Z", key, text);
    google__protobuf__timestamp__init(time);
    time->seconds = (int64_t)(time_us / 1000000);
    time->nanos = (int32_t)(time_us % 1000000 * 1000);
    *ret_time = time;
    return 0;
}

static int take_statuses(struct ty_job_request *request, const struct ty_filters *filters, struct ty_err *err)
{
    const char *text;
    request->statuses = ty_xcalloc(filters->count + 1, sizeof *request->statuses);
    for (size_t n = 0; (text = ty_filters_get(filters, "status", n)); n++) {
        int status;
        if (ty_names_parse(&viam__app__mltraining__v1__training_status__descriptor, "filter status", text, &status, err) < 0)
            return -(int)err->code;
        request->statuses[n] = (Viam__App__Mltraining__V1__TrainingStatus)status;
        request->request.n_statuses = n + 1;
    }
    request->request.statuses = request->statuses;
    return 0;
}

static int take_labels(struct ty_job_request *request, const struct ty_filters *filters, struct ty_err *err)
{
    const char *text;
    request->labels = ty_xcalloc(filters->count + 1, sizeof *request->labels);
    request->label_pointers = ty_xcalloc(filters->count + 1, sizeof *request->label_pointers);
    for (size_t n = 0; (text = ty_filters_get(filters, "label", n)); n++) {
        const char *equals = strchr(text, '=');
        if (!equals || equals == text)
            return ty_err_set(err, TY_EINVALID, "--filter label: \"%.64s\" is not of the form label=KEY=VALUE", text);
        Label *label = &request->labels[n];
        trainyard__v1__list_jobs_request__labels_entry__init(label);
        label->key = ty_xasprintf("%.*s", (int)(equals - text), text);
        label->value = (char *)equals + 1;
        request->label_pointers[n] = label;
        request->request.n_labels = n + 1;
    }
    request->request.labels = request->label_pointers;
    return 0;
}

int ty_job_request_init(struct ty_job_request *request, char *const *filters, uint64_t now_us, struct ty_err *err)
{
    struct ty_filters parsed;
    *request = (struct ty_job_request){.request = TRAINYARD__V1__LIST_JOBS_REQUEST__INIT};
    Request *message = &request->request;
    if (ty_filters_parse(filters, ty_job_page_keys, &parsed, err) < 0 || take_statuses(request, &parsed, err) < 0 ||
        take_labels(request, &parsed, err) < 0 || take_one(&parsed, "model", &message->model_name, err) < 0 ||
        take_one(&parsed, "dataset", &message->dataset_id, err) < 0 ||
        take_time(&parsed, "created-since", now_us, &request->times[0], &message->created_since, err) < 0 ||
        take_time(&parsed, "created-before", now_us, &request->times[1], &message->created_before, err) < 0 ||
        take_time(&parsed, "ended-since", now_us, &request->times[2], &message->ended_since, err) < 0 ||
        take_time(&parsed, "ended-before", now_us, &request->times[3], &message->ended_before, err) < 0)
        return -(int)err->code;
    return 0;
}

void ty_job_request_done(struct ty_job_request *request)
{
    for (size_t i = 0; request->labels && i < request->request.n_labels; i++)
        free(request->labels[i].key);
    free(request->labels);
    free(request->label_pointers);
    free(request->statuses);
}

// ---- pages ----

int ty_job_pages_read(struct ty_rpc_client *client, Request *request, size_t limit, struct ty_job_pages *ret_pages,
                      struct ty_err *err)
{
    struct ty_job_pages pages = {0};
    size_t jobs = 0;
    pages.next = request->page_token && *request->page_token ? ty_xstrdup(request->page_token) : NULL;
    do {
        size_t left = limit ? limit - jobs : TY_LIMIT_LIST_PAGE_JOBS;
        ProtobufCMessage *message;
        request->limit = (uint32_t)(left < TY_LIMIT_LIST_PAGE_JOBS ? left : TY_LIMIT_LIST_PAGE_JOBS);
        request->page_token = pages.next ? pages.next : (char *)"";
        if (ty_rpc_client_call(client, "/trainyard.v1.JobService/ListJobs", &request->base,
                               &trainyard__v1__list_jobs_reply__descriptor, &message, err) < 0) {
            ty_job_pages_done(&pages);
            return -(int)err->code;
        }
        Reply *reply = (Reply *)message;
        pages.replies = ty_xrealloc(pages.replies, (pages.count + 1) * sizeof *pages.replies);
        pages.replies[pages.count++] = reply;
        jobs += reply->n_jobs;
        free(pages.next);
        pages.next = *reply->next_page_token ? ty_xstrdup(reply->next_page_token) : NULL;
    } while (pages.next && (!limit || jobs < limit));
    *ret_pages = pages;
    return 0;
}

void ty_job_pages_done(struct ty_job_pages *pages)
{
    for (size_t i = 0; i < pages->count; i++)
        trainyard__v1__list_jobs_reply__free_unpacked(pages->replies[i], NULL);
    free(pages->replies);
    free(pages->next);
}
