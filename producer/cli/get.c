// trainyard get: one job.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "producer/cli/job.h"
#include "producer/cli/job_details.h"
#include "producer/cli/verb.h"
#include "producer/cli/when.h"

struct options {
    struct ty_cli_common common;
};

// "" where there is none, or where it cannot be known.
static const char *retry_of(const Trainyard__V1__JobOptions *options)
{
    return options ? options->retry_of : "";
}

// Why a pending job has not begun; of the responder's last answer, and none where it does not tell.
struct wait {
    char *reason; // owned; NULL: none
    uint64_t position, due_us, limit;
    bool is_least; // position is at least that
};

static uint64_t number_of(const struct ty_rpc_client *client, const char *key)
{
    const char *text = ty_rpc_client_trailing(client, key);
    return text ? strtoull(text, NULL, 10) : 0;
}

static struct wait wait_of(const struct ty_rpc_client *client)
{
    const char *reason = ty_rpc_client_trailing(client, "trainyard-pending-reason");
    return (struct wait){.reason = reason ? ty_xstrdup(reason) : NULL,
                         .position = number_of(client, "trainyard-pending-position"),
                         .due_us = number_of(client, "trainyard-pending-due-us"),
                         .limit = number_of(client, "trainyard-pending-limit"),
                         .is_least = ty_rpc_client_trailing(client, "trainyard-pending-position-least") != NULL};
}

static void put_wait(const struct wait *wait, struct ty_buf *out)
{
    static const struct {
        const char *reason, *words;
    } rows[] = {
        {"queued", "a free worker"},
        {"back_off", "another attempt after a failure"},
        {"fleet_paused", "`trainyard resume --all`: nothing starts"},
        {"organization_paused", "`trainyard resume`: its organization is paused"},
        {"organization_limit", "the end of another job: its organization has as many running as it may"},
        {"store_rebuild", "the job store, which is being made again from Kafka"},
        {"wait_limit", "its end: no worker took it within its --max-wait"},
    };
    const char *words = wait->reason;
    for (size_t i = 0; words && i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(wait->reason, rows[i].reason))
            words = rows[i].words;
    if (!words)
        return;
    ty_buf_add_text(out, words);
    char when[TY_WHEN_BYTES];
    if (wait->due_us)
        ty_buf_add_format(out, ", not before %s", ty_when_utc((int64_t)wait->due_us, when));
    if (wait->limit)
        ty_buf_add_format(out, " (limit %" PRIu64 ")", wait->limit);
    if (wait->position)
        ty_buf_add_format(out, "; number %s%" PRIu64 " in its queue", wait->is_least ? "at least " : "", wait->position);
}

static json_t *wait_json(const struct wait *wait)
{
    char when[TY_WHEN_BYTES];
    if (!wait->reason)
        return json_null();
    return json_pack("{s:s, s:o, s:b, s:o, s:o}", "reason", wait->reason, "position",
                     wait->position ? json_integer((json_int_t)wait->position) : json_null(), "position_is_least", wait->is_least, "not_before",
                     wait->due_us ? json_string(ty_when_rfc3339((int64_t)wait->due_us, when)) : json_null(), "limit",
                     wait->limit ? json_integer((json_int_t)wait->limit) : json_null());
}

static json_t *as_json(const TyJobMetadata *job, const Trainyard__V1__JobOptions *options, const struct wait *wait,
                       const TyJobDetails *details)
{
    json_t *object = ty_job_json(job);
    const char *id = retry_of(options);
    ty_job_details_json(details, object);
    json_object_set_new(object, "pending", wait_json(wait));
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
    struct wait wait = rc == 0 ? wait_of(client) : (struct wait){0};
    TyJobDetails *details = rc == 0 ? ty_job_details_fetch(client, cli->arguments[0]) : NULL;
    ty_rpc_client_free(client);
    if (rc < 0)
        return rc;
    TY_BUF(words);
    put_wait(&wait, &words);
    if (cli->common->json)
        ty_cli_put_json(cli, as_json(answer->metadata, asked, &wait, details), false);
    else
        ty_job_print(answer->metadata, retry_of(asked), ty_buf_text(&words), (int64_t)ty_clock_wall_us(), cli->out, cli->color);
    if (!cli->common->json)
        ty_job_details_print(details, cli->out, cli->color);
    ty_job_details_free(details);
    free(wait.reason);
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
               "  And retry_of: the id of the job that this one does again (trainyard retry).\n"
               "  And, null where the responder is of a version that does not tell them:\n" TY_JOB_DETAILS_HELP
               "  And pending, null but for a job that has not begun: {reason, position, position_is_least, not_before, limit}. reason\n"
               "  is queued (for a free worker), back_off, organization_limit, organization_paused, fleet_paused, store_rebuild or\n"
               "  wait_limit (it is about to fail: see wait_until); position says how many jobs of its container begin until it has,\n"
               "  if no more come: at least that many where position_is_least is true, since more than a thousand organizations wait.\n",
    .examples = "  trainyard get 0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b\n"
                "  trainyard get --json \"$id\" | jq -r .status\n",
    .run = run,
};
