// trainyard submit-custom: a job that runs a training script of the organization's own.
#include <stdlib.h>

#include "core/buf.h"
#include "producer/cli/submitting.h"

#define AT(member) offsetof(struct options, member)

struct options {
    struct ty_cli_common common;
    struct ty_submitting submitting;
    char *org, *dataset, *script, *script_version, *model_name, *model_version, *container;
    char **arguments;
};

static const struct ty_setting rows[] = {
    {.key = "org", .environment = "TRAINYARD_ORG", .type = TY_SETTING_TEXT, .offset = AT(org), .unit = "",
     .help = "The organization; must be given."},
    {.key = "dataset", .type = TY_SETTING_TEXT, .offset = AT(dataset), .unit = "", .help = "The data set's id; must be given."},
    {.key = "script", .type = TY_SETTING_TEXT, .offset = AT(script), .unit = "",
     .help = "The training script as prefix:name; must be given."},
    {.key = "script-version", .type = TY_SETTING_TEXT, .offset = AT(script_version), .unit = "",
     .help = "Its version; the newest when it is not given."},
    {.key = "model-name", .type = TY_SETTING_TEXT, .offset = AT(model_name), .unit = "",
     .help = "The name of the model to make; must be given."},
    {.key = "model-version", .type = TY_SETTING_TEXT, .offset = AT(model_version), .unit = "",
     .help = "Its version; the time of now in UTC as YYYY-MM-DDTHH-MM-SS when it is not given."},
    {.key = "container", .type = TY_SETTING_TEXT, .offset = AT(container), .unit = "",
     .help = "What to run it in, a key of trainyard containers; the default container when it is not given."},
    {.key = "arg", .type = TY_SETTING_LIST, .offset = AT(arguments), .unit = "",
     .help = "key=value, which the script gets as --key=value; repeated for each, the value may hold anything."},
    TY_SUBMITTING_ROWS(AT(submitting)),
};

static int publish(struct trainyard_client *client, const void *job, struct trainyard_receipt *ret_receipt,
                   struct trainyard_error *error)
{
    return trainyard_submit_custom(client, job, TRAINYARD_WAIT, ret_receipt, error);
}

static int check(const struct options *options, struct ty_err *err)
{
    int rc = ty_cli_require("org", options->org, err);
    if (rc == 0)
        rc = ty_cli_require("dataset", options->dataset, err);
    if (rc == 0)
        rc = ty_cli_require("script", options->script, err);
    if (rc == 0)
        rc = ty_cli_require("model-name", options->model_name, err);
    return rc;
}

static int run(struct ty_cli *cli, const void *given, struct ty_err *err)
{
    const struct options *options = given;
    struct trainyard_custom_job job = TRAINYARD_CUSTOM_JOB_INIT;
    struct trainyard_job_options job_options;
    struct trainyard_pair *arguments TY_FREE = NULL;
    char *version TY_FREE = NULL;
    if (check(options, err) < 0 ||
        ty_submitting_pairs("arg", options->arguments, &arguments, &job.argument_count, err) < 0 ||
        ty_submitting_options(&options->submitting, &job_options, err) < 0)
        return -(int)err->code;
    job.organization_id = options->org;
    job.dataset_id = options->dataset;
    job.model_name = options->model_name;
    job.model_version = ty_submitting_version(options->model_version, &version);
    job.registry_item_id = options->script;
    job.registry_item_version = options->script_version;
    job.container_version = options->container;
    job.arguments = arguments;
    job.options = &job_options;
    job.job_id = options->submitting.job_id;
    int rc = ty_submitting_run(cli, &options->submitting, publish, &job, err);
    ty_submitting_options_done(&job_options);
    return rc;
}

const struct ty_cli_verb ty_cli_submit_custom = {
    .name = "submit-custom",
    .summary = "submits a job that runs a training script of the organization's own",
    .arguments = "",
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_NEEDS_SERVER,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = TY_SUBMITTING_HELP,
    .examples = "  trainyard submit-custom --org acme --dataset digits --script acme:digits --model-name reader \\\n"
                "      --arg num_epochs=20 --arg labels='0 1 2'\n"
                "  trainyard submit-custom ... --follow; echo \"it ended with $?\"\n",
    .ends_by_job = true,
    .has_log = true,
    .run = run,
};
