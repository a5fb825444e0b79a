// What consumer.c (the loop's side) and consumer_thread.c (the thread) share.
#pragma once

#include <pthread.h>

#include "worker/intake/consumer.h"
#include "worker/intake/log_limit.h"
#include "core/mailbox.h"

// What the loop tells the thread.
enum ty_order_kind { ORDER_START, ORDER_HOLD, ORDER_CLOSE, ORDER_QUIT };
struct ty_order {
    struct ty_order *next;
    enum ty_order_kind kind;
    uint32_t epoch, turn;
    uint64_t deadline_ms;
    size_t count;
    int64_t from[];
};

// What the thread tells the loop.
enum ty_notice_kind { NOTICE_ASSIGNED, NOTICE_REVOKED, NOTICE_RECORDS, NOTICE_CLOSED };
struct ty_notice {
    struct ty_mail mail;
    enum ty_notice_kind kind;
    struct ty_assignment *assignment;
    struct ty_intake_record *records;
};

struct ty_consumer {
    struct ty_consumer_events events;
    void *context;
    struct ty_consumer_options limits; // the numbers only
    char *topics[TY_TOPIC_KINDS];
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    rd_kafka_queue_t *urgent; // partitions of all topics but submit come here, so that they need not wait behind a backlog
    struct ty_mailbox *mailbox;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t relief;
    struct ty_order *orders, **last_order; // under lock
    atomic_bool is_waiting;
    atomic_size_t held_records, held_bytes;
    // The thread's own:
    rd_kafka_topic_partition_list_t *assigned; // NULL: nothing, or announced already
    uint64_t announce_at_ms, roads_at_ms;
    size_t queued_peak, latest_place;          // see wake_fetcher
    struct ty_assignment *assignment;          // what was announced
    uint32_t *places[TY_TOPIC_KINDS];          // index + 1 in the assignment, by number
    int32_t place_count[TY_TOPIC_KINDS];
    uint32_t epoch;
    bool is_holding, has_paused, quit;
    uint64_t close_by_ms;                      // 0: not asked
    struct ty_intake_record *gathered, **last_gathered; // polled, not yet handed over
    struct ty_log_limit errors;
};

// The thread; context is the consumer.
void *ty_consumer_serve(void *context);
// A rd_kafka_conf_set_rebalance_cb; comes on the thread.
void ty_consumer_on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
                              void *opaque);
void ty_intake_records_free(struct ty_intake_record *first);
void ty_assignment_free(struct ty_assignment *assignment);
