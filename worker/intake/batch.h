// One batch of a partition: records in the order of their offsets, their dead letters, and the one call that applies them. Inside this
// room only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "worker/intake/intake_internal.h"

// One record in a batch.
struct ty_intake_entry {
    struct ty_intake_batch *batch;
    struct ty_intake_record *record;
    struct ty_prepared prepared;
    char *reason;             // why it is a dead letter; NULL: it is none
    struct ty_letter *letter; // on its way
};

struct ty_intake_batch {
    struct ty_intake_batch *previous, *next_of_all;
    struct ty_intake *intake;       // NULL: it is gone
    struct ty_partition *partition; // NULL: abandoned
    size_t count, bytes;
    int64_t first, next;            // offsets: of the first record, and behind the last
    struct ty_buf arena;
    struct ty_apply *commands;      // while the store is asked
    size_t letters_left;
    size_t judged;                  // records whose signatures have been looked at
    uint64_t judged_since_ms;       // the first try at the next of them; 0: none yet
    bool is_applied, is_asking;     // asking: the store has it
    struct ty_timer retry;
    uint64_t retry_ms;
    size_t cap;
    struct ty_intake_entry entries[];
};

// Room for cap records; 0: only a question whether the store still is where we believe.
struct ty_intake_batch *ty_intake_batch_new(struct ty_partition *partition, size_t cap);
// With its records, of a batch that the store does not have. Its letters are not waited for.
void ty_intake_batch_free(struct ty_intake_batch *batch);
// Its partition is over: freed, or when the store has answered. Accepts NULL.
void ty_intake_batch_abandon(struct ty_intake_batch *batch);
bool ty_intake_batch_has_room(const struct ty_intake_batch *batch);
// The record, which is taken, is checked here. One that has a reason is a dead letter, and may be a command (a refused submit) besides.
void ty_intake_batch_add(struct ty_intake_batch *batch, struct ty_intake_record *record);
// It becomes the partition's flying batch, until it has ended well (ty_partition_pump follows) or is abandoned. What fails is tried again.
void ty_intake_batch_fly(struct ty_intake_batch *batch);
