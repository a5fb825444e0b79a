// An end that the store has taken stands when Kafka has it too; until then the worker keeps what it knows. The publisher is
// played by the test: a store that has had one is told so, and the outbox is emptied by hand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <stdio.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Waits for the file "go" of the site; leaves a model.
#define SCRIPT                                                                                     \
    "for a in \"$@\"; do case $a in --model_output_directory=*) out=${a#*=};; --go=*) go=${a#*=};; esac; done\n"          \
    "echo one\necho two\nwhile [ ! -e \"$go\" ]; do sleep 0.02; done\necho three\necho m >\"$out/m\"\n"

static struct site site;
static struct site_worker worker;

static int setup(void **state)
{
    (void)state;
    site_open(&site, 1);
    worker = SITE_WORKER("w1");
    worker.lease_ms = 10000;
    site_add_script(&site, "waits", SCRIPT);
    assert_string_equal(redis_server_ask(site.redis, "HSET {ty:0}:m read 1"), ":1\r\n");
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

static const char *model_of(const struct ty_id *id)
{
    return site_path(&site, "store/models/acme/%s/1/m", text_of(id));
}

static struct ty_id submit(void)
{
    return site_submit(&site, &(struct site_job){.script = "waits", .arguments = {"go", site_path(&site, "go")}});
}

static void go(void)
{
    FILE *file = fopen(site_path(&site, "go"), "w");
    assert_non_null(file);
    fclose(file);
}

static void publish(void)
{
    redis_server_ask(site.redis, "DEL {ty:0}:o");
}

static void assert_whole_log(const struct ty_id *id)
{
    TY_BUF(log);
    bool ended;
    site_log(&site, id, &log, &ended);
    assert_true(ended);
    const char *at = (char *)log.data;
    static const char *const lines[] = {"info one\n", "info two\n", "info three\n"};
    for (size_t i = 0; i < 3; i++) {
        const char *found = strstr(at, lines[i]);
        if (!found || strstr(found + 1, lines[i]))
            fail_msg("not once: %s in:\n%s", lines[i], (char *)log.data);
        at = found;
    }
}

static void the_name_comes_when_kafka_has_the_end(void **state)
{
    (void)state;
    go();
    site_start(&site, &worker);
    struct ty_id id = submit();
    site_wait(&site, &id, TY_JOB_COMPLETED);
    site_wait_word(&site, &worker, "attempt.told");
    // A worker that is started anew still knows that there is something to wait for.
    site_kill(&worker);
    site_start(&site, &worker);
    site_wait_word(&site, &worker, "attempt.adopted");
    assert_int_equal(access(model_of(&id), F_OK), -1);
    publish();
    site_wait_file(&site, model_of(&id));
}

// What the store has on its disk (every answered write is there), as it is now.
static void save(void)
{
    char *command TY_FREE = ty_xasprintf("cp -r %s/appendonlydir %s", redis_server_dir(site.redis), site_path(&site, "saved"));
    assert_int_equal(system(command), 0);
}

static void go_back(void)
{
    const char *dir = redis_server_dir(site.redis);
    char *command TY_FREE =
        ty_xasprintf("rm -r %s/appendonlydir && cp -r %s %s/appendonlydir", dir, site_path(&site, "saved"), dir);
    redis_server_kill(site.redis);
    assert_int_equal(system(command), 0);
    redis_server_start(site.redis);
    // As when the publisher has read the events again, which this store has none of, whether the worker has met it by now or not.
    redis_server_ask(site.redis, "HDEL {ty:0}:m server");
    redis_server_ask(site.redis, "HSET {ty:0}:m replay done");
}

// A publisher reads the events again whenever that is asked for: a worker that has seen a later tick of the lease clock asks once more.
static struct site_view wait_completed(const struct ty_id *id)
{
    struct site_view view;
    SITE_UNTIL(&site, (redis_server_ask(site.redis, "HSET {ty:0}:m replay done"), view = site_view(&site, id), view.state == TY_JOB_COMPLETED));
    return view;
}

// Nothing is claimed for so long that the worker can tell what it has.
static void hold_claims(void)
{
    char *command TY_FREE = ty_xasprintf("HSET {ty:0}:m back_at %" PRIu64 " back_lease 10000000", ty_clock_wall_us());
    redis_server_ask(site.redis, command);
}

static void an_end_is_told_again_to_a_store_that_went_back(void **state)
{
    (void)state;
    site_start(&site, &worker);
    struct ty_id id = submit();
    site_wait_log(&site, &id, "info one\n");
    save();
    go();
    site_wait(&site, &id, TY_JOB_COMPLETED);
    site_wait_word(&site, &worker, "attempt.told");
    go_back();
    struct site_view view = wait_completed(&id);
    assert_int_equal(view.attempt, 1);
    assert_int_equal(view.errors + view.losses, 0);
    site_wait_word(&site, &worker, "attempt.tell_again");
    assert_whole_log(&id);
    assert_int_equal(access(model_of(&id), F_OK), -1);
    publish();
    site_wait_file(&site, model_of(&id));
}

// The store goes back to before the job was claimed, and the worker is started anew besides.
static void an_end_is_told_again_to_a_store_that_never_saw_the_claim(void **state)
{
    (void)state;
    struct ty_id id = submit();
    save();
    site_start(&site, &worker);
    go();
    site_wait(&site, &id, TY_JOB_COMPLETED);
    site_wait_word(&site, &worker, "attempt.told");
    site_kill(&worker);
    redis_server_ask(site.redis, "DEL {ty:0}:o"); // of the store that will be forgotten
    go_back();
    site_wait(&site, &id, TY_JOB_PENDING);
    hold_claims();
    site_start(&site, &worker);
    struct site_view view = wait_completed(&id);
    assert_int_equal(view.attempt, 1);
    assert_whole_log(&id);
    publish();
    site_wait_file(&site, model_of(&id));
}

static void a_drain_does_not_wait_for_kafka_for_long(void **state)
{
    (void)state;
    go();
    site_start(&site, &worker);
    struct ty_id id = submit();
    site_wait(&site, &id, TY_JOB_COMPLETED);
    site_wait_word(&site, &worker, "attempt.told");
    assert_int_equal(site_stop(&site, &worker), 0);
    site_start(&site, &worker);
    publish();
    site_wait_file(&site, model_of(&id));
}

// Jobs go on without Kafka: what only waits for it takes no room, and no file stays open for it.
static void many_ends_that_wait_hold_no_job_up(void **state)
{
    enum { JOBS = 20 }; // one slot has room for two attempts, and 16 that are being told of
    struct ty_id ids[JOBS];
    (void)state;
    go();
    worker.slots = 1;
    for (size_t i = 0; i < JOBS; i++)
        ids[i] = submit();
    site_start(&site, &worker);
    for (size_t i = 0; i < JOBS; i++)
        site_wait(&site, &ids[i], TY_JOB_COMPLETED);
    assert_int_equal(access(model_of(&ids[0]), F_OK), -1);
    char *command TY_FREE = ty_xasprintf("! ls -l /proc/%d/fd | grep -E '/(spool|flushes)$' >&2", (int)worker.pid);
    for (size_t i = 0; i < JOBS; i++) {
        char *told TY_FREE = ty_xasprintf("attempt.told job=%s", text_of(&ids[i]));
        site_wait_word(&site, &worker, told);
    }
    assert_int_equal(system(command), 0);
    publish();
    for (size_t i = 0; i < JOBS; i++)
        site_wait_file(&site, model_of(&ids[i]));
}

int main(int argc, char **argv)
{
    int rc = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (rc >= 0)
        return rc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_name_comes_when_kafka_has_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_is_told_again_to_a_store_that_went_back, setup, teardown),
        cmocka_unit_test_setup_teardown(an_end_is_told_again_to_a_store_that_never_saw_the_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(many_ends_that_wait_hold_no_job_up, setup, teardown),
        cmocka_unit_test_setup_teardown(a_drain_does_not_wait_for_kafka_for_long, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
