// What a script tells of its progress, from its pipe to the store: while it runs, over restarts of its worker, to its end, and away with
// the job; and that only who has the attempt can tell.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/integration/run_site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/wire.h"
#include "trainyard/v1/job_service.pb-c.h"

#define OUT "for a in \"$@\"; do case $a in --model_output_directory=*) out=${a#*=};; esac; done\n"

typedef Trainyard__V1__JobProgress Progress;

static struct site site;
static struct site_worker worker;

static int setup(void **state)
{
    (void)state;
    site_open(&site, 1);
    worker = SITE_WORKER("w1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    site_kill(&worker);
    site_close(&site);
    return 0;
}

// ---- what the store has ----

struct asked {
    bool done;
    enum ty_code code;
    Progress *progress; // NULL: none
};

static void on_got(void *context, const struct ty_err *err, const void *bytes, size_t len)
{
    struct asked *asked = context;
    ProtobufCMessage *message = NULL;
    struct ty_err bad;
    asked->done = true;
    if (!err && bytes && ty_wire_unpack(&trainyard__v1__job_progress__descriptor, bytes, len, &message, &bad) < 0)
        fail_msg("%s", bad.message);
    asked->progress = (Progress *)message;
}

static Progress *progress_of(const struct ty_id *id)
{
    struct asked asked = {0};
    ty_state_progress_get(site.state, id, on_got, &asked);
    SITE_UNTIL(&site, asked.done);
    return asked.progress;
}

static void free_progress(Progress *progress)
{
    if (progress)
        trainyard__v1__job_progress__free_unpacked(progress, NULL);
}

static bool is_at(const struct ty_id *id, uint64_t step)
{
    Progress *progress = progress_of(id);
    bool is = progress && progress->step == step;
    free_progress(progress);
    return is;
}

static void touch(const struct ty_id *id, const char *name)
{
    char text[TY_ID_TEXT_BYTES];
    FILE *file = fopen(site_path(&site, "work/w1/jobs/%s-1/home/%s", ty_id_format(id, text), name), "w");
    assert_non_null(file);
    fclose(file);
}

// ---- the tests ----

static void progress_is_seen_while_a_job_runs_and_over_restarts(void **state)
{
    char hex[33], line[64], *at = hex;
    (void)state;
    site_add_script(&site, "steps", OUT
                    "tell() { echo 'INFO:root:{\"trainyard\": {\"step\": '$1', \"steps\": 4, \"metrics\": {\"loss\": 0.'$1'}}}' >&2; }\n"
                    "wait_for() { while [ ! -e \"$HOME/$1\" ]; do sleep 0.02; done; }\n"
                    "tell 1\nwait_for two\ntell 2\nwait_for three\ntell 3\ntell 4\necho m >\"$out/m\"\n");
    site_start(&site, &worker);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "steps"});
    SITE_UNTIL(&site, is_at(&id, 1));
    site_kill(&worker);
    touch(&id, "two");
    // The store loses it; who reads the output again from its start makes it again, the first line too.
    for (size_t i = 0; i < sizeof id.bytes; i++)
        at += sprintf(at, "%02x", id.bytes[i]);
    snprintf(line, sizeof line, "DEL {%s}:l:p", hex);
    redis_server_ask(site.redis, line);
    site_start(&site, &worker);
    SITE_UNTIL(&site, is_at(&id, 2));
    Progress *progress = progress_of(&id);
    assert_true(progress->fraction == 0.5 && progress->_fraction_case);
    assert_int_equal(progress->attempt, 1);
    assert_int_equal(progress->n_metrics, 1);
    assert_string_equal(progress->metrics[0]->name, "loss");
    assert_int_equal(progress->metrics[0]->n_values, 2);
    assert_true(progress->metrics[0]->values[0] == 0.1 && progress->metrics[0]->steps[1] == 2);
    free_progress(progress);
    // What was told a moment before the end is there with the end.
    touch(&id, "three");
    site_wait(&site, &id, TY_JOB_COMPLETED);
    progress = progress_of(&id);
    assert_non_null(progress);
    assert_true(progress->step == 4 && progress->fraction == 1 && progress->lines == 4);
    assert_true(progress->metrics[0]->value == 0.4 && progress->metrics[0]->count == 4);
    free_progress(progress);
    site_delete(&site, &id);
    SITE_UNTIL(&site, !(progress = progress_of(&id)));
}

static void each_attempt_begins_anew(void **state)
{
    (void)state;
    site_add_script(&site, "twice", OUT
                    "echo '{\"trainyard\": {\"metrics\": {\"attempt\": '$TRAINYARD_ATTEMPT'}}}'\n"
                    "[ $TRAINYARD_ATTEMPT = 2 ] || exit 3\necho m >\"$out/m\"\n");
    Trainyard__V1__RetryPolicy retry = TRAINYARD__V1__RETRY_POLICY__INIT;
    retry.on_error = true;
    retry.base_ms = retry.max_ms = 1;
    site_start(&site, &worker);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "twice", .retry = &retry});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    Progress *progress = progress_of(&id);
    assert_non_null(progress);
    assert_int_equal(progress->attempt, 2);
    assert_true(progress->metrics[0]->count == 1 && progress->metrics[0]->value == 2);
    free_progress(progress);
}

// Only the step that is the script's own tells: a package may print what it likes while it is installed.
static void who_tells_nothing_has_none(void **state)
{
    (void)state;
    site_add_script(&site, "quiet", OUT "echo '{\"train\": {\"step\": 1}}'\necho m >\"$out/m\"\n");
    site_start(&site, &worker);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "quiet"});
    site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_null(progress_of(&id));
}

static void on_put(void *context, const struct ty_err *err)
{
    struct asked *asked = context;
    asked->done = true;
    asked->code = err ? err->code : TY_OK;
}

static enum ty_code put(const struct ty_id *id, const struct ty_token *token)
{
    static const uint8_t bytes[] = {0x20, 1}; // step 1
    struct asked asked = {0};
    ty_state_progress_put(site.state, id, token, bytes, sizeof bytes, on_put, &asked);
    SITE_UNTIL(&site, asked.done);
    return asked.code;
}

static void on_opened(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    bool *done = context;
    (void)place;
    if (err)
        fail_msg("%s", err->message);
    *done = true;
}

static void open_log(const struct ty_id *id, uint32_t attempt, const struct ty_token *token)
{
    bool done = false;
    ty_state_log_open(site.state, id, attempt, attempt, token, 0, on_opened, &done);
    SITE_UNTIL(&site, done);
}

static void only_who_has_the_attempt_may_tell(void **state)
{
    struct ty_id id = ty_id_new();
    struct ty_token first = ty_token_new(), second = ty_token_new();
    (void)state;
    assert_int_equal(put(&id, &first), TY_ENOTFOUND);
    open_log(&id, 1, &first);
    assert_int_equal(put(&id, &second), TY_EABORTED);
    assert_null(progress_of(&id));
    assert_int_equal(put(&id, &first), TY_OK);
    assert_true(is_at(&id, 1));
    open_log(&id, 2, &second);
    assert_int_equal(put(&id, &first), TY_EABORTED);
    assert_int_equal(put(&id, &second), TY_OK);
}

int main(int argc, char **argv)
{
    int status = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (status >= 0)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(progress_is_seen_while_a_job_runs_and_over_restarts, setup, teardown),
        cmocka_unit_test_setup_teardown(each_attempt_begins_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(who_tells_nothing_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(only_who_has_the_attempt_may_tell, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
