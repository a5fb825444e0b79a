// Reading a topic: what is there when it is opened, from the beginning on, as a client without a group. Nothing is committed, and
// nothing is taken away. Everything blocks, within limits. One thread.
#pragma once

#include "core/kafka.h"
#include "producer/topic_record.h"

struct ty_topic_reader;

// topic: its name without the prefix. Connects, and finds out how far it reaches; records that are written later are not read. timeout_ms: for this call, and for
// each later wait for Kafka. TY_EUNAVAILABLE, TY_EINVALID (a property that is refused), TY_EPERMISSION, TY_EUNAUTHENTICATED,
// TY_EPRECONDITION (there is no such topic).
int ty_topic_reader_open(const struct ty_kafka_options *kafka, const char *topic, int timeout_ms, struct ty_topic_reader **ret_reader,
                    struct ty_err *err) TY_MUST_USE;
void ty_topic_reader_close(struct ty_topic_reader *reader);

// record is borrowed until it returns. 0: go on; above: that is enough; below: an error, which ends the reading.
typedef int (*ty_topic_record_fn)(void *context, const struct ty_topic_record *record, struct ty_err *err);
// All records that were written at since_us or later (0: all), in the order of their offsets within each partition. Also as open;
// TY_EDEADLINE: nothing came within timeout_ms, the message says from where on.
int ty_topic_reader_each(struct ty_topic_reader *reader, uint64_t since_us, ty_topic_record_fn fn, void *context,
                    struct ty_err *err) TY_MUST_USE;
// The one at a place. TY_ENOTFOUND says what there is.
int ty_topic_reader_at(struct ty_topic_reader *reader, const struct ty_place *place, ty_topic_record_fn fn, void *context,
                  struct ty_err *err) TY_MUST_USE;
