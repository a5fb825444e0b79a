// The test program as a worker: the run role under a loop of its own, and nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "core/log.h"
#include "worker/run/run.h"

struct worker {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_run *run;
};

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct worker *worker = context;
    (void)err;
    if (worker->run)
        ty_run_on_store(worker->run, up);
}

static void on_notice(void *context, bool ready, const struct ty_id *cancel_id)
{
    struct worker *worker = context;
    ty_run_on_notice(worker->run, ready, cancel_id);
}

static void on_drained(void *context)
{
    struct worker *worker = context;
    ty_loop_stop(worker->loop);
}

static void on_term(void *context, int signal_number)
{
    struct worker *worker = context;
    (void)signal_number;
    ty_run_drain(worker->run, on_drained, worker);
}

static int start(struct worker *worker, const struct ty_catalog *catalog, char **argv, const char *bin_dir,
                 struct ty_err *err)
{
    char *exec TY_FREE = ty_xasprintf("%s/trainyard-exec", bin_dir), *stage TY_FREE = ty_xasprintf("%s/trainyard-stage", bin_dir);
    char *work_dir TY_FREE = ty_xasprintf("%s/work/%s", argv[1], argv[2]);
    char *store_dir TY_FREE = ty_xasprintf("%s/store", argv[1]);
    struct ty_state_options state = {.redis_url = argv[0], .shards = (unsigned)atoi(argv[9]), .command_ms = 2000,
                                     .tombstone_ms = 3600000, .log_retention_ms = 3600000, .default_max_attempts = 3};
    struct ty_run_options options = {
        .worker = argv[2], .work_dir = work_dir, .store_dir = store_dir,
        .exec_path = exec, .stage_path = stage,
        .slots = (unsigned)atoi(argv[3]), .null_slots = (unsigned)atoi(argv[4]), .lease_ms = (uint32_t)atoi(argv[5]),
        .grace_ms = (uint64_t)atoi(argv[6]), .drain_ms = (uint64_t)atoi(argv[7]), .lost_lease_limit_ms = 60000,
        .install_timeout_ms = 60000, .prepare_timeout_ms = 60000, .collect_timeout_ms = 60000,
        .log_wait_ms = 10000, .keep_job_dirs = atoi(argv[8]) != 0,
    };
    if (sscanf(argv[11], "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &options.sweep_ms,
               &options.job_dirs_ms, &state.job_retention_ms, &options.stage_look_ms, &options.model_retention_ms,
               &state.job_log_bytes, &options.organization_log_bytes, &options.total_log_bytes) != 8)
        return ty_err_set(err, TY_EINVALID, "%s: are not eight numbers", argv[11]);
    if (sscanf(argv[10], "%u %u %u", &state.max_losses, &state.retry_base_ms, &state.retry_max_ms) != 3)
        return ty_err_set(err, TY_EINVALID, "%s: are not three numbers", argv[10]);
    worker->loop = ty_loop_new(err);
    if (!worker->loop || ty_loop_add_signal(worker->loop, SIGTERM, on_term, worker, err) < 0 ||
        ty_state_new(worker->loop, &state, on_up, worker, &worker->state, err) < 0 ||
        ty_run_new(worker->loop, worker->state, catalog, &options, &worker->run, err) < 0)
        return -1;
    return ty_state_listen(worker->state, on_notice, worker, err);
}

// --worker redis-url site-dir name slots null-slots lease-ms grace-ms drain-ms keep shards "max-losses base-ms max-ms" "sweep-ms job-dirs-ms retention-ms stage-look-ms model-retention-ms job-log-bytes organization-log-bytes total-log-bytes"
int run_site_main(int argc, char **argv, const char *bin_dir)
{
    struct worker worker = {0};
    struct ty_catalog *catalog = NULL;
    struct ty_err err;
    if (argc != 14 || strcmp(argv[1], "--worker") != 0)
        return -1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    ty_log_setup(argv[4], TY_LOG_INFO, TY_LOG_TEXT);
    char *catalog_dir TY_FREE = ty_xasprintf("%s/catalog", argv[3]);
    int rc = ty_catalog_load(catalog_dir, &catalog, &err);
    if (rc == 0)
        rc = start(&worker, catalog, argv + 2, bin_dir, &err);
    if (rc == 0)
        rc = ty_loop_run(worker.loop, &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.message);
    ty_state_free(worker.state);
    ty_run_free(worker.run);
    ty_loop_free(worker.loop);
    ty_catalog_free(catalog);
    return rc < 0 ? 1 : 0;
}
