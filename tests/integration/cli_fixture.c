#include "tests/integration/cli_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/clock.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard"
#define PATIENCE_MS 60000
#define ARGS_MAX 48

struct stream {
    int fd; // -1: at its end
    struct ty_buf text;
};

struct cli {
    pid_t pid;
    bool has_ended;
    int status;
    struct stream out, err;
};

void cli_clear_environment(void)
{
    unsetenv("NO_COLOR");
    for (char **entry = environ; *entry;) {
        if (strncmp(*entry, "TRAINYARD_", strlen("TRAINYARD_")) != 0) {
            entry++;
            continue;
        }
        char *name TY_FREE = ty_xasprintf("%.*s", (int)strcspn(*entry, "="), *entry);
        unsetenv(name);
        entry = environ; // it was moved
    }
}

static void child(int out_fd, int err_fd, char **argv, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    int in_fd = open("/dev/null", O_RDONLY);
    dup2(in_fd, 0);
    dup2(out_fd, 1);
    dup2(err_fd, 2);
    execv(argv[0], argv);
    _exit(127);
}

static void take_arguments(const char *first, va_list list, const char *argv[ARGS_MAX])
{
    size_t count = 0;
    argv[count++] = PROGRAM;
    for (const char *arg = first; arg; arg = va_arg(list, const char *)) {
        assert_true(count < ARGS_MAX - 1);
        argv[count++] = arg;
    }
    argv[count] = NULL;
}

static struct cli *start(const char *first, va_list list, bool on_terminal)
{
    const char *argv[ARGS_MAX];
    struct cli *cli = ty_xcalloc(1, sizeof *cli);
    int out[2], err[2] = {-1, -1};
    take_arguments(first, list, argv);
    if (on_terminal ? openpty(&out[0], &out[1], NULL, NULL, NULL) < 0 : pipe(out) < 0 || pipe(err) < 0)
        fail_msg("no pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++) {
        fcntl(out[i], F_SETFD, FD_CLOEXEC);
        if (!on_terminal)
            fcntl(err[i], F_SETFD, FD_CLOEXEC);
    }
    pid_t parent = getpid();
    cli->pid = fork();
    if (cli->pid == 0)
        child(out[1], on_terminal ? out[1] : err[1], (char **)argv, parent);
    close(out[1]);
    if (!on_terminal)
        close(err[1]);
    cli->out.fd = out[0];
    cli->err.fd = err[0];
    return cli;
}

struct cli *cli_start(const char *first, ...)
{
    va_list list;
    va_start(list, first);
    struct cli *cli = start(first, list, false);
    va_end(list);
    return cli;
}

struct cli *cli_start_on_terminal(const char *first, ...)
{
    va_list list;
    va_start(list, first);
    struct cli *cli = start(first, list, true);
    va_end(list);
    return cli;
}

struct cli *cli_run(const char *first, ...)
{
    va_list list;
    va_start(list, first);
    struct cli *cli = start(first, list, false);
    va_end(list);
    cli_end(cli);
    return cli;
}

// A terminal whose other side is gone reads as an error.
static void read_some(struct stream *stream)
{
    ssize_t got = read(stream->fd, ty_buf_reserve(&stream->text, 65536), 65536);
    if (got > 0) {
        stream->text.len += (size_t)got;
        return;
    }
    close(stream->fd);
    stream->fd = -1;
}

// Waits for output of any kind; false when both streams are at their end.
static bool pump(struct cli *cli, uint64_t deadline_ms)
{
    struct pollfd fds[] = {{.fd = cli->out.fd, .events = POLLIN}, {.fd = cli->err.fd, .events = POLLIN}};
    uint64_t now_ms = ty_clock_mono_ms();
    if (cli->out.fd < 0 && cli->err.fd < 0)
        return false;
    if (now_ms >= deadline_ms || poll(fds, 2, (int)(deadline_ms - now_ms)) <= 0)
        fail_msg("trainyard is stuck: %s%s", cli_err(cli), cli_out(cli));
    if (fds[0].revents)
        read_some(&cli->out);
    if (fds[1].revents)
        read_some(&cli->err);
    return true;
}

static void expect(struct cli *cli, struct stream *stream, const char *text)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + PATIENCE_MS;
    while (!strstr(ty_buf_text(&stream->text), text))
        if (!pump(cli, deadline_ms))
            fail_msg("it has ended without \"%s\": %s%s", text, cli_err(cli), cli_out(cli));
}

void cli_expect_out(struct cli *cli, const char *text)
{
    expect(cli, &cli->out, text);
}

void cli_expect_err(struct cli *cli, const char *text)
{
    expect(cli, &cli->err, text);
}

int cli_end(struct cli *cli)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + PATIENCE_MS;
    int status;
    if (cli->has_ended)
        return cli->status;
    while (pump(cli, deadline_ms))
        continue;
    waitpid(cli->pid, &status, 0); // its streams are closed: it is ending
    cli->has_ended = true;
    cli->status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return cli->status;
}

const char *cli_out(struct cli *cli)
{
    return ty_buf_text(&cli->out.text);
}

const char *cli_err(struct cli *cli)
{
    return ty_buf_text(&cli->err.text);
}

static void close_stream(struct stream *stream)
{
    if (stream->fd >= 0)
        close(stream->fd);
    ty_buf_done(&stream->text);
}

void cli_free(struct cli *cli)
{
    if (!cli)
        return;
    if (!cli->has_ended) {
        kill(cli->pid, SIGKILL);
        waitpid(cli->pid, NULL, 0);
    }
    close_stream(&cli->out);
    close_stream(&cli->err);
    free(cli);
}
