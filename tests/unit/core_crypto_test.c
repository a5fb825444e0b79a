// core/crypto: that OpenSSL is called as it wants to be, by published vectors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/crypto.h"

static void hmac_is_rfc_4231s(void **state)
{
    uint8_t out[TY_SHA256_BYTES];
    (void)state;
    ty_crypto_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, out);
    assert_memory_equal(out, "\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7\x5a\x00\x3f\x08\x9d\x27\x39\x83\x9d\xec\x58\xb9\x64\xec\x38\x43", 32);
}

static void base64url_goes_back_and_forth(void **state)
{
    uint8_t bytes[64], back[64];
    size_t len;
    (void)state;
    for (size_t n = 0; n <= sizeof bytes; n++) {
        TY_BUF(text);
        ty_crypto_random(bytes, sizeof bytes);
        ty_base64url_add(&text, bytes, n);
        ty_buf_text(&text);
        assert_int_equal(text.len, (n * 4 + 2) / 3);
        assert_true(ty_base64url_decode((char *)text.data, text.len, back, sizeof back, &len));
        assert_true(len == n && !memcmp(bytes, back, n));
        if (n)
            assert_false(ty_base64url_decode((char *)text.data, text.len, back, n - 1, &len));
    }
    static const char *const bad[] = {"A", "AAAAA", "AA=", "AA==", "A+", "A/", "AB", "AAB", "A A", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ty_base64url_decode(bad[i], strlen(bad[i]), back, sizeof back, &len));
    TY_BUF(known);
    ty_base64url_add(&known, "\xfb\xff\xfe", 3);
    assert_string_equal(ty_buf_text(&known), "-__-");
}

static void a_signature_holds_for_its_bytes_and_key_only(void **state)
{
    uint8_t public_key[32], other[32], again[32], signature[64];
    struct ty_ed25519 *key;
    struct ty_err err;
    TY_BUF(pem);
    TY_BUF(other_pem);
    (void)state;
    ty_ed25519_new(public_key, &pem);
    ty_ed25519_new(other, &other_pem);
    assert_memory_not_equal(public_key, other, 32);
    assert_int_equal(ty_ed25519_read(pem.data, pem.len, &key, &err), 0);
    ty_ed25519_public(key, again);
    assert_memory_equal(again, public_key, 32);
    ty_ed25519_sign(key, "abc", 3, signature);
    assert_true(ty_ed25519_verify(public_key, "abc", 3, signature, 64));
    assert_false(ty_ed25519_verify(public_key, "abd", 3, signature, 64));
    assert_false(ty_ed25519_verify(other, "abc", 3, signature, 64));
    assert_false(ty_ed25519_verify(public_key, "abc", 3, signature, 63));
    for (size_t i = 0; i < 64; i += 7) {
        signature[i] ^= 1;
        assert_false(ty_ed25519_verify(public_key, "abc", 3, signature, 64));
        signature[i] ^= 1;
    }
    memset(other, 0xff, sizeof other); // no point of the curve
    assert_false(ty_ed25519_verify(other, "abc", 3, signature, 64));
    ty_ed25519_free(key);
}

// RFC 8032, section 7.1, test 2.
static void ed25519_is_rfc_8032s(void **state)
{
    static const uint8_t public_key[] = "\x3d\x40\x17\xc3\xe8\x43\x89\x5a\x92\xb7\x0a\xa7\x4d\x1b\x7e\xbc\x9c\x98\x2c\xcf\x2e\xc4\x96\x8c\xc0\xcd\x55\xf1\x2a\xf4\x66\x0c";
    static const uint8_t signature[] = "\x92\xa0\x09\xa9\xf0\xd4\xca\xb8\x72\x0e\x82\x0b\x5f\x64\x25\x40\xa2\xb2\x7b\x54\x16\x50\x3f\x8f\xb3\x76\x22\x23\xeb\xdb\x69\xda"
                                       "\x08\x5a\xc1\xe4\x3e\x15\x99\x6e\x45\x8f\x36\x13\xd0\xf1\x1d\x8c\x38\x7b\x2e\xae\xb4\x30\x2a\xee\xb0\x0d\x29\x16\x12\xbb\x0c\x00";
    (void)state;
    assert_true(ty_ed25519_verify(public_key, "\x72", 1, signature, 64));
}

static void what_is_no_private_key_is_refused(void **state)
{
    static const char *const bad[] = {"", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"};
    struct ty_ed25519 *key = NULL;
    struct ty_err err;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ty_ed25519_read(bad[i], strlen(bad[i]), &key, &err), -TY_EINVALID);
    assert_null(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_is_rfc_4231s),
        cmocka_unit_test(base64url_goes_back_and_forth),
        cmocka_unit_test(a_signature_holds_for_its_bytes_and_key_only),
        cmocka_unit_test(ed25519_is_rfc_8032s),
        cmocka_unit_test(what_is_no_private_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
