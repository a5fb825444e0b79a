// Words of the API's enums, pairs of flags, tables, and what is kept of Kafka's complaints.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "producer/cli/kafka_trouble.h"
#include "producer/cli/names.h"
#include "producer/cli/submitting.h"
#include "producer/cli/table.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define TYPES (&viam__app__mltraining__v1__model_type__descriptor)
#define STATUSES (&viam__app__mltraining__v1__training_status__descriptor)

static void test_names(void **state)
{
    struct ty_err err;
    int value = 0;
    (void)state;
    assert_string_equal(ty_names_of(TYPES, 3), "OBJECT_DETECTION");
    assert_null(ty_names_of(TYPES, 0));
    assert_null(ty_names_of(TYPES, 77));
    for (int i = 1; i <= 6; i++) {
        assert_int_equal(ty_names_parse(STATUSES, "status", ty_names_of(STATUSES, i), &value, &err), 0);
        assert_int_equal(value, i);
    }
    assert_int_equal(ty_names_parse(TYPES, "model-type", "Multi-Label classification", &value, &err), 0);
    assert_int_equal(value, 2);
    value = 9;
    assert_int_equal(ty_names_parse(TYPES, "model-type", "unspecified", &value, &err), -TY_EINVALID);
    assert_int_equal(ty_names_parse(TYPES, "model-type", "", &value, &err), -TY_EINVALID);
    assert_int_equal(ty_names_parse(TYPES, "model-type", "object-detectio", &value, &err), -TY_EINVALID);
    assert_int_equal(ty_names_parse(TYPES, "model-type", "object-detections", &value, &err), -TY_EINVALID);
    assert_int_equal(value, 9);
    assert_string_equal(err.message, "--model-type: \"object-detections\" is none of single-label-classification, "
                                     "multi-label-classification, object-detection");
}

static void test_words(void **state)
{
    TY_BUF(out);
    (void)state;
    ty_names_add_words(&out, TYPES, 1);
    ty_buf_add_byte(&out, ' ');
    ty_names_add_words(&out, TYPES, 0);
    ty_buf_add_byte(&out, ' ');
    ty_names_add_words(&out, TYPES, 77);
    assert_string_equal(ty_buf_text(&out), "single-label-classification - 77");
}

static void test_pairs(void **state)
{
    char *texts[] = {(char *)"a=b=c,d", (char *)"empty=", (char *)"k= \xc3\xa9", NULL}, *wrong[] = {(char *)"x=1", (char *)"y", NULL};
    struct trainyard_pair *pairs;
    struct ty_err err;
    size_t count;
    (void)state;
    assert_int_equal(ty_submitting_pairs("arg", texts, &pairs, &count, &err), 0);
    assert_int_equal(count, 3);
    assert_string_equal(pairs[0].key, "a");
    assert_string_equal(pairs[0].value, "b=c,d");
    assert_string_equal(pairs[1].key, "empty");
    assert_string_equal(pairs[1].value, "");
    assert_string_equal(pairs[2].value, " \xc3\xa9");
    free(pairs);
    assert_int_equal(ty_submitting_pairs("arg", NULL, &pairs, &count, &err), 0);
    assert_int_equal(count, 0);
    free(pairs);
    assert_int_equal(ty_submitting_pairs("arg", wrong, &pairs, &count, &err), -TY_EINVALID);
    assert_string_equal(err.message, "--arg: \"y\" is not of the form key=value");
}

static char *print(const struct ty_table *table, bool use_color)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    ty_table_print(table, out, use_color);
    fclose(out);
    return text;
}

static void test_a_table_is_aligned_by_columns_of_a_terminal(void **state)
{
    static const char *const headers[] = {"A", "LONG HEADER", "C"};
    struct ty_table *table = ty_table_new(headers, 3);
    (void)state;
    ty_table_add(table, TY_COLOR_NONE, "\xe6\x97\xa5\xe6\x9c\xac");
    ty_table_add(table, TY_COLOR_RED, "x");
    ty_table_add(table, TY_COLOR_NONE, "y\n");
    ty_table_add(table, TY_COLOR_NONE, "caf\xc3\xa9s");
    ty_table_add(table, TY_COLOR_NONE, "a value that is longer");
    ty_table_add(table, TY_COLOR_NONE, "z");
    char *plain = print(table, false), *colored = print(table, true);
    assert_string_equal(plain, "A      LONG HEADER             C\n"
                               "\xe6\x97\xa5\xe6\x9c\xac   x                       y\\x0a\n"
                               "caf\xc3\xa9s  a value that is longer  z\n");
    assert_non_null(strstr(colored, "\033[31mx\033[0m                       y"));
    free(plain);
    free(colored);
    ty_table_free(table);
    ty_table_free(NULL);
}

static void test_complaints_of_kafka(void **state)
{
    char out[64];
    (void)state;
    assert_true(ty_kafka_trouble_parse("time=x level=error facility=FAIL message=\"[thrd:h:1/bootstrap]: h:1/bootstrap: Connect to "
                                       "h failed: Connection refused (after 0ms in state CONNECT)\"",
                                       out, sizeof out));
    assert_string_equal(out, "h:1/bootstrap: Connect to h failed: Connection refused");
    assert_true(ty_kafka_trouble_parse("facility=FAIL message=\"no thread\" more=1", out, sizeof out));
    assert_int_equal(strncmp(out, "no thread", 9), 0);
    assert_false(ty_kafka_trouble_parse("facility=ERROR message=\"1/1 brokers are down\"", out, sizeof out));
    assert_false(ty_kafka_trouble_parse("", out, sizeof out));
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_a_table_is_aligned_by_columns_of_a_terminal),
        cmocka_unit_test(test_complaints_of_kafka),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
