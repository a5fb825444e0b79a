// trainyard watch: a job's changes of state until it has ended.
#include <stddef.h>

#include "producer/cli/follow.h"

struct options {
    struct ty_cli_common common;
    struct ty_follow_options waiting;
};

static const struct ty_setting rows[] = {
    TY_FOLLOW_ROWS(offsetof(struct options, waiting)),
};

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *watch = options;
    struct ty_rpc_client *client;
    TyJobAnswer *answer;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = ty_follow_status(cli, client, cli->arguments[0], &watch->waiting, cli->out, &answer, err);
    ty_rpc_client_free(client);
    if (rc < 0)
        return rc;
    rc = ty_job_exit(answer->metadata);
    if (answer->metadata->error_status && !cli->common->json)
        ty_cli_note(cli, "%s", answer->metadata->error_status->message);
    ty_job_free(answer);
    return rc;
}

const struct ty_cli_verb ty_cli_watch = {
    .name = "watch",
    .summary = "prints each change of a job's state until it has ended",
    .arguments = "JOB_ID",
    .min_arguments = 1,
    .max_arguments = 1,
    .needs = TY_CLI_NEEDS_SERVER,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "The responder is asked again and again (after 0.1 s, then less often, every 2 s at last), so a state that\n"
               "passes within that time may not be seen; the last one always is. The exit code tells it.\n"
               "With --json: one object a line and change, each a whole job with the fields\n"
               TY_JOB_JSON_HELP
               "What the script tells of its progress is a line of its own, once for each hundredth and not more often than it is looked at;\n"
               "with --json an object of the job that has progress too (as of trainyard get).\n",
    .examples = "  trainyard watch \"$id\" && echo trained\n"
                "  trainyard watch --json \"$id\" | jq -r .status\n",
    .ends_by_job = true,
    .run = run,
};
