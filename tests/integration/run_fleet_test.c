// Several workers, several shards, and the runner null.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT "for a in \"$@\"; do case $a in --model_output_directory=*) out=${a#*=};; --witness=*) witness=${a#*=};; esac; done\n"

static struct site site;
static struct site_worker first, second;

static int teardown(void **state)
{
    (void)state;
    site_kill(&first);
    site_kill(&second);
    site_close(&site);
    return 0;
}

static int open_with(unsigned shards)
{
    site_open(&site, shards);
    first = SITE_WORKER("w1");
    second = SITE_WORKER("w2");
    first.shards = second.shards = shards;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return open_with(1);
}

static int setup_shards(void **state)
{
    (void)state;
    return open_with(4);
}

static size_t lines_of(const char *path)
{
    size_t lines = 0;
    FILE *file = fopen(path, "r");
    for (int c; file && (c = fgetc(file)) != EOF;)
        lines += c == '\n';
    if (file)
        fclose(file);
    return lines;
}

static void every_job_runs_once(void **state)
{
    (void)state;
    enum { JOBS = 24 };
    struct ty_id ids[JOBS];
    const char *witness = site_path(&site, "witness");
    unsigned by_first = 0;
    site_add_script(&site, "short", OUT "echo \"$TRAINYARD_JOB_ID\" >>\"$witness\"\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    site_start(&site, &second);
    for (size_t i = 0; i < JOBS; i++)
        ids[i] = site_submit(&site, &(struct site_job){.script = "short", .arguments = {"witness", witness}});
    for (size_t i = 0; i < JOBS; i++) {
        struct site_view view = site_wait(&site, &ids[i], TY_JOB_COMPLETED);
        assert_int_equal(view.attempt, 1);
        by_first += !strcmp(view.worker, "w1");
    }
    assert_int_equal(lines_of(witness), JOBS);
    assert_true(by_first > 0 && by_first < JOBS);
}

// The built trainyard-worker, killed in the midst of a job, started again, and drained.
static void the_program_does_the_same(void **state)
{
    (void)state;
    site_add_script(&site, "waits", OUT "echo here\nwhile [ ! -e \"$witness\" ]; do sleep 0.05; done\necho m >\"$out/m\"\n");
    const char *witness = site_path(&site, "witness");
    first.program = TY_BINARY_DIR "/bin/trainyard-worker";
    first.drain_ms = 60000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "waits", .arguments = {"witness", witness}});
    site_wait_log(&site, &id, "info here\n");
    site_kill(&first);
    site_start(&site, &first);
    site_wait_word(&site, &first, "attempt.adopted");
    kill(first.pid, SIGTERM);
    site_wait_word(&site, &first, "run.draining");
    fclose(fopen(witness, "w"));
    assert_int_equal(site_join(&site, &first), 0);
    struct site_view view = site_view(&site, &id);
    assert_int_equal(view.state, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 1);
}

static size_t completed(unsigned shards)
{
    size_t sum = 0;
    for (unsigned shard = 0; shard < shards; shard++)
        sum += site_count(&site, shard, TY_JOB_COMPLETED);
    return sum;
}

static void null_jobs_complete(void **state)
{
    (void)state;
    first.null_slots = 100;
    second.null_slots = 1000;
    site_submit_null(&site, 900);
    site_start(&site, &first);
    SITE_UNTIL(&site, completed(4) > 0);
    site_kill(&first);
    site_start(&site, &second);
    SITE_UNTIL(&site, completed(4) == 900);
    assert_int_equal(site_stop(&site, &second), 0);
}

static void null_jobs_outlive_the_store(void **state)
{
    (void)state;
    first.null_slots = 50;
    site_submit_null(&site, 900);
    site_start(&site, &first);
    SITE_UNTIL(&site, completed(1) > 0);
    redis_server_stop(site.redis);
    redis_server_start(site.redis);
    SITE_UNTIL(&site, site.up);
    SITE_UNTIL(&site, completed(1) == 900);
    assert_int_equal(site_stop(&site, &first), 0);
}

static long ask_number(const char *line)
{
    const char *reply = redis_server_ask(site.redis, line);
    if (*reply != ':')
        fail_msg("%s: %s", line, reply);
    return strtol(reply + 1, NULL, 10);
}

// The store is found to have gone back at a moment at which jobs are claimed and not ended.
#define LOSE_TRUST "EVAL \"local n = redis.call('ZCARD', '{ty:0}:s:2:acme') if n > 0 then redis.call('HSET', '{ty:0}:m', 'replay', 'needed') "  \
                   "redis.call('SLOWLOG', 'RESET') end return n\" 0"
// Calls of finish since then, by their action.
#define TOLD "EVAL \"local n = 0 for _, e in ipairs(redis.call('SLOWLOG', 'GET', -1)) do if e[4][11] == 'C' then n = n + 1 end end return n\" 0"

// While the store is brought back from Kafka no end is taken: it is told again until it is.
static void null_jobs_are_told_again(void **state)
{
    enum { JOBS = 500 };
    long submitted = 0, running = 0;
    (void)state;
    first.null_slots = 50;
    first.lease_ms = 120000; // no job comes back by itself
    redis_server_ask(site.redis, "HSET {ty:0}:m read 1");
    redis_server_ask(site.redis, "CONFIG SET slowlog-log-slower-than 0");
    redis_server_ask(site.redis, "CONFIG SET slowlog-max-len 10000");
    site_start(&site, &first);
    for (uint64_t until = ty_clock_mono_ms() + SITE_WAIT_MS; !running; running = ask_number(LOSE_TRUST)) {
        if (ask_number("ZCARD {ty:0}:s:1:acme") == 0) {
            site_submit_null(&site, JOBS);
            submitted += JOBS;
        }
        site_turn(&site, until, "a job is claimed and not ended");
    }
    SITE_UNTIL(&site, ask_number(TOLD) >= 3);
    assert_int_equal(ask_number("ZCARD {ty:0}:s:2:acme"), running);
    redis_server_trust(site.redis, 1);
    SITE_UNTIL(&site, ask_number("ZCARD {ty:0}:s:3:acme") == submitted);
    assert_int_equal(site_stop(&site, &first), 0);
}

int main(int argc, char **argv)
{
    int rc = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (rc >= 0)
        return rc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_job_runs_once, setup, teardown),
        cmocka_unit_test_setup_teardown(every_job_runs_once, setup_shards, teardown),
        cmocka_unit_test_setup_teardown(the_program_does_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(null_jobs_complete, setup_shards, teardown),
        cmocka_unit_test_setup_teardown(null_jobs_outlive_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(null_jobs_are_told_again, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
