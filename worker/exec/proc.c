// Reading what the kernel tells. In between stand texts of others: a process has the name that it gives itself, and a control
// group or a mount the one that its maker gave it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/exec/exec.h"

bool ty_exec_proc_stat(const char *text, struct ty_exec_stat *ret_stat, char name[TY_EXEC_NAME_BYTES])
{
    // The name stands in parentheses and may hold anything, parentheses too.
    const char *open_mark = strchr(text, '('), *close_mark = strrchr(text, ')');
    unsigned long long start_time;
    int parent;
    char state;
    if (!open_mark || !close_mark || close_mark < open_mark ||
        sscanf(close_mark + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &parent, &start_time) != 3)
        return false;
    *ret_stat = (struct ty_exec_stat){.parent = parent, .start_time = start_time, .state = state};
    snprintf(name, TY_EXEC_NAME_BYTES, "%.*s", (int)(close_mark - open_mark - 1), open_mark + 1);
    return true;
}

uint64_t ty_exec_proc_oom_kills(FILE *file)
{
    char key[64];
    unsigned long long value, result = 0;
    while (fscanf(file, "%63s %llu", key, &value) == 2)
        if (!strcmp(key, "oom_kill"))
            result = value;
    return result;
}

// Version 2 has the line "0::<path>", version 1 "<n>:memory:<path>".
bool ty_exec_proc_group(FILE *file, bool unified, char out[PATH_MAX])
{
    char line[PATH_MAX + 128];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
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

bool ty_exec_proc_mount(FILE *file, bool unified, char dir[PATH_MAX], char root[PATH_MAX])
{
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (!found && getline(&line, &size, file) > 0) {
        char type[32], options[1024] = "";
        const char *tail = strstr(line, " - ");
        if (!tail || sscanf(line, "%*s %*s %*s %4095s %4095s", root, dir) != 2 ||
            sscanf(tail + 3, "%31s %*s %1023s", type, options) < 1)
            continue;
        found = unified ? !strcmp(type, "cgroup2")
                        : !strcmp(type, "cgroup") && has_option(options, "memory");
    }
    free(line);
    return found;
}

const char *ty_exec_proc_below(const char *group, const char *root)
{
    size_t len = strcmp(root, "/") ? strlen(root) : 0;
    bool below = !strncmp(group, root, len) && (group[len] == '/' || !group[len]);
    const char *relative = below ? group + len : "";
    return strcmp(relative, "/") ? relative : "";
}
