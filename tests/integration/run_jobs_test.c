// One worker, real jobs under the real supervisor: every way that a job can end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct site site;
static struct site_worker worker;

static int setup(void **state)
{
    (void)state;
    setenv("SITE_SECRET", "of the worker", 1);
    site_open(&site, 1);
    worker = SITE_WORKER("w1");
    site_start(&site, &worker);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_kill(&worker);
    site_close(&site);
    return 0;
}

static const char *id_text(const struct ty_id *id)
{
    static char text[TY_ID_TEXT_BYTES];
    return ty_id_format(id, text);
}

#define OUT "for a in \"$@\"; do case $a in --model_output_directory=*) out=${a#*=};; --dataset_file=*) data=${a#*=};; esac; done\n"

// The stream of the entry that has this line in the log that was read last.
static char stream_of(const struct ty_buf *log, const char *line)
{
    const char *at = strstr((const char *)log->data, line);
    size_t entry = 0;
    assert_non_null(at);
    for (const char *before = (const char *)log->data; before < at; before++)
        entry += *before == '\n';
    assert_true(entry < site.streams.len);
    return (char)site.streams.data[entry];
}

static void job_completes(void **state)
{
    (void)state;
    site_add_script(&site, "good", OUT
        "printf '%s\\n' \"$@\" | grep -v dataset_file | grep -v output_directory\n"
        "echo \"cwd has $(cat data/1.txt), attempt $TRAINYARD_ATTEMPT\"\n"
        "echo 'WARNING: on stderr' >&2\n"
        "env | cut -d= -f1 | sort | tr '\\n' ' ' >\"$out/environment\"\n"
        "echo model >\"$out/model.onnx\"\n"
        "printf 'no newline'\n");
    struct site_job job = {.script = "good", .arguments = {"num_epochs", "3", "alpha", "it's a \"b\" $c", "labels", "'x y'"}};
    struct ty_id id = site_submit(&site, &job);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    TY_BUF(log);
    bool ended;
    site_log(&site, &id, &log, &ended);
    assert_true(ended);
    assert_string_equal(view.script_version, "1");
    assert_true(view.started_us > 0);
    char *model = ty_xasprintf("acme/%s", id_text(&id));
    assert_string_equal(view.model, model);
    free(model);
    const char *text = (char *)log.data;
    assert_non_null(strstr(text, "info attempt 1 claimed by w1\n"));
    assert_non_null(strstr(text, "--alpha=it's a \"b\" $c\ninfo --labels='x y'\ninfo --num_epochs=3\n"));
    assert_non_null(strstr(text, "cwd has one, attempt 1\n"));
    assert_non_null(strstr(text, "warn WARNING: on stderr\n"));
    assert_non_null(strstr(text, "info no newline\n"));
    assert_non_null(strstr(text, "info attempt 1 completed\n"));
    static const char *const own[] = {"info attempt 1 claimed", "info step prepare", "info step install", "info step train",
                                      "info step collect", "info attempt 1 completed"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        assert_int_equal(stream_of(&log, own[i]), 'w');
    assert_int_equal(stream_of(&log, "warn WARNING: on stderr"), 'e');
    assert_int_equal(stream_of(&log, "info no newline"), 'o');
    site_wait_file(&site, site_path(&site, "store/models/acme/%s/1/model.onnx", id_text(&id)));
    // The directory goes, and nothing of the worker's environment was passed on.
    const char *dir = site_path(&site, "work/w1/jobs/%s-1", id_text(&id));
    SITE_UNTIL(&site, access(dir, F_OK) < 0);
    FILE *file = fopen(site_path(&site, "store/models/acme/%s/1/environment", id_text(&id)), "r");
    char names[1024] = "";
    assert_non_null(fgets(names, sizeof names, file));
    fclose(file);
    assert_null(strstr(names, "SITE_SECRET"));
    assert_non_null(strstr(names, "TRAINYARD_FENCE"));
}

static void script_fails(void **state)
{
    (void)state;
    site_add_script(&site, "fails", "i=0; while [ $i -lt 40 ]; do echo \"line $i\"; i=$((i+1)); done\necho 'ERROR: no luck' >&2; exit 3\n");
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "fails"});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_int_equal(view.attempt, 1);
    assert_non_null(strstr(view.message, "step train exited with code 3\nlast lines of the log:\n"));
    assert_non_null(strstr(view.message, "line 39\n"));
    assert_non_null(strstr(view.message, "ERROR: no luck"));
    assert_null(strstr(view.message, "line 20\n"));
    TY_BUF(log);
    bool ended;
    site_log(&site, &id, &log, &ended);
    assert_true(ended);
    assert_non_null(strstr((char *)log.data, "error attempt 1 failed: step train exited with code 3\n"));
    assert_true(view.started_us > 0);
}

static void empty_output_fails(void **state)
{
    (void)state;
    site_add_script(&site, "empty", "echo nothing to keep\n");
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "empty"});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_EMPTY_OUTPUT);
    assert_non_null(strstr(view.message, "the script left no files in its output directory"));
}

static void cancel_is_kept_to(void **state)
{
    (void)state;
    site_add_script(&site, "stubborn", "trap '' TERM\necho ready\nwhile :; do sleep 1; done\n");
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "stubborn"});
    site_wait_log(&site, &id, "ready");
    assert_int_equal(site_view(&site, &id).state, TY_JOB_IN_PROGRESS);
    site_cancel(&site, &id);
    struct site_view view = site_wait(&site, &id, TY_JOB_CANCELED);
    assert_int_equal(view.reason, TY_REASON_CANCELED);
    assert_int_equal(view.code, 0);
}

static void limits_end_a_job(void **state)
{
    (void)state;
    site_add_script(&site, "slow", "echo started; exec sleep 60\n");
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "slow", .max_runtime_s = 1});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_DEADLINE);
    assert_int_equal(view.code, 4);
    assert_non_null(strstr(view.message, "the maximum run time of 1 s has passed"));
}

static void signals_and_missing_programs(void **state)
{
    (void)state;
    site_add_script(&site, "killed", "kill -SEGV $$\n");
    struct ty_id killed = site_submit(&site, &(struct site_job){.script = "killed"});
    struct ty_id missing = site_submit(&site, &(struct site_job){.script = "killed", .container = "gone"});
    struct ty_id unknown = site_submit(&site, &(struct site_job){.script = "no-such-script"});
    struct site_view view = site_wait(&site, &killed, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_SIGNAL);
    assert_non_null(strstr(view.message, "signal 11"));
    view = site_wait(&site, &missing, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_NOT_EXECUTABLE);
    view = site_wait(&site, &unknown, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_PREPARE_FAILED);
    assert_non_null(strstr(view.message, "no-such-script"));
}

static void real_python_runs(void **state)
{
    (void)state;
    site_add_script(&site, "python",
        "import argparse, os\n"
        "p = argparse.ArgumentParser()\n"
        "p.add_argument('--dataset_file'); p.add_argument('--model_output_directory'); p.add_argument('--num_epochs', type=int)\n"
        "a = p.parse_args()\n"
        "print('lines', sum(1 for _ in open(a.dataset_file)), 'epochs', a.num_epochs)\n"
        "print(open('data/1.txt').read().strip())\n"
        "open(os.path.join(a.model_output_directory, 'model.txt'), 'w').write('m')\n");
    struct site_job job = {.script = "python", .container = "python", .arguments = {"num_epochs", "2"}};
    struct ty_id id = site_submit(&site, &job);
    site_wait(&site, &id, TY_JOB_COMPLETED);
    site_wait_log(&site, &id, "info lines 1 epochs 2\ninfo one\n");
    site_add_script(&site, "raises", "print('before')\nraise ValueError('bad')\n");
    id = site_submit(&site, &(struct site_job){.script = "raises", .container = "python"});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_non_null(strstr(view.message, "ValueError: bad"));
}

static void install_failure_has_its_reason(void **state)
{
    (void)state;
    site_add_script(&site, "bad-setup", "print('never')\n");
    FILE *file = fopen(site_path(&site, "store/scripts/acme/bad-setup/1/setup.py"), "w");
    fputs("raise SystemExit('setup refuses')\n", file);
    fclose(file);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "bad-setup", .container = "python"});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_INSTALL_FAILED);
    assert_non_null(strstr(view.message, "setup refuses"));
    assert_int_equal(view.started_us, 0);
}

static void many_lines_come_once_and_in_order(void **state)
{
    (void)state;
    site_add_script(&site, "lines", OUT "seq 1 100000\necho m >\"$out/m\"\n");
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "lines"});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    TY_BUF(log);
    bool ended;
    site_log(&site, &id, &log, &ended);
    assert_true(ended);
    const char *at = strstr((char *)log.data, "info 1\n");
    assert_non_null(at);
    for (unsigned n = 1; n <= 100000; n++) {
        char line[32];
        int len = snprintf(line, sizeof line, "info %u\n", n);
        if (strncmp(at, line, (size_t)len) != 0)
            fail_msg("line %u is missing: %.40s", n, at);
        at += len;
    }
}

static void first_line_is_seen_soon(void **state)
{
    (void)state;
    site_add_script(&site, "prompt", "printf 'a prompt without an end'\nexec sleep 600\n");
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "prompt"});
    site_wait_stage(&site, &id, TY_STAGE_TRAIN);
    uint64_t before = ty_clock_mono_ms();
    site_wait_log(&site, &id, "a prompt without an end");
    print_message("seen after %d ms\n", (int)(ty_clock_mono_ms() - before)); // a second of quiet, and what the machine is busy with
    site_cancel(&site, &id);
    site_wait(&site, &id, TY_JOB_CANCELED);
}

int main(int argc, char **argv)
{
    int rc = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (rc >= 0)
        return rc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(job_completes, setup, teardown),
        cmocka_unit_test_setup_teardown(script_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_output_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(cancel_is_kept_to, setup, teardown),
        cmocka_unit_test_setup_teardown(limits_end_a_job, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_and_missing_programs, setup, teardown),
        cmocka_unit_test_setup_teardown(real_python_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(install_failure_has_its_reason, setup, teardown),
        cmocka_unit_test_setup_teardown(many_lines_come_once_and_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(first_line_is_seen_soon, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
