// trainyard logs: a job's log, all of it or as it comes.
#include <stddef.h>

#include "core/clock.h"
#include "producer/cli/filter.h"
#include "producer/cli/follow.h"
#include "producer/cli/when.h"

struct options {
    struct ty_cli_common common;
    struct ty_follow_options waiting;
    bool follow;
    int64_t tail;
    char *since;
    int level;
};

static const char *const levels[] = {NULL, "debug", "info", "warn", "error", "critical"};

static const struct ty_setting rows[] = {
    {.key = "follow", .type = TY_SETTING_BOOL, .offset = offsetof(struct options, follow), .fallback = "false", .unit = "",
     .help = "Goes on printing until the job has ended and its log with it."},
    {.key = "tail", .type = TY_SETTING_INT, .offset = offsetof(struct options, tail), .min = -1, .max = 1000000000,
     .fallback = "-1", .unit = "", .help = "Only the last so many entries of what is there; -1: all. With --follow those that come too."},
    {.key = "since", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, since), .unit = "",
     .help = "Only entries of this time or later: 2026-11-24T18:42:24Z, or 90s, 15m, 12h or 30d ago."},
    {.key = "level", .type = TY_SETTING_CHOICE, .offset = offsetof(struct options, level),
     .choices = "all|debug|info|warn|error|critical", .fallback = "all", .unit = "", .help = "Only entries of this level or above."},
    TY_FOLLOW_ROWS(offsetof(struct options, waiting)),
};

static int read_since(const char *text, uint64_t *ret_us, struct ty_err *err)
{
    uint64_t age_s;
    if (!text || !*text || ty_when_parse(text, ret_us))
        return 0;
    if (ty_filter_age("since", text, &age_s, err) < 0)
        return ty_err_set(err, TY_EINVALID, "--since: \"%.64s\" is neither a time such as 2026-11-24T18:42:24Z nor an age such as 90s, 15m, "
                          "12h or 30d", text);
    *ret_us = ty_clock_wall_us() - age_s * 1000000;
    return 0;
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *logs = options;
    struct ty_follow_log log = {.out = cli->out, .json = cli->common->json, .color = cli->color, .follow = logs->follow,
                                .tail = logs->tail, .level = levels[logs->level]};
    struct ty_rpc_client *client;
    if (read_since(logs->since, &log.since_us, err) < 0 || ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = ty_follow_log(cli, client, cli->arguments[0], &logs->waiting, &log, err);
    ty_rpc_client_free(client);
    if (rc == 0 && !log.printed)
        ty_cli_note(cli, "the job has no %slog entries%s", log.tail >= 0 || log.since_us || log.level ? "such " : "",
                    logs->follow ? "" : " so far");
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
               "With --json: one object a line, {\"time\": RFC 3339 or null, \"level\", \"message\", \"stream\": worker, stdout, stderr or null,\n"
               "\"attempt\", \"sequence\", \"continued\", \"missing\"}, the message as it was; (attempt, sequence) is the entry's place in the\n"
               "log, one that is continued goes on with the line before it, and missing is how many entries one stands for that were\n"
               "left out.\n",
    .examples = "  trainyard logs \"$id\"\n"
                "  trainyard logs --follow \"$id\"\n"
                "  trainyard logs --follow --tail 20 --level warn \"$id\"\n"
                "  trainyard logs --since 15m \"$id\"\n"
                "  trainyard logs --json \"$id\" | jq -r 'select(.level == \"error\").message'\n",
    .has_log = true,
    .run = run,
};
