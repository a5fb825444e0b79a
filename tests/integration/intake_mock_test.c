// The intake with librdkafka's mock cluster, which takes any record and can be told to fail.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "core/buf.h"
#include "tests/integration/intake_cases.h"

#define API_PRODUCE 0

static rd_kafka_t *owner;
static rd_kafka_mock_cluster_t *cluster;

static void make_topics(void *broker, const char *prefix, int partitions)
{
    static const char *const names[] = {"submit", "cancel", "delete", "dead-letter"};
    (void)broker;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name TY_FREE = ty_xasprintf("%s%s", prefix, names[i]);
        assert_int_equal(rd_kafka_mock_topic_create(cluster, name, i == 3 ? 1 : partitions, 1), 0);
    }
}

static int set_up(void **state)
{
    char text[256];
    (void)state;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", text, sizeof text), RD_KAFKA_CONF_OK);
    owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(owner);
    cluster = rd_kafka_handle_mock_cluster(owner);
    intake_broker = (struct intake_broker){
        .address = rd_kafka_mock_cluster_bootstraps(cluster), .make_topics = make_topics, .takes_over_limit = true};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rd_kafka_destroy(owner);
    return 0;
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
    struct intake_rig *rig = intake_rig_new(intake_broker.address, make_topics, NULL, 1);
    struct ty_id after = ty_id_new();
    unsigned stubs = 0;
    intake_produce(rig, "submit", 0, NULL, 0, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, NULL);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &after, 0);
    intake_flush(rig);
    rd_kafka_mock_push_request_errors(cluster, API_PRODUCE, 2, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    intake_node_start(rig, 0);
    intake_await(rig, &after, TY_JOB_PENDING);
    assert_int_equal(intake_node_figures(rig, 0).dead_lettered, 1);
    assert_int_equal(intake_read(rig, "dead-letter", see_stub, &stubs), 1);
    assert_int_equal(stubs, 1);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// As long as a letter is not acknowledged, neither the watermark nor the offset passes its record, also over a stop.
static void test_letter_is_waited_for(void **state)
{
    (void)state;
    struct intake_rig *rig = intake_rig_new(intake_broker.address, make_topics, NULL, 2);
    struct ty_id behind = ty_id_new(), beside = ty_id_new();
    intake_produce(rig, "submit", 0, NULL, 0, "\xff", 1, NULL);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &behind, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &beside, 1);
    intake_flush(rig);
    // More than can be used up while this test looks.
    rd_kafka_resp_err_t errors[1000];
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        errors[i] = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rd_kafka_mock_push_request_errors_array(cluster, API_PRODUCE, sizeof errors / sizeof *errors, errors);
    intake_node_start(rig, 0);
    intake_await(rig, &beside, TY_JOB_PENDING);
    assert_false(intake_look(rig, &behind).found);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), 1);
    rd_kafka_mock_clear_request_errors(cluster, API_PRODUCE);
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
    struct intake_rig *rig = intake_rig_new(intake_broker.address, make_topics, NULL, 1);
    struct ty_id id = ty_id_new(), later = ty_id_new();
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &id, 0);
    intake_flush(rig);
    rd_kafka_mock_broker_set_down(cluster, 1);
    intake_node_start(rig, 0);
    rd_kafka_mock_broker_set_up(cluster, 1);
    intake_await(rig, &id, TY_JOB_PENDING);
    rd_kafka_mock_broker_set_down(cluster, 1);
    intake_node_stop(rig, 0);
    rd_kafka_mock_broker_set_up(cluster, 1);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &later, 0);
    intake_flush(rig);
    intake_node_start(rig, 0);
    intake_await(rig, &later, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_case_bad_input),
        cmocka_unit_test(intake_case_limit),
        cmocka_unit_test(intake_case_duplicates_and_order),
        cmocka_unit_test(intake_case_refused_submit),
        cmocka_unit_test(intake_case_redis_emptied),
        cmocka_unit_test(intake_case_redis_flushed),
        cmocka_unit_test(intake_case_redis_restored),
        cmocka_unit_test(intake_case_redis_away),
        cmocka_unit_test(intake_case_stop_and_start),
        cmocka_unit_test(intake_case_killed),
        cmocka_unit_test(intake_case_two_share),
        cmocka_unit_test(intake_case_back_pressure),
        cmocka_unit_test(test_letter_is_refused),
        cmocka_unit_test(test_letter_is_waited_for),
        cmocka_unit_test(test_broker_is_away),
    };
    return cmocka_run_group_tests_name("intake with the mock cluster", tests, set_up, tear_down);
}
