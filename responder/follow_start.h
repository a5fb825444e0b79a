// Where a follower begins that does not begin at the start: the last so many entries, or about the first of a time.
#pragma once

#include "core/state.h"

struct ty_follow_start {
    bool has_tail;
    uint32_t tail;     // so many entries from the end, of those that are there
    uint64_t since_us; // no later than the first entry of this time or later; 0: any
};

// The place, once; (0, 0) is the start. Of both wishes the later place counts.
typedef void (*ty_follow_start_fn)(void *context, const struct ty_err *err, uint32_t attempt, uint64_t sequence);
// Reads little, however long the log is: where its attempts begin and end, and for a time some twenty single entries.
void ty_follow_start_find(struct ty_state *state, const struct ty_id *id, const struct ty_follow_start *how,
                          ty_follow_start_fn fn, void *context);

// The place of the tail-th entry from the end of these spans, the latest attempt first.
void ty_follow_start_tail(const struct ty_log_span *spans, size_t count, uint64_t tail, uint32_t *ret_attempt,
                          uint64_t *ret_sequence);
