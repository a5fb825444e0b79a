// What consumer.c (the loop's side) and the thread (consumer_thread.c, _assignment.c, _pressure.c, _watch.c) share.
#pragma once

#include <pthread.h>

#include "worker/intake/consumer.h"
#include "worker/intake/log_limit.h"
#include "core/mailbox.h"

// Ways from librdkafka to the thread: submits, and all else.
#define TY_ROADS 2

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
enum ty_notice_kind { NOTICE_ASSIGNED, NOTICE_REVOKED, NOTICE_RECORDS, NOTICE_STALLED, NOTICE_CLOSED };
struct ty_notice {
    struct ty_mail mail;
    enum ty_notice_kind kind;
    struct ty_assignment *assignment;
    struct ty_intake_record *records;
    size_t place;
    struct ty_stall stall;
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
    _Atomic uint64_t turned_at_ms, patience_ms; // the thread's latest turn; see ty_consumer_set_patience
    atomic_size_t held_records, held_bytes;
    // The thread's own:
    rd_kafka_topic_partition_list_t *assigned; // NULL: nothing, or announced already
    uint64_t announce_at_ms, roads_at_ms, watch_at_ms;
    uint64_t polled_at_ms, polled[TY_ROADS];   // the latest time, and how many records and ends in all
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

// ---- consumer.c ----

void ty_intake_records_free(struct ty_intake_record *first);
void ty_assignment_free(struct ty_assignment *assignment);

// ---- consumer_thread.c ----

// The thread; context is the consumer.
void *ty_consumer_serve(void *context);
// The notice is copied; its records are taken.
void ty_consumer_tell(struct ty_consumer *consumer, const struct ty_notice *notice);
// A line in the log, not too often.
void ty_consumer_complain(struct ty_consumer *consumer, const char *event, rd_kafka_resp_err_t code, const char *text);
// What was polled goes to the loop.
void ty_consumer_hand_over(struct ty_consumer *consumer);

// ---- consumer_assignment.c ----

// A rd_kafka_conf_set_rebalance_cb; comes on the thread.
void ty_consumer_on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
                              void *opaque);
// Asks Kafka for its cluster id and the group's offsets, and tells the loop. What fails is tried again.
void ty_consumer_announce(struct ty_consumer *consumer);
void ty_consumer_take_start(struct ty_consumer *consumer, const struct ty_order *order);
void ty_consumer_take_hold(struct ty_consumer *consumer);
// Tells librdkafka what may be committed.
void ty_consumer_store_done(struct ty_consumer *consumer);
// Its place in the assignment + 1; 0: it is not ours.
size_t ty_consumer_place(const struct ty_consumer *consumer, const char *topic, int32_t number);

// ---- consumer_pressure.c ----

// Pauses what the loop does not keep up with, and resumes what it has room for again. May wait for the loop, shortly.
void ty_consumer_balance(struct ty_consumer *consumer);

// ---- consumer_watch.c ----

// A sign of life of a partition: it is at this offset now.
void ty_consumer_note(struct ty_consumer *consumer, struct ty_claimed_partition *claimed, int64_t next);
// Looks for partitions from which nothing comes. May wait for Kafka, shortly.
void ty_consumer_watch(struct ty_consumer *consumer);
