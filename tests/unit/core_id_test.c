// core/id: text and bytes, randomness, and ids from keys, which must never change.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/id.h"

static void parse_and_format(void **state)
{
    (void)state;
    struct ty_id id, same;
    struct ty_err err;
    char text[TY_ID_TEXT_BYTES];
    assert_int_equal(ty_id_parse("00112233-4455-6677-8899-aAbBcCdDeEfF", &id, &err), 0);
    assert_memory_equal(id.bytes, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    assert_ptr_equal(ty_id_format(&id, text), text);
    assert_string_equal(text, "00112233-4455-6677-8899-aabbccddeeff");
    assert_int_equal(ty_id_parse(text, &same, &err), 0);
    assert_true(ty_id_equal(&id, &same));
    same.bytes[15] ^= 1;
    assert_false(ty_id_equal(&id, &same));
}

static void what_is_no_uuid(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "x",
        "00112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddeef",
        "00112233-4455-6677-8899-aabbccddeeff0",
        "00112233-4455-6677-8899-aabbccddeefg",
        "00112233+4455-6677-8899-aabbccddeeff",
        "0011223-34455-6677-8899-aabbccddeeff",
        "{0112233-4455-6677-8899-aabbccddeef}",
        " 0112233-4455-6677-8899-aabbccddeeff",
        "00112233-4455-6677-8899-aabbccddee\xc3\xa9",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ty_id id;
        struct ty_err err;
        memset(&id, 0x5a, sizeof id);
        assert_int_equal(ty_id_parse(texts[i], &id, &err), -TY_EINVALID);
        for (size_t at = 0; at < sizeof id.bytes; at++)
            assert_int_equal(id.bytes[at], 0x5a); // written only on success
    }
}

static void random_ones_differ(void **state)
{
    (void)state;
    uint8_t ored[16] = {0}, anded[16];
    memset(anded, 0xff, sizeof anded);
    for (int i = 0; i < 200; i++) {
        struct ty_id a = ty_id_new(), b = ty_id_new();
        struct ty_token token = ty_token_new();
        assert_false(ty_id_equal(&a, &b));
        assert_int_equal(a.bytes[6] >> 4, 4);
        assert_int_equal(a.bytes[8] >> 6, 2);
        for (size_t at = 0; at < 16; at++) {
            ored[at] |= token.bytes[at];
            anded[at] &= token.bytes[at];
        }
    }
    // Every bit of a token takes both values, also those that a UUID fixes.
    for (size_t at = 0; at < 16; at++) {
        assert_int_equal(ored[at], 0xff);
        assert_int_equal(anded[at], 0);
    }
}

static void ids_from_keys_stay_for_ever(void **state)
{
    (void)state;
    char text[TY_ID_TEXT_BYTES];
    struct ty_id id = ty_id_from_key("org-1", "nightly-2026-11-23");
    // Worked out by Python: uuid5(UUID("5f3c1e0a-7d44-4b52-9a6e-21c80f95d3b7"), "org-1\0nightly-2026-11-23").
    assert_string_equal(ty_id_format(&id, text), "df60014a-a3a9-5520-8c93-c7b56979d589");
    struct ty_id shifted = ty_id_from_key("org-1n", "ightly-2026-11-23");
    assert_false(ty_id_equal(&id, &shifted));
    struct ty_id empty = ty_id_from_key("", "");
    assert_int_equal(empty.bytes[6] >> 4, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_and_format),
        cmocka_unit_test(what_is_no_uuid),
        cmocka_unit_test(random_ones_differ),
        cmocka_unit_test(ids_from_keys_stay_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
