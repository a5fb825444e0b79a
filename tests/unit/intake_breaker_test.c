// worker/intake/breaker: when it opens, how long, and that whatever comes gets through in the end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/intake/breaker.h"

static struct ty_breaker breaker;

// Adds until it opens, at most `count` records; returns how many were added before the one that opened it.
static size_t add(size_t count, bool failed)
{
    size_t added = 0;
    while (added < count && !ty_breaker_add(&breaker, failed))
        added++;
    return added;
}

static void test_few_say_nothing(void **state)
{
    (void)state;
    ty_breaker_init(&breaker, 50);
    assert_int_equal(add(100, true), TY_BREAKER_LEAST - 1);
    assert_int_equal(breaker.state, TY_BREAKER_OPEN);
}

static void test_half_of_the_window(void **state)
{
    (void)state;
    ty_breaker_init(&breaker, 50);
    assert_int_equal(add(1000, false), 1000);
    assert_int_equal(add(100, true), TY_BREAKER_WINDOW / 2 - 1);
    // As many good as bad ones, the bad ones first or last: the last of them opens it.
    ty_breaker_init(&breaker, 50);
    assert_int_equal(add(16, true), 16);
    assert_int_equal(add(16, false), 16); // a good one never does
    assert_int_equal(add(1, true), 0);
    ty_breaker_init(&breaker, 50);
    for (size_t i = 0; i < 1000; i++) {
        assert_false(ty_breaker_add(&breaker, true));
        assert_false(ty_breaker_add(&breaker, false) || ty_breaker_add(&breaker, false));
    }
}

static void test_share(void **state)
{
    (void)state;
    ty_breaker_init(&breaker, 0);
    assert_int_equal(add(1000, true), 1000);
    ty_breaker_init(&breaker, 100);
    assert_int_equal(add(1, false), 1);
    assert_int_equal(add(100, true), TY_BREAKER_WINDOW - 1);
    ty_breaker_init(&breaker, 1);
    assert_int_equal(add(63, false), 63);
    assert_int_equal(add(1, true), 0);
}

static void test_holds_longer_each_time(void **state)
{
    (void)state;
    uint64_t expected_ms = TY_BREAKER_FIRST_MS;
    ty_breaker_init(&breaker, 50);
    add(TY_BREAKER_LEAST, true);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ty_breaker_take_hold_ms(&breaker), expected_ms);
        expected_ms = expected_ms * 2 < TY_BREAKER_LAST_MS ? expected_ms * 2 : TY_BREAKER_LAST_MS;
        ty_breaker_try(&breaker);
        assert_int_equal(breaker.state, TY_BREAKER_TRIAL);
        assert_true(ty_breaker_judge(&breaker, 1, 2));
        assert_int_equal(breaker.state, TY_BREAKER_OPEN);
    }
    assert_int_equal(ty_breaker_take_hold_ms(&breaker), TY_BREAKER_LAST_MS);
    ty_breaker_try(&breaker);
    assert_false(ty_breaker_judge(&breaker, 15, 31));
    assert_int_equal(breaker.state, TY_BREAKER_CLOSED);
    // What was counted before is forgotten; but the time falls back only after a window that passes.
    assert_int_equal(add(100, true), TY_BREAKER_LEAST - 1);
    assert_int_equal(ty_breaker_take_hold_ms(&breaker), TY_BREAKER_LAST_MS);
    ty_breaker_try(&breaker);
    assert_false(ty_breaker_judge(&breaker, 0, 1));
    assert_int_equal(add(TY_BREAKER_WINDOW, false), TY_BREAKER_WINDOW);
    add(TY_BREAKER_LEAST, true);
    assert_int_equal(breaker.state, TY_BREAKER_OPEN);
    assert_int_equal(ty_breaker_take_hold_ms(&breaker), TY_BREAKER_FIRST_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few_say_nothing),
        cmocka_unit_test(test_half_of_the_window),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_holds_longer_each_time),
    };
    return cmocka_run_group_tests_name("intake/breaker", tests, NULL, NULL);
}
