// The runner null starts nothing: what is claimed is completed. It measures the control plane, so it works in large batches,
// and in several lanes, so that the store always has a call to work on. A job of it has no log and no model.
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/log.h"
#include "worker/run/run_internal.h"

#define LANES_MAX 4
#define AGAIN_MS 500

struct ty_null_lane {
    struct ty_run *run;
    struct ty_claim *claim;
    unsigned slots;
    struct ty_finish *finishes; // claimed and not yet known to be completed; `slots` of them
    size_t count;
    unsigned shard;
    bool telling;
    struct ty_timer timer;
};

static void tell(struct ty_null_lane *lane);

static void on_timer(void *context)
{
    tell(context);
}

static void on_finished(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct ty_null_lane *lane = context;
    struct ty_run *run = lane->run;
    if (!ty_run_release(run)) // the lane went with the run
        return;
    lane->telling = false;
    if (err) {
        if (run->up)
            ty_loop_set_timer(run->loop, &lane->timer, ty_run_jitter(run, AGAIN_MS), on_timer, lane);
        return;
    }
    size_t later = 0;
    for (size_t i = 0; i < count; i++) {
        if (results[i] == TY_FINISH_LATER) {
            lane->finishes[later++] = lane->finishes[i];
            continue;
        }
        bool is_done = results[i] == TY_FINISHED || results[i] == TY_FINISH_ALREADY || results[i] == TY_FINISH_DELETED;
        run->figures.completed += is_done;
        run->figures.lost += !is_done;
    }
    lane->count = later;
    if (later) {
        ty_loop_set_timer(run->loop, &lane->timer, ty_run_jitter(run, AGAIN_MS), on_timer, lane);
        return;
    }
    ty_claim_wake(lane->claim);
    ty_run_check_drained(run);
}

static void tell(struct ty_null_lane *lane)
{
    struct ty_run *run = lane->run;
    if (!lane->count || lane->telling || !run->up)
        return;
    ty_loop_clear_timer(run->loop, &lane->timer);
    lane->telling = true;
    ty_run_hold(run);
    ty_state_finish(run->state, lane->shard, lane->finishes, lane->count, on_finished, lane);
}

static void take(void *context, const struct ty_token *token, unsigned shard, uint64_t sent_ns,
                 const struct ty_claimed *jobs, size_t count)
{
    struct ty_null_lane *lane = context;
    (void)sent_ns;
    lane->shard = shard;
    lane->count = count < lane->slots ? count : lane->slots;
    for (size_t i = 0; i < lane->count; i++)
        lane->finishes[i] = (struct ty_finish){
            .id = jobs[i].id, .token = *token, .attempt = jobs[i].record.attempt, .action = TY_FINISH_COMPLETED};
    lane->run->figures.started += lane->count;
    tell(lane);
    // Where there was as much as could be taken there may be more.
    struct ty_null_lane *end = lane->run->lanes + lane->run->lane_count;
    if (count == lane->slots && lane + 1 < end)
        ty_claim_wake(lane[1].claim);
}

static unsigned room(void *context)
{
    const struct ty_null_lane *lane = context;
    return lane->count ? 0 : lane->slots;
}

void ty_null_runner_start(struct ty_run *run)
{
    unsigned slots = run->options.null_slots;
    if (!slots || !run->null_pool_count)
        return;
    size_t lanes = (slots + TY_LIMIT_CLAIM_JOBS - 1) / TY_LIMIT_CLAIM_JOBS;
    run->lane_count = lanes < LANES_MAX ? lanes : LANES_MAX;
    run->lanes = ty_xcalloc(run->lane_count, sizeof *run->lanes);
    for (size_t i = 0; i < run->lane_count; i++) {
        struct ty_null_lane *lane = &run->lanes[i];
        unsigned left = slots / (unsigned)run->lane_count;
        lane->run = run;
        lane->slots = left < TY_LIMIT_CLAIM_JOBS ? left : TY_LIMIT_CLAIM_JOBS;
        lane->finishes = ty_xcalloc(lane->slots, sizeof *lane->finishes);
        lane->claim = ty_claim_new(run, run->null_pools, run->null_pool_count, room, take, lane);
    }
}

void ty_null_runner_wake(struct ty_run *run)
{
    for (size_t i = 0; i < run->lane_count; i++) {
        tell(&run->lanes[i]);
        // The first lane looks for all of them; the others only ask again where an answer is missing.
        if (i == 0 || !ty_claim_is_idle(run->lanes[i].claim))
            ty_claim_wake(run->lanes[i].claim);
    }
}

bool ty_null_runner_is_idle(const struct ty_run *run)
{
    for (size_t i = 0; i < run->lane_count; i++)
        if (run->lanes[i].count || !ty_claim_is_idle(run->lanes[i].claim))
            return false;
    return true;
}

void ty_null_runner_free(struct ty_run *run)
{
    for (size_t i = 0; i < run->lane_count; i++) {
        struct ty_null_lane *lane = &run->lanes[i];
        ty_loop_clear_timer(run->loop, &lane->timer);
        ty_claim_free(lane->claim);
        free(lane->finishes);
    }
    free(run->lanes);
    run->lanes = NULL;
    run->lane_count = 0;
}
