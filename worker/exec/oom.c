// The kernel counts out-of-memory kills for each control group: memory.events in version 2,
// memory.oom_control in 1. Where the group's files are is said by two lists: our groups
// (/proc/self/cgroup) and what is mounted (/proc/self/mountinfo).
#include <limits.h>
#include <stdio.h>

#include "worker/exec/exec.h"

static uint64_t read_counter(const char *dir, const char *group, const char *file_name)
{
    char path[2 * PATH_MAX + 64];
    snprintf(path, sizeof path, "%s%s/%s", dir, group, file_name);
    FILE *file = fopen(path, "re");
    uint64_t kills = file ? ty_exec_proc_oom_kills(file) : 0;
    if (file)
        fclose(file);
    return kills;
}

static bool find_group(bool unified, char out[PATH_MAX])
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool found = file && ty_exec_proc_group(file, unified, out);
    if (file)
        fclose(file);
    return found;
}

static bool find_mount(bool unified, char dir[PATH_MAX], char root[PATH_MAX])
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    bool found = file && ty_exec_proc_mount(file, unified, dir, root);
    if (file)
        fclose(file);
    return found;
}

static uint64_t read_hierarchy(bool unified)
{
    char group[PATH_MAX], dir[PATH_MAX], root[PATH_MAX];
    if (!find_group(unified, group) || !find_mount(unified, dir, root))
        return 0;
    return read_counter(dir, ty_exec_proc_below(group, root), unified ? "memory.events" : "memory.oom_control");
}

uint64_t ty_exec_oom_kills(void)
{
    return read_hierarchy(true) + read_hierarchy(false);
}
