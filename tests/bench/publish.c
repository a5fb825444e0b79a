// Through the broker: a backlog of submits, the broker's own time, and the time from a submit to its job's start.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/kafka.h"
#include "core/record.h"
#include "tests/bench/bench.h"

#define PREFIX "{ty:0}:"
#define LOOK_EVERY_US 500

// ---- delivery reports ----

// All reports of the process, which has one verb. The publisher's thread counts, ours waits.
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t acknowledged, failed;
    uint64_t last_us; // wall
    struct ty_err err;
} reports = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_delivered(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    (void)context;
    (void)partition;
    (void)offset;
    (void)unknown;
    pthread_mutex_lock(&reports.lock);
    if (err) {
        reports.failed++;
        reports.err = *err;
    } else {
        reports.acknowledged++;
    }
    reports.last_us = ty_clock_wall_us();
    pthread_cond_signal(&reports.changed);
    pthread_mutex_unlock(&reports.lock);
}

// Each message has a report within its delivery timeout, so this ends.
static void wait_reports(int64_t count)
{
    pthread_mutex_lock(&reports.lock);
    while (reports.acknowledged + reports.failed < count)
        pthread_cond_wait(&reports.changed, &reports.lock);
    pthread_mutex_unlock(&reports.lock);
}

static int open_publisher(const struct bench_options *options, struct ty_publisher **ret_publisher, struct ty_err *err)
{
    struct ty_kafka_options kafka = {.brokers = options->kafka_brokers,
                                     .client_id = "trainyard-bench",
                                     .topic_prefix = options->topic_prefix,
                                     .properties = options->kafka_properties};
    return ty_publisher_new(&kafka, ret_publisher, err);
}

static int publish(struct ty_publisher *publisher, const struct bench_options *options, int64_t index,
                   struct ty_err *err)
{
    TY_BUF(command);
    struct ty_id id = bench_job_id(options, index);
    bench_job_command(options, index, &command);
    return ty_publisher_send(publisher, "submit", &id, command.data, command.len, NULL, on_delivered, NULL, err);
}

// ---- publish ----

int bench_publish(const struct bench_options *options, struct ty_err *err)
{
    struct ty_publisher *publisher;
    if (open_publisher(options, &publisher, err) < 0)
        return -(int)err->code;
    uint64_t start_us = ty_clock_mono_us();
    int rc = 0;
    for (int64_t sent = 0; rc == 0 && sent < options->count;) {
        rc = publish(publisher, options, options->first + sent, err);
        if (rc == -TY_EEXHAUSTED) { // as many as the local queue takes: wait for some of them
            wait_reports(sent / 2);
            rc = 0;
        } else {
            sent++;
        }
    }
    if (rc == 0) {
        wait_reports(options->count);
        double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
        printf("{\"sent\": %lld, \"acknowledged\": %lld, \"seconds\": %.6f, \"rate\": %.1f}\n", (long long)options->count,
               (long long)reports.acknowledged, seconds, (double)reports.acknowledged / seconds);
        if (reports.failed)
            rc = ty_err_set(err, TY_EUNAVAILABLE, "%lld were not acknowledged: %s", (long long)reports.failed,
                            reports.err.message);
    }
    ty_publisher_free(publisher, 5000);
    return rc;
}

// ---- echo ----

static int open_consumer(const struct bench_options *options, rd_kafka_t **ret_consumer, struct ty_err *err)
{
    // As the intake's, but without a group: the partitions are taken from their ends on.
    static ty_kafka_setting settings[] = {
        {"group.id", "trainyard-bench"}, {"enable.auto.commit", "false"}, {"fetch.wait.max.ms", "10"},
        {"fetch.error.backoff.ms", "10"}, {"socket.nagle.disable", "true"}, {NULL, NULL}};
    struct ty_kafka_options kafka = {
        .brokers = options->kafka_brokers, .client_id = "trainyard-bench-echo", .properties = options->kafka_properties};
    rd_kafka_conf_t *conf;
    if (ty_kafka_conf(&kafka, NULL, settings, &conf, err) < 0)
        return -(int)err->code;
    return ty_kafka_handle(RD_KAFKA_CONSUMER, conf, ret_consumer, err);
}

static int take_partitions(rd_kafka_t *consumer, const char *topic, struct ty_err *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(consumer, topic, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(consumer, 0, handle, &metadata, 5000);
    rd_kafka_topic_destroy(handle);
    if (code)
        return ty_kafka_err(err, code, "Kafka: topic %s", topic);
    int count = metadata->topic_cnt ? metadata->topics[0].partition_cnt : 0;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(count);
    for (int i = 0; i < count && !code; i++) {
        int64_t low, high;
        code = rd_kafka_query_watermark_offsets(consumer, topic, i, &low, &high, 5000);
        rd_kafka_topic_partition_list_add(places, topic, i)->offset = high;
    }
    if (!code)
        code = rd_kafka_assign(consumer, places);
    rd_kafka_topic_partition_list_destroy(places);
    return code ? ty_kafka_err(err, code, "Kafka: topic %s", topic) : 0;
}

// Until the record with this key is there.
static int consume(rd_kafka_t *consumer, const struct ty_id *id, struct ty_err *err)
{
    char text[TY_ID_TEXT_BYTES];
    uint64_t deadline_ms = ty_clock_mono_ms() + 60000;
    ty_id_format(id, text);
    for (bool found = false; !found;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 1000);
        found = message && !message->err && message->key_len == sizeof text - 1 && !memcmp(message->key, text, sizeof text - 1);
        if (message)
            rd_kafka_message_destroy(message);
        if (!found && ty_clock_mono_ms() > deadline_ms)
            return ty_err_set(err, TY_EDEADLINE, "job %s does not come back from Kafka", text);
    }
    return 0;
}

// The pauses are not all alike, so that they do not fall into step with a client's own waits.
static void rest(void)
{
    bench_pause_us(2000 + arc4random_uniform(18000));
}

static void print_times(const char *name, struct bench_samples *samples, const char *end)
{
    printf("\"%s_p50_ms\": %.3f, \"%s_p99_ms\": %.3f%s", name, bench_samples_percentile(samples, 50), name,
           bench_samples_percentile(samples, 99), end);
}

static int echo(struct ty_publisher *publisher, rd_kafka_t *consumer, const struct bench_options *options,
                struct ty_err *err)
{
    struct bench_samples times = {0};
    int rc = 0;
    // The first one opens connections and finds leaders: it does not count.
    for (int64_t i = 0; rc == 0 && i < options->count; i++) {
        struct ty_id id = bench_job_id(options, options->first + i);
        uint64_t start_us = ty_clock_mono_us();
        rc = publish(publisher, options, options->first + i, err);
        if (rc == 0)
            rc = consume(consumer, &id, err);
        if (rc == 0 && i > 0)
            bench_samples_add(&times, (double)(ty_clock_mono_us() - start_us) / 1000);
        rest();
    }
    if (rc == 0) {
        wait_reports(options->count);
        printf("{\"acknowledged\": %lld, ", (long long)reports.acknowledged);
        print_times("echo", &times, "}\n");
    }
    bench_samples_done(&times);
    return rc;
}

int bench_echo(const struct bench_options *options, struct ty_err *err)
{
    struct ty_publisher *publisher = NULL;
    rd_kafka_t *consumer = NULL;
    char *topic TY_FREE = ty_xasprintf("%ssubmit", options->topic_prefix);
    int rc = open_publisher(options, &publisher, err);
    if (rc == 0)
        rc = open_consumer(options, &consumer, err);
    if (rc == 0)
        rc = take_partitions(consumer, topic, err);
    if (rc == 0)
        rc = echo(publisher, consumer, options, err);
    if (consumer) {
        rd_kafka_consumer_close(consumer);
        rd_kafka_destroy(consumer);
    }
    ty_publisher_free(publisher, 1000);
    return rc;
}

// ---- latency ----

// Until the job has ended; *ret_started_us is when it started, by the store's clock.
static int wait_started(struct bench_pipe *pipe, const struct ty_id *id, uint64_t *ret_started_us, struct ty_err *err)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + 60000;
    struct ty_record record = {0};
    do {
        redisReply *reply;
        if (bench_pipe_ask(pipe, &reply, err, "GET " PREFIX "j:%b", id->bytes, sizeof id->bytes) < 0)
            return -(int)err->code;
        int rc = reply->type == REDIS_REPLY_STRING ? ty_record_decode(reply->str, reply->len, &record, err) : 0;
        bool is_over = reply->type == REDIS_REPLY_STRING && rc == 0 && ty_record_is_terminal(&record);
        freeReplyObject(reply);
        if (rc < 0)
            return rc;
        if (is_over)
            break;
        if (ty_clock_mono_ms() > deadline_ms)
            return ty_err_set(err, TY_EDEADLINE, "a job does not end");
        bench_pause_us(LOOK_EVERY_US);
    } while (true);
    *ret_started_us = record.started_us;
    return record.state == TY_JOB_COMPLETED ? 0 : ty_err_set(err, TY_EPRECONDITION, "a job ended as %s", ty_state_name(record.state));
}

static int measure(struct ty_publisher *publisher, struct bench_pipe *pipe, const struct bench_options *options,
                   struct ty_err *err)
{
    struct bench_samples from_send = {0}, from_ack = {0};
    int rc = 0;
    for (int64_t i = 0; rc == 0 && i < options->count; i++) {
        struct ty_id id = bench_job_id(options, options->first + i);
        uint64_t start_us = ty_clock_wall_us(), started_us = 0;
        rc = publish(publisher, options, options->first + i, err);
        if (rc == 0) {
            wait_reports(i + 1);
            rc = wait_started(pipe, &id, &started_us, err);
        }
        if (rc == 0 && i > 0) {
            bench_samples_add(&from_send, ((double)started_us - (double)start_us) / 1000);
            bench_samples_add(&from_ack, ((double)started_us - (double)reports.last_us) / 1000);
        }
        rest();
    }
    if (rc == 0) {
        printf("{\"acknowledged\": %lld, ", (long long)reports.acknowledged);
        print_times("start", &from_send, ", ");
        print_times("start_after_ack", &from_ack, "}\n");
    }
    bench_samples_done(&from_send);
    bench_samples_done(&from_ack);
    return rc;
}

int bench_latency(const struct bench_options *options, struct ty_err *err)
{
    struct ty_publisher *publisher = NULL;
    struct bench_pipe *pipe = NULL;
    int rc = open_publisher(options, &publisher, err);
    if (rc == 0)
        rc = bench_pipe_open(options->redis, 1, NULL, NULL, &pipe, err);
    if (rc == 0)
        rc = measure(publisher, pipe, options, err);
    bench_pipe_free(pipe);
    ty_publisher_free(publisher, 1000);
    return rc;
}
