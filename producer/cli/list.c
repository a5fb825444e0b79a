// trainyard list: the jobs of an organization.
#include <stddef.h>
#include <string.h>

#include "core/clock.h"
#include "producer/cli/job.h"
#include "producer/cli/names.h"
#include "producer/cli/verb.h"

typedef Viam__App__Mltraining__V1__ListTrainingJobsRequest Request;
typedef Viam__App__Mltraining__V1__ListTrainingJobsResponse Response;

struct options {
    struct ty_cli_common common;
    char *org;
    char *status;
};

static const struct ty_setting rows[] = {
    {.key = "org", .environment = "TRAINYARD_ORG", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, org),
     .unit = "", .help = "The organization whose jobs are listed; must be given."},
    {.key = "status", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, status), .unit = "",
     .help = "Only jobs in this state: pending, in-progress, canceling, completed, failed, canceled."},
};

static json_t *to_json(const Response *response, bool is_truncated)
{
    json_t *jobs = json_array();
    for (size_t i = 0; i < response->n_jobs; i++)
        json_array_append_new(jobs, ty_job_json(response->jobs[i]));
    return json_pack("{s:o, s:b}", "jobs", jobs, "truncated", is_truncated);
}

static void print(const struct ty_cli *cli, const Response *response)
{
    int64_t now_us = (int64_t)ty_clock_wall_us();
    if (!response->n_jobs) {
        ty_cli_note(cli, "no jobs");
        return;
    }
    struct ty_table *table = ty_job_table_new();
    for (size_t i = 0; i < response->n_jobs; i++)
        ty_job_table_add(table, response->jobs[i], now_us);
    ty_table_print(table, cli->out, cli->color);
    ty_table_free(table);
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *list = options;
    Request request = VIAM__APP__MLTRAINING__V1__LIST_TRAINING_JOBS_REQUEST__INIT;
    struct ty_rpc_client *client;
    ProtobufCMessage *message;
    int status = 0;
    if (ty_cli_require("org", list->org, err) < 0)
        return -(int)err->code;
    if (list->status && ty_names_parse(&viam__app__mltraining__v1__training_status__descriptor, "status", list->status,
                                       &status, err) < 0)
        return -(int)err->code;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    request.organization_id = list->org;
    request.status = (Viam__App__Mltraining__V1__TrainingStatus)status;
    int rc = ty_rpc_client_call(client, "ListTrainingJobs", &request.base,
                                &viam__app__mltraining__v1__list_training_jobs_response__descriptor, &message, err);
    if (rc == 0) {
        bool is_truncated = ty_rpc_client_trailing(client, "trainyard-list-truncated") != NULL;
        if (cli->common->json)
            ty_cli_put_json(cli, to_json((const Response *)message, is_truncated), false);
        else
            print(cli, (const Response *)message);
        if (is_truncated)
            ty_cli_note(cli, "the list is cut: only the newest %zu jobs fit an answer; --status narrows it",
                        ((const Response *)message)->n_jobs);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    ty_rpc_client_free(client);
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
    .details = "With --json: {\"jobs\": [...], \"truncated\": bool}; a job has the fields\n"
               TY_JOB_JSON_HELP,
    .examples = "  trainyard list --org acme\n"
                "  trainyard list --org acme --status failed\n"
                "  trainyard list --org acme --json | jq -r '.jobs[].id'\n",
    .run = run,
};
