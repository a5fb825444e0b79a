// trainyard-stage on what attempts have left behind in the staging area.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/integration/stage_run.h"

#define STAGED "store/models/.staged/"
#define PUBLIC "store/models/acme/digits/1"
#define OUTPUT "jobs/" STAGE_JOB "-1/output/m"
#define DAY_S 86400

static struct stage_run run;

static void make_old(const char *path, int days)
{
    char whole[512];
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - days * DAY_S}};
    snprintf(whole, sizeof whole, "%s/%s", run.root, path);
    if (utimensat(AT_FDCWD, whole, times, AT_SYMLINK_NOFOLLOW) < 0)
        fail_msg("%s", path);
}

static void make_all_old(const char *name, int days)
{
    char path[256];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, STAGED "%s%s", name, i ? ".manifest.json" : "");
        make_old(path, days);
    }
}

static void assert_lists(const char *const *options, const char *const *lines)
{
    assert_int_equal(stage_run_verb(&run, "stale", options), 0);
    char *at = run.said;
    for (; *lines; lines++) {
        char kind[16], name[128];
        unsigned long age_s;
        int len = 0;
        if (sscanf(at, "%15s %lu %127s%n", kind, &age_s, name, &len) != 3)
            fail_msg("%s is missing in: %s", *lines, run.said);
        at += len;
        char line[256];
        snprintf(line, sizeof line, "%s %lu %s", kind, age_s / DAY_S, name);
        assert_string_equal(line, *lines);
    }
    assert_string_equal(*at ? at + 1 : at, "");
}
#define OPTIONS(...) (const char *const[]){__VA_ARGS__, NULL}
#define LINES(...) (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL}

static void what_is_old_is_listed_by_kind(void **state)
{
    (void)state;
    assert_lists(OPTIONS("--older-than-s", "0"), LINES()); // no model was made here yet
    stage_run_write(&run, OUTPUT, "m");
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_int_equal(STAGE(&run, "collect", "--fence", "8"), 0);
    assert_int_equal(STAGE(&run, "link"), 0);
    stage_run_write(&run, STAGED "." STAGE_OTHER_JOB "-3.partial/m", "half");
    stage_run_write(&run, STAGED STAGE_OTHER_JOB "-4.manifest.json", "{}"); // of a stage that never came
    stage_run_write(&run, STAGED "notes.txt", "not of Trainyard");
    stage_run_write(&run, STAGED "1f0e0d0c-no-id/m", "neither");
    make_all_old(STAGE_JOB "-7", 5);
    make_all_old(STAGE_JOB "-8", 6);
    make_old(STAGED "." STAGE_OTHER_JOB "-3.partial", 3);
    make_old(STAGED STAGE_OTHER_JOB "-4.manifest.json", 3);
    assert_lists(OPTIONS("--older-than-s", "172800"),
                 LINES("stage 6 " STAGE_JOB "-8", "partial 3 " STAGE_OTHER_JOB "-3", "partial 3 " STAGE_OTHER_JOB "-4"));
    assert_lists(OPTIONS("--older-than-s", "345600"), LINES("stage 6 " STAGE_JOB "-8"));
    assert_lists(OPTIONS("--older-than-s", "345600", "--models-older-than-s", "345600"),
                 LINES("model 5 " STAGE_JOB "-7", "stage 6 " STAGE_JOB "-8"));
    assert_lists(OPTIONS("--older-than-s", "345600", "--models-older-than-s", "604800"), LINES("stage 6 " STAGE_JOB "-8"));
    assert_lists(OPTIONS("--older-than-s", "172800", "--after", STAGE_OTHER_JOB "-3"), LINES("partial 3 " STAGE_OTHER_JOB "-4"));
    // The youngest of what belongs together counts.
    make_old(STAGED STAGE_JOB "-8.manifest.json", 1);
    assert_lists(OPTIONS("--older-than-s", "345600"), LINES());
    assert_int_equal(STAGE(&run, "stale", "--older-than-s", "soon"), 1);
    assert_non_null(strstr(run.said, "--older-than-s: \"soon\" is not a number"));
}

static void a_stage_goes_with_all_that_is_of_it(void **state)
{
    (void)state;
    stage_run_write(&run, OUTPUT, "m");
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_int_equal(STAGE(&run, "collect", "--fence", "8"), 0);
    assert_int_equal(STAGE(&run, "link"), 0);
    stage_run_write(&run, STAGED "." STAGE_JOB "-8.partial/m", "half");
    assert_int_equal(STAGE(&run, "discard", "--stage", ".staged/" STAGE_JOB "-8"), 0);
    assert_false(stage_run_exists(&run, STAGED STAGE_JOB "-8"));
    assert_false(stage_run_exists(&run, STAGED STAGE_JOB "-8.manifest.json"));
    assert_false(stage_run_exists(&run, STAGED "." STAGE_JOB "-8.partial"));
    assert_string_equal(stage_run_read(&run, PUBLIC "/m"), "m"); // the other one's
    assert_int_equal(STAGE(&run, "discard", "--stage", ".staged/" STAGE_JOB "-8"), 0); // once more
    assert_int_equal(STAGE(&run, "discard", "--stage", ".staged/" STAGE_JOB "-7"), 0);
    assert_null(stage_run_link(&run, PUBLIC));
    assert_false(stage_run_exists(&run, STAGED STAGE_JOB "-7"));
    assert_false(stage_run_exists(&run, STAGED STAGE_JOB "-7.manifest.json"));
    // The name is free again.
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_int_equal(STAGE(&run, "link"), 0);
}

static void nothing_else_can_be_named(void **state)
{
    static const char *const names[] = {"", ".staged", ".staged/", ".staged/..", ".staged/../..", "acme", ".staged/notes.txt",
                                        ".staged/" STAGE_JOB, ".staged/" STAGE_JOB "-7/m", ".staged/" STAGE_JOB "-7x",
                                        ".staged/" STAGE_JOB "-7.manifest.json", ".staged/." STAGE_JOB "-7"};
    (void)state;
    stage_run_write(&run, OUTPUT, "m");
    assert_int_equal(STAGE(&run, "collect"), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (STAGE(&run, "discard", "--stage", names[i]) != 1)
            fail_msg("\"%s\" is taken: %s", names[i], run.said);
        assert_non_null(strstr(run.said, "is not .staged/JOB-FENCE"));
    }
    assert_string_equal(stage_run_read(&run, STAGED STAGE_JOB "-7/m"), "m");
}

static int set_up(void **state)
{
    (void)state;
    stage_run_init(&run);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_run_done(&run);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_old_is_listed_by_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stage_goes_with_all_that_is_of_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_else_can_be_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
