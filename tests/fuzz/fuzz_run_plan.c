// worker/run/plan: any record of the store is a job with a plan that the supervisor can read, or is refused.
#include "core/catalog.h"
#include "tests/fuzz/fuzz_dir.h"
#include "worker/exec/exec.h"
#include "worker/run/plan.h"

static void read_back(const struct ty_buf *bytes)
{
    struct ty_exec_plan plan;
    char message[TY_EXEC_MESSAGE_BYTES] = "";
    fuzz_dir_enter("plan", bytes->data, bytes->len);
    int rc = ty_exec_plan_read(&plan, message);
    fuzz_dir_leave();
    if (rc < 0)
        fprintf(stderr, "%s\n", message);
    REQUIRE(rc == 0);
    REQUIRE(plan.step_count == TY_PLAN_STEPS);
    for (size_t i = 0; i < plan.step_count; i++)
        REQUIRE(!strcmp(plan.steps[i].name, ty_plan_steps[i]) && plan.steps[i].argv[0][0] == '/');
    ty_exec_plan_done(&plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ty_catalog *catalog;
    static const struct ty_token token = {.bytes = {0xab}};
    struct ty_plan_options options = {.dir = "/w/jobs/j-2", .store_dir = "/store", .stage_path = "/bin/stage", .boot_id = "",
                                      .id = "0f0e0d0c-0b0a-4908-8706-050403020100", .attempt = 2, .fence = 77, .token = &token};
    struct ty_record record;
    struct ty_job job;
    struct ty_err err = {0};
    TY_BUF(plan);
    REQUIRE(catalog || ty_catalog_load(NULL, &catalog, &err) == 0);
    if (ty_record_decode(data, size, &record, &err) < 0)
        return 0;
    int rc = ty_job_read(&record, catalog, &job, &err);
    REQUIRE(rc == 0 || ((rc == -TY_EDATALOSS || rc == -TY_EPRECONDITION) && *err.message));
    if (rc < 0)
        return 0;
    REQUIRE(job.container && job.script && job.script_version);
    if (job.container->runner != TY_RUNNER_PROCESS) { // has no plan
        ty_job_done(&job);
        return 0;
    }
    rc = ty_plan_build(&job, &options, &plan, &err);
    REQUIRE(rc == 0 || rc == -TY_EINVALID);
    if (rc == 0)
        read_back(&plan);
    ty_job_done(&job);
    return 0;
}
