#include "producer/cli/job_details.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "producer/cli/names.h"
#include "producer/cli/table.h"
#include "producer/cli/text.h"
#include "producer/cli/when.h"

#define LABEL_COLUMNS 14
#define WORDS_METRICS 4 // in one line

int ty_job_details_get(struct ty_rpc_client *client, const char *id, TyJobDetails **ret_details, struct ty_err *err)
{
    Trainyard__V1__GetJobRequest request = TRAINYARD__V1__GET_JOB_REQUEST__INIT;
    ProtobufCMessage *message;
    request.id = (char *)id;
    if (ty_rpc_client_call(client, "/trainyard.v1.JobService/GetJob", &request.base, &trainyard__v1__get_job_reply__descriptor,
                           &message, err) < 0)
        return -(int)err->code;
    TyJobDetails *details = (TyJobDetails *)message;
    if (!details->job) {
        ty_job_details_free(details);
        return ty_err_set(err, TY_EDATALOSS, "%s: an answer without a job", ty_rpc_client_server(client));
    }
    *ret_details = details;
    return 0;
}

TyJobDetails *ty_job_details_fetch(struct ty_rpc_client *client, const char *id)
{
    TyJobDetails *details = NULL;
    struct ty_err err;
    return ty_job_details_get(client, id, &details, &err) == 0 ? details : NULL;
}

void ty_job_details_free(TyJobDetails *details)
{
    if (details)
        trainyard__v1__get_job_reply__free_unpacked(details, NULL);
}

// ---- JSON ----

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *time_or_null(const Google__Protobuf__Timestamp *time)
{
    char when[TY_WHEN_BYTES];
    return time ? json_string(ty_when_rfc3339(ty_when_us(time), when)) : json_null();
}

// JSON has no others than finite ones.
static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_string(isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
}

static json_t *metric_json(const Trainyard__V1__Metric *metric)
{
    return json_pack("{s:o, s:I, s:o, s:o, s:o, s:I}", "value", real(metric->value), "step", (json_int_t)metric->step, "time",
                     time_or_null(metric->time), "least", real(metric->least), "greatest", real(metric->greatest), "count",
                     (json_int_t)metric->count);
}

json_t *ty_job_progress_json(const TyJobProgress *progress)
{
    if (!progress)
        return json_null();
    json_t *metrics = json_object();
    for (size_t i = 0; i < progress->n_metrics; i++)
        json_object_set_new(metrics, progress->metrics[i]->name, metric_json(progress->metrics[i]));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "attempt", (json_int_t)progress->attempt, "time",
                     time_or_null(progress->time), "fraction", progress->_fraction_case ? json_real(progress->fraction) : json_null(),
                     "step", progress->_step_case ? json_integer((json_int_t)progress->step) : json_null(), "steps",
                     progress->_steps_case ? json_integer((json_int_t)progress->steps) : json_null(), "message",
                     text_or_null(progress->message), "metrics", metrics);
}

void ty_job_details_json(const TyJobDetails *details, json_t *object)
{
    static const char *const names[] = {"labels", "attempt", "stage", "reason", "worker", "losses", "errors", "wait_until",
                                        "progress"};
    const Trainyard__V1__Job *job = details ? details->job : NULL;
    if (!job) {
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            json_object_set_new(object, names[i], json_null());
        return;
    }
    json_t *labels = json_object();
    for (size_t i = 0; job->options && i < job->options->n_labels; i++)
        json_object_set_new(labels, job->options->labels[i]->key, json_string(job->options->labels[i]->value));
    json_object_set_new(object, "labels", labels);
    json_object_set_new(object, "attempt", json_integer((json_int_t)job->attempt));
    json_object_set_new(object, "stage", text_or_null(job->stage));
    json_object_set_new(object, "reason", text_or_null(job->reason));
    json_object_set_new(object, "worker", text_or_null(job->worker));
    json_object_set_new(object, "losses", json_integer((json_int_t)job->losses));
    json_object_set_new(object, "errors", json_integer((json_int_t)job->errors));
    json_object_set_new(object, "wait_until", time_or_null(job->wait_until));
    json_object_set_new(object, "progress", ty_job_progress_json(details->progress));
}

// ---- for people ----

void ty_job_progress_words(const TyJobProgress *progress, struct ty_buf *out)
{
    const char *comma = "";
    if (!progress)
        return;
    if (progress->_fraction_case) {
        ty_buf_add_format(out, "%.0f %%", floor(progress->fraction * 100));
        comma = ", ";
    }
    if (progress->_step_case) {
        ty_buf_add_format(out, "%sstep %" PRIu64, comma, progress->step);
        if (progress->_steps_case)
            ty_buf_add_format(out, " of %" PRIu64, progress->steps);
        comma = ", ";
    }
    for (size_t i = 0; i < progress->n_metrics && i < WORDS_METRICS; i++, comma = ", ")
        ty_buf_add_format(out, "%s%s %.6g", comma, progress->metrics[i]->name, progress->metrics[i]->value);
    if (progress->n_metrics > WORDS_METRICS)
        ty_buf_add_format(out, ", and %zu more metrics", progress->n_metrics - WORDS_METRICS);
    if (*progress->message)
        ty_buf_add_format(out, "%s%s", *comma ? ": " : "", progress->message);
}

static void put(FILE *out, bool use_color, const char *label, const char *value)
{
    TY_BUF(safe);
    if (!*value)
        return;
    ty_text_add_safe(&safe, value, strlen(value), false);
    fprintf(out, "%s%-*s%s%s\n", ty_color_on(TY_COLOR_DIM, use_color), LABEL_COLUMNS, label, ty_color_off(TY_COLOR_DIM, use_color),
            ty_buf_text(&safe));
}

void ty_job_details_print(const TyJobDetails *details, FILE *out, bool use_color)
{
    TY_BUF(text);
    char when[TY_WHEN_BYTES];
    if (!details)
        return;
    const Trainyard__V1__Job *job = details->job;
    for (size_t i = 0; job->options && i < job->options->n_labels; i++)
        ty_buf_add_format(&text, "%s%s=%s", i ? ", " : "", job->options->labels[i]->key, job->options->labels[i]->value);
    put(out, use_color, "Labels", ty_buf_text(&text));
    ty_buf_clear(&text);
    if (job->wait_until)
        ty_buf_add_format(&text, "%s; then it fails", ty_when_utc(ty_when_us(job->wait_until), when));
    put(out, use_color, "Waits until", ty_buf_text(&text));
    ty_buf_clear(&text);
    if (job->attempt)
        ty_buf_add_format(&text, "%" PRIu32 "%s%s, stage %s", job->attempt, *job->worker ? " on " : "", job->worker, job->stage);
    put(out, use_color, "Attempt", ty_buf_text(&text));
    ty_buf_clear(&text);
    ty_job_progress_words(details->progress, &text);
    if (details->progress && details->progress->attempt != job->attempt)
        ty_buf_add_format(&text, " (attempt %" PRIu32 ")", details->progress->attempt);
    put(out, use_color, "Progress", ty_buf_text(&text));
}
