// What a worker removes that nobody wants any more, and what it leaves. Files and jobs are made old; no time passes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/integration/apart.h"
#include "tests/integration/run_site.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR_S 3600

static struct site site;
static struct site_worker worker;

static int setup(void **state)
{
    (void)state;
    site_open(&site, 1);
    worker = SITE_WORKER("w1");
    worker.sweep_ms = 20;
    site_add_script(&site, "leaves",
                    "for a in \"$@\"; do case $a in --model_output_directory=*) echo m >\"${a#*=}/m\";; esac; done\n");
    site_add_script(&site, "waits",
                    "for a in \"$@\"; do case $a in --go=*) go=${a#*=};; --model_output_directory=*) out=${a#*=};; esac; done\n"
                    "while [ ! -e \"$go\" ]; do sleep 0.02; done\necho m >\"$out/m\"\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_kill(&worker);
    site_close(&site);
    return 0;
}

static const char *text_of(const struct ty_id *id)
{
    static char text[TY_ID_TEXT_BYTES];
    return ty_id_format(id, text);
}

static void make_old(const char *path, int hours)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)(ty_clock_wall_us() / 1000000) - hours * HOUR_S}};
    if (utimensat(AT_FDCWD, path, times, 0) < 0)
        fail_msg("%s", path);
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void wait_gone(const char *path)
{
    SITE_UNTIL(&site, !is_there(path));
}

// ---- directories ----

static const char *orphan(const char *name)
{
    const char *dir = site_path(&site, "work/w1/jobs/%s", name);
    if (mkdir(dir, 0700) < 0)
        fail_msg("%s", dir);
    return dir;
}

static void directories_that_nobody_has_are_removed(void **state)
{
    (void)state;
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "waits", .arguments = {"go", site_path(&site, "go")}});
    site_start(&site, &worker);
    site_wait_stage(&site, &id, TY_STAGE_TRAIN);
    const char *running = site_path(&site, "work/w1/jobs/%s-1", text_of(&id));
    const char *held = orphan("held"), *young = orphan("young"), *old = orphan("old");
    int lock = open(site_path(&site, "work/w1/jobs/held/control"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(lock >= 0 && flock(lock, LOCK_EX) == 0);
    make_old(running, 30);
    make_old(held, 30);
    make_old(young, 20);
    make_old(old, 30); // the last one: all were looked at when it is gone
    wait_gone(old);
    assert_true(is_there(running));
    assert_true(is_there(held));
    assert_true(is_there(young));
    close(lock);
    wait_gone(held);
    // The job whose directory is as old goes on.
    FILE *go = fopen(site_path(&site, "go"), "w");
    assert_non_null(go);
    fclose(go);
    site_wait(&site, &id, TY_JOB_COMPLETED);
}

static void kept_directories_are_kept_for_so_long(void **state)
{
    (void)state;
    worker.keep_job_dirs = true;
    worker.job_dirs_ms = 2 * HOUR_S * 1000;
    struct ty_id first = site_submit(&site, &(struct site_job){.script = "leaves"});
    struct ty_id second = site_submit(&site, &(struct site_job){.script = "leaves"});
    const char *old = site_path(&site, "work/w1/jobs/%s-1/told", text_of(&first));
    const char *young = site_path(&site, "work/w1/jobs/%s-1/told", text_of(&second));
    site_start(&site, &worker);
    site_wait_file(&site, old);
    site_wait_file(&site, young);
    make_old(young, 1);
    make_old(old, 3);
    wait_gone(old);
    assert_true(is_there(young));
}

// ---- stages ----

static const char *stage_path(const struct ty_id *id, uint64_t fence, bool is_half)
{
    return site_path(&site, "store/models/.staged/%s%s-%llu%s", is_half ? "." : "", text_of(id), (unsigned long long)fence,
                     is_half ? ".partial" : "");
}

static const char *make_stage(const struct ty_id *id, uint64_t fence, bool is_half)
{
    const char *path = stage_path(id, fence, is_half);
    if (mkdir(path, 0755) < 0)
        fail_msg("%s", path);
    make_old(path, 100);
    return path;
}

// A job that has made its model, which has its name.
static struct ty_id job_with_model(void)
{
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "leaves"});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    site_wait_file(&site, site_path(&site, "store/models/acme/%s/1/m", text_of(&id)));
    uint64_t fence = site_view(&site, &id).fence;
    make_old(stage_path(&id, fence, false), 100);
    make_old(site_path(&site, "store/models/.staged/%s-%llu.manifest.json", text_of(&id), (unsigned long long)fence), 100);
    return id;
}

static void stages_of_no_use_are_removed(void **state)
{
    (void)state;
    site_start(&site, &worker);
    struct ty_id done = job_with_model(), unknown = ty_id_new();
    uint64_t fence = site_view(&site, &done).fence;
    struct ty_id runs = site_submit(&site, &(struct site_job){.script = "waits", .arguments = {"go", site_path(&site, "go")}});
    site_wait_stage(&site, &runs, TY_STAGE_TRAIN);
    site_kill(&worker);
    const char *of_the_lost = make_stage(&done, fence - 1, false), *half = make_stage(&done, fence - 2, true);
    const char *half_of_unknown = make_stage(&unknown, 5, true), *whole_of_unknown = make_stage(&unknown, 6, false);
    const char *of_the_running = make_stage(&runs, 5, false), *half_of_the_running = make_stage(&runs, 6, true);
    const char *young = make_stage(&done, fence - 3, false);
    make_old(young, 47);
    worker.name = "w2"; // another one than whose it was
    worker.stage_look_ms = 100;
    site_start(&site, &worker);
    wait_gone(of_the_lost);
    wait_gone(half);
    wait_gone(half_of_unknown);
    site_wait_word(&site, &worker, "kind=partial age_h=100");
    assert_true(is_there(whole_of_unknown));
    assert_true(is_there(of_the_running));
    assert_true(is_there(half_of_the_running));
    assert_true(is_there(young));
    assert_true(is_there(site_path(&site, "store/models/acme/%s/1/m", text_of(&done))));
}

static void models_go_when_their_job_is_gone_and_they_are_old(void **state)
{
    (void)state;
    site_start(&site, &worker);
    struct ty_id stays = job_with_model(), old = job_with_model(), young = job_with_model(), unknown = ty_id_new();
    uint64_t young_fence = site_view(&site, &young).fence, old_fence = site_view(&site, &old).fence;
    site_kill(&worker);
    make_old(stage_path(&young, young_fence, false), 49);
    site_delete(&site, &old);
    site_delete(&site, &young);
    const char *never_named = make_stage(&unknown, 6, false);
    worker.model_retention_ms = 72 * HOUR_S * 1000;
    worker.stage_look_ms = 100;
    site_start(&site, &worker);
    wait_gone(stage_path(&old, old_fence, false));
    wait_gone(never_named);
    wait_gone(site_path(&site, "store/models/acme/%s/1", text_of(&old)));
    assert_true(is_there(site_path(&site, "store/models/acme/%s/1/m", text_of(&stays))));
    assert_true(is_there(site_path(&site, "store/models/acme/%s/1/m", text_of(&young))));
}

// As after a store that went back: their workers are gone, and there are more of them than one look takes.
static void many_models_without_a_name_get_theirs(void **state)
{
    enum { JOBS = 32 };
    (void)state;
    struct ty_id ids[JOBS];
    assert_string_equal(redis_server_ask(site.redis, "HSET {ty:0}:m read 1"), ":1\r\n"); // there is a publisher, which has nothing yet
    for (size_t i = 0; i < JOBS; i++)
        ids[i] = site_submit(&site, &(struct site_job){.script = "leaves"});
    site_start(&site, &worker);
    for (size_t i = 0; i < JOBS; i++)
        site_wait(&site, &ids[i], TY_JOB_COMPLETED);
    site_kill(&worker);
    for (size_t i = 0; i < JOBS; i++)
        assert_false(is_there(site_path(&site, "store/models/acme/%s/1", text_of(&ids[i]))));
    redis_server_ask(site.redis, "DEL {ty:0}:o"); // Kafka has all of it
    redis_server_ask(site.redis, "EVAL \"for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 1, id) end\""
                                 " 1 {ty:0}:u");
    worker.name = "w2";
    site_start(&site, &worker);
    for (size_t i = 0; i < JOBS; i++)
        site_wait_file(&site, site_path(&site, "store/models/acme/%s/1/m", text_of(&ids[i])));
}

// ---- jobs ----

static void jobs_that_ended_long_ago_leave_the_store(void **state)
{
    (void)state;
    worker.job_retention_ms = 1;
    struct ty_id ids[3];
    assert_string_equal(redis_server_ask(site.redis, "HSET {ty:0}:m read 1"), ":1\r\n"); // there is a publisher
    for (size_t i = 0; i < 3; i++)
        ids[i] = site_submit(&site, &(struct site_job){.script = "leaves"});
    site_start(&site, &worker);
    for (size_t i = 0; i < 3; i++)
        site_wait(&site, &ids[i], TY_JOB_COMPLETED);
    site_wait_word(&site, &worker, "attempt.told");
    redis_server_ask(site.redis, "DEL {ty:0}:o"); // Kafka has it
    for (size_t i = 0; i < 3; i++)
        site_wait_file(&site, site_path(&site, "store/models/acme/%s/1/m", text_of(&ids[i])));
    SITE_UNTIL(&site, !strcmp(redis_server_ask(site.redis, "ZCARD {ty:0}:u"), ":0\r\n"));
    // They may have been looked at before they were ready to go, which puts them off for an hour.
    redis_server_ask(site.redis, "DEL {ty:0}:e");
    redis_server_ask(site.redis, "HDEL {ty:0}:m looked_over sweep_at");
    for (size_t i = 0; i < 3; i++)
        SITE_UNTIL(&site, !site_view(&site, &ids[i]).is_there);
    site_wait_word(&site, &worker, "jobs.retired count=");
    for (size_t i = 0; i < 3; i++)
        assert_true(is_there(site_path(&site, "store/models/acme/%s/1/m", text_of(&ids[i]))));
}

int main(int argc, char **argv)
{
    int rc = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (rc >= 0)
        return rc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(directories_that_nobody_has_are_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(kept_directories_are_kept_for_so_long, setup, teardown),
        cmocka_unit_test_setup_teardown(stages_of_no_use_are_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(models_go_when_their_job_is_gone_and_they_are_old, setup, teardown),
        cmocka_unit_test_setup_teardown(many_models_without_a_name_get_theirs, setup, teardown),
        cmocka_unit_test_setup_teardown(jobs_that_ended_long_ago_leave_the_store, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return apart_run("what is swept away", tests, NULL, NULL);
}
