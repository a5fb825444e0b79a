#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "responder/page_token.h"

static const struct ty_id job = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255}};

static void test_round_trip(void **state)
{
    static const struct {
        uint32_t attempt;
        uint64_t sequence;
    } places[] = {{0, 0}, {1, 1000}, {UINT32_MAX, UINT64_MAX}, {7, UINT64_C(1) << 40}};
    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char text[TY_PAGE_TOKEN_BYTES];
        uint32_t attempt;
        uint64_t sequence;
        struct ty_err err;
        ty_page_token_encode(&job, places[i].attempt, places[i].sequence, text);
        assert_int_equal(strlen(text), TY_PAGE_TOKEN_BYTES - 1);
        assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         TY_PAGE_TOKEN_BYTES - 1);
        assert_int_equal(ty_page_token_decode(text, &job, &attempt, &sequence, &err), 0);
        assert_int_equal(attempt, places[i].attempt);
        assert_true(sequence == places[i].sequence);
    }
}

static void assert_refused(const char *text, const struct ty_id *id)
{
    uint32_t attempt;
    uint64_t sequence;
    struct ty_err err;
    assert_int_equal(ty_page_token_decode(text, id, &attempt, &sequence, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "page_token"));
}

static void test_every_changed_character_is_refused(void **state)
{
    char text[TY_PAGE_TOKEN_BYTES];
    (void)state;
    ty_page_token_encode(&job, 3, 4711, text);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        char was = text[i];
        text[i] = was == 'A' ? 'B' : 'A';
        assert_refused(text, &job);
        text[i] = '+'; // of base64 but not of base64url
        assert_refused(text, &job);
        text[i] = was;
    }
}

static void test_other_texts_are_refused(void **state)
{
    char text[TY_PAGE_TOKEN_BYTES + 1];
    struct ty_id other = job;
    (void)state;
    other.bytes[0]++;
    ty_page_token_encode(&job, 1, 2, text);
    assert_refused(text, &other);
    text[TY_PAGE_TOKEN_BYTES - 2] = 0;
    assert_refused(text, &job);
    ty_page_token_encode(&job, 1, 2, text);
    strcat(text, "A");
    assert_refused(text, &job);
    assert_refused("x", &job);
}

// The layout as written down in the header, computed by another program.
static void test_a_known_token_stays_readable(void **state)
{
    uint32_t attempt;
    uint64_t sequence;
    struct ty_err err;
    char text[TY_PAGE_TOKEN_BYTES];
    (void)state;
    ty_page_token_encode(&job, 2, 500, text);
    assert_string_equal(text, "AQECAwQFBgcICQoLDA0OD_8CAAAA9AEAAAAAAADyzp6r");
    assert_int_equal(ty_page_token_decode("AQECAwQFBgcICQoLDA0OD_8CAAAA9AEAAAAAAADyzp6r", &job, &attempt, &sequence, &err), 0);
    assert_int_equal(attempt, 2);
    assert_int_equal(sequence, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_changed_character_is_refused),
        cmocka_unit_test(test_other_texts_are_refused),
        cmocka_unit_test(test_a_known_token_stays_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
