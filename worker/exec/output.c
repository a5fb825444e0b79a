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

static int append(struct ty_exec_output *output, uint8_t stream, uint8_t step, const void *bytes,
                  size_t len)
{
    struct ty_exec_frame frame = {.time_us = ty_exec_clock_wall_us(),
                                  .len = (uint32_t)len,
                                  .stream = stream,
                                  .step = step,
                                  .check = TY_EXEC_FRAME_CHECK};
    struct iovec parts[2] = {{&frame, sizeof frame}, {(void *)bytes, len}};
    ssize_t put;
    do
        put = pwritev(output->fd, parts, 2, (off_t)output->bytes);
    while (put < 0 && errno == EINTR);
    if (put != (ssize_t)(sizeof frame + len)) {
        if (ftruncate(output->fd, (off_t)output->bytes) < 0)
            return -1; // the cut frame stays behind the counted bytes, where readers do not look
        return -1;
    }
    output->bytes += sizeof frame + len;
    atomic_store_explicit(&output->control->spool_bytes, output->bytes, memory_order_release);
    return 0;
}

// The one marker behind a gap. True when there is no gap any more.
static bool mark_gap(struct ty_exec_output *output, uint8_t step)
{
    char text[128];
    if (!output->dropped)
        return true;
    int len =
        snprintf(text, sizeof text, "no room on the disk: %llu bytes of output are missing here\n",
                 (unsigned long long)output->dropped);
    if (append(output, TY_EXEC_STREAM_SUPERVISOR, step, text, (size_t)len) < 0)
        return false;
    output->dropped = 0;
    return true;
}

void ty_exec_output_add(struct ty_exec_output *output, uint8_t stream, uint8_t step,
                        const void *bytes, size_t len)
{
    if (!mark_gap(output, step) || append(output, stream, step, bytes, len) < 0)
        output->dropped += len;
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
    mark_gap(output, step);
    append(output, TY_EXEC_STREAM_END, step, "", 0);
    fdatasync(output->fd);
    close(output->fd);
    output->fd = output->ballast_fd = -1;
}
