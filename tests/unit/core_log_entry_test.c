// core/log_entry: what is written is a mark and the API's message, and what others wrote is read.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "core/log_entry.h"
#include "trainyard/v1/log.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

typedef Viam__App__Mltraining__V1__TrainingJobLogEntry Message;

static void read_back(uint64_t time_us, const char *level, const char *message, size_t len)
{
    TY_BUF(entry);
    struct ty_log_entry read;
    ty_buf_add_text(&entry, "behind");
    ty_log_entry_add(&entry, TY_LOG_STREAM_STDERR, len > 10, time_us, level, message, len);
    assert_true(entry.len - 6 <= strlen(level) + len + TY_LOG_ENTRY_EXTRA_BYTES);
    assert_int_equal(entry.data[6], len > 10 ? 0x86 : 0x82);
    ty_log_entry_read(entry.data + 6, entry.len - 6, &read);
    assert_int_equal(read.stream, TY_LOG_STREAM_STDERR);
    assert_int_equal(read.continued, len > 10);
    Message *got = viam__app__mltraining__v1__training_job_log_entry__unpack(NULL, read.len, read.message);
    assert_non_null(got);
    assert_string_equal(got->level, level);
    assert_int_equal(strlen(got->message), len);
    assert_memory_equal(got->message, message, len);
    assert_non_null(got->time);
    assert_true((uint64_t)got->time->seconds == time_us / 1000000);
    assert_true((uint64_t)got->time->nanos == time_us % 1000000 * 1000);
    viam__app__mltraining__v1__training_job_log_entry__free_unpacked(got, NULL);
}

static void what_is_written_is_read(void **state)
{
    static char longest[16 * 1024];
    (void)state;
    memset(longest, 'x', sizeof longest);
    read_back(1700000000123456, "info", "a line", 6);
    read_back(0, "critical", "", 0);
    read_back(999999, "", "x", 1);
    read_back(UINT64_MAX / 2, "error", longest, 127);
    read_back(1000000, "error", longest, 128);
    read_back(1700000000000000, "warn", longest, sizeof longest);
}

static void what_others_wrote_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum ty_log_stream stream;
        bool continued;
        size_t mark;
    } cases[] = {
        {"", 0, TY_LOG_STREAM_UNSPECIFIED, false, 0},
        {"\x0a\x04info", 6, TY_LOG_STREAM_UNSPECIFIED, false, 0}, // before the mark
        {"\x80", 1, TY_LOG_STREAM_WORKER, false, 1},
        {"\x81\x0a\x04info", 7, TY_LOG_STREAM_STDOUT, false, 1},
        {"\x85\x0a\x04info", 7, TY_LOG_STREAM_STDOUT, true, 1},
        {"\x83\x0a\x04info", 7, TY_LOG_STREAM_UNSPECIFIED, false, 1}, // a stream of a later program
        {"\xfa\x0a\x04info", 7, TY_LOG_STREAM_STDERR, false, 1},      // its other bits
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_log_entry entry;
        ty_log_entry_read(cases[i].bytes, cases[i].len, &entry);
        assert_int_equal(entry.stream, cases[i].stream);
        assert_int_equal(entry.continued, cases[i].continued);
        assert_ptr_equal(entry.message, cases[i].bytes + cases[i].mark);
        assert_int_equal(entry.len, cases[i].len - cases[i].mark);
    }
}

static void streams_have_the_numbers_of_the_wire(void **state)
{
    (void)state;
    assert_int_equal(TY_LOG_STREAM_UNSPECIFIED, TRAINYARD__V1__LOG_STREAM__LOG_STREAM_UNSPECIFIED);
    assert_int_equal(TY_LOG_STREAM_WORKER, TRAINYARD__V1__LOG_STREAM__LOG_STREAM_WORKER);
    assert_int_equal(TY_LOG_STREAM_STDOUT, TRAINYARD__V1__LOG_STREAM__LOG_STREAM_STDOUT);
    assert_int_equal(TY_LOG_STREAM_STDERR, TRAINYARD__V1__LOG_STREAM__LOG_STREAM_STDERR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_others_wrote_is_read),
        cmocka_unit_test(streams_have_the_numbers_of_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
