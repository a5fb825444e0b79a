// The tables in the documentation of schemas/ are the data: a change of either alone is found.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/record.h"
#include "tests/contract/command_output.h"

static char dir[] = "/tmp/trainyard-documents-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    TY_BUF(out);
    return command_output(&out, "rm -r %s", dir);
}

static void they_are_the_same(void **state)
{
    (void)state;
    TY_BUF(out);
    command_succeeds(&out, "%s %s/schemas/document.py check", TY_PYTHON, TY_SOURCE_DIR);
}

// Changes one file of a copy by a sed script.
static void found(const char *file, const char *script, const char *message)
{
    TY_BUF(out);
    command_succeeds(&out, "cd %s && rm -rf schemas && cp -r %s/schemas . && sed -i '%s' schemas/%s && ! cmp -s schemas/%s "
                           "%s/schemas/%s",
                     dir, TY_SOURCE_DIR, script, file, file, TY_SOURCE_DIR, file);
    assert_int_equal(command_output(&out, "%s %s/schemas/document.py check", TY_PYTHON, dir), 1);
    if (!strstr(ty_buf_text(&out), message))
        fail_msg("%s: %s", script, ty_buf_text(&out));
}

static void drift_is_found(void **state)
{
    (void)state;
    static const char *const generated = "a generated section is not what the data says";
    found("transitions.json", "s/\"when\": \"a step failed\"/\"when\": \"any step failed\"/", generated);
    found("transitions.json", "s/\"event\": \"expire\", \"from\": \"CANCELING\", \"to\": \"CANCELED\"/\"event\": \"expire\", "
                              "\"from\": \"CANCELING\", \"to\": \"FAILED\"/",
          generated);
    found("redis/README.md", "s/^| claim | PENDING | IN_PROGRESS/| claim | PENDING | CANCELED/", generated);
    found("topics.json", "s/\"partitions\": 8/\"partitions\": 9/", generated);
    found("commands.json", "s/\"ALREADY_EXISTS\", \"FAILED\"/\"OK\", \"FAILED\"/", generated);
    found("README.md", "s/^| TO_CANCEL | applied, CANCELED/| TO_CANCEL | applied, PENDING/", generated);
    found("commands.json", "/\"CANCELING\", \"command\": \"cancel\"/d", "not just one row for each state and command");
    found("commands.json", "s/\"applied\", \"CANCELING\"/\"applied\", \"CANCELED\"/", "cancel of IN_PROGRESS is not what transitions.json says");
    found("redis/prelude.lua.in", "s/c16c16HHI4I8/c16c16I4HHI8/", "not the layout of prelude.lua.in");
    found("redis/README.md", "s/^| 72 | 8 | `fence`/| 73 | 8 | `fence`/", "not the layout of prelude.lua.in");
    found("redis/README.md", "/^| `log_page` |/d", "the script log_page is not in the table of scripts");
    found("redis/prelude.lua.in", "s/HEAD_BYTES = 128/HEAD_BYTES = 136/", "HEAD has 128 bytes, HEAD_BYTES says 136");
}

// The other reader and writer of the header: a record made in C has each field where the document says.
static void the_record_in_c(void **state)
{
    (void)state;
    TY_BUF(record);
    struct ty_spec spec = {.organization_id = (char *)"org", .container = (char *)"pool:1", .priority = 5, .max_attempts = 3};
    struct ty_record read;
    struct ty_err err;
    ty_buf_add_tag_bytes(&spec.metadata, 12, "org", 3);
    ty_buf_add_tag_bytes(&spec.options, 8, "key", 3);
    memset(spec.digest, 0xd1, sizeof spec.digest);
    ty_record_encode_new(&spec, UINT64_C(1577836800000007), true, TY_REASON_NONE, NULL, &record);
    static const uint8_t head[128] = {
        [0] = 1, [1] = 1, [4] = 4, [5] = 5, [6] = 3, [20] = 5, [24] = 5, [32] = 1,
        [40] = 0x07, 0x40, 0xfa, 0xc1, 0x08, 0x9b, 0x05, 0x00, 0x07, 0x40, 0xfa, 0xc1, 0x08, 0x9b, 0x05, 0x00,
        [96] = 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1,
        [112] = 2, [114] = 6, [116] = 3, [120] = 0x07, 0x00, 0x8d, 0x49, 0xfd, 0x1a, 0x07, 0x00};
    for (size_t i = 0; i < sizeof head; i++)
        if (record.data[i] != head[i])
            fail_msg("byte %zu is %#x, expected %#x", i, record.data[i], head[i]);
    assert_int_equal(record.len, 128 + 6 + 5 + 5);
    assert_memory_equal(record.data + 128, "pool:1", 6);
    assert_memory_equal(record.data + 128 + 6 + 2, "org", 3);
    assert_int_equal(ty_record_decode(record.data, record.len, &read, &err), 0);
    assert_int_equal(read.options_len, 5);
    ty_buf_done(&spec.metadata);
    ty_buf_done(&spec.options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_the_same),
        cmocka_unit_test(drift_is_found),
        cmocka_unit_test(the_record_in_c),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
