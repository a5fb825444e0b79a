// Jobs that ended long ago leave the store. Every worker looks, and the store lets one of them do something at a time; each step is
// short, so that nothing else waits for it.
#include "core/log.h"
#include "worker/run/run_internal.h"

#define FIRST_MS 1000u

static void on_retired(void *context, const struct ty_err *err, unsigned removed, unsigned passed)
{
    struct ty_run *run = context;
    run->retires--;
    if (!ty_run_release(run) || err)
        return; // asked again at the next look
    run->figures.retired += removed;
    if (removed || passed)
        ty_log(TY_LOG_INFO, "jobs.retired", TY_KV("count", "%u", removed), TY_KV("passed_over", "%u", passed));
}

static void look(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->retire_timer, ty_run_jitter(run, run->options.sweep_ms), look, run);
    if (!run->up || run->draining || run->retires)
        return;
    run->retires = ty_state_shards(run->state);
    for (unsigned shard = 0; shard < ty_state_shards(run->state); shard++) {
        ty_run_hold(run);
        ty_state_retire(run->state, shard, run->options.sweep_ms / 2, on_retired, run);
        ty_state_log_look(run->state, shard, run->options.sweep_ms / 2);
    }
}

void ty_retire_start(struct ty_run *run)
{
    uint64_t first_ms = run->options.sweep_ms < FIRST_MS ? run->options.sweep_ms : FIRST_MS;
    ty_loop_set_timer(run->loop, &run->retire_timer, ty_run_jitter(run, first_ms), look, run);
}

void ty_retire_stop(struct ty_run *run)
{
    ty_loop_clear_timer(run->loop, &run->retire_timer);
}
