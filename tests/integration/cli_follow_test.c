// The verbs that wait for a job, against the built responder with real Redis: logs --follow, watch, submit --wait and
// --follow, over restarts of the responder.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "tests/integration/apart.h"
#include "tests/integration/cli_fixture.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "tests/integration/responder_store.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define RESPONDER TY_BINARY_DIR "/bin/trainyard-responder"

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *responder;
static struct store *store;
static char address[64];

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
    snprintf(address, sizeof address, "%s", responder_process_address(responder));
    setenv("TRAINYARD_SERVER", address, 1);
    setenv("TRAINYARD_KAFKA_BROKERS", mock_kafka_brokers(kafka), 1);
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

static void stop_responder(void)
{
    uint64_t took_ms;
    assert_int_equal(responder_process_stop(responder, &took_ms), 0);
    responder_process_free(responder);
    responder = NULL;
}

static void start_responder(void)
{
    const char *const args[] = {"--listen", address, NULL};
    responder = responder_process_new(RESPONDER, redis_server_url(redis), mock_kafka_brokers(kafka), args);
}

static void submit(struct ty_id *ret_id, char ret_text[TY_ID_TEXT_BYTES])
{
    struct store_job job = {.organization_id = "acme", .model_name = "reader", .created_us = ty_clock_wall_us()};
    store_submit(store, &job, 1, ret_id);
    ty_id_format(ret_id, ret_text);
}

// Submits a job with a key through the responder, as an intake applies one that the command line published with that key.
static void apply(const char *key, struct ty_id *ret_id)
{
    const char *const metadata[] = {"idempotency-key", key, NULL};
    struct rpc_client *client = rpc_client_new(address);
    struct rpc_answer answer;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    TY_BUF(bytes);
    request.organization_id = (char *)"acme";
    request.dataset_id = request.model_name = request.model_version = (char *)"x";
    request.registry_item_id = (char *)"acme:x";
    size_t len = protobuf_c_message_get_packed_size(&request.base);
    protobuf_c_message_pack(&request.base, ty_buf_reserve(&bytes, len));
    rpc_call(client, RPC_TRAINING "SubmitCustomTrainingJob", bytes.data, len, metadata, 0, &answer);
    assert_int_equal(answer.status, 0);
    rpc_answer_done(&answer);
    rpc_client_free(client);
    *ret_id = ty_id_from_key("acme", key);
}

// ---- logs --follow ----

// Every entry once and in order, from 0 to count - 1.
static void expect_lines(const char *text, size_t count)
{
    size_t lines = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1, lines++) {
        const char *number = strstr(line, "line ");
        if (!number || strtoull(number + strlen("line "), NULL, 10) != lines)
            fail_msg("line %zu: %.80s", lines, line);
    }
    assert_int_equal(lines, count);
}

static void expect_line(struct cli *cli, size_t number)
{
    char text[32];
    snprintf(text, sizeof text, "line %zu ", number);
    cli_expect_out(cli, text);
}

static void test_a_log_is_followed_to_its_end(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit(&id, text);
    struct cli *cli = cli_start("logs", "--follow", text, NULL);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "line", 1, 0);
    expect_line(cli, 0);
    store_log(store, &attempt, "line", 2500, 0);
    expect_line(cli, 2500);
    store_log(store, &attempt, "line", 3, 0);
    expect_line(cli, 2503);
    store_finish(store, &attempt, TY_FINISH_FAILED); // the job has ended, its log goes on
    store_log(store, &attempt, "line", 4, 0);
    expect_line(cli, 2507);
    store_log_end(store, &attempt);
    assert_int_equal(cli_end(cli), 0); // however the job ended
    expect_lines(cli_out(cli), 2508);
    assert_string_equal(cli_err(cli), "");
    cli_free(cli);
    cli = cli_expect(0, "logs", "--follow", text); // all of it at once
    expect_lines(cli_out(cli), 2508);
    cli_free(cli);
}

static void test_a_log_is_followed_over_restarts_of_the_responder(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit(&id, text);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "line", 1500, 0);
    struct cli *cli = cli_start("logs", "--follow", text, NULL);
    expect_line(cli, 1499);
    for (size_t i = 1; i <= 2; i++) {
        stop_responder();
        store_log(store, &attempt, "line", 100, 0); // while nobody can be asked
        if (i == 1)
            cli_expect_err(cli, "trying again");
        start_responder();
        expect_line(cli, 1499 + 100 * i);
    }
    cli_expect_err(cli, "the responder is back");
    store_log_end(store, &attempt);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
    assert_int_equal(cli_end(cli), 0);
    expect_lines(cli_out(cli), 1700);
    cli_free(cli);
}

static void test_a_log_over_two_attempts(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit(&id, text);
    struct cli *cli = cli_start("logs", "--follow", text, NULL);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "first", 2, 0);
    store_log_end(store, &attempt);
    store_finish(store, &attempt, TY_FINISH_RETRY);
    cli_expect_out(cli, "first 1 ");
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "second", 2, 0);
    cli_expect_out(cli, "second 1 ");
    store_log_end(store, &attempt);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
    assert_int_equal(cli_end(cli), 0);
    cli_free(cli);
}

static void test_a_log_without_its_end(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    submit(&id, text);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "line", 3, 0);
    store_finish(store, &attempt, TY_FINISH_FAILED);
    struct cli *cli = cli_expect(12, "logs", "--follow", "--rest-s", "1", text);
    expect_lines(cli_out(cli), 3);
    assert_non_null(strstr(cli_err(cli), "may be missing"));
    cli_free(cli);
}

static void test_a_job_may_come_late_and_go_early(void **state)
{
    struct ty_id id = ty_id_from_key("acme", "late");
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, 1);
    ty_id_format(&id, text);
    struct cli *cli = cli_start("logs", "--follow", "--appear-s", "50", text, NULL);
    struct cli *watch = cli_start("watch", "--appear-s", "50", text, NULL);
    struct store_attempt attempt;
    apply("late", &id);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "line", 1, 0);
    cli_expect_out(watch, "IN_PROGRESS");
    expect_line(cli, 0);
    redis_server_empty(redis, 1); // as good as deleted
    assert_int_equal(cli_end(watch), 4);
    assert_int_equal(cli_end(cli), 4);
    cli_free(watch);
    cli_free(cli);
}

// ---- watch ----

static void expect_watched(enum ty_finish_action action, const char *word, int status)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES];
    redis_server_empty(redis, 1);
    submit(&id, text);
    struct cli *cli = cli_start("watch", text, NULL);
    cli_expect_out(cli, "PENDING");
    store_claim(store, &id, &attempt);
    cli_expect_out(cli, "IN_PROGRESS");
    if (action == TY_FINISH_CANCELED) {
        cli_free(cli_expect(0, "cancel", text)); // nobody takes it from the mock Kafka
        struct rpc_client *client = rpc_client_new(address);
        struct rpc_answer answer;
        TY_BUF(request);
        ty_buf_add_tag_bytes(&request, 1, text, strlen(text));
        rpc_call(client, RPC_TRAINING "CancelTrainingJob", request.data, request.len, NULL, 0, &answer);
        assert_int_equal(answer.status, 0);
        rpc_answer_done(&answer);
        rpc_client_free(client);
        cli_expect_out(cli, "CANCELING");
    }
    store_finish(store, &attempt, action);
    assert_int_equal(cli_end(cli), status);
    assert_non_null(strstr(cli_out(cli), word));
    if (action == TY_FINISH_FAILED)
        assert_non_null(strstr(cli_err(cli), "the script ended with status 1"));
    cli_free(cli);

    cli = cli_expect(status, "watch", "--json", text); // it has ended: one line
    json_t *job = json_loads(cli_out(cli), 0, NULL);
    assert_non_null(job);
    assert_string_equal(json_string_value(json_object_get(job, "status")), word);
    json_decref(job);
    cli_free(cli);
}

static void test_watch(void **state)
{
    (void)state;
    expect_watched(TY_FINISH_COMPLETED, "COMPLETED", 0);
    expect_watched(TY_FINISH_FAILED, "FAILED", 10);
    expect_watched(TY_FINISH_CANCELED, "CANCELED", 11);
}

// ---- submit --wait ----

#define SUBMIT                                                                                                             \
    "submit-custom", "--org", "acme", "--dataset", "x", "--script", "acme:x", "--model-name", "x", "--model-version", "x"

static void test_submit_waits(void **state)
{
    struct ty_id id;
    struct store_attempt attempt;
    char text[TY_ID_TEXT_BYTES + 1];
    (void)state;
    redis_server_empty(redis, 1);
    struct cli *cli = cli_start(SUBMIT, "--idempotency-key", "one", "--follow", "--appear-s", "50", NULL);
    cli_expect_out(cli, "\n"); // the id comes before the job's end
    apply("one", &id);
    store_claim(store, &id, &attempt);
    store_log(store, &attempt, "line", 2, 0);
    cli_expect_err(cli, "line 1 ");
    store_log_end(store, &attempt);
    store_finish(store, &attempt, TY_FINISH_FAILED);
    assert_int_equal(cli_end(cli), 10);
    ty_id_format(&id, text);
    strcat(text, "\n");
    assert_string_equal(cli_out(cli), text); // the id alone
    assert_non_null(strstr(cli_err(cli), "the job ended FAILED"));
    cli_free(cli);

    cli = cli_start(SUBMIT, "--idempotency-key", "two", "--wait", "--json", "--appear-s", "50", NULL);
    apply("two", &id);
    store_claim(store, &id, &attempt);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
    assert_int_equal(cli_end(cli), 0);
    json_t *document = json_loads(cli_out(cli), 0, NULL), *job = json_object_get(document, "job");
    assert_string_equal(json_string_value(json_object_get(document, "id")), json_string_value(json_object_get(job, "id")));
    assert_string_equal(json_string_value(json_object_get(job, "status")), "COMPLETED");
    json_decref(document);
    cli_free(cli);

    // Nobody takes the command up: the id was printed all the same.
    cli = cli_expect(4, SUBMIT, "--wait", "--appear-s", "1");
    assert_int_equal(strlen(cli_out(cli)), TY_ID_TEXT_BYTES);
    cli_free(cli);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_log_is_followed_to_its_end),
        cmocka_unit_test(test_a_log_is_followed_over_restarts_of_the_responder),
        cmocka_unit_test(test_a_log_over_two_attempts),
        cmocka_unit_test(test_a_log_without_its_end),
        cmocka_unit_test(test_a_job_may_come_late_and_go_early),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_submit_waits),
    };
    return apart_run("the command line follows", tests, set_up, tear_down);
}
