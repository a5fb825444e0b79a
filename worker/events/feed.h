// One shard's end of the topic `events`: a transactional producer that writes, and a consumer that reads what is there. Both
// live on a thread of their own, since librdkafka's transaction calls block; orders are done one after the other. Calls and the
// callback: loop thread; nothing blocks but ty_feed_free.
//
// Kafka itself fences: whoever opens last under the same transactional id is the only one whose transactions are committed
// (KIP-98). What a reader gets is what was committed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/id.h"
#include "core/kafka.h"
#include "core/loop.h"
#include "core/state_outbox.h"
#include "core/mailbox.h"

#define TY_FEED_PARTITIONS_MAX 256        // of the topic; more: TY_EPRECONDITION on opening
#define TY_FEED_READ_RECORDS 500          // of one reading, at most
#define TY_FEED_READ_BYTES (4 * 1024 * 1024) // and about

struct ty_feed;

enum ty_feed_kind {
    TY_FEED_OPEN, // makes the producer, fences the one before it, asks for the topic
    TY_FEED_SEND, // the records, all or none
    TY_FEED_CLOSE, // lets Kafka go
    TY_FEED_READ, // a piece of the topic from where the last reading ended; the first one from `marks`
};
enum ty_feed_outcome {
    TY_FEED_DONE,
    TY_FEED_FENCED, // another producer has opened: this one writes nothing any more
    TY_FEED_FAILED, // nothing was committed, or it is not known; open again
};

struct ty_feed_record {
    struct ty_id id;
    bool is_null;          // value NULL: the job is to be forgotten
    bool is_ours;          // reading: the key is the id of a job
    size_t value_at, value_len; // in bytes
};
struct ty_feed_mark {
    unsigned partition;
    int64_t next; // SEND: behind the last record written there
};

// What the thread is to do, and then what came of it. The caller fills in and gives it; the callback gives it back.
struct ty_feed_order {
    struct ty_mail mail;
    enum ty_feed_kind kind;
    // SEND: in. READ: out.
    struct ty_feed_record *records;
    size_t count, cap;
    struct ty_buf bytes;
    // READ in: where to begin, for each partition, -1: at its beginning; `begins` starts over. READ out: where it has come to.
    int64_t marks[TY_FEED_PARTITIONS_MAX];
    bool begins;
    bool is_at_end;        // READ out: there is nothing more now
    // OPEN out.
    unsigned partitions;
    int64_t ends[TY_FEED_PARTITIONS_MAX];
    // READ out, at the end: where the topics settings, delete, cancel and submit ended then, behind the last record of each partition that
    // has one; but not of a partition of submit that has a transaction open. has_hidden_ends: some of them only when a transaction that is open there has ended; look again.
    struct ty_topic_end *command_ends;
    size_t command_end_count;
    bool has_hidden_ends;
    // SEND out: the partitions that were written to.
    struct ty_feed_mark sent[TY_FEED_PARTITIONS_MAX];
    size_t sent_count;
    enum ty_feed_outcome outcome;
    struct ty_err err; // when not DONE
};
struct ty_feed_order *ty_feed_order_new(enum ty_feed_kind kind);
void ty_feed_order_free(struct ty_feed_order *order);
// value is copied; NULL: a null record.
void ty_feed_order_add(struct ty_feed_order *order, const struct ty_id *id, const void *value, size_t value_len);

typedef void (*ty_feed_fn)(void *context, struct ty_feed_order *order); // takes the order

// topic is the short name. kafka is copied. TY_EINVALID: a property that librdkafka refuses is said by the first OPEN, not here.
int ty_feed_new(struct ty_loop *loop, const struct ty_kafka_options *kafka, const char *topic, const char *transactional_id,
                ty_feed_fn fn, void *context, struct ty_feed **ret_feed, struct ty_err *err) TY_MUST_USE;
// Takes the order. One at a time: not before the last one's callback.
void ty_feed_give(struct ty_feed *feed, struct ty_feed_order *order);
// Waits for the thread, at most about TY_FEED_STEP_MS; an order that is under way is dropped.
#define TY_FEED_STEP_MS 3000
void ty_feed_free(struct ty_feed *feed);
