#include "core/json_place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "{\n"                                      // 1
                           "  \"a\": \"{ [ \\\" ] }\",\n"             // 2
                           "  \"list\": [\n"                          // 3
                           "    {\"x\": 1,\n"                         // 4
                           "     \"y\": [[], {}, [1, 2],\n"           // 5
                           "           true]},\n"                     // 6
                           "    -1.5e3, {\"x\": {\"y\":\n"            // 7
                           "        \"deep\\\\\"}, \"xy\": null,\n"   // 8
                           "     \"\":false}\n"                       // 9
                           "  ],\n"                                   // 10
                           "  \"last\":\n"                            // 11
                           "    \"z\"\n"                              // 12
                           "}\n";

#define IN(name)                                                                                                            \
    {                                                                                                                       \
        .member = (name)                                                                                                    \
    }
#define AT(number)                                                                                                          \
    {                                                                                                                       \
        .index = (number)                                                                                                   \
    }

static void test_lines(void **state)
{
    static const struct {
        size_t line, count;
        struct ty_json_step steps[4];
    } cases[] = {
        {1, 0, {{0}}},
        {2, 1, {IN("a")}},
        {3, 1, {IN("list")}},
        {4, 2, {IN("list"), AT(0)}},
        {4, 3, {IN("list"), AT(0), IN("x")}},
        {5, 3, {IN("list"), AT(0), IN("y")}},
        {5, 4, {IN("list"), AT(0), IN("y"), AT(2)}},
        {6, 4, {IN("list"), AT(0), IN("y"), AT(3)}},
        {7, 2, {IN("list"), AT(1)}},
        {7, 2, {IN("list"), AT(2)}},
        {7, 3, {IN("list"), AT(2), IN("x")}},
        {8, 4, {IN("list"), AT(2), IN("x"), IN("y")}},
        {8, 3, {IN("list"), AT(2), IN("xy")}},
        {9, 3, {IN("list"), AT(2), IN("")}},
        {12, 1, {IN("last")}},
        // Steps that lead nowhere: the line they start from.
        {1, 1, {IN("none")}},
        {1, 1, {AT(0)}},
        {3, 2, {IN("list"), AT(3)}},
        {4, 3, {IN("list"), AT(0), IN("z")}},
        {4, 4, {IN("list"), AT(0), IN("z"), IN("y")}},
        {12, 2, {IN("last"), IN("more")}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (ty_json_line(text, strlen(text), cases[i].steps, cases[i].count) != cases[i].line)
            fail_msg("case %zu: line %zu instead of %zu", i,
                     ty_json_line(text, strlen(text), cases[i].steps, cases[i].count), cases[i].line);
}

// No text, however broken, is read beyond its end: the sanitizers watch the copies of exact size.
static void test_broken_texts(void **state)
{
    static const struct ty_json_step steps[] = {IN("list"), AT(2), IN("x"), IN("y")};
    (void)state;
    for (size_t len = 0; len < strlen(text); len++) {
        char *copy = test_malloc(len + 1);
        memcpy(copy + 1, text, len);
        size_t line = ty_json_line(copy + 1, len, steps, 4);
        assert_in_range(line, 1, 13);
        test_free(copy);
    }
    assert_int_equal(ty_json_line("]}:,\"", 5, steps, 4), 1);
    assert_int_equal(ty_json_line("{\"list\"", 7, steps, 4), 1);
    assert_int_equal(ty_json_line("{\"\\", 3, steps, 4), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lines), cmocka_unit_test(test_broken_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
