// Text made safe for terminals, and its width.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>

#include "producer/cli/text.h"

static void expect_safe(const char *text, size_t len, bool keep_newlines, const char *wanted)
{
    TY_BUF(out);
    ty_text_add_safe(&out, text, len, keep_newlines);
    assert_string_equal(ty_buf_text(&out), wanted);
}

#define SAFE(text, wanted) expect_safe(text, sizeof(text) - 1, false, wanted)

static void test_plain_text_stays(void **state)
{
    (void)state;
    SAFE("", "");
    SAFE("a b\tc", "a b\tc");
    SAFE("caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x9a\x82", "caf\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x9a\x82");
    expect_safe("a\nb", 3, true, "a\nb");
}

static void test_what_a_terminal_would_act_on_is_written_out(void **state)
{
    (void)state;
    SAFE("a\nb", "a\\x0ab");
    SAFE("\033[2J", "\\x1b[2J");
    SAFE("a\0b", "a\\x00b");
    SAFE("\x7f", "\\x7f");
    SAFE("\r", "\\x0d");
    SAFE("\xc2\x9b" "31m", "\\u009b31m"); // a control sequence in one character
    SAFE("\xe2\x80\xae" "exe", "\\u202eexe");
    SAFE("\xe2\x81\xa6", "\\u2066");
    SAFE("\xef\xbb\xbf", "\\ufeff");
}

static void test_bytes_that_are_no_text_are_written_out(void **state)
{
    (void)state;
    SAFE("caf\xe9", "caf\\xe9");
    SAFE("\xc3", "\\xc3");
    SAFE("\xc0\xaf", "\\xc0\\xaf");         // overlong
    SAFE("\xed\xa0\x80", "\\xed\\xa0\\x80"); // a surrogate
    SAFE("\xf0\x9f\x9a", "\\xf0\\x9f\\x9a"); // cut
}

static void test_width_is_in_columns(void **state)
{
    (void)state;
    assert_int_equal(ty_text_width(""), 0);
    assert_int_equal(ty_text_width("abc"), 3);
    assert_int_equal(ty_text_width("caf\xc3\xa9"), 4);
    assert_int_equal(ty_text_width("e\xcc\x81"), 1);            // a combining accent
    assert_int_equal(ty_text_width("\xe6\x97\xa5\xe6\x9c\xac"), 4); // two wide characters
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_stays),
        cmocka_unit_test(test_what_a_terminal_would_act_on_is_written_out),
        cmocka_unit_test(test_bytes_that_are_no_text_are_written_out),
        cmocka_unit_test(test_width_is_in_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
