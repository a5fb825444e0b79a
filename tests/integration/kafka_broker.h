// A real Apache Kafka (KRaft, one node) for one test program, in a temporary directory of its own, on loopback ports that were
// free. It dies with the test program, however that ends. Starting it takes seconds: one for a program, made at the start
// of main, so that a program that cannot have Kafka ends as skipped before any test runs. Whatever goes wrong in here
// fails the running cmocka test with the broker's words. One thread.
//
// A test that wants to be alone takes a topic prefix of its own; the broker makes no topics by itself.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

struct kafka_broker;

// Starts it and returns when it answers. Where Kafka cannot be had, prints "skipped: why" and ends the program with exit code
// 77, or with 1 when TRAINYARD_NO_SKIP is 1.
struct kafka_broker *kafka_broker_new(void);
// Kills it and removes its directory.
void kafka_broker_free(struct kafka_broker *broker);

// "127.0.0.1:12345", the same over restarts. Borrowed.
const char *kafka_broker_address(const struct kafka_broker *broker);
const char *kafka_broker_dir(const struct kafka_broker *broker);

// SIGKILL, and SIGTERM with a deadline; both wait for the end. Nothing happens when it does not run.
void kafka_broker_kill(struct kafka_broker *broker);
void kafka_broker_stop(struct kafka_broker *broker);
// Starts it again over its data and returns when it answers.
void kafka_broker_start(struct kafka_broker *broker);
// SIGSTOP and SIGCONT. kafka_broker_pause returns when all its threads stand still.
void kafka_broker_pause(struct kafka_broker *broker);
void kafka_broker_resume(struct kafka_broker *broker);

// Makes the topics of schemas/topics.json under this prefix, as they stand there, but with `partitions` each where it is not
// 0. Returns when they can be used.
void kafka_broker_make_topics(struct kafka_broker *broker, const char *prefix, int partitions);
// Makes one topic with the broker's default configuration.
void kafka_broker_make_topic(struct kafka_broker *broker, const char *topic, int partitions);
void kafka_broker_delete_topic(struct kafka_broker *broker, const char *topic);

// Writes any bytes as one record, acknowledged by the broker, and returns its offset. topic: the full name; partition -1: by
// the key; key, value NULL: none.
int64_t kafka_broker_produce(struct kafka_broker *broker, const char *topic, int32_t partition, const void *key, size_t key_len,
                             const void *value, size_t value_len);

// Reads what stands in all partitions of a topic at the time of the call (read_committed), each from its start, and returns
// how many records. fn (may be NULL) gets each, borrowed: partition by partition.
typedef void (*kafka_broker_fn)(void *context, const rd_kafka_message_t *message);
size_t kafka_broker_read(struct kafka_broker *broker, const char *topic, kafka_broker_fn fn, void *context);

// The committed offset of a consumer group in one partition; -1 when it has none.
int64_t kafka_broker_committed(struct kafka_broker *broker, const char *group, const char *topic, int32_t partition);
