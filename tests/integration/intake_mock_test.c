// The intake with the mock cluster: what comes in, and what the broker does to it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/apart.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"

#define API_PRODUCE 0

static struct intake_rig *new_rig(int partitions)
{
    return intake_rig_new(intake_broker.address, intake_broker.make_topics, intake_broker.broker, partitions);
}

static void see_stub(void *context, const rd_kafka_message_t *message)
{
    unsigned *stubs = context;
    *stubs += !strcmp(intake_header(message, "trainyard-stub"), "1");
    assert_string_equal(intake_header(message, "trainyard-origin-value-bytes"), "8");
    assert_int_equal(message->len, 8);
}

// Kafka refuses the letter for good: a stub goes instead. Before that it refuses for now: the same letter is tried again,
// and nothing moves on.
static void test_letter_is_refused(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    struct ty_id after = ty_id_new();
    unsigned stubs = 0;
    intake_produce(rig, "submit", 0, NULL, 0, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, NULL);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &after, 0);
    intake_flush(rig);
    rd_kafka_mock_push_request_errors(intake_mock.cluster, API_PRODUCE, 2, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    intake_node_start(rig, 0);
    intake_await(rig, &after, TY_JOB_PENDING);
    assert_int_equal(intake_node_figures(rig, 0).dead_lettered, 1);
    assert_int_equal(intake_read(rig, "dead-letter", see_stub, &stubs), 1);
    assert_int_equal(stubs, 1);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// One behind a backlog of submits that has been fetched already is applied at once.
static void test_a_cancel_overtakes_a_backlog(void **state)
{
    enum { BACKLOG = 30000 };
    (void)state;
    struct intake_rig *rig = new_rig(1);
    struct ty_id *ids = ty_xcalloc(BACKLOG, sizeof *ids), canceled = ty_id_new();
    intake_send_many(rig, ids, BACKLOG);
    intake_flush(rig);
    intake_batch_commands = 1; // a round trip to the store for each
    intake_node_start(rig, 0);
    intake_batch_commands = 64;
    RIG_UNTIL(rig, intake_node_figures(rig, 0).applied >= 100);
    intake_send(rig, TY_COMMAND_CANCEL, &canceled, 0);
    intake_flush(rig);
    RIG_UNTIL(rig, intake_node_figures(rig, 0).tombstones == 1);
    assert_true(intake_node_figures(rig, 0).applied < BACKLOG);
    intake_node_kill(rig, 0);
    intake_rig_free(rig);
    free(ids);
}

// As long as a letter is not acknowledged, neither the watermark nor the offset passes its record, also over a stop.
static void test_letter_is_waited_for(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(2);
    struct ty_id behind = ty_id_new(), beside = ty_id_new();
    intake_produce(rig, "submit", 0, NULL, 0, "\xff", 1, NULL);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &behind, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &beside, 1);
    intake_flush(rig);
    // More than can be used up while this test looks.
    rd_kafka_resp_err_t errors[1000];
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        errors[i] = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rd_kafka_mock_push_request_errors_array(intake_mock.cluster, API_PRODUCE, sizeof errors / sizeof *errors, errors);
    intake_node_start(rig, 0);
    intake_await(rig, &beside, TY_JOB_PENDING);
    assert_false(intake_look(rig, &behind).found);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), 1);
    rd_kafka_mock_clear_request_errors(intake_mock.cluster, API_PRODUCE);
    assert_int_equal(intake_read(rig, "dead-letter", NULL, NULL), 0);
    intake_node_start(rig, 0);
    intake_await(rig, &behind, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_read(rig, "dead-letter", NULL, NULL), 1);
    assert_int_equal(intake_committed(rig, "submit"), 3);
    intake_rig_free(rig);
}

// The broker goes and comes; the intake can be stopped meanwhile.
static void test_broker_is_away(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    struct ty_id id = ty_id_new(), later = ty_id_new();
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &id, 0);
    intake_flush(rig);
    rd_kafka_mock_broker_set_down(intake_mock.cluster, 1);
    intake_node_start(rig, 0);
    rd_kafka_mock_broker_set_up(intake_mock.cluster, 1);
    intake_await(rig, &id, TY_JOB_PENDING);
    rd_kafka_mock_broker_set_down(intake_mock.cluster, 1);
    intake_node_stop(rig, 0);
    rd_kafka_mock_broker_set_up(intake_mock.cluster, 1);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &later, 0);
    intake_flush(rig);
    intake_node_start(rig, 0);
    intake_await(rig, &later, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// What librdkafka has fetched already when the group is left is nobody's, and stays in Kafka.
static void test_stop_with_much_fetched(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct intake_rig *rig = new_rig(1);
    struct ty_id id = ty_id_new();
    for (size_t i = 0; i < COUNT; i++)
        intake_send(rig, TY_COMMAND_CANCEL, &id, 0);
    intake_flush(rig);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, intake_node_figures(rig, 0).received > 0);
    intake_node_stop(rig, 0);
    int64_t committed = intake_committed(rig, "cancel");
    assert_in_range(committed, 1, COUNT);
    intake_rig_free(rig);
}

// The same store and another Kafka: what the store knew of offsets says nothing about it, and everything is applied.
static void test_other_kafka(void **state)
{
    (void)state;
    static struct ty_id first[20], second[5];
    struct intake_mock other;
    struct intake_rig *rig = new_rig(1), *beside;
    intake_node_start(rig, 0);
    intake_send_many(rig, first, 20);
    intake_await_all(rig, first, 20, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_mock_start(&other);
    beside = intake_rig_new(rd_kafka_mock_cluster_bootstraps(other.cluster), intake_mock_make_topics, &other, 1);
    intake_rig_share_redis(beside, rig);
    intake_send_many(beside, second, 5);
    intake_node_start(beside, 0);
    intake_await_all(beside, second, 5, TY_JOB_PENDING);
    intake_await_all(beside, first, 20, TY_JOB_PENDING);
    intake_node_stop(beside, 0);
    intake_rig_free(beside);
    intake_rig_free(rig);
    intake_mock_stop(&other);
}

static void no_topics(void *broker, const char *prefix, int partitions)
{
    (void)broker;
    (void)prefix;
    (void)partitions;
}

// Nobody listens: the intake can be started all the same, and ends soon.
static void test_no_broker(void **state)
{
    (void)state;
    struct intake_rig *rig = intake_rig_new("127.0.0.1:1", no_topics, NULL, 1);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, rig->nodes[0].is_up);
    uint64_t start_ms = ty_clock_mono_ms();
    intake_node_stop(rig, 0);
    assert_true(ty_clock_mono_ms() - start_ms < INTAKE_STOP_MS); // not because its time was over
    intake_rig_free(rig);
}

// A site's properties: what may be tuned is taken, what makes no sense is refused by name.
static void test_properties(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    char *good[] = {(char *)"fetch.wait.max.ms=20", NULL}, *bad[] = {(char *)"fetch.wait.max.ms=soon", NULL};
    struct ty_intake_options options = {
        .kafka = {.brokers = rig->brokers, .topic_prefix = rig->prefix, .properties = good}, .group_id = "g",
        .batch_commands = 1, .batch_bytes = 1, .stall_ms = 1000};
    struct ty_intake *intake;
    struct ty_err err;
    assert_int_equal(ty_intake_new(rig->loop, rig->eye.state, rig->catalog, NULL, &options, &intake, &err), 0);
    ty_intake_free(intake);
    options.kafka.properties = bad;
    assert_int_equal(ty_intake_new(rig->loop, rig->eye.state, rig->catalog, NULL, &options, &intake, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "fetch.wait.max.ms"));
    intake_rig_free(rig);
}

int main(void)
{
    // The longest ones first.
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broker_is_away),
        cmocka_unit_test(test_letter_is_waited_for),
        cmocka_unit_test(test_other_kafka),
        cmocka_unit_test(intake_case_bad_input),
        cmocka_unit_test(intake_case_limit),
        cmocka_unit_test(intake_case_duplicates_and_order),
        cmocka_unit_test(intake_case_refused_submit),
        cmocka_unit_test(intake_case_horizon),
        cmocka_unit_test(test_letter_is_refused),
        cmocka_unit_test(test_a_cancel_overtakes_a_backlog),
        cmocka_unit_test(test_stop_with_much_fetched),
        cmocka_unit_test(test_no_broker),
        cmocka_unit_test(test_properties),
    };
    return apart_run("intake with the mock cluster", tests, intake_mock_set_up, intake_mock_tear_down);
}
