// The intake with a real Apache Kafka.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/kafka_broker.h"

#define JOBS 100

static struct kafka_broker *broker;

static void make_topics(void *context, const char *prefix, int partitions)
{
    (void)context;
    kafka_broker_make_topics(broker, prefix, partitions);
}

static struct intake_rig *new_rig(int partitions)
{
    return intake_rig_new(intake_broker.address, make_topics, NULL, partitions);
}

static uint64_t received(const struct intake_rig *rig)
{
    return intake_node_figures(rig, 0).received;
}

// Kafka dies with commands acknowledged and not yet taken, and comes back over its data.
static void test_broker_is_killed(void **state)
{
    (void)state;
    static struct ty_id ids[3 * JOBS];
    struct intake_rig *rig = new_rig(2);
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await(rig, &ids[0], TY_JOB_PENDING);
    intake_send_many(rig, ids + JOBS, JOBS);
    kafka_broker_kill(broker);
    kafka_broker_start(broker);
    intake_send_many(rig, ids + 2 * JOBS, JOBS);
    intake_await_all(rig, ids, 3 * JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// A topic is made anew under its name, so that its log is shorter than the store remembers: the new commands are applied.
static void test_topic_is_made_anew(void **state)
{
    (void)state;
    static struct ty_id ids[JOBS + 10];
    struct intake_rig *rig = new_rig(1);
    char *topic TY_FREE = ty_xasprintf("%ssubmit", rig->prefix);
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    kafka_broker_delete_topic(broker, topic);
    kafka_broker_make_topic(broker, topic, 1);
    intake_reopen_producer(rig);
    intake_send_many(rig, ids + JOBS, 5);
    intake_node_start(rig, 0);
    intake_await_all(rig, ids + JOBS, 5, TY_JOB_PENDING);
    // And while it is at work.
    kafka_broker_delete_topic(broker, topic);
    kafka_broker_make_topic(broker, topic, 1);
    intake_reopen_producer(rig);
    intake_send_many(rig, ids + JOBS + 5, 2);
    intake_await_all(rig, ids + JOBS + 5, 2, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// Topics that come after the intake, as on a first start.
static void test_topics_come_later(void **state)
{
    (void)state;
    static struct ty_id ids[JOBS];
    struct intake_rig *rig = new_rig(1);
    snprintf(rig->prefix, sizeof rig->prefix, "later.");
    intake_node_start(rig, 0);
    intake_rig_turn_for(rig, 500);
    kafka_broker_make_topics(broker, rig->prefix, 1);
    intake_send_many(rig, ids, JOBS);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

static void see_reason(void *context, const rd_kafka_message_t *message)
{
    (void)context;
    assert_non_null(strstr(intake_header(message, "trainyard-origin-reason"), "older than horizon-hours"));
}

// The time that counts is Kafka's where the topic has LogAppendTime, whatever the producer says. The horizon is a thousandth of a
// second, and the record waits for longer than that.
static void test_horizon_by_kafkas_clock(void **state)
{
    (void)state;
    struct ty_id old = ty_id_new(), young = ty_id_new();
    struct intake_rig *rig = new_rig(1);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &old, 0);
    intake_flush(rig);
    intake_rig_turn_for(rig, 5);
    intake_horizon_ms = 1;
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, intake_node_figures(rig, 0).dead_lettered == 1);
    assert_int_equal(intake_node_figures(rig, 0).too_old, 1);
    assert_false(intake_look(rig, &old).found);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_read(rig, "dead-letter", see_reason, NULL), 1);
    intake_horizon_ms = 3600000;
    intake_age_ms = 7200000;
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &young, 0);
    intake_age_ms = 0;
    intake_flush(rig);
    intake_node_start(rig, 0);
    intake_await(rig, &young, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_horizon_ms = 0;
    intake_rig_free(rig);
}

// One command after the other, each when the one before has been seen. How long that takes is the machine's affair, too, and is
// printed only.
static void test_latency(void **state)
{
    (void)state;
    uint64_t slowest_ms = 0, sum_ms = 0;
    struct ty_id id = ty_id_new();
    struct intake_rig *rig = new_rig(1);
    intake_node_start(rig, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &id, 0);
    intake_flush(rig);
    intake_await(rig, &id, TY_JOB_PENDING);
    for (int i = 0; i < JOBS; i++) {
        uint64_t start_ms = ty_clock_mono_ms(), had = received(rig);
        id = ty_id_new();
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &id, 0);
        intake_flush(rig);
        RIG_UNTIL(rig, received(rig) > had);
        intake_await(rig, &id, TY_JOB_PENDING);
        uint64_t took_ms = ty_clock_mono_ms() - start_ms;
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        sum_ms += took_ms;
    }
    print_message("publish to applied: mean %.1f ms, slowest %d ms\n", (double)sum_ms / JOBS, (int)slowest_ms);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

static rd_kafka_t *open_writer(const struct intake_rig *rig)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", rig->brokers, text, sizeof text), RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "transactional.id", rig->prefix, text, sizeof text), RD_KAFKA_CONF_OK);
    rd_kafka_t *writer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(writer);
    assert_null(rd_kafka_init_transactions(writer, 20000));
    return writer;
}

static void write_submit(const struct intake_rig *rig, rd_kafka_t *writer, const struct ty_id *id)
{
    char key[TY_ID_TEXT_BYTES];
    char *topic TY_FREE = ty_xasprintf("%ssubmit", rig->prefix);
    TY_BUF(value);
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, id, "digits", &value);
    assert_null(rd_kafka_begin_transaction(writer));
    assert_int_equal(rd_kafka_producev(writer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_KEY(ty_id_format(id, key), TY_ID_TEXT_BYTES - 1), RD_KAFKA_V_VALUE(value.data, value.len),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END), 0);
    assert_int_equal(rd_kafka_flush(writer, 20000), 0);
}

// What is no record is nothing that could come: the marks of transactions, one that was taken back, one that is open. Where more could
// come and does not, Kafka says so.
static void test_what_stands_still(void **state)
{
    (void)state;
    struct ty_id taken = ty_id_new(), taken_back = ty_id_new(), open = ty_id_new();
    struct intake_rig *rig = new_rig(2);
    rig->stall_ms = 1000;
    intake_node_start(rig, 0);
    rd_kafka_t *writer = open_writer(rig);
    write_submit(rig, writer, &taken);
    assert_null(rd_kafka_commit_transaction(writer, 20000));
    write_submit(rig, writer, &taken_back);
    assert_null(rd_kafka_abort_transaction(writer, 20000));
    intake_await(rig, &taken, TY_JOB_PENDING);
    intake_rig_turn_for(rig, 5000);
    write_submit(rig, writer, &open);
    intake_rig_turn_for(rig, 5000);
    assert_int_equal(intake_node_figures(rig, 0).stalls, 0);
    assert_false(intake_look(rig, &taken_back).found);
    assert_false(intake_look(rig, &open).found);
    intake_pause_behind(rig, "submit", 0);
    assert_null(rd_kafka_commit_transaction(writer, 20000));
    intake_await(rig, &open, TY_JOB_PENDING);
    assert_int_equal(intake_node_figures(rig, 0).stalls, 1);
    rd_kafka_destroy(writer);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_case_bad_input),      cmocka_unit_test(intake_case_limit),
        cmocka_unit_test(intake_case_duplicates_and_order), cmocka_unit_test(intake_case_refused_submit),
        cmocka_unit_test(intake_case_redis_emptied),  cmocka_unit_test(intake_case_redis_flushed),
        cmocka_unit_test(intake_case_redis_restored), cmocka_unit_test(intake_case_redis_away),
        cmocka_unit_test(intake_case_stop_and_start), cmocka_unit_test(intake_case_killed),
        cmocka_unit_test(intake_case_two_share),      cmocka_unit_test(intake_case_back_pressure),
        cmocka_unit_test(test_horizon_by_kafkas_clock), cmocka_unit_test(test_what_stands_still),
        cmocka_unit_test(test_latency),               cmocka_unit_test(test_topics_come_later),
        cmocka_unit_test(test_topic_is_made_anew),    cmocka_unit_test(test_broker_is_killed),
    };
    broker = kafka_broker_new();
    intake_broker = (struct intake_broker){.address = kafka_broker_address(broker), .make_topics = make_topics};
    int failed = cmocka_run_group_tests_name("intake with Apache Kafka", tests, NULL, NULL);
    kafka_broker_free(broker);
    return failed;
}
