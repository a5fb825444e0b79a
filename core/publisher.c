// The publisher: one producer handle and one thread that serves its delivery reports.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/kafka.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/signature.h"

#define POLL_MS 100
#define DELIVERY_MS "4000"
// A topic that was refused (not there yet, not allowed) fails every record at once until the library asks about it again,
// which by its own default is after five minutes.
#define TOPIC_REFRESH_MS "5000"

struct ty_publisher {
    struct ty_kafka_options options; // texts owned
    struct ty_signer *signer;        // NULL: commands are not signed
    rd_kafka_t *producer;            // guarded by lock; replaced after a fatal error
    pthread_rwlock_t lock;
    pthread_t thread;
    atomic_bool stopping, failed;
};

struct delivery {
    ty_published_fn fn;
    void *context;
};

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct delivery *delivery = message->_private;
    struct ty_err err;
    (void)rk;
    (void)opaque;
    if (!message->err) {
        delivery->fn(delivery->context, message->partition, message->offset, false, NULL);
    } else {
        ty_kafka_err(&err, message->err, "Kafka topic %s: not acknowledged", rd_kafka_topic_name(message->rkt));
        bool unknown = rd_kafka_message_status(message) != RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
        delivery->fn(delivery->context, -1, -1, unknown, &err);
    }
    free(delivery);
}

static int make_producer(struct ty_publisher *publisher, rd_kafka_t **ret_producer, struct ty_err *err)
{
    static ty_kafka_setting settings[] = {
        {"enable.idempotence", "true"}, {"message.timeout.ms", DELIVERY_MS}, {"linger.ms", "0.5"},
        {"message.max.bytes", "1200000"}, {"queue.buffering.max.messages", "500000"},
        {"socket.nagle.disable", "true"}, {"topic.metadata.refresh.interval.ms", TOPIC_REFRESH_MS}, {NULL, NULL}};
    rd_kafka_conf_t *conf;
    if (ty_kafka_conf(&publisher->options, NULL, settings, &conf, err) < 0)
        return -(int)err->code;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    return ty_kafka_handle(RD_KAFKA_PRODUCER, conf, ret_producer, err);
}

// After a fatal error a producer accepts nothing any more; what is in flight fails with its own report.
static void rebuild(struct ty_publisher *publisher)
{
    rd_kafka_t *fresh;
    struct ty_err err;
    char text[256];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(publisher->producer, text, sizeof text);
    ty_log(TY_LOG_ERROR, "kafka.producer_fatal", TY_KV("error", "%s", rd_kafka_err2name(code)), TY_KV("message", "%s", text));
    if (make_producer(publisher, &fresh, &err) < 0) {
        ty_log(TY_LOG_ERROR, "kafka.producer_rebuild_failed", TY_KV("message", "%s", err.message));
        return;
    }
    rd_kafka_t *old = publisher->producer;
    rd_kafka_purge(old, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(old, 1000);
    pthread_rwlock_wrlock(&publisher->lock);
    publisher->producer = fresh;
    pthread_rwlock_unlock(&publisher->lock);
    rd_kafka_poll(old, 0);
    rd_kafka_destroy(old);
}

static void *serve(void *context)
{
    struct ty_publisher *publisher = context;
    while (!atomic_load(&publisher->stopping)) {
        rd_kafka_poll(publisher->producer, POLL_MS); // only this thread replaces it
        if (rd_kafka_fatal_error(publisher->producer, NULL, 0))
            rebuild(publisher);
    }
    return NULL;
}

int ty_publisher_new(const struct ty_kafka_options *options, struct ty_publisher **ret_publisher, struct ty_err *err)
{
    struct ty_publisher *publisher = ty_xcalloc(1, sizeof *publisher);
    publisher->options = *options;
    publisher->options.brokers = ty_xstrdup(options->brokers);
    publisher->options.client_id = ty_xstrdup(options->client_id ? options->client_id : "trainyard");
    publisher->options.topic_prefix = ty_xstrdup(options->topic_prefix);
    size_t count = 0;
    while (options->properties && options->properties[count])
        count++;
    publisher->options.properties = ty_xcalloc(count + 1, sizeof *publisher->options.properties);
    for (size_t i = 0; i < count; i++)
        publisher->options.properties[i] = ty_xstrdup(options->properties[i]);
    pthread_rwlock_init(&publisher->lock, NULL);
    publisher->options.signing_key_file = NULL;
    int rc = options->signing_key_file && *options->signing_key_file ? ty_signer_read(options->signing_key_file, &publisher->signer, err) : 0;
    if (rc < 0)
        ty_err_prefix(err, "signing-key-file");
    if (rc == 0)
        rc = make_producer(publisher, &publisher->producer, err);
    if (rc == 0 && pthread_create(&publisher->thread, NULL, serve, publisher) != 0)
        rc = ty_err_set(err, TY_ESYSTEM, "cannot start the publisher's thread");
    if (rc < 0) {
        atomic_store(&publisher->failed, true);
        ty_publisher_free(publisher, 0);
        return rc;
    }
    *ret_publisher = publisher;
    return 0;
}

void ty_publisher_free(struct ty_publisher *publisher, int timeout_ms)
{
    if (!publisher)
        return;
    if (!atomic_load(&publisher->failed)) {
        uint64_t deadline = ty_clock_mono_ms() + (uint64_t)timeout_ms;
        while (rd_kafka_outq_len(publisher->producer) > 0 && ty_clock_mono_ms() < deadline)
            rd_kafka_flush(publisher->producer, 50);
        atomic_store(&publisher->stopping, true);
        pthread_join(publisher->thread, NULL);
    }
    if (publisher->producer) {
        rd_kafka_purge(publisher->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(publisher->producer, 1000);
        rd_kafka_destroy(publisher->producer);
    }
    pthread_rwlock_destroy(&publisher->lock);
    ty_signer_free(publisher->signer);
    for (char **property = publisher->options.properties; property && *property; property++)
        free(*property);
    free(publisher->options.properties);
    free((char *)publisher->options.brokers);
    free((char *)publisher->options.client_id);
    free((char *)publisher->options.topic_prefix);
    free(publisher);
}

int ty_publisher_send_raw(struct ty_publisher *publisher, const char *topic, const void *key, size_t key_len,
                          const void *value, size_t value_len, rd_kafka_headers_t *headers, ty_published_fn fn,
                          void *context, struct ty_err *err)
{
    char *name TY_FREE = ty_xasprintf("%s%s", publisher->options.topic_prefix, topic);
    struct delivery *delivery = ty_xmalloc(sizeof *delivery);
    *delivery = (struct delivery){.fn = fn, .context = context};
    pthread_rwlock_rdlock(&publisher->lock);
    rd_kafka_resp_err_t code =
        headers ? rd_kafka_producev(publisher->producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_KEY(key, key_len),
                                    RD_KAFKA_V_VALUE((void *)value, value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                    RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(delivery), RD_KAFKA_V_END)
                : rd_kafka_producev(publisher->producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_KEY(key, key_len),
                                    RD_KAFKA_V_VALUE((void *)value, value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                    RD_KAFKA_V_OPAQUE(delivery), RD_KAFKA_V_END);
    pthread_rwlock_unlock(&publisher->lock);
    if (code) {
        free(delivery);
        return ty_kafka_err(err, code, "Kafka: topic %s", name);
    }
    return 0;
}

int ty_publisher_send(struct ty_publisher *publisher, const char *topic, const struct ty_id *key, const void *value,
                      size_t value_len, const char *traceparent, ty_published_fn fn, void *context, struct ty_err *err)
{
    char text[TY_ID_TEXT_BYTES];
    rd_kafka_headers_t *headers = NULL;
    if (value_len > TY_LIMIT_COMMAND_BYTES - 1024)
        return ty_err_set(err, TY_EINVALID, "the command has %zu bytes; at most %d are allowed", value_len,
                          TY_LIMIT_COMMAND_BYTES - 1024);
    ty_id_format(key, text);
    if (traceparent || publisher->signer)
        headers = rd_kafka_headers_new(2);
    if (traceparent)
        rd_kafka_header_add(headers, "traceparent", -1, traceparent, -1);
    if (publisher->signer) {
        uint8_t signature[TY_SIGNATURE_BYTES];
        ty_signer_sign(publisher->signer, text, TY_ID_TEXT_BYTES - 1, value, value_len, signature);
        rd_kafka_header_add(headers, TY_SIGNATURE_HEADER, -1, signature, sizeof signature);
    }
    int rc = ty_publisher_send_raw(publisher, topic, text, TY_ID_TEXT_BYTES - 1, value, value_len,
                                   headers, fn, context, err);
    if (rc < 0 && headers)
        rd_kafka_headers_destroy(headers);
    return rc;
}
