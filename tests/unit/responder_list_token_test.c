#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "responder/list_token.h"
#include "responder/page_token.h"

static const uint8_t list[TY_LIST_DIGEST_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static const struct ty_list_cursor place = {UINT64_C(1700000000123456), {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}}};

static void test_round_trip(void **state)
{
    static const uint64_t times[] = {0, 1, UINT64_C(1700000000123456), UINT64_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct ty_list_cursor from = place, to;
        char text[TY_LIST_TOKEN_BYTES];
        struct ty_err err;
        from.time_us = times[i];
        ty_list_token_encode(list, &from, text);
        assert_int_equal(strlen(text), TY_LIST_TOKEN_BYTES - 1);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), TY_LIST_TOKEN_BYTES - 1);
        assert_int_equal(ty_list_token_decode("page_token", text, list, &to, &err), 0);
        assert_true(to.time_us == times[i] && ty_id_equal(&to.id, &place.id));
    }
}

// A token that was given out yesterday is good tomorrow: the layout is part of the service.
static void test_the_layout_stays(void **state)
{
    char text[TY_LIST_TOKEN_BYTES];
    (void)state;
    assert_string_equal(ty_list_token_encode(list, &place, text), "AgECAwQFBgcICQpAIiAYJAoGAAECAwQFBgcICQoLDA0OD_8XhR6_");
}

static void assert_refused(const char *text, const uint8_t digest[TY_LIST_DIGEST_BYTES], const char *word)
{
    struct ty_list_cursor to;
    struct ty_err err;
    assert_int_equal(ty_list_token_decode("page_token", text, digest, &to, &err), -TY_EINVALID);
    if (!strstr(err.message, "page_token: ") || !strstr(err.message, word))
        fail_msg("\"%s\" does not say \"%s\"", err.message, word);
}

static void test_every_changed_character_is_refused(void **state)
{
    char text[TY_LIST_TOKEN_BYTES];
    (void)state;
    ty_list_token_encode(list, &place, text);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_refused(text, list, "not a token");
        text[i] = '+'; // of base64 but not of base64url
        assert_refused(text, list, "not a token");
        text[i] = was;
    }
    text[sizeof text - 2] = 0;
    assert_refused(text, list, "not a token");
    assert_refused("", list, "not a token");
}

static void test_a_token_of_something_else_is_refused(void **state)
{
    static const uint8_t other[TY_LIST_DIGEST_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11};
    char text[TY_LIST_TOKEN_BYTES], page[TY_PAGE_TOKEN_BYTES];
    (void)state;
    assert_refused(ty_list_token_encode(other, &place, text), list, "another list");
    assert_refused(ty_page_token_encode(&place.id, 1, 2, page), list, "not a token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_the_layout_stays),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_a_token_of_something_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
