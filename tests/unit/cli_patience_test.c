// How long a waiting verb bears with trouble, and its pauses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "producer/cli/patience.h"

static int meet(struct ty_patience *patience, enum ty_code code, uint64_t now_ms, bool *ret_is_new, struct ty_err *err)
{
    ty_err_set(err, code, "trouble");
    return ty_patience_on_error(patience, now_ms, ret_is_new, err);
}

static void test_a_responder_may_be_away_for_a_while(void **state)
{
    struct ty_patience patience;
    struct ty_err err;
    bool is_new, was_away;
    (void)state;
    ty_patience_init(&patience, 5000, 1000);
    assert_int_equal(meet(&patience, TY_EUNAVAILABLE, 100, &is_new, &err), 0);
    assert_true(is_new);
    assert_int_equal(meet(&patience, TY_EDEADLINE, 5000, &is_new, &err), 0);
    assert_false(is_new);
    ty_patience_on_answer(&patience, &was_away);
    assert_true(was_away);
    ty_patience_on_answer(&patience, &was_away);
    assert_false(was_away);
    assert_int_equal(meet(&patience, TY_EUNAVAILABLE, 60000, &is_new, &err), 0); // counted anew
    assert_true(is_new);
    assert_int_equal(meet(&patience, TY_EUNAVAILABLE, 65000, &is_new, &err), -TY_EUNAVAILABLE);
    assert_string_equal(err.message, "given up after 5 s: trouble");
}

static void test_a_job_may_be_unknown_until_it_was_seen(void **state)
{
    struct ty_patience patience;
    struct ty_err err;
    bool is_new, was_away;
    (void)state;
    ty_patience_init(&patience, 5000, 1000);
    assert_int_equal(meet(&patience, TY_ENOTFOUND, 0, &is_new, &err), 0);
    assert_false(is_new);
    assert_int_equal(meet(&patience, TY_EUNAVAILABLE, 900, &is_new, &err), 0);
    assert_true(is_new);
    assert_int_equal(meet(&patience, TY_ENOTFOUND, 2000, &is_new, &err), 0); // another trouble, its own time
    assert_int_equal(meet(&patience, TY_ENOTFOUND, 3000, &is_new, &err), -TY_ENOTFOUND);

    ty_patience_init(&patience, 5000, 1000);
    ty_patience_on_answer(&patience, &was_away);
    assert_int_equal(meet(&patience, TY_ENOTFOUND, 0, &is_new, &err), -TY_ENOTFOUND); // it was deleted
    assert_string_equal(err.message, "trouble");
}

static void test_no_patience_at_all(void **state)
{
    struct ty_patience patience;
    struct ty_err err;
    bool is_new;
    (void)state;
    ty_patience_init(&patience, 0, 0);
    assert_int_equal(meet(&patience, TY_ENOTFOUND, 7, &is_new, &err), -TY_ENOTFOUND);
    assert_int_equal(meet(&patience, TY_EUNAVAILABLE, 7, &is_new, &err), -TY_EUNAVAILABLE);
    assert_string_equal(err.message, "trouble");
}

static void test_what_no_waiting_helps(void **state)
{
    static const enum ty_code codes[] = {TY_EINVALID, TY_EUNAUTHENTICATED, TY_EPERMISSION, TY_EUNIMPLEMENTED, TY_EINTERNAL,
                                         TY_EDATALOSS};
    struct ty_patience patience;
    struct ty_err err;
    bool is_new;
    (void)state;
    ty_patience_init(&patience, 5000, 5000);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_int_equal(meet(&patience, codes[i], 1, &is_new, &err), -(int)codes[i]);
}

static void test_pauses_grow_and_shrink(void **state)
{
    struct ty_patience patience;
    int last = 0;
    (void)state;
    ty_patience_init(&patience, 0, 0);
    for (int i = 0; i < 20; i++) {
        int pause = ty_patience_next_pause_ms(&patience, false);
        assert_true(pause >= last && pause >= 100 && pause <= 2000);
        last = pause;
    }
    assert_int_equal(last, 2000);
    assert_int_equal(ty_patience_next_pause_ms(&patience, true), 100);
    assert_int_equal(ty_patience_next_pause_ms(&patience, false), 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_responder_may_be_away_for_a_while),
        cmocka_unit_test(test_a_job_may_be_unknown_until_it_was_seen),
        cmocka_unit_test(test_no_patience_at_all),
        cmocka_unit_test(test_what_no_waiting_helps),
        cmocka_unit_test(test_pauses_grow_and_shrink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
