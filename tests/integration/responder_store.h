// The job store as a worker and an intake would use it, one call at a time: for tests that need jobs in states and logs
// that only they can make. Whatever fails here fails the running cmocka test.
#pragma once

#include "core/state.h"

struct store;

struct store *store_new(const char *redis_url, unsigned shards);
void store_free(struct store *store);

struct store_job {
    const char *organization_id, *model_name;
    uint64_t created_us;
    size_t padding; // bytes of arguments
    const char *dataset_id;         // NULL: "digits"
    const char *label, *other;      // values of the labels "team" and "run"; NULL: it has none
};
// Applies custom jobs; ids go to ret_ids.
void store_submit(struct store *store, const struct store_job *jobs, size_t count, struct ty_id *ret_ids);

// Claims one job of any kind from the shard of `id` (which must be the only one waiting there) and opens its log.
struct store_attempt {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence;
    uint64_t next; // sequence number of the next log entry
};
void store_claim(struct store *store, const struct ty_id *id, struct store_attempt *ret_attempt);
// Appends entries "<label> <sequence>" padded to bytes each, all within one second of time.
void store_log(struct store *store, struct store_attempt *attempt, const char *label, size_t count, size_t bytes);
// One entry of this level and time (since 1970) on stderr.
void store_log_one(struct store *store, struct store_attempt *attempt, const char *level, uint64_t time_us, const char *message);
// The end mark of the attempt's log.
void store_log_end(struct store *store, struct store_attempt *attempt);
void store_finish(struct store *store, const struct store_attempt *attempt, enum ty_finish_action action);
