// core/progress: which lines tell something and what, and that what is kept is bounded.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/progress.h"
#include "core/progress_rule.h"
#include "core/wire.h"
#include "trainyard/v1/job_service.pb-c.h"

typedef Trainyard__V1__JobProgress Told;

#define SECOND UINT64_C(1000000)

static struct ty_progress *progress;
static struct ty_progress_rules *rules;

static int set_up(void **state)
{
    (void)state;
    progress = ty_progress_new(3, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ty_progress_free(progress);
    ty_progress_rules_free(rules);
    progress = NULL;
    rules = NULL;
    return 0;
}

static bool line(uint64_t time_us, const char *text)
{
    // A copy of just its bytes: what is read behind them is seen by a sanitizer.
    size_t len = strlen(text);
    char *bytes = malloc(len ? len : 1);
    memcpy(bytes, text, len);
    bool rc = ty_progress_line(progress, time_us, bytes, len);
    free(bytes);
    return rc;
}

static Told *told(void)
{
    TY_BUF(bytes);
    ProtobufCMessage *message;
    struct ty_err err;
    ty_progress_encode(progress, &bytes);
    if (ty_wire_unpack(&trainyard__v1__job_progress__descriptor, bytes.data, bytes.len, &message, &err) < 0)
        fail_msg("%s", err.message);
    return (Told *)message;
}

static void free_told(Told *message)
{
    trainyard__v1__job_progress__free_unpacked(message, NULL);
}

static void test_a_whole_line(void **state)
{
    (void)state;
    assert_false(ty_progress_is_new(progress));
    assert_true(line(5 * SECOND + 1, "{\"trainyard\": {\"progress\": 0.25, \"step\": 12, \"steps\": 30, \"message\": \"epoch 2\", "
                                     "\"metrics\": {\"loss\": 0.5, \"accuracy\": 1}}}"));
    assert_true(ty_progress_is_new(progress));
    assert_true(line(7 * SECOND, "{\"trainyard\":{\"metrics\":{\"loss\":-0.25}}}"));
    Told *message = told();
    assert_false(ty_progress_is_new(progress));
    assert_int_equal(message->attempt, 3);
    assert_true(message->fraction == 0.25 && message->_fraction_case);
    assert_true(message->step == 12 && message->steps == 30 && message->_step_case && message->_steps_case);
    assert_string_equal(message->message, "epoch 2");
    assert_int_equal(message->time->seconds, 7);
    assert_int_equal(message->lines, 2);
    assert_int_equal(message->n_metrics, 2);
    const Trainyard__V1__Metric *loss = message->metrics[0];
    assert_string_equal(loss->name, "loss");
    assert_true(loss->value == -0.25 && loss->least == -0.25 && loss->greatest == 0.5);
    assert_int_equal(loss->step, 12);
    assert_int_equal(loss->count, 2);
    assert_int_equal(loss->n_values, 2);
    assert_true(loss->values[0] == 0.5 && loss->steps[1] == 12 && loss->times_ms[0] == 5000 && loss->times_ms[1] == 7000);
    assert_string_equal(message->metrics[1]->name, "accuracy");
    free_told(message);
}

static void test_which_lines_are_of_the_form(void **state)
{
    static const struct {
        const char *text;
        bool tells;
    } rows[] = {
        {"{\"trainyard\": {\"step\": 1}}", true},
        {"  { \"trainyard\":{\"step\":1.0}}  ", true},
        {"INFO:root:{\"trainyard\": {\"step\": 1}}", true},
        {"2026-01-01 {x} {\"trainyard\": {\"step\": 1}}", true},
        {"{\"level\": \"info\", \"trainyard\": {\"step\": 1}, \"n\": 2}", true},
        {"{\"trainyard\": {}}", true},
        {"{\"trainyard\": {\"step\": null, \"later\": [1]}}", true},
        {"{\"trainyard\": {\"metrics\": {\"loss\": NaN, \"a \\\" NaN\": Infinity, \"b\": -Infinity}}}", true},
        {"{\"trainyard\": {\"metrics\": {\"loss\": null}}}", true},
        {"trainyard", false},
        {"", false},
        {"}", false},
        {"\"trainyard\"}", false},
        {"x \"trainyard\": {\"step\": 1}}", false},
        {"{\"trainyard\": {\"step\": 1}} and more", false},
        {"{\"trainyard\": {\"step\": 1}", false},
        {"{\"trainyard\": 7}", false},
        {"{\"trainyard\": {\"step\": -1}}", false},
        {"{\"trainyard\": {\"step\": 1.5}}", false},
        {"{\"trainyard\": {\"step\": \"1\"}}", false},
        {"{\"trainyard\": {\"step\": 1e300}}", false},
        {"{\"trainyard\": {\"progress\": 1.01}}", false},
        {"{\"trainyard\": {\"progress\": NaN}}", false},
        {"{\"trainyard\": {\"message\": 3}}", false},
        {"{\"trainyard\": {\"metrics\": [1]}}", false},
        {"{\"trainyard\": {\"metrics\": {\"\": 1}}}", false},
        {"{\"trainyard\": {\"metrics\": {\"a\\u0007\": 1}}}", false},
        {"{\"trainyard\": {\"metrics\": {\"a\": true}}}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (line(i * SECOND, rows[i].text) != rows[i].tells)
            fail_msg("%s", rows[i].text);
    Told *message = told();
    assert_int_equal(message->lines, 9);
    assert_int_equal(message->lines_refused, 13); // those that look like it and are not
    assert_true(isnan(message->metrics[0]->value) && isnan(message->metrics[0]->least));
    assert_string_equal(message->metrics[1]->name, "a \" NaN");
    assert_true(isinf(message->metrics[1]->value));
    free_told(message);
}

static void test_the_fraction_follows_from_steps(void **state)
{
    (void)state;
    line(SECOND, "{\"trainyard\": {\"step\": 3}}");
    Told *message = told();
    assert_false(message->_fraction_case);
    free_told(message);
    line(SECOND, "{\"trainyard\": {\"steps\": 12}}");
    message = told();
    assert_true(message->fraction == 0.25);
    free_told(message);
    line(SECOND, "{\"trainyard\": {\"step\": 99}}");
    message = told();
    assert_true(message->fraction == 1);
    free_told(message);
}

static void test_metrics_are_bounded(void **state)
{
    char text[256], name[TY_PROGRESS_NAME_BYTES + 2];
    (void)state;
    for (unsigned i = 0; i < TY_PROGRESS_METRICS + 5; i++) {
        snprintf(text, sizeof text, "{\"trainyard\": {\"metrics\": {\"m%u\": %u}}}", i, i);
        assert_true(line(SECOND, text));
    }
    memset(name, 'n', sizeof name);
    name[sizeof name - 1] = 0;
    snprintf(text, sizeof text, "{\"trainyard\": {\"metrics\": {\"%s\": 1}}}", name);
    assert_false(line(SECOND, text));
    Told *message = told();
    assert_int_equal(message->n_metrics, TY_PROGRESS_METRICS);
    assert_int_equal(message->metrics_refused, 5);
    assert_int_equal(message->lines_refused, 1);
    free_told(message);
    char *large = malloc(TY_PROGRESS_LINE_BYTES + 64);
    snprintf(large, TY_PROGRESS_LINE_BYTES + 64, "{\"trainyard\": {\"step\": 1}, \"x\": \"%*s\"}", TY_PROGRESS_LINE_BYTES, "");
    assert_false(line(SECOND, large));
    free(large);
    // A message is cut on a character boundary.
    TY_BUF(long_message);
    ty_buf_add_text(&long_message, "{\"trainyard\": {\"message\": \"x");
    for (int i = 0; i < 200; i++)
        ty_buf_add_text(&long_message, "é");
    ty_buf_add_text(&long_message, "\"}}");
    assert_true(line(SECOND, ty_buf_text(&long_message)));
    message = told();
    assert_int_equal(strlen(message->message), TY_PROGRESS_MESSAGE_BYTES - 1);
    free_told(message);
}

// A curve of any length keeps evenly spread values, its first among them.
static void test_curves_are_thinned(void **state)
{
    char text[128];
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(text, sizeof text, "{\"trainyard\": {\"step\": %u, \"metrics\": {\"loss\": %u}}}", i, i);
        assert_true(line((1 + i / 100) * SECOND, text));
        if (i % 700 && i < 9999)
            continue;
        Told *message = told();
        const Trainyard__V1__Metric *loss = message->metrics[0];
        assert_int_equal(loss->count, i + 1);
        assert_in_range(loss->n_values, i < 64 ? i + 1 : 64, TY_PROGRESS_POINTS);
        assert_true(loss->n_values == (i + loss->stride) / loss->stride);
        for (size_t j = 0; j < loss->n_values; j++)
            assert_true(loss->values[j] == (double)(j * loss->stride) && loss->steps[j] == j * loss->stride);
        assert_true(loss->value == i && loss->least == 0 && loss->greatest == i);
        free_told(message);
    }
}

static void test_what_comes_too_fast_is_left_out_but_for_the_last(void **state)
{
    char text[128];
    (void)state;
    for (unsigned i = 0; i < TY_PROGRESS_LINES_A_SECOND + 50; i++) {
        snprintf(text, sizeof text, "{\"trainyard\": {\"step\": %u}}", i);
        line(SECOND + i, text);
    }
    Told *message = told();
    assert_int_equal(message->step, TY_PROGRESS_LINES_A_SECOND + 49);
    assert_int_equal(message->lines, TY_PROGRESS_LINES_A_SECOND + 1);
    assert_int_equal(message->lines_refused, 49);
    free_told(message);
    assert_true(line(2 * SECOND, "{\"trainyard\": {\"step\": 7}}"));
    message = told();
    assert_int_equal(message->step, 7);
    free_told(message);
}

static void load(const char *text)
{
    struct ty_err err;
    json_t *list = json_loads(text, 0, NULL);
    assert_non_null(list);
    if (ty_progress_rules_new(list, &rules, &err) < 0)
        fail_msg("%s", err.message);
    json_decref(list);
    ty_progress_free(progress);
    progress = ty_progress_new(1, rules);
}

static void test_rules_read_what_a_script_prints_anyway(void **state)
{
    (void)state;
    load("[{\"pattern\": \"^Epoch ([0-9]+)/([0-9]+)\", \"step\": 1, \"steps\": 2},"
         " {\"pattern\": \"loss: ([0-9.e+-]+)\", \"metrics\": {\"loss\": 1}},"
         " {\"pattern\": \"accuracy: ([0-9.]+)( of ([0-9]+))?\", \"metrics\": {\"accuracy\": 1, \"of\": 3}},"
         " {\"pattern\": \"([0-9]+)%\", \"percent\": 1}]");
    assert_true(line(SECOND, "Epoch 2/8"));
    assert_true(line(SECOND, "3/3 - 1s - loss: 2.5e-1 - accuracy: 0.75"));
    assert_false(line(SECOND, "loss: high"));
    assert_false(line(SECOND, "loss: e"));
    Told *message = told();
    assert_true(message->step == 2 && message->steps == 8 && message->fraction == 0.25);
    assert_int_equal(message->n_metrics, 2);
    assert_true(message->metrics[0]->value == 0.25 && message->metrics[1]->value == 0.75);
    assert_int_equal(message->lines, 2);
    assert_int_equal(message->lines_refused, 0);
    free_told(message);
    assert_true(line(SECOND, "50% done"));
    assert_true(line(SECOND, "{\"trainyard\": {\"metrics\": {\"loss\": 1}}}"));
    message = told();
    assert_true(message->fraction == 0.5 && message->metrics[0]->count == 2);
    free_told(message);
    // Long lines are not for rules.
    char text[TY_PROGRESS_RULE_LINE_BYTES + 16];
    snprintf(text, sizeof text, "Epoch 3/8%*s", TY_PROGRESS_RULE_LINE_BYTES, "");
    assert_false(line(SECOND, text));
}

static void test_rules_that_are_wrong_are_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"{}", "not a list"},
        {"[7]", "rule 1: not an object"},
        {"[{\"step\": 1}]", "rule 1: pattern"},
        {"[{\"pattern\": \"(\", \"step\": 1}]", "rule 1: pattern: Unmatched"},
        {"[{\"pattern\": \"(a)\\\\1\", \"step\": 1}]", "rule 1: pattern: back-references"},
        {"[{\"pattern\": \"(a)\", \"step\": 2}]", "rule 1: step: not the number of a group"},
        {"[{\"pattern\": \"(a)\", \"step\": 0}]", "rule 1: step: not the number of a group"},
        {"[{\"pattern\": \"(a)\"}]", "rule 1: it reads nothing"},
        {"[{\"pattern\": \"(a)\", \"step\": 1}, {\"pattern\": \"(a)\", \"setp\": 1}]", "rule 2: setp"},
        {"[{\"pattern\": \"(a)\", \"metrics\": {\"\": 1}}]", "rule 1: metrics: \"\" is no name"},
        {"[{\"pattern\": \"(a)\", \"metrics\": 1}]", "rule 1: metrics: not an object"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ty_err err = {0};
        json_t *list = json_loads(rows[i].text, 0, NULL);
        assert_non_null(list);
        assert_int_equal(ty_progress_rules_new(list, &rules, &err), -TY_EINVALID);
        if (!strstr(err.message, rows[i].words))
            fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].text, err.message, rows[i].words);
        json_decref(list);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_whole_line),
        TEST(test_which_lines_are_of_the_form),
        TEST(test_the_fraction_follows_from_steps),
        TEST(test_metrics_are_bounded),
        TEST(test_curves_are_thinned),
        TEST(test_what_comes_too_fast_is_left_out_but_for_the_last),
        TEST(test_rules_read_what_a_script_prints_anyway),
        TEST(test_rules_that_are_wrong_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
