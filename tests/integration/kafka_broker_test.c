// The real Kafka of the tests, and what core/kafka needs of it: topics as schemas/topics.json has them, records that outlive a
// kill -9 of the broker, and the publisher of commands.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/kafka.h"
#include "core/limits.h"
#include "tests/integration/kafka_broker.h"

static struct kafka_broker *broker;

struct seen {
    size_t count;
    char text[256];
    int64_t last_offset;
};

static void on_record(void *context, const rd_kafka_message_t *message)
{
    struct seen *seen = context;
    seen->count++;
    seen->last_offset = message->offset;
    snprintf(seen->text, sizeof seen->text, "%.*s=%.*s", (int)message->key_len, (const char *)message->key, (int)message->len,
             (const char *)message->payload);
}

static void records_outlive_a_killed_broker(void **state)
{
    struct seen seen = {0};
    (void)state;
    kafka_broker_make_topics(broker, "outlive.", 2);
    assert_int_equal(kafka_broker_read(broker, "outlive.submit", NULL, NULL), 0);
    assert_int_equal(kafka_broker_produce(broker, "outlive.submit", 1, "k", 1, "one", 3), 0);
    assert_int_equal(kafka_broker_produce(broker, "outlive.submit", 1, "k", 1, "two", 3), 1);
    assert_int_equal(kafka_broker_produce(broker, "outlive.submit", 0, NULL, 0, NULL, 0), 0);
    char *address TY_FREE = ty_xstrdup(kafka_broker_address(broker));
    kafka_broker_kill(broker);
    kafka_broker_start(broker);
    assert_string_equal(kafka_broker_address(broker), address);
    assert_int_equal(kafka_broker_read(broker, "outlive.submit", on_record, &seen), 3);
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.last_offset, 1);
    assert_string_equal(seen.text, "k=two");
    assert_int_equal(kafka_broker_committed(broker, "nobody", "outlive.submit", 0), -1);
    kafka_broker_delete_topic(broker, "outlive.cancel");
}

// ---- the publisher ----

struct delivery {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned calls;
    int32_t partition;
    int64_t offset;
    bool unknown, failed;
    struct ty_err err;
};

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct delivery *delivery = context;
    pthread_mutex_lock(&delivery->lock);
    delivery->calls++;
    delivery->partition = partition;
    delivery->offset = offset;
    delivery->unknown = unknown;
    delivery->failed = err != NULL;
    if (err)
        delivery->err = *err;
    pthread_cond_signal(&delivery->changed);
    pthread_mutex_unlock(&delivery->lock);
}

static void await(struct delivery *delivery, unsigned calls)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&delivery->lock);
    int rc = 0;
    while (delivery->calls < calls && rc == 0)
        rc = pthread_cond_timedwait(&delivery->changed, &delivery->lock, &until);
    pthread_mutex_unlock(&delivery->lock);
    assert_int_equal(delivery->calls, calls);
}

static struct ty_publisher *publisher_to(const char *brokers, const char *prefix)
{
    struct ty_kafka_options options = {.brokers = brokers, .client_id = "test", .topic_prefix = prefix};
    struct ty_publisher *publisher;
    struct ty_err err;
    if (ty_publisher_new(&options, &publisher, &err) < 0)
        fail_msg("%s", err.message);
    return publisher;
}

static void published_commands_are_acknowledged_and_keyed_by_the_job(void **state)
{
    struct delivery delivery = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct ty_id id = ty_id_new();
    struct ty_err err;
    struct seen seen = {0};
    char text[TY_ID_TEXT_BYTES];
    (void)state;
    kafka_broker_make_topics(broker, "publish.", 0);
    struct ty_publisher *publisher = publisher_to(kafka_broker_address(broker), "publish.");
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(ty_publisher_send(publisher, "cancel", &id, "value", 5, NULL, on_published, &delivery, &err), 0);
        await(&delivery, i);
        assert_false(delivery.failed);
        assert_int_equal(delivery.offset, i - 1); // the same key: the same partition
    }
    assert_int_equal(kafka_broker_read(broker, "publish.cancel", on_record, &seen), 3);
    ty_id_format(&id, text);
    assert_int_equal(strncmp(seen.text, text, strlen(text)), 0);
    ty_publisher_free(publisher, 5000);
}

static void records_above_the_limit_are_refused_and_at_it_taken(void **state)
{
    struct delivery delivery = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct ty_id id = ty_id_new();
    struct ty_err err;
    uint8_t *bytes = ty_xcalloc(1, 2 * TY_LIMIT_COMMAND_BYTES);
    (void)state;
    struct ty_publisher *publisher = publisher_to(kafka_broker_address(broker), "publish.");
    assert_int_equal(ty_publisher_send(publisher, "submit", &id, bytes, 2 * TY_LIMIT_COMMAND_BYTES, NULL, on_published, &delivery,
                                       &err), -TY_EINVALID);
    assert_int_equal(delivery.calls, 0);
    assert_int_equal(ty_publisher_send(publisher, "submit", &id, bytes, TY_LIMIT_COMMAND_BYTES - 1024, NULL, on_published,
                                       &delivery, &err), 0);
    await(&delivery, 1);
    if (delivery.failed)
        fail_msg("%s", delivery.err.message);
    ty_publisher_free(publisher, 5000);
    free(bytes);
}

static void a_broker_that_stands_still_is_an_error_in_bounded_time(void **state)
{
    struct delivery delivery = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct ty_id id = ty_id_new();
    struct ty_err err;
    (void)state;
    struct ty_publisher *publisher = publisher_to(kafka_broker_address(broker), "publish.");
    assert_int_equal(ty_publisher_send(publisher, "delete", &id, "x", 1, NULL, on_published, &delivery, &err), 0);
    await(&delivery, 1);
    kafka_broker_pause(broker);
    uint64_t before = ty_clock_mono_ms();
    assert_int_equal(ty_publisher_send(publisher, "delete", &id, "x", 1, NULL, on_published, &delivery, &err), 0);
    await(&delivery, 2);
    uint64_t took_ms = ty_clock_mono_ms() - before;
    kafka_broker_resume(broker);
    assert_true(delivery.failed);
    assert_true(delivery.unknown); // it was sent, and nobody knows
    assert_int_equal(delivery.err.code, TY_EUNAVAILABLE);
    print_message("given up after %d ms\n", (int)took_ms);
    // It goes on as soon as the broker does.
    do {
        unsigned calls = delivery.calls;
        assert_int_equal(ty_publisher_send(publisher, "delete", &id, "x", 1, NULL, on_published, &delivery, &err), 0);
        await(&delivery, calls + 1);
    } while (delivery.failed && ty_clock_mono_ms() - before < 30000);
    assert_false(delivery.failed);
    ty_publisher_free(publisher, 5000);
}

static void an_unknown_topic_is_an_error(void **state)
{
    struct delivery delivery = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct ty_id id = ty_id_new();
    struct ty_err err;
    (void)state;
    struct ty_publisher *publisher = publisher_to(kafka_broker_address(broker), "nowhere.");
    assert_int_equal(ty_publisher_send(publisher, "submit", &id, "x", 1, NULL, on_published, &delivery, &err), 0);
    await(&delivery, 1);
    assert_true(delivery.failed);
    assert_false(delivery.unknown);
    assert_non_null(strstr(delivery.err.message, "nowhere.submit"));
    ty_publisher_free(publisher, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_outlive_a_killed_broker),
        cmocka_unit_test(published_commands_are_acknowledged_and_keyed_by_the_job),
        cmocka_unit_test(records_above_the_limit_are_refused_and_at_it_taken),
        cmocka_unit_test(a_broker_that_stands_still_is_an_error_in_bounded_time),
        cmocka_unit_test(an_unknown_topic_is_an_error),
    };
    broker = kafka_broker_new();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    kafka_broker_free(broker);
    return failed;
}
