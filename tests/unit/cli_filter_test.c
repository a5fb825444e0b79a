// --filter as the verbs take it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "producer/cli/filter.h"

static const char *const keys[] = {"model", "tag", "age", NULL};

static void expect_refused(const char *text, const char *message)
{
    struct ty_filters filters;
    struct ty_err err;
    char *texts[] = {(char *)text, NULL};
    assert_int_equal(ty_filters_parse(texts, keys, &filters, &err), -TY_EINVALID);
    if (!strstr(err.message, message))
        fail_msg("%s: %s", text, err.message);
}

static void test_what_is_no_filter(void **state)
{
    (void)state;
    expect_refused("model", "\"model\" is not of the form KEY=VALUE");
    expect_refused("model=", "is not of the form KEY=VALUE");
    expect_refused("", "is not of the form KEY=VALUE");
    expect_refused("=a", "there is no key \"\"");
    expect_refused("mode=a", "there is no key \"mode\"; there are: model, tag, age");
    expect_refused("models=a", "there is no key \"models\"");
    char *many[TY_FILTERS_MAX + 2];
    for (size_t i = 0; i <= TY_FILTERS_MAX; i++)
        many[i] = (char *)"tag=x";
    many[TY_FILTERS_MAX + 1] = NULL;
    struct ty_filters filters;
    struct ty_err err;
    assert_int_equal(ty_filters_parse(many, keys, &filters, &err), -TY_EINVALID);
    many[TY_FILTERS_MAX] = NULL;
    assert_int_equal(ty_filters_parse(many, keys, &filters, &err), 0);
    assert_int_equal(filters.count, TY_FILTERS_MAX);
}

static void test_what_passes(void **state)
{
    struct ty_filters filters;
    struct ty_err err;
    char *texts[] = {(char *)"tag=red", (char *)"model=a=b", (char *)"tag=blue*", NULL};
    (void)state;
    assert_int_equal(ty_filters_parse(texts, keys, &filters, &err), 0);
    assert_string_equal(ty_filters_get(&filters, "tag", 0), "red");
    assert_string_equal(ty_filters_get(&filters, "tag", 1), "blue*");
    assert_null(ty_filters_get(&filters, "tag", 2));
    assert_null(ty_filters_get(&filters, "age", 0));
    assert_true(ty_filters_allow(&filters, "age", "anything"));
    assert_true(ty_filters_allow(&filters, "model", "a=b"));
    assert_false(ty_filters_allow(&filters, "model", "a=bc"));
    assert_true(ty_filters_allow(&filters, "tag", "red"));
    assert_false(ty_filters_allow(&filters, "tag", "redder"));
    assert_true(ty_filters_allow(&filters, "tag", "blue"));
    assert_true(ty_filters_allow(&filters, "tag", "blueish"));
    assert_false(ty_filters_allow(&filters, "tag", "blu"));
    assert_false(ty_filters_allow(&filters, "tag", ""));
    assert_int_equal(ty_filters_parse(NULL, keys, &filters, &err), 0);
    assert_true(ty_filters_allow(&filters, "tag", "any"));
}

static void test_ages(void **state)
{
    static const struct {
        const char *text;
        uint64_t age_s; // 0: refused
    } cases[] = {{"90s", 90}, {"15m", 900}, {"12h", 43200}, {"30d", 2592000}, {"3653d", 315619200}, {"3654d", 0}, {"1", 0},
                 {"s", 0},    {"", 0},      {"1.5h", 0},    {"-1h", 0},       {"1 h", 0},           {"1hh", 0},   {"1w", 0},
                 {"99999999999999999999d", 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t age_s = 0;
        struct ty_err err;
        int rc = ty_filter_age("older-than", cases[i].text, &age_s, &err);
        if (age_s != cases[i].age_s || (rc == 0) != (cases[i].age_s != 0))
            fail_msg("%s", cases[i].text);
        if (rc < 0)
            assert_non_null(strstr(err.message, "older-than"));
    }
    uint64_t age_s = 1;
    struct ty_err err;
    assert_int_equal(ty_filter_age("older-than", "0s", &age_s, &err), 0);
    assert_int_equal(age_s, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_filter),
        cmocka_unit_test(test_what_passes),
        cmocka_unit_test(test_ages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
