// libtrainyard's clients against a mock Kafka: what is acknowledged is there, what is not is said truthfully.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"
#include "producer/trainyard.h"
#include "tests/integration/apart.h"
#include "tests/integration/responder_kafka.h"

#define NOBODY "127.0.0.1:1" // nothing listens there

static struct trainyard_client *open_client(const char *brokers)
{
    struct trainyard_client_options options = TRAINYARD_CLIENT_OPTIONS_INIT;
    struct trainyard_client *client;
    struct trainyard_error error;
    options.brokers = brokers;
    options.issuer = "test";
    if (trainyard_client_new(&options, &client, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(error.code, TRAINYARD_OK);
    return client;
}

static struct trainyard_custom_job a_job(void)
{
    struct trainyard_custom_job job = TRAINYARD_CUSTOM_JOB_INIT;
    job.organization_id = "org";
    job.dataset_id = "digits";
    job.model_name = "digit";
    job.model_version = "v1";
    job.registry_item_id = "org:script";
    return job;
}

// What mock_kafka_read saw last.
static struct {
    struct ty_id id;
    enum ty_command_kind kind;
} last;

static void remember(void *context, const struct ty_command *command)
{
    (void)context;
    last.id = command->job_id;
    last.kind = command->kind;
}

static void assert_last(enum ty_command_kind kind, const char *job_id)
{
    char text[TY_ID_TEXT_BYTES];
    assert_int_equal(last.kind, kind);
    assert_string_equal(ty_id_format(&last.id, text), job_id);
}

static void commands_that_are_waited_for(void **state)
{
    (void)state;
    static const char *const tags[] = {"one"};
    struct mock_kafka *kafka = mock_kafka_new();
    struct trainyard_client *client = open_client(mock_kafka_brokers(kafka));
    struct trainyard_custom_job custom = a_job();
    struct trainyard_managed_job managed = TRAINYARD_MANAGED_JOB_INIT;
    struct trainyard_receipt receipt, other;
    struct trainyard_error error;
    assert_int_equal(trainyard_submit_custom(client, &custom, TRAINYARD_WAIT, &receipt, &error), 0);
    assert_int_equal(error.code, TRAINYARD_OK);
    assert_string_equal(error.message, "");
    assert_int_equal(receipt.partition, 0);
    assert_int_equal(receipt.offset, 0);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, remember, NULL), 1);
    assert_last(TY_COMMAND_SUBMIT_CUSTOM, receipt.job_id);
    managed.organization_id = managed.dataset_id = managed.model_name = managed.model_version = "x";
    managed.model_type = TRAINYARD_SINGLE_LABEL_CLASSIFICATION;
    managed.tags = tags;
    managed.tag_count = 1;
    managed.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_int_equal(trainyard_submit(client, &managed, 10000, &other, NULL), 0);
    assert_int_equal(other.offset, 1);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, remember, NULL), 2);
    assert_last(TY_COMMAND_SUBMIT, other.job_id);
    assert_int_equal(trainyard_cancel(client, receipt.job_id, NULL, TRAINYARD_WAIT, NULL, NULL), 0);
    assert_int_equal(mock_kafka_read(kafka, "cancel", TY_TOPIC_CANCEL, remember, NULL), 1);
    assert_last(TY_COMMAND_CANCEL, receipt.job_id);
    assert_int_equal(trainyard_delete(client, other.job_id, NULL, TRAINYARD_WAIT, NULL, NULL), 0);
    assert_int_equal(mock_kafka_read(kafka, "delete", TY_TOPIC_DELETE, remember, NULL), 1);
    assert_last(TY_COMMAND_DELETE, other.job_id);
    // A command that breaks a rule goes nowhere.
    custom.model_name = "";
    assert_int_equal(trainyard_submit_custom(client, &custom, TRAINYARD_WAIT, &receipt, &error),
                     -TRAINYARD_INVALID_ARGUMENT);
    assert_string_equal(error.message, "model_name is empty");
    assert_false(error.retriable || error.unknown);
    assert_string_equal(receipt.job_id, "");
    assert_int_equal(trainyard_client_in_flight(client), 0);
    trainyard_client_free(client, 0);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), 2);
    mock_kafka_free(kafka);
}

// ---- callbacks ----

#define THREADS 4
#define EACH 250

struct tally {
    struct trainyard_client *client;
    atomic_uint acknowledged, failed, refused_waits, chained;
};

static void count_up(void *context, const struct trainyard_receipt *receipt, const struct trainyard_error *error)
{
    struct tally *tally = context;
    atomic_fetch_add(error ? &tally->failed : &tally->acknowledged, 1);
    assert_int_equal(strlen(receipt->job_id), TRAINYARD_ID_BYTES - 1);
}

// Cancels each job from within its submit's callback.
static void chain(void *context, const struct trainyard_receipt *receipt, const struct trainyard_error *error)
{
    struct tally *tally = context;
    struct trainyard_error refusal;
    if (trainyard_cancel(tally->client, receipt->job_id, NULL, 1, NULL, &refusal) == -TRAINYARD_FAILED_PRECONDITION &&
        trainyard_client_flush(tally->client, 1, &refusal) == -TRAINYARD_FAILED_PRECONDITION)
        atomic_fetch_add(&tally->refused_waits, 1);
    if (trainyard_cancel_async(tally->client, receipt->job_id, NULL, count_up, tally, NULL) == 0)
        atomic_fetch_add(&tally->chained, 1);
    count_up(context, receipt, error);
}

static void *submit_many(void *context)
{
    struct tally *tally = context;
    struct trainyard_custom_job job = a_job();
    char id[TRAINYARD_ID_BYTES];
    uintptr_t wrong = 0;
    for (int i = 0; i < EACH; i++)
        wrong += trainyard_submit_custom_async(tally->client, &job, chain, tally, id, NULL) != 0;
    return (void *)wrong;
}

static void commands_that_are_called_back(void **state)
{
    (void)state;
    struct mock_kafka *kafka = mock_kafka_new();
    struct tally tally = {.client = open_client(mock_kafka_brokers(kafka))};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &tally), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(trainyard_client_flush(tally.client, TRAINYARD_WAIT, NULL), 0);
    assert_int_equal(trainyard_client_in_flight(tally.client), 0);
    assert_int_equal(tally.acknowledged, 2 * THREADS * EACH);
    assert_int_equal(tally.failed, 0);
    assert_int_equal(tally.refused_waits, THREADS * EACH);
    assert_int_equal(tally.chained, THREADS * EACH);
    trainyard_client_free(tally.client, 0);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), THREADS * EACH);
    assert_int_equal(mock_kafka_read(kafka, "cancel", TY_TOPIC_CANCEL, NULL, NULL), THREADS * EACH);
    mock_kafka_free(kafka);
}

// ---- when Kafka is away, slow, or says no ----

static void nobody_listens(void **state)
{
    (void)state;
    struct trainyard_client *client = open_client(NOBODY);
    struct trainyard_custom_job job = a_job();
    struct trainyard_receipt receipt;
    struct trainyard_error error;
    assert_int_equal(trainyard_submit_custom(client, &job, 50, &receipt, &error), -TRAINYARD_DEADLINE_EXCEEDED);
    assert_true(error.unknown && error.retriable);
    assert_int_equal(strlen(receipt.job_id), TRAINYARD_ID_BYTES - 1);
    assert_int_equal(receipt.offset, -1);
    assert_int_equal(trainyard_client_in_flight(client), 1);
    assert_int_equal(trainyard_client_flush(client, 10, &error), -TRAINYARD_DEADLINE_EXCEEDED);
    assert_string_equal(error.message, "1 commands are still in flight");
    uint64_t start_ms = ty_clock_mono_ms();
    assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, &receipt, &error), -TRAINYARD_UNAVAILABLE);
    assert_true(error.retriable);
    assert_false(error.unknown);
    print_message("given up after %d ms\n", (int)(ty_clock_mono_ms() - start_ms));
    trainyard_client_free(client, 0);
}

static void free_answers_for_what_is_in_flight(void **state)
{
    (void)state;
    struct tally tally = {.client = open_client(NOBODY)};
    struct trainyard_custom_job job = a_job();
    for (int i = 0; i < 10; i++)
        assert_int_equal(trainyard_submit_custom_async(tally.client, &job, count_up, &tally, NULL, NULL), 0);
    trainyard_client_free(tally.client, 0);
    assert_int_equal(tally.failed, 10);
}

static void a_slow_broker(void **state)
{
    (void)state;
    struct mock_kafka *kafka = mock_kafka_new();
    struct trainyard_client *client = open_client(mock_kafka_brokers(kafka));
    struct trainyard_custom_job job = a_job();
    struct trainyard_receipt receipt;
    struct trainyard_error error;
    assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, NULL), 0);
    mock_kafka_set_delay(kafka, 1500);
    assert_int_equal(trainyard_submit_custom(client, &job, 10, &receipt, &error), -TRAINYARD_DEADLINE_EXCEEDED);
    assert_true(error.unknown);
    assert_int_equal(trainyard_client_flush(client, TRAINYARD_WAIT, NULL), 0);
    mock_kafka_set_delay(kafka, 0);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, remember, NULL), 2);
    assert_last(TY_COMMAND_SUBMIT_CUSTOM, receipt.job_id);
    // Published again under the same id, as the error says to.
    job.job_id = receipt.job_id;
    assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, &receipt, NULL), 0);
    assert_string_equal(receipt.job_id, job.job_id);
    trainyard_client_free(client, 0);
    mock_kafka_free(kafka);
}

static void a_broker_that_refuses(void **state)
{
    (void)state;
    struct mock_kafka *kafka = mock_kafka_new();
    struct trainyard_client *client = open_client(mock_kafka_brokers(kafka));
    struct trainyard_custom_job job = a_job();
    struct trainyard_error error;
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, &error), -TRAINYARD_PERMISSION_DENIED);
    assert_false(error.retriable || error.unknown);
    assert_string_equal(trainyard_code_name(error.code), "PERMISSION_DENIED");
    // Once it is allowed, it works again without a new client. When the library asks again is nobody's event, so the
    // command is tried at a pace.
    int rc = -1;
    for (uint64_t deadline_ms = ty_clock_mono_ms() + 60000; rc < 0 && ty_clock_mono_ms() < deadline_ms;) {
        poll(NULL, 0, 100);
        rc = trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, &error);
    }
    assert_int_equal(rc, 0);
    // A passing error is nobody's business: the library tries again.
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 2);
    assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, &error), 0);
    trainyard_client_free(client, 0);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), 2);
    mock_kafka_free(kafka);
}

// ---- options and the log ----

static void client_refused(const struct trainyard_client_options *options, const char *message)
{
    struct trainyard_client *client = NULL;
    struct trainyard_error error;
    assert_int_equal(trainyard_client_new(options, &client, &error), -TRAINYARD_INVALID_ARGUMENT);
    if (strncmp(error.message, message, strlen(message)) != 0)
        fail_msg("%s", error.message);
    assert_null(client);
}

static void options_that_are_refused(void **state)
{
    (void)state;
    static const char *const unknown[] = {"no.such=1", NULL}, *const no_equals[] = {"linger.ms", NULL};
    static const char *const weaker[] = {"acks=0", "enable.idempotence=false", NULL};
    char issuer[130];
    struct trainyard_client_options options = TRAINYARD_CLIENT_OPTIONS_INIT;
    client_refused(NULL, "struct trainyard_client_options: is NULL");
    client_refused(&options, "brokers is empty");
    options.brokers = NOBODY;
    options.topic_prefix = "a b";
    client_refused(&options, "topic_prefix has other characters than letters, digits and ._-");
    options.topic_prefix = NULL;
    options.properties = unknown;
    client_refused(&options, "Kafka property no.such: No such configuration property");
    options.properties = no_equals;
    client_refused(&options, "Kafka property \"linger.ms...\": expected key=value");
    // Acknowledgement cannot be given away.
    options.properties = weaker;
    client_refused(&options, "Kafka: `acks` must be set to `all`");
    options.properties = NULL;
    memset(issuer, 'x', sizeof issuer - 1);
    issuer[sizeof issuer - 1] = 0;
    options.issuer = issuer;
    client_refused(&options, "issuer has 129 bytes; at most 128 are allowed");
    options.issuer = "\xff";
    client_refused(&options, "issuer is not valid UTF-8");
    options.size = 3;
    client_refused(&options, "struct trainyard_client_options: size is 3; initialise it with TRAINYARD_CLIENT_OPTIONS_INIT");
}

static void hear(void *context, enum trainyard_log_level level, const char *line)
{
    atomic_uint *heard = context;
    assert_true(level >= TRAINYARD_LOG_WARN);
    assert_null(strchr(line, '\n'));
    if (strstr(line, "program=libtrainyard event=kafka.client"))
        atomic_fetch_add(heard, 1);
}

static void the_log_goes_where_it_is_told(void **state)
{
    (void)state;
    static atomic_uint heard;
    struct trainyard_custom_job job = a_job();
    FILE *capture = tmpfile();
    int saved_fd = dup(STDERR_FILENO);
    dup2(fileno(capture), STDERR_FILENO);
    for (int with_log = 0; with_log < 2; with_log++) {
        trainyard_set_log(with_log ? hear : NULL, &heard, TRAINYARD_LOG_WARN);
        struct trainyard_client *client = open_client(NOBODY);
        assert_int_equal(trainyard_submit_custom(client, &job, TRAINYARD_WAIT, NULL, NULL), -TRAINYARD_UNAVAILABLE);
        trainyard_client_free(client, 0);
        assert_int_equal(heard > 0, with_log);
    }
    dup2(saved_fd, STDERR_FILENO);
    close(saved_fd);
    assert_int_equal(lseek(fileno(capture), 0, SEEK_END), 0);
    fclose(capture);
    trainyard_set_log(NULL, NULL, TRAINYARD_LOG_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_that_are_waited_for),  cmocka_unit_test(commands_that_are_called_back),
        cmocka_unit_test(nobody_listens),                cmocka_unit_test(free_answers_for_what_is_in_flight),
        cmocka_unit_test(a_slow_broker),                 cmocka_unit_test(a_broker_that_refuses),
        cmocka_unit_test(options_that_are_refused),      cmocka_unit_test(the_log_goes_where_it_is_told),
    };
    return apart_run("the client library", tests, NULL, NULL);
}
