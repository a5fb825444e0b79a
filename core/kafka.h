// The only door to librdkafka: the common client configuration, and the publisher of commands. The intake's consumer
// stands in worker/intake/consumer.c, topic administration in producer/topics_admin.c, the reader of
// topics in producer/topic_reader.c, the follower of access keys in responder/key_feed.c, the events' writer and reader in
// worker/events/feed_kafka.c, the mock cluster in deploy/devbroker.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

#include "core/command.h"
#include "core/err.h"
#include "core/id.h"

struct ty_kafka_options {
    const char *brokers;       // bootstrap list host:port[,host:port]
    const char *client_id;
    const char *topic_prefix;  // "mltraining."
    // NULL-terminated "key=value", passed to librdkafka as they are (SASL, TLS); "key.file=path": the value stands in the file.
    char **properties;
    // Of publishers: commands are signed with the key in this file (core/signature.h), which is read once. NULL or "": they are not.
    const char *signing_key_file;
};

// Of such a file: larger ones are refused.
#define TY_KAFKA_SECRET_BYTES 65536

// Names and values of librdkafka's properties; the last one is {NULL, NULL}.
typedef const char *const ty_kafka_setting[2];
// A configuration with the common settings (bootstrap, client id, log callback into ours), the caller's defaults, the
// pass-through properties, which may change these, and what the caller stands on, which they may not. Both lists may be NULL.
// The caller adds its callbacks and gives it to ty_kafka_handle. TY_EINVALID names a property librdkafka refuses.
int ty_kafka_conf(const struct ty_kafka_options *options, ty_kafka_setting *defaults, ty_kafka_setting *fixed,
                  rd_kafka_conf_t **ret_conf, struct ty_err *err) TY_MUST_USE;
// conf is taken in any case. TY_EINVALID: what librdkafka says of the configuration as a whole.
int ty_kafka_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_handle, struct ty_err *err) TY_MUST_USE;
// Maps a librdkafka error to ours (retriable or not).
int ty_kafka_err(struct ty_err *err, rd_kafka_resp_err_t code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// Publishes commands: idempotent, acks=all, delivery.timeout ≤ 4 s. Any thread may call; the delivery callback comes on
// the publisher's own thread, exactly once for each accepted call.
struct ty_publisher;
// err NULL: acknowledged by Kafka; partition and offset tell where. TY_EUNAVAILABLE otherwise; "may have been written" is
// said by `unknown` (the outcome is not known), else it was certainly not written.
typedef void (*ty_published_fn)(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err);

int ty_publisher_new(const struct ty_kafka_options *options, struct ty_publisher **ret_publisher,
                     struct ty_err *err) TY_MUST_USE;
// Waits at most timeout_ms for what is in flight, then frees; what was not acknowledged gets its callback first.
void ty_publisher_free(struct ty_publisher *publisher, int timeout_ms);
// value is copied. topic is the short name ("submit"). traceparent may be NULL (a header otherwise).
// TY_EEXHAUSTED when the local queue is full, TY_EINVALID when the record is too large, TY_EUNAVAILABLE when the
// producer has failed for good (a fatal error rebuilds it once, inside).
int ty_publisher_send(struct ty_publisher *publisher, const char *topic, const struct ty_id *key, const void *value,
                      size_t value_len, const char *traceparent, ty_published_fn fn, void *context,
                      struct ty_err *err) TY_MUST_USE;
// Any key and headers: for dead letters. headers is taken (given to librdkafka) on success, may be NULL.
int ty_publisher_send_raw(struct ty_publisher *publisher, const char *topic, const void *key, size_t key_len,
                          const void *value, size_t value_len, rd_kafka_headers_t *headers, ty_published_fn fn,
                          void *context, struct ty_err *err) TY_MUST_USE;
