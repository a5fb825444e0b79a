// worker/run: what ty_run_new refuses, and that it takes no store to start and to end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "worker/run/run.h"

static struct ty_loop *loop;
static struct ty_state *state_store;
static struct ty_catalog *catalog;
static char dir[64];
static char *work_dir;

static void on_up(void *context, bool up, const struct ty_err *err)
{
    (void)context;
    (void)up;
    (void)err;
}

static int setup(void **state)
{
    struct ty_err err;
    (void)state;
    strcpy(dir, "/tmp/ty-options-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    char *url TY_FREE = ty_xasprintf("unix://%s/no.sock", dir);
    struct ty_state_options options = {.redis_url = url, .shards = 1, .command_ms = 100};
    work_dir = ty_xasprintf("%s/a/b/work", dir);
    loop = ty_loop_new(&err);
    return ty_catalog_load(NULL, &catalog, &err) < 0 ||
           ty_state_new(loop, &options, on_up, NULL, &state_store, &err) < 0;
}

static int teardown(void **state)
{
    (void)state;
    ty_state_free(state_store);
    ty_loop_free(loop);
    ty_catalog_free(catalog);
    free(work_dir);
    char *command TY_FREE = ty_xasprintf("rm -rf -- '%s'", dir);
    return system(command);
}

static struct ty_run_options good(void)
{
    return (struct ty_run_options){.worker = "w", .work_dir = work_dir, .store_dir = dir, .exec_path = "/bin/true",
                                   .stage_path = "/bin/true", .slots = 1, .null_slots = 10, .lease_ms = 1000};
}

static void assert_refused(const struct ty_run_options *options, int code, const char *text)
{
    struct ty_run *run = NULL;
    struct ty_err err = {0};
    assert_int_equal(ty_run_new(loop, state_store, catalog, options, &run, &err), -code);
    assert_null(run);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.message);
}

static void wrong_options(void **state)
{
    (void)state;
    struct ty_run_options options = good();
    options.worker = "";
    assert_refused(&options, TY_EINVALID, "worker's name");
    options = good();
    options.worker = "two\nlines";
    assert_refused(&options, TY_EINVALID, "worker's name");
    options = good();
    options.store_dir = "/nowhere/store";
    assert_refused(&options, TY_EINVALID, "store directory /nowhere/store: No such file");
    options = good();
    options.exec_path = "/nowhere/exec";
    assert_refused(&options, TY_EINVALID, "trainyard-exec /nowhere/exec");
    options = good();
    options.stage_path = "/etc/passwd";
    assert_refused(&options, TY_EINVALID, "is no program");
    options = good();
    options.work_dir = "/etc/passwd/work";
    assert_refused(&options, TY_EINVALID, "work directory /etc/passwd");
    options = good();
    char *unknown[] = {(char *)"tf:9", NULL}, *none[] = {(char *)"", NULL};
    options.containers = unknown;
    assert_refused(&options, TY_EINVALID, "container \"tf:9\" is not in the catalogue");
    options.containers = none;
    assert_refused(&options, TY_EINVALID, "container \"\"");
}

static void one_worker_a_directory(void **state)
{
    (void)state;
    struct ty_run_options options = good();
    struct ty_run *run;
    struct ty_err err;
    assert_int_equal(ty_run_new(loop, state_store, catalog, &options, &run, &err), 0);
    assert_refused(&options, TY_EEXISTS, "another worker has the work directory");
    ty_run_free(run);
    assert_int_equal(ty_run_new(loop, state_store, catalog, &options, &run, &err), 0);
    ty_run_free(run);
}

static void on_drained(void *context)
{
    ++*(unsigned *)context;
}

static void a_drain_without_jobs_ends_at_once(void **state)
{
    (void)state;
    struct ty_run_options options = good();
    struct ty_run *run;
    struct ty_err err;
    unsigned drained = 0;
    options.drain_ms = 600000;
    assert_int_equal(ty_run_new(loop, state_store, catalog, &options, &run, &err), 0);
    ty_run_drain(run, on_drained, &drained);
    assert_int_equal(drained, 0); // not from inside the call
    for (int i = 0; i < 100 && !drained; i++)
        assert_int_equal(ty_loop_run_once(loop, 50, &err), 0);
    ty_run_drain(run, on_drained, &drained);
    assert_int_equal(ty_loop_run_once(loop, 0, &err), 0);
    assert_int_equal(drained, 1);
    ty_run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_options, setup, teardown),
        cmocka_unit_test_setup_teardown(one_worker_a_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(a_drain_without_jobs_ends_at_once, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
