// The verbs that publish, against a mock Kafka: what arrives there, what is printed, and what happens without a broker.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/id.h"
#include "tests/integration/apart.h"
#include "tests/integration/cli_fixture.h"
#include "tests/integration/responder_kafka.h"

#define CUSTOM                                                                                                             \
    "submit-custom", "--org", "acme", "--dataset", "digits", "--script", "acme:digits", "--model-name", "reader"

static struct mock_kafka *kafka;

static int set_up(void **state)
{
    (void)state;
    cli_clear_environment();
    kafka = mock_kafka_new();
    setenv("TRAINYARD_KAFKA_BROKERS", mock_kafka_brokers(kafka), 1);
    setenv("TRAINYARD_SERVER", "127.0.0.1:1", 1); // nothing of this asks a responder
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mock_kafka_free(kafka);
    return 0;
}

// ---- what arrived ----

typedef void (*check_fn)(const struct ty_command *command);

struct wanted {
    const char *id;
    size_t matches;
    check_fn check;
};

static void on_command(void *context, const struct ty_command *command)
{
    struct wanted *wanted = context;
    if (strcmp(command->message->job_id, wanted->id) != 0)
        return;
    wanted->matches++;
    if (wanted->check)
        wanted->check(command);
}

static size_t published(const char *topic, enum ty_topic_kind kind, const char *id, check_fn check)
{
    struct wanted wanted = {.id = id, .check = check};
    mock_kafka_read(kafka, topic, kind, on_command, &wanted);
    return wanted.matches;
}

// stdout must be a job id and a newline, and nothing else.
static void take_id(struct cli *cli, char ret_id[TY_ID_TEXT_BYTES])
{
    struct ty_id id;
    struct ty_err err;
    assert_int_equal(strlen(cli_out(cli)), TY_ID_TEXT_BYTES);
    assert_int_equal(cli_out(cli)[TY_ID_TEXT_BYTES - 1], '\n');
    memcpy(ret_id, cli_out(cli), TY_ID_TEXT_BYTES - 1);
    ret_id[TY_ID_TEXT_BYTES - 1] = 0;
    if (ty_id_parse(ret_id, &id, &err) < 0)
        fail_msg("%s", err.message);
    cli_free(cli);
}

// ---- submit ----

static void check_custom(const struct ty_command *command)
{
    const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *request = command->message->submit_custom;
    const Trainyard__V1__JobOptions *options = command->message->options;
    assert_int_equal(command->kind, TY_COMMAND_SUBMIT_CUSTOM);
    assert_string_equal(request->organization_id, "acme");
    assert_string_equal(request->dataset_id, "digits");
    assert_string_equal(request->registry_item_id, "acme:digits");
    assert_string_equal(request->registry_item_version, "v7");
    assert_string_equal(request->model_name, "reader");
    assert_string_equal(request->model_version, "3");
    assert_string_equal(request->container_version, "python:3.11-sklearn");
    assert_int_equal(request->n_arguments, 3);
    assert_string_equal(request->arguments[0]->key, "labels");
    assert_string_equal(request->arguments[0]->value, "'a=1, b' \xc3\xa9");
    assert_string_equal(request->arguments[1]->key, "epochs");
    assert_string_equal(request->arguments[1]->value, "20");
    assert_string_equal(request->arguments[2]->key, "empty");
    assert_string_equal(request->arguments[2]->value, "");
    assert_non_null(options);
    assert_int_equal(options->priority, 5);
    assert_int_equal(options->max_runtime_s, 3600);
    assert_int_equal(options->max_wait_s, 60);
    assert_int_equal(options->max_attempts, 2);
    assert_int_equal(options->on_lost_lease, TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP);
    assert_int_equal(options->n_labels, 1);
    assert_string_equal(options->labels[0]->key, "team");
    assert_string_equal(options->labels[0]->value, "a=b");
    assert_int_equal(options->resources->memory_bytes, 1073741824);
    assert_true(options->retry->on_error);
    assert_int_equal(options->retry->n_no_retry_exit_codes, 2);
    assert_int_equal(options->retry->no_retry_exit_codes[1], 64);
    assert_int_equal(options->retry->exit_codes[0], 126);
    assert_int_equal(options->retry->base_ms, 500);
    assert_int_equal(options->retry->max_ms, 9000);
    assert_non_null(strstr(command->message->issuer, "trainyard"));
}

static void test_a_custom_job_arrives_as_it_was_asked_for(void **state)
{
    char id[TY_ID_TEXT_BYTES];
    (void)state;
    take_id(cli_expect(0, CUSTOM, "--script-version", "v7", "--model-version", "3", "--container", "python:3.11-sklearn",
                       "--arg", "labels='a=1, b' \xc3\xa9", "--arg=epochs=20", "--arg", "empty=", "--priority", "5",
                       "--max-runtime", "3600", "--max-wait", "60", "--max-attempts", "2", "--on-lost-lease", "stop",
                       "--label", "team=a=b", "--memory-bytes", "1073741824", "--retry-on-error", "--no-retry-exit-code", "2",
                       "--no-retry-exit-code", "64", "--retry-exit-code", "126", "--retry-base-ms", "500", "--retry-max-ms",
                       "9000"),
            id);
    assert_int_equal(published("submit", TY_TOPIC_SUBMIT, id, check_custom), 1);
}

static void check_managed(const struct ty_command *command)
{
    const Viam__App__Mltraining__V1__SubmitTrainingJobRequest *request = command->message->submit;
    assert_int_equal(command->kind, TY_COMMAND_SUBMIT);
    assert_int_equal(request->model_type, 1);
    assert_int_equal(request->model_framework, 4);
    assert_int_equal(request->n_tags, 2);
    assert_string_equal(request->tags[0], "zero, or none");
    assert_string_equal(request->tags[1], "one");
    // 2026-11-24T18-42-24
    assert_int_equal(strlen(request->model_version), 19);
    assert_int_equal(request->model_version[10], 'T');
    assert_int_equal(request->model_version[13], '-');
}

static void test_a_managed_job_takes_enums_in_any_form(void **state)
{
    static const char *const types[] = {"single-label-classification", "MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION",
                                        "Single Label_Classification"};
    static const char *const frameworks[] = {"onnx", "MODEL_FRAMEWORK_ONNX", "ONNX"};
    char id[TY_ID_TEXT_BYTES];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        take_id(cli_expect(0, "submit", "--org", "acme", "--dataset", "digits", "--model-name", "reader", "--model-type",
                           types[i], "--framework", frameworks[i], "--tag", "zero, or none", "--tag", "one"),
                id);
        assert_int_equal(published("submit", TY_TOPIC_SUBMIT, id, check_managed), 1);
    }
}

static void test_the_same_key_or_id_is_the_same_job(void **state)
{
    static const char chosen[] = "0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b";
    char first[TY_ID_TEXT_BYTES], second[TY_ID_TEXT_BYTES];
    (void)state;
    take_id(cli_expect(0, CUSTOM, "--idempotency-key", "nightly"), first);
    take_id(cli_expect(0, CUSTOM, "--idempotency-key", "nightly"), second);
    assert_string_equal(first, second);
    take_id(cli_expect(0, CUSTOM, "--job-id", chosen), first);
    assert_string_equal(first, chosen);
    take_id(cli_expect(0, CUSTOM), first);
    take_id(cli_expect(0, CUSTOM), second);
    assert_string_not_equal(first, second);
}

static json_t *parse(struct cli *cli)
{
    json_error_t error;
    json_t *document = json_loads(cli_out(cli), 0, &error);
    if (!document)
        fail_msg("%s: %s", error.text, cli_out(cli));
    cli_free(cli);
    return document;
}

static void test_json(void **state)
{
    const char *id, *position;
    int partition, offset;
    json_t *job, *command;
    (void)state;
    json_t *submitted = parse(cli_expect(0, CUSTOM, "--json"));
    assert_int_equal(json_unpack(submitted, "{s:s, s:i, s:i, s:o!}", "id", &id, "partition", &partition, "offset", &offset,
                                 "job", &job), 0);
    assert_true(json_is_null(job));
    assert_int_equal(published("submit", TY_TOPIC_SUBMIT, id, NULL), 1);
    json_t *canceled = parse(cli_expect(0, "cancel", "--json", id, id));
    assert_int_equal(json_array_size(json_object_get(canceled, "commands")), 2);
    command = json_array_get(json_object_get(canceled, "commands"), 0);
    assert_int_equal(json_unpack(command, "{s:s, s:i, s:i!}", "id", &position, "partition", &partition, "offset", &offset), 0);
    assert_string_equal(position, id);
    json_decref(canceled);
    json_decref(submitted);
}

static void test_cancel_and_delete(void **state)
{
    char first[TY_ID_TEXT_BYTES], second[TY_ID_TEXT_BYTES];
    (void)state;
    take_id(cli_expect(0, CUSTOM), first);
    take_id(cli_expect(0, CUSTOM), second);
    struct cli *cli = cli_expect(0, "cancel", first, second);
    assert_string_equal(cli_out(cli), "");
    assert_non_null(strstr(cli_err(cli), first));
    cli_free(cli);
    assert_int_equal(published("cancel", TY_TOPIC_CANCEL, first, NULL), 1);
    assert_int_equal(published("cancel", TY_TOPIC_CANCEL, second, NULL), 1);
    cli_free(cli_expect(0, "delete", second));
    assert_int_equal(published("delete", TY_TOPIC_DELETE, second, NULL), 1);
    assert_int_equal(published("delete", TY_TOPIC_DELETE, first, NULL), 0);
}

// ---- what goes wrong ----

// One line on stderr that has the text, nothing on stdout.
static void expect_complaint(struct cli *cli, const char *text)
{
    const char *newline = strchr(cli_err(cli), '\n');
    assert_string_equal(cli_out(cli), "");
    if (!strstr(cli_err(cli), text) || !newline || newline[1])
        fail_msg("not one line with \"%s\": %s", text, cli_err(cli));
    cli_free(cli);
}

static void test_bad_input_is_named(void **state)
{
    (void)state;
    expect_complaint(cli_expect(2, "submit-custom"), "--org is missing");
    expect_complaint(cli_expect(2, "submit-custom", "--org", "acme"), "--dataset is missing");
    expect_complaint(cli_expect(2, CUSTOM, "--arg", "epochs"), "--arg: \"epochs\" is not of the form key=value");
    expect_complaint(cli_expect(2, CUSTOM, "--arg", "=20"), "--arg");
    expect_complaint(cli_expect(2, CUSTOM, "--arg", "dataset_file=x"), "dataset_file");
    expect_complaint(cli_expect(2, CUSTOM, "--label", "x"), "--label");
    expect_complaint(cli_expect(2, CUSTOM, "--priority", "8"), "--priority: \"8\" is not a whole number from 0 to 7");
    expect_complaint(cli_expect(2, CUSTOM, "--on-lost-lease", "panic"), "default|continue|stop");
    expect_complaint(cli_expect(2, CUSTOM, "--job-id", "7"), "job_id");
    expect_complaint(cli_expect(2, CUSTOM, "--script", "digits"), "prefix:name");
    expect_complaint(cli_expect(2, CUSTOM, "--dataset", "../digits"), "dataset_id");
    expect_complaint(cli_expect(2, CUSTOM, "--model-name", "caf\xe9"), "model_name");
    expect_complaint(cli_expect(2, CUSTOM, "--kafka-property", "no.such=1"), "no.such");
    expect_complaint(cli_expect(2, CUSTOM, "extra"), "\"extra\": unexpected argument");
    expect_complaint(cli_expect(2, CUSTOM, "-x"), "\"-x\": there is no such flag");
    expect_complaint(cli_expect(2, "submit", "--org", "a", "--dataset", "d", "--model-name", "m", "--model-type", "magic",
                                "--tag", "x"),
                     "single-label-classification, multi-label-classification, object-detection");
    expect_complaint(cli_expect(2, "cancel"), "JOB_ID... is missing");
    expect_complaint(cli_expect(2, "cancel", "seven"), "seven: job_id is not a UUID");
    expect_complaint(cli_expect(2, "topics"), "create|check is missing");
    expect_complaint(cli_expect(2, "topics", "remove"), "neither create nor check");
    expect_complaint(cli_expect(2, "topics", "check", "--file", "/nowhere/topics.json"), "/nowhere/topics.json");
}

static void expect_away(struct cli *cli, uint64_t since_ms)
{
    print_message("given up after %d ms\n", (int)(ty_clock_mono_ms() - since_ms));
    expect_complaint(cli, "Connection refused");
}

static void test_without_kafka_it_ends_in_bounded_time(void **state)
{
    uint64_t start_ms = ty_clock_mono_ms();
    (void)state;
    expect_away(cli_expect(3, CUSTOM, "--kafka-brokers", "127.0.0.1:1"), start_ms);
    start_ms = ty_clock_mono_ms();
    expect_away(cli_expect(3, "topics", "check", "--kafka-brokers", "127.0.0.1:1", "--timeout-ms", "2000"), start_ms);
}

// The broker takes the record and then says that it timed out, as often as it is tried.
static void test_an_unknown_outcome_names_the_job(void **state)
{
    char id[TY_ID_TEXT_BYTES];
    (void)state;
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 1000);
    struct cli *cli = cli_expect(3, CUSTOM);
    assert_string_equal(cli_out(cli), "");
    const char *again = strstr(cli_err(cli), "submitting again with --job-id ");
    if (!again || sscanf(again, "submitting again with --job-id %36s", id) != 1)
        fail_msg("%s", cli_err(cli));
    assert_non_null(strstr(cli_err(cli), "is not known"));
    cli_free(cli);
}

// ---- help ----

static void test_every_verb_has_help(void **state)
{
    static const char *const verbs[] = {"submit", "submit-custom", "cancel", "delete",     "get",
                                        "list",   "logs",          "watch",  "containers", "topics",
                                        "rules",  "dead-letters"};
    (void)state;
    struct cli *program = cli_expect(0, "--help");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char *line TY_FREE = ty_xasprintf("\n  %s ", verbs[i]);
        struct cli *cli = cli_expect(0, verbs[i], "--help");
        assert_non_null(strstr(cli_out(program), line));
        assert_non_null(strstr(cli_out(cli), "Usage: trainyard "));
        assert_non_null(strstr(cli_out(cli), "--json"));
        assert_non_null(strstr(cli_out(cli), "\nExamples\n"));
        assert_non_null(strstr(cli_out(cli), "\nExit codes\n"));
        assert_string_equal(cli_err(cli), "");
        cli_free(cli);
        cli_free(cli_expect(0, verbs[i], "--help-markdown"));
    }
    cli_free(program);
    cli_free(cli_expect(0, "help", "get"));
    struct cli *version = cli_expect(0, "--version");
    assert_int_equal(strncmp(cli_out(version), "trainyard ", 10), 0);
    cli_free(version);
}

static void test_a_wrong_verb_is_answered_with_the_nearest(void **state)
{
    (void)state;
    expect_complaint(cli_expect(2, "sumbit"), "did you mean \"submit\"?");
    expect_complaint(cli_expect(2, "lsit"), "did you mean \"list\"?");
    expect_complaint(cli_expect(2, "cont"), "did you mean \"containers\"?");
    expect_complaint(cli_expect(2, "xyzzy"), "trainyard --help lists them");
    expect_complaint(cli_expect(2, "--json", "get", "x"), "a verb comes first");
    expect_complaint(cli_expect(2, "help", "submti"), "did you mean \"submit\"?");
    expect_complaint(cli_expect(2, "logs", "--folow", "x"), "did you mean --follow?");
    struct cli *cli = cli_run(NULL, NULL);
    assert_int_equal(cli_end(cli), 2);
    assert_non_null(strstr(cli_err(cli), "Usage"));
    cli_free(cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_custom_job_arrives_as_it_was_asked_for),
        cmocka_unit_test(test_a_managed_job_takes_enums_in_any_form),
        cmocka_unit_test(test_the_same_key_or_id_is_the_same_job),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_cancel_and_delete),
        cmocka_unit_test(test_bad_input_is_named),
        cmocka_unit_test(test_without_kafka_it_ends_in_bounded_time),
        cmocka_unit_test(test_every_verb_has_help),
        cmocka_unit_test(test_a_wrong_verb_is_answered_with_the_nearest),
        cmocka_unit_test(test_an_unknown_outcome_names_the_job),
    };
    return apart_run("the command line and Kafka", tests, set_up, tear_down);
}
