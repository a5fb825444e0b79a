// worker/run/transcript: numbered entries out of frames, the same ones at every reading.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log_entry.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"
#include "worker/run/transcript.h"

#define START_US UINT64_C(1700000000000000)
#define SECOND UINT64_C(1000000)

static const char *const steps[] = {"prepare", "install", "train", "collect"};

struct reading {
    struct ty_transcript *transcript;
    struct ty_buf text; // "<sequence> <stream><+: continued> <seconds.millis> <level> <message>\n"
    uint64_t count;
};

static void on_entry(void *context, uint64_t sequence, const void *bytes, size_t len)
{
    struct reading *reading = context;
    struct ty_log_entry stored;
    ty_log_entry_read(bytes, len, &stored);
    Viam__App__Mltraining__V1__TrainingJobLogEntry *entry =
        viam__app__mltraining__v1__training_job_log_entry__unpack(NULL, stored.len, stored.message);
    assert_non_null(entry);
    assert_true(sequence == reading->count);
    ty_buf_add_format(&reading->text, "%llu %c%s%lld.%03d %s ", (unsigned long long)sequence, "?woe"[stored.stream],
                      stored.continued ? "+" : "",
                      (long long)(entry->time->seconds - (int64_t)(START_US / SECOND)), entry->time->nanos / 1000000,
                      entry->level);
    ty_buf_add_text(&reading->text, entry->message);
    ty_buf_add_byte(&reading->text, '\n');
    viam__app__mltraining__v1__training_job_log_entry__free_unpacked(entry, NULL);
    reading->count++;
}

static void begin(struct reading *reading)
{
    *reading = (struct reading){0};
    reading->transcript = ty_transcript_new(steps, 4, "info", on_entry, reading);
}

static const char *end(struct reading *reading)
{
    ty_transcript_end(reading->transcript);
    ty_transcript_free(reading->transcript);
    return ty_buf_text(&reading->text);
}

static void frame(struct reading *reading, uint64_t ms, uint8_t stream, uint8_t step, const char *text)
{
    struct ty_spool_frame frame = {.time_us = START_US + ms * 1000, .stream = stream, .step = step,
                                   .bytes = (const uint8_t *)text, .len = (uint32_t)strlen(text)};
    ty_transcript_frame(reading->transcript, &frame);
}

#define OUT TY_EXEC_STREAM_STDOUT
#define ERR TY_EXEC_STREAM_STDERR
#define OWN TY_EXEC_STREAM_SUPERVISOR

static void steps_and_streams(void **state)
{
    struct reading reading;
    (void)state;
    begin(&reading);
    ty_transcript_say(reading.transcript, START_US, "info", "attempt 1 claimed by w1");
    frame(&reading, 10, OUT, 0, "found\n");
    frame(&reading, 20, OUT, 2, "one\ntw");
    frame(&reading, 30, ERR, 2, "ERROR: bad\n");
    frame(&reading, 40, OUT, 2, "o\n");
    frame(&reading, 50, OWN, 2, "stopping: the job was canceled\n");
    frame(&reading, 60, OUT, 3, "");
    assert_string_equal(end(&reading), "0 w0.000 info attempt 1 claimed by w1\n"
                                       "1 w0.010 info step prepare\n"
                                       "2 w0.010 info found\n"
                                       "3 w0.020 info step install\n"
                                       "4 w0.020 info step train\n"
                                       "5 o0.020 info one\n"
                                       "6 e0.030 error ERROR: bad\n"
                                       "7 o0.030 info two\n"
                                       "8 w0.050 info stopping: the job was canceled\n"
                                       "9 w0.060 info step collect\n");
    ty_buf_done(&reading.text);
}

static void a_step_ends_its_lines(void **state)
{
    struct reading reading;
    (void)state;
    begin(&reading);
    frame(&reading, 0, OUT, 0, "no newline");
    frame(&reading, 10, OUT, 1, "next\n");
    assert_string_equal(end(&reading), "0 w0.000 info step prepare\n1 w0.000 info no newline\n"
                                       "2 w0.010 info step install\n3 o0.010 info next\n");
    ty_buf_done(&reading.text);
}

static void waiting_lines_come_in_the_order_of_their_time(void **state)
{
    struct reading reading;
    (void)state;
    begin(&reading);
    frame(&reading, 0, ERR, 0, "first");
    frame(&reading, 500, OUT, 0, "second");
    frame(&reading, 5000, OUT, 0, " goes on\n");
    assert_string_equal(end(&reading), "0 w0.000 info step prepare\n1 w0.000 info first\n2 w0.500 info second\n"
                                       "3 w+5.000 info  goes on\n");
    ty_buf_done(&reading.text);
}

static void the_tail_is_of_the_last_step(void **state)
{
    struct reading reading;
    TY_BUF(tail);
    (void)state;
    begin(&reading);
    frame(&reading, 0, OUT, 1, "of install\n");
    for (int i = 0; i < 30; i++) {
        char line[16];
        snprintf(line, sizeof line, "line %d\n", i);
        frame(&reading, 100, OUT, 2, line);
        frame(&reading, 100, OWN, 2, "not the job's\n");
    }
    ty_transcript_tail(reading.transcript, 1000, &tail);
    assert_ptr_equal(strstr(ty_buf_text(&tail), "line 10\nline 11\n"), tail.data);
    assert_non_null(strstr((char *)tail.data, "\nline 29\n"));
    ty_buf_clear(&tail);
    ty_transcript_tail(reading.transcript, 17, &tail);
    assert_string_equal(ty_buf_text(&tail), "line 28\nline 29\n");
    end(&reading);
    ty_buf_done(&reading.text);
}

// ---- any reading of one spool gives the same ----

enum { FRAMES = 400 };

struct spool {
    struct {
        uint64_t ms;
        uint8_t stream, step;
        char text[24];
    } frames[FRAMES];
    struct ty_transcript_flush flushes[FRAMES];
    size_t flush_count;
};

static void fill(struct spool *spool, unsigned seed)
{
    static const char *const pieces[] = {"line\n", "part", "bar 1\r", "\n", "\r", "two\nthree\n", "bar 2\rbar 3\r", "\xc3", "\xa9\n", "end\r\n"};
    uint64_t ms = 0;
    uint8_t step = 0;
    *spool = (struct spool){0};
    for (size_t i = 0; i < FRAMES; i++) {
        // Now and then a pause, a step back of the clock, a new step.
        unsigned kind = (unsigned)rand_r(&seed) % 20;
        ms += kind < 12 ? (uint64_t)rand_r(&seed) % 50 : (uint64_t)rand_r(&seed) % 2500;
        if (kind == 19 && ms > 3000)
            ms -= 2000;
        if (i % 150 == 149)
            step++;
        spool->frames[i].ms = ms;
        spool->frames[i].step = step;
        spool->frames[i].stream = (uint8_t)(1 + rand_r(&seed) % 3);
        snprintf(spool->frames[i].text, sizeof spool->frames[i].text, "%s", pieces[(unsigned)rand_r(&seed) % 10]);
    }
}

// Reads frames [0, stop). live: where no frame is there yet, the clock emits what is due, and it is written down.
static void read_frames(struct spool *spool, struct reading *reading, size_t from, size_t stop, bool live)
{
    size_t flush = 0;
    while (flush < spool->flush_count && spool->flushes[flush].spool_offset < from)
        flush++;
    for (size_t i = from; i < stop; i++) {
        for (; flush < spool->flush_count && spool->flushes[flush].spool_offset <= i; flush++)
            ty_transcript_replay(reading->transcript, &spool->flushes[flush]);
        // The reader was there before the frame, at a moment of its own: sometimes late, sometimes never.
        struct ty_transcript_flush due;
        uint64_t clock_us = START_US + spool->frames[i].ms * 1000 + (i % 3) * 400000;
        while (live && i % 5 != 4 && spool->flush_count < FRAMES && ty_transcript_find_due(reading->transcript, clock_us, &due)) {
            due.spool_offset = i;
            spool->flushes[spool->flush_count++] = due;
            flush = spool->flush_count;
            ty_transcript_replay(reading->transcript, &due);
        }
        frame(reading, spool->frames[i].ms, spool->frames[i].stream, spool->frames[i].step, spool->frames[i].text);
    }
}

static void every_reading_is_the_same(void **state)
{
    static struct spool spool;
    (void)state;
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct reading live, restarted, again;
        fill(&spool, seed);
        // A worker reads live and dies in the midst; the next one reads from the start, then goes on live.
        begin(&live);
        read_frames(&spool, &live, 0, FRAMES / 2, true);
        size_t live_len = live.text.len;
        begin(&restarted);
        read_frames(&spool, &restarted, 0, FRAMES / 2, false);
        assert_true(restarted.text.len == live_len);
        assert_memory_equal(restarted.text.data, live.text.data, live_len);
        read_frames(&spool, &restarted, FRAMES / 2, FRAMES, true);
        const char *expected = end(&restarted);
        begin(&again);
        read_frames(&spool, &again, 0, FRAMES, false);
        assert_string_equal(end(&again), expected);
        end(&live);
        ty_buf_done(&live.text);
        ty_buf_done(&restarted.text);
        ty_buf_done(&again.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_and_streams),
        cmocka_unit_test(a_step_ends_its_lines),
        cmocka_unit_test(waiting_lines_come_in_the_order_of_their_time),
        cmocka_unit_test(the_tail_is_of_the_last_step),
        cmocka_unit_test(every_reading_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
