// trainyard cancel: asks for jobs to stop, named one by one or by what they have in common.
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/record.h"
#include "producer/cli/patience.h"
#include "producer/cli/publish.h"
#include "producer/cli/select.h"

#define SETTLE_MS 30000 // how long cancellations that were sent may take to show in a list that is cut
#define CLOSE_MS 100

struct options {
    struct ty_cli_common common;
    char **filters;
    bool dry_run, yes;
};
#define AT(member) offsetof(struct options, member)

static const struct ty_setting rows[] = {
    {.key = "filter", .type = TY_SETTING_LIST, .offset = AT(filters), .unit = "",
     .help = "In place of ids: the jobs that this fits, as KEY=VALUE; may be repeated."},
    {.key = "dry-run", .type = TY_SETTING_BOOL, .offset = AT(dry_run), .fallback = "false", .unit = "",
     .help = "Lists the jobs that --filter fits, and does nothing to them."},
    {.key = "yes", .type = TY_SETTING_BOOL, .offset = AT(yes), .fallback = "false", .unit = "",
     .help = "Cancels what --filter fits; without it or --dry-run a filter is refused."},
};

// ---- by filter ----

struct many {
    struct ty_cli *cli;
    struct trainyard_client *client;
    struct ty_table *table; // of a dry run
    uint64_t now_us;
    pthread_mutex_t lock;   // the rest; callbacks come on another thread
    json_t *receipts;       // of a dry run: jobs
    size_t sent, failed;
    struct ty_err first_error;
};

static void keep_error(struct many *many, const struct trainyard_error *error, const struct trainyard_receipt *receipt)
{
    if (!many->failed++)
        ty_publish_error(many->cli, error, receipt, &many->first_error);
}

static void on_done(void *context, const struct trainyard_receipt *receipt, const struct trainyard_error *error)
{
    struct many *many = context;
    pthread_mutex_lock(&many->lock);
    if (error) {
        keep_error(many, error, receipt);
    } else {
        many->sent++;
        if (many->cli->common->json)
            json_array_append_new(many->receipts, ty_publish_json(receipt));
    }
    pthread_mutex_unlock(&many->lock);
}

static bool has_failed(struct many *many)
{
    pthread_mutex_lock(&many->lock);
    bool failed = many->failed != 0;
    pthread_mutex_unlock(&many->lock);
    return failed;
}

// The first error ends it: whatever follows would most likely end in the same, seconds later each.
static void cancel_job(void *context, const TyJobMetadata *job)
{
    struct many *many = context;
    struct trainyard_error error;
    if (has_failed(many))
        return;
    int rc = trainyard_cancel_async(many->client, job->id, NULL, on_done, many, &error);
    if (rc < 0 && error.code == TRAINYARD_RESOURCE_EXHAUSTED &&
        trainyard_client_flush(many->client, TRAINYARD_WAIT, &error) == 0)
        rc = trainyard_cancel_async(many->client, job->id, NULL, on_done, many, &error);
    if (rc < 0) {
        pthread_mutex_lock(&many->lock);
        keep_error(many, &error, NULL);
        pthread_mutex_unlock(&many->lock);
    }
}

static void show_job(void *context, const TyJobMetadata *job)
{
    struct many *many = context;
    many->sent++;
    if (many->cli->common->json)
        json_array_append_new(many->receipts, ty_job_json(job));
    else
        ty_job_table_add(many->table, job, many->now_us > INT64_MAX ? 0 : (int64_t)many->now_us);
}

static int flush(struct many *many, struct ty_err *err)
{
    struct trainyard_error error;
    if (trainyard_client_flush(many->client, TRAINYARD_WAIT, &error) < 0)
        return ty_publish_error(many->cli, &error, NULL, err);
    pthread_mutex_lock(&many->lock);
    if (many->failed)
        *err = many->first_error;
    int rc = many->failed ? -(int)err->code : 0;
    pthread_mutex_unlock(&many->lock);
    return rc;
}

// A list that is cut shows older jobs once those before them are canceled: pass by pass until it is whole.
static int cancel_all(struct many *many, struct ty_select *select, struct ty_rpc_client *server, struct ty_err *err)
{
    struct ty_patience patience;
    struct ty_select_pass pass;
    uint64_t until_ms = ty_clock_mono_ms() + SETTLE_MS;
    ty_patience_init(&patience, 0, 0);
    for (;;) {
        int rc = ty_select_pass(select, server, many->now_us, cancel_job, many, &pass, err);
        struct ty_err publishing;
        if (flush(many, &publishing) < 0) {
            *err = publishing;
            return -(int)err->code;
        }
        if (rc < 0 || !pass.is_cut)
            return rc;
        if (!pass.fitting)
            return ty_err_set(err, TY_EPRECONDITION, "the list of jobs is cut to the newest, and none of those that it shows fits: "
                                                     "older ones cannot be reached");
        if (pass.fresh)
            until_ms = ty_clock_mono_ms() + SETTLE_MS;
        else if (ty_clock_mono_ms() > until_ms)
            return ty_err_set(err, TY_EDEADLINE, "the list of jobs is cut to the newest, and those that were canceled do not leave it: "
                                                 "is there a worker with the role intake?");
        ty_patience_pause(&patience, pass.fresh != 0);
    }
}

static int show_all(struct many *many, struct ty_select *select, struct ty_rpc_client *server, struct ty_err *err)
{
    struct ty_select_pass pass;
    many->table = ty_job_table_new();
    int rc = ty_select_pass(select, server, many->now_us, show_job, many, &pass, err);
    if (rc == 0 && !many->cli->common->json && many->sent)
        ty_table_print(many->table, many->cli->out, many->cli->color);
    if (rc == 0 && pass.is_cut)
        ty_cli_note(many->cli, "the list is cut to the newest jobs: there may be more");
    ty_table_free(many->table);
    return rc;
}

static void tell(struct many *many, bool dry_run)
{
    if (many->cli->common->json)
        ty_cli_put_json(many->cli, json_pack("{s:O, s:b}", dry_run ? "jobs" : "commands", many->receipts, "dry_run", dry_run), false);
    else
        ty_cli_note(many->cli, dry_run ? "%zu job%s would be canceled" : "%zu job%s: cancellation sent", many->sent,
                    many->sent == 1 ? "" : "s");
}

static int run_filter(struct ty_cli *cli, const struct options *options, struct ty_err *err)
{
    static const int states[] = {TY_JOB_PENDING, TY_JOB_IN_PROGRESS, 0};
    struct many many = {.cli = cli, .now_us = ty_clock_wall_us(), .lock = PTHREAD_MUTEX_INITIALIZER};
    struct ty_select *select;
    struct ty_rpc_client *server;
    if (ty_select_new(options->filters, states, "can be canceled", &select, err) < 0)
        return -(int)err->code;
    int rc = ty_cli_connect(cli, &server, err);
    if (rc == 0) {
        many.receipts = json_array();
        if (options->dry_run)
            rc = show_all(&many, select, server, err);
        else if ((rc = ty_publish_open(cli, &many.client, err)) == 0)
            rc = cancel_all(&many, select, server, err);
        trainyard_client_free(many.client, CLOSE_MS);
        // Also after an error: these were sent.
        if (rc == 0 || many.sent)
            tell(&many, options->dry_run);
        json_decref(many.receipts);
        ty_rpc_client_free(server);
    }
    ty_select_free(select);
    return rc;
}

// ---- the verb ----

static int run(struct ty_cli *cli, const void *given, struct ty_err *err)
{
    const struct options *options = given;
    if (options->filters && cli->count)
        return ty_err_set(err, TY_EINVALID, "--filter stands in place of job ids: give one or the other");
    if (options->filters && options->dry_run == options->yes)
        return ty_err_set(err, TY_EINVALID, "--filter: give --dry-run to see which jobs it fits, or --yes to cancel them");
    if (!options->filters && (options->dry_run || options->yes))
        return ty_err_set(err, TY_EINVALID, "--dry-run and --yes go with --filter");
    if (!options->filters && !cli->count)
        return ty_err_set(err, TY_EINVALID, "JOB_ID... is missing; usage: trainyard cancel [options] JOB_ID...");
    return options->filters ? run_filter(cli, options, err) : ty_publish_control(cli, trainyard_cancel, "cancellation sent", err);
}

const struct ty_cli_verb ty_cli_cancel = {
    .name = "cancel",
    .summary = "asks for jobs to stop",
    .arguments = "[JOB_ID...]",
    .max_arguments = INT_MAX,
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_NEEDS_SERVER,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "Returns when Kafka has the command. A job that waits is CANCELED at once, one that runs goes through CANCELING;\n"
               "on a job that has ended it does nothing. Whether there is such a job is not asked: see trainyard get.\n"
               "With --json: {\"commands\": [{\"id\", \"partition\", \"offset\"}, ...]}, where each command stands in Kafka.\n"
               "With --filter the jobs are looked up at the responder, which is not needed else. The keys are:\n"
               TY_SELECT_KEYS_HELP
               "  Without status: those that are pending or in-progress. --json has \"dry_run\" too, and with --dry-run\n"
               "  \"jobs\", as trainyard list, in place of \"commands\".\n",
    .examples = "  trainyard cancel \"$id\" && trainyard watch \"$id\"\n"
                "  trainyard cancel --filter organization=acme --filter status=pending --filter 'model=trial-*' --dry-run\n"
                "  trainyard cancel --filter organization=acme --filter older-than=2d --yes\n",
    .run = run,
};
