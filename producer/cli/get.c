// trainyard get: one job.
#include "core/clock.h"
#include "producer/cli/job.h"
#include "producer/cli/verb.h"

struct options {
    struct ty_cli_common common;
};

// "" where there is none, or where it cannot be known.
static const char *retry_of(const Trainyard__V1__JobOptions *options)
{
    return options ? options->retry_of : "";
}

static json_t *as_json(const TyJobMetadata *job, const Trainyard__V1__JobOptions *options)
{
    json_t *object = ty_job_json(job);
    const char *id = retry_of(options);
    json_object_set_new(object, "retry_of", *id ? json_string(id) : json_null());
    return object;
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    struct ty_rpc_client *client;
    TyJobAnswer *answer;
    (void)options;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    Trainyard__V1__JobOptions *asked = NULL;
    struct ty_err ignored;
    int rc = ty_job_fetch(client, cli->arguments[0], &answer, err);
    if (rc == 0 && ty_job_options(client, &asked, &ignored) < 0)
        asked = NULL;
    ty_rpc_client_free(client);
    if (rc < 0)
        return rc;
    if (cli->common->json)
        ty_cli_put_json(cli, as_json(answer->metadata, asked), false);
    else
        ty_job_print(answer->metadata, retry_of(asked), (int64_t)ty_clock_wall_us(), cli->out, cli->color);
    ty_job_free(answer);
    if (asked)
        trainyard__v1__job_options__free_unpacked(asked, NULL);
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
               TY_JOB_JSON_HELP
               "  And retry_of: the id of the job that this one does again (trainyard retry).\n",
    .examples = "  trainyard get 0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b\n"
                "  trainyard get --json \"$id\" | jq -r .status\n",
    .run = run,
};
