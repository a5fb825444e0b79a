// Times as they are printed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "producer/cli/when.h"

#define SECOND INT64_C(1000000)
#define NOW (INT64_C(1795545744) * SECOND + 123456) // 2026-11-24T18:42:24.123456Z

static void test_absolute(void **state)
{
    char out[TY_WHEN_BYTES];
    (void)state;
    assert_string_equal(ty_when_rfc3339(NOW, out), "2026-11-24T18:42:24.123456Z");
    assert_string_equal(ty_when_millis(NOW, out), "2026-11-24T18:42:24.123Z");
    assert_string_equal(ty_when_utc(NOW, out), "2026-11-24 18:42:24 UTC");
    assert_string_equal(ty_when_day(NOW, out), "2026-11-24");
    assert_string_equal(ty_when_version(NOW, out), "2026-11-24T18-42-24");
    assert_string_equal(ty_when_rfc3339(0, out), "1970-01-01T00:00:00.000000Z");
    assert_string_equal(ty_when_rfc3339(-1, out), "1969-12-31T23:59:59.999999Z");
}

static void expect_time(int64_t seconds, int32_t nanos, const char *wanted)
{
    char out[TY_WHEN_BYTES];
    Google__Protobuf__Timestamp timestamp = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    timestamp.seconds = seconds;
    timestamp.nanos = nanos;
    assert_string_equal(ty_when_rfc3339(ty_when_us(&timestamp), out), wanted);
}

static void test_any_timestamp_can_be_shown(void **state)
{
    (void)state;
    expect_time(1795545744, 999999999, "2026-11-24T18:42:24.999999Z");
    expect_time(1795545744, -5, "2026-11-24T18:42:24.000000Z");
    expect_time(1795545744, 2000000000, "2026-11-24T18:42:24.000000Z");
    expect_time(INT64_MAX, 0, "9999-12-31T23:59:59.000000Z");
    char out[TY_WHEN_BYTES];
    Google__Protobuf__Timestamp first = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    first.seconds = INT64_MIN;
    assert_string_equal(ty_when_rfc3339(ty_when_us(&first), out), "1000-01-01T00:00:00.000000Z");
}

static void expect_ago(int64_t seconds, const char *wanted)
{
    char out[TY_WHEN_BYTES];
    assert_string_equal(ty_when_ago(NOW - seconds * SECOND, NOW, out), wanted);
}

static void test_relative(void **state)
{
    (void)state;
    expect_ago(0, "just now");
    expect_ago(1, "just now");
    expect_ago(-1, "just now"); // clocks differ
    expect_ago(2, "2s ago");
    expect_ago(59, "59s ago");
    expect_ago(60, "1m ago");
    expect_ago(3599, "59m ago");
    expect_ago(7200, "2h ago");
    expect_ago(86400 * 12, "12d ago");
    expect_ago(-300, "in 5m");
}

static void expect_duration(int64_t us, const char *wanted)
{
    char out[TY_WHEN_BYTES];
    assert_string_equal(ty_when_duration(us, out), wanted);
}

static void test_duration(void **state)
{
    (void)state;
    expect_duration(-5, "0.0s");
    expect_duration(449999, "0.4s");
    expect_duration(9 * SECOND + 900000, "9.9s");
    expect_duration(12 * SECOND, "12s");
    expect_duration(185 * SECOND, "3m 05s");
    expect_duration(3720 * SECOND, "1h 02m");
    expect_duration((3 * 86400 + 4 * 3600) * SECOND, "3d 04h");
}

static void test_parse(void **state)
{
    static const char *const wrong[] = {"", "2026-11-24", "2026-11-24 18:42:24Z", "2026-11-24T18:42:24", "2026-11-24T18:42:24.Z",
                                        "2026-11-24T18:42:24.1234567Z", "2026-11-24T18:42:24Zx", "2026-11-24T18:42:24+01:00",
                                        "2026-02-30T00:00:00Z", "2026-11-24T24:00:00Z", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z",
                                        "2026-11-24T18:42:2"};
    uint64_t us = 7;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (ty_when_parse(wrong[i], &us))
            fail_msg("\"%s\" was taken", wrong[i]);
    assert_int_equal(us, 7);
    assert_true(ty_when_parse("2026-11-24T18:42:24.123456Z", &us));
    assert_int_equal(us, NOW);
    assert_true(ty_when_parse("2026-11-24T18:42:24.1Z", &us));
    assert_int_equal(us, NOW - 23456);
    assert_true(ty_when_parse("1970-01-01T00:00:00Z", &us));
    assert_int_equal(us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absolute),
        cmocka_unit_test(test_any_timestamp_can_be_shown),
        cmocka_unit_test(test_relative),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
