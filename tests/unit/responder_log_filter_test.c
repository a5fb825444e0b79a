// Levels, times and places that a follower asks for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/log_entry.h"
#include "responder/follow_start.h"
#include "responder/log_filter.h"

static void test_levels(void **state)
{
    static const struct {
        const char *entry;
        unsigned rank;
    } levels[] = {{"debug", 1}, {"TRACE", 1}, {"info", 2}, {"INFO", 2},  {"notice", 2},   {"", 2}, {"42", 2},
                  {"warn", 3},  {"Warning", 3}, {"error", 4}, {"E", 4}, {"critical", 5}, {"FATAL", 5}};
    static const char *const asked[] = {"", "debug", "info", "warn", "error", "critical"};
    struct ty_err err;
    unsigned rank;
    (void)state;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        assert_int_equal(ty_log_rank(levels[i].entry, strlen(levels[i].entry)), levels[i].rank);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(ty_log_rank_parse(asked[i], &rank, &err), 0);
        assert_int_equal(rank, i);
    }
    assert_int_equal(ty_log_rank_parse("WARN", &rank, &err), -TY_EINVALID);
    assert_int_equal(ty_log_rank_parse("warning", &rank, &err), -TY_EINVALID);
}

static bool passes(unsigned rank, uint64_t since_us, const char *level, uint64_t time_us)
{
    struct ty_log_filter filter = {rank, since_us};
    struct ty_log_entry entry;
    TY_BUF(stored);
    ty_log_entry_add(&stored, TY_LOG_STREAM_STDOUT, false, time_us, level, "words", 5);
    ty_log_entry_read(stored.data, stored.len, &entry);
    return ty_log_filter_passes(&filter, entry.message, entry.len);
}

static void test_filters(void **state)
{
    (void)state;
    assert_true(passes(0, 0, "debug", 7));
    assert_true(passes(3, 0, "warn", 7));
    assert_false(passes(4, 0, "warn", 7));
    assert_true(passes(0, 1700000000123456, "info", 1700000000123456));
    assert_false(passes(0, 1700000000123457, "info", 1700000000123456));
    assert_true(passes(0, 1700000000123457, "info", 0)); // without a time
    assert_false(passes(4, 1, "info", 1700000000123456));
    // What cannot be read is not dropped: a cut length, an unknown kind of field.
    struct ty_log_filter strict = {5, UINT64_MAX};
    assert_true(ty_log_filter_passes(&strict, (const uint8_t *)"\x0a\x7f", 2));
    assert_true(ty_log_filter_passes(&strict, (const uint8_t *)"\x0b", 1));
    assert_false(ty_log_filter_passes(&strict, (const uint8_t *)"", 0)); // an empty entry is one of level info
}

static void test_tails(void **state)
{
    static const struct ty_log_span spans[] = {{4, 0, 10}, {3, 5, 5}, {2, 100, 103}};
    static const struct {
        uint64_t tail;
        uint32_t attempt;
        uint64_t sequence;
    } cases[] = {{0, 4, 10}, {1, 4, 9}, {10, 4, 0}, {11, 2, 102}, {13, 2, 100}, {14, 2, 100}, {UINT32_MAX, 2, 100}};
    uint32_t attempt;
    uint64_t sequence;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ty_follow_start_tail(spans, 3, cases[i].tail, &attempt, &sequence);
        assert_int_equal(attempt, cases[i].attempt);
        assert_int_equal(sequence, cases[i].sequence);
    }
    ty_follow_start_tail(NULL, 0, 9, &attempt, &sequence);
    assert_int_equal(attempt, 0);
    assert_int_equal(sequence, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_tails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
