// Which entries of a log a follower wants: from a level up, from a time on. Reads serialized TrainingJobLogEntry messages
// where they lie. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

struct ty_log_filter {
    unsigned rank;     // of the lowest level wanted; 0: all
    uint64_t since_us; // since 1970; 0: all
};

// The rank of a level's name as requests have it: "debug" 1, "info" 2, "warn" 3, "error" 4, "critical" 5, "" 0. TY_EINVALID
// for another.
int ty_log_rank_parse(const char *level, unsigned *ret_rank, struct ty_err *err) TY_MUST_USE;
// The rank of a level's name as entries have it, by its first letter; one that is not known counts as "info".
unsigned ty_log_rank(const char *level, size_t len);
// What the filter looks at. False: the bytes are no entry; what was read of it stands.
struct ty_log_facts {
    unsigned rank;
    uint64_t time_us; // 0: it has none
};
bool ty_log_facts_read(const uint8_t *message, size_t len, struct ty_log_facts *ret_facts);
// An entry without a time passes any time; one that cannot be read passes: nothing is dropped for being strange.
bool ty_log_filter_passes(const struct ty_log_filter *filter, const uint8_t *message, size_t len);
