#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "tests/integration/apart.h"

#define TOGETHER 4 // their servers start at once

struct apart_case {
    const char *name;
    pid_t pid; // 0: does not run
    FILE *output;
};

static void start(struct apart_case *one, const char *name, const struct CMUnitTest *test, CMFixtureFunction set_up,
                  CMFixtureFunction tear_down)
{
    pid_t parent = getpid();
    one->name = test->name;
    one->output = tmpfile();
    if (!one->output) {
        perror("tmpfile");
        exit(1);
    }
    fflush(NULL);
    one->pid = fork();
    if (one->pid < 0) {
        perror("fork");
        exit(1);
    }
    if (one->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    dup2(fileno(one->output), STDOUT_FILENO);
    dup2(fileno(one->output), STDERR_FILENO);
    exit(_cmocka_run_group_tests(name, test, 1, set_up, tear_down) != 0);
}

static void show(struct apart_case *one)
{
    char text[4096];
    rewind(one->output);
    for (size_t got; (got = fread(text, 1, sizeof text, one->output)) > 0;)
        fwrite(text, 1, got, stdout);
    fclose(one->output);
    one->output = NULL;
    fflush(stdout);
}

// Waits for any of them; 1 when it failed.
static int finish_one(struct apart_case *cases, size_t started)
{
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    if (pid < 0) {
        if (errno == EINTR)
            return 0;
        perror("waitpid");
        exit(1);
    }
    for (size_t i = 0; i < started; i++) {
        if (cases[i].pid != pid)
            continue;
        cases[i].pid = 0;
        show(&cases[i]);
        if (WIFSIGNALED(status))
            printf("[  FAILED  ] %s: ended by signal %d\n", cases[i].name, WTERMSIG(status));
        return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    return 0;
}

static size_t count_running(const struct apart_case *cases, size_t started)
{
    size_t running = 0;
    for (size_t i = 0; i < started; i++)
        running += cases[i].pid != 0;
    return running;
}

int apart_run_group(const char *name, const struct CMUnitTest *tests, size_t count, CMFixtureFunction set_up, CMFixtureFunction tear_down)
{
    struct apart_case *cases = ty_xcalloc(count, sizeof *cases);
    int failed = 0;
    for (size_t i = 0; i < count; i++) {
        while (count_running(cases, i) >= TOGETHER)
            failed += finish_one(cases, i);
        start(&cases[i], name, &tests[i], set_up, tear_down);
    }
    while (count_running(cases, count))
        failed += finish_one(cases, count);
    printf("%s: %d of %zu cases failed\n", name, failed, count);
    free(cases);
    return failed;
}
