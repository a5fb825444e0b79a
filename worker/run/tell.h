// Tells the store what an attempt says of its progress: what core/progress.h makes of its lines, now and then. Loop thread.
#pragma once

#include <stdbool.h>

#include "core/progress.h"
#include "core/state.h"

struct ty_tell;

struct ty_tell_options {
    struct ty_state *state;
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    const struct ty_progress_rules *rules; // of the job's container; borrowed. NULL: none
    const bool *is_shedding;               // the store has no room: nothing is told
};

struct ty_tell *ty_tell_new(const struct ty_tell_options *options);
// What was begun is forgotten: the lines come again from the first. Borrowed, until the next call or the end.
struct ty_progress *ty_tell_begin(struct ty_tell *tell);
// Tells what is new, unless something was told a moment ago (2 s, and a second for each 4 KiB of it). is_last: all the same; ahead of
// whatever is asked of the store behind it.
void ty_tell_now(struct ty_tell *tell, bool is_last);
void ty_tell_free(struct ty_tell *tell);
