// core/store_memory: what INFO says, and which level follows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/store_memory.h"

static void info_is_read(void **state)
{
    struct ty_memory_info info;
    struct ty_err err;
    (void)state;
    assert_int_equal(ty_memory_info_parse("# Memory\r\nused_memory:1000\r\nused_memory_human:1K\r\nmaxmemory:4096\r\n"
                                          "maxmemory_policy:noeviction\r\nmem_not_counted_for_evict:200\r\n", &info, &err), 0);
    assert_int_equal(info.used, 800);
    assert_int_equal(info.maximum, 4096);
    assert_false(info.evicts);
    assert_int_equal(ty_memory_info_parse("used_memory:5\nmaxmemory_policy:allkeys-lru\n", &info, &err), 0);
    assert_int_equal(info.used, 5);
    assert_int_equal(info.maximum, 0);
    assert_true(info.evicts);
    assert_string_equal(info.policy, "allkeys-lru");
    assert_int_equal(ty_memory_info_parse("xused_memory:5\r\n", &info, &err), -TY_EDATALOSS);
    assert_int_equal(ty_memory_info_parse("", &info, &err), -TY_EDATALOSS);
    assert_int_equal(ty_memory_info_parse("used_memory:1\r\nmem_not_counted_for_evict:9\r\n", &info, &err), 0);
    assert_int_equal(info.used, 0);
}

static void levels_have_slack(void **state)
{
    const struct ty_store_memory_options options = {.admit_percent = 75, .shed_percent = 85};
    static const struct {
        uint64_t used;
        enum ty_memory_level now, then;
    } rows[] = {
        {0, TY_MEMORY_ROOM, TY_MEMORY_ROOM},           {749, TY_MEMORY_ROOM, TY_MEMORY_ROOM},
        {750, TY_MEMORY_ROOM, TY_MEMORY_NO_SUBMITS},   {849, TY_MEMORY_ROOM, TY_MEMORY_NO_SUBMITS},
        {850, TY_MEMORY_ROOM, TY_MEMORY_NO_LOGS},      {2000, TY_MEMORY_ROOM, TY_MEMORY_NO_LOGS},
        {701, TY_MEMORY_NO_SUBMITS, TY_MEMORY_NO_SUBMITS}, {699, TY_MEMORY_NO_SUBMITS, TY_MEMORY_ROOM},
        {801, TY_MEMORY_NO_LOGS, TY_MEMORY_NO_LOGS},   {799, TY_MEMORY_NO_LOGS, TY_MEMORY_NO_SUBMITS},
        {690, TY_MEMORY_NO_LOGS, TY_MEMORY_ROOM},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (ty_memory_level_of(&options, rows[i].used, 1000, rows[i].now) != rows[i].then)
            fail_msg("row %zu", i);
    assert_int_equal(ty_memory_level_of(&options, 5000, 0, TY_MEMORY_NO_LOGS), TY_MEMORY_ROOM); // no budget
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info_is_read),
        cmocka_unit_test(levels_have_slack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
