// trainyard list: the jobs of an organization.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "producer/cli/job.h"
#include "producer/cli/job_pages.h"
#include "producer/cli/names.h"
#include "producer/cli/verb.h"

typedef Viam__App__Mltraining__V1__ListTrainingJobsRequest StockRequest;
typedef Viam__App__Mltraining__V1__ListTrainingJobsResponse StockResponse;

struct options {
    struct ty_cli_common common;
    char *org;
    char *status;
    char **filters;
    int64_t limit;
    char *page_token;
    int sort;
    bool oldest_first;
};

enum { SORT_CREATED, SORT_ENDED };

static const struct ty_setting rows[] = {
    {.key = "org", .environment = "TRAINYARD_ORG", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, org),
     .unit = "", .help = "The organization whose jobs are listed; must be given."},
    {.key = "status", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, status), .unit = "",
     .help = "Only jobs in this state: pending, in-progress, canceling, completed, failed, canceled."},
    {.key = "filter", .type = TY_SETTING_LIST, .offset = offsetof(struct options, filters), .unit = "",
     .help = "Only jobs that this fits, as KEY=VALUE; may be repeated."},
    {.key = "sort", .type = TY_SETTING_CHOICE, .offset = offsetof(struct options, sort), .choices = "created|ended",
     .fallback = "created", .unit = "", .help = "By when they were created, or ended: only jobs that have."},
    {.key = "oldest-first", .type = TY_SETTING_BOOL, .offset = offsetof(struct options, oldest_first), .fallback = "false",
     .unit = "", .help = "The oldest first; else the newest."},
    {.key = "limit", .type = TY_SETTING_INT, .offset = offsetof(struct options, limit), .min = 0, .max = 1000000,
     .fallback = "0", .unit = "", .help = "How many jobs at most; 0: all."},
    {.key = "page-token", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, page_token), .unit = "",
     .help = "Goes on where a list with --limit ended, which has printed this; all but --limit must be as it was."},
};

// ---- printing ----

// What both kinds of answers come to.
struct jobs {
    const TyJobMetadata **metadata;
    size_t count;
    const char *next; // NULL: that is all
    bool is_cut;
};

static void add(struct jobs *jobs, const TyJobMetadata *metadata)
{
    jobs->metadata = ty_xrealloc(jobs->metadata, (jobs->count + 1) * sizeof *jobs->metadata);
    jobs->metadata[jobs->count++] = metadata;
}

static json_t *to_json(const struct jobs *jobs)
{
    json_t *array = json_array();
    for (size_t i = 0; i < jobs->count; i++)
        json_array_append_new(array, ty_job_json(jobs->metadata[i]));
    return json_pack("{s:o, s:b, s:o}", "jobs", array, "truncated", jobs->is_cut, "next_page_token",
                     jobs->next ? json_string(jobs->next) : json_null());
}

static void print(const struct ty_cli *cli, const struct jobs *jobs)
{
    int64_t now_us = (int64_t)ty_clock_wall_us();
    if (cli->common->json) {
        ty_cli_put_json(cli, to_json(jobs), false);
    } else if (!jobs->count) {
        ty_cli_note(cli, "no jobs");
    } else {
        struct ty_table *table = ty_job_table_new();
        for (size_t i = 0; i < jobs->count; i++)
            ty_job_table_add(table, jobs->metadata[i], now_us);
        ty_table_print(table, cli->out, cli->color);
        ty_table_free(table);
    }
    if (jobs->next && !cli->common->json)
        ty_cli_note(cli, "there are more: --page-token %s", jobs->next);
    if (jobs->is_cut)
        ty_cli_note(cli, "the list is cut: only the newest %zu jobs fit an answer; --status narrows it", jobs->count);
}

// ---- from a responder before JobService ----

static int run_stock(struct ty_cli *cli, struct ty_rpc_client *client, const struct options *list, int status, struct ty_err *err)
{
    StockRequest request = VIAM__APP__MLTRAINING__V1__LIST_TRAINING_JOBS_REQUEST__INIT;
    struct jobs jobs = {0};
    ProtobufCMessage *message;
    if (list->filters || list->sort != SORT_CREATED || list->oldest_first || list->limit || (list->page_token && *list->page_token))
        return ty_err_set(err, TY_EUNIMPLEMENTED, "responder %s: it is of a version that knows --org and --status only",
                          ty_rpc_client_server(client));
    request.organization_id = list->org;
    request.status = (Viam__App__Mltraining__V1__TrainingStatus)status;
    if (ty_rpc_client_call(client, "ListTrainingJobs", &request.base,
                           &viam__app__mltraining__v1__list_training_jobs_response__descriptor, &message, err) < 0)
        return -(int)err->code;
    const StockResponse *response = (const StockResponse *)message;
    for (size_t i = 0; i < response->n_jobs; i++)
        add(&jobs, response->jobs[i]);
    jobs.is_cut = ty_rpc_client_trailing(client, "trainyard-list-truncated") != NULL;
    print(cli, &jobs);
    free(jobs.metadata);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

// ---- in pages ----

static int run_pages(struct ty_cli *cli, struct ty_rpc_client *client, const struct options *list,
                     Trainyard__V1__ListJobsRequest *request, struct ty_err *err)
{
    struct ty_job_pages pages;
    struct jobs jobs = {0};
    if (ty_job_pages_read(client, request, (size_t)list->limit, &pages, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < pages.count; i++)
        for (size_t j = 0; j < pages.replies[i]->n_jobs; j++)
            if (pages.replies[i]->jobs[j]->metadata)
                add(&jobs, pages.replies[i]->jobs[j]->metadata);
    jobs.next = pages.next;
    print(cli, &jobs);
    free(jobs.metadata);
    ty_job_pages_done(&pages);
    return 0;
}

static int ask(struct ty_cli *cli, const struct options *list, struct ty_job_request *request, struct ty_err *err)
{
    struct ty_rpc_client *client;
    int status = 0;
    if (list->status && ty_names_parse(&viam__app__mltraining__v1__training_status__descriptor, "status", list->status,
                                       &status, err) < 0)
        return -(int)err->code;
    if (list->status && request->request.n_statuses)
        return ty_err_set(err, TY_EINVALID, "--status and --filter status are the same; give one of them");
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    if (status)
        request->statuses[request->request.n_statuses++] = (Viam__App__Mltraining__V1__TrainingStatus)status;
    request->request.organization_id = list->org;
    request->request.order = list->sort == SORT_ENDED ? TRAINYARD__V1__JOB_ORDER__JOB_ORDER_ENDED
                                                      : TRAINYARD__V1__JOB_ORDER__JOB_ORDER_CREATED;
    request->request.oldest_first = list->oldest_first;
    if (list->page_token)
        request->request.page_token = list->page_token;
    int rc = run_pages(cli, client, list, &request->request, err);
    if (rc == -TY_EUNIMPLEMENTED)
        rc = run_stock(cli, client, list, status, err);
    ty_rpc_client_free(client);
    return rc;
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *list = options;
    struct ty_job_request request;
    if (ty_cli_require("org", list->org, err) < 0)
        return -(int)err->code;
    int rc = ty_job_request_init(&request, list->filters, ty_clock_wall_us(), err);
    if (rc == 0)
        rc = ask(cli, list, &request, err);
    ty_job_request_done(&request);
    return rc;
}

const struct ty_cli_verb ty_cli_list = {
    .name = "list",
    .summary = "lists the jobs of an organization, newest first",
    .arguments = "",
    .needs = TY_CLI_NEEDS_SERVER,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "Keys of --filter: status (any of those that are given), model, dataset, label=KEY=VALUE (all of them),\n"
               "created-since, created-before, ended-since, ended-before: an age such as 12h or 30d, or a time in UTC.\n"
               "With --json: {\"jobs\": [...], \"truncated\": bool, \"next_page_token\": text or null}; a job has the fields\n"
               TY_JOB_JSON_HELP,
    .examples = "  trainyard list --org acme\n"
                "  trainyard list --org acme --status failed --filter ended-since=12h --filter label=team=vision\n"
                "  trainyard list --org acme --sort ended --limit 20\n"
                "  trainyard list --org acme --json | jq -r '.jobs[].id'\n",
    .run = run,
};
