// trainyard retry: a job that has FAILED or was CANCELED, done again as a new one. All that a job was asked for is read back
// from the responder; the new job is published like any other, under a key made from the old job's id, so that the same call
// again is the same job.
#include <stdlib.h>

#include "core/buf.h"
#include "core/id.h"
#include "core/record.h"
#include "producer/cli/job.h"
#include "producer/cli/submitting.h"

typedef Trainyard__V1__JobOptions Options;

struct options {
    struct ty_cli_common common;
    char *key;
    bool wait, follow;
    struct ty_follow_options waiting;
};
#define AT(member) offsetof(struct options, member)

static const struct ty_setting rows[] = {
    {.key = "key", .type = TY_SETTING_TEXT, .offset = AT(key), .unit = "",
     .help = "The new job's idempotency key; \"retry:JOB_ID\" when it is not given. Another key is another job."},
    {.key = "wait", .type = TY_SETTING_BOOL, .offset = AT(wait), .fallback = "false", .unit = "",
     .help = "Waits until the new job has ended; the exit code tells how."},
    {.key = "follow", .type = TY_SETTING_BOOL, .offset = AT(follow), .fallback = "false", .unit = "",
     .help = "As --wait, and prints the new job's log on stderr meanwhile."},
    TY_FOLLOW_ROWS(AT(waiting)),
};

// Arguments and labels, both of which protobuf-c makes the same shape of.
struct pairs {
    struct trainyard_pair *list;
    size_t count;
};

#define ADD_PAIRS(pairs, entries, n)                                                                                       \
    do {                                                                                                                   \
        (pairs)->list = ty_xcalloc((n) + 1, sizeof *(pairs)->list);                                                        \
        for (; (pairs)->count < (n); (pairs)->count++)                                                                     \
            (pairs)->list[(pairs)->count] =                                                                                \
                (struct trainyard_pair){(entries)[(pairs)->count]->key, (entries)[(pairs)->count]->value};                 \
    } while (0)

// All borrowed, but for the list of labels.
static struct trainyard_job_options options_of(const Options *asked, const char *key, const char *retry_of)
{
    struct trainyard_job_options options = TRAINYARD_JOB_OPTIONS_INIT;
    struct pairs labels = {0};
    ADD_PAIRS(&labels, asked->labels, asked->n_labels);
    options.priority = asked->priority;
    options.max_runtime_s = asked->max_runtime_s;
    options.max_wait_s = asked->max_wait_s;
    options.max_attempts = asked->max_attempts;
    options.on_lost_lease = (int)asked->on_lost_lease;
    options.labels = labels.list;
    options.label_count = labels.count;
    options.idempotency_key = key;
    options.retry_of = retry_of;
    if (asked->resources) {
        options.cpu_millis = asked->resources->cpu_millis;
        options.gpus = asked->resources->gpus;
        options.memory_bytes = asked->resources->memory_bytes;
    }
    if (asked->retry) {
        options.retry_on_error = asked->retry->on_error;
        options.retry_exit_codes = asked->retry->exit_codes;
        options.retry_exit_code_count = asked->retry->n_exit_codes;
        options.no_retry_exit_codes = asked->retry->no_retry_exit_codes;
        options.no_retry_exit_code_count = asked->retry->n_no_retry_exit_codes;
        options.retry_base_ms = asked->retry->base_ms;
        options.retry_max_ms = asked->retry->max_ms;
    }
    return options;
}

static int publish_managed(struct trainyard_client *client, const void *job, struct trainyard_receipt *ret_receipt,
                           struct trainyard_error *error)
{
    return trainyard_submit(client, job, TRAINYARD_WAIT, ret_receipt, error);
}

static int publish_custom(struct trainyard_client *client, const void *job, struct trainyard_receipt *ret_receipt,
                          struct trainyard_error *error)
{
    return trainyard_submit_custom(client, job, TRAINYARD_WAIT, ret_receipt, error);
}

static int submit(struct ty_cli *cli, const struct ty_submitting *submitting, const TyJobMetadata *old,
                  const struct trainyard_job_options *options, struct ty_err *err)
{
    struct pairs arguments = {0};
    if (!old->is_custom_job) {
        struct trainyard_managed_job job = TRAINYARD_MANAGED_JOB_INIT;
        job.organization_id = old->organization_id;
        job.dataset_id = old->dataset_id;
        job.model_name = old->model_name;
        job.model_version = old->model_version;
        job.model_type = (int)old->model_type;
        job.model_framework = (int)old->model_framework;
        job.tags = (const char *const *)old->tags;
        job.tag_count = old->n_tags;
        job.options = options;
        return ty_submitting_run(cli, submitting, publish_managed, &job, err);
    }
    ADD_PAIRS(&arguments, old->arguments, old->n_arguments);
    struct trainyard_custom_job job = TRAINYARD_CUSTOM_JOB_INIT;
    job.organization_id = old->organization_id;
    job.dataset_id = old->dataset_id;
    job.model_name = old->model_name;
    job.model_version = old->model_version;
    job.registry_item_id = old->registry_item_id;
    job.registry_item_version = old->registry_item_version;
    job.container_version = old->container_version;
    job.arguments = arguments.list;
    job.argument_count = arguments.count;
    job.options = options;
    int rc = ty_submitting_run(cli, submitting, publish_custom, &job, err);
    free(arguments.list);
    return rc;
}

// Says so when the key has made its job before: then nothing new comes of it.
static void tell_earlier(struct ty_cli *cli, struct ty_rpc_client *client, const TyJobMetadata *old, const char *key)
{
    char text[TY_ID_TEXT_BYTES];
    struct ty_id id = ty_id_from_key(old->organization_id, key);
    TyJobAnswer *answer;
    struct ty_err ignored;
    if (ty_job_fetch(client, ty_id_format(&id, text), &answer, &ignored) < 0)
        return;
    bool is_again = ty_job_exit(answer->metadata) != 0;
    ty_cli_note(cli, "job %s was made by this key before, and is %s%s", text, ty_job_status(answer->metadata),
                is_again ? "; retry that one, or give another --key" : "");
    ty_job_free(answer);
}

static int fetch(struct ty_rpc_client *client, const char *id, TyJobAnswer **ret_old, Options **ret_asked, struct ty_err *err)
{
    TyJobAnswer *old;
    if (ty_job_fetch(client, id, &old, err) < 0)
        return -(int)err->code;
    int rc = ty_job_exit(old->metadata) ? ty_job_options(client, ret_asked, err)
                                        : ty_err_set(err, TY_EPRECONDITION,
                                                     "the job is %s; only one that is FAILED or CANCELED can be retried",
                                                     ty_job_status(old->metadata));
    if (rc < 0)
        ty_job_free(old);
    else
        *ret_old = old;
    return rc;
}

static int run(struct ty_cli *cli, const void *given, struct ty_err *err)
{
    const struct options *options = given;
    struct ty_submitting submitting = {.wait = options->wait, .follow = options->follow, .waiting = options->waiting};
    struct ty_rpc_client *client;
    TyJobAnswer *old = NULL;
    Options *asked = NULL;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = fetch(client, cli->arguments[0], &old, &asked, err);
    if (rc < 0) {
        ty_rpc_client_free(client);
        return rc;
    }
    bool has_key = options->key && *options->key;
    char *key TY_FREE = has_key ? ty_xstrdup(options->key) : ty_xasprintf("retry:%s", old->metadata->id);
    tell_earlier(cli, client, old->metadata, key);
    ty_rpc_client_free(client);
    struct trainyard_job_options job_options = options_of(asked, key, old->metadata->id);
    rc = submit(cli, &submitting, old->metadata, &job_options, err);
    free((void *)job_options.labels);
    trainyard__v1__job_options__free_unpacked(asked, NULL);
    ty_job_free(old);
    return rc;
}

const struct ty_cli_verb ty_cli_retry = {
    .name = "retry",
    .summary = "does a job that has FAILED or was CANCELED again, as a new job",
    .arguments = "JOB_ID",
    .min_arguments = 1,
    .max_arguments = 1,
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_NEEDS_SERVER | TY_CLI_NEEDS_STATE,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "The new job has the old one's request and options, the script's version as the old one found it, and names the old\n"
               "one (retry_of in trainyard get). The same call again gives the same job; to retry a retry, name it. Once that job was\n"
               "deleted, the same call prints its id and nothing comes of it: give another --key. The old job must still be stored,\n"
               "and its options must be small enough to be read back (4 KiB).\n" TY_SUBMITTING_HELP,
    .examples = "  trainyard retry --follow \"$id\"\n"
                "  trainyard list --org acme --status failed --json | jq -r '.jobs[].id' | xargs -n1 trainyard retry\n",
    .ends_by_job = true,
    .has_log = true,
    .run = run,
};
