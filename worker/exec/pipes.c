// The reading side of a step's output. A step that prints often is not answered write by write: each
// answer wakes this process, and where processors are scarce it takes the place of the one that has
// just written, in the midst of its write. So pipes that have much to do are left alone for moments,
// for which they are large enough, and are then read in large pieces.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "worker/exec/exec.h"

// At 10 MB/s standard output is full after 100 ms. All pipes of a user together may have 64 MiB before
// the kernel gives smaller ones; one that is refused its size keeps the usual one.
#define OUT_BYTES (1024u * 1024)
#define ERR_BYTES (256u * 1024)
#define REST_MS 2
#define WINDOW_NS UINT64_C(50000000)
#define MANY_READS 50u // small ones in a window: from here on the pipes rest
#define MANY_RESTS 15u // with something at their end, in a window: they go on resting

static int open_one(unsigned bytes, int *ret_read_fd, int *ret_write_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    fcntl(fds[0], F_SETPIPE_SZ, bytes);
    *ret_read_fd = fds[0];
    *ret_write_fd = fds[1];
    return 0;
}

int ty_exec_pipes_open(struct ty_exec_pipes *pipes, int ret_write_fds[TY_EXEC_PIPES])
{
    *pipes = (struct ty_exec_pipes){.fds = {-1, -1}};
    ret_write_fds[0] = ret_write_fds[1] = -1;
    if (open_one(OUT_BYTES, &pipes->fds[0], &ret_write_fds[0]) < 0 ||
        open_one(ERR_BYTES, &pipes->fds[1], &ret_write_fds[1]) < 0)
        return -1;
    return 0;
}

static void close_one(struct ty_exec_pipes *pipes, int which)
{
    if (pipes->fds[which] >= 0)
        close(pipes->fds[which]);
    pipes->fds[which] = -1;
}

void ty_exec_pipes_close(struct ty_exec_pipes *pipes)
{
    for (int which = 0; which < TY_EXEC_PIPES; which++)
        close_one(pipes, which);
}

bool ty_exec_pipes_are_open(const struct ty_exec_pipes *pipes)
{
    return pipes->fds[0] >= 0 || pipes->fds[1] >= 0;
}

int ty_exec_pipes_wait(const struct ty_exec_pipes *pipes, struct pollfd fds[TY_EXEC_PIPES])
{
    bool rests = pipes->rests && ty_exec_pipes_are_open(pipes);
    for (int which = 0; which < TY_EXEC_PIPES; which++)
        fds[which] = (struct pollfd){rests ? -1 : pipes->fds[which], POLLIN, 0};
    return rests ? REST_MS : -1;
}

// Returns the bytes read, 0 when the pipe is empty or at its end.
static size_t read_one(struct ty_exec_pipes *pipes, int which, struct ty_exec_output *output,
                       uint8_t step)
{
    static uint8_t bytes[TY_EXEC_FRAME_BYTES];
    ssize_t got = read(pipes->fds[which], bytes, sizeof bytes);
    if (got > 0) {
        ty_exec_output_add(output, which == 0 ? TY_EXEC_STREAM_STDOUT : TY_EXEC_STREAM_STDERR, step,
                           bytes, (size_t)got);
        return (size_t)got;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
        close_one(pipes, which);
    return 0;
}

// No more than a pipe holds: whoever writes may not stop.
static size_t read_all(struct ty_exec_pipes *pipes, int which, struct ty_exec_output *output,
                       uint8_t step)
{
    size_t sum = 0;
    for (size_t got = 1; got > 0 && pipes->fds[which] >= 0 && sum < OUT_BYTES; sum += got)
        got = read_one(pipes, which, output, step);
    return sum;
}

static void count(struct ty_exec_pipes *pipes, bool is_work)
{
    uint64_t now = ty_exec_clock_boot_ns(), gone = now - pipes->window_ns;
    if (gone >= WINDOW_NS) {
        pipes->rests =
            gone < 2 * WINDOW_NS && pipes->reads >= (pipes->rests ? MANY_RESTS : MANY_READS);
        pipes->window_ns = now;
        pipes->reads = 0;
    }
    pipes->reads += is_work;
}

void ty_exec_pipes_read(struct ty_exec_pipes *pipes, const struct pollfd fds[TY_EXEC_PIPES],
                        struct ty_exec_output *output, uint8_t step)
{
    if (pipes->rests) {
        size_t sum = 0;
        for (int which = 0; which < TY_EXEC_PIPES; which++)
            sum += read_all(pipes, which, output, step);
        count(pipes, sum > 0);
        // A rest that half fills a pipe is too long.
        pipes->rests = pipes->rests && sum < OUT_BYTES / 2;
        return;
    }
    for (int which = 0; which < TY_EXEC_PIPES; which++) {
        size_t got = fds[which].revents ? read_one(pipes, which, output, step) : 0;
        if (got)
            count(pipes, got < TY_EXEC_FRAME_BYTES);
    }
}

void ty_exec_pipes_drain(struct ty_exec_pipes *pipes, struct ty_exec_output *output, uint8_t step)
{
    for (int which = 0; which < TY_EXEC_PIPES; which++)
        read_all(pipes, which, output, step);
    ty_exec_pipes_close(pipes);
}
