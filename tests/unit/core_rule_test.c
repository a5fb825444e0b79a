// core/rule: what comes over the topic settings.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/rule.h"

static struct ty_err err;
static struct ty_rule rule;

static int decode(const char *key, const void *value, size_t value_len)
{
    return ty_rule_decode((const uint8_t *)key, strlen(key), value, value_len, &rule, &err);
}

static void what_is_encoded_is_decoded(void **state)
{
    (void)state;
    TY_BUF(value);
    char *name TY_FREE = NULL;
    assert_int_equal(ty_rule_name(TY_RULE_LIMIT, "acme", &name, &err), 0);
    ty_rule_encode(7, 1, "test", &value);
    assert_int_equal(decode(name, value.data, value.len), 0);
    assert_true(rule.kind == TY_RULE_LIMIT && rule.is_set && rule.max_running == 7);
    assert_string_equal(rule.name, "limit/acme");
    ty_rule_done(&rule);
    assert_int_equal(decode("pause/*", NULL, 0), 0);
    assert_true(rule.kind == TY_RULE_PAUSE && !rule.is_set);
    ty_rule_done(&rule);
}

static void what_is_no_rule_is_refused(void **state)
{
    (void)state;
    TY_BUF(value);
    ty_rule_encode(TY_RULE_RUNNING_MAX + 1, 1, "test", &value);
    static const struct {
        const char *key, *text;
    } keys[] = {{"", "key: is neither"}, {"pause", "key: is neither"}, {"quota/acme", "key: is neither"}, {"pause/", "key: "},
                {"limit/a/b", "key: "}, {"limit/.hidden", "key: "}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_int_equal(decode(keys[i].key, NULL, 0), -TY_EINVALID);
        assert_non_null(strstr(err.message, keys[i].text));
        assert_null(rule.name);
    }
    char *longest = ty_xcalloc(1, TY_LIMIT_NAME_BYTES + 8);
    memcpy(longest, "pause/", 6);
    memset(longest + 6, 'a', TY_LIMIT_NAME_BYTES + 1);
    assert_int_equal(decode(longest, NULL, 0), -TY_EINVALID);
    longest[6 + TY_LIMIT_NAME_BYTES] = 0;
    assert_int_equal(decode(longest, NULL, 0), 0);
    ty_rule_done(&rule);
    free(longest);
    assert_int_equal(decode("limit/acme", "", 0), -TY_EINVALID);
    assert_non_null(strstr(err.message, "value: is empty"));
    assert_int_equal(decode("limit/acme", "\xff", 1), -TY_EINVALID);
    assert_int_equal(decode("limit/acme", "\x08\x02", 2), -TY_EINVALID);
    assert_non_null(strstr(err.message, "format_version: 2"));
    assert_int_equal(decode("limit/acme", value.data, value.len), -TY_EINVALID);
    assert_non_null(strstr(err.message, "max_running"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(what_is_no_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
