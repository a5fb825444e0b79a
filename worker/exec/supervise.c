// The run: steps one after the other, each a child whose output is spooled until its whole family
// is gone.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/exec/exec.h"

#define NS_PER_MS 1000000u
#define TICK_MS 250u         // how often stop requests and deadlines are looked at without a signal
#define KILL_TICK_MS 20u     // how often KILL is repeated: processes may be born while it is sent
#define PIPES_MS 1000u       // how long the pipes may stay open after the step's own process ended
#define SWEEP_GRACE_MS 1000u // TERM to KILL for what a step left behind
#define LOST_GRACE_MS 2000u  // TERM to KILL when the attempt is not ours any more
#define UNKILLABLE_MS 10000u // KILL to giving up
#define NEVER UINT64_MAX

struct run {
    const struct ty_exec_plan *plan;
    struct ty_exec_control *control;
    struct ty_exec_output *output;
    struct ty_exec_outcome *outcome;
    int signal_fd, timer_fd, pid_fd;
    uint8_t ordinal;
    const struct ty_exec_step *step;

    // The step's own process is left a zombie until its family is gone, so that its number stays
    // the number of its group.
    pid_t pid;
    bool exited, reaped;
    siginfo_t exit_info;
    struct ty_exec_pipes pipes;
    uint64_t started_ns, exited_ns;

    const char *stop_word; // the outcome a stop leads to; NULL while there is none
    uint64_t kill_ns;      // NEVER until somebody is told to go
    bool killing, unkillable;
    bool look;       // something happened that may end the step
    unsigned strays; // SIGTERMs without a request
};

static void finish(struct run *run, const char *word, const char *message)
{
    run->outcome->word = word;
    run->outcome->step = run->step ? run->step->name : "";
    snprintf(run->outcome->message, sizeof run->outcome->message, "%s", message);
}

static void set_tick(const struct run *run, unsigned ms)
{
    struct timespec interval = {.tv_sec = ms / 1000,
                                .tv_nsec = (long)(ms % 1000) * (long)NS_PER_MS};
    struct itimerspec spec = {.it_interval = interval, .it_value = interval};
    timerfd_settime(run->timer_fd, 0, &spec, NULL);
}

// ---- starting ----

static pid_t start_child(struct run *run, const char **ret_word,
                         char message[TY_EXEC_MESSAGE_BYTES])
{
    int ends[TY_EXEC_PIPES];
    pid_t pid = -1;
    if (ty_exec_pipes_open(&run->pipes, ends) < 0) {
        *ret_word = "internal";
        snprintf(message, TY_EXEC_MESSAGE_BYTES, "step %.64s: no pipe: %s", run->step->name,
                 strerror(errno));
    } else {
        pid = ty_exec_child_start(run->plan, run->step, ends[0], ends[1], ret_word, message);
    }
    for (int i = 0; i < TY_EXEC_PIPES; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return pid;
}

static int start_step(struct run *run)
{
    const char *word;
    char message[TY_EXEC_MESSAGE_BYTES];
    run->exited = run->reaped = run->killing = false;
    run->kill_ns = NEVER;
    run->started_ns = ty_exec_clock_boot_ns();
    run->pid = start_child(run, &word, message);
    if (run->pid < 0) {
        ty_exec_pipes_close(&run->pipes);
        ty_exec_family_is_gone(); // reaps the child that did not become the program
        ty_exec_output_say(run->output, run->ordinal, "%s", message);
        finish(run, word, message);
        run->outcome->code = -1;
        return -1;
    }
    run->pid_fd = pidfd_open(run->pid, 0);
    uint64_t now_us = ty_exec_clock_wall_us();
    if (!strcmp(run->step->name, "train"))
        run->outcome->started_us = now_us;
    ty_exec_record_status(run->step, run->pid, now_us);
    atomic_store(&run->control->step, run->ordinal + 1u);
    set_tick(run, TICK_MS);
    return 0;
}

// ---- stopping ----

static void tell_family_to_go(struct run *run, uint64_t grace_ms)
{
    uint64_t kill_ns = ty_exec_clock_boot_ns() + grace_ms * NS_PER_MS;
    if (run->kill_ns != NEVER) {
        if (kill_ns < run->kill_ns)
            run->kill_ns = kill_ns;
        return;
    }
    run->kill_ns = kill_ns;
    ty_exec_family_act(TY_EXEC_FAMILY_TERM, run->pid);
}

static bool last_step_ended_well(const struct run *run)
{
    return run->exited && run->exit_info.si_code == CLD_EXITED && run->exit_info.si_status == 0 &&
           run->ordinal + 1u == run->plan->step_count;
}

static void stop(struct run *run, const char *word, const char *why, uint64_t grace_ms)
{
    bool is_lost = !strcmp(word, "lost");
    if (run->stop_word && (!is_lost || !strcmp(run->stop_word, "lost")))
        return;
    if (!is_lost && last_step_ended_well(run))
        return;
    run->stop_word = word;
    finish(run, word, why);
    ty_exec_output_say(run->output, run->ordinal, "stopping: %s", why);
    if (run->pid > 0)
        tell_family_to_go(run, grace_ms);
}

static void check_requests(struct run *run)
{
    uint64_t grace_ms = run->plan->grace_ms;
    switch (atomic_load(&run->control->stop)) {
    case TY_EXEC_STOP_CANCEL:
        stop(run, "canceled", "the job was canceled", grace_ms);
        break;
    case TY_EXEC_STOP_DRAIN:
        stop(run, "drained", "the worker is stopping", grace_ms);
        break;
    case TY_EXEC_STOP_LOST:
        stop(run, "lost", "another attempt owns the job",
             grace_ms < LOST_GRACE_MS ? grace_ms : LOST_GRACE_MS);
        break;
    default:
        break;
    }
}

static void check_lease(struct run *run, uint64_t now)
{
    uint64_t lease = atomic_load(&run->control->deadline_ns), grace_ms = run->plan->grace_ms;
    if (!lease || now <= lease)
        return;
    grace_ms = grace_ms < LOST_GRACE_MS ? grace_ms : LOST_GRACE_MS;
    if (run->plan->stop_on_lost)
        stop(run, "lost", "the lease passed without a renewal", grace_ms);
    else if ((now - lease) / NS_PER_MS >= run->plan->lost_lease_limit_ms)
        stop(run, "lost", "the lease passed and was not renewed within the limit", grace_ms);
}

// Seconds with as many digits as the limit needs.
static void say_limit(char *out, size_t size, const char *what, uint64_t limit_ms)
{
    if (limit_ms % 1000)
        snprintf(out, size, "%s of %llu.%03llu s has passed", what,
                 (unsigned long long)(limit_ms / 1000), (unsigned long long)(limit_ms % 1000));
    else
        snprintf(out, size, "%s of %llu s has passed", what, (unsigned long long)(limit_ms / 1000));
}

static void check_limits(struct run *run, uint64_t now)
{
    char what[128], why[256];
    uint64_t ran_ms = (now - run->started_ns) / NS_PER_MS;
    if (run->exited)
        return;
    if (run->plan->max_runtime_ms && !strcmp(run->step->name, "train") &&
        ran_ms >= run->plan->max_runtime_ms) {
        say_limit(why, sizeof why, "the maximum run time", run->plan->max_runtime_ms);
        stop(run, "deadline", why, run->plan->grace_ms);
    }
    if (run->step->timeout_ms && ran_ms >= run->step->timeout_ms) {
        snprintf(what, sizeof what, "the time limit of step %.64s", run->step->name);
        say_limit(why, sizeof why, what, run->step->timeout_ms);
        stop(run, "step_timeout", why, run->plan->grace_ms);
    }
}

static void kill_when_due(struct run *run, uint64_t now)
{
    if (now < run->kill_ns)
        return;
    if (!run->killing)
        set_tick(run, KILL_TICK_MS);
    run->killing = true;
    // The group at one stroke, which a process that forks and dies in turns cannot outrun; then
    // everybody.
    if (!run->reaped)
        kill(-run->pid, SIGKILL);
    ty_exec_family_act(TY_EXEC_FAMILY_KILL, run->pid);
    run->unkillable = now - run->kill_ns > (uint64_t)UNKILLABLE_MS * NS_PER_MS;
}

// ---- one turn ----

static void read_signals(struct run *run)
{
    struct signalfd_siginfo info;
    while (read(run->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD || atomic_load(&run->control->stop) != TY_EXEC_STOP_NONE)
            continue;
        if (run->strays++ < 10)
            ty_exec_output_say(run->output, run->ordinal,
                               "signal %u without a request to stop is ignored", info.ssi_signo);
    }
}

// Notices the end of the step's own process without reaping it, and reaps orphans that came to us
// before. What dies after the step's own process is reaped by the snapshots that look for it.
static void notice_deaths(struct run *run)
{
    siginfo_t info;
    while (!run->exited) {
        info.si_pid = 0;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
            return;
        if (info.si_pid != run->pid) {
            waitpid(info.si_pid, NULL, WNOHANG);
            continue;
        }
        run->exited = true;
        run->exit_info = info;
        run->exited_ns = ty_exec_clock_boot_ns();
        if (run->pid_fd >= 0)
            close(run->pid_fd);
        run->pid_fd = -1;
    }
}

static void tick(struct run *run)
{
    uint64_t expirations;
    if (read(run->timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        return;
    check_requests(run);
    uint64_t now = ty_exec_clock_boot_ns();
    check_lease(run, now);
    check_limits(run, now);
    kill_when_due(run, now);
}

static void turn(struct run *run)
{
    struct pollfd fds[3 + TY_EXEC_PIPES] = {
        {run->signal_fd, POLLIN, 0}, {run->timer_fd, POLLIN, 0}, {run->pid_fd, POLLIN, 0}};
    int wait_ms = ty_exec_pipes_wait(&run->pipes, fds + 3);
    if (poll(fds, sizeof fds / sizeof *fds, wait_ms) < 0)
        return;
    bool were_open = ty_exec_pipes_are_open(&run->pipes);
    ty_exec_pipes_read(&run->pipes, fds + 3, run->output, run->ordinal);
    run->look = run->look || (were_open && !ty_exec_pipes_are_open(&run->pipes));
    if (fds[0].revents)
        read_signals(run);
    if (fds[0].revents || fds[2].revents)
        notice_deaths(run);
    if (fds[0].revents || fds[1].revents)
        tick(run);
    run->look = run->look || fds[0].revents || fds[1].revents || fds[2].revents;
}

// ---- the end of a step ----

static bool family_is_gone(struct run *run)
{
    if (ty_exec_family_act(TY_EXEC_FAMILY_COUNT, run->pid) > 0)
        return false;
    waitpid(run->pid, NULL, 0);
    run->reaped = true;
    return ty_exec_family_is_gone(); // what the snapshot missed is still there
}

static bool step_is_over(struct run *run)
{
    if (run->unkillable)
        return true;
    if (!run->exited || !run->look)
        return false;
    run->look = false;
    // A stop has told everybody to go: no pipe is worth waiting for.
    if (!run->stop_word && ty_exec_pipes_are_open(&run->pipes) &&
        ty_exec_clock_boot_ns() - run->exited_ns < (uint64_t)PIPES_MS * NS_PER_MS)
        return false;
    if (run->reaped ? ty_exec_family_is_gone() : family_is_gone(run))
        return true;
    if (run->kill_ns == NEVER) {
        ty_exec_output_say(run->output, run->ordinal,
                           "step %.64s left processes behind; they are stopped", run->step->name);
        tell_family_to_go(run, SWEEP_GRACE_MS);
    }
    return false;
}

static void judge_failure(struct run *run, bool oom)
{
    char why[256];
    const char *name = run->step->name;
    int number = run->outcome->signal_number;
    if (oom) {
        snprintf(why, sizeof why,
                 "step %.64s ran out of memory: the kernel killed a process of the job", name);
        finish(run, "oom", why);
    } else if (number) {
        snprintf(why, sizeof why, "step %.64s was killed by signal %d (%s)", name, number,
                 strsignal(number));
        finish(run, "signal", why);
    } else {
        snprintf(why, sizeof why, "step %.64s exited with code %d", name, run->outcome->code);
        finish(run, "exit", why);
    }
}

// True when the next step may run.
static bool judge(struct run *run, uint64_t oom_before)
{
    struct ty_exec_outcome *outcome = run->outcome;
    bool by_exit = run->exited && run->exit_info.si_code == CLD_EXITED;
    outcome->code = by_exit ? run->exit_info.si_status : -1;
    outcome->signal_number = run->exited && !by_exit ? run->exit_info.si_status : 0;
    outcome->step = run->step->name;
    bool oom = ty_exec_oom_kills() > oom_before;
    outcome->oom = outcome->oom || oom;
    if (run->unkillable) {
        char why[256], survivor[64];
        ty_exec_family_name_one(survivor);
        snprintf(why, sizeof why, "process %s survived SIGKILL for %u s", survivor,
                 UNKILLABLE_MS / 1000);
        ty_exec_output_say(run->output, run->ordinal, "%s", why);
        finish(run, "unkillable", why);
        return false;
    }
    if (run->stop_word)
        return false;
    if (outcome->code == 0)
        return true;
    judge_failure(run, oom);
    return false;
}

static bool run_step(struct run *run)
{
    uint64_t oom_before = ty_exec_oom_kills();
    if (start_step(run) < 0)
        return false;
    while (!step_is_over(run))
        turn(run);
    ty_exec_pipes_drain(&run->pipes, run->output, run->ordinal);
    if (run->pid_fd >= 0)
        close(run->pid_fd);
    bool go_on = judge(run, oom_before);
    run->pid = 0;
    return go_on;
}

static int open_sources(struct run *run)
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGCHLD);
    sigprocmask(SIG_SETMASK, &watched, NULL);
    run->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    run->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (run->signal_fd >= 0 && run->timer_fd >= 0)
        return 0;
    char why[128];
    snprintf(why, sizeof why, "no signal or timer descriptor: %s", strerror(errno));
    finish(run, "internal", why);
    return -1;
}

void ty_exec_supervise(const struct ty_exec_plan *plan, struct ty_exec_control *control,
                       struct ty_exec_output *output, struct ty_exec_outcome *outcome)
{
    struct run run = {.plan = plan,
                      .control = control,
                      .output = output,
                      .outcome = outcome,
                      .signal_fd = -1,
                      .timer_fd = -1,
                      .pid_fd = -1,
                      .pipes = {.fds = {-1, -1}},
                      .kill_ns = NEVER};
    finish(&run, "ok", "");
    outcome->code = -1;
    bool going = open_sources(&run) == 0;
    for (size_t i = 0; going && i < plan->step_count; i++) {
        run.ordinal = (uint8_t)i;
        run.step = &plan->steps[i];
        check_requests(&run);
        check_lease(&run, ty_exec_clock_boot_ns());
        going = !run.stop_word && run_step(&run);
    }
    outcome->ended_us = ty_exec_clock_wall_us();
    ty_exec_output_end(output, run.ordinal);
}
