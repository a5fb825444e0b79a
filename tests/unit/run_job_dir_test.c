// worker/run/job_dir: an attempt's directory on disk.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "worker/run/job_dir.h"

static char dir[64];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/ty-jobdir-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    strcat(dir, "/job");
    struct ty_err err;
    return ty_job_dir_make(dir, &err);
}

static int teardown(void **state)
{
    (void)state;
    dir[strlen(dir) - 4] = 0;
    char *command TY_FREE = ty_xasprintf("rm -rf -- '%s'", dir);
    return system(command);
}

static void a_ticket_comes_back(void **state)
{
    struct ty_err err;
    struct ty_ticket got, ticket = {.id = {{1, 2}}, .token = {{0xff, 0, 3}}, .attempt = 7, .after = (char *)"worker_lost", .fence = UINT64_C(1700000000000001),
                                    .claimed_us = 5, .worker = (char *)"w 1", .organization = (char *)"acme",
                                    .model = (char *)"a=b", .model_version = (char *)"v 1", .retries = {0x81, [31] = 0x10}};
    (void)state;
    assert_int_equal(ty_job_dir_make(dir, &err), -TY_EEXISTS);
    assert_int_equal(ty_ticket_read(dir, &got, &err), -TY_ENOTFOUND);
    assert_int_equal(ty_ticket_write(&ticket, dir, &err), 0);
    assert_int_equal(ty_ticket_read(dir, &got, &err), 0);
    assert_memory_equal(&got.id, &ticket.id, sizeof got.id);
    assert_memory_equal(&got.token, &ticket.token, sizeof got.token);
    assert_int_equal(got.attempt, 7);
    assert_true(got.fence == ticket.fence && got.claimed_us == 5);
    assert_string_equal(got.worker, "w 1");
    assert_string_equal(got.model, "a=b");
    assert_string_equal(got.model_version, "v 1");
    assert_memory_equal(got.retries, ticket.retries, sizeof got.retries);
    assert_string_equal(got.after, "worker_lost");
    ty_ticket_done(&got);
}

static void a_ticket_of_the_version_before_retries_nothing(void **state)
{
    static const char text[] = "format=1\njob=00000000-0000-0000-0000-000000000001\nattempt=1\nfence=1\nworker=w\norganization=o\n"
                               "model=m\nmodel_version=v\ntoken=00000000000000000000000000000000\n";
    static const uint8_t none[32];
    struct ty_err err;
    struct ty_ticket got;
    (void)state;
    assert_int_equal(ty_job_dir_write(dir, "ticket", text, sizeof text - 1, &err), 0);
    assert_int_equal(ty_ticket_read(dir, &got, &err), 0);
    assert_memory_equal(got.retries, none, sizeof none);
    ty_ticket_done(&got);
}

static void what_is_no_ticket(void **state)
{
    static const char *const texts[] = {
        "", "format=1\n", "format=2\njob=00000000-0000-0000-0000-000000000001\n",
        "format=1\njob=00000000-0000-0000-0000-000000000001\nattempt=1\nfence=1\nworker=w\norganization=o\nmodel=m\n"
        "model_version=v\ntoken=0123\n",
        "format=1\njob=nobody\nattempt=1\nfence=1\nworker=w\norganization=o\nmodel=m\nmodel_version=v\n"
        "token=00000000000000000000000000000000\n"};
    struct ty_err err;
    struct ty_ticket got;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(ty_job_dir_write(dir, "ticket", texts[i], strlen(texts[i]), &err), 0);
        assert_int_equal(ty_ticket_read(dir, &got, &err), -TY_EDATALOSS);
    }
}

static void control_is_shared_and_held(void **state)
{
    struct ty_err err;
    struct ty_exec_control *ours, *theirs;
    (void)state;
    assert_int_equal(ty_job_dir_map(dir, false, &ours, &err), -TY_ENOTFOUND);
    assert_int_equal(ty_job_dir_map(dir, true, &ours, &err), 0);
    assert_int_equal(ty_job_dir_map(dir, false, &theirs, &err), 0);
    atomic_store(&ours->stop, (uint32_t)TY_EXEC_STOP_CANCEL);
    assert_int_equal(atomic_load(&theirs->stop), TY_EXEC_STOP_CANCEL);
    ty_job_dir_unmap(theirs);
    ours->format = 99;
    assert_int_equal(ty_job_dir_map(dir, false, &theirs, &err), -TY_EPRECONDITION);
    ty_job_dir_unmap(ours);
    assert_false(ty_job_dir_is_held(dir));
    char *path TY_FREE = ty_xasprintf("%s/control", dir);
    int fd = open(path, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    assert_true(ty_job_dir_is_held(dir));
    close(fd);
    assert_false(ty_job_dir_is_held(dir));
    assert_true(ty_job_dir_forbid_start(dir));
    assert_false(ty_job_dir_forbid_start(dir));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ticket_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ticket_of_the_version_before_retries_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_ticket, setup, teardown),
        cmocka_unit_test_setup_teardown(control_is_shared_and_held, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
