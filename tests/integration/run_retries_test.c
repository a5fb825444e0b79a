// Failed attempts and what follows: real jobs under real supervisors and workers that are killed.
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
// Exits with the code of its argument twice, then makes a model.
#define THIRD OUT "for a in \"$@\"; do case $a in --code=*) code=${a#*=};; esac; done\n"                                   \
    "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT -lt 3 ] && exit $code\necho m >\"$out/m\"\n"

static struct site site;
static struct site_worker first, second;
static Trainyard__V1__RetryPolicy policy;

static int setup(void **state)
{
    (void)state;
    site_open(&site, 1);
    first = SITE_WORKER("w1");
    second = SITE_WORKER("w2");
    first.lease_ms = second.lease_ms = 1000;
    first.max_losses = second.max_losses = 3;
    first.retry_base_ms = second.retry_base_ms = first.retry_max_ms = second.retry_max_ms = 50;
    trainyard__v1__retry_policy__init(&policy);
    site_add_script(&site, "third", THIRD);
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

static const char *id_text(const struct ty_id *id)
{
    static char text[TY_ID_TEXT_BYTES];
    return ty_id_format(id, text);
}

static struct ty_id submit(const char *code)
{
    return site_submit(&site, &(struct site_job){.script = "third", .arguments = {"code", code}, .retry = &policy});
}

static void a_script_that_fails_twice_completes_with_the_third_attempt(void **state)
{
    TY_BUF(log);
    bool ended;
    (void)state;
    policy.on_error = true;
    site_start(&site, &first);
    struct ty_id id = submit("3");
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 3);
    assert_int_equal(view.errors, 2);
    assert_int_equal(view.losses, 0);
    assert_int_equal(view.code, 0);
    site_log(&site, &id, &log, &ended);
    assert_true(ended);
    for (int attempt = 1; attempt <= 2; attempt++) {
        char line[160];
        snprintf(line, sizeof line, "error attempt %d ended with an error, and is tried again if an attempt is left: "
                                    "step train exited with code 3\n", attempt);
        assert_non_null(strstr((char *)log.data, line));
    }
    assert_non_null(strstr((char *)log.data, "info attempt 1 claimed by w1\n"));
    assert_non_null(strstr((char *)log.data, "info attempt 2 claimed by w1, after the one before it: script_exit\n"));
    assert_non_null(strstr((char *)log.data, "info attempt 3 completed\n"));
}

static void without_a_policy_the_first_failure_is_the_end(void **state)
{
    (void)state;
    site_start(&site, &first);
    struct ty_id id = submit("3");
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.attempt, 1);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
}

static void an_exit_code_that_is_not_to_be_retried_fails_at_once(void **state)
{
    uint32_t codes[] = {2, 64};
    (void)state;
    policy.on_error = true;
    policy.no_retry_exit_codes = codes;
    policy.n_no_retry_exit_codes = 2;
    site_start(&site, &first);
    struct ty_id refused = submit("64"), tried = submit("65");
    struct site_view view = site_wait(&site, &refused, TY_JOB_FAILED);
    assert_int_equal(view.attempt, 1);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_non_null(strstr(view.message, "exited with code 64"));
    assert_int_equal(site_wait(&site, &tried, TY_JOB_COMPLETED).attempt, 3);
}

static void only_the_listed_exit_codes_are_retried(void **state)
{
    uint32_t codes[] = {75};
    (void)state;
    policy.exit_codes = codes;
    policy.n_exit_codes = 1;
    site_start(&site, &first);
    struct ty_id listed = submit("75"), other = submit("76");
    assert_int_equal(site_wait(&site, &other, TY_JOB_FAILED).attempt, 1);
    assert_int_equal(site_wait(&site, &listed, TY_JOB_COMPLETED).attempt, 3);
}

static void the_last_error_stands_when_no_attempt_is_left(void **state)
{
    (void)state;
    policy.on_error = true;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "third", .arguments = {"code", "9"}, .max_attempts = 2,
                                                            .retry = &policy});
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_non_null(strstr(view.message, "step train exited with code 9 (in attempt 2, and none is left)\nlast lines of the log:\nthis is 2"));
}

// The job's own back-off outranks the worker's; a cancel does not wait for it.
static void a_job_in_its_own_back_off_is_canceled_at_once(void **state)
{
    (void)state;
    policy.on_error = true;
    policy.base_ms = policy.max_ms = 24 * 3600 * 1000;
    site_start(&site, &first);
    struct ty_id id = submit("3");
    SITE_UNTIL(&site, site_view(&site, &id).due_us);
    struct site_view view = site_view(&site, &id);
    assert_int_equal(view.state, TY_JOB_PENDING);
    assert_int_equal(view.reason, TY_REASON_SCRIPT_EXIT);
    assert_int_equal(view.attempt, 1);
    site_cancel(&site, &id);
    assert_int_equal(site_view(&site, &id).state, TY_JOB_CANCELED);
}

// A worker that takes over an attempt knows what the job wants to be tried again.
static void an_adopted_attempt_is_retried_too(void **state)
{
    (void)state;
    policy.on_error = true;
    site_add_script(&site, "waits", OUT "echo \"this is $TRAINYARD_ATTEMPT\"\n[ $TRAINYARD_ATTEMPT = 2 ] && { echo m >\"$out/m\"; exit 0; }\n"
                                        "while [ ! -e \"$HOME/go\" ]; do sleep 0.1; done\nexit 3\n");
    first.lease_ms = 30000;
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "waits", .retry = &policy});
    site_wait_log(&site, &id, "info this is 1\n");
    site_kill(&first);
    fclose(fopen(site_path(&site, "work/w1/jobs/%s-1/home/go", id_text(&id)), "w"));
    site_start(&site, &first);
    struct site_view view = site_wait(&site, &id, TY_JOB_COMPLETED);
    assert_int_equal(view.attempt, 2);
    assert_int_equal(view.errors, 1);
    assert_int_equal(view.losses, 0);
}

// ---- quarantine ----

static int supervisor_of(const struct site_worker *worker, const struct ty_id *id, uint32_t attempt)
{
    int pid = 0;
    char line[128];
    FILE *file = fopen(site_path(&site, "work/%s/jobs/%s-%u/status", worker->name, id_text(id), attempt), "r");
    assert_non_null(file);
    while (!pid && fgets(line, sizeof line, file))
        if (sscanf(line, "pid=%d", &pid) != 1)
            pid = 0;
    fclose(file);
    assert_true(pid > 1);
    return pid;
}

// Both the worker and the supervisor go with the job, three times: twice another worker sees the lease pass, once the same
// worker comes back to what is left.
static void a_job_that_takes_three_workers_with_it_is_quarantined(void **state)
{
    struct site_worker *next[] = {&second, &first, &first};
    (void)state;
    site_add_script(&site, "poison", "echo \"this is $TRAINYARD_ATTEMPT\"\nexec sleep 600\n");
    site_start(&site, &first);
    struct ty_id id = site_submit(&site, &(struct site_job){.script = "poison", .max_attempts = 100});
    struct site_worker *worker = &first;
    for (uint32_t attempt = 1; attempt <= 3; attempt++) {
        char line[32];
        snprintf(line, sizeof line, "info this is %u\n", attempt);
        site_wait_log(&site, &id, line);
        site_wait_stage(&site, &id, TY_STAGE_TRAIN);
        int supervisor = supervisor_of(worker, &id, attempt);
        site_kill(worker);
        kill(supervisor, SIGKILL);
        SITE_UNTIL(&site, kill(supervisor, 0) < 0);
        worker = next[attempt - 1];
        site_start(&site, worker);
    }
    struct site_view view = site_wait(&site, &id, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_QUARANTINED);
    assert_int_equal(view.attempt, 3);
    assert_int_equal(view.losses, 3);
    assert_int_equal(view.errors, 0);
    assert_int_equal(view.code, 10);
    assert_non_null(strstr(view.message, "its worker was lost 3 times"));
}

int main(int argc, char **argv)
{
    int rc = run_site_main(argc, argv, TY_BINARY_DIR "/bin");
    if (rc >= 0)
        return rc;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_script_that_fails_twice_completes_with_the_third_attempt, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_policy_the_first_failure_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(an_exit_code_that_is_not_to_be_retried_fails_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_listed_exit_codes_are_retried, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_error_stands_when_no_attempt_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_in_its_own_back_off_is_canceled_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(an_adopted_attempt_is_retried_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_job_that_takes_three_workers_with_it_is_quarantined, setup, teardown),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return apart_run("retries", tests, NULL, NULL);
}
