// How full the job store is: one look at Redis' INFO a second, and what follows from it. A store that is full can take nothing
// new; what frees it (cancel, complete, delete) must go on, so new jobs and log lines stop well before. Loop thread only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"
#include "core/state.h"

// What INFO says of memory. Pure, for those who parse and test it.
struct ty_memory_info {
    uint64_t used;    // bytes that count for maxmemory: without the buffers of replicas and of the append log
    uint64_t maximum; // maxmemory in bytes; 0: none
    bool evicts;      // maxmemory_policy is another than noeviction
    char policy[32];
};
// TY_EDATALOSS: text without used_memory.
int ty_memory_info_parse(const char *text, struct ty_memory_info *ret_info, struct ty_err *err) TY_MUST_USE;

enum ty_memory_level {
    TY_MEMORY_ROOM,
    TY_MEMORY_NO_SUBMITS, // at admit_percent of the budget
    TY_MEMORY_NO_LOGS,    // at shed_percent
};
struct ty_store_memory_options {
    uint64_t budget_bytes; // 0: Redis' maxmemory; with neither there is no budget, and the level is always ROOM
    unsigned admit_percent, shed_percent;
};
// The level that follows from used and budget when it is `now`: a level is left only when used is TY_MEMORY_SLACK_PERCENT of
// the budget below where it begins. budget 0: ROOM. Pure.
#define TY_MEMORY_SLACK_PERCENT 5
enum ty_memory_level ty_memory_level_of(const struct ty_store_memory_options *options, uint64_t used, uint64_t budget,
                                        enum ty_memory_level now);

struct ty_store_memory;
// Called when the level has changed. misfit is not NULL, once each time it is found: Redis is set to throw keys away
// (TY_EPRECONDITION), so that jobs would vanish.
typedef void (*ty_store_memory_fn)(void *context, enum ty_memory_level level, const struct ty_err *misfit);
struct ty_store_memory *ty_store_memory_new(struct ty_loop *loop, struct ty_state *state,
                                            const struct ty_store_memory_options *options, ty_store_memory_fn fn, void *context);
// Before ty_state_free; accepts NULL.
void ty_store_memory_free(struct ty_store_memory *memory);
// The store came or went: with it away the level stays as it was.
void ty_store_memory_on_store(struct ty_store_memory *memory, bool up);
enum ty_memory_level ty_store_memory_level(const struct ty_store_memory *memory);
// TY_EEXHAUSTED with the figures, for whoever asks for something new; 0 when there is room.
int ty_store_memory_admit(const struct ty_store_memory *memory, struct ty_err *err) TY_MUST_USE;
