// What events.c (the outbox to the topic) and replay.c (the topic back to the store) share.
#pragma once

#include "core/state_outbox.h"
#include "worker/events/events.h"
#include "worker/events/feed.h"

#define TOPIC "events"

// Where a shard's publisher is.
enum step {
    STEP_AWAY,    // another has the lease, or it is not known
    STEP_OPENING, // the lease is ours; the feed fences the one before and looks at the topic
    STEP_READY,
    STEP_READING,   // the topic is read, to bring the store to where it is
    STEP_RESTORING, // the store takes what was read
    STEP_SENDING,   // Kafka writes
    STEP_TELLING,   // the store is told
};

// For the commands that must be in the store before it starts a job again.
struct command_wait {
    struct ty_topic_end *ends; // where their topics ended when that was last looked for
    size_t count;
    bool is_known;             // that was done in this replay
    bool has_hidden;           // see ty_feed_order
    uint64_t looked_ms, moved_ms; // when that was, and when the store last came further, or was complained of
    int64_t passed;               // where it was then, all partitions together; -1: it does not wait yet
    struct ty_timer timer;
};

struct shard {
    struct ty_events *events;
    unsigned number;
    enum step step;
    struct ty_feed *feed;
    unsigned partitions;
    struct ty_timer timer;
    bool has_order; // the feed is at work
    bool is_asking; // a call of the outbox is on its way
    // What is being published:
    uint64_t stamp_us;
    struct ty_outbox_job *jobs; // id and change only
    struct ty_id *nulls;
    size_t job_count, null_count;
    int64_t expected[TY_FEED_PARTITIONS_MAX];
    bool is_full; // there may be more
    uint64_t logged_ms;
    // Where the topic ended when it was opened, and where the store is known to be; -1: it has none of it.
    int64_t ends[TY_FEED_PARTITIONS_MAX], known[TY_FEED_PARTITIONS_MAX], sent[TY_FEED_PARTITIONS_MAX];
    uint64_t held_ms;        // when held cancels are looked for next
    bool is_ending_held;     // a call is on its way
    struct command_wait commands;
    bool is_level; // the store was seen to be where the topic is
    struct ty_feed_order *read; // while the store takes it
    uint64_t restored, events_read;
};

struct ty_events {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_kafka_options kafka;
    char *worker;
    uint32_t lease_ms, job_lease_ms, patience_ms;
    bool is_manual; // an empty store waits for the operator
    bool is_up, is_stopping, is_freed;
    unsigned calls; // answers of the store that are to come
    struct ty_events_figures figures;
    unsigned shard_count;
    struct shard shards[];
};

// ---- events.c ----

void ty_events_hold(struct ty_events *events);
// False: it was freed meanwhile, and there is nothing to do.
bool ty_events_release(struct ty_events *events);
// A look at the outbox after that time.
void ty_events_look_in(struct shard *shard, uint64_t ms);
void ty_events_give(struct shard *shard, struct ty_feed_order *order);
void ty_events_let_go(struct shard *shard);
void ty_events_log_trouble(struct shard *shard, const char *event, const struct ty_err *err);

// ---- replay.c ----

// Whether the store must be brought to where the topic is before anything is published; starts that when it must.
bool ty_replay_start(struct shard *shard, const struct ty_outbox *outbox);
// Takes the order.
void ty_replay_on_read(struct shard *shard, struct ty_feed_order *order);
void ty_replay_forget(struct shard *shard);
