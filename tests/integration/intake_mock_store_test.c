// The intake with the mock cluster: the store comes and goes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"

// The lowest watermark of all shards counts.
static void test_four_shards(void **state)
{
    intake_shards = 4;
    intake_case_redis_emptied(state);
    intake_case_redis_restored(state);
    intake_shards = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_case_redis_emptied),  cmocka_unit_test(intake_case_redis_flushed),
        cmocka_unit_test(intake_case_redis_restored), cmocka_unit_test(intake_case_redis_away),
        cmocka_unit_test(intake_case_back_pressure),  cmocka_unit_test(test_four_shards),
    };
    return cmocka_run_group_tests_name("intake and store, mock cluster", tests, intake_mock_set_up, intake_mock_tear_down);
}
