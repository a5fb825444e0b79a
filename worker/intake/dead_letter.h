// Dead letters: what no store could take goes to the topic dead-letter, and its writer hears when Kafka has acknowledged it.
// Key, value and headers stay as they came; added behind them are trainyard-origin-topic, -partition, -offset, -time (the
// record's, RFC 3339) and -reason (core/letter.h). A reader takes the last header of each name: a letter that was published again and failed
// again has them twice.
//
// A record that Kafka refuses for good (too large) is replaced by a stub: the same headers without the record's own, and
// trainyard-stub = "1", trainyard-origin-value-bytes, trainyard-origin-value-sha256; value: the first 64 KiB; key: unless over
// 1 KiB.
//
// Loop thread only; nothing blocks. What fails is tried again until it is written: a letter is never given up.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/kafka.h"
#include "core/loop.h"
#include "worker/intake/consumer.h"

#define TY_STUB_BYTES (64 * 1024)
#define TY_STUB_KEY_BYTES 1024

struct ty_letters;
struct ty_letter;

// publisher is borrowed and outlives the letters that are on their way. TY_ESYSTEM.
int ty_letters_new(struct ty_loop *loop, struct ty_publisher *publisher, const char *topic_prefix,
                   struct ty_letters **ret_letters, struct ty_err *err) TY_MUST_USE;
// All letters are written or abandoned before. Accepts NULL.
void ty_letters_free(struct ty_letters *letters);

typedef void (*ty_letter_fn)(void *context);
// record is borrowed until fn or ty_letter_abandon. fn comes once, never inside this call.
struct ty_letter *ty_letters_write(struct ty_letters *letters, const struct ty_intake_record *record, const char *reason,
                                   ty_letter_fn fn, void *context);
// fn will not come. The letter may or may not be written.
void ty_letter_abandon(struct ty_letter *letter);

// The parts that do no I/O. What is added to the record's own headers (may be NULL); owner destroys.
rd_kafka_headers_t *ty_letter_headers(const rd_kafka_headers_t *own, const char *topic, const struct ty_intake_record *record,
                                      const char *reason);
// Headers of the stub; *ret_key_len and *ret_value_len are how much of key and value goes along.
rd_kafka_headers_t *ty_letter_stub(const char *topic, const struct ty_intake_record *record, const char *reason,
                                   size_t *ret_key_len, size_t *ret_value_len);
