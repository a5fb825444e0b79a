// producer/topics and libtrainyard against a real Kafka: topics are made as described, differences are told one by one, and
// what the library publishes arrives with key, header and the broker's time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/command.h"
#include "producer/topics.h"
#include "producer/trainyard.h"
#include "tests/integration/kafka_broker.h"

static struct kafka_broker *broker;

#define FINDINGS 64

struct report {
    unsigned count[TY_TOPICS_MISSING + 1];
    char lines[FINDINGS][160]; // "topic: text"
    size_t line_count;
};

static void on_line(void *context, enum ty_topics_finding finding, const char *topic, const char *text)
{
    struct report *report = context;
    report->count[finding]++;
    assert_true(report->line_count < FINDINGS);
    snprintf(report->lines[report->line_count++], sizeof *report->lines, "%s: %s", topic, text);
}

static bool has_line(const struct report *report, const char *line)
{
    for (size_t i = 0; i < report->line_count; i++)
        if (!strcmp(report->lines[i], line))
            return true;
    return false;
}

enum verb { CREATE, CHECK };

struct outcome {
    int rc;
    size_t differences;
    struct report report;
    struct ty_err err;
};

static struct outcome run_on(const char *brokers, enum verb verb, const struct ty_topics *topics, const char *prefix,
                             int replication_factor)
{
    struct outcome outcome = {.differences = 9999};
    struct ty_kafka_options kafka = {.brokers = brokers, .topic_prefix = prefix};
    struct ty_topics_run run = {.kafka = &kafka,
                                .replication_factor = replication_factor,
                                .timeout_ms = 20000,
                                .fn = on_line,
                                .context = &outcome.report};
    outcome.rc = (verb == CREATE ? ty_topics_create : ty_topics_check)(topics, &run, &outcome.differences, &outcome.err);
    return outcome;
}

static struct outcome run(enum verb verb, const char *prefix, int replication_factor)
{
    struct ty_topics *topics;
    struct ty_err err;
    assert_int_equal(ty_topics_load(NULL, &topics, &err), 0);
    struct outcome outcome = run_on(kafka_broker_address(broker), verb, topics, prefix, replication_factor);
    ty_topics_free(topics);
    return outcome;
}

// The broker shows a topic that it has made when its own copy of the cluster's records has it; only then check is meaningful.
static struct outcome check_when_all_there(const char *prefix, int replication_factor)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + 60000;
    struct outcome outcome = run(CHECK, prefix, replication_factor);
    while (outcome.rc == 0 && outcome.report.count[TY_TOPICS_MISSING] && ty_clock_mono_ms() < deadline_ms) {
        poll(NULL, 0, 100);
        outcome = run(CHECK, prefix, replication_factor);
    }
    return outcome;
}

static void expect_ok(const struct outcome *outcome, size_t differences)
{
    if (outcome->rc < 0)
        fail_msg("%s", outcome->err.message);
    if (outcome->differences != differences)
        for (size_t i = 0; i < outcome->report.line_count; i++)
            print_error("%s\n", outcome->report.lines[i]);
    assert_int_equal(outcome->differences, differences);
}

static void created_as_described(void **state)
{
    (void)state;
    struct outcome outcome = run(CHECK, "fresh.", 0);
    expect_ok(&outcome, 6);
    assert_int_equal(outcome.report.count[TY_TOPICS_MISSING], 6);
    assert_true(has_line(&outcome.report, "fresh.dead-letter: "));
    outcome = run(CREATE, "fresh.", 1);
    expect_ok(&outcome, 0);
    assert_int_equal(outcome.report.count[TY_TOPICS_CREATED], 6);
    outcome = check_when_all_there("fresh.", 1);
    expect_ok(&outcome, 0);
    assert_int_equal(outcome.report.count[TY_TOPICS_MATCHES], 6);
    // Once more changes nothing.
    outcome = run(CREATE, "fresh.", 1);
    expect_ok(&outcome, 0);
    assert_int_equal(outcome.report.count[TY_TOPICS_MATCHES], 6);
}

static void differences_are_told_and_left(void **state)
{
    (void)state;
    kafka_broker_make_topic(broker, "other.submit", 3);
    struct outcome outcome = run(CREATE, "other.", 0);
    if (outcome.rc < 0)
        fail_msg("%s", outcome.err.message);
    assert_int_equal(outcome.report.count[TY_TOPICS_CREATED], 5);
    assert_true(has_line(&outcome.report, "other.submit: partitions: 3, described as 8"));
    assert_true(has_line(&outcome.report, "other.submit: message.timestamp.type: CreateTime, described as LogAppendTime"));
    assert_true(has_line(&outcome.report, "other.submit: max.message.bytes: 1048588, described as 1048576"));
    assert_int_equal(outcome.differences, 3);
    outcome = check_when_all_there("other.", 2);
    expect_ok(&outcome, 9);
    assert_int_equal(outcome.report.count[TY_TOPICS_DIFFERS], 9);
    assert_int_equal(outcome.report.count[TY_TOPICS_MATCHES], 0);
    assert_true(has_line(&outcome.report, "other.cancel: replication factor: 1, described as 2"));
    outcome = check_when_all_there("other.", 0);
    expect_ok(&outcome, 3);
    assert_int_equal(outcome.report.count[TY_TOPICS_MATCHES], 5);
}

static void what_kafka_refuses_is_named(void **state)
{
    (void)state;
    static const char text[] = "{\"format\":1,\"prefix\":\"bad.\",\"topics\":[{\"name\":\"a\",\"key\":\"k\",\"value\":\"v\","
                               "\"writers\":[],\"readers\":[],\"partitions\":1,\"config\":{\"no.such.setting\":\"1\"}}]}";
    struct ty_topics *topics;
    struct ty_err err;
    struct outcome outcome = run(CREATE, "three.", 3);
    assert_int_equal(outcome.rc, -TY_EINVALID);
    assert_false(outcome.err.retriable);
    assert_non_null(strstr(outcome.err.message, "topic three.submit cannot be created: "));
    assert_int_equal(ty_topics_parse("t.json", text, strlen(text), &topics, &err), 0);
    outcome = run_on(kafka_broker_address(broker), CREATE, topics, NULL, 1);
    assert_int_equal(outcome.rc, -TY_EINVALID);
    assert_non_null(strstr(outcome.err.message, "topic bad.a cannot be created: "));
    assert_non_null(strstr(outcome.err.message, "no.such.setting"));
    struct ty_kafka_options nobody = {.brokers = "127.0.0.1:1"};
    struct ty_topics_run impatient = {.kafka = &nobody, .timeout_ms = 500};
    size_t differences;
    assert_int_equal(ty_topics_check(topics, &impatient, &differences, &err), -TY_EUNAVAILABLE);
    assert_non_null(strstr(err.message, "127.0.0.1:1"));
    ty_topics_free(topics);
}

// ---- the library ----

struct seen {
    size_t count;
    char key[64];
    char traceparent[64];
};

static void on_record(void *context, const rd_kafka_message_t *message)
{
    struct seen *seen = context;
    struct ty_command command;
    struct ty_err err;
    bool has_id;
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    rd_kafka_timestamp_type_t type;
    if (ty_command_decode(TY_TOPIC_SUBMIT, message->key, message->key_len, message->payload, message->len, &command, &has_id,
                          &err) < 0)
        fail_msg("%s", err.message);
    ty_command_done(&command);
    snprintf(seen->key, sizeof seen->key, "%.*s", (int)message->key_len, (const char *)message->key);
    if (!rd_kafka_message_headers(message, &headers) &&
        !rd_kafka_header_get_last(headers, "traceparent", &value, &len))
        snprintf(seen->traceparent, sizeof seen->traceparent, "%.*s", (int)len, (const char *)value);
    rd_kafka_message_timestamp(message, &type);
    assert_int_equal(type, RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME);
    seen->count++;
}

// A broker that stops answering and comes back: what is said about the command in between is true.
static void published_for_good(void **state)
{
    (void)state;
    struct trainyard_client_options options = TRAINYARD_CLIENT_OPTIONS_INIT;
    struct trainyard_custom_job job = TRAINYARD_CUSTOM_JOB_INIT;
    struct trainyard_client *client;
    struct trainyard_receipt receipt;
    struct trainyard_error error;
    struct seen seen = {0};
    expect_ok(&(struct outcome){.differences = run(CREATE, "lib.", 1).differences}, 0);
    options.brokers = kafka_broker_address(broker);
    options.topic_prefix = "lib.";
    assert_int_equal(trainyard_client_new(&options, &client, NULL), 0);
    job.organization_id = "org";
    job.dataset_id = job.model_name = job.model_version = "x";
    job.registry_item_id = "org:script";
    job.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    if (trainyard_submit_custom(client, &job, TRAINYARD_WAIT, &receipt, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(kafka_broker_read(broker, "lib.submit", on_record, &seen), 1);
    assert_string_equal(seen.key, receipt.job_id);
    assert_string_equal(seen.traceparent, job.traceparent);
    kafka_broker_pause(broker);
    job.job_id = receipt.job_id;
    assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, &error), -TRAINYARD_UNAVAILABLE);
    assert_true(error.retriable && error.unknown); // it had left for a broker that is connected
    kafka_broker_resume(broker);
    int rc = -1;
    for (uint64_t deadline_ms = ty_clock_mono_ms() + 60000; rc < 0 && ty_clock_mono_ms() < deadline_ms;)
        rc = trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, &error);
    assert_int_equal(rc, 0);
    memset(&seen, 0, sizeof seen);
    // The one with the unknown outcome may be there, under the same id.
    assert_in_range(kafka_broker_read(broker, "lib.submit", on_record, &seen), 2, 3);
    assert_string_equal(seen.key, receipt.job_id);
    trainyard_client_free(client, 0);
}

// A service that starts before anybody has made the topics works as soon as they are there.
static void topics_that_come_late(void **state)
{
    (void)state;
    struct trainyard_client_options options = TRAINYARD_CLIENT_OPTIONS_INIT;
    struct trainyard_client *client;
    struct trainyard_error error;
    static const char id[] = "a0000000-0000-4000-8000-00000000000b";
    options.brokers = kafka_broker_address(broker);
    options.topic_prefix = "late.";
    assert_int_equal(trainyard_client_new(&options, &client, NULL), 0);
    assert_int_equal(trainyard_cancel(client, id, NULL, TRAINYARD_WAIT, NULL, &error), -TRAINYARD_UNAVAILABLE);
    assert_non_null(strstr(error.message, "late.cancel"));
    assert_true(error.retriable);
    assert_false(error.unknown);
    struct outcome outcome = run(CREATE, "late.", 0);
    expect_ok(&outcome, 0);
    int rc = -1;
    for (uint64_t deadline_ms = ty_clock_mono_ms() + 60000; rc < 0 && ty_clock_mono_ms() < deadline_ms;) {
        poll(NULL, 0, 100);
        rc = trainyard_cancel(client, id, NULL, TRAINYARD_WAIT, NULL, &error);
    }
    if (rc < 0)
        fail_msg("%s", error.message);
    trainyard_client_free(client, 0);
    assert_int_equal(kafka_broker_read(broker, "late.cancel", NULL, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(created_as_described),
        cmocka_unit_test(differences_are_told_and_left),
        cmocka_unit_test(what_kafka_refuses_is_named),
        cmocka_unit_test(published_for_good),
        cmocka_unit_test(topics_that_come_late),
    };
    broker = kafka_broker_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kafka_broker_free(broker);
    return failed;
}
