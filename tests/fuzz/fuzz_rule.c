// core/rule: any key and value of the topic settings are a rule, or are refused with a reason.
#include <string.h>

#include "core/rule.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    size_t key_len = input_byte(&input);
    key_len = key_len < input.len ? key_len : input.len;
    const uint8_t *value = input_byte(&input) % 8 ? input.bytes : NULL;
    key_len = key_len < input.len ? key_len : input.len;
    struct ty_rule rule;
    struct ty_err err = {0};
    int rc = ty_rule_decode(input.bytes, key_len, value ? value + key_len : NULL, input.len - key_len, &rule, &err);
    if (rc < 0) {
        REQUIRE(rc == -TY_EINVALID && *err.message && ty_utf8_is_valid(err.message, strlen(err.message)) && !rule.name);
        return 0;
    }
    REQUIRE(rule.name && strlen(rule.name) == key_len && !memcmp(rule.name, input.bytes, key_len));
    REQUIRE(rule.is_set == (value != NULL) && rule.max_running <= TY_RULE_RUNNING_MAX);
    ty_rule_done(&rule);
    return 0;
}
