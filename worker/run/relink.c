// A worker tells the end of a job and then gives its model the public name. When it dies in between, any other worker does
// that: the store remembers which models have no name yet, and the record says which stage is the one.
#include <inttypes.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/wire.h"
#include "worker/run/run_internal.h"
#include "worker/run/spawn.h"

#define LOOK_MS 10000u // how often; at once when there are more, as after a store that went back
#define AGE_MS 15000u  // how long a worker has for its own models
#define AT_ONCE 4u     // of one shard

typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;

// One running program.
struct ty_relink {
    struct ty_run *run;
    struct ty_id id;
    pid_t pid;
    struct ty_relink *next;
};

static void look(void *context);

static void forget(struct ty_relink *relink)
{
    struct ty_relink **at = &relink->run->relinks;
    while (*at != relink)
        at = &(*at)->next;
    *at = relink->next;
    free(relink);
}

static void on_end(void *context, pid_t pid, int code, int value)
{
    struct ty_relink *relink = context;
    struct ty_run *run = relink->run;
    char id[TY_ID_TEXT_BYTES];
    (void)pid;
    ty_log(TY_LOG_INFO, "model.relink", TY_KV("job", "%s", ty_id_format(&relink->id, id)),
           TY_KV("code", "%d", code == CLD_EXITED ? value : -1));
    // 1: refused, another job has the name. With 3, the store's own trouble, it is given out again.
    if (code == CLD_EXITED && value <= 1)
        ty_state_linked(run->state, &relink->id);
    forget(relink);
    if (run->relink_more && !run->relinks)
        ty_loop_set_timer(run->loop, &run->relink_timer, 0, look, run);
}

static void run_program(struct ty_run *run, const struct ty_claimed *job, const Metadata *metadata)
{
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES];
    char *stage TY_FREE = ty_xasprintf(".staged/%s-%" PRIu64, ty_id_format(&job->id, id), job->record.fence);
    const char *argv[] = {run->options.stage_path, "link", "--store", run->options.store_dir, "--stage", stage,
                          "--organization", metadata->organization_id, "--model", metadata->model_name, "--model-version",
                          metadata->model_version, NULL};
    struct ty_relink *relink = ty_xcalloc(1, sizeof *relink);
    *relink = (struct ty_relink){.run = run, .id = job->id, .next = run->relinks};
    run->relinks = relink;
    if (ty_spawn(run->loop, argv, NULL, on_end, relink, &relink->pid, &err) == 0)
        return;
    ty_log(TY_LOG_ERROR, "model.relink", TY_KV("job", "%s", id), TY_KV("error", "%s", err.message));
    forget(relink);
}

static void relink_job(struct ty_run *run, const struct ty_claimed *job)
{
    TY_BUF(bytes);
    ProtobufCMessage *message;
    struct ty_err err;
    ty_record_metadata(&job->record, &bytes);
    if (ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, bytes.data, bytes.len, &message, &err) < 0) {
        ty_log(TY_LOG_ERROR, "model.relink", TY_KV("error", "%s", err.message));
        return;
    }
    run_program(run, job, (const Metadata *)message);
    protobuf_c_message_free_unpacked(message, NULL);
}

static void on_unlinked(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct ty_run *run = context;
    if (!ty_run_release(run) || err)
        return; // asked again at the next look
    run->relink_more = run->relink_more || count == AT_ONCE;
    for (size_t i = 0; i < count; i++)
        relink_job(run, &jobs[i]);
}

static void look(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->relink_timer, ty_run_jitter(run, LOOK_MS), look, run);
    if (!run->up || run->draining || run->relinks)
        return;
    run->relink_more = false;
    for (unsigned shard = 0; shard < ty_state_shards(run->state); shard++) {
        ty_run_hold(run);
        ty_state_unlinked(run->state, shard, AGE_MS, AT_ONCE, on_unlinked, run);
    }
}

void ty_relink_start(struct ty_run *run)
{
    ty_loop_set_timer(run->loop, &run->relink_timer, ty_run_jitter(run, LOOK_MS), look, run);
}

// The programs end by themselves.
void ty_relink_stop(struct ty_run *run)
{
    ty_loop_clear_timer(run->loop, &run->relink_timer);
    while (run->relinks) {
        ty_loop_remove_child(run->loop, run->relinks->pid);
        forget(run->relinks);
    }
}
