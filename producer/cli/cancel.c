// trainyard cancel: asks for jobs to stop.
#include <limits.h>

#include "producer/cli/publish.h"

struct options {
    struct ty_cli_common common;
};

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    (void)options;
    return ty_publish_control(cli, trainyard_cancel, "cancellation sent", err);
}

const struct ty_cli_verb ty_cli_cancel = {
    .name = "cancel",
    .summary = "asks for jobs to stop",
    .arguments = "JOB_ID...",
    .min_arguments = 1,
    .max_arguments = INT_MAX,
    .needs = TY_CLI_NEEDS_KAFKA,
    .options_bytes = sizeof(struct options),
    .details = "Returns when Kafka has the command. A job that waits is CANCELED at once, one that runs goes through CANCELING;\n"
               "on a job that has ended it does nothing. Whether there is such a job is not asked: see trainyard get.\n"
               "With --json: {\"commands\": [{\"id\", \"partition\", \"offset\"}, ...]}, where each command stands in Kafka.\n",
    .examples = "  trainyard cancel \"$id\" && trainyard watch \"$id\"\n",
    .run = run,
};
