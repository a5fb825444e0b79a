#include "producer/request.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"

#define STRUCT_BYTES_MAX 4096 // a larger size is memory that nobody initialised
#define TRACEPARENT_BYTES 55

typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry Argument;
typedef Trainyard__V1__JobOptions__LabelsEntry Label;

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

int ty_request_copy(void *out, size_t out_size, size_t first_size, const void *from, const char *name, const char *macro,
                    struct ty_err *err)
{
    size_t size;
    if (!from)
        return ty_err_set(err, TY_EINVALID, "struct %s: is NULL", name);
    memcpy(&size, from, sizeof size);
    if (size < first_size || size > STRUCT_BYTES_MAX)
        return ty_err_set(err, TY_EINVALID, "struct %s: size is %zu; initialise it with %s", name, size, macro);
    for (size_t i = out_size; i < size; i++)
        if (((const unsigned char *)from)[i])
            return ty_err_set(err, TY_EINVALID, "struct %s: a member is set that this version of the library does not have",
                              name);
    memset(out, 0, out_size);
    memcpy(out, from, size < out_size ? size : out_size);
    return 0;
}

static char *text_or_empty(const char *text)
{
    return (char *)(text ? text : "");
}

static int check_list(const char *field, const void *list, size_t count, size_t max, struct ty_err *err)
{
    if (count && !list)
        return ty_err_set(err, TY_EINVALID, "%s: the list is NULL but its count is %zu", field, count);
    // Before anything is allocated for it; the exact rules come later.
    if (count > max)
        return ty_err_set(err, TY_EINVALID, "%s has %zu entries; at most %zu are allowed", field, count, max);
    return 0;
}

static int check_pairs(const char *field, const struct trainyard_pair *pairs, size_t count, size_t max, struct ty_err *err)
{
    if (check_list(field, pairs, count, max, err) < 0)
        return -TY_EINVALID;
    for (size_t i = 0; i < count; i++)
        if (!pairs[i].key || !pairs[i].value)
            return ty_err_set(err, TY_EINVALID, "%s: entry %zu has NULL for its %s", field, i,
                              pairs[i].key ? "value" : "key");
    return 0;
}

static int check_traceparent(const char *traceparent, struct ty_err *err)
{
    if (traceparent &&
        (strlen(traceparent) != TRACEPARENT_BYTES || strspn(traceparent, "0123456789abcdef-") != TRACEPARENT_BYTES))
        return ty_err_set(err, TY_EINVALID, "traceparent is not of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>");
    return 0;
}

static int parse_job_id(const char *text, struct ty_id *ret_id, struct ty_err *err)
{
    return ty_id_parse(text, ret_id, err) < 0 ? ty_err_set(err, TY_EINVALID, "job_id is not a UUID") : 0;
}

// ---- options ----

// The message and what it points to.
struct options {
    Trainyard__V1__JobOptions message;
    Trainyard__V1__Resources resources;
    Trainyard__V1__RetryPolicy retry;
    Label *labels;
    Label **list;
};

static int retry_init(struct options *options, const struct trainyard_job_options *job, struct ty_err *err)
{
    if (check_list("options.retry.exit_codes", job->retry_exit_codes, job->retry_exit_code_count, TY_LIMIT_EXIT_CODES, err) < 0 ||
        check_list("options.retry.no_retry_exit_codes", job->no_retry_exit_codes, job->no_retry_exit_code_count,
                   TY_LIMIT_EXIT_CODES, err) < 0)
        return -TY_EINVALID;
    options->retry.on_error = job->retry_on_error;
    options->retry.exit_codes = (uint32_t *)job->retry_exit_codes;
    options->retry.n_exit_codes = job->retry_exit_code_count;
    options->retry.no_retry_exit_codes = (uint32_t *)job->no_retry_exit_codes;
    options->retry.n_no_retry_exit_codes = job->no_retry_exit_code_count;
    options->retry.base_ms = job->retry_base_ms;
    options->retry.max_ms = job->retry_max_ms;
    if (protobuf_c_message_get_packed_size(&options->retry.base))
        options->message.retry = &options->retry;
    options->message.retry_of = text_or_empty(job->retry_of);
    return 0;
}

static int options_init(struct options *options, const struct trainyard_job_options *from, struct ty_err *err)
{
    struct trainyard_job_options job;
    *options = (struct options){.message = TRAINYARD__V1__JOB_OPTIONS__INIT, .resources = TRAINYARD__V1__RESOURCES__INIT,
                                .retry = TRAINYARD__V1__RETRY_POLICY__INIT};
    if (!from)
        return 0;
    if (ty_request_copy(&job, sizeof job, END_OF(struct trainyard_job_options, memory_bytes), from, "trainyard_job_options",
                        "TRAINYARD_JOB_OPTIONS_INIT", err) < 0 ||
        check_pairs("options.labels", job.labels, job.label_count, TY_LIMIT_LABELS, err) < 0 ||
        retry_init(options, &job, err) < 0)
        return -TY_EINVALID;
    options->message.priority = job.priority;
    options->message.max_runtime_s = job.max_runtime_s;
    options->message.max_wait_s = job.max_wait_s;
    options->message.max_attempts = job.max_attempts;
    options->message.on_lost_lease = (Trainyard__V1__OnLostLease)job.on_lost_lease;
    options->message.idempotency_key = text_or_empty(job.idempotency_key);
    options->resources.cpu_millis = job.cpu_millis;
    options->resources.memory_bytes = job.memory_bytes;
    options->resources.gpus = job.gpus;
    if (job.cpu_millis || job.memory_bytes || job.gpus)
        options->message.resources = &options->resources;
    options->labels = ty_xcalloc(job.label_count, sizeof *options->labels);
    options->list = ty_xcalloc(job.label_count, sizeof(Label *));
    for (size_t i = 0; i < job.label_count; i++) {
        options->labels[i] = (Label)TRAINYARD__V1__JOB_OPTIONS__LABELS_ENTRY__INIT;
        options->labels[i].key = (char *)job.labels[i].key;
        options->labels[i].value = (char *)job.labels[i].value;
        options->list[i] = &options->labels[i];
    }
    options->message.labels = options->list;
    options->message.n_labels = job.label_count;
    return 0;
}

static void options_done(struct options *options)
{
    free(options->labels);
    free(options->list);
}

// ---- records ----

static void encode(enum ty_command_kind kind, const char *issuer, const Trainyard__V1__JobOptions *options,
                   const ProtobufCMessage *message, struct ty_request *request)
{
    struct ty_token command_id = ty_token_new();
    // Options that ask for nothing stay away from the wire.
    if (options && !protobuf_c_message_get_packed_size(&options->base))
        options = NULL;
    ty_command_encode(kind, &request->job_id, command_id.bytes, ty_clock_wall_us(), issuer, options, message,
                      &request->record);
}

// The id that was asked for, else the idempotency key's, else a new one.
static int choose_id(const char *job_id, const char *organization, const char *key, struct ty_id *ret_id,
                     struct ty_err *err)
{
    struct ty_id of_key;
    if (*key)
        of_key = ty_id_from_key(organization, key);
    if (!job_id) {
        *ret_id = *key ? of_key : ty_id_new();
        return 0;
    }
    if (parse_job_id(job_id, ret_id, err) < 0)
        return -TY_EINVALID;
    if (*key && !ty_id_equal(ret_id, &of_key))
        return ty_err_set(err, TY_EINVALID, "job_id is not the one that options.idempotency_key gives");
    return 0;
}

static int finish_submit(const Managed *managed, const Custom *custom, const struct options *options, const char *job_id,
                         const char *traceparent, const char *issuer, struct ty_request *ret_request, struct ty_err *err)
{
    struct ty_request request = {.topic = "submit", .traceparent = traceparent};
    const char *organization = managed ? managed->organization_id : custom->organization_id;
    if (ty_spec_check(managed, custom, &options->message, err) < 0 || check_traceparent(traceparent, err) < 0 ||
        choose_id(job_id, organization, options->message.idempotency_key, &request.job_id, err) < 0)
        return -TY_EINVALID;
    encode(managed ? TY_COMMAND_SUBMIT : TY_COMMAND_SUBMIT_CUSTOM, issuer, &options->message,
           managed ? &managed->base : &custom->base, &request);
    *ret_request = request;
    return 0;
}

int ty_request_managed(const struct trainyard_managed_job *from, const char *issuer, struct ty_request *ret_request,
                       struct ty_err *err)
{
    struct trainyard_managed_job job;
    struct options options;
    Managed message = VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    if (ty_request_copy(&job, sizeof job, END_OF(struct trainyard_managed_job, traceparent), from, "trainyard_managed_job",
                        "TRAINYARD_MANAGED_JOB_INIT", err) < 0 ||
        check_list("tags", job.tags, job.tag_count, TY_LIMIT_TAGS, err) < 0)
        return -TY_EINVALID;
    for (size_t i = 0; i < job.tag_count; i++)
        if (!job.tags[i])
            return ty_err_set(err, TY_EINVALID, "tags[%zu] is NULL", i);
    if (options_init(&options, job.options, err) < 0)
        return -TY_EINVALID;
    message.organization_id = text_or_empty(job.organization_id);
    message.dataset_id = text_or_empty(job.dataset_id);
    message.model_name = text_or_empty(job.model_name);
    message.model_version = text_or_empty(job.model_version);
    message.model_type = (Viam__App__Mltraining__V1__ModelType)job.model_type;
    message.model_framework = (Viam__App__Mltraining__V1__ModelFramework)job.model_framework;
    message.tags = (char **)job.tags;
    message.n_tags = job.tag_count;
    int rc = finish_submit(&message, NULL, &options, job.job_id, job.traceparent, issuer, ret_request, err);
    options_done(&options);
    return rc;
}

int ty_request_custom(const struct trainyard_custom_job *from, const char *issuer, struct ty_request *ret_request,
                      struct ty_err *err)
{
    struct trainyard_custom_job job;
    struct options options;
    Custom message = VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    if (ty_request_copy(&job, sizeof job, END_OF(struct trainyard_custom_job, traceparent), from, "trainyard_custom_job",
                        "TRAINYARD_CUSTOM_JOB_INIT", err) < 0 ||
        check_pairs("arguments", job.arguments, job.argument_count, TY_LIMIT_ARGUMENTS, err) < 0 ||
        options_init(&options, job.options, err) < 0)
        return -TY_EINVALID;
    Argument *arguments TY_FREE = ty_xcalloc(job.argument_count, sizeof *arguments);
    Argument **list TY_FREE = ty_xcalloc(job.argument_count, sizeof(Argument *));
    for (size_t i = 0; i < job.argument_count; i++) {
        arguments[i] = (Argument)VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__ARGUMENTS_ENTRY__INIT;
        arguments[i].key = (char *)job.arguments[i].key;
        arguments[i].value = (char *)job.arguments[i].value;
        list[i] = &arguments[i];
    }
    message.organization_id = text_or_empty(job.organization_id);
    message.dataset_id = text_or_empty(job.dataset_id);
    message.model_name = text_or_empty(job.model_name);
    message.model_version = text_or_empty(job.model_version);
    message.registry_item_id = text_or_empty(job.registry_item_id);
    message.registry_item_version = text_or_empty(job.registry_item_version);
    message.container_version = text_or_empty(job.container_version);
    message.arguments = list;
    message.n_arguments = job.argument_count;
    int rc = finish_submit(NULL, &message, &options, job.job_id, job.traceparent, issuer, ret_request, err);
    options_done(&options);
    return rc;
}

int ty_request_control(enum ty_command_kind kind, const char *job_id, const char *traceparent, const char *issuer,
                       struct ty_request *ret_request, struct ty_err *err)
{
    struct ty_request request = {.topic = kind == TY_COMMAND_CANCEL ? "cancel" : "delete", .traceparent = traceparent};
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel =
        VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__DeleteCompletedTrainingJobRequest delete_ =
        VIAM__APP__MLTRAINING__V1__DELETE_COMPLETED_TRAINING_JOB_REQUEST__INIT;
    char text[TY_ID_TEXT_BYTES];
    if (!job_id)
        return ty_err_set(err, TY_EINVALID, "job_id is NULL");
    if (parse_job_id(job_id, &request.job_id, err) < 0 || check_traceparent(traceparent, err) < 0)
        return -TY_EINVALID;
    cancel.id = delete_.id = (char *)ty_id_format(&request.job_id, text);
    encode(kind, issuer, NULL, kind == TY_COMMAND_CANCEL ? &cancel.base : &delete_.base, &request);
    *ret_request = request;
    return 0;
}

void ty_request_done(struct ty_request *request)
{
    ty_buf_done(&request->record);
}
