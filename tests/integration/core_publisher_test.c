// core/kafka's publisher against a mock cluster, which answers with the errors that a real broker gives seldom. Against the real
// one: kafka_broker_test.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/kafka.h"
#include "core/limits.h"
#include "tests/integration/responder_kafka.h"

#define MANY 500
#define SLOW_MS 30000

static struct mock_kafka *kafka;
static struct ty_publisher *publisher;

// ---- deliveries ----

struct deliveries {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned good, bad, unknown;
    enum ty_code code;
    char message[256];
};

#define DELIVERIES {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct deliveries *deliveries = context;
    pthread_mutex_lock(&deliveries->lock);
    if (err) {
        deliveries->bad++;
        deliveries->unknown += unknown;
        deliveries->code = err->code;
        memcpy(deliveries->message, err->message, sizeof deliveries->message - 1);
    } else if (partition >= 0 && offset >= 0) {
        deliveries->good++;
    }
    pthread_cond_signal(&deliveries->changed);
    pthread_mutex_unlock(&deliveries->lock);
}

static void await(struct deliveries *deliveries, unsigned count)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&deliveries->lock);
    while (deliveries->good + deliveries->bad < count && rc == 0)
        rc = pthread_cond_timedwait(&deliveries->changed, &deliveries->lock, &until);
    pthread_mutex_unlock(&deliveries->lock);
    assert_int_equal(deliveries->good + deliveries->bad, count);
}

// ---- publishing ----

static int try_cancel(struct deliveries *deliveries, struct ty_err *err)
{
    Viam__App__Mltraining__V1__CancelTrainingJobRequest request = VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    static const uint8_t command_id[16];
    TY_BUF(value);
    struct ty_id id = ty_id_new();
    ty_command_encode(TY_COMMAND_CANCEL, &id, command_id, ty_clock_wall_us(), "test", NULL, &request.base, &value);
    return ty_publisher_send(publisher, "cancel", &id, value.data, value.len, NULL, on_published, deliveries, err);
}

static void send_cancel(struct deliveries *deliveries)
{
    struct ty_err err;
    if (try_cancel(deliveries, &err) < 0)
        fail_msg("%s", err.message);
}

// After an error the client may refuse records for a moment, until it has asked the broker again or has been rebuilt.
static void send_until_good(struct deliveries *deliveries)
{
    uint64_t until = ty_clock_mono_ms() + 60000;
    unsigned sent = deliveries->good + deliveries->bad;
    struct ty_err err = {0};
    while (!deliveries->good) {
        if (ty_clock_mono_ms() > until)
            fail_msg("nothing goes through: %s", *err.message ? err.message : deliveries->message);
        if (try_cancel(deliveries, &err) == 0)
            await(deliveries, ++sent);
    }
}

static int start(void **state)
{
    struct ty_err err;
    (void)state;
    kafka = mock_kafka_new();
    struct ty_kafka_options options = {.brokers = mock_kafka_brokers(kafka), .client_id = "test", .topic_prefix = "mltraining."};
    if (ty_publisher_new(&options, &publisher, &err) < 0)
        fail_msg("%s", err.message);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    ty_publisher_free(publisher, 5000);
    mock_kafka_free(kafka);
    publisher = NULL;
    return 0;
}

static void each_record_is_acknowledged_once(void **state)
{
    struct deliveries deliveries = DELIVERIES;
    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        send_cancel(&deliveries);
    await(&deliveries, MANY);
    assert_int_equal(deliveries.good, MANY);
    assert_int_equal(mock_kafka_read(kafka, "cancel", TY_TOPIC_CANCEL, NULL, NULL), MANY);
}

static void passing_errors_are_tried_again(void **state)
{
    struct deliveries deliveries = DELIVERIES;
    (void)state;
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 3);
    send_cancel(&deliveries);
    await(&deliveries, 1);
    assert_int_equal(deliveries.good, 1);
    assert_int_equal(mock_kafka_read(kafka, "cancel", TY_TOPIC_CANCEL, NULL, NULL), 1);
}

static void errors_that_stay_are_told(void **state)
{
    static const struct {
        rd_kafka_resp_err_t error;
        enum ty_code code;
    } cases[] = {{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, TY_EPERMISSION},
                 {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, TY_EINVALID}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct deliveries deliveries = DELIVERIES;
        mock_kafka_refuse_produce(kafka, cases[i].error, 1);
        send_cancel(&deliveries);
        await(&deliveries, 1);
        assert_int_equal(deliveries.bad, 1);
        assert_int_equal(deliveries.code, cases[i].code);
        assert_non_null(strstr(deliveries.message, "mltraining.cancel"));
        // The next one goes through: nothing of the error stays.
        struct deliveries next = DELIVERIES;
        send_until_good(&next);
    }
}

static void a_fatal_error_rebuilds_the_producer(void **state)
{
    struct deliveries deliveries = DELIVERIES;
    (void)state;
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
    send_cancel(&deliveries);
    await(&deliveries, 1);
    send_until_good(&deliveries);
}

static void a_broker_that_is_too_slow_leaves_the_outcome_unknown(void **state)
{
    struct deliveries first = DELIVERIES, deliveries = DELIVERIES;
    (void)state;
    send_cancel(&first);
    await(&first, 1);
    mock_kafka_set_delay(kafka, SLOW_MS);
    uint64_t before = ty_clock_mono_ms();
    send_cancel(&deliveries);
    await(&deliveries, 1);
    assert_in_range(ty_clock_mono_ms() - before, 1000, SLOW_MS - 1); // before the broker could have answered
    assert_int_equal(deliveries.unknown, 1);
    assert_int_equal(deliveries.code, TY_EUNAVAILABLE);
}

static void what_is_in_flight_is_told_before_the_end(void **state)
{
    struct deliveries deliveries = DELIVERIES;
    (void)state;
    mock_kafka_set_delay(kafka, SLOW_MS);
    for (unsigned i = 0; i < 10; i++)
        send_cancel(&deliveries);
    uint64_t before = ty_clock_mono_ms();
    ty_publisher_free(publisher, 100);
    publisher = NULL;
    assert_in_range(ty_clock_mono_ms() - before, 0, SLOW_MS - 1);
    assert_int_equal(deliveries.bad, 10);
    assert_int_equal(deliveries.good, 0);
}

static void properties_are_checked(void **state)
{
    static const char *const cases[] = {"no equals", "=x", "no.such.property=1", "socket.timeout.ms=soon"};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *properties[] = {(char *)(uintptr_t)cases[i], NULL};
        struct ty_kafka_options options = {.brokers = "127.0.0.1:1", .topic_prefix = "t.", .properties = properties};
        struct ty_publisher *other;
        struct ty_err err;
        assert_int_equal(ty_publisher_new(&options, &other, &err), -TY_EINVALID);
        assert_non_null(strstr(err.message, "Kafka property"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_record_is_acknowledged_once, start, stop),
        cmocka_unit_test_setup_teardown(passing_errors_are_tried_again, start, stop),
        cmocka_unit_test_setup_teardown(errors_that_stay_are_told, start, stop),
        cmocka_unit_test_setup_teardown(a_fatal_error_rebuilds_the_producer, start, stop),
        cmocka_unit_test_setup_teardown(a_broker_that_is_too_slow_leaves_the_outcome_unknown, start, stop),
        cmocka_unit_test_setup_teardown(what_is_in_flight_is_told_before_the_end, start, stop),
        cmocka_unit_test(properties_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
