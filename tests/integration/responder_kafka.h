// A mock Kafka cluster of one broker inside the test program, with the command topics in place, and a reader of what was
// published to it.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "core/command.h"

struct mock_kafka;

struct mock_kafka *mock_kafka_new(void);
void mock_kafka_free(struct mock_kafka *kafka);
const char *mock_kafka_brokers(const struct mock_kafka *kafka);
// The broker answers everything only after this long.
void mock_kafka_set_delay(struct mock_kafka *kafka, int delay_ms);
// The next `count` produce requests are answered with this error.
void mock_kafka_refuse_produce(struct mock_kafka *kafka, rd_kafka_resp_err_t error, size_t count);
// Reads a topic ("submit") from its start and decodes every record as the intake would; a record that does not decode
// fails the test. Returns how many there are; fn (may be NULL) is called for each.
typedef void (*mock_kafka_fn)(void *context, const struct ty_command *command);
size_t mock_kafka_read(struct mock_kafka *kafka, const char *topic, enum ty_topic_kind kind, mock_kafka_fn fn,
                       void *context);
