// A bound on how often one kind of event is logged: a flood of bad input must not become a flood of log. One thread a limit.
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ty_log_limit {
    uint64_t window_ms; // start of the current 10 s; mono
    uint32_t taken;     // lines in it
    uint64_t skipped;   // since the last line
};

// Whether this event may be logged: the first 20 of any 10 seconds. A zeroed limit is ready.
bool ty_log_limit_take(struct ty_log_limit *limit);
// How many were skipped since the last one that was logged; starts over.
uint64_t ty_log_limit_skipped(struct ty_log_limit *limit);
