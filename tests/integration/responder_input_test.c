// Bad input to every RPC: a clear status and message, nothing published, and the next good call is served.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/wire.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define UNKNOWN_ID "00000000-0000-4000-8000-000000000000"

enum { OK = 0, INVALID_ARGUMENT = 3, NOT_FOUND = 5, RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12 };

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *process;
static struct rpc_client *client;

static int set_up(void **state)
{
    (void)state;
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, 1);
    kafka = mock_kafka_new();
    process = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), NULL);
    client = rpc_client_new(responder_process_address(process));
    responder_process_await_store(process);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    uint64_t took_ms;
    rpc_client_free(client);
    int status = responder_process_stop(process, &took_ms); // a sanitizer speaks up here
    if (status != 0)
        print_error("exit %d: %s\n", status, responder_process_log(process));
    responder_process_free(process);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    return status;
}

static void expect_with(const char *method, const struct ty_buf *request, const char *const *metadata, int status,
                        const char *words)
{
    struct rpc_answer answer;
    char path[128];
    snprintf(path, sizeof path, RPC_TRAINING "%s", method);
    rpc_call(client, path, request->data, request->len, metadata, 0, &answer);
    if (answer.status != status || (words && !strstr(answer.message, words)))
        fail_msg("%s: status %d \"%s\" instead of %d \"%s\"", method, answer.status, answer.message, status, words);
    if (status != OK && (!*answer.message || strchr(answer.message, '%') ||
                         !ty_utf8_is_valid(answer.message, strlen(answer.message))))
        fail_msg("%s: the message \"%s\" is not fit for clients", method, answer.message);
    rpc_answer_done(&answer);
}

static void expect(const char *method, const struct ty_buf *request, int status, const char *words)
{
    expect_with(method, request, NULL, status, words);
}

static void add_text(struct ty_buf *out, uint32_t field, const char *text)
{
    ty_buf_add_tag_bytes(out, field, text, strlen(text));
}

// ---- strings ----

// Every string field of every request, by its number.
static const struct {
    const char *method;
    uint32_t field;
    const char *name;
} strings[] = {
    {"GetTrainingJob", 1, "id"},
    {"ListTrainingJobs", 1, "organization_id"},
    {"CancelTrainingJob", 1, "id"},
    {"DeleteCompletedTrainingJob", 1, "id"},
    {"GetTrainingJobLogs", 1, "id"},
    {"GetTrainingJobLogs", 2, "page_token"},
    {"SubmitTrainingJob", 2, "organization_id"},
    {"SubmitTrainingJob", 3, "model_name"},
    {"SubmitTrainingJob", 4, "model_version"},
    {"SubmitTrainingJob", 6, "tags"},
    {"SubmitTrainingJob", 7, "dataset_id"},
    {"SubmitCustomTrainingJob", 1, "dataset_id"},
    {"SubmitCustomTrainingJob", 2, "registry_item_id"},
    {"SubmitCustomTrainingJob", 3, "organization_id"},
    {"SubmitCustomTrainingJob", 4, "model_name"},
    {"SubmitCustomTrainingJob", 5, "model_version"},
    {"SubmitCustomTrainingJob", 6, "registry_item_version"},
    {"SubmitCustomTrainingJob", 8, "container_version"},
};

// A good request; skip leaves one field out.
static void add_good(const char *method, uint32_t skip, struct ty_buf *out)
{
    static const struct {
        const char *method;
        uint32_t field;
        const char *text;
    } good[] = {
        {"SubmitTrainingJob", 2, "acme"},       {"SubmitTrainingJob", 3, "digits"},
        {"SubmitTrainingJob", 4, "1"},          {"SubmitTrainingJob", 6, "one"},
        {"SubmitTrainingJob", 7, "dataset"},    {"SubmitCustomTrainingJob", 1, "dataset"},
        {"SubmitCustomTrainingJob", 2, "a:b"},  {"SubmitCustomTrainingJob", 3, "acme"},
        {"SubmitCustomTrainingJob", 4, "m"},    {"SubmitCustomTrainingJob", 5, "1"},
        {"ListTrainingJobs", 1, "acme"},        {"GetTrainingJob", 1, UNKNOWN_ID},
        {"CancelTrainingJob", 1, UNKNOWN_ID},   {"DeleteCompletedTrainingJob", 1, UNKNOWN_ID},
        {"GetTrainingJobLogs", 1, UNKNOWN_ID},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!strcmp(good[i].method, method) && good[i].field != skip)
            add_text(out, good[i].field, good[i].text);
    if (!strcmp(method, "SubmitTrainingJob") && skip != 5)
        ty_buf_add_tag_varint(out, 5, 1); // single label classification
}

static void test_nul_and_invalid_utf8_name_the_field(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {{"a\0b", 3}, {"\0", 1}, {"\xff", 1}, {"ab\xc3", 3}, {"\xed\xa0\x80", 3}, {"\xc0\x80", 2}};
    (void)state;
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            TY_BUF(request);
            add_good(strings[i].method, strings[i].field, &request);
            ty_buf_add_tag_bytes(&request, strings[i].field, wrong[j].bytes, wrong[j].len);
            expect(strings[i].method, &request, INVALID_ARGUMENT, strings[i].name);
        }
}

static void test_long_strings_name_the_field(void **state)
{
    static char text[5000];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        TY_BUF(request);
        add_good(strings[i].method, strings[i].field, &request);
        add_text(&request, strings[i].field, text);
        expect(strings[i].method, &request, INVALID_ARGUMENT, strings[i].name);
    }
}

static void test_missing_fields_name_the_field(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        const char *name = strings[i].name;
        bool may_be_empty = !strcmp(name, "page_token") || !strcmp(name, "registry_item_version") ||
                            !strcmp(name, "container_version");
        if (may_be_empty)
            continue;
        TY_BUF(request);
        add_good(strings[i].method, strings[i].field, &request);
        expect(strings[i].method, &request, INVALID_ARGUMENT, name);
    }
    TY_BUF(request);
    add_good("SubmitTrainingJob", 5, &request);
    expect("SubmitTrainingJob", &request, INVALID_ARGUMENT, "model_type");
}

// ---- malformed bytes ----

static void test_malformed_bytes(void **state)
{
    static const char *const methods[] = {"GetTrainingJob", "ListTrainingJobs", "CancelTrainingJob", "GetTrainingJobLogs",
                                          "DeleteCompletedTrainingJob", "SubmitTrainingJob", "SubmitCustomTrainingJob",
                                          "ListSupportedContainers"};
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {
        {"\x0a", 1},                                             // a length is missing
        {"\x0a\x05" "abc", 5},                                   // and is too long
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},    // and is beyond anything
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},    // a number without end
        {"\x00\x00", 2},                                         // field number 0
        {"\x0f\x01", 2},                                         // wire type 7
    };
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        for (size_t j = 0; j < sizeof wrong / sizeof *wrong; j++) {
            TY_BUF(request);
            ty_buf_add(&request, wrong[j].bytes, wrong[j].len);
            expect(methods[i], &request, INVALID_ARGUMENT, NULL);
        }
}

static void test_unknown_fields_are_harmless(void **state)
{
    TY_BUF(request);
    (void)state;
    add_text(&request, 1, "acme"); // newer clients name their organization
    ty_buf_add_tag_varint(&request, 99, 7);
    expect("ListSupportedContainers", &request, OK, NULL);
    TY_BUF(list);
    add_good("ListTrainingJobs", 0, &list);
    add_text(&list, 4711, "\xff\0x");
    expect("ListTrainingJobs", &list, OK, NULL);
}

static void test_request_at_and_over_the_limit(void **state)
{
    char *text = malloc(TY_LIMIT_REQUEST_BYTES + 1);
    (void)state;
    memset(text, 'x', TY_LIMIT_REQUEST_BYTES + 1);
    TY_BUF(at_limit);
    ty_buf_add_tag_bytes(&at_limit, 1, text, TY_LIMIT_REQUEST_BYTES - 4);
    assert_int_equal(at_limit.len, TY_LIMIT_REQUEST_BYTES);
    expect("GetTrainingJob", &at_limit, INVALID_ARGUMENT, "id");
    TY_BUF(over_limit);
    ty_buf_add_tag_bytes(&over_limit, 1, text, TY_LIMIT_REQUEST_BYTES - 3);
    expect("GetTrainingJob", &over_limit, RESOURCE_EXHAUSTED, NULL);
    expect("SubmitCustomTrainingJob", &over_limit, RESOURCE_EXHAUSTED, NULL);
    free(text);
}

static void test_no_such_method(void **state)
{
    struct rpc_answer answer;
    (void)state;
    static const char *const paths[] = {RPC_TRAINING "NoSuchMethod", "/viam.app.v1.AppService/GetRegistryItem", "/x"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        rpc_call(client, paths[i], "", 0, NULL, 0, &answer);
        assert_int_equal(answer.status, UNIMPLEMENTED);
        rpc_answer_done(&answer);
    }
}

// ---- ids ----

static void test_unknown_ids(void **state)
{
    static const char *const methods[] = {"GetTrainingJob", "CancelTrainingJob", "DeleteCompletedTrainingJob",
                                          "GetTrainingJobLogs"};
    static const char *const ids[] = {UNKNOWN_ID, "x", "507f1f77bcf86cd799439011", "100% of it",
                                      "00000000-0000-4000-8000-00000000000g", "00000000-0000-4000-8000-0000000000000"};
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        for (size_t j = 0; j < sizeof ids / sizeof *ids; j++) {
            TY_BUF(request);
            add_text(&request, 1, ids[j]);
            expect(methods[i], &request, NOT_FOUND, "job");
        }
}

static void test_bad_page_tokens(void **state)
{
    static const char *const tokens[] = {"x", "AQECAwQFBgcICQoLDA0OD_8CAAAA9AEAAAAAAADyzp6r", "%00", "   "};
    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        TY_BUF(request);
        add_text(&request, 1, UNKNOWN_ID);
        add_text(&request, 2, tokens[i]);
        expect("GetTrainingJobLogs", &request, INVALID_ARGUMENT, "page_token");
    }
}

// ---- values ----

static void test_unknown_enum_values(void **state)
{
    static const struct {
        const char *method;
        uint32_t field;
        const char *name;
    } enums[] = {{"ListTrainingJobs", 2, "status"}, {"SubmitTrainingJob", 5, "model_type"},
                 {"SubmitTrainingJob", 8, "model_framework"}};
    static const uint64_t values[] = {99, 7, UINT64_MAX, UINT64_C(0x80000000), UINT64_C(0xffffffff80000000)};
    (void)state;
    for (size_t i = 0; i < sizeof enums / sizeof *enums; i++)
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            TY_BUF(request);
            add_good(enums[i].method, enums[i].field, &request);
            ty_buf_add_tag_varint(&request, enums[i].field, values[j]);
            expect(enums[i].method, &request, INVALID_ARGUMENT, enums[i].name);
        }
}

static void test_trainers_that_are_not_installed(void **state)
{
    static const struct {
        uint64_t type, framework;
    } wrong[] = {{1, 1}, {1, 3}, {2, 0}, {2, 4}, {3, 0}, {3, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        TY_BUF(request);
        add_good("SubmitTrainingJob", 5, &request);
        ty_buf_add_tag_varint(&request, 5, wrong[i].type);
        ty_buf_add_tag_varint(&request, 8, wrong[i].framework);
        expect("SubmitTrainingJob", &request, INVALID_ARGUMENT, "installed");
    }
}

static void add_argument(struct ty_buf *out, const char *key, const char *value, size_t value_len)
{
    TY_BUF(entry);
    add_text(&entry, 1, key);
    ty_buf_add_tag_bytes(&entry, 2, value, value_len);
    ty_buf_add_tag_bytes(out, 7, entry.data, entry.len);
}

static void test_values_of_a_custom_submit(void **state)
{
    static char large[TY_LIMIT_ARGUMENT_VALUE_BYTES + 1];
    (void)state;
    memset(large, 'v', sizeof large);
    static const struct {
        const char *key, *value;
        size_t len;
    } arguments[] = {{"", "x", 1}, {"a b", "x", 1}, {"dataset_file", "x", 1}, {"model_output_directory", "", 0},
                     {"k", large, sizeof large}, {"k", "a\0b", 3}, {"k", "\xff", 1}};
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++) {
        TY_BUF(request);
        add_good("SubmitCustomTrainingJob", 0, &request);
        add_argument(&request, arguments[i].key, arguments[i].value, arguments[i].len);
        expect("SubmitCustomTrainingJob", &request, INVALID_ARGUMENT, "arguments");
    }
    static const struct {
        uint32_t field;
        const char *text, *words;
    } fields[] = {{2, "no-colon", "registry_item_id"}, {2, ":x", "registry_item_id"}, {2, "x:", "registry_item_id"},
                  {2, "a/b:c", "registry_item_id"},    {8, "no:such", "container_version"}, {8, "100%", "container_version"},
                  {4, "..", "model_name"},             {4, "a/b", "model_name"},            {3, "../acme", "organization_id"},
                  {6, "a\nb", "registry_item_version"}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        TY_BUF(request);
        add_good("SubmitCustomTrainingJob", fields[i].field, &request);
        add_text(&request, fields[i].field, fields[i].text);
        expect("SubmitCustomTrainingJob", &request, INVALID_ARGUMENT, fields[i].words);
    }
}

static void test_options_in_metadata(void **state)
{
    static const char *const wrong[][3] = {{"trainyard-priority", "8"},       {"trainyard-priority", "x"},
                                           {"trainyard-max-attempts", "101"}, {"trainyard-on-lost-lease", "maybe"},
                                           {"trainyard-no-such", "1"},        {"idempotency-key", ""}};
    static const char *const words[] = {"priority", "priority", "attempts", "lost-lease", "no-such", "idempotency-key"};
    (void)state;
    TY_BUF(request);
    add_good("SubmitCustomTrainingJob", 0, &request);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_with("SubmitCustomTrainingJob", &request, wrong[i], INVALID_ARGUMENT, words[i]);
}

// After everything above.
static void test_nothing_was_published_and_good_calls_are_served(void **state)
{
    (void)state;
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), 0);
    assert_int_equal(mock_kafka_read(kafka, "cancel", TY_TOPIC_CANCEL, NULL, NULL), 0);
    assert_int_equal(mock_kafka_read(kafka, "delete", TY_TOPIC_DELETE, NULL, NULL), 0);
    static const char *const methods[] = {"SubmitTrainingJob", "SubmitCustomTrainingJob", "ListTrainingJobs",
                                          "ListSupportedContainers"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        TY_BUF(request);
        add_good(methods[i], 0, &request);
        expect(methods[i], &request, OK, NULL);
    }
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nul_and_invalid_utf8_name_the_field),
        cmocka_unit_test(test_long_strings_name_the_field),
        cmocka_unit_test(test_missing_fields_name_the_field),
        cmocka_unit_test(test_malformed_bytes),
        cmocka_unit_test(test_unknown_fields_are_harmless),
        cmocka_unit_test(test_request_at_and_over_the_limit),
        cmocka_unit_test(test_no_such_method),
        cmocka_unit_test(test_unknown_ids),
        cmocka_unit_test(test_bad_page_tokens),
        cmocka_unit_test(test_unknown_enum_values),
        cmocka_unit_test(test_trainers_that_are_not_installed),
        cmocka_unit_test(test_values_of_a_custom_submit),
        cmocka_unit_test(test_options_in_metadata),
        cmocka_unit_test(test_nothing_was_published_and_good_calls_are_served),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
