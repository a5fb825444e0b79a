// The job store's side of the events feed: what Kafka does not know yet, what it knows now, and whether the end of an attempt
// stands. Part of the job store: the rules of core/state.h hold. schemas/redis/README.md has the keys.
#pragma once

#include "core/state.h"

#define TY_OUTBOX_JOBS_MAX 1000              // of one batch
#define TY_OUTBOX_BYTES_MAX (4 * 1024 * 1024) // of one batch; one record more than that is still given

// Why the events are to be read before anything is claimed.
enum ty_replay_why {
    TY_REPLAY_NONE,
    TY_REPLAY_NEEDED, // the store went back, or it is new and may be one that was lost
    TY_REPLAY_ASKED,  // by the operator
};

// A job that changed. record: as stored; is_ok false when its bytes are no record of ours: it is to be counted,
// not published. A deleted job is a tombstone (state 0). change names what was read, for `published`.
struct ty_outbox_job {
    struct ty_id id;
    struct ty_record record;
    bool is_ok;
    uint8_t change[16];
};
struct ty_outbox {
    bool is_ours;            // false: another publisher has the lease, and nothing else is set
    uint64_t stamp_us;
    uint64_t epoch;
    const int64_t *marks;    // next offset of each partition of the topic, -1: the store has none
    unsigned mark_count;
    const struct ty_id *nulls; // deleted jobs whose null record is due
    size_t null_count;
    const struct ty_outbox_job *jobs;
    size_t job_count;
    enum ty_replay_why replay;
};
// Takes or prolongs the publisher's lease of a shard and reads what is to be published, oldest change first. All in outbox is
// borrowed. name: of the publisher, unique. lease_ms 0 gives the lease up. limit 0: nothing but the lease and the marks.
typedef void (*ty_outbox_fn)(void *context, const struct ty_err *err, const struct ty_outbox *outbox);
void ty_state_outbox(struct ty_state *state, unsigned shard, const char *name, uint32_t lease_ms, unsigned limit,
                     const char *topic, unsigned partitions, ty_outbox_fn fn, void *context);

enum ty_published_result {
    TY_PUBLISHED = 1,
    TY_PUBLISHED_LOST,  // another publisher has the lease; nothing was changed
    TY_PUBLISHED_GAP,   // the store is not the one that was read: it went back; nothing was changed
};
struct ty_event_mark {
    unsigned partition;
    int64_t expected; // as the outbox had it
    int64_t next;
};
// Kafka has all of this. Borrowed for the call.
struct ty_published {
    const char *name, *topic;
    uint64_t stamp_us;
    const struct ty_event_mark *marks;
    size_t mark_count;
    const struct ty_outbox_job *jobs; // id and change are read
    size_t job_count;
    const struct ty_id *nulls;
    size_t null_count;
};
typedef void (*ty_outbox_told_fn)(void *context, const struct ty_err *err, enum ty_published_result result);
void ty_state_published(struct ty_state *state, unsigned shard, const struct ty_published *published, ty_outbox_told_fn fn,
                        void *context);

// Counts in the store that a publisher found itself fenced by Kafka. Nobody waits for the answer.
void ty_state_count_fenced(struct ty_state *state, unsigned shard);

// ---- the store made again ----

// What one event says of a job. Borrowed for the call.
struct ty_restore {
    struct ty_id id;
    bool is_deleted;
    bool is_null; // what was deleted is forgotten; nothing else is set
    uint64_t version;
    const void *record; // as ty_event_decode made it; NULL when is_deleted
    size_t record_len;
};
// Brings the jobs to where the events are, and the marks with them: marks[].next is where the reading has come to, from `expected`;
// epoch: the highest of the events, 0: none. Under the publisher's lease. changed: how many jobs were not like that before. The
// same events once more change nothing. All of one shard. is_ours false: another publisher has the lease, or the store has lower
// marks than expected, since it went back, or all is to be read again (ty_state_rebuild): nothing was changed.
typedef void (*ty_restored_fn)(void *context, const struct ty_err *err, bool is_ours, unsigned changed);
void ty_state_restore(struct ty_state *state, unsigned shard, const char *name, const char *topic, uint64_t epoch,
                      const struct ty_event_mark *marks, size_t mark_count, const struct ty_restore *jobs, size_t count,
                      ty_restored_fn fn, void *context);
// COMMANDS_MISSING: claims have waited for this, and must wait until the intakes have read those topics to their ends.
// WITHOUT_COMMANDS: some are missing, and the operator has the store go on without them.
enum ty_replayed { TY_REPLAYED_NOT_OURS, TY_REPLAYED, TY_REPLAYED_COMMANDS_MISSING, TY_REPLAYED_WITHOUT_COMMANDS };
// Where a partition of a command topic ends: partition is "topic/number", the topic's name without the prefix.
struct ty_topic_end {
    char partition[32];
    int64_t next;
};
#define TY_ENDS_UNKNOWN SIZE_MAX
// One of the partitions that were not read to their ends: the store's watermark, and the end; and all the watermarks together.
struct ty_commands_missing {
    char partition[32]; // "": the ends are not known
    int64_t mark, end, passed;
};
// missing: with COMMANDS_MISSING; else NULL.
typedef void (*ty_asked_fn)(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing);
// The store has all that the events say up to marks[].expected: claims and expiry go on. NOT_OURS also where its marks are lower.
// When something was restored, by this publisher or one that died over it, a new epoch begins, and nothing expires for lease_ms.
// ends: how far commands must have been applied if claims have waited; none: there are none. With count TY_ENDS_UNKNOWN claims
// that wait wait on.
void ty_state_replayed(struct ty_state *state, unsigned shard, const char *name, uint32_t lease_ms, const char *topic,
                       const struct ty_event_mark *marks, size_t mark_count, const struct ty_topic_end *ends, size_t count,
                       ty_asked_fn fn, void *context);
// Under the publisher's lease: cancels that were held are done (schemas/redis/README.md, Transitions), at most a thousand with each
// call, and the logs of what was to be deleted are removed. ended: how many.
typedef void (*ty_held_fn)(void *context, const struct ty_err *err, unsigned ended);
void ty_state_end_held(struct ty_state *state, unsigned shard, const char *name, ty_held_fn fn, void *context);
// The store is found to have gone back: no claims until it was replayed. What the operator asked for stays so. Nobody waits for the answer.
void ty_state_need_replay(struct ty_state *state, unsigned shard);
// The operator wants everything to be read again from Kafka, events and commands; or to know how that goes; or, where jobs wait for
// commands that no intake reads, that they start without.
enum ty_rebuild_ask { TY_REBUILD_LOOK, TY_REBUILD_ASK, TY_REBUILD_WAIVE };
struct ty_rebuild {
    enum ty_replay_why replay; // NONE: there is nothing to wait for
    bool has_publisher;        // somebody has the shard's lease
    uint64_t passed;           // records of the topic that the store has passed
};
typedef void (*ty_rebuild_fn)(void *context, const struct ty_err *err, const struct ty_rebuild *rebuild);
void ty_state_rebuild(struct ty_state *state, unsigned shard, enum ty_rebuild_ask ask, ty_rebuild_fn fn, void *context);

enum ty_settled {
    TY_SETTLED = 1,        // it stands, whatever happens to the store
    TY_SETTLED_NOT_YET,
    TY_SETTLED_TELL_AGAIN, // the store went back to before the end
    TY_SETTLED_OTHER,      // the end of another attempt stands
};
struct ty_settling {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence;
    bool is_given_back; // else the attempt has ended its job
};
// All of one shard. results: one enum ty_settled each.
void ty_state_settled(struct ty_state *state, unsigned shard, const struct ty_settling *attempts, size_t count, ty_results_fn fn,
                      void *context);
