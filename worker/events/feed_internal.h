// What feed.c and feed_kafka.c share.
#pragma once

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "worker/events/feed.h"

struct ty_feed {
    ty_feed_fn fn;
    void *context;
    const struct ty_kafka_options *kafka;
    char *topic, *topic_prefix, *transactional_id;
    struct ty_mailbox *mailbox;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t given;
    struct ty_feed_order *order; // under lock: not yet taken
    atomic_bool quit;
    // The thread's own:
    rd_kafka_t *producer;
    rd_kafka_t *reader;
    unsigned partitions, ended; // of the topic; that the reader has come to the end of, once
    bool has_ended[TY_FEED_PARTITIONS_MAX];
    size_t failed;              // records of this transaction that Kafka did not take
};

// On the thread: does the order and fills in its outcome.
void ty_feed_do(struct ty_feed *feed, struct ty_feed_order *order);
// On the thread: lets Kafka go.
void ty_feed_close(struct ty_feed *feed);
// On the thread, at most TY_FEED_STEP_MS: how many partitions a topic has (its whole name). Returns what failed, also that it is not
// there, or 0.
rd_kafka_resp_err_t ty_feed_find_partitions(rd_kafka_t *handle, const char *topic, int *ret_count);
// On the thread: fills in the order's command_ends; at most TY_FEED_STEP_MS for each call of Kafka. The reader reads something else
// after it. all: a consumer that sees what is not committed. Returns what failed, or 0.
rd_kafka_resp_err_t ty_feed_find_command_ends(struct ty_feed *feed, rd_kafka_t *all, struct ty_feed_order *order);
struct ty_feed_record *ty_feed_order_append(struct ty_feed_order *order, const void *value, size_t value_len);
