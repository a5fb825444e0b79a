// worker/intake/dead_letter: what is added to a record, and what is left of one in a stub. And the bound on the log.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "worker/intake/dead_letter.h"
#include "worker/intake/log_limit.h"

static struct ty_claimed_partition claimed = {.kind = TY_TOPIC_CANCEL, .number = 3};

static void check_header(const rd_kafka_headers_t *headers, const char *name, const char *expected)
{
    const void *value;
    size_t len;
    if (rd_kafka_header_get_last(headers, name, &value, &len))
        fail_msg("no header %s", name);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(value, expected, len);
}

static void check_origin(const rd_kafka_headers_t *headers)
{
    check_header(headers, "trainyard-origin-topic", "mltraining.cancel");
    check_header(headers, "trainyard-origin-partition", "3");
    check_header(headers, "trainyard-origin-offset", "9007199254740993");
    check_header(headers, "trainyard-origin-time", "2023-11-14T22:13:20.123Z");
    check_header(headers, "trainyard-origin-reason", "value: is empty");
}

static struct ty_intake_record make_record(const void *key, size_t key_len, const void *value, size_t value_len)
{
    return (struct ty_intake_record){.claimed = &claimed, .offset = 9007199254740993, .time_us = 1700000000123456,
                                     .key = key, .key_len = key_len, .value = value, .value_len = value_len};
}

static void test_own_headers_stay(void **state)
{
    (void)state;
    struct ty_intake_record record = make_record(NULL, 0, NULL, 0);
    rd_kafka_headers_t *own = rd_kafka_headers_new(2);
    rd_kafka_header_add(own, "traceparent", -1, "00-1", -1);
    rd_kafka_header_add(own, "trainyard-origin-offset", -1, "7", -1); // it was a letter before
    rd_kafka_headers_t *headers = ty_letter_headers(own, "mltraining.cancel", &record, "value: is empty");
    check_header(headers, "traceparent", "00-1");
    check_origin(headers);
    assert_int_equal(rd_kafka_header_cnt(headers), 7);
    assert_int_equal(rd_kafka_header_cnt(own), 2);
    rd_kafka_headers_destroy(headers);
    rd_kafka_headers_destroy(own);
    headers = ty_letter_headers(NULL, "mltraining.cancel", &record, "value: is empty");
    check_origin(headers);
    rd_kafka_headers_destroy(headers);
}

static void test_stub(void **state)
{
    (void)state;
    size_t key_len, value_len;
    struct ty_intake_record record = make_record("key", 3, "abc", 3);
    rd_kafka_headers_t *headers = ty_letter_stub("mltraining.cancel", &record, "value: is empty", &key_len, &value_len);
    check_origin(headers);
    check_header(headers, "trainyard-stub", "1");
    check_header(headers, "trainyard-origin-value-bytes", "3");
    check_header(headers, "trainyard-origin-value-sha256",
                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(key_len, 3);
    assert_int_equal(value_len, 3);
    rd_kafka_headers_destroy(headers);
    uint8_t *large TY_FREE = ty_xcalloc(1, TY_STUB_BYTES + 1);
    record = make_record(large, TY_STUB_KEY_BYTES + 1, large, TY_STUB_BYTES + 1);
    headers = ty_letter_stub("mltraining.cancel", &record, "value: is empty", &key_len, &value_len);
    check_header(headers, "trainyard-origin-value-bytes", "65537");
    assert_int_equal(key_len, 0);
    assert_int_equal(value_len, TY_STUB_BYTES);
    rd_kafka_headers_destroy(headers);
}

static void test_log_limit(void **state)
{
    (void)state;
    struct ty_log_limit limit = {0};
    unsigned taken = 0;
    for (int i = 0; i < 1000; i++)
        taken += ty_log_limit_take(&limit);
    assert_in_range(taken, 20, 40); // the ten seconds may end in between
    assert_int_equal(ty_log_limit_skipped(&limit), 1000 - taken);
    assert_int_equal(ty_log_limit_skipped(&limit), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_own_headers_stay), cmocka_unit_test(test_stub),
                                       cmocka_unit_test(test_log_limit)};
    return cmocka_run_group_tests_name("intake/dead_letter", tests, NULL, NULL);
}
