// The job store in small: what becomes of some jobs of a few organizations on one shard, written from schemas/transitions.json, schemas/redis/README.md
// and the heads of the scripts, so that what the scripts answer can be held against a second opinion. One call for each call of
// the store; each changes the model as the store must have changed, and returns the answer it must have given. Jobs are named
// by a number below MODEL_JOBS. What only the store can choose (a fence) is told to the model afterwards. Pure; one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/state.h"
#include "core/state_outbox.h"

#define MODEL_JOBS 192
#define MODEL_CLAIM_JOBS 4
#define MODEL_CLAIMS 1024  // remembered claims at most; the caller forgets old ones in time
#define MODEL_ORGANIZATIONS 3
#define MODEL_ANY MODEL_ORGANIZATIONS // all of them, or any
#define MODEL_POOLS 2

// What was added to a job's metadata last, by numbers of the caller's. 0: nothing.
struct model_patch {
    enum { MODEL_ERROR_NONE, MODEL_ERROR_TOLD, MODEL_ERROR_REFUSED, MODEL_ERROR_LOST, MODEL_ERROR_QUARANTINED, MODEL_ERROR_WAITED } error;
    uint32_t error_number;   // of what was told; else of losses
    uint32_t errors;         // beside the losses
    uint32_t model, version; // synced_model_id and the script's version
};

// How long a job may wait for its first claim; in a walk all jobs are of long ago.
enum model_wait { MODEL_WAIT_ANY, MODEL_WAIT_LONG, MODEL_WAIT_OVER };

struct model_job {
    bool exists; // also a tombstone, whose state is 0
    enum ty_job_state state;
    unsigned stage, reason, flags;
    uint32_t attempt, losses, errors, lease_ms, max_attempts;
    uint64_t version, fence, ready;
    uint64_t stamp;    // names the last change, as `modified` does in the record; 0 for a tombstone
    struct ty_token token;
    unsigned body;     // which submit it is of
    unsigned organization, pool;
    enum model_wait wait;
    uint8_t asked[MODEL_ORGANIZATIONS]; // of a tombstone: what one organization has asked only for its own job
    struct model_patch patch;
    bool is_kept_back; // its record says that it is due in some days
    bool has_started, has_ended;
    // is_held: canceled, and whoever may have it whom the store forgot has a lease's time to say so; or nobody has it any more, and it
    // ends when Kafka knows that.
    // Where it stands, besides what follows from its state:
    bool in_backoff, is_held, in_outbox, in_nulls, in_unlinked;
    bool is_null_due; // in_nulls, and now
};

struct model_claim {
    struct ty_token token;
    unsigned count;
    unsigned jobs[MODEL_CLAIM_JOBS];
};

struct model {
    struct model_job jobs[MODEL_JOBS];
    struct model_claim claims[MODEL_CLAIMS];
    unsigned claim_count;
    int publisher;      // who has the publisher's lease; -1: nobody
    bool has_publisher; // or ever had
    uint64_t read_us;   // stamp of the last reading of the outbox that found something
    int64_t mark;       // of the events; -1: none
    int64_t watermark;  // of the commands
    uint64_t tick;      // number of the lease clock's last tick
    bool must_replay, has_restored, has_been_back;
    bool paused[MODEL_ORGANIZATIONS + 1];
    unsigned limits[MODEL_ORGANIZATIONS + 1]; // one more than the limit; 0: none was set
    unsigned gaps, retired, stale_refused, leases_taken, quarantined, rollbacks, epoch;
};

// What the model of a whole run keeps when the store goes back.
struct model_site {
    uint32_t max_attempts, max_losses;
    bool ignores_tokens; // the model is wrong on purpose
    uint64_t last_stamp;
    bool backs_off;      // after a failure, for days: it ends only when the caller ends it
    unsigned client;     // which of them calls
    unsigned pools[MODEL_POOLS], pool_count; // that its claim names, in this order
    uint64_t seen_tick[2]; // of each client, the latest tick that it knows of; 0: none
    uint64_t ticks;
};

// A job as its submit has it.
struct model_submit {
    unsigned job, body, organization, pool;
    uint32_t max_attempts;
    uint64_t ready;
    bool is_refused;
    enum model_wait wait;
};

void model_init(struct model *model);
bool model_is_terminal(const struct model_job *job);

// False: a gap, and nothing may be applied.
bool model_advance(struct model *model, int64_t expected, int64_t next);
enum ty_applied model_submit(struct model *model, struct model_site *site, const struct model_submit *submit);
// organization: it is for a job of this one only.
enum ty_applied model_control(struct model *model, struct model_site *site, unsigned job, bool deletes, unsigned organization);

// What operators set for an organization's queue, or for all of them.
struct model_rule {
    unsigned organization;
    bool is_pause, is_lifted;
    unsigned limit; // 0: none
};
void model_set_rule(struct model *model, const struct model_rule *rule);
// How many more jobs of an organization a claim may start.
unsigned model_room(const struct model *model, unsigned organization);
// The job that a claim takes next, -1: there is none that it may take. Whose turn it is the store chooses: chosen, unless the model
// says that this job may not be taken, or not yet.
int model_next(const struct model *model, const struct model_site *site, int chosen);

// Which jobs the claim takes or, when the token claimed before, has. taken: those that the store gave.
unsigned model_claim(struct model *model, struct model_site *site, const struct ty_token *token, unsigned max, uint32_t lease_ms,
                     const unsigned *taken, unsigned taken_count, unsigned ret_jobs[MODEL_CLAIM_JOBS], bool *ret_repeated);
enum ty_renewed model_renew(struct model *model, struct model_site *site, unsigned job, const struct ty_renewal *renewal,
                            const struct model_patch *patch);
enum ty_finished model_finish(struct model *model, struct model_site *site, unsigned job, const struct ty_finish *finish,
                              const struct model_patch *patch);
// The store's clock ticks. Returns false when nothing expires now.
bool model_tick(struct model *model, struct model_site *site);
void model_back_off_ends(struct model *model, unsigned job);
// Whether the job may wait only so long for its first claim; and has waited that long: nobody claims it any more.
bool model_is_limited(const struct model_job *job);
bool model_is_overdue(const struct model_job *job);
void model_end_wait(struct model *model, struct model_site *site, unsigned job);
bool model_is_disowned(const struct model_job *job);
// The time of a held job is over, or it is disowned. Returns whether it ends now: it is disowned before, and Kafka must know that.
bool model_end_held(struct model *model, struct model_site *site, unsigned job);
void model_expire(struct model *model, struct model_site *site, unsigned job);
// Whether the store's sweep takes a job that ended long enough ago, and takes it.
bool model_retire(struct model *model, unsigned job);
// The tombstone expires, and its null record is due.
void model_forget(struct model *model, unsigned job);

bool model_outbox(struct model *model, int publisher);
void model_outbox_read(struct model *model, struct model_site *site, uint64_t stamp_us, const bool is_null[MODEL_JOBS]);
struct model_change {
    unsigned job;
    uint64_t version, stamp;
};
enum ty_published_result model_published(struct model *model, int publisher, uint64_t stamp_us, int64_t expected, int64_t next,
                                         const struct model_change *changes, size_t count, const unsigned *nulls,
                                         size_t null_count);
enum ty_settled model_settled(const struct model *model, const struct model_site *site, unsigned job,
                              const struct ty_settling *settling);
enum model_event_kind { MODEL_EVENT_JOB, MODEL_EVENT_DELETED, MODEL_EVENT_NULL };
// event: the job as it was published. Returns whether the store's job was not like that.
bool model_restore(struct model *model, struct model_site *site, unsigned job, enum model_event_kind kind,
                   const struct model_job *event);
void model_replayed(struct model *model);
