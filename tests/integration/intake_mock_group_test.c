// The intake with the mock cluster: intakes come and go.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/apart.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_case_stop_and_start),
        cmocka_unit_test(intake_case_killed),
        cmocka_unit_test(intake_case_two_share),
    };
    return apart_run("intakes in a group, mock cluster", tests, intake_mock_set_up, intake_mock_tear_down);
}
