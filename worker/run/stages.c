// What attempts have left in the store's staging area: copies that were never finished, and stages of attempts whose job ended in
// another way. A worker that died leaves them there, and any other one removes them. trainyard-stage lists what is old, since a
// store may be slow or hang; the job store says what of it is wanted; trainyard-stage removes the rest, one at a time.
//
// Only what is certainly of no use goes: a stage that a job's record names stays, whether it has a public name or not, and so does
// a whole stage of a job that is not known. With a limit on models, those whose job is gone go too, when they are old enough.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "worker/run/run_internal.h"
#include "worker/run/spawn.h"
#include "worker/run/stale_line.h"
#include "worker/stage/stale.h"

#define LOOK_MS (UINT64_C(6) * 3600 * 1000)
#define FIRST_MS (UINT64_C(60) * 1000)
#define STAGE_AGE_S "172800" // two days: an attempt that collects has ended by then

// A line of the listing.
struct stale {
    struct ty_stages *stages;
    struct ty_stale_line line;
    bool goes;
};

struct ty_stages {
    struct ty_run *run; // NULL: it is gone
    struct ty_timer timer;
    pid_t pid;          // the program that is running; 0: none
    char *list_path;
    unsigned asking;    // answers of the store that are to come
    struct stale *items;
    size_t count, at;
    char after[TY_STALE_NAME_BYTES]; // where the next listing goes on; empty: at the beginning
};

static void look(void *context);

static void look_in(struct ty_stages *stages, uint64_t ms)
{
    stages->count = stages->at = 0;
    ty_loop_set_timer(stages->run->loop, &stages->timer, ms, look, stages);
}

static uint64_t interval_ms(const struct ty_run *run)
{
    return run->options.stage_look_ms ? run->options.stage_look_ms : LOOK_MS;
}

// ---- removing ----

static void discard_next(struct ty_stages *stages);

static void on_discarded(void *context, pid_t pid, int code, int value)
{
    struct ty_stages *stages = context;
    const struct stale *item = &stages->items[stages->at++];
    (void)pid;
    stages->pid = 0;
    bool is_done = code == CLD_EXITED && value == 0;
    ty_log(is_done ? TY_LOG_INFO : TY_LOG_WARN, "sweep.stage", TY_KV("stage", "%s", item->line.name),
           TY_KV("kind", "%s", item->line.kind == TY_STALE_MODEL ? "model" : item->line.kind == TY_STALE_STAGE ? "stage" : "partial"),
           TY_KV("age_h", "%" PRIu64, item->line.age_ms / 3600000), TY_KV("code", "%d", code == CLD_EXITED ? value : -1));
    discard_next(stages);
}

static void discard_next(struct ty_stages *stages)
{
    struct ty_run *run = stages->run;
    struct ty_err err;
    while (stages->at < stages->count && (!stages->items[stages->at].goes || run->draining))
        stages->at++;
    if (stages->at == stages->count) {
        look_in(stages, *stages->after ? 0 : ty_run_jitter(run, interval_ms(run)));
        return;
    }
    char *stage TY_FREE = ty_xasprintf(".staged/%s", stages->items[stages->at].line.name);
    const char *argv[] = {run->options.stage_path, "discard", "--store", run->options.store_dir, "--stage", stage, NULL};
    if (ty_spawn(run->loop, argv, NULL, on_discarded, stages, &stages->pid, &err) == 0)
        return;
    ty_log(TY_LOG_WARN, "sweep.stage", TY_KV("stage", "%s", stage), TY_KV("error", "%s", err.message));
    look_in(stages, interval_ms(run));
}

// ---- what is wanted ----

static bool is_wanted(const struct ty_run *run, const struct ty_stale_line *line, const struct ty_record *record)
{
    uint64_t models_ms = run->options.model_retention_ms;
    if (record && !ty_record_is_terminal(record))
        return true;
    if (line->kind == TY_STALE_PARTIAL)
        return false;
    if (!record)
        return !models_ms || line->age_ms < models_ms;
    // Also where another job has the name: it is the model that this one has made.
    return line->kind == TY_STALE_MODEL || (record->state == TY_JOB_COMPLETED && record->fence == line->fence);
}

static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct stale *item = context;
    struct ty_stages *stages = item->stages;
    struct ty_run *run = stages->run;
    stages->asking--;
    if (!run) {
        if (!stages->asking) {
            free(stages->items);
            free(stages);
        }
        return;
    }
    item->goes = !err && !is_wanted(run, &item->line, record);
    if (!stages->asking)
        discard_next(stages);
}

// ---- the listing ----

static void read_list(struct ty_stages *stages)
{
    char line[TY_STALE_NAME_BYTES + 64];
    FILE *file = fopen(stages->list_path, "re");
    if (!stages->items)
        stages->items = ty_xcalloc(TY_STALE_MAX, sizeof *stages->items);
    stages->count = stages->at = 0;
    while (file && stages->count < TY_STALE_MAX && fgets(line, sizeof line, file)) {
        struct stale *item = &stages->items[stages->count];
        *item = (struct stale){.stages = stages};
        stages->count += ty_stale_line_parse(line, &item->line);
    }
    if (file)
        fclose(file);
    snprintf(stages->after, sizeof stages->after, "%s", stages->count == TY_STALE_MAX ? stages->items[stages->count - 1].line.name : "");
}

static void on_listed(void *context, pid_t pid, int code, int value)
{
    struct ty_stages *stages = context;
    struct ty_run *run = stages->run;
    (void)pid;
    stages->pid = 0;
    if (code != CLD_EXITED || value != 0) {
        ty_log(TY_LOG_WARN, "sweep.stages", TY_KV("code", "%d", code == CLD_EXITED ? value : -1));
        look_in(stages, interval_ms(run));
        return;
    }
    read_list(stages);
    if (!stages->count || !run->up) {
        stages->after[0] = 0;
        look_in(stages, ty_run_jitter(run, interval_ms(run)));
        return;
    }
    stages->asking = (unsigned)stages->count;
    for (size_t i = 0, count = stages->count; i < count; i++)
        ty_state_get(run->state, &stages->items[i].line.id, on_got, &stages->items[i]);
}

static void look(void *context)
{
    struct ty_stages *stages = context;
    struct ty_run *run = stages->run;
    struct ty_err err;
    char models_s[24];
    const char *argv[] = {run->options.stage_path, "stale", "--store", run->options.store_dir, "--older-than-s", STAGE_AGE_S,
                          NULL, NULL, NULL, NULL, NULL};
    size_t count = 6;
    if (!run->up || run->draining) {
        look_in(stages, ty_run_jitter(run, interval_ms(run)));
        return;
    }
    if (run->options.model_retention_ms) {
        snprintf(models_s, sizeof models_s, "%" PRIu64, run->options.model_retention_ms / 1000);
        argv[count++] = "--models-older-than-s";
        argv[count++] = models_s;
    }
    if (*stages->after) {
        argv[count++] = "--after";
        argv[count++] = stages->after;
    }
    unlink(stages->list_path);
    if (ty_spawn(run->loop, argv, stages->list_path, on_listed, stages, &stages->pid, &err) == 0)
        return;
    ty_log(TY_LOG_WARN, "sweep.stages", TY_KV("error", "%s", err.message));
    look_in(stages, interval_ms(run));
}

void ty_stages_start(struct ty_run *run)
{
    struct ty_stages *stages = ty_xcalloc(1, sizeof *stages);
    uint64_t first_ms = interval_ms(run) < FIRST_MS ? interval_ms(run) : FIRST_MS;
    stages->run = run;
    stages->list_path = ty_xasprintf("%s/stale", run->options.work_dir);
    run->stages = stages;
    look_in(stages, ty_run_jitter(run, first_ms));
}

// The program ends by itself.
void ty_stages_stop(struct ty_run *run)
{
    struct ty_stages *stages = run->stages;
    if (!stages)
        return;
    run->stages = NULL;
    stages->run = NULL;
    ty_loop_clear_timer(run->loop, &stages->timer);
    if (stages->pid)
        ty_loop_remove_child(run->loop, stages->pid);
    free(stages->list_path);
    if (!stages->asking) {
        free(stages->items);
        free(stages);
    }
}
