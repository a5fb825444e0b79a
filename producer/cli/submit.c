// trainyard submit: a managed job.
#include <stdlib.h>

#include "core/buf.h"
#include "producer/cli/names.h"
#include "producer/cli/submitting.h"

#define AT(member) offsetof(struct options, member)

struct options {
    struct ty_cli_common common;
    struct ty_submitting submitting;
    char *org, *dataset, *model_name, *model_version, *model_type, *framework;
    char **tags;
};

static const struct ty_setting rows[] = {
    {.key = "org", .environment = "TRAINYARD_ORG", .type = TY_SETTING_TEXT, .offset = AT(org), .unit = "",
     .help = "The organization; must be given."},
    {.key = "dataset", .type = TY_SETTING_TEXT, .offset = AT(dataset), .unit = "", .help = "The data set's id; must be given."},
    {.key = "model-name", .type = TY_SETTING_TEXT, .offset = AT(model_name), .unit = "",
     .help = "The name of the model to make; must be given."},
    {.key = "model-version", .type = TY_SETTING_TEXT, .offset = AT(model_version), .unit = "",
     .help = "Its version; the time of now in UTC as YYYY-MM-DDTHH-MM-SS when it is not given."},
    {.key = "model-type", .type = TY_SETTING_TEXT, .offset = AT(model_type), .unit = "",
     .help = "single-label-classification, multi-label-classification or object-detection; must be given."},
    {.key = "framework", .type = TY_SETTING_TEXT, .offset = AT(framework), .unit = "",
     .help = "tflite, tensorflow, pytorch or onnx; the model type's default when it is not given."},
    {.key = "tag", .type = TY_SETTING_LIST, .offset = AT(tags), .unit = "",
     .help = "A label to learn; repeated for each, at least one."},
    TY_SUBMITTING_ROWS(AT(submitting)),
};

static int publish(struct trainyard_client *client, const void *job, struct trainyard_receipt *ret_receipt,
                   struct trainyard_error *error)
{
    return trainyard_submit(client, job, TRAINYARD_WAIT, ret_receipt, error);
}

static int check(const struct options *options, struct ty_err *err)
{
    int rc = ty_cli_require("org", options->org, err);
    if (rc == 0)
        rc = ty_cli_require("dataset", options->dataset, err);
    if (rc == 0)
        rc = ty_cli_require("model-name", options->model_name, err);
    if (rc == 0)
        rc = ty_cli_require("model-type", options->model_type, err);
    if (rc == 0)
        rc = ty_cli_require("tag", options->tags ? options->tags[0] : NULL, err);
    return rc;
}

static int run(struct ty_cli *cli, const void *given, struct ty_err *err)
{
    const struct options *options = given;
    struct trainyard_managed_job job = TRAINYARD_MANAGED_JOB_INIT;
    struct trainyard_job_options job_options;
    char *version TY_FREE = NULL;
    if (check(options, err) < 0 ||
        ty_names_parse(&viam__app__mltraining__v1__model_type__descriptor, "model-type", options->model_type,
                       &job.model_type, err) < 0)
        return -(int)err->code;
    if (options->framework && ty_names_parse(&viam__app__mltraining__v1__model_framework__descriptor, "framework",
                                             options->framework, &job.model_framework, err) < 0)
        return -(int)err->code;
    if (ty_submitting_options(&options->submitting, &job_options, err) < 0)
        return -(int)err->code;
    job.organization_id = options->org;
    job.dataset_id = options->dataset;
    job.model_name = options->model_name;
    job.model_version = ty_submitting_version(options->model_version, &version);
    job.tags = (const char *const *)options->tags;
    while (options->tags[job.tag_count])
        job.tag_count++;
    job.options = &job_options;
    job.job_id = options->submitting.job_id;
    int rc = ty_submitting_run(cli, &options->submitting, publish, &job, err);
    ty_submitting_options_done(&job_options);
    return rc;
}

const struct ty_cli_verb ty_cli_submit = {
    .name = "submit",
    .summary = "submits a managed job: a trainer of the service learns from a data set",
    .arguments = "",
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_NEEDS_SERVER,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = TY_SUBMITTING_HELP,
    .examples = "  trainyard submit --org acme --dataset digits --model-name reader --model-type single-label-classification \\\n"
                "      --framework onnx --tag 0 --tag 1\n"
                "  id=$(trainyard submit ...) && trainyard logs --follow \"$id\"\n",
    .ends_by_job = true,
    .has_log = true,
    .run = run,
};
