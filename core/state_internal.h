// What state.c, state_run.c and state_log.c share. Inside the job store only.
#pragma once

#include "core/redis.h"
#include "core/state.h"
#include "core/state_outbox.h"
#include "core/state_args.h"

#define TY_SHARDS_MAX 64

enum ty_script {
    TY_SCRIPT_ATTACH, TY_SCRIPT_CLAIM, TY_SCRIPT_CONTROL, TY_SCRIPT_FINISH, TY_SCRIPT_HELD, TY_SCRIPT_HELLO, TY_SCRIPT_KEYS, TY_SCRIPT_LIST,
    TY_SCRIPT_LOG_APPEND, TY_SCRIPT_LOG_OPEN, TY_SCRIPT_LOG_PAGE, TY_SCRIPT_LOG_REMOVE, TY_SCRIPT_LOG_SEAL, TY_SCRIPT_LOG_SPANS, TY_SCRIPT_LOG_SUMS, TY_SCRIPT_LOG_LOOK, TY_SCRIPT_OUTBOX, TY_SCRIPT_PLACE, TY_SCRIPT_RULES, TY_SCRIPT_PUBLISHED, TY_SCRIPT_PROGRESS, TY_SCRIPT_REBUILD,
    TY_SCRIPT_RECLAIM, TY_SCRIPT_RENEW, TY_SCRIPT_REPLAYED, TY_SCRIPT_RESTORE, TY_SCRIPT_RETIRE, TY_SCRIPT_SETTLED, TY_SCRIPT_SUBMIT, TY_SCRIPT_UNLINKED, TY_SCRIPTS
};

struct ty_state {
    struct ty_loop *loop;
    struct ty_redis *redis;
    struct ty_redis *listener, *log_line;
    struct ty_log_watch *log_watches;
    struct ty_state_options options;
    ty_state_up_fn on_up;
    void *up_context;
    bool is_up, was_up;
    unsigned hellos_left;     // shards that have not said yes
    unsigned hellos_out;      // of them asked
    bool misfit, refused;     // was told: the store does not fit; it does not answer for now
    struct ty_timer hello_again;
    ty_notice_fn on_notice;
    void *notice_context;
    struct ty_redis_script scripts[TY_SCRIPTS];
    char prefix[TY_SHARDS_MAX][20]; // "{ty:0}:"
    uint64_t tick[TY_SHARDS_MAX]; // the latest of the lease clock that was seen; 0: none
    char incarnation[TY_SHARDS_MAX][TY_ID_TEXT_BYTES]; // as attach saw it; empty before
};

// One call on its way: a place for its callback and what it needs then. Freed by whoever delivers.
struct ty_call {
    struct ty_state *state;
    union {
        ty_apply_fn apply;
        ty_claim_fn claim;
        ty_results_fn results;
        ty_reclaim_fn reclaim;
        ty_retire_fn retire;
        ty_log_fn log;
        ty_get_fn get;
        ty_wait_fn wait;
        ty_list_fn list;
        ty_keys_fn keys;
        ty_log_page_fn log_page;
        ty_log_sums_fn log_sums;
        ty_log_spans_fn log_spans;
        ty_outbox_fn outbox;
        ty_outbox_told_fn published;
        ty_restored_fn restored;
        ty_asked_fn asked;
        ty_held_fn held;
        ty_rebuild_fn rebuild;
        ty_info_fn info;
        ty_done_fn done;
        ty_progress_fn progress;
    } fn;
    void *context;
    size_t count;
    struct ty_apply_batch *batch;
    unsigned shard;
};

struct ty_call *ty_call_new(struct ty_state *state, void *context);
// Starts an argument list with the shard's prefix as the first element.
void ty_state_args(const struct ty_state *state, unsigned shard, struct ty_args *args);
// Runs the script with KEYS[1] = key and args as ARGV.
void ty_state_eval(struct ty_state *state, enum ty_script script, const char *key, struct ty_args *args,
                   ty_redis_fn fn, void *context);
// KEYS[1] of a shard's scripts: "{ty:0}:m".
void ty_state_meta_key(const struct ty_state *state, unsigned shard, char out[24]);
// The log's meta key, "{<32 hex>}:l".
void ty_state_log_key(const struct ty_id *id, char out[48]);
// Adds the arguments of submit.lua for these commands, whose records are borrowed until the call. TY_EDATALOSS: a record that is
// none.
int ty_state_add_submits(const struct ty_state *state, unsigned shard, const struct ty_apply *commands,
                         const size_t *places, size_t count, struct ty_args *args, struct ty_err *err) TY_MUST_USE;
// An error for anything but an array reply of at least min items; 0 otherwise. Fills `err`.
int ty_state_check_array(const struct ty_redis_reply *reply, const struct ty_err *cause, size_t min, struct ty_err *err);
// What a script answers of a job's log: its latest attempt, to remove all, or negative: the job has ended without another one, and
// the log is to say so where its worker cannot. The second: of the jobs that an answer names, (id, attempt) from items[at] on.
void ty_state_end_log(struct ty_state *state, const struct ty_id *id, int64_t attempt);
void ty_state_end_logs(struct ty_state *state, const struct ty_redis_reply *reply, size_t at);
// A log, and what lies beside it, is in a slot of its own, so its scripts cannot count beside the others: that one refused a stale
// attempt is told to the job's shard behind it. What is lost on the way is not counted.
void ty_state_count_refused(struct ty_state *state, unsigned shard);
// Removes the logs of a deleted job; nobody waits for it.
void ty_state_log_remove(struct ty_state *state, const struct ty_id *id, uint32_t attempts);
// The lease of an attempt was taken: its log takes no more until it has the job again. ended: the job has ended with it. Nobody
// waits for it.
void ty_state_log_seal(struct ty_state *state, const struct ty_id *id, uint32_t attempt, bool ended);
// One call with an answer of count results, delivered to fn.
void ty_state_on_results(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause);
// Decodes id, record pairs from items[at] on; *ret_jobs is the caller's to free, its records borrow from the reply.
int ty_state_take_jobs(const struct ty_redis_reply *reply, size_t at, struct ty_claimed **ret_jobs, size_t *ret_count,
                       struct ty_err *err);
