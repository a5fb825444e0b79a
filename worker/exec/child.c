// Starting a step. fork is right here: the supervisor is small and has one thread, and the child
// has things to do that posix_spawn does not know (its own out-of-memory score, death together with
// its supervisor).
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "worker/exec/exec.h"

#define SHIELD_SCORE "-900"

enum place { AT_SETUP, AT_CWD, AT_EXEC };

// What went wrong between fork and exec, as the child sends it to its parent.
struct report {
    enum place place;
    int errno_value;
};

static char job_score[16]; // what oom_score_adj was before the shield; empty when there is none

static int write_score(const char *score)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    ssize_t put = fd < 0 ? -1 : write(fd, score, strlen(score));
    if (fd >= 0)
        close(fd);
    return put < 0 ? -1 : 0;
}

void ty_exec_child_shield(void)
{
    int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, job_score, sizeof job_score - 1);
    if (fd >= 0)
        close(fd);
    if (got <= 0 || atoi(job_score) <= atoi(SHIELD_SCORE) || write_score(SHIELD_SCORE) < 0)
        job_score[0] = 0;
}

static void reset_signals(void)
{
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        signal(number,
               SIG_DFL); // fails for KILL, STOP and the C library's own, which nobody changed
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void fail(int report_fd, enum place place, int errno_value)
{
    struct report report = {.place = place, .errno_value = errno_value};
    if (write(report_fd, &report, sizeof report) < 0)
        _exit(126);
    _exit(127);
}

static const char *directory_of(const struct ty_exec_plan *plan, const struct ty_exec_step *step)
{
    return step->cwd ? step->cwd : plan->cwd;
}

static _Noreturn void become(const struct ty_exec_plan *plan, const struct ty_exec_step *step,
                             const int fds[3], int report_fd, pid_t supervisor)
{
    reset_signals();
    // Without its supervisor nobody holds the job to its lease. (The supervisor itself outlives its
    // worker.)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor)
        _exit(126);
    if (*job_score)
        write_score(job_score);
    if (setsid() < 0)
        fail(report_fd, AT_SETUP, errno);
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            fail(report_fd, AT_SETUP, errno);
    if (close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0 && errno != ENOSYS)
        fail(report_fd, AT_SETUP, errno);
    const char *cwd = directory_of(plan, step);
    if (cwd && chdir(cwd) < 0)
        fail(report_fd, AT_CWD, errno);
    static char *nothing[] = {NULL};
    execve(step->argv[0], step->argv, plan->env ? plan->env : nothing);
    fail(report_fd, AT_EXEC, errno);
}

static const char *word_for(const struct report *report)
{
    if (report->place != AT_EXEC)
        return "internal";
    switch (report->errno_value) {
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return "not_found";
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EIO:
        return "internal";
    default:
        return "not_executable";
    }
}

static void explain(const struct ty_exec_plan *plan, const struct ty_exec_step *step,
                    const struct report *report, char message[TY_EXEC_MESSAGE_BYTES])
{
    const char *program = step->argv[0];
    if (report->place == AT_CWD)
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "step %.64s: cannot enter %.256s: %s", step->name,
                 directory_of(plan, step), strerror(report->errno_value));
    else if (report->place == AT_SETUP)
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "step %.64s: cannot start a process: %s",
                 step->name, strerror(report->errno_value));
    else if (report->errno_value == ENOENT && access(program, F_OK) == 0)
        snprintf(message, TY_EXEC_MESSAGE_BYTES,
                 "step %.64s: cannot start %.256s: its interpreter is missing", step->name,
                 program);
    else
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "step %.64s: cannot start %.256s: %s", step->name,
                 program, strerror(report->errno_value));
}

// Reads to the end of the pipe, which exec closes: nothing there means that the program runs.
static bool read_report(int fd, struct report *report)
{
    ssize_t got;
    do
        got = read(fd, report, sizeof *report);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *report;
}

pid_t ty_exec_child_start(const struct ty_exec_plan *plan, const struct ty_exec_step *step,
                          int out_fd, int err_fd, const char **ret_word,
                          char message[TY_EXEC_MESSAGE_BYTES])
{
    struct report report = {.place = AT_SETUP};
    int pipe_fds[2] = {-1, -1};
    pid_t pid = -1, supervisor = getpid();
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    bool failed = null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0 || (pid = fork()) < 0;
    if (failed) {
        report.errno_value = errno;
    } else if (pid == 0) {
        become(plan, step, (const int[3]){null_fd, out_fd, err_fd}, pipe_fds[1], supervisor);
    } else {
        close(pipe_fds[1]);
        pipe_fds[1] = -1;
        failed = read_report(pipe_fds[0], &report);
    }
    for (int i = 0; i < 2; i++)
        if (pipe_fds[i] >= 0)
            close(pipe_fds[i]);
    if (null_fd >= 0)
        close(null_fd);
    if (!failed)
        return pid;
    *ret_word = word_for(&report);
    explain(plan, step, &report, message);
    return -1;
}
