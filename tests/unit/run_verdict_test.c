// worker/run/verdict: every outcome of an exit record, and what the store is told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "core/limits.h"
#include "worker/run/verdict.h"

static struct ty_verdict judge(const char *record, const char *tail, bool has_model)
{
    TY_BUF(text);
    struct ty_ending ending;
    struct ty_verdict verdict;
    ty_buf_add_text(&text, record);
    ty_ending_parse(&text, &ending);
    ty_verdict_of(&ending, tail, has_model, &verdict);
    ty_ending_done(&ending);
    return verdict;
}

static void every_outcome(void **state)
{
    static const struct {
        const char *outcome, *step;
        int code;
        char action; // 0: nothing is told
        enum ty_job_reason reason;
        int grpc_code;
    } rows[] = {
        {"ok", "collect", 0, 'C', TY_REASON_NONE, 0},
        {"exit", "prepare", 1, 'F', TY_REASON_PREPARE_FAILED, 9},
        {"exit", "prepare", 2, 'R', TY_REASON_INTERNAL, 13},
        {"exit", "prepare", 3, 'R', TY_REASON_PREPARE_FAILED, 14},
        {"exit", "install", 1, 'F', TY_REASON_INSTALL_FAILED, 9},
        {"exit", "install", 3, 'F', TY_REASON_INSTALL_FAILED, 9},
        {"exit", "train", 1, 'F', TY_REASON_SCRIPT_EXIT, 2},
        {"exit", "train", 3, 'F', TY_REASON_SCRIPT_EXIT, 2},
        {"exit", "train", 137, 'F', TY_REASON_SCRIPT_EXIT, 2}, // 137 alone is no proof of anything
        {"exit", "train", 127, 'F', TY_REASON_NOT_EXECUTABLE, 2},
        {"exit", "collect", 1, 'F', TY_REASON_COLLECT_FAILED, 9},
        {"exit", "collect", 3, 'R', TY_REASON_COLLECT_FAILED, 14},
        {"signal", "train", -1, 'F', TY_REASON_SIGNAL, 2},
        {"signal", "install", -1, 'F', TY_REASON_INSTALL_FAILED, 2},
        {"signal", "collect", -1, 'R', TY_REASON_INTERNAL, 13},
        {"not_found", "train", -1, 'F', TY_REASON_NOT_EXECUTABLE, 9},
        {"not_executable", "install", -1, 'F', TY_REASON_NOT_EXECUTABLE, 9},
        {"not_found", "prepare", -1, 'R', TY_REASON_INTERNAL, 13},
        {"canceled", "train", -1, 'X', TY_REASON_CANCELED, 0},
        {"drained", "train", -1, 'H', TY_REASON_HANDED_BACK, 0},
        {"lost", "train", -1, 0, TY_REASON_NONE, 0},
        {"deadline", "train", -1, 'F', TY_REASON_DEADLINE, 4},
        {"step_timeout", "prepare", -1, 'R', TY_REASON_PREPARE_FAILED, 4},
        {"step_timeout", "install", -1, 'F', TY_REASON_INSTALL_FAILED, 4},
        {"step_timeout", "collect", -1, 'R', TY_REASON_COLLECT_FAILED, 4},
        {"oom", "train", -1, 'F', TY_REASON_OUT_OF_MEMORY, 8},
        {"unkillable", "train", -1, 'F', TY_REASON_UNKILLABLE, 13},
        {"internal", "", -1, 'R', TY_REASON_INTERNAL, 13},
        {"of a later version", "train", -1, 'R', TY_REASON_INTERNAL, 13},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TY_BUF(record);
        ty_buf_add_format(&record, "format=1\noutcome=%s\nstep=%s\ncode=%d\nsignal=0\nmessage=why\n", rows[i].outcome,
                          rows[i].step, rows[i].code);
        struct ty_verdict verdict = judge(ty_buf_text(&record), "", true);
        assert_int_equal(verdict.is_told, rows[i].action != 0);
        assert_int_equal(verdict.action, rows[i].action);
        assert_int_equal(verdict.reason, rows[i].reason);
        assert_int_equal(verdict.grpc_code, rows[i].grpc_code);
    }
}

static void no_record(void **state)
{
    (void)state;
    const char *const records[] = {"", "format=2\noutcome=ok\nstep=collect\n", "outcome=\n", "rubbish"};
    for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
        struct ty_verdict verdict = judge(records[i], "", true);
        assert_int_equal(verdict.action, 'R');
        assert_int_equal(verdict.reason, TY_REASON_WORKER_LOST);
        assert_string_equal(verdict.text, "the supervisor of the attempt ended without an exit record");
    }
}

static void no_model(void **state)
{
    (void)state;
    struct ty_verdict verdict = judge("format=1\noutcome=ok\nstep=collect\ncode=0\n", "", false);
    assert_int_equal(verdict.action, 'R');
    verdict = judge("format=1\noutcome=exit\nstep=collect\ncode=1\nmessage=step collect exited with code 1\n",
                    "the script left no files in its output directory\n", false);
    assert_int_equal(verdict.action, 'F');
    assert_int_equal(verdict.reason, TY_REASON_EMPTY_OUTPUT);
    assert_string_equal(verdict.text, "the script left no files in its output directory");
}

static void words(void **state)
{
    TY_BUF(message);
    TY_BUF(closing);
    (void)state;
    struct ty_verdict verdict = judge("format=1\noutcome=exit\nstep=train\ncode=3\nmessage=step train exited with code 3\n", "", true);
    ty_verdict_message(&verdict, 2, "a\nb\n", "", &message);
    assert_string_equal(ty_buf_text(&message), "step train exited with code 3\nlast lines of the log:\na\nb");
    ty_buf_clear(&message);
    TY_BUF(incomplete);
    ty_verdict_incomplete(12, 3400, &incomplete);
    assert_string_equal(ty_buf_text(&incomplete),
                        "log incomplete: the store did not take its last 12 lines and the last 3400 bytes of output");
    ty_buf_clear(&incomplete);
    ty_verdict_incomplete(1, 0, &incomplete);
    ty_verdict_message(&verdict, 2, "", ty_buf_text(&incomplete), &message);
    assert_string_equal(ty_buf_text(&message), "step train exited with code 3 (log incomplete: the store did not take its last 1 line)");
    ty_buf_clear(&incomplete);
    ty_verdict_incomplete(0, 7, &incomplete);
    assert_string_equal(ty_buf_text(&incomplete), "log incomplete: the store did not take its last 7 bytes of output");
    ty_buf_clear(&message);
    verdict.action = TY_FINISH_RETRY;
    ty_verdict_message(&verdict, 5, "a\n", "", &message);
    assert_string_equal(ty_buf_text(&message), "step train exited with code 3 (in attempt 5, and none is left)\nlast lines of the log:\na");
    verdict.action = TY_FINISH_FAILED;
    ty_verdict_closing(&verdict, 2, &closing);
    assert_string_equal(ty_buf_text(&closing), "attempt 2 failed: step train exited with code 3");
}

static void what_the_job_wants_to_be_tried_again(void **state)
{
    enum { NONE, ON_ERROR, LISTED, BUT };
    static uint32_t listed[] = {3, 75, 127, 139}, but[] = {2, 137, 139};
    static const struct {
        const char *outcome, *step;
        int code, signal_number;
        const char *actions; // without a policy; on_error; exit_codes 3, 75, 127, 139; on_error but 2, 137, 139
    } rows[] = {
        {"exit", "train", 1, 0, "FRFR"},          {"exit", "train", 2, 0, "FRFF"},
        {"exit", "train", 3, 0, "FRRR"},          {"exit", "train", 75, 0, "FRRR"},
        {"exit", "train", 126, 0, "FFFF"},        {"exit", "train", 127, 0, "FFRF"},
        {"exit", "train", 255, 0, "FRFR"},        {"signal", "train", -1, 11, "FRRF"},
        {"signal", "train", -1, 6, "FRFR"},       {"oom", "train", -1, 9, "FRFF"},
        {"exit", "install", 3, 0, "FRFR"},        {"oom", "install", -1, 9, "FRFR"},
        {"step_timeout", "install", -1, 0, "FRFR"}, {"not_found", "train", -1, 0, "FFFF"},
        {"deadline", "train", -1, 0, "FFFF"},     {"unkillable", "train", -1, 0, "FFFF"},
        {"exit", "collect", 1, 0, "FFFF"},        {"exit", "prepare", 1, 0, "FFFF"},
        {"exit", "prepare", 3, 0, "RRRR"},        {"canceled", "train", -1, 0, "XXXX"},
        {"drained", "train", -1, 0, "HHHH"},      {"ok", "collect", 0, 0, "CCCC"},
    };
    Trainyard__V1__RetryPolicy policies[4];
    (void)state;
    for (size_t i = 0; i < 4; i++)
        trainyard__v1__retry_policy__init(&policies[i]);
    policies[ON_ERROR].on_error = policies[BUT].on_error = true;
    policies[LISTED].exit_codes = listed;
    policies[LISTED].n_exit_codes = 4;
    policies[BUT].no_retry_exit_codes = but;
    policies[BUT].n_no_retry_exit_codes = 3;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t p = 0; p < 4; p++) {
            TY_BUF(record);
            struct ty_ending ending;
            struct ty_verdict verdict, before;
            struct ty_retries retries;
            ty_buf_add_format(&record, "format=1\noutcome=%s\nstep=%s\ncode=%d\nsignal=%d\nmessage=why\n", rows[i].outcome,
                              rows[i].step, rows[i].code, rows[i].signal_number);
            ty_ending_parse(&record, &ending);
            ty_verdict_of(&ending, "", true, &verdict);
            before = verdict;
            ty_retries_of(p == NONE ? NULL : &policies[p], &retries);
            ty_verdict_retry(&ending, &retries, &verdict);
            if (verdict.action != (enum ty_finish_action)rows[i].actions[p])
                fail_msg("%s of %s with %d under policy %zu: %c", rows[i].outcome, rows[i].step, rows[i].code, p, verdict.action);
            assert_int_equal(verdict.reason, before.reason);
            assert_int_equal(verdict.grpc_code, before.grpc_code);
            ty_ending_done(&ending);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome),
        cmocka_unit_test(no_record),
        cmocka_unit_test(no_model),
        cmocka_unit_test(words),
        cmocka_unit_test(what_the_job_wants_to_be_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
