// worker/run/transcript: any spool gives entries that can be read, numbered from 0; and with the flushes of a first reading the same
// entries, in whatever pieces. Input: a byte with how many flushes (24 bytes each) stand before the spool, then both.
#include "core/buf.h"
#include "core/log_entry.h"
#include "tests/fuzz/fuzz.h"
#include "worker/run/plan.h"
#include "worker/run/transcript.h"

struct seen {
    uint64_t count, bytes;
    struct ty_buf all;
};

static void on_entry(void *context, uint64_t sequence, const void *bytes, size_t len)
{
    struct seen *seen = context;
    struct ty_log_entry entry;
    REQUIRE(sequence == seen->count++);
    ty_log_entry_read(bytes, len, &entry);
    REQUIRE(entry.len <= len);
    ty_buf_add(&seen->all, bytes, len);
}

static void read_spool(const uint8_t *data, size_t size, const struct ty_transcript_flush *flushes, size_t flush_count, struct seen *seen)
{
    struct ty_transcript *transcript = ty_transcript_new(ty_plan_steps, TY_PLAN_STEPS, "warn", on_entry, seen);
    struct ty_spool_frame frame;
    size_t at = 0, used = 0;
    TY_BUF(tail);
    for (bool ended = false; !ended && ty_spool_next(data + at, size - at, &frame, &used) == TY_SPOOL_FRAME; at += used) {
        while (flush_count && flushes->spool_offset <= at) {
            ty_transcript_replay(transcript, flushes++);
            flush_count--;
        }
        ended = frame.stream == TY_EXEC_STREAM_END;
        ty_transcript_frame(transcript, &frame);
    }
    ty_transcript_end(transcript);
    ty_transcript_tail(transcript, 1000, &tail);
    REQUIRE(tail.len <= 1000 && ty_transcript_count(transcript) == seen->count);
    ty_transcript_free(transcript);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct ty_transcript_flush flushes[8];
    struct seen once = {0}, twice = {0};
    size_t count = input_byte(&input) % 9;
    count = count * sizeof *flushes <= input.len ? count : input.len / sizeof *flushes;
    memcpy(flushes, input.bytes, count * sizeof *flushes);
    input.bytes += count * sizeof *flushes;
    input.len -= count * sizeof *flushes;
    read_spool(input.bytes, input.len, flushes, count, &once);
    read_spool(input.bytes, input.len, flushes, count, &twice);
    REQUIRE(once.count == twice.count && once.all.len == twice.all.len);
    REQUIRE(!once.all.len || !memcmp(once.all.data, twice.all.data, once.all.len));
    ty_buf_done(&once.all);
    ty_buf_done(&twice.all);
    return 0;
}
