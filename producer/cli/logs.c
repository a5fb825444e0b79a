// trainyard logs: a job's log, all of it or as it comes.
#include <stddef.h>

#include "producer/cli/follow.h"

struct options {
    struct ty_cli_common common;
    struct ty_follow_options waiting;
    bool follow;
};

static const struct ty_setting rows[] = {
    {.key = "follow", .type = TY_SETTING_BOOL, .offset = offsetof(struct options, follow), .fallback = "false", .unit = "",
     .help = "Goes on printing until the job has ended and its log with it."},
    TY_FOLLOW_ROWS(offsetof(struct options, waiting)),
};

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *logs = options;
    struct ty_follow_log log = {.out = cli->out, .json = cli->common->json, .color = cli->color, .follow = logs->follow};
    struct ty_rpc_client *client;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = ty_follow_log(cli, client, cli->arguments[0], &logs->waiting, &log, err);
    ty_rpc_client_free(client);
    if (rc == 0 && !log.printed)
        ty_cli_note(cli, "the job has no log entries%s", logs->follow ? "" : " so far");
    return rc;
}

const struct ty_cli_verb ty_cli_logs = {
    .name = "logs",
    .summary = "prints a job's log, with --follow as it comes",
    .arguments = "JOB_ID",
    .min_arguments = 1,
    .max_arguments = 1,
    .needs = TY_CLI_NEEDS_SERVER,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "A line is time (UTC), level and message; control characters of the message are written out (\\x1b). With\n"
               "--follow the exit code is 0 only when the job has ended, however it did, and its log with it; no line is\n"
               "printed twice or left out when the responder goes away meanwhile.\n"
               "With --json: one object a line, {\"time\": RFC 3339 or null, \"level\", \"message\"}, the message as it was.\n",
    .examples = "  trainyard logs \"$id\"\n"
                "  trainyard logs --follow \"$id\"\n"
                "  trainyard logs --json \"$id\" | jq -r 'select(.level == \"error\").message'\n",
    .has_log = true,
    .run = run,
};
