// At the start: what stands in <work_dir>/jobs is gone on with.
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "worker/run/run_internal.h"

static void adopt(struct ty_run *run, const char *dir)
{
    struct ty_ticket ticket;
    struct ty_err err;
    if (ty_job_dir_has(dir, "told"))
        return;
    if (ty_ticket_read(dir, &ticket, &err) == 0) {
        ty_attempt_adopt(run, dir, &ticket);
        return;
    }
    // The worker ended between its claim and its first file: nothing was started here, and the lease will pass. But
    // whatever holds the directory is not touched.
    ty_log(TY_LOG_WARN, "attempt.adopt", TY_KV("error", "%s", err.message));
    if (!ty_job_dir_is_held(dir))
        ty_sweep_dir(run, dir);
}

int ty_adopt_all(struct ty_run *run, struct ty_err *err)
{
    DIR *jobs = opendir(run->jobs_dir);
    if (!jobs)
        return ty_err_errno(err, errno, "%s", run->jobs_dir);
    for (struct dirent *entry; (entry = readdir(jobs));) {
        char *dir TY_FREE = ty_xasprintf("%s/%s", run->jobs_dir, entry->d_name);
        if (entry->d_name[0] != '.')
            adopt(run, dir);
    }
    closedir(jobs);
    return 0;
}
