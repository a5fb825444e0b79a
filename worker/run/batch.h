// What was read of an attempt's log and the store has not sealed: chunks that are to be sent, and behind them the open one, whose
// entries the store may have one by one. It holds at most TY_BATCH_CHUNKS unsent chunks, as many on their way, and an open one. Pure
// but for the compressor; loop thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/log_chunk.h"
#include "core/state.h"

#define TY_BATCH_CHUNKS 8u

// A zeroed one is to be begun.
struct ty_batch {
    struct ty_buf blobs;        // sealed chunks, one behind the other
    struct ty_buf marks;        // of each a struct that batch.c knows
    size_t count, sent;         // chunks; of them on their way
    struct ty_log_chunk open;
    uint64_t next;              // entries below it are in the store, sealed or not
    struct ty_buf bytes;        // what ty_batch_fill hands out
};
void ty_batch_done(struct ty_batch *batch);
// Empties it and goes on from what the store has.
void ty_batch_begin(struct ty_batch *batch, const struct ty_log_place *place);
// The number of the entry that it takes next.
uint64_t ty_batch_end(const struct ty_batch *batch);
// The next entry; seals the open chunk when that is full.
void ty_batch_add(struct ty_batch *batch, const void *entry, size_t len);
// There is enough to send: nothing more is to be read.
bool ty_batch_is_full(const struct ty_batch *batch);
// No more entries will come: what is open is sealed.
void ty_batch_close(struct ty_batch *batch);
bool ty_batch_is_empty(const struct ty_batch *batch); // the store has everything that is in it
// Sets chunks, first and entries of what is to be sent now: chunks, or without any the open one's entries that the store has not.
// They are borrowed until the next call.
void ty_batch_fill(struct ty_batch *batch, struct ty_log_append *append);
// What the store has now, by its answer; the chunks on their way are no more. False: it is not what this batch goes on from, and
// the spool must be read again.
bool ty_batch_settle(struct ty_batch *batch, const struct ty_log_place *place);
