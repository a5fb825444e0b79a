// trainyard-stage on real files: scripts of every shape and ill will, data sets, and models that come whole or not at all.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/stage_run.h"

#define SETUP {'f', "setup.py", "# setup"}
#define TRAINING {'f', "model/training.py", "# training"}
#define END {0, NULL, NULL}
#define JOB_PATH "jobs/" STAGE_JOB "-1"

static void require_said(const struct stage_run *run, const char *what)
{
    if (!strstr(run->said, what))
        fail_msg("\"%s\" is not in: %s", what, run->said);
    const char *newline = strchr(run->said, '\n');
    if (!newline || newline[1])
        fail_msg("not one line: %s", run->said);
}

// ---- prepare ----

static void good_scripts_are_brought_in(void **state)
{
    static const struct stage_entry flat[] = {SETUP, TRAINING, {'d', "model/data", NULL}, {'s', "model/link.py", "training.py"},
                                              {'h', "model/hard.py", "model/training.py"}, END};
    static const struct stage_entry nested[] = {{'d', "digits-1.0", NULL}, {'f', "digits-1.0/pyproject.toml", "[project]"},
                                                {'f', "digits-1.0/model/training.py", "# training"}, END};
    static const struct stage_entry dotted[] = {{'d', "./", NULL}, {'f', "./setup.py", "# setup"},
                                                {'f', "./model/training.py", "# training"}, END};
    const struct stage_entry *const cases[] = {flat, nested, dotted};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct stage_run run;
        stage_run_init(&run);
        stage_run_archive(&run, cases[i]);
        if (STAGE(&run, "prepare", "--script-version", "1.0") != 0)
            fail_msg("case %zu: %s", i, run.said);
        assert_string_equal(stage_run_read(&run, JOB_PATH "/script/model/training.py"), "# training");
        const char *prepared = stage_run_read(&run, JOB_PATH "/prepared");
        assert_non_null(prepared);
        assert_non_null(strstr(prepared, "script_version=1.0\n"));
        assert_non_null(strstr(prepared, "script_digest=sha256:"));
        assert_non_null(strstr(prepared, "dataset_lines=2\n"));
        assert_non_null(strstr(prepared, "/store/datasets/digits/dataset.jsonl\n"));
        if (i == 0) {
            assert_string_equal(stage_run_read(&run, JOB_PATH "/script/model/link.py"), "# training");
            assert_string_equal(stage_run_read(&run, JOB_PATH "/script/model/hard.py"), "# training");
        }
        stage_run_done(&run);
    }
}

static void bad_archives_are_refused_and_touch_nothing(void **state)
{
    static const struct {
        struct stage_entry entries[5];
        const char *says;
    } cases[] = {
        {{{'f', "../outside", "x"}, SETUP, TRAINING, END}, "\"../outside\""},
        {{{'f', "a/../../outside", "x"}, SETUP, TRAINING, END}, "a/../../outside"},
        {{{'f', "/tmp/ty-absolute", "x"}, SETUP, TRAINING, END}, "/tmp/ty-absolute"},
        {{{'s', "out", "../../outside"}, SETUP, TRAINING, END}, "\"out\""},
        {{{'s', "out", "/etc/passwd"}, SETUP, TRAINING, END}, "\"out\""},
        {{{'s', "dir", ".."}, {'f', "dir/outside", "x"}, SETUP, TRAINING, END}, "dir"},
        {{{'h', "hard", "/etc/passwd"}, SETUP, TRAINING, END}, "\"hard\""},
        {{{'h', "hard", "../outside"}, SETUP, TRAINING, END}, "\"hard\""},
        {{{'s', "nowhere", "no-such-file"}, SETUP, TRAINING, END}, "\"nowhere\""},
        {{{'s', "a", "b"}, {'s', "b", "a"}, SETUP, TRAINING, END}, "\"a\""},
        {{{'c', "null", NULL}, SETUP, TRAINING, END}, "\"null\""},
        {{{'p', "pipe", NULL}, SETUP, TRAINING, END}, "\"pipe\""},
        {{TRAINING, END}, "setup.py or pyproject.toml"},
        {{SETUP, END}, "model/training.py"},
        {{{'d', "model/training.py", NULL}, SETUP, END}, "model/training.py"},
        {{END}, "script digits:trainer 1.0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage_run run;
        stage_run_init(&run);
        stage_run_archive(&run, cases[i].entries);
        int code = STAGE(&run, "prepare", "--script-version", "1.0");
        if (code != 1)
            fail_msg("case %zu: exit code %d: %s", i, code, run.said);
        require_said(&run, cases[i].says);
        require_said(&run, "script digits:trainer 1.0");
        assert_string_equal(stage_run_read(&run, "outside"), "secret");
        assert_int_equal(access("/tmp/ty-absolute", F_OK), -1);
        assert_false(stage_run_exists(&run, JOB_PATH "/prepared"));
        stage_run_done(&run);
    }
}

static void bytes_that_are_no_archive(void **state)
{
    static const struct stage_entry good[] = {SETUP, TRAINING, END};
    struct stage_run run;
    char path[256];
    (void)state;
    stage_run_init(&run);
    stage_run_write(&run, "store/scripts/digits/trainer/1.0.tar.gz", "this is no archive");
    assert_int_equal(STAGE(&run, "prepare"), 1);
    require_said(&run, "cannot be read");
    stage_run_write(&run, "store/scripts/digits/trainer/1.0.tar.gz", "");
    assert_int_equal(STAGE(&run, "prepare"), 1);
    stage_run_archive(&run, good);
    snprintf(path, sizeof path, "%s/scripts/digits/trainer/1.0.tar.gz", run.store);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size - 20), 0);
    assert_int_equal(STAGE(&run, "prepare"), 1);
    require_said(&run, "script digits:trainer 1.0");
    stage_run_done(&run);
}

static void versions_are_found_in_natural_order(void **state)
{
    struct stage_run run;
    (void)state;
    stage_run_init(&run);
    for (int i = 8; i <= 11; i++) {
        char path[96];
        snprintf(path, sizeof path, "store/scripts/digits/trainer/1.%d/setup.py", i);
        stage_run_write(&run, path, "# setup");
        snprintf(path, sizeof path, "store/scripts/digits/trainer/1.%d/model/training.py", i);
        stage_run_write(&run, path, "# training");
    }
    assert_int_equal(STAGE(&run, "prepare"), 0);
    assert_non_null(strstr(stage_run_read(&run, JOB_PATH "/prepared"), "script_version=1.11\n"));
    // Again, as after a restart of the step, into what is there already.
    assert_int_equal(STAGE(&run, "prepare", "--script-version", "1.8"), 0);
    assert_non_null(strstr(stage_run_read(&run, JOB_PATH "/prepared"), "script_version=1.8\n"));
    assert_int_equal(STAGE(&run, "prepare", "--script-version", "2"), 1);
    require_said(&run, "not in the store");
    assert_int_equal(STAGE(&run, "prepare", "--script-version", "../1.8"), 1);
    assert_int_equal(STAGE(&run, "prepare", "--script", "nobody:knows"), 1);
    require_said(&run, "script nobody:knows");
    assert_int_equal(STAGE(&run, "prepare", "--script", "../..:x"), 1);
    assert_int_equal(STAGE(&run, "prepare", "--script", "nocolon"), 1);
    require_said(&run, "PREFIX:NAME");
    stage_run_done(&run);
}

static void data_sets_are_checked_line_by_line(void **state)
{
    static const struct {
        const char *text, *says; // NULL: good
    } cases[] = {
        {"{}\n", NULL},
        {"{}\n\n  \n{\"a\": [1, 2]}", NULL},
        {"{}\r\n{}\r\n", NULL},
        {"", "dataset.jsonl: the data set is empty"},
        {"\n\n", "dataset.jsonl: the data set is empty"},
        {"{}\n{]\n", "dataset.jsonl:2: not a JSON object"},
        {"{}\n\n\n[1]\n", "dataset.jsonl:4: not a JSON object but an array"},
        {"\"text\"\n", "dataset.jsonl:1: not a JSON object but a string"},
        {"{} {}\n", "dataset.jsonl:1: not a JSON object"},
        {"{\"a\": 1", "dataset.jsonl:1: not a JSON object"},
        {"{\"a\": \"\xff\"}\n", "dataset.jsonl:1: not a JSON object"},
        {"image,label\n", "dataset.jsonl:1: not a JSON object"},
    };
    struct stage_run run;
    (void)state;
    stage_run_init(&run);
    stage_run_archive(&run, (const struct stage_entry[]){SETUP, TRAINING, END});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stage_run_write(&run, "store/datasets/digits/dataset.jsonl", cases[i].text);
        int code = STAGE(&run, "prepare");
        if (code != (cases[i].says ? 1 : 0))
            fail_msg("case %zu: exit code %d: %s", i, code, run.said);
        if (cases[i].says)
            require_said(&run, cases[i].says);
    }
    assert_int_equal(STAGE(&run, "prepare", "--dataset", "none"), 1);
    require_said(&run, "datasets/none/dataset.jsonl: there is no such data set in the store");
    assert_int_equal(STAGE(&run, "prepare", "--dataset", ".."), 1);
    assert_int_equal(STAGE(&run, "prepare", "--dataset", "a/b"), 1);
    stage_run_done(&run);
}

static void a_store_that_is_away_is_worth_another_attempt(void **state)
{
    struct stage_run run;
    (void)state;
    stage_run_init(&run);
    assert_int_equal(STAGE(&run, "prepare", "--store", "/no/such/store"), 3);
    assert_int_equal(STAGE(&run, "collect", "--store", "/no/such/store"), 3);
    assert_int_equal(STAGE(&run, "link", "--store", "/no/such/store"), 3);
    assert_int_equal(STAGE(&run, "prepare", "--job-dir", "/no/such/dir"), 3);
    assert_int_equal(STAGE(&run, "prepare", "--unknown", "x"), 2);
    assert_int_equal(STAGE(&run, "prepare", "extra"), 2);
    stage_run_done(&run);
}

// ---- collect and link ----

#define STAGED "store/models/.staged/" STAGE_JOB "-7"

static void a_model_is_staged_whole_and_then_named(void **state)
{
    struct stage_run run;
    (void)state;
    stage_run_init(&run);
    stage_run_write(&run, JOB_PATH "/output/model.onnx", "weights");
    stage_run_write(&run, JOB_PATH "/output/deep/labels.txt", "0\n1\n");
    stage_run_write(&run, JOB_PATH "/output/tmp/scratch", "not a part of it");
    char target[256], link_path[256];
    snprintf(link_path, sizeof link_path, "%s/output/latest", run.job_dir);
    assert_int_equal(symlink("model.onnx", link_path), 0);
    snprintf(link_path, sizeof link_path, "%s/output/dangling", run.job_dir);
    assert_int_equal(symlink("nothing", link_path), 0);
    snprintf(link_path, sizeof link_path, "%s/output/pipe", run.job_dir);
    assert_int_equal(mkfifo(link_path, 0600), 0);
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_string_equal(stage_run_read(&run, STAGED "/model.onnx"), "weights");
    assert_string_equal(stage_run_read(&run, STAGED "/latest"), "weights"); // a copy
    assert_null(stage_run_link(&run, STAGED "/latest"));
    assert_string_equal(stage_run_read(&run, STAGED "/deep/labels.txt"), "0\n1\n");
    assert_false(stage_run_exists(&run, STAGED "/tmp"));
    assert_false(stage_run_exists(&run, STAGED "/dangling"));
    assert_false(stage_run_exists(&run, STAGED "/pipe"));
    const char *manifest = stage_run_read(&run, STAGED ".manifest.json");
    assert_non_null(manifest);
    assert_non_null(strstr(manifest, "deep/labels.txt"));
    const char *collected = stage_run_read(&run, JOB_PATH "/collected");
    assert_non_null(strstr(collected, "stage=.staged/" STAGE_JOB "-7\n"));
    assert_non_null(strstr(collected, "files=3\n"));
    assert_non_null(strstr(collected, "bytes=18\n"));
    char command[512], digest[80];
    snprintf(command, sizeof command,
             "cd %s/models/.staged/" STAGE_JOB "-7 && find . -type f -printf '%%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | "
             "sha256sum", run.store);
    FILE *pipe = popen(command, "re");
    assert_non_null(fgets(digest, sizeof digest, pipe));
    pclose(pipe);
    digest[64] = 0;
    assert_non_null(strstr(stage_run_read(&run, JOB_PATH "/collected"), digest));
    // Nothing has a public name yet.
    assert_false(stage_run_exists(&run, "store/models/acme/digits/1"));
    assert_int_equal(STAGE(&run, "link"), 0);
    assert_string_equal(stage_run_read(&run, "store/models/acme/digits/1/model.onnx"), "weights");
    snprintf(target, sizeof target, "%s", stage_run_link(&run, "store/models/acme/digits/1"));
    assert_int_not_equal(target[0], '/'); // relative: the store may be mounted elsewhere
    assert_int_equal(STAGE(&run, "link"), 0); // already so
    stage_run_done(&run);
}

static void a_name_belongs_to_the_job_that_had_it_first(void **state)
{
    struct stage_run run;
    char other_dir[256];
    (void)state;
    stage_run_init(&run);
    stage_run_archive(&run, (const struct stage_entry[]){SETUP, TRAINING, END});
    stage_run_write(&run, JOB_PATH "/output/model.onnx", "first");
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_int_equal(STAGE(&run, "link"), 0);
    // Another job with the same model name and version: refused before it trains, and when it would be linked.
    stage_run_write(&run, "jobs/" STAGE_OTHER_JOB "-1/output/model.onnx", "second");
    snprintf(other_dir, sizeof other_dir, "%s/jobs/" STAGE_OTHER_JOB "-1", run.root);
    assert_int_equal(STAGE(&run, "prepare", "--job-dir", other_dir), 1);
    require_said(&run, "already taken by job " STAGE_JOB);
    assert_int_equal(STAGE(&run, "collect", "--job-dir", other_dir, "--job", STAGE_OTHER_JOB), 0);
    assert_int_equal(STAGE(&run, "link", "--stage", ".staged/" STAGE_OTHER_JOB "-7"), 1);
    require_said(&run, "already taken by job " STAGE_JOB);
    assert_string_equal(stage_run_read(&run, "store/models/acme/digits/1/model.onnx"), "first");
    // Another version is free, and a later attempt of the same job takes its place.
    assert_int_equal(STAGE(&run, "link", "--stage", ".staged/" STAGE_OTHER_JOB "-7", "--model-version", "2"), 0);
    stage_run_write(&run, JOB_PATH "/output/model.onnx", "better");
    assert_int_equal(STAGE(&run, "prepare"), 0);
    assert_int_equal(STAGE(&run, "collect", "--fence", "9"), 0);
    assert_int_equal(STAGE(&run, "link", "--stage", ".staged/" STAGE_JOB "-9"), 0);
    assert_string_equal(stage_run_read(&run, "store/models/acme/digits/1/model.onnx"), "better");
    // A folder that no job put there stays.
    stage_run_write(&run, "store/models/acme/digits/3/model.onnx", "by hand");
    assert_int_equal(STAGE(&run, "link", "--model-version", "3"), 1);
    assert_string_equal(stage_run_read(&run, "store/models/acme/digits/3/model.onnx"), "by hand");
    stage_run_done(&run);
}

static pid_t link_in_background(struct stage_run *run, const char *stage)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(STAGE(run, "link", "--stage", stage));
    return pid;
}

static void of_many_that_link_at_once_one_job_wins(void **state)
{
    enum { ROUNDS = 10, EACH = 4 };
    static const char *const stages[] = {".staged/" STAGE_JOB "-7", ".staged/" STAGE_OTHER_JOB "-7"};
    struct stage_run run;
    char other_dir[256];
    (void)state;
    stage_run_init(&run);
    stage_run_write(&run, JOB_PATH "/output/job", STAGE_JOB);
    stage_run_write(&run, "jobs/" STAGE_OTHER_JOB "-1/output/job", STAGE_OTHER_JOB);
    snprintf(other_dir, sizeof other_dir, "%s/jobs/" STAGE_OTHER_JOB "-1", run.root);
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_int_equal(STAGE(&run, "collect", "--job-dir", other_dir, "--job", STAGE_OTHER_JOB), 0);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[2 * EACH];
        char public_name[256];
        int codes[2][2] = {{0}}; // of each job: done, refused
        for (int i = 0; i < 2 * EACH; i++)
            pids[i] = link_in_background(&run, stages[i % 2]);
        for (int i = 0; i < 2 * EACH; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
            codes[i % 2][WEXITSTATUS(status)]++;
        }
        // Every call of one job is done and every one of the other refused, and the name says which.
        int winner = codes[0][0] ? 0 : 1;
        assert_int_equal(codes[winner][0], EACH);
        assert_int_equal(codes[!winner][1], EACH);
        assert_string_equal(stage_run_read(&run, "store/models/acme/digits/1/job"), winner ? STAGE_OTHER_JOB : STAGE_JOB);
        snprintf(public_name, sizeof public_name, "%s/models/acme/digits/1", run.store);
        assert_int_equal(unlink(public_name), 0);
    }
    stage_run_done(&run);
}

static void outputs_that_make_no_model(void **state)
{
    struct stage_run run;
    char path[256];
    (void)state;
    stage_run_init(&run);
    assert_int_equal(STAGE(&run, "collect"), 1);
    require_said(&run, "the script left no files in its output directory");
    stage_run_write(&run, JOB_PATH "/output/tmp/scratch", "x");
    assert_int_equal(STAGE(&run, "collect"), 1);
    require_said(&run, "the script left no files in its output directory");
    stage_run_write(&run, JOB_PATH "/output/model.onnx", "weights");
    snprintf(path, sizeof path, "%s/output/leak", run.job_dir);
    assert_int_equal(symlink("../../../outside", path), 0);
    assert_int_equal(STAGE(&run, "collect"), 1);
    require_said(&run, "output/leak is a link that leads out");
    assert_false(stage_run_exists(&run, STAGED));
    assert_false(stage_run_exists(&run, JOB_PATH "/collected"));
    unlink(path);
    snprintf(path, sizeof path, "%s/output/bad\nname", run.job_dir);
    FILE *file = fopen(path, "we");
    fclose(file);
    assert_int_equal(STAGE(&run, "collect"), 1);
    require_said(&run, "control character");
    unlink(path);
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_int_equal(STAGE(&run, "link", "--stage", ".staged/../../outside"), 1);
    assert_int_equal(STAGE(&run, "link", "--stage", ".staged/" STAGE_JOB "-8"), 1);
    require_said(&run, "no such stage");
    assert_int_equal(STAGE(&run, "link", "--model", "../evil"), 1);
    assert_int_equal(STAGE(&run, "link", "--organization", ".staged"), 1);
    stage_run_done(&run);
}

static void a_collect_that_was_cut_off_is_done_again(void **state)
{
    struct stage_run run;
    (void)state;
    stage_run_init(&run);
    stage_run_write(&run, JOB_PATH "/output/model.onnx", "weights");
    assert_int_equal(STAGE(&run, "collect"), 0);
    // The worker did not learn of it and has the step run once more.
    stage_run_write(&run, JOB_PATH "/output/model.onnx", "weights");
    assert_int_equal(STAGE(&run, "collect"), 0);
    assert_string_equal(stage_run_read(&run, STAGED "/model.onnx"), "weights");
    assert_int_equal(STAGE(&run, "link"), 0);
    stage_run_done(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_scripts_are_brought_in),
        cmocka_unit_test(bad_archives_are_refused_and_touch_nothing),
        cmocka_unit_test(bytes_that_are_no_archive),
        cmocka_unit_test(versions_are_found_in_natural_order),
        cmocka_unit_test(data_sets_are_checked_line_by_line),
        cmocka_unit_test(a_store_that_is_away_is_worth_another_attempt),
        cmocka_unit_test(a_model_is_staged_whole_and_then_named),
        cmocka_unit_test(a_name_belongs_to_the_job_that_had_it_first),
        cmocka_unit_test(of_many_that_link_at_once_one_job_wins),
        cmocka_unit_test(outputs_that_make_no_model),
        cmocka_unit_test(a_collect_that_was_cut_off_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
