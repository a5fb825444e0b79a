// trainyard history: what became of a job, change by change.
#include <inttypes.h>
#include <string.h>

#include "producer/cli/job_details.h"
#include "producer/cli/names.h"
#include "producer/cli/verb.h"
#include "producer/cli/when.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define STATUSES (&viam__app__mltraining__v1__training_status__descriptor)

typedef Trainyard__V1__JobTransition Change;

struct options {
    struct ty_cli_common common;
};

static const char *word(const char *text)
{
    return *text && strcmp(text, "none") != 0 ? text : "-";
}

static void print(const struct ty_cli *cli, const TyJobDetails *details)
{
    static const char *const headers[] = {"TIME", "STATUS", "STAGE", "REASON", "ATTEMPT", "WORKER"};
    struct ty_table *table = ty_table_new(headers, sizeof headers / sizeof *headers);
    for (size_t i = 0; i < details->n_history; i++) {
        const Change *change = details->history[i];
        char when[TY_WHEN_BYTES] = "-", attempt[16];
        if (change->time)
            ty_when_millis(ty_when_us(change->time), when);
        snprintf(attempt, sizeof attempt, "%" PRIu32, change->attempt);
        const char *status = ty_names_of(STATUSES, (int)change->status);
        ty_table_add(table, TY_COLOR_NONE, when);
        ty_table_add(table, TY_COLOR_NONE, status ? status : "-");
        ty_table_add(table, TY_COLOR_NONE, word(change->stage));
        ty_table_add(table, TY_COLOR_NONE, word(change->reason));
        ty_table_add(table, TY_COLOR_NONE, attempt);
        ty_table_add(table, TY_COLOR_NONE, word(change->worker));
    }
    ty_table_print(table, cli->out, cli->color);
    ty_table_free(table);
}

static json_t *to_json(const TyJobDetails *details)
{
    json_t *list = json_array();
    for (size_t i = 0; i < details->n_history; i++) {
        const Change *change = details->history[i];
        char when[TY_WHEN_BYTES];
        const char *status = ty_names_of(STATUSES, (int)change->status);
        json_array_append_new(list, json_pack("{s:o, s:s?, s:s, s:s, s:I, s:o}", "time",
                                              change->time ? json_string(ty_when_rfc3339(ty_when_us(change->time), when)) : json_null(),
                                              "status", status, "stage", change->stage, "reason", change->reason, "attempt",
                                              (json_int_t)change->attempt, "worker",
                                              *change->worker ? json_string(change->worker) : json_null()));
    }
    return json_pack("{s:s, s:o}", "id", details->job->metadata ? details->job->metadata->id : "", "history", list);
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    struct ty_rpc_client *client;
    TyJobDetails *details = NULL;
    (void)options;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = ty_job_details_get(client, cli->arguments[0], &details, err);
    ty_rpc_client_free(client);
    if (rc < 0)
        return rc;
    if (cli->common->json)
        ty_cli_put_json(cli, to_json(details), false);
    else if (details->n_history)
        print(cli, details);
    else
        ty_cli_note(cli, "nothing has become of it so far: it waits for its first attempt");
    ty_job_details_free(details);
    return 0;
}

const struct ty_cli_verb ty_cli_history = {
    .name = "history",
    .summary = "prints every change of a job's state",
    .arguments = "JOB_ID",
    .min_arguments = 1,
    .max_arguments = 1,
    .needs = TY_CLI_NEEDS_SERVER,
    .options_bytes = sizeof(struct options),
    .details = "Each change with its time, the state and stage that it led to, why, and of which attempt; one by which a worker took\n"
               "the job names it.\n"
               "With --json: {\"id\", \"history\": [{time, status, stage, reason, attempt, worker}]}, the oldest first.\n",
    .examples = "  trainyard history \"$id\"\n"
                "  trainyard history --json \"$id\" | jq -r '.history[] | select(.reason != \"none\")'\n",
    .run = run,
};
