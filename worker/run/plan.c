#include "worker/run/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/exec/protocol.h"

const char *const ty_plan_steps[TY_PLAN_STEPS] = {"prepare", "install", "train", "collect"};

typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;
typedef Viam__App__Mltraining__V1__TrainingJobMetadata__ArgumentsEntry Argument;

// ---- the job ----

static int find_script(struct ty_job *job, const struct ty_record *record, const struct ty_catalog *catalog,
                       struct ty_err *err)
{
    const Metadata *metadata = job->metadata;
    const char *key = metadata->container_version;
    job->script = metadata->registry_item_id;
    job->script_version = metadata->registry_item_version;
    if (!(record->flags & TY_FLAG_CUSTOM)) {
        const struct ty_trainer *trainer =
            ty_catalog_trainer(catalog, (int)metadata->model_type, (int)metadata->model_framework);
        if (!trainer)
            return ty_err_set(err, TY_EPRECONDITION, "no trainer is installed for model_type %d and model_framework %d",
                              (int)metadata->model_type, (int)metadata->model_framework);
        job->script = trainer->script;
        // What an earlier attempt has found stands.
        if (!*job->script_version)
            job->script_version = trainer->script_version ? trainer->script_version : "";
        key = trainer->container;
    }
    job->container = ty_catalog_container(catalog, key);
    if (!job->container)
        return ty_err_set(err, TY_EPRECONDITION, "container %s is not in the catalogue of this worker", key);
    return 0;
}

int ty_job_read(const struct ty_record *record, const struct ty_catalog *catalog, struct ty_job *ret_job,
                struct ty_err *err)
{
    struct ty_job job = {0};
    TY_BUF(bytes);
    ty_record_metadata(record, &bytes);
    job.metadata = viam__app__mltraining__v1__training_job_metadata__unpack(NULL, bytes.len, bytes.data);
    job.options = trainyard__v1__job_options__unpack(NULL, record->options_len, record->options);
    int rc = job.metadata && job.options ? find_script(&job, record, catalog, err)
                                         : ty_err_set(err, TY_EDATALOSS, "the stored job cannot be read");
    if (rc < 0)
        ty_job_done(&job);
    else
        *ret_job = job;
    return rc;
}

void ty_job_done(struct ty_job *job)
{
    if (job->metadata)
        viam__app__mltraining__v1__training_job_metadata__free_unpacked(job->metadata, NULL);
    if (job->options)
        trainyard__v1__job_options__free_unpacked(job->options, NULL);
    *job = (struct ty_job){0};
}

// ---- entries ----

__attribute__((format(printf, 2, 3))) static void add(struct ty_buf *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text TY_FREE = NULL;
    if (vasprintf(&text, format, args) < 0)
        abort();
    va_end(args);
    ty_buf_add(out, text, strlen(text) + 1);
}

static void add_head(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out)
{
    uint64_t max_runtime_ms = options->max_runtime_ms;
    bool stop = job->options->on_lost_lease == TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP;
    if (job->options->max_runtime_s)
        max_runtime_ms = (uint64_t)job->options->max_runtime_s * 1000;
    add(out, "format=%d", TY_EXEC_FORMAT);
    add(out, "job=%s", options->id);
    add(out, "attempt=%" PRIu32, options->attempt);
    add(out, "fence=%" PRIu64, options->fence);
    ty_buf_add_text(out, "token=");
    for (size_t i = 0; i < sizeof options->token->bytes; i++)
        ty_buf_add_format(out, "%02x", options->token->bytes[i]);
    ty_buf_add_byte(out, 0);
    if (*options->boot_id)
        add(out, "boot_id=%s", options->boot_id);
    add(out, "grace_ms=%" PRIu64, options->grace_ms);
    add(out, "max_runtime_ms=%" PRIu64, max_runtime_ms);
    add(out, "on_lost_lease=%s", stop ? "stop" : "continue");
    add(out, "lost_lease_limit_ms=%" PRIu64, options->lost_lease_limit_ms);
    add(out, "spool_limit_bytes=%" PRIu64, options->spool_limit_bytes);
}

static void add_environment(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out)
{
    const Metadata *metadata = job->metadata;
    add(out, "env=PATH=/usr/local/bin:/usr/bin:/bin");
    add(out, "env=LANG=C.UTF-8");
    add(out, "env=HOME=%s/home", options->dir);
    add(out, "env=TMPDIR=%s/tmp", options->dir);
    add(out, "env=PYTHONPATH=%s/site", options->dir);
    add(out, "env=PYTHONUNBUFFERED=1");
    add(out, "env=PYTHONNOUSERSITE=1");
    add(out, "env=PIP_DISABLE_PIP_VERSION_CHECK=1");
    add(out, "env=PIP_NO_INPUT=1");
    add(out, "env=TRAINYARD_JOB_ID=%s", options->id);
    add(out, "env=TRAINYARD_ATTEMPT=%" PRIu32, options->attempt);
    add(out, "env=TRAINYARD_FENCE=%" PRIu64, options->fence);
    add(out, "env=TRAINYARD_ORGANIZATION_ID=%s", metadata->organization_id);
    add(out, "env=TRAINYARD_DATASET_ID=%s", metadata->dataset_id);
    add(out, "env=TRAINYARD_MODEL_NAME=%s", metadata->model_name);
    add(out, "env=TRAINYARD_MODEL_VERSION=%s", metadata->model_version);
    add(out, "env=TRAINYARD_DATASET_FILE=%s/datasets/%s/dataset.jsonl", options->store_dir, metadata->dataset_id);
    add(out, "env=TRAINYARD_OUTPUT_DIR=%s/output", options->dir);
}

static void add_step(struct ty_buf *out, unsigned step, uint64_t timeout_ms)
{
    add(out, "step=%s", ty_plan_steps[step]);
    add(out, "timeout_ms=%" PRIu64, timeout_ms);
}

static void add_option(struct ty_buf *out, const char *name, const char *value)
{
    add(out, "arg=--%s", name);
    add(out, "arg=%s", value);
}

static void add_model(const Metadata *metadata, const struct ty_plan_options *options, struct ty_buf *out)
{
    add_option(out, "store", options->store_dir);
    add_option(out, "job-dir", options->dir);
    add_option(out, "organization", metadata->organization_id);
    add_option(out, "model", metadata->model_name);
    add_option(out, "model-version", metadata->model_version);
}

static void add_prepare(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out)
{
    add_step(out, 0, options->prepare_timeout_ms);
    add(out, "arg=%s", options->stage_path);
    add(out, "arg=prepare");
    add_model(job->metadata, options, out);
    add_option(out, "dataset", job->metadata->dataset_id);
    add_option(out, "script", job->script);
    if (*job->script_version)
        add_option(out, "script-version", job->script_version);
}

static void add_install(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out)
{
    static const char *const common[] = {"-m", "pip", "install", "--no-cache-dir"};
    static const char *const offline[] = {"--no-index", "--no-build-isolation", "--no-deps"};
    add_step(out, 1, options->install_timeout_ms);
    add(out, "arg=%s", job->container->python);
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        add(out, "arg=%s", common[i]);
    for (size_t i = 0; !job->container->online_install && i < sizeof offline / sizeof *offline; i++)
        add(out, "arg=%s", offline[i]);
    if (job->container->wheels)
        add_option(out, "find-links", job->container->wheels);
    add(out, "arg=--target");
    add(out, "arg=%s/site", options->dir);
    add(out, "arg=%s/script", options->dir);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp((*(Argument *const *)a)->key, (*(Argument *const *)b)->key);
}

static void add_arguments(const Metadata *metadata, struct ty_buf *out)
{
    Argument **sorted = ty_xcalloc(metadata->n_arguments + 1, sizeof *sorted);
    for (size_t i = 0; i < metadata->n_arguments; i++)
        sorted[i] = metadata->arguments[i];
    qsort(sorted, metadata->n_arguments, sizeof *sorted, compare_keys);
    for (size_t i = 0; i < metadata->n_arguments; i++)
        add(out, "arg=--%s=%s", sorted[i]->key, sorted[i]->value);
    free(sorted);
}

static bool is_plain_label(const char *label)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:@%+=,/";
    return *label && strspn(label, plain) == strlen(label);
}

static void add_label(struct ty_buf *out, const char *label)
{
    if (is_plain_label(label)) {
        ty_buf_add_text(out, label);
        return;
    }
    ty_buf_add_byte(out, '\'');
    for (; *label; label++)
        if (*label == '\'')
            ty_buf_add_text(out, "'\"'\"'");
        else
            ty_buf_add_byte(out, (uint8_t)*label);
    ty_buf_add_byte(out, '\'');
}

static void add_labels(const Metadata *metadata, struct ty_buf *out)
{
    static const char *const types[] = {"", "single_label", "multi_label", "object_detection"};
    size_t type = (size_t)metadata->model_type;
    ty_buf_add_text(out, "arg=--labels=");
    for (size_t i = 0; i < metadata->n_tags; i++) {
        if (i)
            ty_buf_add_byte(out, ' ');
        add_label(out, metadata->tags[i]);
    }
    ty_buf_add_byte(out, 0);
    if (type > 0 && type < sizeof types / sizeof *types)
        add(out, "arg=--model_type=%s", types[type]);
}

static void add_train(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out)
{
    const Metadata *metadata = job->metadata;
    add_step(out, 2, 0);
    add(out, "cwd=%s/datasets/%s", options->store_dir, metadata->dataset_id);
    add(out, "arg=%s", job->container->python);
    add(out, "arg=-m");
    add(out, "arg=model.training");
    add(out, "arg=--dataset_file=%s/datasets/%s/dataset.jsonl", options->store_dir, metadata->dataset_id);
    add(out, "arg=--model_output_directory=%s/output", options->dir);
    if (metadata->n_tags)
        add_labels(metadata, out);
    add_arguments(metadata, out);
}

static void add_collect(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out)
{
    add_step(out, 3, options->collect_timeout_ms);
    add(out, "arg=%s", options->stage_path);
    add(out, "arg=collect");
    add_model(job->metadata, options, out);
    add_option(out, "job", options->id);
    add(out, "arg=--fence");
    add(out, "arg=%" PRIu64, options->fence);
}

int ty_plan_build(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out, struct ty_err *err)
{
    add_head(job, options, out);
    add_environment(job, options, out);
    add_prepare(job, options, out);
    add_install(job, options, out);
    add_train(job, options, out);
    add_collect(job, options, out);
    if (out->len > TY_EXEC_PLAN_BYTES)
        return ty_err_set(err, TY_EINVALID, "the job's plan has %zu bytes; %u are allowed", out->len, TY_EXEC_PLAN_BYTES);
    return 0;
}
