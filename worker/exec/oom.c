// The kernel counts out-of-memory kills for each control group: memory.events in version 2,
// memory.oom_control in 1. Where the group's files are is said by two lists: our groups
// (/proc/self/cgroup) and what is mounted (/proc/self/mountinfo).
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/exec/exec.h"

static uint64_t read_counter(const char *dir, const char *group, const char *file_name)
{
    char path[2 * PATH_MAX + 64], key[64];
    unsigned long long value, result = 0;
    snprintf(path, sizeof path, "%s%s/%s", dir, group, file_name);
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%63s %llu", key, &value) == 2)
        if (!strcmp(key, "oom_kill"))
            result = value;
    if (file)
        fclose(file);
    return result;
}

// Our group in the hierarchy of the memory controller: version 2 has the line "0::<path>", version
// 1 "<n>:memory:<path>".
static bool find_group(bool unified, char out[PATH_MAX])
{
    char line[PATH_MAX + 128];
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        path[strcspn(path, "\n")] = 0;
        char *names = controllers;
        for (char *name; !found && (name = strsep(&names, ","));)
            found = unified ? !*controllers : !strcmp(name, "memory");
        if (found)
            snprintf(out, PATH_MAX, "%s", path);
    }
    if (file)
        fclose(file);
    return found;
}

static bool has_option(const char *options, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = options; (at = strstr(at, name)); at += len)
        if ((at == options || at[-1] == ',') && (at[len] == ',' || at[len] == '\n' || !at[len]))
            return true;
    return false;
}

// Where the hierarchy is mounted, and which group of it is the mount's root (a container may see
// only its own).
static bool find_mount(bool unified, char dir[PATH_MAX], char root[PATH_MAX])
{
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && !found && getline(&line, &size, file) > 0) {
        char type[32], options[1024] = "";
        const char *tail = strstr(line, " - ");
        if (!tail || sscanf(line, "%*s %*s %*s %4095s %4095s", root, dir) != 2 ||
            sscanf(tail + 3, "%31s %*s %1023s", type, options) < 1)
            continue;
        found = unified ? !strcmp(type, "cgroup2")
                        : !strcmp(type, "cgroup") && has_option(options, "memory");
    }
    free(line);
    if (file)
        fclose(file);
    return found;
}

static uint64_t read_hierarchy(bool unified)
{
    char group[PATH_MAX], dir[PATH_MAX], root[PATH_MAX];
    if (!find_group(unified, group) || !find_mount(unified, dir, root))
        return 0;
    size_t len = strcmp(root, "/") ? strlen(root) : 0;
    bool below = !strncmp(group, root, len) && (group[len] == '/' || !group[len]);
    // A group outside of what is mounted is our own group's name as another namespace has it: the
    // mount's root is ours.
    const char *relative = below ? group + len : "";
    return read_counter(dir, strcmp(relative, "/") ? relative : "",
                        unified ? "memory.events" : "memory.oom_control");
}

uint64_t ty_exec_oom_kills(void)
{
    return read_hierarchy(true) + read_hierarchy(false);
}
