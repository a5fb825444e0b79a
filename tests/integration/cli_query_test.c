// The verbs that ask the responder, against the built responder with real Redis: what they print of jobs and logs in each
// state, as text and as JSON, on a terminal and in a pipe.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "tests/integration/cli_fixture.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "tests/integration/responder_store.h"

#define RESPONDER TY_BINARY_DIR "/bin/trainyard-responder"

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *responder;
static struct store *store;

static int set_up(void **state)
{
    (void)state;
    cli_clear_environment();
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, 1);
    kafka = mock_kafka_new();
    responder = responder_process_new(RESPONDER, redis_server_url(redis), mock_kafka_brokers(kafka), NULL);
    responder_process_await_store(responder);
    store = store_new(redis_server_url(redis), 1);
    setenv("TRAINYARD_SERVER", responder_process_address(responder), 1);
    setenv("TERM", "xterm", 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_free(store);
    responder_process_free(responder);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    return 0;
}

static void submit(const char *organization, const char *model_name, struct ty_id *ret_id, char ret_text[TY_ID_TEXT_BYTES])
{
    struct store_job job = {.organization_id = organization, .model_name = model_name,
                            .created_us = ty_clock_wall_us() - UINT64_C(7200) * 1000000, .padding = 10};
    store_submit(store, &job, 1, ret_id);
    ty_id_format(ret_id, ret_text);
}

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *document = json_loads(text, 0, &error);
    if (!document)
        fail_msg("%s: %s", error.text, text);
    return document;
}

static json_t *run_json(struct cli *cli)
{
    json_t *document = parse(cli_out(cli));
    assert_string_equal(cli_err(cli), "");
    cli_free(cli);
    return document;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text)
        fail_msg("%s is no text", key);
    return text;
}

static void expect_texts(struct cli *cli, const char *const *texts)
{
    for (; *texts; texts++)
        if (!strstr(cli_out(cli), *texts))
            fail_msg("without \"%s\": %s", *texts, cli_out(cli));
    cli_free(cli);
}

// ---- get ----

static const char *const job_fields[] = {
    "id",           "status",          "organization_id",  "dataset_id",            "model_name",        "model_version",
    "arguments",    "synced_model_id", "is_custom_job",    "registry_item_id",      "tags",              "registry_item_version",
    "model_type",   "model_framework", "created_on",       "last_modified",         "training_started",  "training_ended",
    "error_status", "container_version"};
#define JOB_FIELDS (sizeof job_fields / sizeof *job_fields)

// more: beyond those of a job in a list.
static void expect_fields(const json_t *job, size_t more)
{
    assert_int_equal(json_object_size(job), JOB_FIELDS + more);
    for (size_t i = 0; i < JOB_FIELDS; i++)
        if (!json_object_get(job, job_fields[i]))
            fail_msg("without %s", job_fields[i]);
}

static void expect_all_fields(const json_t *job)
{
    expect_fields(job, 0);
}

static void test_get_shows_a_job_in_each_state(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit("acme", "reader", &id, text);
    expect_texts(cli_expect(0, "get", text), (const char *const[]){text, "PENDING", "acme", "reader", "(2h ago)", NULL});
    json_t *job = run_json(cli_expect(0, "get", "--json", text));
    expect_fields(job, 11);
    assert_string_equal(text_of(job, "id"), text);
    assert_string_equal(text_of(job, "status"), "PENDING");
    assert_true(json_is_null(json_object_get(job, "training_started")));
    assert_true(json_is_null(json_object_get(job, "retry_of")));
    assert_true(json_is_null(json_object_get(job, "error_status")));
    assert_true(json_is_true(json_object_get(job, "is_custom_job")));
    assert_int_equal(json_array_size(json_object_get(job, "tags")), 0);
    assert_int_equal(json_object_size(json_object_get(job, "arguments")), 1);
    json_decref(job);

    store_claim(store, &id, &attempt);
    expect_texts(cli_expect(0, "get", text), (const char *const[]){"IN_PROGRESS", NULL});
    store_finish(store, &attempt, TY_FINISH_FAILED);
    expect_texts(cli_expect(0, "get", text),
                 (const char *const[]){"FAILED", "the script ended with status 1", "Ended", NULL});
    job = run_json(cli_expect(0, "get", text, "--json"));
    expect_fields(job, 11);
    assert_int_equal(json_integer_value(json_object_get(job, "attempt")), 1);
    assert_true(json_is_null(json_object_get(job, "progress")));
    assert_string_equal(text_of(json_object_get(job, "error_status"), "message"), "the script ended with status 1");
    assert_int_equal(strlen(text_of(job, "training_ended")), strlen("2026-11-24T18:42:24.123456Z"));
    json_decref(job);
}

static void test_what_is_not_there(void **state)
{
    (void)state;
    struct cli *cli = cli_expect(4, "get", "0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b");
    assert_non_null(strstr(cli_err(cli), "trainyard get: there is no job"));
    assert_string_equal(cli_out(cli), "");
    cli_free(cli);
    cli_free(cli_expect(4, "get", "no-uuid"));
    cli_free(cli_expect(4, "logs", "no-uuid"));
    cli_free(cli_expect(4, "logs", "--follow", "--appear-s", "0", "no-uuid"));
    cli_free(cli_expect(4, "watch", "--appear-s", "0", "no-uuid"));
}

// ---- list ----

// Every column starts at the same place in every line.
static void expect_aligned(const char *text, const char *const *headers)
{
    const char *first_end = strchr(text, '\n');
    for (; *headers; headers++) {
        const char *header = strstr(text, *headers);
        assert_true(header && header < first_end);
        size_t column = (size_t)(header - text);
        for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
            size_t len = strcspn(line, "\n");
            if (len <= column || line[column] == ' ' || (column && line[column - 1] != ' '))
                fail_msg("%s is not aligned: %s", *headers, text);
        }
    }
}

static void test_list(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char first[TY_ID_TEXT_BYTES], second[TY_ID_TEXT_BYTES], other[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    struct cli *cli = cli_expect(0, "list", "--org", "acme");
    assert_string_equal(cli_out(cli), "");
    assert_non_null(strstr(cli_err(cli), "no jobs"));
    cli_free(cli);

    submit("acme", "a", &id, first);
    store_claim(store, &id, &attempt);
    submit("acme", "a-longer-name", &id, second);
    submit("umbrella", "a", &id, other);
    cli = cli_expect(0, "list", "--org", "acme");
    assert_null(strstr(cli_out(cli), other));
    assert_true(strstr(cli_out(cli), second) < strstr(cli_out(cli), first)); // the newest first
    assert_null(strchr(cli_out(cli), '\033'));
    expect_aligned(cli_out(cli), (const char *const[]){"JOB", "STATUS", "CREATED", "RAN", "MODEL", "DATA SET", "SCRIPT", NULL});
    cli_free(cli);

    json_t *list = run_json(cli_expect(0, "list", "--org", "acme", "--json"));
    json_t *jobs = json_object_get(list, "jobs");
    assert_int_equal(json_array_size(jobs), 2);
    expect_all_fields(json_array_get(jobs, 0));
    assert_string_equal(text_of(json_array_get(jobs, 0), "id"), second);
    assert_true(json_is_false(json_object_get(list, "truncated")));
    json_decref(list);

    static const char *const forms[] = {"in-progress", "IN_PROGRESS", "TRAINING_STATUS_IN_PROGRESS"};
    for (size_t i = 0; i < 3; i++) {
        cli = cli_expect(0, "list", "--org", "acme", "--status", forms[i]);
        assert_non_null(strstr(cli_out(cli), first));
        assert_null(strstr(cli_out(cli), second));
        cli_free(cli);
    }
    cli_free(cli_expect(2, "list"));
    cli = cli_expect(2, "list", "--org", "acme", "--status", "dreaming");
    assert_non_null(strstr(cli_err(cli), "\"dreaming\" is none of pending"));
    cli_free(cli);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
}

// Pages of a list from the command line, with filters, until there are no more.
static void test_list_in_pages(void **state)
{
    enum { COUNT = 25 };
    struct store_job jobs[COUNT];
    struct ty_id ids[COUNT];
    char text[TY_ID_TEXT_BYTES], token[128] = "";
    size_t at = 0, pages = 0;
    (void)state;
    redis_server_empty(redis, 1);
    for (size_t i = 0; i < COUNT; i++)
        jobs[i] = (struct store_job){.organization_id = "acme", .model_name = i % 5 ? "m" : "rare",
                                     .created_us = UINT64_C(1700000000000000) + i, .label = i % 2 ? "red" : "blue"};
    store_submit(store, jobs, COUNT, ids);
    do {
        json_t *list = run_json(*token ? cli_expect(0, "list", "--org", "acme", "--json", "--oldest-first", "--limit", "10", "--page-token", token)
                                       : cli_expect(0, "list", "--org", "acme", "--json", "--oldest-first", "--limit", "10"));
        json_t *page = json_object_get(list, "jobs"), *next = json_object_get(list, "next_page_token");
        for (size_t i = 0; i < json_array_size(page); i++)
            assert_string_equal(text_of(json_array_get(page, i), "id"), ty_id_format(&ids[at++], text));
        snprintf(token, sizeof token, "%s", json_is_null(next) ? "" : json_string_value(next));
        json_decref(list);
        pages++;
    } while (*token);
    assert_int_equal(at, COUNT);
    assert_int_equal(pages, 3);

    struct cli *cli = cli_expect(0, "list", "--org", "acme", "--limit", "2");
    assert_non_null(strstr(cli_err(cli), "there are more: --page-token "));
    cli_free(cli);
    json_t *list = run_json(cli_expect(0, "list", "--org", "acme", "--json", "--filter", "model=rare", "--filter", "label=team=red",
                                       "--filter", "created-before=2023-11-14T22:13:20.000015Z"));
    assert_int_equal(json_array_size(json_object_get(list, "jobs")), 1);
    assert_string_equal(text_of(json_array_get(json_object_get(list, "jobs"), 0), "id"), ty_id_format(&ids[5], text));
    json_decref(list);
    list = run_json(cli_expect(0, "list", "--org", "acme", "--json", "--sort", "ended"));
    assert_int_equal(json_array_size(json_object_get(list, "jobs")), 0);
    json_decref(list);
    cli = cli_expect(2, "list", "--org", "acme", "--filter", "team=red");
    assert_non_null(strstr(cli_err(cli), "there is no key \"team\"; there are: status, model"));
    cli_free(cli);
    cli = cli_expect(2, "list", "--org", "acme", "--filter", "ended-since=soon");
    assert_non_null(strstr(cli_err(cli), "ended-since"));
    cli_free(cli);
    cli = cli_expect(2, "list", "--org", "acme", "--page-token", "AAAA");
    assert_non_null(strstr(cli_err(cli), "page_token"));
    cli_free(cli);
}

static void test_history_names_attempts_and_their_workers(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit("acme", "reader", &id, text);
    store_claim(store, &id, &attempt);
    store_finish(store, &attempt, TY_FINISH_FAILED);
    json_t *history = run_json(cli_expect(0, "history", "--json", text));
    assert_string_equal(text_of(history, "id"), text);
    json_t *changes = json_object_get(history, "history");
    assert_int_equal(json_array_size(changes), 2);
    const json_t *first = json_array_get(changes, 0), *second = json_array_get(changes, 1);
    assert_string_equal(text_of(first, "status"), "IN_PROGRESS");
    assert_string_equal(text_of(first, "stage"), "claimed");
    assert_true(*text_of(first, "worker"));
    assert_int_equal(json_integer_value(json_object_get(first, "attempt")), 1);
    assert_string_equal(text_of(second, "status"), "FAILED");
    assert_string_equal(text_of(second, "reason"), "script_exit");
    assert_true(json_is_null(json_object_get(second, "worker")));
    json_decref(history);
    expect_texts(cli_expect(0, "history", text), (const char *const[]){"TIME", "IN_PROGRESS", "claimed", "FAILED", "script_exit", NULL});
    cli_free(cli_expect(4, "history", "no-uuid"));
}

static void test_containers(void **state)
{
    (void)state;
    struct cli *cli = cli_expect(0, "containers");
    assert_non_null(strstr(cli_out(cli), "python:3.11-sklearn"));
    cli_free(cli);
    json_t *document = run_json(cli_expect(0, "containers", "--json"));
    json_t *container = json_array_get(json_object_get(document, "containers"), 0);
    assert_string_equal(text_of(container, "key"), "python:3.11-sklearn");
    assert_int_equal(json_object_size(container), 5);
    json_decref(document);
}

// ---- logs ----

static void test_logs_of_many_pages(void **state)
{
    enum { ENTRIES = 2500 };
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit("acme", "reader", &id, text);
    struct cli *cli = cli_expect(0, "logs", text);
    assert_string_equal(cli_out(cli), "");
    assert_non_null(strstr(cli_err(cli), "no log entries so far"));
    cli_free(cli);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "epoch", ENTRIES, 0);

    cli = cli_expect(0, "logs", text);
    size_t lines = 0;
    for (const char *line = cli_out(cli); *line; line = strchr(line, '\n') + 1, lines++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "2023-11-14T22:13:20.000Z INFO  epoch %zu \n", lines);
        if (strncmp(line, wanted, strlen(wanted)) != 0)
            fail_msg("line %zu: %.80s", lines, line);
    }
    assert_int_equal(lines, ENTRIES);
    cli_free(cli);

    cli = cli_expect(0, "logs", "--json", text);
    lines = 0;
    for (const char *line = cli_out(cli), *end; *line; line = end + 1, lines++) {
        end = strchr(line, '\n');
        char *one TY_FREE = ty_xasprintf("%.*s", (int)(end - line), line);
        json_t *entry = parse(one);
        assert_int_equal(json_object_size(entry), 8);
        assert_int_equal(json_integer_value(json_object_get(entry, "attempt")), 1);
        assert_int_equal(json_integer_value(json_object_get(entry, "sequence")), (int)lines);
        assert_string_equal(text_of(entry, "level"), "INFO");
        assert_int_equal(atoi(text_of(entry, "message") + strlen("epoch ")), (int)lines);
        text_of(entry, "time");
        json_decref(entry);
    }
    assert_int_equal(lines, ENTRIES);
    cli_free(cli);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
}

static void test_a_terminal_is_safe_from_messages(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit("acme", "reader", &id, text);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "\033]0;mine\007 caf\xc3\xa9 \xe2\x80\xae\r\xc2\x9b", 1, 0);
    struct cli *cli = cli_expect(0, "logs", text);
    assert_non_null(strstr(cli_out(cli), "\\x1b]0;mine\\x07 caf\xc3\xa9 \\u202e\\x0d\\u009b 0"));
    assert_null(strpbrk(cli_out(cli), "\033\007\r"));
    cli_free(cli);
    json_t *entry = run_json(cli_expect(0, "logs", text, "--json")); // the message as it was
    assert_int_equal(strncmp(text_of(entry, "message"), "\033]0;mine\007 caf\xc3\xa9", 15), 0);
    json_decref(entry);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
}

// ---- terminals ----

static bool has_color(struct cli *cli)
{
    assert_int_equal(cli_end(cli), 0);
    bool has = strstr(cli_out(cli), "\033[") != NULL;
    cli_free(cli);
    return has;
}

static void test_colours_are_for_terminals(void **state)
{
    (void)state;
    assert_true(has_color(cli_start_on_terminal("containers", NULL)));
    assert_false(has_color(cli_start_on_terminal("containers", "--color", "never", NULL)));
    assert_false(has_color(cli_start("containers", NULL)));
    assert_true(has_color(cli_start("containers", "--color", "always", NULL)));
    setenv("NO_COLOR", "1", 1);
    assert_false(has_color(cli_start_on_terminal("containers", NULL)));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    assert_false(has_color(cli_start_on_terminal("containers", NULL)));
    setenv("TERM", "xterm", 1);
}

// ---- settings and trouble ----

static void test_settings_come_from_a_file_too(void **state)
{
    char path[] = "/tmp/ty-cli-settings-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    (void)state;
    fprintf(file, "# both kinds of verbs read this file\nserver = %s\nkafka-brokers = %s\n", responder_process_address(responder),
            mock_kafka_brokers(kafka));
    fclose(file);
    setenv("TRAINYARD_TIMEOUT_MS", "20000", 1);
    unsetenv("TRAINYARD_SERVER");
    cli_free(cli_expect(0, "containers", "--config", path));
    cli_free(cli_expect(0, "cancel", "0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b", "--config", path));
    setenv("TRAINYARD_SERVER", responder_process_address(responder), 1);
    unlink(path);
}

static void test_a_responder_that_is_away(void **state)
{
    (void)state;
    uint64_t start_ms = ty_clock_mono_ms();
    struct cli *cli = cli_expect(3, "get", "x", "--server", "127.0.0.1:1");
    assert_non_null(strstr(cli_err(cli), "127.0.0.1:1"));
    assert_non_null(strstr(cli_err(cli), "Connection refused"));
    cli_free(cli);
    cli = cli_expect(3, "watch", "x", "--server", "127.0.0.1:1", "--patience-s", "1");
    assert_non_null(strstr(cli_err(cli), "given up after 1 s"));
    cli_free(cli);
    cli = cli_expect(3, "get", "x", "--server", "no-such-host.invalid:1");
    assert_non_null(strstr(cli_err(cli), "no-such-host.invalid"));
    cli_free(cli);
    print_message("given up three times within %d ms\n", (int)(ty_clock_mono_ms() - start_ms));
    static const char *const wrong[] = {"nowhere", ":1", "host:", "host:0", "host:70000", "::1:80", "ftp://host:80", "http://host:80/x",
                                        "https://"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cli = cli_expect(2, "get", "x", "--server", wrong[i]);
        assert_non_null(strstr(cli_err(cli), "is not of the form host:port"));
        cli_free(cli);
    }
    cli_free(cli_expect(2, "get", "x", "--token", "two\nlines"));
    cli_free(cli_expect(4, "get", "x", "--token", "not asked for"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_shows_a_job_in_each_state),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_in_pages),
        cmocka_unit_test(test_history_names_attempts_and_their_workers),
        cmocka_unit_test(test_containers),
        cmocka_unit_test(test_logs_of_many_pages),
        cmocka_unit_test(test_a_terminal_is_safe_from_messages),
        cmocka_unit_test(test_colours_are_for_terminals),
        cmocka_unit_test(test_settings_come_from_a_file_too),
        cmocka_unit_test(test_a_responder_that_is_away),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
