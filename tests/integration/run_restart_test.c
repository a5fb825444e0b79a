// Workers and stores that die, stand still, leave and come back while jobs run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/apart.h"
#include "tests/integration/run_site.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT "for a in \"$@\"; do case $a in --model_output_directory=*) out=${a#*=};; esac; done\n"
// Sixty numbered lines within some seconds; in their midst a partial line that stands for longer than a second.
#define TICKS                                                                                      \
    OUT "i=1; while [ $i -le 60 ]; do\n"                                                           \
        "  if [ $i = 20 ]; then printf 'tick '; sleep 1.3; echo 20; else echo \"tick $i\"; fi\n"      \
        "  sleep ${pace:-0.05}; i=$((i+1))\n"                                                               \
        "done\necho m >\"$out/m\"\n"

static struct site site;
static struct site_worker first, second;

static int setup(void **state)
{
    (void)state;
    site_open(&site, 1);
    first = SITE_WORKER("w1");
    second = SITE_WORKER("w2");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_kill(&first);
    site_kill(&second);
    site_close(&site);
    return 0;
}

static char *id_text(const struct ty_id *id)
{
    static char text[TY_ID_TEXT_BYTES];
    ty_id_format(id, text);
    return text;
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static void assert_ticks(const struct ty_id *id)
{
    TY_BUF(log);
    bool ended;
    site_log(&site, id, &log, &ended);
    assert_true(ended);
    const char *at = (char *)log.data;
    for (unsigned i = 1; i <= 60; i++) {
        char line[64];
        snprintf(line, sizeof line, i == 20 ? "info tick \ninfo 20\n" : "info tick %u\n", i);
        const char *found = strstr(at, line);
        if (!found)
            fail_msg("tick %u is missing in:\n%s", i, (char *)log.data);
        at = found + strlen(line);
        if (i != 20 && count_of((char *)log.data, line) != 1)
            fail_msg("tick %u is repeated in:\n%s", i, (char *)log.data);
    }
}

static void restarted_worker_goes_on(void **state)
{
    (void)state;
    site_add_script(&site, "ticks", TICKS);
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "ticks"});
    site_wait_log(&site, &id, "info tick 5\n");
    site_wait_stage(&site, &id, TY_STAGE_TRAIN);
    site_kill(&first);
    site_start(&site, &first);
    TY_BUF(log);
    do {
        assert_int_equal(site_view(&site, &id).stage, TY_STAGE_TRAIN);
        site_log(&site, &id, &log, NULL);
    } while (!strstr((char *)log.data, "info tick \n"));
    site_kill(&first);
    site_start(&site, &first);
    site_wait_log(&site, &id, "info tick 40\n");
    site_kill(&first);
    site_start(&site, &first);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 1);
    assert_int_equal(view.errors + view.losses, 0);
    assert_ticks(&id);
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

// Killed at every fifteenth line that jobs of different pace print together: in the midst of starting, shipping, telling, linking.
static void restless_worker_loses_nothing(void **state)
{
    (void)state;
    enum { JOBS = 8, LINES = JOBS * 60 };
    struct ty_id ids[JOBS];
    char *witness TY_FREE = ty_xstrdup(site_path(&site, "witness"));
    site_add_script(&site, "ticks", "for a in \"$@\"; do case $a in --witness=*) witness=${a#*=};; --pace=*) pace=${a#*=};; esac; done\n"
                                    "echo() { command echo \"$@\"; command echo x >>\"$witness\"; }\n" TICKS);
    first.slots = JOBS;
    first.lease_ms = 10000;
    for (size_t i = 0; i < JOBS; i++) {
        char pace[16];
        snprintf(pace, sizeof pace, "0.0%zu", i + 1);
        ids[i] = site_submit(&site, &(struct site_job){.script = "ticks", .arguments = {"witness", witness, "pace", pace}});
    }
    for (size_t lines = 15; lines < LINES; lines += 15) {
        site_start(&site, &first);
        SITE_UNTIL(&site, lines_of(witness) >= lines);
        site_kill(&first);
    }
    site_start(&site, &first);
    for (size_t i = 0; i < JOBS; i++) {
        struct site_view view = site_wait(&site, &ids[i], TY_JOB_COMPLETED);
        assert_int_equal(view.errors, 0);
        assert_true(view.attempt >= 1 + view.losses); // killed between its claim and its start: handed back, and no loss
        if (view.attempt == 1)
            assert_ticks(&ids[i]);
        site_wait_file(&site, site_path(&site, "store/models/acme/%s/1/m", id_text(&ids[i])));
    }
}

static void end_during_absence_is_told(void **state)
{
    (void)state;
    site_add_script(&site, "ticks", TICKS);
    first.lease_ms = 30000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "ticks"});
    site_wait_log(&site, &id, "info tick 5\n");
    site_kill(&first);
    site_wait_file(&site, site_path(&site, "work/w1/jobs/%s-1/exit", id_text(&id)));
    assert_int_equal(site_view(&site, &id).state, TY_JOB_IN_PROGRESS);
    site_start(&site, &first);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 1);
    assert_ticks(&id);
    site_wait_file(&site, site_path(&site, "store/models/acme/%s/1/m", id_text(&id)));
}

static void exit_text(const struct ty_id *id, char text[512])
{
    const char *path = site_path(&site, "work/w1/jobs/%s-1/exit", id_text(id));
    site_wait_file(&site, path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, 511, file)] = 0;
    fclose(file);
}

static void lost_worker_is_replaced(void **state)
{
    (void)state;
    site_add_script(&site, "twice", OUT "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT = 1 ] && exec sleep 600\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice", .stop_on_lost_lease = true});
    site_wait_log(&site, &id, "info this is 1\n");
    site_wait_stage(&site, &id, TY_STAGE_TRAIN); // the store knows that it began: only then is it a loss
    uint64_t fence = site_view(&site, &id).fence;
    site_kill(&first);
    site_start(&site, &second);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.losses, 1);
    assert_true(view.fence > fence);
    assert_string_equal(view.worker, "w2");
    // The first one's supervisor holds its lease alone.
    char text[512];
    exit_text(&id, text);
    assert_non_null(strstr(text, "outcome=lost\n"));
    // Its worker, back again, has nothing to say.
    site_start(&site, &first);
    const char *dir = site_path(&site, "work/w1/jobs/%s-1", id_text(&id));
    SITE_UNTIL(&site, access(dir, F_OK) < 0);
    assert_int_equal(site_view(&site, &id).state, TY_JOB_COMPLETED);
}

static void paused_worker_writes_nothing(void **state)
{
    (void)state;
    site_add_script(&site, "twice", OUT "echo \"this is $TRAINYARD_ATTEMPT\"\nif [ $TRAINYARD_ATTEMPT = 1 ]; then while :; do echo again; sleep 0.1; done; fi\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice"});
    site_wait_log(&site, &id, "info this is 1\n");
    site_pause(&first);
    site_start(&site, &second);
    site_wait(&site, &id, TY_JOB_COMPLETED);
    TY_BUF(before);
    TY_BUF(after);
    site_log(&site, &id, &before, NULL);
    site_resume(&first);
    const char *dir = site_path(&site, "work/w1/jobs/%s-1", id_text(&id));
    SITE_UNTIL(&site, access(dir, F_OK) < 0);
    site_log(&site, &id, &after, NULL);
    // But for one line that says how many came too late.
    char *said = strstr(ty_buf_text(&after), "warn attempt 1 was taken from its worker here; ");
    assert_non_null(said);
    assert_non_null(strstr(said, "came later and are left out\n"));
    memmove(said, strchr(said, '\n') + 1, strlen(strchr(said, '\n')));
    assert_string_equal((char *)before.data, (char *)after.data);
    assert_int_equal(site_view(&site, &id).attempt, 2);
}

static void store_outage_is_outlived(void **state)
{
    (void)state;
    site_add_script(&site, "ticks", "touch \"$HOME/begun\"\n" TICKS);
    first.lease_ms = 1000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "ticks"});
    site_wait_log(&site, &id, "info tick 3\n");
    redis_server_stop(site.redis);
    // The whole rest of the job, three leases long, passes without a store.
    site_wait_file(&site, site_path(&site, "work/w1/jobs/%s-1/exit", id_text(&id)));
    redis_server_start(site.redis);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 1);
    assert_ticks(&id);
}

// The job asked for it, the worker lives, and there is no store: the supervisor stops the job when its lease is over.
static void store_outage_stops_who_asked_for_it(void **state)
{
    (void)state;
    site_add_script(&site, "twice", OUT "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT = 1 ] && exec sleep 600\necho m >\"$out/m\"\n");
    first.lease_ms = 1000;
    first.keep_job_dirs = true;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice", .stop_on_lost_lease = true});
    site_wait_log(&site, &id, "info this is 1\n");
    site_wait_stage(&site, &id, TY_STAGE_TRAIN);
    redis_server_stop(site.redis);
    char text[512];
    exit_text(&id, text);
    assert_non_null(strstr(text, "outcome=lost\n"));
    assert_non_null(strstr(text, "lease passed"));
    redis_server_start(site.redis);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.losses, 1);
    assert_int_equal(view.errors, 0);
}

static void emptied_store_gets_its_job_back(void **state)
{
    (void)state;
    const struct site_job job = {.script = "ticks"};
    site_add_script(&site, "ticks", TICKS);
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &job);
    site_wait_log(&site, &id, "info tick 3\n");
    redis_server_kill(site.redis);
    char *wipe TY_FREE = ty_xasprintf("cd '%s' && rm -rf appendonlydir *.aof *.rdb", redis_server_dir(site.redis));
    assert_int_equal(system(wipe), 0);
    SITE_UNTIL(&site, !site.up);
    redis_server_start(site.redis);
    // The intake replays the command.
    assert_false(site_view(&site, &id).is_there);
    site_submit_as(&site, &job, &id);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 1);
    assert_ticks(&id);
}

static void drain_hands_back(void **state)
{
    (void)state;
    site_add_script(&site, "twice", OUT "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT = 1 ] && exec sleep 600\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice"});
    site_wait_log(&site, &id, "info this is 1\n");
    assert_int_equal(site_stop(&site, &first), 0);
    struct site_view view = site_view(&site, &id);
    assert_int_equal(view.state, TY_JOB_PENDING);
    assert_int_equal(view.errors + view.losses, 0);
    site_start(&site, &second);
    view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 2);
    site_wait_log(&site, &id, "info attempt 1 was handed back to the queue: the worker is stopping\n");
}

static void drain_waits_for_jobs(void **state)
{
    (void)state;
    site_add_script(&site, "ticks", TICKS);
    first.drain_ms = 60000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "ticks"});
    site_wait_log(&site, &id, "info tick 3\n");
    assert_int_equal(site_stop(&site, &first), 0);
    assert_int_equal(site_view(&site, &id).state, TY_JOB_COMPLETED);
    assert_ticks(&id);
}

static void work_dir_has_one_worker(void **state)
{
    (void)state;
    struct site_worker other = SITE_WORKER("w1");
    site_start(&site, &first);
    site_wait_file(&site, site_path(&site, "work/w1/jobs"));
    site_start(&site, &other);
    assert_int_equal(site_join(&site, &other), 1);
}

static void missing_link_is_repaired(void **state)
{
    (void)state;
    site_add_script(&site, "ticks", TICKS);
    first.keep_job_dirs = true;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "ticks"});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    const char *link = site_path(&site, "store/models/acme/%s/1", id_text(&id));
    const char *told = site_path(&site, "work/w1/jobs/%s-1/told", id_text(&id));
    site_wait_file(&site, told);
    site_kill(&first);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(unlink(told), 0);
    site_start(&site, &first);
    site_wait_file(&site, told);
    assert_int_equal(access(link, F_OK), 0);
    assert_ticks(&id);
}

static int supervisor_of(const struct ty_id *id)
{
    int pid = 0;
    char line[128];
    FILE *file = fopen(site_path(&site, "work/w1/jobs/%s-1/status", id_text(id)), "r");
    while (!pid && fgets(line, sizeof line, file))
        if (sscanf(line, "pid=%d", &pid) != 1)
            pid = 0;
    fclose(file);
    assert_true(pid > 1);
    return pid;
}

// A zombie that nobody reaps is not.
static bool is_alive(int pid)
{
    char state = 'X', path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    if (file)
        fclose(file);
    return state != 'X' && state != 'Z';
}

// Its step's own process goes with it, and what that has started, also in a session of its own, is ended by the worker.
static void dead_supervisor_is_a_loss(void **state)
{
    (void)state;
    site_add_script(&site, "twice",
                    OUT "if [ $TRAINYARD_ATTEMPT = 1 ]; then (trap '' TERM HUP; setsid sleep 600 & echo $! >\"$HOME/../../../stray\"; sleep 600) & fi\n"
                        "while [ $TRAINYARD_ATTEMPT = 1 ] && [ ! -s \"$HOME/../../../stray\" ]; do sleep 0.1; done\n"
                        "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT = 1 ] && exec sleep 600\necho m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice"});
    site_wait_log(&site, &id, "info this is 1\n");
    site_wait_stage(&site, &id, TY_STAGE_TRAIN);
    int stray = 0;
    FILE *file = fopen(site_path(&site, "work/w1/stray"), "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &stray), 1);
    fclose(file);
    assert_true(is_alive(stray));
    kill(supervisor_of(&id), SIGKILL);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.errors, 0);
    assert_int_equal(view.losses, 1);
    SITE_UNTIL(&site, !is_alive(stray));
}

// What a worker leaves that was killed between its claim and the start of the supervisor.
static void unstarted_attempt_is_handed_back(void **state)
{
    (void)state;
    site_add_script(&site, "twice", OUT "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT = 1 ] && exec sleep 600\necho m >\"$out/m\"\n");
    first.lease_ms = 30000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice"});
    site_wait_log(&site, &id, "info this is 1\n");
    int pid = supervisor_of(&id);
    site_kill(&first);
    kill(pid, SIGKILL);
    SITE_UNTIL(&site, kill(pid, 0) < 0);
    static const char *const files[] = {"control", "spool", "status"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(unlink(site_path(&site, "work/w1/jobs/%s-1/%s", id_text(&id), files[i])), 0);
    site_start(&site, &first);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.errors + view.losses, 0);
}

static void second_drain_does_not_wait(void **state)
{
    (void)state;
    site_add_script(&site, "sleeps", "echo here; exec sleep 600\n");
    first.drain_ms = 600000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "sleeps"});
    site_wait_log(&site, &id, "info here\n");
    kill(first.pid, SIGTERM);
    site_wait_word(&site, &first, "run.draining");
    struct ty_id other = site_submit(&site, &(struct site_job){.script = "sleeps"});
    assert_int_equal(site_stop(&site, &first), 0);
    assert_int_equal(site_view(&site, &id).state, TY_JOB_PENDING);
    assert_int_equal(site_view(&site, &other).attempt, 0); // what came during the drain stays in the queue
}

static void touch(const struct ty_id *id, const char *name)
{
    FILE *file = fopen(site_path(&site, "work/w1/jobs/%s-1/home/%s", id_text(id), name), "w");
    assert_non_null(file);
    fclose(file);
}

static void full_store_takes_the_end(void **state)
{
    (void)state;
    site_add_script(&site, "fails", "echo here\nwhile [ ! -e \"$HOME/go\" ]; do sleep 0.1; done\necho more; exit 3\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "fails"});
    site_wait_log(&site, &id, "info here\n");
    redis_server_ask(site.redis, "CONFIG SET maxmemory 1");
    touch(&id, "go");
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_non_null(strstr(view.message, "exited with code 3 (log incomplete: the store did not take its last "));
    assert_non_null(strstr(view.message, "more"));
}

// The store refuses the log before the job says its last words, which are read from the disk for the error all the same.
static void full_store_leaves_the_last_words(void **state)
{
    (void)state;
    site_add_script(&site, "fails",
                    "echo here\nwhile [ ! -e \"$HOME/go\" ]; do sleep 0.1; done\necho refused\n"
                    "while [ ! -e \"$HOME/end\" ]; do sleep 0.1; done\n"
                    "i=0; while [ $i -lt 20000 ]; do echo \"line $i of what nobody takes\"; i=$((i + 1)); done\necho last words; exit 3\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "fails"});
    site_wait_log(&site, &id, "info here\n");
    redis_server_ask(site.redis, "CONFIG SET maxmemory 1");
    touch(&id, "go");
    site_wait_word(&site, &first, "log.refused");
    touch(&id, "end");
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_non_null(strstr(view.message, "(log incomplete: the store did not take its last 2000"));
    assert_non_null(strstr(view.message, "last words"));
}

// A job that completed is none the less said to lack some of its log.
static void full_store_takes_a_completion(void **state)
{
    (void)state;
    site_add_script(&site, "prints", OUT "echo here\nwhile [ ! -e \"$HOME/go\" ]; do sleep 0.1; done\necho more; echo m >\"$out/m\"\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "prints"});
    site_wait_log(&site, &id, "info here\n");
    redis_server_ask(site.redis, "CONFIG SET maxmemory 1");
    touch(&id, "go");
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.code, 0);
    assert_non_null(strstr(view.message, "log incomplete: the store did not take its last "));
}

static void deleted_job_is_stopped(void **state)
{
    (void)state;
    site_add_script(&site, "sleeps", "echo here; exec sleep 600\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "sleeps"});
    site_wait_log(&site, &id, "info here\n");
    site_delete(&site, &id);
    SITE_UNTIL(&site, !site_view(&site, &id).is_there);
    const char *dir = site_path(&site, "work/w1/jobs/%s-1", id_text(&id));
    SITE_UNTIL(&site, access(dir, F_OK) < 0);
}

static void missing_store_is_tried_again(void **state)
{
    (void)state;
    site_add_script(&site, "ticks", TICKS);
    site_start(&site, &first);
    site_wait_file(&site, site_path(&site, "work/w1/jobs"));
    assert_int_equal(rename(site_path(&site, "store"), site_path(&site, "away")), 0);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "ticks", .max_attempts = 2});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_PREPARE_FAILED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.errors, 2);
    assert_int_equal(view.code, 14);
    assert_int_equal(rename(site_path(&site, "away"), site_path(&site, "store")), 0);
}

int main(int argc, char **argv)
{
    int rc = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (rc >= 0)
        return rc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(restarted_worker_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(restless_worker_loses_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(end_during_absence_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_worker_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(paused_worker_writes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(store_outage_is_outlived, setup, teardown),
        cmocka_unit_test_setup_teardown(store_outage_stops_who_asked_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(emptied_store_gets_its_job_back, setup, teardown),
        cmocka_unit_test_setup_teardown(drain_hands_back, setup, teardown),
        cmocka_unit_test_setup_teardown(drain_waits_for_jobs, setup, teardown),
        cmocka_unit_test_setup_teardown(work_dir_has_one_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_link_is_repaired, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_supervisor_is_a_loss, setup, teardown),
        cmocka_unit_test_setup_teardown(unstarted_attempt_is_handed_back, setup, teardown),
        cmocka_unit_test_setup_teardown(second_drain_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(full_store_takes_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(full_store_leaves_the_last_words, setup, teardown),
        cmocka_unit_test_setup_teardown(full_store_takes_a_completion, setup, teardown),
        cmocka_unit_test_setup_teardown(deleted_job_is_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(missing_store_is_tried_again, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return apart_run("workers come and go", tests, NULL, NULL);
}
