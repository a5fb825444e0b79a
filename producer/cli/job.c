#include "producer/cli/job.h"

#include <string.h>

#include "core/buf.h"
#include "core/record.h"
#include "core/wire.h"
#include "producer/cli/names.h"
#include "producer/cli/text.h"
#include "producer/cli/verb.h"
#include "producer/cli/when.h"

#define TYPES (&viam__app__mltraining__v1__model_type__descriptor)
#define FRAMEWORKS (&viam__app__mltraining__v1__model_framework__descriptor)
#define STATUSES (&viam__app__mltraining__v1__training_status__descriptor)
#define LABEL_COLUMNS 14

const char *ty_job_status(const TyJobMetadata *job)
{
    static char unknown[32];
    const char *name = ty_names_of(STATUSES, (int)job->status);
    if (name)
        return name;
    snprintf(unknown, sizeof unknown, "UNKNOWN(%d)", (int)job->status);
    return unknown;
}

bool ty_job_is_terminal(const TyJobMetadata *job)
{
    int status = (int)job->status;
    return status == TY_JOB_COMPLETED || status == TY_JOB_FAILED || status == TY_JOB_CANCELED;
}

int ty_job_exit(const TyJobMetadata *job)
{
    int status = (int)job->status;
    return status == TY_JOB_FAILED ? TY_EXIT_FAILED : status == TY_JOB_CANCELED ? TY_EXIT_CANCELED : 0;
}

enum ty_color ty_job_color(const TyJobMetadata *job)
{
    switch ((int)job->status) {
    case TY_JOB_COMPLETED: return TY_COLOR_GREEN;
    case TY_JOB_FAILED: return TY_COLOR_RED;
    case TY_JOB_IN_PROGRESS: return TY_COLOR_CYAN;
    case TY_JOB_CANCELING:
    case TY_JOB_CANCELED: return TY_COLOR_YELLOW;
    default: return TY_COLOR_NONE;
    }
}

// ---- JSON ----

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *time_or_null(const Google__Protobuf__Timestamp *timestamp)
{
    char out[TY_WHEN_BYTES];
    return timestamp ? json_string(ty_when_rfc3339(ty_when_us(timestamp), out)) : json_null();
}

static json_t *enum_or_null(const ProtobufCEnumDescriptor *descriptor, int value)
{
    const char *name = ty_names_of(descriptor, value);
    return name ? json_string(name) : value ? json_integer(value) : json_null();
}

// The names of all gRPC statuses: a job may have one that the project itself never uses.
static const char *status_name(int code)
{
    static const char *const names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"};
    return code >= 0 && (size_t)code < sizeof names / sizeof *names ? names[code] : "UNKNOWN";
}

static json_t *error_or_null(const Google__Rpc__Status *status)
{
    if (!status)
        return json_null();
    return json_pack("{s:i, s:s, s:s}", "code", (int)status->code, "name", status_name(status->code), "message",
                     status->message);
}

static json_t *arguments_object(const TyJobMetadata *job)
{
    json_t *object = json_object();
    for (size_t i = 0; i < job->n_arguments; i++)
        json_object_set_new(object, job->arguments[i]->key, json_string(job->arguments[i]->value));
    return object;
}

static json_t *tags_array(const TyJobMetadata *job)
{
    json_t *array = json_array();
    for (size_t i = 0; i < job->n_tags; i++)
        json_array_append_new(array, json_string(job->tags[i]));
    return array;
}

json_t *ty_job_json(const TyJobMetadata *job)
{
    json_t *object = json_object();
    json_object_set_new(object, "id", json_string(job->id));
    json_object_set_new(object, "status", json_string(ty_job_status(job)));
    json_object_set_new(object, "organization_id", text_or_null(job->organization_id));
    json_object_set_new(object, "dataset_id", text_or_null(job->dataset_id));
    json_object_set_new(object, "model_name", text_or_null(job->model_name));
    json_object_set_new(object, "model_version", text_or_null(job->model_version));
    json_object_set_new(object, "synced_model_id", text_or_null(job->synced_model_id));
    json_object_set_new(object, "is_custom_job", json_boolean(job->is_custom_job));
    json_object_set_new(object, "registry_item_id", text_or_null(job->registry_item_id));
    json_object_set_new(object, "registry_item_version", text_or_null(job->registry_item_version));
    json_object_set_new(object, "container_version", text_or_null(job->container_version));
    json_object_set_new(object, "arguments", arguments_object(job));
    json_object_set_new(object, "model_type", enum_or_null(TYPES, (int)job->model_type));
    json_object_set_new(object, "model_framework", enum_or_null(FRAMEWORKS, (int)job->model_framework));
    json_object_set_new(object, "tags", tags_array(job));
    json_object_set_new(object, "created_on", time_or_null(job->created_on));
    json_object_set_new(object, "last_modified", time_or_null(job->last_modified));
    json_object_set_new(object, "training_started", time_or_null(job->training_started));
    json_object_set_new(object, "training_ended", time_or_null(job->training_ended));
    json_object_set_new(object, "error_status", error_or_null(job->error_status));
    return object;
}

// ---- for people ----

struct printer {
    FILE *out;
    int64_t now_us;
    bool use_color;
};

// Lines of a value behind its first stand below it.
static void put_value(const struct printer *printer, const char *label, enum ty_color color, const char *value)
{
    TY_BUF(safe);
    ty_text_add_safe(&safe, value, strlen(value), true);
    char *line = ty_buf_text(&safe);
    fprintf(printer->out, "%s%-*s%s", ty_color_on(TY_COLOR_DIM, printer->use_color), LABEL_COLUMNS, label,
            ty_color_off(TY_COLOR_DIM, printer->use_color));
    for (bool is_first = true; line; is_first = false) {
        char *end = strchr(line, '\n');
        if (end)
            *end = 0;
        fprintf(printer->out, "%*s%s%s%s\n", is_first ? 0 : LABEL_COLUMNS, "", ty_color_on(color, printer->use_color), line,
                ty_color_off(color, printer->use_color));
        line = end && end[1] ? end + 1 : NULL;
    }
}

static void put_text(const struct printer *printer, const char *label, const char *value)
{
    if (*value)
        put_value(printer, label, TY_COLOR_NONE, value);
}

static void put_time(const struct printer *printer, const char *label, const Google__Protobuf__Timestamp *timestamp,
                     const char *more)
{
    char utc[TY_WHEN_BYTES], ago[TY_WHEN_BYTES];
    if (!timestamp)
        return;
    int64_t time_us = ty_when_us(timestamp);
    char *text TY_FREE =
        ty_xasprintf("%s (%s%s)", ty_when_utc(time_us, utc), ty_when_ago(time_us, printer->now_us, ago), more);
    put_value(printer, label, TY_COLOR_NONE, text);
}

static void put_enum(const struct printer *printer, const char *label, const ProtobufCEnumDescriptor *descriptor, int value)
{
    TY_BUF(words);
    if (!value)
        return;
    ty_names_add_words(&words, descriptor, value);
    put_value(printer, label, TY_COLOR_NONE, ty_buf_text(&words));
}

static void put_work(const struct printer *printer, const TyJobMetadata *job)
{
    TY_BUF(tags);
    if (job->is_custom_job) {
        char *script TY_FREE = ty_xasprintf("%s %s", job->registry_item_id,
                                            *job->registry_item_version ? job->registry_item_version : "(newest version)");
        put_value(printer, "Script", TY_COLOR_NONE, script);
    }
    put_enum(printer, "Model type", TYPES, (int)job->model_type);
    put_enum(printer, "Framework", FRAMEWORKS, (int)job->model_framework);
    put_text(printer, "Container", job->container_version);
    for (size_t i = 0; i < job->n_tags; i++) {
        ty_buf_add_text(&tags, i ? ", " : "");
        ty_buf_add_text(&tags, job->tags[i]);
    }
    put_text(printer, "Tags", ty_buf_text(&tags));
    for (size_t i = 0; i < job->n_arguments; i++) {
        char *pair TY_FREE = ty_xasprintf("%s=%s", job->arguments[i]->key, job->arguments[i]->value);
        put_value(printer, i ? "" : "Arguments", TY_COLOR_NONE, pair);
    }
}

static void put_times(const struct printer *printer, const TyJobMetadata *job)
{
    char took[TY_WHEN_BYTES], more[TY_WHEN_BYTES + 16] = "";
    put_time(printer, "Created", job->created_on, "");
    put_time(printer, "Started", job->training_started, "");
    if (job->training_started && job->training_ended)
        snprintf(more, sizeof more, "; ran %s",
                 ty_when_duration(ty_when_us(job->training_ended) - ty_when_us(job->training_started), took));
    put_time(printer, "Ended", job->training_ended, more);
    put_time(printer, "Last change", job->last_modified, "");
}

void ty_job_print(const TyJobMetadata *job, const char *retry_of, const char *waits_for, int64_t now_us, FILE *out, bool use_color)
{
    struct printer printer = {.out = out, .now_us = now_us, .use_color = use_color};
    char *model TY_FREE = ty_xasprintf("%s %s", job->model_name, job->model_version);
    put_value(&printer, "Job", TY_COLOR_BOLD, job->id);
    put_value(&printer, "Status", ty_job_color(job), ty_job_status(job));
    if (job->error_status) {
        const char *message = job->error_status->message;
        put_value(&printer, "Error", TY_COLOR_RED, *message ? message : status_name(job->error_status->code));
    }
    put_text(&printer, "Waits for", waits_for);
    put_text(&printer, "Organization", job->organization_id);
    put_text(&printer, "Data set", job->dataset_id);
    put_text(&printer, "Model", model);
    put_text(&printer, "Model id", job->synced_model_id);
    put_text(&printer, "Retry of", retry_of);
    put_work(&printer, job);
    put_times(&printer, job);
}

// ---- rows ----

struct ty_table *ty_job_table_new(void)
{
    static const char *const headers[] = {"JOB", "STATUS", "CREATED", "RAN", "MODEL", "DATA SET", "SCRIPT OR TYPE"};
    return ty_table_new(headers, sizeof headers / sizeof *headers);
}

static void add_run_time(struct ty_table *table, const TyJobMetadata *job, int64_t now_us)
{
    char out[TY_WHEN_BYTES] = "-";
    if (job->training_started && (job->training_ended || !ty_job_is_terminal(job)))
        ty_when_duration((job->training_ended ? ty_when_us(job->training_ended) : now_us) - ty_when_us(job->training_started),
                         out);
    ty_table_add(table, TY_COLOR_NONE, out);
}

void ty_job_table_add(struct ty_table *table, const TyJobMetadata *job, int64_t now_us)
{
    char ago[TY_WHEN_BYTES] = "-";
    TY_BUF(work);
    char *model TY_FREE = ty_xasprintf("%s %s", job->model_name, job->model_version);
    if (job->created_on)
        ty_when_ago(ty_when_us(job->created_on), now_us, ago);
    if (job->is_custom_job)
        ty_buf_add_format(&work, "%s%s%s", job->registry_item_id, *job->registry_item_version ? " " : "",
                          job->registry_item_version);
    else
        ty_names_add_words(&work, TYPES, (int)job->model_type);
    ty_table_add(table, TY_COLOR_NONE, job->id);
    ty_table_add(table, ty_job_color(job), ty_job_status(job));
    ty_table_add(table, TY_COLOR_NONE, ago);
    add_run_time(table, job, now_us);
    ty_table_add(table, TY_COLOR_NONE, model);
    ty_table_add(table, TY_COLOR_NONE, *job->dataset_id ? job->dataset_id : "-");
    ty_table_add(table, TY_COLOR_NONE, ty_buf_text(&work));
}

// ---- from the responder ----

int ty_job_fetch(struct ty_rpc_client *client, const char *id, TyJobAnswer **ret_answer, struct ty_err *err)
{
    Viam__App__Mltraining__V1__GetTrainingJobRequest request = VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_REQUEST__INIT;
    ProtobufCMessage *message;
    request.id = (char *)id;
    if (ty_rpc_client_call(client, "GetTrainingJob", &request.base,
                           &viam__app__mltraining__v1__get_training_job_response__descriptor, &message, err) < 0)
        return -(int)err->code;
    TyJobAnswer *answer = (TyJobAnswer *)message;
    if (!answer->metadata) {
        ty_job_free(answer);
        return ty_err_set(err, TY_EDATALOSS, "%s: an answer without a job", ty_rpc_client_server(client));
    }
    *ret_answer = answer;
    return 0;
}

int ty_job_options(const struct ty_rpc_client *client, Trainyard__V1__JobOptions **ret_options, struct ty_err *err)
{
    size_t len;
    const uint8_t *bytes = ty_rpc_client_trailing_bytes(client, "trainyard-options-bin", &len);
    const char *count = ty_rpc_client_trailing(client, "trainyard-options-bytes");
    ProtobufCMessage *message;
    if (!bytes && !count)
        return ty_err_set(err, TY_EUNIMPLEMENTED, "responder %s: it is of a version that does not tell a job's options",
                          ty_rpc_client_server(client));
    if (!bytes && strcmp(count, "0") != 0)
        return ty_err_set(err, TY_EPRECONDITION, "the job's options have %.20s bytes, which is more than the responder tells", count);
    if (ty_wire_unpack(&trainyard__v1__job_options__descriptor, bytes, bytes ? len : 0, &message, err) < 0) {
        err->code = TY_EDATALOSS;
        return ty_err_prefix(err, "responder %s: the job's options cannot be read", ty_rpc_client_server(client));
    }
    *ret_options = (Trainyard__V1__JobOptions *)message;
    return 0;
}

void ty_job_free(TyJobAnswer *answer)
{
    if (answer)
        protobuf_c_message_free_unpacked(&answer->base, NULL);
}
