// producer/request: what a caller fills in becomes the record that the intake reads; what is wrong is named.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "producer/request.h"

static const char *const tags[] = {"zero", "one"};

static struct trainyard_managed_job a_managed(void)
{
    struct trainyard_managed_job job = TRAINYARD_MANAGED_JOB_INIT;
    job.organization_id = "org";
    job.dataset_id = "digits";
    job.model_name = "digit";
    job.model_version = "v1";
    job.model_type = TRAINYARD_SINGLE_LABEL_CLASSIFICATION;
    job.tags = tags;
    job.tag_count = 2;
    return job;
}

static struct trainyard_custom_job a_custom(void)
{
    struct trainyard_custom_job job = TRAINYARD_CUSTOM_JOB_INIT;
    job.organization_id = "org";
    job.dataset_id = "digits";
    job.model_name = "digit";
    job.model_version = "v1";
    job.registry_item_id = "org:script";
    return job;
}

// Reads the record as the intake does; frees the request.
static struct ty_command read_back(struct ty_request *request, enum ty_topic_kind topic)
{
    struct ty_command command;
    struct ty_err err;
    bool has_id;
    char key[TY_ID_TEXT_BYTES];
    ty_id_format(&request->job_id, key);
    if (ty_command_decode(topic, (const uint8_t *)key, strlen(key), request->record.data, request->record.len, &command,
                          &has_id, &err) < 0)
        fail_msg("%s", err.message);
    ty_request_done(request);
    return command;
}

static void managed_with_everything(void **state)
{
    (void)state;
    static const struct trainyard_pair labels[] = {{"team", "vision"}, {"run", "7"}};
    struct trainyard_job_options options = TRAINYARD_JOB_OPTIONS_INIT;
    struct trainyard_managed_job job = a_managed();
    struct ty_request request;
    struct ty_err err;
    options.priority = 7;
    options.max_runtime_s = 60;
    options.max_wait_s = 61;
    options.max_attempts = 3;
    options.on_lost_lease = TRAINYARD_LOST_LEASE_STOP;
    options.labels = labels;
    options.label_count = 2;
    options.cpu_millis = 500;
    options.gpus = 2;
    options.memory_bytes = (uint64_t)1 << 33;
    options.retry_on_error = true;
    options.no_retry_exit_codes = (const uint32_t[]){2, 64};
    options.no_retry_exit_code_count = 2;
    options.retry_exit_codes = (const uint32_t[]){127};
    options.retry_exit_code_count = 1;
    options.retry_base_ms = 1000;
    options.retry_max_ms = 60000;
    options.retry_of = "b0000000-0000-4000-8000-00000000000b";
    job.options = &options;
    job.model_framework = TRAINYARD_ONNX;
    job.job_id = "A0000000-0000-4000-8000-00000000000B";
    job.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_int_equal(ty_request_managed(&job, "shop", &request, &err), 0);
    assert_string_equal(request.topic, "submit");
    assert_ptr_equal(request.traceparent, job.traceparent);
    struct ty_command command = read_back(&request, TY_TOPIC_SUBMIT);
    const Trainyard__V1__JobCommand *message = command.message;
    assert_int_equal(command.kind, TY_COMMAND_SUBMIT);
    assert_string_equal(message->job_id, "a0000000-0000-4000-8000-00000000000b");
    assert_string_equal(message->issuer, "shop");
    assert_int_equal(message->command_id.len, 16);
    assert_true(message->issued_at->seconds > 1600000000);
    assert_string_equal(message->submit->organization_id, "org");
    assert_string_equal(message->submit->dataset_id, "digits");
    assert_string_equal(message->submit->model_name, "digit");
    assert_string_equal(message->submit->model_version, "v1");
    assert_int_equal(message->submit->model_type, 1);
    assert_int_equal(message->submit->model_framework, 4);
    assert_int_equal(message->submit->n_tags, 2);
    assert_string_equal(message->submit->tags[1], "one");
    const Trainyard__V1__JobOptions *asked = message->options;
    assert_int_equal(asked->priority, 7);
    assert_int_equal(asked->max_runtime_s, 60);
    assert_int_equal(asked->max_wait_s, 61);
    assert_int_equal(asked->max_attempts, 3);
    assert_int_equal(asked->on_lost_lease, 2);
    assert_int_equal(asked->n_labels, 2);
    assert_string_equal(asked->labels[0]->key, "team");
    assert_string_equal(asked->labels[1]->value, "7");
    assert_int_equal(asked->resources->cpu_millis, 500);
    assert_int_equal(asked->resources->gpus, 2);
    assert_true(asked->resources->memory_bytes == (uint64_t)1 << 33);
    assert_true(asked->retry->on_error);
    assert_int_equal(asked->retry->n_no_retry_exit_codes, 2);
    assert_int_equal(asked->retry->no_retry_exit_codes[1], 64);
    assert_int_equal(asked->retry->n_exit_codes, 1);
    assert_int_equal(asked->retry->exit_codes[0], 127);
    assert_int_equal(asked->retry->base_ms, 1000);
    assert_int_equal(asked->retry->max_ms, 60000);
    assert_string_equal(asked->retry_of, "b0000000-0000-4000-8000-00000000000b");
    ty_command_done(&command);
}

static void custom_with_everything(void **state)
{
    (void)state;
    static const struct trainyard_pair arguments[] = {{"epochs", "3"}, {"note", "a, b = \"c\""}};
    struct trainyard_custom_job job = a_custom();
    struct ty_request request;
    struct ty_err err;
    job.registry_item_version = "2";
    job.container_version = "no:such";
    job.arguments = arguments;
    job.argument_count = 2;
    assert_int_equal(ty_request_custom(&job, NULL, &request, &err), 0);
    struct ty_command command = read_back(&request, TY_TOPIC_SUBMIT);
    assert_int_equal(command.kind, TY_COMMAND_SUBMIT_CUSTOM);
    const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom = command.message->submit_custom;
    assert_string_equal(custom->registry_item_id, "org:script");
    assert_string_equal(custom->registry_item_version, "2");
    assert_string_equal(custom->container_version, "no:such");
    assert_int_equal(custom->n_arguments, 2);
    assert_string_equal(custom->arguments[1]->key, "note");
    assert_string_equal(custom->arguments[1]->value, "a, b = \"c\"");
    assert_null(command.message->options);
    assert_string_equal(command.message->issuer, "");
    ty_command_done(&command);
}

static void cancel_and_delete(void **state)
{
    (void)state;
    static const char id[] = "A0000000-0000-4000-8000-00000000000B";
    struct ty_request request;
    struct ty_err err;
    assert_int_equal(ty_request_control(TY_COMMAND_CANCEL, id, NULL, "shop", &request, &err), 0);
    assert_string_equal(request.topic, "cancel");
    struct ty_command command = read_back(&request, TY_TOPIC_CANCEL);
    assert_int_equal(command.kind, TY_COMMAND_CANCEL);
    assert_string_equal(command.message->cancel->id, "a0000000-0000-4000-8000-00000000000b");
    ty_command_done(&command);
    assert_int_equal(ty_request_control(TY_COMMAND_DELETE, id, NULL, "shop", &request, &err), 0);
    assert_string_equal(request.topic, "delete");
    command = read_back(&request, TY_TOPIC_DELETE);
    assert_int_equal(command.kind, TY_COMMAND_DELETE);
    ty_command_done(&command);
    assert_int_equal(ty_request_control(TY_COMMAND_DELETE, NULL, NULL, "", &request, &err), -TY_EINVALID);
    assert_string_equal(err.message, "job_id is NULL");
    assert_int_equal(ty_request_control(TY_COMMAND_DELETE, "17", NULL, "", &request, &err), -TY_EINVALID);
    assert_string_equal(err.message, "job_id is not a UUID");
}

static void ids(void **state)
{
    (void)state;
    struct trainyard_job_options options = TRAINYARD_JOB_OPTIONS_INIT;
    struct trainyard_custom_job job = a_custom();
    struct ty_request first, second;
    struct ty_err err;
    char text[TY_ID_TEXT_BYTES];
    assert_int_equal(ty_request_custom(&job, NULL, &first, &err), 0);
    assert_int_equal(ty_request_custom(&job, NULL, &second, &err), 0);
    assert_false(ty_id_equal(&first.job_id, &second.job_id));
    ty_request_done(&first);
    ty_request_done(&second);
    options.idempotency_key = "monday";
    job.options = &options;
    struct ty_id of_key = ty_id_from_key("org", "monday");
    assert_int_equal(ty_request_custom(&job, NULL, &first, &err), 0);
    assert_true(ty_id_equal(&first.job_id, &of_key));
    ty_request_done(&first);
    job.job_id = ty_id_format(&of_key, text);
    assert_int_equal(ty_request_custom(&job, NULL, &first, &err), 0);
    ty_request_done(&first);
    job.job_id = "a0000000-0000-4000-8000-00000000000b";
    assert_int_equal(ty_request_custom(&job, NULL, &first, &err), -TY_EINVALID);
    assert_string_equal(err.message, "job_id is not the one that options.idempotency_key gives");
}

static void managed_refused(const struct trainyard_managed_job *job, const char *message)
{
    struct ty_request request;
    struct ty_err err;
    assert_int_equal(ty_request_managed(job, NULL, &request, &err), -TY_EINVALID);
    assert_string_equal(err.message, message);
}

static void custom_refused(const struct trainyard_custom_job *job, const char *message)
{
    struct ty_request request;
    struct ty_err err;
    assert_int_equal(ty_request_custom(job, NULL, &request, &err), -TY_EINVALID);
    assert_string_equal(err.message, message);
}

static void wrong_input_is_named(void **state)
{
    (void)state;
    static const char *const holes[] = {"one", NULL};
    static const struct trainyard_pair no_key[] = {{NULL, "x"}}, no_value[] = {{"x", "y"}, {"z", NULL}};
    struct trainyard_job_options options = TRAINYARD_JOB_OPTIONS_INIT;
    struct trainyard_managed_job job = a_managed();
    struct trainyard_custom_job custom = a_custom();
    managed_refused(NULL, "struct trainyard_managed_job: is NULL");
    job.organization_id = NULL;
    managed_refused(&job, "organization_id is empty");
    job = a_managed();
    job.dataset_id = "a\xff";
    managed_refused(&job, "dataset_id is not valid UTF-8");
    job = a_managed();
    job.model_type = 9;
    managed_refused(&job, "model_type: there is no value 9");
    job = a_managed();
    job.tags = NULL;
    managed_refused(&job, "tags: the list is NULL but its count is 2");
    job.tags = holes;
    managed_refused(&job, "tags[1] is NULL");
    job = a_managed();
    job.tag_count = 1001;
    managed_refused(&job, "tags has 1001 entries; at most 1000 are allowed");
    job = a_managed();
    job.job_id = "x";
    managed_refused(&job, "job_id is not a UUID");
    job = a_managed();
    job.traceparent = "x";
    managed_refused(&job, "traceparent is not of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>");
    custom.arguments = no_key;
    custom.argument_count = 1;
    custom_refused(&custom, "arguments: entry 0 has NULL for its key");
    custom.arguments = no_value;
    custom.argument_count = 2;
    custom_refused(&custom, "arguments: entry 1 has NULL for its value");
    custom = a_custom();
    custom.options = &options;
    options.on_lost_lease = 5;
    custom_refused(&custom, "options.on_lost_lease: there is no value 5");
    options.on_lost_lease = 0;
    options.max_attempts = 101;
    custom_refused(&custom, "options.max_attempts is 101; at most 100 are allowed");
    options.max_attempts = 0;
    options.retry_exit_code_count = 2;
    custom_refused(&custom, "options.retry.exit_codes: the list is NULL but its count is 2");
    options.retry_exit_code_count = 33;
    options.retry_exit_codes = (const uint32_t[33]){0};
    custom_refused(&custom, "options.retry.exit_codes has 33 entries; at most 32 are allowed");
    options.retry_exit_code_count = 0;
    options.label_count = 1;
    custom_refused(&custom, "options.labels: the list is NULL but its count is 1");
}

static void structs_grow(void **state)
{
    (void)state;
    struct {
        struct trainyard_custom_job job;
        const char *later;
    } newer = {.job = a_custom()};
    struct trainyard_custom_job job = a_custom();
    struct ty_request request;
    struct ty_err err;
    newer.job.size = sizeof newer;
    assert_int_equal(ty_request_custom(&newer.job, NULL, &request, &err), 0);
    ty_request_done(&request);
    newer.later = "x";
    custom_refused(&newer.job,
                   "struct trainyard_custom_job: a member is set that this version of the library does not have");
    job.size = 0;
    custom_refused(&job, "struct trainyard_custom_job: size is 0; initialise it with TRAINYARD_CUSTOM_JOB_INIT");
    job.size = 100000;
    custom_refused(&job, "struct trainyard_custom_job: size is 100000; initialise it with TRAINYARD_CUSTOM_JOB_INIT");

    // A library that knows one member more reads it as zero from an older program.
    struct {
        size_t size;
        int first, later;
    } out = {.later = 9};
    struct {
        size_t size;
        int first;
    } older = {.size = offsetof(__typeof__(out), later), .first = 4};
    assert_int_equal(ty_request_copy(&out, sizeof out, offsetof(__typeof__(out), later), &older, "x", "X", &err), 0);
    assert_int_equal(out.first, 4);
    assert_int_equal(out.later, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(managed_with_everything), cmocka_unit_test(custom_with_everything),
        cmocka_unit_test(cancel_and_delete),       cmocka_unit_test(ids),
        cmocka_unit_test(wrong_input_is_named),    cmocka_unit_test(structs_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
