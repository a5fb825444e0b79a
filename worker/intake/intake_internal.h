// What intake.c (assignment, store, stop), partition.c, batch.c, hold.c and watch.c share.
#pragma once

#include "worker/intake/apply.h"
#include "worker/intake/breaker.h"
#include "worker/intake/consumer.h"
#include "worker/intake/dead_letter.h"
#include "worker/intake/intake.h"
#include "worker/intake/log_limit.h"

struct ty_intake_batch;

// The loop's side of an assigned partition.
struct ty_partition {
    struct ty_intake *intake;
    struct ty_claimed_partition *claimed;
    int64_t committed;  // what was done before, by the group or by us; -1: nothing known
    int64_t expected;   // the next offset we believe the store has
    int64_t position;   // the next offset that should come
    struct ty_intake_record *waiting, **last_waiting; // not in a batch yet
    struct ty_intake_batch *filling; // may grow
    struct ty_intake_batch *flying;  // on its way; at most one
    bool is_touched;          // got records in this hand-over
    bool is_fresh;            // nothing has come since it was started
    struct ty_breaker breaker;
    struct ty_timer hold;     // until the next trial
    bool is_held;             // as it was reported
};

struct ty_intake {
    struct ty_loop *loop;
    struct ty_state *state;
    const struct ty_catalog *catalog;
    struct ty_letters *letters;
    struct ty_keyring *keyring; // NULL: signatures are not asked for
    struct ty_consumer *consumer;
    unsigned batch_commands;
    size_t batch_bytes;
    struct ty_intake_figures figures;

    struct ty_assignment *assignment; // borrowed; NULL: none
    struct ty_partition *partitions;
    size_t count;
    uint32_t turn;      // of the records that are taken; 0: none are
    uint32_t last_turn;
    bool store_is_up;
    bool holds_submits; // partitions of submits wait: what comes stays with them, and then in Kafka

    // Attaching: all partitions at once.
    uint32_t round;
    size_t attaches_left;
    bool attach_failed, cluster_changed;
    int64_t *from;
    struct ty_timer retry, probe;
    uint64_t retry_ms;
    struct ty_attach_call *attach_calls;

    struct ty_intake_batch *batches; // all of them, also the abandoned ones that the store still has

    unsigned breaker_percent;
    ty_intake_health_fn health_fn;
    void *health_context;
    size_t ills;          // what is not well now

    // The watch over the consumer (watch.c).
    struct ty_consumer_options consumer_options; // with what another one is made
    uint64_t stall_ms;
    unsigned cures;       // tried one after the other
    struct ty_timer cure, calm, renewal;
    bool is_stalled, is_silent; // as they were reported
    bool is_reopening;    // the consumer is being left, to be made anew
    bool is_left;         // it has left its group

    bool is_stopping, is_closing;
    struct ty_timer flying_limit, stop_limit;
    uint64_t stop_by_ms;
    ty_intake_stopped_fn stopped_fn;
    void *stopped_context;

    struct ty_log_limit dead_letter_log, apply_log, gap_log, kafka_log, attach_log, breaker_log, stall_log;
};

// ---- partition.c ----

void ty_partition_init(struct ty_partition *partition, struct ty_intake *intake, struct ty_claimed_partition *claimed);
// Lets go of everything: what is on its way answers into nothing.
void ty_partition_drop(struct ty_partition *partition);
// A record of the current turn. Taken.
void ty_partition_add(struct ty_partition *partition, struct ty_intake_record *record);
// Fills and sends batches as far as it goes.
void ty_partition_pump(struct ty_partition *partition);
// Asks the store whether it still is where we believe, when nothing else asks it.
void ty_partition_probe(struct ty_partition *partition);
// Lets go of what is not on its way yet.
void ty_partition_drop_waiting(struct ty_partition *partition);

// ---- batch.c ----

// Forgets that there was an intake: what the store still answers is freed then.
void ty_intake_batches_orphan(struct ty_intake *intake);

// ---- hold.c ----

// The breaker has opened: what waits is set aside until the time for a trial. offset and reason: of the first bad record.
void ty_partition_hold(struct ty_partition *partition, int64_t offset, const char *reason);
// The breaker has closed.
void ty_partition_unhold(struct ty_partition *partition);
// Nothing of what was counted counts any more: all is read again, here or by another worker.
void ty_partition_reset_breaker(struct ty_partition *partition);

// ---- intake.c ----

// The store is not where we believed: everything starts again from where it is.
void ty_intake_restart(struct ty_intake *intake);
// A batch has ended while the intake stops.
void ty_intake_check_stopped(struct ty_intake *intake);
// All of the assignment, as when it was revoked.
void ty_intake_let_assignment_go(struct ty_intake *intake);
int ty_intake_open_consumer(struct ty_intake *intake, struct ty_err *err) TY_MUST_USE;

// ---- watch.c ----

// A flag of something that is not well; tells the intake's owner when it is the first, or the last.
void ty_intake_set_ill(struct ty_intake *intake, bool *flag, bool is_ill);
// The consumer's on_stalled.
void ty_intake_on_stalled(void *context, size_t partition, const struct ty_stall *stall);
// All partitions have just been started: whether that has helped is seen from now on.
void ty_intake_await_calm(struct ty_intake *intake);
// Time and again: whether the consumer's thread is heard of.
void ty_intake_listen(struct ty_intake *intake);
// The consumer has left its group; false: not in order to be made anew.
bool ty_intake_renew(struct ty_intake *intake);
void ty_intake_watch_done(struct ty_intake *intake);
