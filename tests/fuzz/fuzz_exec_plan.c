// worker/exec: the plan of an attempt. "boot_id" entries are as they come, so that most plans with one are refused.
#include "tests/fuzz/fuzz_dir.h"
#include "worker/exec/exec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_exec_plan plan;
    char message[TY_EXEC_MESSAGE_BYTES] = "";
    fuzz_dir_enter("plan", data, size);
    int rc = ty_exec_plan_read(&plan, message);
    fuzz_dir_leave();
    if (rc < 0) {
        REQUIRE(*message && memchr(message, 0, sizeof message));
    } else {
        REQUIRE(plan.step_count >= 1 && plan.step_count <= TY_EXEC_STEPS_MAX);
        for (size_t i = 0; i < plan.step_count; i++)
            REQUIRE(plan.steps[i].name && plan.steps[i].argv && plan.steps[i].argv[0][0] == '/');
        for (char **entry = plan.env; entry && *entry; entry++)
            REQUIRE(strchr(*entry, '='));
    }
    ty_exec_plan_done(&plan);
    return 0;
}
