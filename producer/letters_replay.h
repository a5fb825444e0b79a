// Publishing letters again. It blocks, within limits. One thread, but for the reports.
#pragma once

#include "core/kafka.h"
#include "producer/letters.h"

// Publishes letters to where they came from: key, value and own headers as they were, and TY_LETTER_REPLAY_OF.
struct ty_replayer;

// One report for each letter that was accepted, on another thread or inside send or free. err NULL: Kafka has acknowledged it at
// `where` of the topic. unknown: it may have been written all the same.
typedef void (*ty_replayed_fn)(void *context, const struct ty_place *letter, const char *topic, const struct ty_place *where,
                               bool unknown, const struct ty_err *err);
int ty_replayer_new(const struct ty_kafka_options *kafka, ty_replayed_fn fn, void *context, struct ty_replayer **ret_replayer,
                    struct ty_err *err) TY_MUST_USE;
// view is the letter's; ty_dead_letter_check has allowed it. Copies; waits while too much is on its way.
int ty_replayer_send(struct ty_replayer *replayer, const struct ty_topic_record *letter, const struct ty_dead_letter_view *view,
                     struct ty_err *err) TY_MUST_USE;
// Waits for all reports. Each comes within the publisher's limit of some seconds.
void ty_replayer_flush(struct ty_replayer *replayer);
// Accepts NULL.
void ty_replayer_free(struct ty_replayer *replayer);
