// worker/exec: the plan of an attempt. "boot_id" entries are as they come, so that most plans with one are refused.
#include <fcntl.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "worker/exec/exec.h"

static void leave(void)
{
    unlink("plan");
    char here[256];
    if (getcwd(here, sizeof here))
        rmdir(here);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0) {
        char dir[] = "/tmp/ty-fuzz-XXXXXX";
        REQUIRE(mkdtemp(dir) && chdir(dir) == 0);
        atexit(leave);
        fd = open("plan", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    }
    REQUIRE(fd >= 0 && ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    struct ty_exec_plan plan;
    char message[TY_EXEC_MESSAGE_BYTES] = "";
    if (ty_exec_plan_read(&plan, message) < 0) {
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
