#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "worker/settings.h"

static void load(struct ty_worker_settings *settings)
{
    static char *argv[] = {"trainyard-worker", NULL};
    struct ty_err err;
    *settings = (struct ty_worker_settings){0};
    if (ty_settings_load(&ty_worker_settings_table, settings, 1, argv, NULL, NULL, &err) < 0)
        fail_msg("%s", err.message);
}

static void assert_refused(const struct ty_worker_settings *settings, const char *flag)
{
    struct ty_err err;
    assert_int_equal(ty_worker_settings_check(settings, &err), -TY_EINVALID);
    assert_memory_equal(err.message, flag, strlen(flag));
}

static void test_defaults_go_together(void **state)
{
    struct ty_worker_settings settings;
    struct ty_err err;
    (void)state;
    load(&settings);
    assert_int_equal(ty_worker_settings_check(&settings, &err), 0);
    ty_settings_done(&ty_worker_settings_table, &settings);
}

static void test_marks_of_a_full_store(void **state)
{
    struct ty_worker_settings settings;
    struct ty_err err;
    (void)state;
    load(&settings);
    settings.store_admit_percent = 86;
    assert_refused(&settings, "--store-admit-percent: 86 ");
    settings.store_shed_percent = 86;
    assert_int_equal(ty_worker_settings_check(&settings, &err), 0);
    ty_settings_done(&ty_worker_settings_table, &settings);
}

static void test_the_gone_are_remembered_for_longer_than_the_horizon(void **state)
{
    struct ty_worker_settings settings;
    struct ty_err err;
    (void)state;
    load(&settings);
    settings.tombstone_hours = settings.horizon_hours;
    assert_refused(&settings, "--tombstone-hours: 168 ");
    settings.horizon_hours = 0; // there is none
    assert_int_equal(ty_worker_settings_check(&settings, &err), 0);
    ty_settings_done(&ty_worker_settings_table, &settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_go_together),
        cmocka_unit_test(test_marks_of_a_full_store),
        cmocka_unit_test(test_the_gone_are_remembered_for_longer_than_the_horizon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
