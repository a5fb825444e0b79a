// trainyard delete: forgets jobs.
#include <limits.h>

#include "producer/cli/publish.h"

struct options {
    struct ty_cli_common common;
};

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    (void)options;
    return ty_publish_control(cli, trainyard_delete, "deletion sent", err);
}

const struct ty_cli_verb ty_cli_delete = {
    .name = "delete",
    .summary = "removes jobs and their logs; their models stay",
    .arguments = "JOB_ID...",
    .min_arguments = 1,
    .max_arguments = INT_MAX,
    .needs = TY_CLI_NEEDS_KAFKA,
    .options_bytes = sizeof(struct options),
    .details = "Returns when Kafka has the command. A job that has ended is removed at once, any other is canceled first and\n"
               "removed when it has ended. Whether there is such a job is not asked: see trainyard get.\n"
               "With --json: {\"commands\": [{\"id\", \"partition\", \"offset\"}, ...]}, where each command stands in Kafka.\n",
    .examples = "  trainyard delete \"$id\"\n"
                "  trainyard list --org acme --status failed --json | jq -r '.jobs[].id' | xargs trainyard delete\n",
    .run = run,
};
