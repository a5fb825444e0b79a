// A job as text and as JSON, whatever the responder says of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/cli/job.h"
#include "producer/cli/verb.h"

#define NOW (INT64_C(1795545744) * 1000000)

typedef Viam__App__Mltraining__V1__TrainingJobMetadata__ArgumentsEntry Argument;

struct sample {
    TyJobMetadata job;
    Argument arguments[2], *argument_pointers[2];
    char *tags[2];
    Google__Protobuf__Timestamp created, started, ended;
    Google__Rpc__Status error;
};

static void init_sample(struct sample *sample)
{
    viam__app__mltraining__v1__training_job_metadata__init(&sample->job);
    for (int i = 0; i < 2; i++) {
        viam__app__mltraining__v1__training_job_metadata__arguments_entry__init(&sample->arguments[i]);
        sample->argument_pointers[i] = &sample->arguments[i];
    }
    google__protobuf__timestamp__init(&sample->created);
    google__protobuf__timestamp__init(&sample->started);
    google__protobuf__timestamp__init(&sample->ended);
    google__rpc__status__init(&sample->error);
    sample->arguments[0].key = (char *)"epochs";
    sample->arguments[0].value = (char *)"20";
    sample->arguments[1].key = (char *)"labels";
    sample->arguments[1].value = (char *)"'a=1, b'";
    sample->tags[0] = (char *)"zero";
    sample->tags[1] = (char *)"one";
    sample->created.seconds = NOW / 1000000 - 3600;
    sample->started.seconds = sample->created.seconds + 60;
    sample->ended.seconds = sample->started.seconds + 185;
    sample->error.code = 9;
    sample->error.message = (char *)"the script ended with status 1\nlast lines:\n\033[31mboom\n";
}

static void fill(struct sample *sample)
{
    TyJobMetadata *job = &sample->job;
    job->id = (char *)"0d3ba45b";
    job->status = (Viam__App__Mltraining__V1__TrainingStatus)4;
    job->organization_id = (char *)"acme";
    job->model_name = (char *)"reader";
    job->model_version = (char *)"7";
    job->model_type = (Viam__App__Mltraining__V1__ModelType)1;
    job->model_framework = (Viam__App__Mltraining__V1__ModelFramework)4;
    job->arguments = sample->argument_pointers;
    job->n_arguments = 2;
    job->tags = sample->tags;
    job->n_tags = 2;
    job->created_on = &sample->created;
    job->training_started = &sample->started;
    job->training_ended = &sample->ended;
    job->error_status = &sample->error;
}

static char *print_retry(const TyJobMetadata *job, const char *retry_of)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    ty_job_print(job, retry_of, "", NOW, out, false);
    fclose(out);
    return text;
}

static char *print(const TyJobMetadata *job)
{
    return print_retry(job, "");
}

static void test_text(void **state)
{
    struct sample sample;
    (void)state;
    init_sample(&sample);
    fill(&sample);
    char *text = print(&sample.job);
    assert_string_equal(text, "Job           0d3ba45b\n"
                              "Status        FAILED\n"
                              "Error         the script ended with status 1\n"
                              "              last lines:\n"
                              "              \\x1b[31mboom\n"
                              "Organization  acme\n"
                              "Model         reader 7\n"
                              "Model type    single-label-classification\n"
                              "Framework     onnx\n"
                              "Tags          zero, one\n"
                              "Arguments     epochs=20\n"
                              "              labels='a=1, b'\n"
                              "Created       2026-11-24 17:42:24 UTC (1h ago)\n"
                              "Started       2026-11-24 17:43:24 UTC (59m ago)\n"
                              "Ended         2026-11-24 17:46:29 UTC (55m ago; ran 3m 05s)\n");
    free(text);
    text = print_retry(&sample.job, "9e1b2c3d");
    assert_non_null(strstr(text, "Model         reader 7\nRetry of      9e1b2c3d\nModel type "));
    free(text);
}

static void test_json(void **state)
{
    struct sample sample;
    const char *status, *message, *type, *started;
    int code;
    (void)state;
    init_sample(&sample);
    fill(&sample);
    json_t *job = ty_job_json(&sample.job);
    assert_int_equal(json_unpack(job, "{s:s, s:s, s:s, s:{s:i, s:s}}", "status", &status, "model_type", &type,
                                 "training_started", &started, "error_status", "code", &code, "message", &message), 0);
    assert_string_equal(status, "FAILED");
    assert_string_equal(type, "SINGLE_LABEL_CLASSIFICATION");
    assert_string_equal(started, "2026-11-24T17:43:24.000000Z");
    assert_int_equal(code, 9);
    assert_string_equal(json_string_value(json_object_get(json_object_get(job, "error_status"), "name")),
                        "FAILED_PRECONDITION");
    assert_string_equal(message, sample.error.message);
    assert_string_equal(json_string_value(json_object_get(json_object_get(job, "arguments"), "labels")), "'a=1, b'");
    assert_true(json_is_null(json_object_get(job, "dataset_id")));
    json_decref(job);
}

static void test_a_job_of_which_nothing_is_known(void **state)
{
    struct sample sample;
    (void)state;
    init_sample(&sample);
    json_t *empty = ty_job_json(&sample.job);
    fill(&sample);
    json_t *full = ty_job_json(&sample.job);
    assert_int_equal(json_object_size(empty), json_object_size(full)); // no field is left out
    const char *key;
    json_t *value;
    json_object_foreach(full, key, value)
        assert_non_null(json_object_get(empty, key));
    json_decref(empty);
    json_decref(full);
    init_sample(&sample);
    sample.job.status = (Viam__App__Mltraining__V1__TrainingStatus)77;
    assert_string_equal(ty_job_status(&sample.job), "UNKNOWN(77)");
    assert_false(ty_job_is_terminal(&sample.job));
    free(print(&sample.job));
}

static void test_ends(void **state)
{
    static const int ends[] = {-1, -1, -1, 0, TY_EXIT_FAILED, TY_EXIT_CANCELED, -1};
    struct sample sample;
    (void)state;
    init_sample(&sample);
    for (int status = 0; status <= 6; status++) {
        sample.job.status = (Viam__App__Mltraining__V1__TrainingStatus)status;
        assert_int_equal(ty_job_is_terminal(&sample.job), ends[status] >= 0);
        if (ends[status] >= 0)
            assert_int_equal(ty_job_exit(&sample.job), ends[status]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_a_job_of_which_nothing_is_known),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
