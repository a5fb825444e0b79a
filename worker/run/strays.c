#include "worker/run/strays.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "core/buf.h"

#define LOOKS 10               // those that are born while others are killed are met by the next look
#define ENVIRONMENT_MAX 262144 // a longer one is looked at so far

struct strays {
    char *home; // the variable
    pid_t *killed;
    size_t count, cap;
};

static bool has_home(const struct strays *strays, int proc)
{
    static char text[ENVIRONMENT_MAX + 1];
    size_t len = 0, home_len = strlen(strays->home);
    int fd = openat(proc, "environ", O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; fd >= 0 && got > 0 && len < ENVIRONMENT_MAX; len += got > 0 ? (size_t)got : 0)
        got = read(fd, text + len, ENVIRONMENT_MAX - len);
    if (fd >= 0)
        close(fd);
    text[len] = 0;
    for (size_t at = 0; at < len; at += strlen(text + at) + 1)
        if (strlen(text + at) == home_len && !memcmp(text + at, strays->home, home_len))
            return true;
    return false;
}

static bool was_killed(const struct strays *strays, pid_t pid)
{
    for (size_t i = 0; i < strays->count; i++)
        if (strays->killed[i] == pid)
            return true;
    return false;
}

static void note(struct strays *strays, pid_t pid)
{
    if (strays->count == strays->cap) {
        strays->cap = strays->cap ? 2 * strays->cap : 16;
        strays->killed = ty_xrealloc(strays->killed, strays->cap * sizeof *strays->killed);
    }
    strays->killed[strays->count++] = pid;
}

// Whether it was one that had not been met.
static bool look_at(struct strays *strays, int procs, const char *name)
{
    pid_t pid = (pid_t)strtol(name, NULL, 10);
    if (pid <= 1 || pid == getpid() || was_killed(strays, pid))
        return false;
    // Opened before it is looked at: the number cannot become another process' in between.
    int pid_fd = pidfd_open(pid, 0), proc = openat(procs, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool is_stray = pid_fd >= 0 && proc >= 0 && has_home(strays, proc) &&
                    pidfd_send_signal(pid_fd, SIGKILL, NULL, 0) == 0;
    if (pid_fd >= 0)
        close(pid_fd);
    if (proc >= 0)
        close(proc);
    if (is_stray)
        note(strays, pid);
    return is_stray;
}

static bool look(struct strays *strays)
{
    bool has_met = false;
    DIR *procs = opendir("/proc");
    for (struct dirent *entry; procs && (entry = readdir(procs));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9')
            has_met |= look_at(strays, dirfd(procs), entry->d_name);
    if (procs)
        closedir(procs);
    return has_met;
}

unsigned ty_strays_kill(const char *dir)
{
    struct strays strays = {.home = ty_xasprintf("HOME=%s/home", dir)};
    for (int i = 0; i < LOOKS && look(&strays); i++)
        continue;
    free(strays.home);
    free(strays.killed);
    return (unsigned)strays.count;
}
