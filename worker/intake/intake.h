// The intake role: commands from Kafka into the store. Ingest, then commit: an offset is stored only after the effect of its
// record is in Redis (or, for what no store could take, after the dead letter was acknowledged).
//
// One thread owns the consumer: it polls, hands records over, stores offsets, and does nothing else. Everything here runs
// on the loop's thread, and nothing blocks. Each partition has one batch on its way to the store at a time, so that the
// watermark moves in order; the others go on meanwhile. A record of an older assignment is dropped.
//
// A partition starts at the lower of the store's watermark and the group's committed offset; with no committed offset, at the
// earliest that Kafka has. Store away: partitions are paused, polling goes on, nothing is lost. Store back, or behind what we
// believe (GAP; idle partitions ask every 2 s): all partitions start again from where the store is. Commands are idempotent.
//
// What no store could take is written to dead-letter (dead_letter.h) before the watermark and the offset pass it, also a submit
// under an id that another one has. It is written at least once: when commands are applied again, so are their letters. A
// refused submit that has an id leaves a FAILED job besides.
//
// Where most records of a partition are no commands at all its breaker opens (breaker.h), and the partition is held: nothing of it
// is applied, written or committed but some records now and then. What had been done before by the group counts for nothing there.
//
// Where nothing comes from a partition although Kafka has more, something stands still that nobody has told of (consumer_watch.c):
// all partitions start again, and when that does not help a new consumer takes the place of the old one.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/catalog.h"
#include "core/err.h"
#include "core/kafka.h"
#include "core/loop.h"
#include "core/state.h"

struct ty_intake;

typedef void (*ty_intake_health_fn)(void *context, bool is_well);

struct ty_intake_options {
    struct ty_kafka_options kafka; // what it points to is borrowed, and the group, as long as the intake lives
    const char *group_id;
    unsigned batch_commands;       // records of one partition applied in one call, at most
    size_t batch_bytes;            // and their bytes
    bool requires_signatures;      // a command without a good signature (signature.h) is a dead letter
    unsigned breaker_percent;      // of records that are no commands, which opens a partition's breaker; 0: none opens
    uint64_t stall_ms;             // nothing may come from a partition that Kafka has more of for as long; the thread may not be silent
                                   // for as long
    // Something of it is not done as it should be, or all is again: a partition is held by its breaker, one stands still (until as long
    // as stall_ms nothing did), or the consumer's thread is not heard of. May be NULL. Not inside a call of free.
    ty_intake_health_fn health_fn;
    void *health_context;
};

// What it has done since the start.
struct ty_intake_figures {
    uint64_t received, applied, duplicates, conflicts, noops, tombstones, deleted, refused, too_old, dead_lettered, gaps, dropped_stale;
    uint64_t unsigned_refused; // commands that nobody who may has signed
    uint64_t breaker_opened; // how often
    size_t held_partitions;  // now
    uint64_t stalls;         // how often a partition stood still
    uint64_t reopened;       // consumers that took the place of another
};

// Subscribes in the background; Kafka need not be there. state, catalog and publisher (for dead letters) are borrowed and
// outlive it. TY_EINVALID: a property that librdkafka refuses.
int ty_intake_new(struct ty_loop *loop, struct ty_state *state, const struct ty_catalog *catalog,
                  struct ty_publisher *publisher, const struct ty_intake_options *options,
                  struct ty_intake **ret_intake, struct ty_err *err) TY_MUST_USE;
// The store came or went.
void ty_intake_on_store(struct ty_intake *intake, bool up);
// Submits wait in Kafka, cancels and deletes go on: the store has no room for new jobs.
void ty_intake_hold_submits(struct ty_intake *intake, bool hold);
struct ty_intake_figures ty_intake_figures(const struct ty_intake *intake);
// Takes nothing more, waits for what is on its way to the store, commits, leaves the group; then fn, once. Bounded by
// timeout_ms.
typedef void (*ty_intake_stopped_fn)(void *context);
void ty_intake_stop(struct ty_intake *intake, uint64_t timeout_ms, ty_intake_stopped_fn fn, void *context);
// After fn, or without a stop when the start failed. Accepts NULL.
void ty_intake_free(struct ty_intake *intake);
