// Brings the output of one attempt from its spool into the store. The spool is the only buffer: at most one batch is in
// memory and on its way, and the job never waits for it. Loop thread only; reads of the spool are of the local disk.
//
// Survives the store (opens the log again and goes on from what it has, from the start of the spool if the store went
// back) and the worker (the next one reads the spool again; see transcript.h).
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/loop.h"
#include "core/state.h"
#include "worker/exec/protocol.h"

struct ty_ship;
struct ty_progress_rules;

enum ty_ship_event {
    TY_SHIP_READ,   // the spool was read to its end: ty_ship_close is due
    TY_SHIP_SEALED, // the store has everything and the end marker
    TY_SHIP_LOST,   // the log belongs to another attempt; nothing more is written
};
// May free the ship.
typedef void (*ty_ship_fn)(void *context, enum ty_ship_event event);

struct ty_ship_options {
    struct ty_loop *loop;
    struct ty_state *state;
    const struct ty_exec_control *control; // borrowed while the ship lives
    const char *dir;                       // the attempt's; copied
    const char *worker;                    // who started the attempt; copied
    const char *const *steps;              // the plan's; borrowed
    size_t step_count;
    const char *stderr_level;              // as ty_transcript_new has it; borrowed
    const char *after;                     // what became of the attempt before, for the log's first line; NULL: nothing is known. Copied
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence, started_us;
    uint64_t *entries;                     // counts what the store has taken
    const bool *is_shedding;               // the store has no room for logs: lines wait in the spool while the job runs, and are left
                                           // out, with an entry that says how many, when it has ended
    uint64_t *stored_bytes;                // set to what the job's log takes in the store
    const struct ty_progress_rules *progress_rules; // of the job's container; borrowed. NULL: none
    const bool *is_short;                  // logs take too much: keep this one's head and its latest lines only
};

struct ty_ship *ty_ship_new(const struct ty_ship_options *options, ty_ship_fn fn, void *context);
void ty_ship_free(struct ty_ship *ship);

void ty_ship_on_store(struct ty_ship *ship, bool up);
// Looks for new output; costs nothing when there is none. To be called every 100 ms or so while the job runs.
void ty_ship_tick(struct ty_ship *ship);
// The supervisor is gone: what the spool has is all there will be. Brings TY_SHIP_READ, not from inside this call.
void ty_ship_end(struct ty_ship *ship);
// After TY_SHIP_READ, once: the last entry, and the end marker behind it. Brings TY_SHIP_SEALED.
void ty_ship_close(struct ty_ship *ship, uint64_t time_us, const char *level, const char *message);
// After ty_ship_end, when the store is waited for no more: reads the rest for ty_ship_tail, at most some MiB of it. What the batch has no
// room for counts as missing. Should the store take the log after all, that goes on.
void ty_ship_give_up(struct ty_ship *ship);
// Rises with whatever the store takes, and with what is read for the first time.
uint64_t ty_ship_progress(const struct ty_ship *ship);
bool ty_ship_is_sealed(const struct ty_ship *ship);
// The sequence number that the store wants next.
uint64_t ty_ship_next(const struct ty_ship *ship);
// What the store does not have: lines that were read, and bytes of the spool that were not.
void ty_ship_missing(const struct ty_ship *ship, uint64_t *ret_lines, uint64_t *ret_bytes);
// As ty_transcript_tail; complete after TY_SHIP_READ, and, but for very much output, after ty_ship_give_up.
void ty_ship_tail(const struct ty_ship *ship, size_t max_bytes, struct ty_buf *out);
