// core/state_args: the argument list keeps its numbers in place while it grows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/state_args.h"

static void numbers_stay_while_the_list_grows(void **state)
{
    (void)state;
    struct ty_args args = {0};
    for (uint64_t i = 0; i < 5000; i++) {
        ty_args_add_text(&args, "key");
        ty_args_add_u64(&args, UINT64_MAX - i);
    }
    assert_int_equal(args.count, 10000);
    for (uint64_t i = 0; i < 5000; i++) {
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, UINT64_MAX - i);
        assert_int_equal(args.lens[2 * i], 3);
        assert_string_equal(args.argv[2 * i + 1], text);
        assert_int_equal(args.lens[2 * i + 1], strlen(text));
    }
    ty_args_done(&args);
    assert_int_equal(args.count, 0);
}

static void bytes_are_borrowed_and_nothing_is_an_empty_string(void **state)
{
    (void)state;
    static const char bytes[] = "a\0b";
    struct ty_args args = {0};
    ty_args_add(&args, bytes, 3);
    ty_args_add(&args, NULL, 0);
    ty_args_add_text(&args, "");
    ty_args_add_u64(&args, 0);
    assert_ptr_equal(args.argv[0], bytes);
    assert_int_equal(args.lens[0], 3);
    assert_non_null(args.argv[1]);
    assert_int_equal(args.lens[1], 0);
    assert_int_equal(args.lens[2], 0);
    assert_string_equal(args.argv[3], "0");
    ty_args_done(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_stay_while_the_list_grows),
        cmocka_unit_test(bytes_are_borrowed_and_nothing_is_an_empty_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
