#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "responder/request_options.h"

static void test_all_of_them(void **state)
{
    struct ty_request_options options;
    struct ty_err err;
    (void)state;
    ty_request_options_init(&options);
    assert_false(options.is_set);
    assert_int_equal(ty_request_options_take(&options, "user-agent", "x", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "viam_client", "python;v1;v2", &err), 0);
    assert_false(options.is_set);
    assert_int_equal(ty_request_options_take(&options, "trainyard-priority", "7", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-max-runtime-s", "3600", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-max-wait-s", "4294967295", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-max-attempts", "2", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-on-lost-lease", "stop", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-label", "team=vision=2", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-label", "empty=", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "idempotency-key", "k", &err), 0);
    assert_true(options.is_set);
    assert_int_equal(options.message.priority, 7);
    assert_int_equal(options.message.max_runtime_s, 3600);
    assert_true(options.message.max_wait_s == UINT32_MAX);
    assert_int_equal(options.message.max_attempts, 2);
    assert_int_equal(options.message.on_lost_lease, TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP);
    assert_int_equal(options.message.n_labels, 2);
    assert_string_equal(options.message.labels[0]->key, "team");
    assert_string_equal(options.message.labels[0]->value, "vision=2");
    assert_string_equal(options.message.labels[1]->value, "");
    assert_string_equal(options.message.idempotency_key, "k");
    ty_request_options_done(&options);
}

static void test_retries(void **state)
{
    static const char *const given[][2] = {
        {"trainyard-retry-on-error", "true"}, {"trainyard-retry-exit-code", "3"},       {"trainyard-retry-exit-code", "75"},
        {"trainyard-no-retry-exit-code", "2"}, {"trainyard-retry-base-ms", "100"},      {"trainyard-retry-max-ms", "5000"},
        {"trainyard-retry-of", "00000000-0000-4000-8000-000000000001"},
    };
    struct ty_request_options options;
    struct ty_err err;
    (void)state;
    ty_request_options_init(&options);
    assert_null(options.message.retry);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        assert_int_equal(ty_request_options_take(&options, given[i][0], given[i][1], &err), 0);
    const Trainyard__V1__RetryPolicy *retry = options.message.retry;
    assert_true(retry->on_error);
    assert_int_equal(retry->n_exit_codes, 2);
    assert_int_equal(retry->exit_codes[1], 75);
    assert_int_equal(retry->n_no_retry_exit_codes, 1);
    assert_int_equal(retry->no_retry_exit_codes[0], 2);
    assert_int_equal(retry->base_ms, 100);
    assert_int_equal(retry->max_ms, 5000);
    assert_string_equal(options.message.retry_of, given[6][1]);
    assert_int_equal(ty_request_options_take(&options, given[6][0], given[6][1], &err), -TY_EINVALID);
    for (int i = 2; i < TY_LIMIT_EXIT_CODES; i++)
        assert_int_equal(ty_request_options_take(&options, "trainyard-retry-exit-code", "9", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-retry-exit-code", "9", &err), -TY_EINVALID);
    ty_request_options_done(&options);
}

static void test_resources(void **state)
{
    struct ty_request_options options;
    struct ty_err err;
    (void)state;
    ty_request_options_init(&options);
    assert_null(options.message.resources);
    assert_int_equal(ty_request_options_take(&options, "trainyard-cpu-millis", "1500", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-memory-bytes", "8589934592", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "trainyard-gpus", "2", &err), 0);
    const Trainyard__V1__Resources *resources = options.message.resources;
    assert_true(resources->cpu_millis == 1500 && resources->memory_bytes == UINT64_C(8589934592) && resources->gpus == 2);
    ty_request_options_done(&options);
}

static void test_wrong_values_name_their_key(void **state)
{
    char long_key[TY_LIMIT_NAME_BYTES + 2];
    memset(long_key, 'k', sizeof long_key - 1);
    long_key[sizeof long_key - 1] = 0;
    const char *const wrong[][2] = {
        {"trainyard-priority", ""},       {"trainyard-priority", "high"},         {"trainyard-priority", "1 "},
        {"trainyard-priority", "-1"},     {"trainyard-priority", "+1"},           {"trainyard-priority", "4294967296"},
        {"trainyard-max-runtime-s", "99999999999999999999"},                      {"trainyard-on-lost-lease", "Stop"},
        {"trainyard-label", "no-equals"}, {"trainyard-label", "=value"},          {"trainyard-label", "a=\xff"},
        {"trainyard-pripority", "1"},     {"idempotency-key", ""},                {"idempotency-key", long_key},
        {"trainyard-retry-on-error", "yes"}, {"trainyard-retry-exit-code", "x"}, {"trainyard-retry-base-ms", "-1"},
        {"trainyard-no-retry-exit-code", ""}, {"trainyard-gpus", "two"}, {"trainyard-cpu-millis", "4294967296"},
        {"trainyard-memory-bytes", "1G"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct ty_request_options options;
        struct ty_err err;
        ty_request_options_init(&options);
        assert_int_equal(ty_request_options_take(&options, wrong[i][0], wrong[i][1], &err), -TY_EINVALID);
        if (!strstr(err.message, wrong[i][0]))
            fail_msg("\"%s\" does not name %s", err.message, wrong[i][0]);
        ty_request_options_done(&options);
    }
}

static void test_twice_and_too_many(void **state)
{
    struct ty_request_options options;
    struct ty_err err;
    char label[32];
    (void)state;
    ty_request_options_init(&options);
    assert_int_equal(ty_request_options_take(&options, "idempotency-key", "k", &err), 0);
    assert_int_equal(ty_request_options_take(&options, "idempotency-key", "k", &err), -TY_EINVALID);
    for (int i = 0; i < TY_LIMIT_LABELS; i++) {
        snprintf(label, sizeof label, "l%d=x", i);
        assert_int_equal(ty_request_options_take(&options, "trainyard-label", label, &err), 0);
        if (i == 0)
            assert_int_equal(ty_request_options_take(&options, "trainyard-label", "l0=y", &err), -TY_EINVALID);
    }
    assert_int_equal(ty_request_options_take(&options, "trainyard-label", "more=x", &err), -TY_EINVALID);
    assert_int_equal(options.message.n_labels, TY_LIMIT_LABELS);
    ty_request_options_done(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_them),
        cmocka_unit_test(test_retries),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_wrong_values_name_their_key),
        cmocka_unit_test(test_twice_and_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
