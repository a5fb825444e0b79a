// Who belongs to the job: every descendant. The supervisor is their subreaper, so a process that
// forks twice, starts a session of its own or loses its parents is still found below it.
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/exec/exec.h"

struct process {
    pid_t pid, parent;
    uint64_t start_time;
    char state;
    bool ours;
};

static struct {
    struct process *items;
    size_t count, cap;
} snapshot;

static bool read_process(pid_t pid, struct process *out, char name[TY_EXEC_NAME_BYTES])
{
    char path[64], text[1024], unwanted[TY_EXEC_NAME_BYTES];
    struct ty_exec_stat stat;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0)
        return false;
    text[got] = 0;
    if (!ty_exec_proc_stat(text, &stat, name ? name : unwanted))
        return false;
    *out = (struct process){.pid = pid, .parent = stat.parent, .start_time = stat.start_time, .state = stat.state};
    return true;
}

uint64_t ty_exec_family_start_time(pid_t pid)
{
    struct process process;
    return read_process(pid, &process, NULL) ? process.start_time : 0;
}

static bool make_room(void)
{
    if (snapshot.count < snapshot.cap)
        return true;
    size_t cap = snapshot.cap ? 2 * snapshot.cap : 1024;
    struct process *grown = realloc(snapshot.items, cap * sizeof *grown);
    if (!grown)
        return false; // a smaller snapshot does, too: it is taken again until none is left
    snapshot.items = grown;
    snapshot.cap = cap;
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct process *left = a, *right = b;
    return (left->pid > right->pid) - (left->pid < right->pid);
}

static const struct process *find(pid_t pid)
{
    struct process key = {.pid = pid};
    return bsearch(&key, snapshot.items, snapshot.count, sizeof key, by_pid);
}

static void mark_ours(void)
{
    pid_t self = getpid();
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < snapshot.count; i++) {
            struct process *process = &snapshot.items[i];
            if (process->ours)
                continue;
            const struct process *parent = process->parent == self ? NULL : find(process->parent);
            process->ours = process->parent == self || (parent && parent->ours);
            grew = grew || process->ours;
        }
    }
}

static void take_snapshot(void)
{
    snapshot.count = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) && make_room();)
        if (isdigit((unsigned char)entry->d_name[0]) &&
            read_process((pid_t)atoi(entry->d_name), &snapshot.items[snapshot.count], NULL))
            snapshot.count++;
    closedir(dir);
    if (!snapshot.count)
        return;
    qsort(snapshot.items, snapshot.count, sizeof *snapshot.items, by_pid);
    mark_ours();
}

// Signals through a pidfd, opened and then compared with the snapshot: a number that has been given
// to a stranger since then is never hit.
static void send(const struct process *process, int first, int second)
{
    struct process now;
    int fd = pidfd_open(process->pid, 0);
    if (fd < 0 && errno == ESRCH)
        return;
    if (read_process(process->pid, &now, NULL) && now.start_time == process->start_time) {
        if (fd >= 0 ? pidfd_send_signal(fd, first, NULL, 0) == 0 : kill(process->pid, first) == 0)
            if (second)
                fd >= 0 ? pidfd_send_signal(fd, second, NULL, 0) : kill(process->pid, second);
    }
    if (fd >= 0)
        close(fd);
}

// A zombie of ours is gone once it is waited for. A zombie of somebody else's goes when its parent
// does; one whose other threads still run cannot be waited for, and counts.
static bool is_reaped(const struct process *process)
{
    return process->state == 'Z' && process->parent == getpid() &&
           waitpid(process->pid, NULL, WNOHANG) > 0;
}

size_t ty_exec_family_act(enum ty_exec_family_act act, pid_t keep)
{
    size_t found = 0;
    take_snapshot();
    for (size_t i = 0; i < snapshot.count; i++) {
        const struct process *process = &snapshot.items[i];
        if (!process->ours || (process->pid == keep ? process->state == 'Z' : is_reaped(process)))
            continue;
        found++;
        if (act == TY_EXEC_FAMILY_TERM)
            send(process, SIGTERM, SIGCONT);
        else if (act == TY_EXEC_FAMILY_KILL)
            send(process, SIGKILL, 0);
    }
    return found;
}

bool ty_exec_family_is_gone(void)
{
    pid_t pid;
    do
        pid = waitpid(-1, NULL, WNOHANG);
    while (pid > 0);
    return pid < 0 && errno == ECHILD;
}

void ty_exec_family_name_one(char out[64])
{
    char name[TY_EXEC_NAME_BYTES];
    struct process process;
    snprintf(out, 64, "none");
    take_snapshot();
    for (size_t i = 0; i < snapshot.count; i++)
        if (snapshot.items[i].ours && read_process(snapshot.items[i].pid, &process, name)) {
            snprintf(out, 64, "%d (%.40s)", (int)process.pid, name);
            return;
        }
}
