// The job store: every change of state in Redis, each one atomic script of schemas/redis/, behind asynchronous calls. The
// only module that knows keys and scripts. Loop thread only; no call blocks. Callbacks come exactly once; err is
// NULL on success. On TY_EUNAVAILABLE or TY_EDEADLINE the change may or may not have happened: repeat the same call (every
// script is idempotent for the same token or command).
//
// Control keys live on `shards` shards, each under one hash tag; a job's shard follows from its id. Log keys are tagged
// by job. Strings given to a call are copied before it returns.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/command.h"
#include "core/err.h"
#include "core/id.h"
#include "core/loop.h"
#include "core/record.h"

struct ty_state;

struct ty_state_options {
    const char *redis_url;
    unsigned shards;             // 1 to 64; must be what the store was made with
    uint64_t command_ms;         // deadline of one call
    uint64_t tombstone_ms;       // how long a cancel or delete waits for its submit (default 8 days)
    uint64_t horizon_ms;         // submits of a partition that are older make no job (0: any does); below tombstone_ms
    uint64_t job_retention_ms;   // of jobs that have ended (0: kept)
    uint64_t log_retention_ms;   // after the end of a job's log (default 7 days; 0: kept; UINT64_MAX: it goes at its end)
    uint64_t job_log_bytes;      // of one job's lines, through all attempts; 0: no limit
    uint32_t default_max_attempts;
    uint32_t max_losses;         // lost workers after which a job is quarantined; 0: never
    uint32_t retry_base_ms;      // back-off after the first failure, of a job that asks for none; 0: none
    uint32_t retry_max_ms;       // and at most
    bool has_events;             // its jobs have events on Kafka: a store that is new is not trusted before those were looked at
};

// up: connected and the store's format and shard count fit. A misfit is reported once as up=false with err (TY_EPRECONDITION), and so
// is a replica unless the store was up before (TY_EUNAVAILABLE then: another has taken over from it).
typedef void (*ty_state_up_fn)(void *context, bool up, const struct ty_err *err);
int ty_state_new(struct ty_loop *loop, const struct ty_state_options *options, ty_state_up_fn on_up, void *context,
                 struct ty_state **ret_state, struct ty_err *err) TY_MUST_USE;
void ty_state_free(struct ty_state *state);
bool ty_state_is_up(const struct ty_state *state);
unsigned ty_state_shards(const struct ty_state *state);
unsigned ty_state_shard_of(const struct ty_state *state, const struct ty_id *id);

// ---- commands in ----

enum ty_applied {
    TY_APPLIED = 1,       // it changed the job
    TY_APPLY_DUPLICATE,   // the same submit is there already
    TY_APPLY_CONFLICT,    // a submit with another body is there: the first stands
    TY_APPLY_NOOP,        // nothing to change (terminal, or asked before)
    TY_APPLY_TOMBSTONE,   // unknown job: remembered until its submit comes
    TY_APPLY_DELETED,     // the job is gone; its logs are being removed
    TY_APPLY_TOO_OLD,     // a submit from beyond the horizon of a job that is not known: nothing was done
    TY_APPLY_FOREIGN,     // a cancel or delete of a job of another organization than may ask for it: nothing was done
};

// What operators set for the queues, in the place of a command (see core/rule.h).
#define TY_APPLY_RULE 100
// An access key or its revocation (see core/key.h).
#define TY_APPLY_KEY 101

// One command for apply. For a submit: record is what ty_record_encode_new made. For a rule: organization_id is its name,
// record the value, NULL to take it back; it goes to all shards. For a key: the same, as on Kafka; all keys lie on shard 0.
struct ty_apply {
    int kind; // enum ty_command_kind, TY_APPLY_RULE or TY_APPLY_KEY
    struct ty_id job_id;
    const void *record;
    size_t record_len;
    const char *organization_id; // of a cancel or delete: it is for a job of this one only; NULL or "": for any
    int64_t offset; // of a rule's or key's record; not read without a watermark
};

// Where the commands come from; all NULL/0 for a command that is not applied from a partition (the responder's).
struct ty_watermark {
    const char *topic;  // short name
    int32_t partition;
    int64_t expected;   // the next offset the intake believes the store has
    int64_t next;       // the next offset after these commands
};

// gap: the store is behind `expected` (or is another incarnation): nothing was applied, *stored is where to go on from.
// results: one enum ty_applied a command, in order.
typedef void (*ty_apply_fn)(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results,
                            size_t count);
void ty_state_apply(struct ty_state *state, const struct ty_apply *commands, size_t count,
                    const struct ty_watermark *watermark, ty_apply_fn fn, void *context);
// Takes up a partition: its watermark, the lowest over the shards (0 when the store has none). The store's incarnations are
// remembered, so that a store that was emptied since then answers GAP. cluster_id: Kafka's; when the store knew another
// one, its watermarks are dropped and cluster_changed is true.
typedef void (*ty_attach_fn)(void *context, const struct ty_err *err, int64_t stored, bool cluster_changed);
void ty_state_attach(struct ty_state *state, const char *cluster_id, const char *topic, int32_t partition,
                     ty_attach_fn fn, void *context);

// ---- the run role ----

// Claims up to max jobs of the given pools from one shard under token (repeat with the same token: the same jobs).
// records are borrowed, each as stored after the claim.
struct ty_claimed {
    struct ty_id id;
    struct ty_record record;
};
typedef void (*ty_claim_fn)(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count);
void ty_state_claim(struct ty_state *state, unsigned shard, const struct ty_token *token, const char *worker,
                    unsigned max, uint32_t lease_ms, const char *const *pools, size_t pool_count, ty_claim_fn fn,
                    void *context);

enum ty_renewed {
    TY_RENEWED = 1,       // the lease runs from when the store saw this
    TY_RENEW_CANCEL,      // renewed, and the job is to be stopped
    TY_RENEW_LOST,        // another attempt owns it, or it is terminal
    TY_RENEW_DELETED,     // it was deleted
    TY_RENEW_UNKNOWN,     // the store does not know it (it went back): run on, ask again
};
struct ty_renewal {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence;
    uint32_t lease_ms;
    uint8_t stage;          // enum ty_job_stage to enter, 0: unchanged
    const void *patch;      // TY_TAIL_METADATA bytes to add, or NULL
    size_t patch_len;
    const char *worker;
};
typedef void (*ty_results_fn)(void *context, const struct ty_err *err, const int *results, size_t count);
// All of one shard.
void ty_state_renew(struct ty_state *state, unsigned shard, const struct ty_renewal *renewals, size_t count,
                    ty_results_fn fn, void *context);

enum ty_finish_action {
    TY_FINISH_COMPLETED = 'C',
    TY_FINISH_COMPLETED_MODEL = 'M', // as COMPLETED; its model is among ty_state_unlinked until ty_state_linked
    TY_FINISH_FAILED = 'F',
    TY_FINISH_CANCELED = 'X',
    TY_FINISH_HAND_BACK = 'H', // to the queue again, no attempt used; CANCELING becomes CANCELED
    TY_FINISH_RETRY = 'R',     // to the queue again, one error counted; FAILED when no attempt is left
};
enum ty_finished {
    TY_FINISHED = 1,
    TY_FINISH_ALREADY,   // already done by this token
    TY_FINISH_STALE,     // refused: another attempt owns the job
    TY_FINISH_UNKNOWN,   // the store does not know the job
    TY_FINISH_DELETED,   // done, and the job was to be deleted: it is gone
};
struct ty_finish {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    enum ty_finish_action action;
    enum ty_job_reason reason;
    const void *patch; // as in ty_renewal (error_status, synced_model_id)
    size_t patch_len;
};
void ty_state_finish(struct ty_state *state, unsigned shard, const struct ty_finish *finishes, size_t count,
                     ty_results_fn fn, void *context);

// One tick of the lease clock of a shard: requeues or ends what expired (never before the store has been in contact
// for one whole lease). count: how many leases were taken.
typedef void (*ty_reclaim_fn)(void *context, const struct ty_err *err, unsigned count);
void ty_state_reclaim(struct ty_state *state, unsigned shard, uint32_t lease_ms, ty_reclaim_fn fn, void *context);

// One step of a shard's sweep: removes jobs that ended longer ago than job_retention_ms, with their logs, as a delete of each
// would, but for those that Kafka does not know yet or whose model has no public name. interval_ms: of the calls of all programs
// within it one does something. removed: how many; passed: how many are to wait.
typedef void (*ty_retire_fn)(void *context, const struct ty_err *err, unsigned removed, unsigned passed);
void ty_state_retire(struct ty_state *state, unsigned shard, uint64_t interval_ms, ty_retire_fn fn, void *context);

// Up to max completed jobs of a shard whose model has not got its public name within age_ms, since the worker that was to
// give it may be gone. Each is given out again only after another age_ms. Records are borrowed.
void ty_state_unlinked(struct ty_state *state, unsigned shard, uint64_t age_ms, unsigned max, ty_claim_fn fn, void *context);
// The job's model has its name, or can never have it. Nobody waits for the answer.
void ty_state_linked(struct ty_state *state, const struct ty_id *id);

// Pushed words from the store, best effort: ready (jobs wait in a shard) or cancel of one job.
typedef void (*ty_notice_fn)(void *context, bool ready, const struct ty_id *cancel_id);
int ty_state_listen(struct ty_state *state, ty_notice_fn fn, void *context, struct ty_err *err) TY_MUST_USE;

// What Redis says of itself in one section of INFO ("memory"); borrowed.
typedef void (*ty_info_fn)(void *context, const struct ty_err *err, const char *text);
void ty_state_info(struct ty_state *state, const char *section, ty_info_fn fn, void *context);

// ---- logs ----

// What the store has of the attempt's log.
struct ty_log_place {
    uint64_t next;   // the sequence number that it wants
    uint64_t sealed; // entries below it are in chunks; from there to next they are live
    uint64_t bytes;  // what the whole log of the job takes, chunks and entries; not set by refusals
    bool fresh;      // open only: the log had not seen this token before
};
// place is zeros on an error but for TY_EPRECONDITION.
typedef void (*ty_log_fn)(void *context, const struct ty_err *err, const struct ty_log_place *place);
// Opens (or re-opens) the log of an attempt; refuses a lower fence with TY_EABORTED, which the job's shard counts (stale_refused),
// as it does a stale token below. The log of a deleted job is refused with TY_EABORTED too. first is the sequence number that the
// worker would go on with when the store has nothing of this attempt.
void ty_state_log_open(struct ty_state *state, const struct ty_id *id, uint32_t attempt, uint64_t fence,
                       const struct ty_token *token, uint64_t first, ty_log_fn fn, void *context);
// Entries as core/log_entry.h makes them, sealed in chunks (core/log_chunk.h) or one by one; all are borrowed until the call
// returns. Chunks follow each other, the entries follow the last. The first chunk that is new begins where the live entries do
// and replaces those it has. What the store has is skipped, a hole is refused.
// TY_EABORTED: stale token, or the attempt's lease was taken; TY_ENOTFOUND: no such log (deleted, or the store went back: open
// again); TY_EPRECONDITION: a hole, or a chunk that begins elsewhere (place says what is wanted).
struct ty_bytes {
    const void *data;
    size_t len;
};
struct ty_log_append {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    const struct ty_bytes *chunks;
    size_t chunk_count;
    uint64_t first; // sequence number of entries[0]; without entries: of what would follow
    const struct ty_bytes *entries;
    size_t count;
    bool end;             // no more will come
    uint64_t limit_bytes; // of the job's lines, in place of job_log_bytes; 0: that
    uint64_t short_bytes; // the log is to have no more than this behind its head, and a head of no more; 0: not so
};
void ty_state_log_append(struct ty_state *state, const struct ty_log_append *append, ty_log_fn fn, void *context);

// What the logs of one shard's jobs take, by ty_log_place.bytes: told by who writes them, and put right by ty_state_log_look, since
// logs lie elsewhere and expire there. Best effort: a log of which nothing was told is not in the sums.
struct ty_log_usage {
    struct ty_id id;
    const char *organization; // "" or NULL: as it was told before
    uint64_t bytes;           // 0: it is gone
};
// organizations: what the logs of each usage's organization take now, itself among them.
typedef void (*ty_log_sums_fn)(void *context, const struct ty_err *err, uint64_t total, const uint64_t *organizations,
                               size_t count);
void ty_state_log_sums(struct ty_state *state, unsigned shard, const struct ty_log_usage *usages, size_t count, ty_log_sums_fn fn,
                       void *context);
// Looks at a few logs of the shard, and tells what they take now. interval_ms: as in ty_state_retire. Nobody waits for it.
void ty_state_log_look(struct ty_state *state, unsigned shard, uint64_t interval_ms);

// What an attempt tells of its progress, bytes of a serialized trainyard.v1.JobProgress, in place of what there was. It goes with the job;
// where nobody removes it, 30 days after the job would have gone. TY_EABORTED: stale token, or the attempt's lease was taken,
// which the job's shard counts (stale_refused); TY_ENOTFOUND: no such log.
typedef void (*ty_done_fn)(void *context, const struct ty_err *err);
void ty_state_progress_put(struct ty_state *state, const struct ty_id *id, const struct ty_token *token, const void *bytes,
                           size_t len, ty_done_fn fn, void *context);

// ---- answers ----

// bytes NULL: nothing was told, or the store has lost it. Borrowed.
typedef void (*ty_progress_fn)(void *context, const struct ty_err *err, const void *bytes, size_t len);
void ty_state_progress_get(struct ty_state *state, const struct ty_id *id, ty_progress_fn fn, void *context);

// record NULL: no such job. A tombstone is no job. TY_EUNAVAILABLE also while the store is being made again from Kafka and does not have
// the job (yet).
typedef void (*ty_get_fn)(void *context, const struct ty_err *err, const struct ty_record *record);
void ty_state_get(struct ty_state *state, const struct ty_id *id, ty_get_fn fn, void *context);

// Why a pending job has not begun, and where it stands.
struct ty_wait {
    bool is_waiting;   // false: it is not pending, or not there
    const char *why;   // "queued", ...: see "Whose turn it is" in schemas/redis/README.md; borrowed
    uint64_t position; // how many jobs of its pool begin until it has begun, if none comes meanwhile; 0: it is not in its queue
    bool is_least;     // position is at least that: so many organizations wait that not all were looked at
    uint64_t due_us;   // the end of its back-off; 0: none
    uint64_t limit;    // how many jobs its organization may have running; 0: no limit
};
typedef void (*ty_wait_fn)(void *context, const struct ty_err *err, const struct ty_wait *wait);
void ty_state_wait(struct ty_state *state, const struct ty_id *id, ty_wait_fn fn, void *context);

// Jobs of one shard in an order that never changes for a job: who goes on behind the last one of a page meets each job that is
// there all the while once, and none twice, whatever else comes, changes its state or is deleted.
enum ty_list_order {
    TY_LIST_CREATED, // of all states, or of some
    TY_LIST_ENDED,   // those that have ended; a program of before this order has not put them there (see schemas/redis/README.md)
};
struct ty_list_cursor {
    uint64_t time_us; // of the order
    struct ty_id id;
};
struct ty_list_query {
    const char *organization_id;
    enum ty_list_order order;
    bool oldest_first;       // ties by id, the same way
    unsigned states;         // bits 1 << state; 0: all. Of TY_LIST_CREATED only
    uint64_t least_us, most_us; // of the order's time; 0: none
    const struct ty_list_cursor *after; // NULL: from the first
    unsigned limit;
    size_t max_bytes;        // of records: the page ends with the job that comes to so many
};
struct ty_list_page {
    const struct ty_claimed *jobs; // records are borrowed
    size_t count;
    bool more;                   // behind `last`
    struct ty_list_cursor last;  // that was looked at: it may have left the store since. As `after` was, or zeros, where there was none
};
typedef void (*ty_list_fn)(void *context, const struct ty_err *err, const struct ty_list_page *page);
void ty_state_list(struct ty_state *state, unsigned shard, const struct ty_list_query *query, ty_list_fn fn, void *context);

// Access keys and revocations that were put into the store behind one, in that order: at most max, and more says whether others
// follow. Names and values are as on Kafka (ty_key_decode), borrowed.
struct ty_stored_key {
    uint64_t order; // of the last one: where to go on from
    const char *name, *value;
    size_t name_len, value_len;
};
struct ty_key_page {
    bool is_whole;           // the store has all that Kafka had when a worker last had to look
    const char *incarnation; // another one: the store was emptied since; "": no worker has been here; borrowed
    uint64_t latest;         // the order of the last one of all; 0: none
    bool more;
    const struct ty_stored_key *keys;
    size_t count;
};
typedef void (*ty_keys_fn)(void *context, const struct ty_err *err, const struct ty_key_page *page);
void ty_state_keys(struct ty_state *state, uint64_t after, unsigned max, ty_keys_fn fn, void *context);

// One page of a job's log from (attempt, sequence) on, through all attempts. Entries are as core/log_entry.h makes them, borrowed;
// they are at most max_entries and max_bytes together, unless the first alone is larger. Where entries were dropped, or came too
// late to be taken, one of the worker's stream says so in their place: a run of its own. more: entries follow behind next_*. A
// place that was dropped since is a place still.
struct ty_log_run { // entries of one attempt without a hole between them
    uint32_t attempt;
    uint64_t sequence; // of the first
    size_t count;
    uint64_t missing;  // 0; else the one entry of the run is such a word: it stands for so many from sequence on
};
struct ty_log_page {
    const struct ty_bytes *entries;
    size_t count;
    const struct ty_log_run *runs; // the places of all entries, in their order
    size_t run_count;
    bool more;
    bool ended;             // the log's end marker is there
    uint32_t next_attempt;
    uint64_t next_sequence;
};
typedef void (*ty_log_page_fn)(void *context, const struct ty_err *err, const struct ty_log_page *page);
void ty_state_log_page(struct ty_state *state, const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                       unsigned max_entries, size_t max_bytes, ty_log_page_fn fn, void *context);

// What there is of each attempt's log, the latest attempt first, at most max_attempts of them: sequences from first up to,
// but not with, next. In between some may be missing where a log was cut to its bounds. No log: no spans. Costs a few looks an
// attempt, however long the log is.
struct ty_log_span {
    uint32_t attempt;
    uint64_t first, next;
};
typedef void (*ty_log_spans_fn)(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count);
void ty_state_log_spans(struct ty_state *state, const struct ty_id *id, unsigned max_attempts, ty_log_spans_fn fn,
                        void *context);

// Watches a log: fn comes when it has grown or ended, and when that may have been missed (the line was down). Best effort: a
// program of before this tells nothing, so who waits also looks at times. One watch a job; end it before the state is freed,
// not from inside fn. TY_EINVALID: the address.
struct ty_log_watch;
typedef void (*ty_log_news_fn)(void *context);
int ty_state_log_watch(struct ty_state *state, const struct ty_id *id, ty_log_news_fn fn, void *context,
                       struct ty_log_watch **ret_watch, struct ty_err *err) TY_MUST_USE;
void ty_state_log_unwatch(struct ty_log_watch *watch);
