#include "producer/cli/select.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "producer/cli/job_pages.h"
#include "producer/cli/names.h"
#include "producer/cli/when.h"

typedef Viam__App__Mltraining__V1__ListTrainingJobsRequest Request;
typedef Viam__App__Mltraining__V1__ListTrainingJobsResponse Response;

#define STATES_MAX 8
#define PAGE_JOBS 1000 // held at once

static const char *const keys[] = {"organization", "status", "model", "version", "script", "dataset", "container", "tag",
                                   "label", "older-than", NULL};

struct ty_select {
    struct ty_filters filters;
    int states[STATES_MAX + 1]; // ended by 0
    uint64_t age_us;            // of the youngest that fits
    struct ty_buf seen;         // the ids of earlier passes, sorted, 16 bytes each
};

static bool has_state(const int *states, int state)
{
    while (*states && *states != state)
        states++;
    return *states != 0;
}

static int take_states(struct ty_select *select, const int *states, const char *what, struct ty_err *err)
{
    const ProtobufCEnumDescriptor *names = &viam__app__mltraining__v1__training_status__descriptor;
    const char *text;
    size_t count = 0;
    for (size_t n = 0; (text = ty_filters_get(&select->filters, "status", n)); n++) {
        int state;
        if (ty_names_parse(names, "filter status", text, &state, err) < 0)
            return -(int)err->code;
        if (!has_state(states, state))
            return ty_err_set(err, TY_EINVALID, "--filter status: no job that is %s %s", ty_names_of(names, state), what);
        if (!has_state(select->states, state))
            select->states[count++] = state;
    }
    for (; !text && !count && *states; states++)
        select->states[count++] = *states;
    return 0;
}

int ty_select_new(char *const *texts, const int *states, const char *what, struct ty_select **ret_select, struct ty_err *err)
{
    struct ty_select *select = ty_xcalloc(1, sizeof *select);
    int rc = ty_filters_parse(texts, keys, &select->filters, err);
    if (rc == 0 && !ty_filters_get(&select->filters, "organization", 0))
        rc = ty_err_set(err, TY_EINVALID, "--filter organization=ID must be given: jobs are listed by organization");
    for (size_t n = 0; rc == 0 && ty_filters_get(&select->filters, "organization", n); n++)
        if (strchr(ty_filters_get(&select->filters, "organization", n), '*'))
            rc = ty_err_set(err, TY_EINVALID, "--filter organization: takes no *");
    if (rc == 0)
        rc = take_states(select, states, what, err);
    for (size_t n = 0; rc == 0 && ty_filters_get(&select->filters, "older-than", n); n++) {
        uint64_t age_s;
        rc = ty_filter_age("older-than", ty_filters_get(&select->filters, "older-than", n), &age_s, err);
        if (rc == 0 && (!n || age_s * 1000000 < select->age_us))
            select->age_us = age_s * 1000000;
    }
    if (rc < 0)
        ty_select_free(select);
    else
        *ret_select = select;
    return rc;
}

void ty_select_free(struct ty_select *select)
{
    if (!select)
        return;
    ty_buf_done(&select->seen);
    free(select);
}

// ---- whether a job fits ----

static bool has_tag(const struct ty_filters *filters, const TyJobMetadata *job)
{
    bool fits = !ty_filters_get(filters, "tag", 0);
    for (size_t i = 0; !fits && i < job->n_tags; i++)
        fits = ty_filters_allow(filters, "tag", job->tags[i]);
    return fits;
}

static bool metadata_fits(const struct ty_select *select, const TyJobMetadata *job, uint64_t now_us)
{
    const struct ty_filters *filters = &select->filters;
    int64_t created_us = job->created_on ? ty_when_us(job->created_on) : 0;
    return ty_filters_allow(filters, "model", job->model_name) && ty_filters_allow(filters, "version", job->model_version) &&
           ty_filters_allow(filters, "script", job->registry_item_id) &&
           ty_filters_allow(filters, "dataset", job->dataset_id) &&
           ty_filters_allow(filters, "container", job->container_version) && has_tag(filters, job) &&
           created_us <= (int64_t)(now_us - select->age_us);
}

// label=KEY is any value of the key.
static bool labels_fit(const struct ty_filters *filters, const Trainyard__V1__JobOptions *options)
{
    bool fits = false;
    for (size_t i = 0; !fits && i < options->n_labels; i++) {
        char *pair TY_FREE = ty_xasprintf("%s=%s", options->labels[i]->key, options->labels[i]->value);
        fits = ty_filters_allow(filters, "label", pair) || ty_filters_allow(filters, "label", options->labels[i]->key);
    }
    return fits;
}

// The stock list does not tell labels: asked is NULL then, and the job is asked for. 1: it fits, 0: not (or it has gone meanwhile).
static int check_labels(const struct ty_select *select, struct ty_rpc_client *client, const char *id,
                        const Trainyard__V1__JobOptions *asked, struct ty_err *err)
{
    TyJobAnswer *answer;
    Trainyard__V1__JobOptions *options;
    if (!ty_filters_get(&select->filters, "label", 0))
        return 1;
    if (asked)
        return labels_fit(&select->filters, asked);
    if (ty_job_fetch(client, id, &answer, err) < 0)
        return err->code == TY_ENOTFOUND ? 0 : -(int)err->code;
    int rc = ty_job_options(client, &options, err);
    if (rc == 0) {
        rc = labels_fit(&select->filters, options);
        trainyard__v1__job_options__free_unpacked(options, NULL);
    } else {
        ty_err_prefix(err, "job %.64s", id);
    }
    ty_job_free(answer);
    return rc;
}

// ---- a pass ----

struct pass {
    struct ty_select *select;
    struct ty_rpc_client *client;
    uint64_t now_us;
    ty_select_fn fn;
    void *context;
    struct ty_select_pass counts;
    struct ty_buf fresh; // ids
};

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct ty_id));
}

static bool was_seen(const struct ty_buf *seen, const struct ty_id *id)
{
    return seen->len && bsearch(id, seen->data, seen->len / sizeof *id, sizeof *id, compare_ids);
}

static int take_job(struct pass *pass, const TyJobMetadata *job, const Trainyard__V1__JobOptions *asked, struct ty_err *err)
{
    struct ty_id id;
    if (!metadata_fits(pass->select, job, pass->now_us))
        return 0;
    if (ty_id_parse(job->id, &id, err) < 0)
        return ty_err_prefix(err, "a job of the list");
    bool is_known = was_seen(&pass->select->seen, &id);
    int fits = is_known ? 1 : check_labels(pass->select, pass->client, job->id, asked, err);
    if (fits <= 0)
        return fits;
    pass->counts.fitting++;
    if (is_known)
        return 0;
    pass->counts.fresh++;
    ty_buf_add(&pass->fresh, &id, sizeof id);
    pass->fn(pass->context, job);
    return 0;
}

// A responder before JobService: what is older than one answer holds cannot be reached.
static int read_stock(struct pass *pass, const char *organization, int state, struct ty_err *err)
{
    Request request = VIAM__APP__MLTRAINING__V1__LIST_TRAINING_JOBS_REQUEST__INIT;
    ProtobufCMessage *message;
    request.organization_id = (char *)organization;
    request.status = (Viam__App__Mltraining__V1__TrainingStatus)state;
    if (ty_rpc_client_call(pass->client, "ListTrainingJobs", &request.base,
                           &viam__app__mltraining__v1__list_training_jobs_response__descriptor, &message, err) < 0)
        return -(int)err->code;
    if (ty_rpc_client_trailing(pass->client, "trainyard-list-truncated"))
        pass->counts.is_cut = true;
    const Response *response = (const Response *)message;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < response->n_jobs; i++)
        rc = take_job(pass, response->jobs[i], NULL, err);
    protobuf_c_message_free_unpacked(message, NULL);
    return rc;
}

static int take_pages(struct pass *pass, const struct ty_job_pages *pages, struct ty_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < pages->count; i++) {
        const Trainyard__V1__ListJobsReply *reply = pages->replies[i];
        for (size_t j = 0; rc == 0 && j < reply->n_jobs; j++)
            if (reply->jobs[j]->metadata && reply->jobs[j]->options)
                rc = take_job(pass, reply->jobs[j]->metadata, reply->jobs[j]->options, err);
    }
    return rc;
}

static int read_list(struct pass *pass, const char *organization, int state, struct ty_err *err)
{
    Trainyard__V1__ListJobsRequest request = TRAINYARD__V1__LIST_JOBS_REQUEST__INIT;
    Viam__App__Mltraining__V1__TrainingStatus status = (Viam__App__Mltraining__V1__TrainingStatus)state;
    char *token = NULL;
    int rc;
    request.organization_id = (char *)organization;
    request.statuses = &status;
    request.n_statuses = 1;
    do {
        struct ty_job_pages pages;
        request.page_token = token ? token : (char *)"";
        rc = ty_job_pages_read(pass->client, &request, PAGE_JOBS, &pages, err);
        if (rc == -TY_EUNIMPLEMENTED && !token)
            return read_stock(pass, organization, state, err);
        free(token);
        token = NULL;
        if (rc < 0)
            break;
        rc = take_pages(pass, &pages, err);
        if (pages.next)
            token = ty_xstrdup(pages.next);
        ty_job_pages_done(&pages);
    } while (rc == 0 && token);
    free(token);
    return rc;
}

int ty_select_pass(struct ty_select *select, struct ty_rpc_client *client, uint64_t now_us, ty_select_fn fn, void *context,
                   struct ty_select_pass *ret_pass, struct ty_err *err)
{
    struct pass pass = {.select = select, .client = client, .now_us = now_us, .fn = fn, .context = context};
    const char *organization;
    int rc = 0;
    for (size_t n = 0; rc == 0 && (organization = ty_filters_get(&select->filters, "organization", n)); n++)
        for (const int *state = select->states; rc == 0 && *state; state++)
            rc = read_list(&pass, organization, *state, err);
    // Also after an error: fn was called for these.
    ty_buf_add(&select->seen, pass.fresh.data, pass.fresh.len);
    if (select->seen.len)
        qsort(select->seen.data, select->seen.len / sizeof(struct ty_id), sizeof(struct ty_id), compare_ids);
    ty_buf_done(&pass.fresh);
    *ret_pass = pass.counts;
    return rc;
}
