// What the files of the run role share. Inside worker/run only.
#pragma once

#include <sys/types.h>

#include "core/buf.h"
#include "worker/run/attempt.h"
#include "worker/run/job_dir.h"
#include "worker/run/run.h"
#include "worker/run/ship.h"
#include "worker/run/verdict.h"

struct ty_claim;
struct ty_null_lane;
struct ty_stages;

struct ty_run {
    struct ty_loop *loop;
    struct ty_state *state;
    const struct ty_catalog *catalog;
    struct ty_run_options options; // its texts are owned, directories and programs without links
    char *jobs_dir, *trash_dir;
    char boot_id[64];
    int lock_fd;
    const char **pools, **null_pools; // keys of containers, borrowed from the catalog
    size_t pool_count, null_pool_count;

    struct ty_attempt *attempts;
    unsigned attempt_count, busy, settling; // all; those that hold a slot; those in SETTLING
    bool up, freed;
    bool sheds_logs; // the store has no room for them
    unsigned calls; // answers of the store that are to come
    struct ty_run_figures figures;

    struct ty_claim *claim;       // of the runner process; NULL when it serves no pool
    struct ty_null_lane *lanes;   // of the runner null
    size_t lane_count;
    struct ty_timer poll_timer;   // claims though no notice came
    struct ty_timer tick_timer;   // looks at running attempts
    struct ty_timer renew_timer, news_timer;
    struct ty_timer reclaim_timer;
    unsigned reclaims; // on their way
    struct ty_timer settle_timer;
    uint64_t settle_ms; // until the next look
    uint64_t settle_looked_ms, settle_logged_ms;
    unsigned settle_round;
    struct ty_timer retire_timer;
    unsigned retires; // on their way
    struct ty_timer log_usage_timer;
    struct ty_timer orphans_timer;
    struct ty_stages *stages;
    struct ty_timer relink_timer;
    struct ty_relink *relinks; // programs that give names
    bool relink_more;          // there were more at the last look than were taken
    unsigned seed;     // of the jitter

    pid_t sweep_pid; // the program that removes what is in trash_dir; 0: none
    bool swept;      // something came into it meanwhile

    bool draining, drained;
    ty_run_drained_fn drained_fn;
    void *drained_context;
    struct ty_timer drain_timer, drain_limit_timer, drained_timer;
};

// between 3/4 and 5/4 of ms.
uint64_t ty_run_jitter(struct ty_run *run, uint64_t ms);
// Every call of the store holds the run. False: the run was freed meanwhile, and there is nothing to do.
void ty_run_hold(struct ty_run *run);
bool ty_run_release(struct ty_run *run);
// Something ended: whoever waits for the end of a drain may hear of it.
void ty_run_check_drained(struct ty_run *run);

// ---- claim.c: one claim after the other, each token kept until its answer is known ----

// Takes what was claimed, from inside it may call ty_claim_wake.
typedef void (*ty_claim_take_fn)(void *context, const struct ty_token *token, unsigned shard, uint64_t sent_ns,
                                 const struct ty_claimed *jobs, size_t count);
typedef unsigned (*ty_claim_room_fn)(void *context); // how many may be claimed now
struct ty_claim *ty_claim_new(struct ty_run *run, const char *const *pools, size_t pool_count, ty_claim_room_fn room,
                              ty_claim_take_fn take, void *context);
void ty_claim_free(struct ty_claim *claim);
// Asks every shard in turn, until there is no room or none has a job.
void ty_claim_wake(struct ty_claim *claim);
// No claim is on its way and none has an unknown outcome.
bool ty_claim_is_idle(const struct ty_claim *claim);
// Claims nothing for so long.
void ty_claim_pause(struct ty_claim *claim, uint64_t ms);

// ---- null_runner.c ----

void ty_null_runner_start(struct ty_run *run);
void ty_null_runner_wake(struct ty_run *run);
bool ty_null_runner_is_idle(const struct ty_run *run);
void ty_null_runner_free(struct ty_run *run);

// ---- lease.c ----

void ty_lease_start(struct ty_run *run);
void ty_lease_stop(struct ty_run *run);
void ty_lease_renew_all(struct ty_run *run);
// The same, where it is late.
void ty_lease_renew_due(struct ty_run *run);
// Those that the store did not know, since it went back: its jobs come back by replay, and must not be claimed a second time
// by the very worker that still runs them.
void ty_lease_renew_unknown(struct ty_run *run, unsigned shard);
// The attempt has something to tell (a stage), or something to ask (whether it is canceled).
void ty_lease_renew_soon(struct ty_attempt *attempt);

// ---- adopt.c ----

int ty_adopt_all(struct ty_run *run, struct ty_err *err) TY_MUST_USE;

// ---- settle.c: whether ends that the store has taken stand ----

// Asks about all attempts in SETTLING, now and again until there is none.
void ty_settle_soon(struct ty_run *run);
void ty_settle_stop(struct ty_run *run);

// ---- relink.c: names for the models of workers that are gone ----

void ty_relink_start(struct ty_run *run);
void ty_relink_stop(struct ty_run *run);

// ---- retire.c: jobs that ended long ago leave the store ----

void ty_retire_start(struct ty_run *run);
void ty_retire_stop(struct ty_run *run);

// ---- log_usage.c: what logs take, and whether that is too much ----

void ty_log_usage_start(struct ty_run *run);
void ty_log_usage_stop(struct ty_run *run);
// The attempt's log has ended: it is told at once, since the attempt may go.
void ty_log_usage_tell(struct ty_attempt *attempt);

// ---- orphans.c: directories of attempts that nobody has any more ----

void ty_orphans_start(struct ty_run *run);
void ty_orphans_stop(struct ty_run *run);

// ---- stages.c: what attempts have left in the store's staging area ----

void ty_stages_start(struct ty_run *run);
void ty_stages_stop(struct ty_run *run);

// ---- sweep.c: removes directories without waiting for it ----

void ty_sweep_start(struct ty_run *run);
void ty_sweep_dir(struct ty_run *run, const char *dir);
void ty_sweep_stop(struct ty_run *run);
