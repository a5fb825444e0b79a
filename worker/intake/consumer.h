// The consumer: the only user of librdkafka's consumer, and the thread that owns it. It joins the group, polls, hands
// records over through a mailbox, and stores the offsets it is told to. It fetches nothing from a partition until it was told
// where to start, and pauses what the loop does not keep up with. Calls and callbacks: loop thread; nothing blocks but
// ty_consumer_free.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/command.h"
#include "core/err.h"
#include "core/kafka.h"
#include "core/loop.h"

#define TY_TOPIC_KINDS 4
// "submit", "cancel", "delete", "settings".
const char *ty_topic_kind_name(enum ty_topic_kind kind);

// The name of the thread.
#define TY_CONSUMER_THREAD "intake-consumer"

struct ty_consumer;

// One partition of an assignment. What is atomic is shared between the two threads.
struct ty_claimed_partition {
    enum ty_topic_kind kind;
    int32_t number;
    int64_t committed;          // of the group; -1: none
    struct ty_consumer *consumer;
    _Atomic int64_t done;       // set by the loop: the next offset to commit; -1: none yet
    atomic_size_t held_records; // handed over and not yet given back by ty_intake_record_free
    atomic_size_t held_bytes;
    atomic_bool is_held;        // set by the loop: nothing more is wanted, however little it holds
    // The consumer's thread only:
    uint32_t turn;
    int64_t stored;
    bool is_paused;
    bool has_come;        // something, since the latest start
    int64_t next;         // the offset behind what came latest: a record, or the news that there are no more
    uint64_t noted_ms;    // when that was, or later, when it was not to be expected
    uint64_t noted_count; // how much had been polled by then
    int64_t owed;         // the end that Kafka told at the first look at a partition that was quiet; 0: none
};

// What the group gave this member. The consumer owns it; it is valid until on_revoked returns, or ty_consumer_free.
struct ty_assignment {
    uint32_t epoch;
    char *cluster_id;
    size_t count;
    struct ty_claimed_partition *partitions;
};

// A record on its way through the intake. Owner frees with ty_intake_record_free.
struct ty_intake_record {
    struct ty_intake_record *next;
    size_t partition;       // index in the assignment
    uint32_t epoch, turn;   // a record of another epoch or turn is to be dropped
    bool is_aside;          // see ty_intake_record_set_aside
    int64_t offset;
    uint64_t time_us;       // of the record: LogAppendTime, or what comes nearest to it
    const uint8_t *key, *value; // NULL as in Kafka
    size_t key_len, value_len;
    rd_kafka_message_t *message; // owned; for its headers
    struct ty_claimed_partition *claimed;
};
void ty_intake_record_free(struct ty_intake_record *record);
// From now on it counts for its partition only, and not for the bound on all: a partition that is held must not stop the others.
// Again does nothing.
void ty_intake_record_set_aside(struct ty_intake_record *record);

// A partition from which nothing comes although Kafka has more.
struct ty_stall {
    int64_t next, end; // the offset that should come, and behind the last one
    uint64_t quiet_ms;
};

struct ty_consumer_events {
    // Partitions were given to this member, after on_revoked where it had some. Nothing comes from them before
    // ty_consumer_start.
    void (*on_assigned)(void *context, struct ty_assignment *assignment);
    // The assignment is over; it and all of its records are to be let go before this returns.
    void (*on_revoked)(void *context);
    // Records in the order of their offsets, linked by next; they are the callee's.
    void (*on_records)(void *context, struct ty_intake_record *first);
    // Kafka has more of this partition (an index in the assignment), and nothing has come from it for as long as patience_ms. Said
    // again after as long again.
    void (*on_stalled)(void *context, size_t partition, const struct ty_stall *stall);
    // The group was left (or timeout_ms was over). Nothing comes after it.
    void (*on_closed)(void *context);
};

struct ty_consumer_options {
    struct ty_kafka_options kafka; // copied
    const char *group_id;
    size_t partition_records, partition_bytes; // handed over and not given back, at most about: more waits in Kafka
    size_t total_records, total_bytes;
    uint64_t patience_ms; // see ty_consumer_set_patience
};

// TY_EINVALID: a property that librdkafka refuses. Kafka need not be there.
int ty_consumer_new(struct ty_loop *loop, const struct ty_consumer_options *options,
                    const struct ty_consumer_events *events, void *context, struct ty_consumer **ret_consumer,
                    struct ty_err *err) TY_MUST_USE;
// (Re)starts all partitions of the assignment: from[i] is the offset of partition i; where Kafka has it no more (or not yet)
// the earliest that it has. Records carry `turn` from then on. An epoch that is over does nothing.
void ty_consumer_start(struct ty_consumer *consumer, uint32_t epoch, uint32_t turn, const int64_t *from, size_t count);
// Pauses all partitions until the next ty_consumer_start.
void ty_consumer_hold(struct ty_consumer *consumer);
// How long nothing may come from a partition before Kafka is asked whether it has more. What is paused, held by the loop, or behind
// a backlog that is being taken, is not asked about; neither is what Kafka does not answer for.
void ty_consumer_set_patience(struct ty_consumer *consumer, uint64_t patience_ms);
// How long ago the thread was heard of: it turns at least once in some seconds.
uint64_t ty_consumer_silent_ms(const struct ty_consumer *consumer);
// Commits what is done, leaves the group; on_closed comes once, within timeout_ms and a little.
void ty_consumer_close(struct ty_consumer *consumer, uint64_t timeout_ms);
// Without a close the group notices by its session timeout. Accepts NULL.
void ty_consumer_free(struct ty_consumer *consumer);
