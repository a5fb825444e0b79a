// Reading the topic dead-letter, and publishing letters again. It reads what is there when it is opened, from the beginning on, as a
// client without a group: nothing is committed, and nothing is taken away. Everything blocks, within limits. One thread.
#pragma once

#include "core/kafka.h"
#include "producer/letters.h"

struct ty_letters_reader;

// Connects, and finds out how far the topic reaches; letters that are written later are not read. timeout_ms: for this call, and for
// each later wait for Kafka. TY_EUNAVAILABLE, TY_EINVALID (a property that is refused), TY_EPERMISSION, TY_EUNAUTHENTICATED,
// TY_EPRECONDITION (there is no such topic).
int ty_letters_open(const struct ty_kafka_options *kafka, int timeout_ms, struct ty_letters_reader **ret_reader,
                    struct ty_err *err) TY_MUST_USE;
void ty_letters_close(struct ty_letters_reader *reader);

// letter is borrowed until it returns. 0: go on; above: that is enough; below: an error, which ends the reading.
typedef int (*ty_letter_read_fn)(void *context, const struct ty_dead_letter *letter, struct ty_err *err);
// All letters that were written at since_us or later (0: all), in the order of their offsets within each partition. Also as open;
// TY_EDEADLINE: nothing came within timeout_ms, the message says from where on.
int ty_letters_each(struct ty_letters_reader *reader, uint64_t since_us, ty_letter_read_fn fn, void *context,
                    struct ty_err *err) TY_MUST_USE;
// The one at a place. TY_ENOTFOUND says what there is.
int ty_letters_at(struct ty_letters_reader *reader, const struct ty_place *place, ty_letter_read_fn fn, void *context,
                  struct ty_err *err) TY_MUST_USE;

// Publishes letters to where they came from: key, value and own headers as they were, and TY_LETTER_REPLAY_OF.
struct ty_replayer;

// One report for each letter that was accepted, on another thread or inside send or free. err NULL: Kafka has acknowledged it at
// `where` of the topic. unknown: it may have been written all the same.
typedef void (*ty_replayed_fn)(void *context, const struct ty_place *letter, const char *topic, const struct ty_place *where,
                               bool unknown, const struct ty_err *err);
int ty_replayer_new(const struct ty_kafka_options *kafka, ty_replayed_fn fn, void *context, struct ty_replayer **ret_replayer,
                    struct ty_err *err) TY_MUST_USE;
// view is the letter's; ty_dead_letter_check has allowed it. Copies; waits while too much is on its way.
int ty_replayer_send(struct ty_replayer *replayer, const struct ty_dead_letter *letter, const struct ty_dead_letter_view *view,
                     struct ty_err *err) TY_MUST_USE;
// Waits for all reports. Each comes within the publisher's limit of some seconds.
void ty_replayer_flush(struct ty_replayer *replayer);
// Accepts NULL.
void ty_replayer_free(struct ty_replayer *replayer);
