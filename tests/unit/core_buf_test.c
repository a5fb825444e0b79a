// core/buf: growing, cutting, and the protobuf pieces, the latter read back by protobuf-c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "google/protobuf/timestamp.pb-c.h"

static void it_grows_and_keeps_its_bytes(void **state)
{
    (void)state;
    TY_BUF(buf);
    for (unsigned i = 0; i < 10000; i++)
        ty_buf_add_byte(&buf, (uint8_t)i);
    ty_buf_add(&buf, NULL, 0);
    assert_int_equal(buf.len, 10000);
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(buf.data[i], (uint8_t)i);
    uint8_t *room = ty_buf_reserve(&buf, 100000);
    assert_ptr_equal(room, buf.data + 10000);
    assert_int_equal(buf.len, 10000);
    assert_true(buf.cap >= 110000);
    ty_buf_clear(&buf);
    assert_int_equal(buf.len, 0);
    assert_true(buf.cap >= 110000);
}

static void text_and_format(void **state)
{
    (void)state;
    TY_BUF(buf);
    assert_string_equal(ty_buf_text(&buf), "");
    ty_buf_add_text(&buf, "job ");
    ty_buf_add_format(&buf, "%d of %s", 7, "many");
    ty_buf_add_format(&buf, "%s", "");
    assert_int_equal(buf.len, 13);
    assert_string_equal(ty_buf_text(&buf), "job 7 of many");
    assert_int_equal(buf.len, 13);
    char *longer TY_FREE = ty_xasprintf("%01000d", 1);
    ty_buf_add_format(&buf, "%s", longer);
    assert_int_equal(buf.len, 1013);
    assert_string_equal(ty_buf_text(&buf) + 13, longer);
}

static void shift_drops_the_front(void **state)
{
    (void)state;
    TY_BUF(buf);
    ty_buf_add_text(&buf, "abcdef");
    ty_buf_shift(&buf, 0);
    ty_buf_shift(&buf, 2);
    assert_string_equal(ty_buf_text(&buf), "cdef");
    ty_buf_shift(&buf, 99);
    assert_int_equal(buf.len, 0);
    ty_buf_add_text(&buf, "x");
    assert_string_equal(ty_buf_text(&buf), "x");
}

static void varints_by_the_book(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *bytes;
        size_t len;
    } cases[] = {
        {0, "\x00", 1},
        {1, "\x01", 1},
        {127, "\x7f", 1},
        {128, "\x80\x01", 2},
        {300, "\xac\x02", 2},
        {UINT64_MAX, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TY_BUF(buf);
        ty_buf_add_varint(&buf, cases[i].value);
        assert_int_equal(buf.len, cases[i].len);
        assert_memory_equal(buf.data, cases[i].bytes, cases[i].len);
    }
    TY_BUF(buf);
    ty_buf_add_tag_varint(&buf, 20, 5);
    ty_buf_add_tag_bytes(&buf, 2, "hi", 2);
    assert_int_equal(buf.len, 7);
    assert_memory_equal(buf.data, "\xa0\x01\x05\x12\x02hi", 7);
}

static void times_are_timestamps(void **state)
{
    (void)state;
    static const uint64_t times_us[] = {0, 1, 999999, 1000000, 1700000000123456};
    for (size_t i = 0; i < sizeof times_us / sizeof *times_us; i++) {
        TY_BUF(buf);
        ty_buf_add_tag_time(&buf, 3, times_us[i]);
        assert_int_equal(buf.data[0], 3 << 3 | 2);
        assert_int_equal(buf.data[1], buf.len - 2);
        Google__Protobuf__Timestamp *time = google__protobuf__timestamp__unpack(NULL, buf.len - 2, buf.data + 2);
        assert_non_null(time);
        assert_int_equal(time->seconds, times_us[i] / 1000000);
        assert_int_equal(time->nanos, times_us[i] % 1000000 * 1000);
        google__protobuf__timestamp__free_unpacked(time, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_grows_and_keeps_its_bytes),
        cmocka_unit_test(text_and_format),
        cmocka_unit_test(shift_drops_the_front),
        cmocka_unit_test(varints_by_the_book),
        cmocka_unit_test(times_are_timestamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
