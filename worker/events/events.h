// The publisher of events: what the store's outbox holds goes to the topic `events`, so that others can follow the jobs and the
// store can be made again from it. One publisher of a shard is at work in the whole fleet: a lease in the store chooses which,
// and Kafka fences for certain (feed.h). An event is written at least once; readers keep the highest (epoch, version) of a job.
//
// And back: before it publishes, and whenever the store is found to have gone back in time or to be another one, the topic is read
// from where the store is, and the store takes what it says. Nothing is claimed meanwhile.
//
// Loop thread; nothing blocks but ty_events_free. Kafka or the store away: the outbox grows, jobs go on, and it is tried again.
#pragma once

#include <stdint.h>

#include "core/err.h"
#include "core/kafka.h"
#include "core/loop.h"
#include "core/state.h"

struct ty_events;

struct ty_events_options {
    struct ty_kafka_options kafka; // its texts outlive the publisher
    const char *worker;            // a unique name
    uint32_t lease_ms;             // of a shard, 500 to 60000
    uint32_t job_lease_ms;         // after the store was restored, nothing expires for so long
    uint32_t patience_ms;          // without a step forward of the commands that are waited for, before that is complained of; 0: a minute
    bool is_manual;                // a store that has nothing is not filled from the topic before ty_state_rebuild
};

// What it has done since the start.
struct ty_events_figures {
    uint64_t published, nulls, batches;
    uint64_t fenced;   // times that another publisher had taken over under its hands
    uint64_t gaps;     // times that the store was not where it should be
    uint64_t poisoned; // records that could not be made an event of: left out
    uint64_t replays, events_read, restored; // the store was brought to where the topic is; events read; jobs changed by it
    uint64_t commands_missing; // times that the store could not go on, since commands were missing or not looked for
    unsigned shards;   // it has the lease of now
};

int ty_events_new(struct ty_loop *loop, struct ty_state *state, const struct ty_events_options *options,
                  struct ty_events **ret_events, struct ty_err *err) TY_MUST_USE;
// The store came or went.
void ty_events_on_store(struct ty_events *events, bool up);
struct ty_events_figures ty_events_figures(const struct ty_events *events);
// Starts nothing more and gives the leases up, so that another publisher goes on at once. What is under way goes on.
void ty_events_stop(struct ty_events *events);
// At any time; accepts NULL. Waits for each feed's thread as ty_feed_free does.
void ty_events_free(struct ty_events *events);
