// trainyard get: one job.
#include "core/clock.h"
#include "producer/cli/job.h"
#include "producer/cli/verb.h"

struct options {
    struct ty_cli_common common;
};

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    struct ty_rpc_client *client;
    TyJobAnswer *answer;
    (void)options;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = ty_job_fetch(client, cli->arguments[0], &answer, err);
    ty_rpc_client_free(client);
    if (rc < 0)
        return rc;
    if (cli->common->json)
        ty_cli_put_json(cli, ty_job_json(answer->metadata), false);
    else
        ty_job_print(answer->metadata, (int64_t)ty_clock_wall_us(), cli->out, cli->color);
    ty_job_free(answer);
    return 0;
}

const struct ty_cli_verb ty_cli_get = {
    .name = "get",
    .summary = "prints all that is known of a job",
    .arguments = "JOB_ID",
    .min_arguments = 1,
    .max_arguments = 1,
    .needs = TY_CLI_NEEDS_SERVER,
    .options_bytes = sizeof(struct options),
    .details = "With --json: one object of a job,\n"
               TY_JOB_JSON_HELP,
    .examples = "  trainyard get 0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b\n"
                "  trainyard get --json \"$id\" | jq -r .status\n",
    .run = run,
};
