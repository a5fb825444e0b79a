// A job's directory may hold more files than can be removed between two renewals: it is moved aside at once, and a program
// removes what is there. A script may have taken rights from its own folders, hence the chmod.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "worker/run/run_internal.h"
#include "worker/run/spawn.h"

static void on_swept(void *context, pid_t pid, int code, int value)
{
    struct ty_run *run = context;
    (void)pid;
    run->sweep_pid = 0;
    if (code != CLD_EXITED || value != 0)
        ty_log(TY_LOG_WARN, "sweep", TY_KV("dir", "%s", run->trash_dir), TY_KV("value", "%d", value));
    if (run->swept)
        ty_sweep_start(run);
}

void ty_sweep_start(struct ty_run *run)
{
    static const char script[] =
        "cd \"$1\" && for d in *; do [ -e \"$d\" ] || continue; /bin/rm -rf -- \"./$d\" 2>/dev/null || "
        "{ /bin/chmod -R u+rwX \"./$d\"; /bin/rm -rf -- \"./$d\"; }; done";
    const char *argv[] = {"/bin/sh", "-c", script, "sweep", run->trash_dir, NULL};
    struct ty_err err;
    run->swept = false;
    if (ty_spawn(run->loop, argv, NULL, on_swept, run, &run->sweep_pid, &err) < 0)
        ty_log(TY_LOG_WARN, "sweep", TY_KV("error", "%s", err.message));
}

void ty_sweep_dir(struct ty_run *run, const char *dir)
{
    const char *name = strrchr(dir, '/') + 1;
    char *aside TY_FREE = ty_xasprintf("%s/%s.%d.%u", run->trash_dir, name, (int)getpid(), run->seed++);
    if (rename(dir, aside) < 0) {
        if (errno != ENOENT)
            ty_log(TY_LOG_WARN, "sweep", TY_KV("dir", "%s", dir), TY_KV("error", "%s", strerror(errno)));
        return;
    }
    run->swept = true;
    if (!run->sweep_pid)
        ty_sweep_start(run);
}

void ty_sweep_stop(struct ty_run *run)
{
    if (run->sweep_pid)
        ty_loop_remove_child(run->loop, run->sweep_pid);
    run->sweep_pid = 0;
}
