// What a line costs the worker between the spool and its batch, in processor time: frames through the transcript, entries
// behind each other. --way names what the job prints. The limit beside it: the same bytes copied line by line, as found by
// memchr.
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/limits.h"
#include "tests/bench/bench.h"
#include "worker/run/transcript.h"

#define START_US UINT64_C(1700000000000000)

struct sink {
    struct ty_buf bytes;
    uint64_t entries;
};

static void on_entry(void *context, uint64_t sequence, const void *entry, size_t len)
{
    struct sink *sink = context;
    if (sink->bytes.len + len > 512 * 1024)
        ty_buf_clear(&sink->bytes);
    ty_buf_add(&sink->bytes, entry, len);
    sink->entries = sequence + 1;
}

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// One line of line_bytes, its end included.
static void add_line(const char *way, size_t line_bytes, unsigned number, struct ty_buf *out)
{
    size_t end = out->len + line_bytes - 1;
    if (!strcmp(way, "logging"))
        ty_buf_add_format(out, "2026-11-23 20:09:10,%03u - trainer - INFO - ", number % 1000);
    else if (!strcmp(way, "json"))
        ty_buf_add_format(out, "{\"time\": %u, \"level\": \"info\", \"message\": \"", number);
    else
        ty_buf_add_format(out, "step %06u loss 0.%04u ", number, number % 9999);
    while (out->len + 16 < end) {
        if (!strcmp(way, "utf8"))
            ty_buf_add_text(out, "h\xc3\xa9lla ");
        else if (!strcmp(way, "ansi"))
            ty_buf_add_text(out, "\x1b[32mabcdefg\x1b[0m");
        else
            ty_buf_add_text(out, "abcdefg");
    }
    while (out->len < end)
        ty_buf_add_byte(out, 'x');
    if (!strcmp(way, "json"))
        memcpy(out->data + end - 2, "\"}", 2);
    ty_buf_add_byte(out, '\n');
}

// The bytes of one frame: as many lines as fill it, the last one cut.
static void fill_frame(const struct bench_options *options, struct ty_buf *out)
{
    while (out->len < TY_EXEC_FRAME_BYTES)
        add_line(options->way, (size_t)options->line_bytes, (unsigned)(out->len / (size_t)options->line_bytes), out);
    out->len = TY_EXEC_FRAME_BYTES - TY_EXEC_FRAME_BYTES % (size_t)options->line_bytes;
}

static uint64_t copy_lines(const struct ty_buf *text, struct sink *sink)
{
    uint64_t lines = 0;
    const uint8_t *at = text->data, *end = at + text->len;
    for (const uint8_t *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        on_entry(sink, lines++, at, (size_t)(stop - at));
    }
    return lines;
}

int bench_split(const struct bench_options *options, struct ty_err *err)
{
    static const char *const steps[] = {"train"};
    TY_BUF(text);
    struct sink sink = {0};
    if (options->line_bytes < 80)
        return ty_err_set(err, TY_EINVALID, "split: --line-bytes is at least 80");
    fill_frame(options, &text);
    struct ty_spool_frame frame = {.time_us = START_US, .stream = TY_EXEC_STREAM_STDOUT, .bytes = text.data, .len = (uint32_t)text.len};
    struct ty_transcript *transcript = ty_transcript_new(steps, 1, "info", on_entry, &sink);
    double start = cpu_ns();
    for (; sink.entries < (uint64_t)options->count; frame.time_us += 1000)
        ty_transcript_frame(transcript, &frame);
    double spent = cpu_ns() - start, lines = (double)(sink.entries - 1);
    ty_transcript_free(transcript);
    uint64_t copied = 0;
    start = cpu_ns();
    while (copied < (uint64_t)options->count)
        copied += copy_lines(&text, &sink);
    double limit = (cpu_ns() - start) / (double)copied;
    printf("{\"lines\": %.0f, \"ns_per_line\": %.1f, \"copy_ns_per_line\": %.1f}\n", lines, spent / lines, limit);
    ty_buf_done(&sink.bytes);
    return 0;
}
