// core/nearest: what was meant by a misspelt word.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/nearest.h"

static const char *const words[] = {"submit", "submit-custom", "cancel", "list", "get"};

static const char *word(const void *context, size_t index)
{
    return ((const char *const *)context)[index];
}

static const char *nearest(const char *text)
{
    const char *found = ty_nearest(text, word, words, sizeof words / sizeof *words);
    return found ? found : "none";
}

static void test_nearest(void **state)
{
    (void)state;
    assert_string_equal(nearest("submit"), "submit");
    assert_string_equal(nearest("sumbit"), "submit");
    assert_string_equal(nearest("cancle"), "cancel");
    assert_string_equal(nearest("lst"), "list");
    assert_string_equal(nearest("submit_custom"), "submit-custom");
    assert_string_equal(nearest("can"), "cancel");
    assert_string_equal(nearest("gte"), "get");
    assert_string_equal(nearest("frobnicate"), "none");
    assert_string_equal(nearest(""), "none");
    assert_string_equal(nearest("a word that is far longer than any that could have been meant"), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
