// The spool's writer. A frame is whole or not there: control->spool_bytes moves on only behind
// whole frames, and what a full disk cut off is overwritten by the next frame.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "worker/exec/exec.h"

#define BALLAST_BYTES 65536

static struct ty_exec_tail tail; // of the one output that this program has

static uint64_t read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ty_exec_clock_boot_ns(void)
{
    return read_ns(CLOCK_BOOTTIME);
}

uint64_t ty_exec_clock_wall_us(void)
{
    return read_ns(CLOCK_REALTIME) / 1000;
}

// On a disk without room there is no ballast either; the run starts all the same.
static int open_ballast(void)
{
    int fd = open(".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, BALLAST_BYTES) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int ty_exec_output_open(struct ty_exec_output *output, struct ty_exec_control *control)
{
    *output = (struct ty_exec_output){.control = control, .ballast_fd = -1};
    output->fd = open("spool", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (output->fd < 0)
        return -1;
    output->ballast_fd = open_ballast();
    atomic_store(&control->spool_bytes, 0);
    return 0;
}

static struct ty_exec_frame frame_of(uint8_t stream, uint8_t step, size_t len)
{
    return (struct ty_exec_frame){.time_us = ty_exec_clock_wall_us(),
                                  .len = (uint32_t)len,
                                  .stream = stream,
                                  .step = step,
                                  .check = TY_EXEC_FRAME_CHECK};
}

static int append(struct ty_exec_output *output, const struct ty_exec_frame *frame,
                  const void *bytes)
{
    size_t len = sizeof *frame + frame->len;
    struct iovec parts[2] = {{(void *)frame, sizeof *frame}, {(void *)bytes, frame->len}};
    ssize_t put;
    do
        put = pwritev(output->fd, parts, 2, (off_t)output->bytes);
    while (put < 0 && errno == EINTR);
    if (put != (ssize_t)len) {
        if (ftruncate(output->fd, (off_t)output->bytes) < 0)
            return -1; // the cut frame stays behind the counted bytes, where readers do not look
        return -1;
    }
    output->bytes += len;
    atomic_store_explicit(&output->control->spool_bytes, output->bytes, memory_order_release);
    return 0;
}

// A line that is written whatever the limit is.
static int say_now(struct ty_exec_output *output, uint8_t step, const char *before, uint64_t number,
                   const char *behind)
{
    char text[256];
    int len = snprintf(text, sizeof text, "%s%llu bytes%s\n", before, (unsigned long long)number, behind);
    struct ty_exec_frame frame = frame_of(TY_EXEC_STREAM_SUPERVISOR, step, (size_t)len);
    return append(output, &frame, text);
}

// The one marker behind a gap. True when there is no gap any more.
static bool mark_gap(struct ty_exec_output *output, uint8_t step)
{
    if (!output->dropped)
        return true;
    if (say_now(output, step, "no room on the disk: ", output->dropped,
                " of output are missing here") < 0)
        return false;
    output->dropped = 0;
    return true;
}

static void write_frame(struct ty_exec_output *output, const struct ty_exec_frame *frame,
                        const void *bytes)
{
    if (!mark_gap(output, frame->step) || append(output, frame, bytes) < 0)
        output->dropped += frame->len;
}

// Behind the limit for good: the end of the output has its place kept, the middle goes.
static bool is_over(struct ty_exec_output *output, const struct ty_exec_frame *frame)
{
    if (!output->limit || output->is_over ||
        output->bytes + sizeof *frame + frame->len <= output->limit)
        return output->is_over;
    output->is_over = true;
    mark_gap(output, frame->step);
    say_now(output, frame->step,
            "the output has reached its limit of ", output->limit,
            ": what follows is kept back, and its last lines come when it ends");
    return true;
}

void ty_exec_output_add(struct ty_exec_output *output, uint8_t stream, uint8_t step,
                        const void *bytes, size_t len)
{
    struct ty_exec_frame frame = frame_of(stream, step, len);
    if (is_over(output, &frame))
        output->left_out += ty_exec_tail_add(&tail, &frame, bytes);
    else
        write_frame(output, &frame, bytes);
}

static void write_tail(struct ty_exec_output *output, uint8_t step)
{
    static uint8_t bytes[TY_EXEC_FRAME_BYTES];
    struct ty_exec_frame frame;
    if (output->left_out)
        say_now(output, step, "over the limit: ", output->left_out,
                " of output are missing here");
    while (ty_exec_tail_take(&tail, &frame, bytes))
        write_frame(output, &frame, bytes);
}

void ty_exec_output_say(struct ty_exec_output *output, uint8_t step, const char *format, ...)
{
    char text[TY_EXEC_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text - 1, format, args);
    va_end(args);
    if (len < 0)
        return;
    if (len > (int)sizeof text - 2)
        len = (int)sizeof text - 2;
    text[len++] = '\n';
    ty_exec_output_add(output, TY_EXEC_STREAM_SUPERVISOR, step, text, (size_t)len);
}

void ty_exec_output_end(struct ty_exec_output *output, uint8_t step)
{
    if (output->ballast_fd >= 0)
        close(output->ballast_fd);
    write_tail(output, step);
    mark_gap(output, step);
    struct ty_exec_frame end = frame_of(TY_EXEC_STREAM_END, step, 0);
    append(output, &end, "");
    fdatasync(output->fd);
    close(output->fd);
    output->fd = output->ballast_fd = -1;
}
