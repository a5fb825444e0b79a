// Directories of attempts that nobody has any more: those that were kept on purpose, for long enough, and those of which this worker
// knows nothing, such as one that could not be moved away when its attempt ended. Looking is a few calls a directory, on the local disk.
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "core/clock.h"
#include "core/log.h"
#include "worker/run/run_internal.h"

#define LOOK_SWEEPS 60u                       // of the others in the time between two looks
#define ORPHAN_MS (UINT64_C(24) * 3600 * 1000) // since it was made

static bool is_in_hand(const struct ty_run *run, const char *dir)
{
    for (const struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next)
        if (attempt->dir && !strcmp(attempt->dir, dir))
            return true;
    return false;
}

// How long ago the file was changed; 0 when it is not there, or by the clock of tomorrow.
static uint64_t age_ms(const char *path)
{
    struct stat st;
    uint64_t now_ms = ty_clock_wall_us() / 1000;
    if (lstat(path, &st) < 0)
        return 0;
    uint64_t then_ms = (uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000;
    return now_ms > then_ms ? now_ms - then_ms : 0;
}

static bool is_to_go(const struct ty_run *run, const char *dir)
{
    uint64_t kept_ms = run->options.job_dirs_ms;
    if (is_in_hand(run, dir))
        return false;
    if (ty_job_dir_has(dir, "told")) {
        char *told TY_FREE = ty_xasprintf("%s/told", dir);
        return kept_ms && age_ms(told) > kept_ms;
    }
    return age_ms(dir) > ORPHAN_MS && !ty_job_dir_is_held(dir);
}

static void look(void *context)
{
    struct ty_run *run = context;
    ty_loop_set_timer(run->loop, &run->orphans_timer, ty_run_jitter(run, LOOK_SWEEPS * run->options.sweep_ms), look, run);
    DIR *jobs = opendir(run->jobs_dir);
    for (struct dirent *entry; jobs && (entry = readdir(jobs));) {
        char *dir TY_FREE = ty_xasprintf("%s/%s", run->jobs_dir, entry->d_name);
        if (entry->d_name[0] == '.' || !is_to_go(run, dir))
            continue;
        ty_log(TY_LOG_INFO, "sweep.orphan", TY_KV("dir", "%s", dir));
        ty_sweep_dir(run, dir);
    }
    if (jobs)
        closedir(jobs);
}

void ty_orphans_start(struct ty_run *run)
{
    ty_loop_set_timer(run->loop, &run->orphans_timer, ty_run_jitter(run, run->options.sweep_ms), look, run);
}

void ty_orphans_stop(struct ty_run *run)
{
    ty_loop_clear_timer(run->loop, &run->orphans_timer);
}
