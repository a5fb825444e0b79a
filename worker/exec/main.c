// trainyard-exec JOB_DIR: the supervisor of one attempt. See protocol.h.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/exec/exec.h"

#define EXIT_TRIES 60 // a second apart: how long a disk without room may hold up the exit record

static int refuse(const char *dir, const char *why)
{
    fprintf(stderr, "trainyard-exec: %s: %s\n", dir, why);
    return 2;
}

// Maps the control file and keeps it open and locked for as long as this process lives.
static struct ty_exec_control *map_control(const char **ret_why)
{
    struct stat st;
    int fd = open("control", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) {
        *ret_why = "control: cannot be opened";
        return NULL;
    }
    if (st.st_size < (off_t)sizeof(struct ty_exec_control)) {
        *ret_why = "control: too short";
        return NULL;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        *ret_why = "control: another supervisor holds it";
        return NULL;
    }
    struct ty_exec_control *control =
        mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED || control->format != TY_EXEC_FORMAT) {
        *ret_why =
            control == MAP_FAILED ? "control: cannot be mapped" : "control: of another format";
        return NULL;
    }
    return control;
}

// Nothing that the starter left open reaches a job, and 0, 1, 2 are never taken by a pipe.
static void settle_descriptors(void)
{
    close_range(3, ~0u, 0);
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd < 3);
    if (fd >= 3)
        close(fd);
}

static void settle_process(void)
{
    setsid(); // fails when we lead a group already, and a session then most likely, too
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); // a file size limit is then an error like a full disk
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    ty_exec_child_shield();
}

// The exit record is all that the worker will believe: it is tried again while the disk refuses it.
static int record_exit(const struct ty_exec_outcome *outcome)
{
    for (int i = 0; i < EXIT_TRIES; i++) {
        if (ty_exec_record_exit(outcome) == 0)
            return 0;
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    return -1;
}

static int run(struct ty_exec_control *control, struct ty_exec_output *output)
{
    struct ty_exec_plan plan;
    struct ty_exec_outcome outcome = {.word = "internal", .step = "", .code = -1};
    if (ty_exec_plan_read(&plan, outcome.message) < 0) {
        ty_exec_output_say(output, 0, "%s", outcome.message);
        ty_exec_output_end(output, 0);
        outcome.ended_us = ty_exec_clock_wall_us();
    } else {
        output->limit = plan.spool_limit_bytes;
        ty_exec_record_status(NULL, 0, 0);
        ty_exec_supervise(&plan, control, output, &outcome);
    }
    int rc = record_exit(&outcome);
    if (rc == 0)
        atomic_store(&control->done, 1);
    ty_exec_plan_done(&plan);
    return rc == 0 ? 0 : 1;
}

static int usage(FILE *out, int code)
{
    fputs("usage: trainyard-exec JOB_DIR\n"
          "Runs the plan in JOB_DIR to its end and leaves its output and exit record there.\n"
          "Started by trainyard-worker; not meant to be called by hand.\n"
          "Exit status: 0 the exit record is written, 1 it could not be, 2 refused to start.\n",
          out);
    return code;
}

int main(int argc, char **argv)
{
    struct ty_exec_output output;
    const char *why = "";
    if (argc == 2 && !strcmp(argv[1], "--help"))
        return usage(stdout, 0);
    if (argc == 2 && !strcmp(argv[1], "--version"))
        return puts("trainyard-exec " TY_VERSION) < 0;
    if (argc != 2 || argv[1][0] == '-')
        return usage(stderr, 2);
    settle_descriptors();
    if (chdir(argv[1]) < 0)
        return refuse(argv[1], strerror(errno));
    struct ty_exec_control *control = map_control(&why);
    if (!control)
        return refuse(argv[1], why);
    settle_process();
    if (ty_exec_output_open(&output, control) < 0)
        return refuse(argv[1], errno == EEXIST ? "has a spool: this attempt was run before"
                                               : strerror(errno));
    return run(control, &output);
}
