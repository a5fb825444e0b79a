// responder/access_token: a token is good as it was made, and in no other form; secrets come and go.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "responder/access_token.h"

#define OLD "an-old-secret-of-forty-characters-or-so."
#define NEW "a-new-secret-of-forty-characters-or-so.."
#define NOW 1790000000

static struct ty_err err;
static struct ty_access_claims claims;

static struct ty_access_secrets secrets(const char *text)
{
    struct ty_access_secrets made;
    assert_int_equal(ty_access_secrets_parse(text, strlen(text), &made, &err), 0);
    return made;
}

static struct ty_access_claims some_claims(void)
{
    return (struct ty_access_claims){.key_id = ty_id_new(), .organization = "acme \"& s\xc3\xb6hne\"", .role = TY_ROLE_SUBMIT,
                                     .issued_s = NOW, .expires_s = NOW + 60};
}

static int decode(const struct ty_access_secrets *with, const char *token, size_t len, int64_t now_s)
{
    memset(&claims, 0x5a, sizeof claims);
    return ty_access_token_decode(with, token, len, now_s, &claims, &err);
}

static void a_token_says_what_it_was_made_with(void **state)
{
    struct ty_access_secrets with = secrets(OLD);
    (void)state;
    for (enum ty_key_role role = TY_ROLE_READ; role <= TY_ROLE_OWNER; role++) {
        struct ty_access_claims made = some_claims();
        TY_BUF(token);
        made.role = role;
        ty_access_token_encode(&with, &made, &token);
        assert_true(token.len < TY_ACCESS_TOKEN_BYTES);
        assert_int_equal(strspn(ty_buf_text(&token), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."), token.len);
        assert_int_equal(decode(&with, (char *)token.data, token.len, NOW), 0);
        assert_true(ty_id_equal(&claims.key_id, &made.key_id) && claims.role == role);
        assert_string_equal(claims.organization, made.organization);
        assert_true(claims.issued_s == NOW && claims.expires_s == NOW + 60);
    }
}

static void the_longest_organization_fits(void **state)
{
    struct ty_access_secrets with = secrets(OLD);
    struct ty_access_claims made = some_claims();
    TY_BUF(token);
    (void)state;
    memset(made.organization, '\x7f', sizeof made.organization - 1);
    made.organization[sizeof made.organization - 1] = 0;
    ty_access_token_encode(&with, &made, &token);
    assert_int_equal(decode(&with, (char *)token.data, token.len, NOW), 0);
    assert_string_equal(claims.organization, made.organization);
}

static void a_token_expires(void **state)
{
    struct ty_access_secrets with = secrets(OLD);
    struct ty_access_claims made = some_claims();
    TY_BUF(token);
    (void)state;
    ty_access_token_encode(&with, &made, &token);
    assert_int_equal(decode(&with, (char *)token.data, token.len, NOW + 59), 0);
    assert_int_equal(decode(&with, (char *)token.data, token.len, NOW + 60), -TY_EUNAUTHENTICATED);
    assert_non_null(strstr(err.message, "expired"));
    assert_int_equal(decode(&with, (char *)token.data, token.len, INT64_MAX), -TY_EUNAUTHENTICATED);
}

// Every byte in turn changed, taken out and doubled, and every beginning.
static void what_was_changed_is_refused(void **state)
{
    struct ty_access_secrets with = secrets(OLD);
    struct ty_access_claims made = some_claims();
    TY_BUF(token);
    (void)state;
    ty_access_token_encode(&with, &made, &token);
    char *changed = ty_xcalloc(1, token.len + 2);
    for (size_t i = 0; i < token.len; i++) {
        memcpy(changed, token.data, token.len);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        assert_int_equal(decode(&with, changed, token.len, NOW), -TY_EUNAUTHENTICATED);
        changed[i] = '\0';
        assert_int_equal(decode(&with, changed, token.len, NOW), -TY_EUNAUTHENTICATED);
        changed[i] = '.';
        if (token.data[i] != '.')
            assert_int_equal(decode(&with, changed, token.len, NOW), -TY_EUNAUTHENTICATED);
        memmove(changed + i, token.data + i + 1, token.len - i - 1);
        assert_int_equal(decode(&with, changed, token.len - 1, NOW), -TY_EUNAUTHENTICATED);
        memcpy(changed, token.data, i + 1);
        memcpy(changed + i + 1, token.data + i, token.len - i);
        assert_int_equal(decode(&with, changed, token.len + 1, NOW), -TY_EUNAUTHENTICATED);
        assert_int_equal(decode(&with, (char *)token.data, i, NOW), -TY_EUNAUTHENTICATED);
    }
    free(changed);
}

static void sign(const struct ty_access_secrets *with, const char *header, const char *text, struct ty_buf *out)
{
    uint8_t signature[TY_SHA256_BYTES];
    ty_buf_clear(out);
    ty_buf_add_text(out, header);
    ty_buf_add_byte(out, '.');
    ty_base64url_add(out, text, strlen(text));
    ty_crypto_hmac_sha256(with->secrets[0].bytes, with->secrets[0].len, out->data, out->len, signature);
    ty_buf_add_byte(out, '.');
    ty_base64url_add(out, signature, sizeof signature);
}

#define SUB "\"sub\":\"1b4e28ba-2fa1-4ed2-983f-0016d3cca427\""
#define REST "\"org\":\"acme\",\"role\":\"read\",\"iat\":1,\"exp\":9000000000"

// Signed with our secret, and yet none of ours: another header, another algorithm, claims that are missing or odd.
static void what_is_odd_is_refused_though_it_is_signed(void **state)
{
    static const char *const odd[] = {"", "[]", "null", "1", "{", "{}", "{\"iss\":\"trainyard\"," SUB "," REST "}x",
        "{\"iss\":\"other\"," SUB "," REST "}", "{\"iss\":\"trainyard\",\"sub\":\"x\"," REST "}",
        "{\"iss\":\"trainyard\",\"sub\":1," REST "}", "{\"iss\":\"trainyard\"," REST "}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"\",\"role\":\"read\",\"iat\":1,\"exp\":9000000000}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"a\\u0000b\",\"role\":\"read\",\"iat\":1,\"exp\":9000000000}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"acme\",\"role\":\"root\",\"iat\":1,\"exp\":9000000000}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"acme\",\"role\":\"read\",\"iat\":1}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"acme\",\"role\":\"read\",\"iat\":1,\"exp\":\"9000000000\"}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"acme\",\"role\":\"read\",\"iat\":1,\"exp\":9e9}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"acme\",\"org\":\"other\",\"role\":\"read\",\"iat\":1,\"exp\":9000000000}",
        "{\"iss\":\"trainyard\"," SUB ",\"org\":\"\xff\",\"role\":\"read\",\"iat\":1,\"exp\":9000000000}"};
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", "{}"};
    struct ty_access_secrets with = secrets(OLD);
    TY_BUF(token);
    (void)state;
    sign(&with, with.secrets[0].header, "{\"iss\":\"trainyard\"," SUB "," REST "}", &token);
    assert_int_equal(decode(&with, (char *)token.data, token.len, NOW), 0);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        sign(&with, with.secrets[0].header, odd[i], &token);
        assert_int_equal(decode(&with, (char *)token.data, token.len, NOW), -TY_EUNAUTHENTICATED);
    }
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        TY_BUF(header);
        ty_base64url_add(&header, headers[i], strlen(headers[i]));
        sign(&with, ty_buf_text(&header), "{\"iss\":\"trainyard\"," SUB "," REST "}", &token);
        assert_int_equal(decode(&with, (char *)token.data, token.len, NOW), -TY_EUNAUTHENTICATED);
    }
}

static void what_is_no_token_is_refused(void **state)
{
    static const char *const none[] = {"", ".", "..", "...", "a.b.c", "Bearer x.y.z", "trainyard-without-authentication"};
    struct ty_access_secrets with = secrets(OLD);
    char *longest = ty_xcalloc(1, TY_ACCESS_TOKEN_BYTES + 2);
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(decode(&with, none[i], strlen(none[i]), NOW), -TY_EUNAUTHENTICATED);
    memset(longest, '.', TY_ACCESS_TOKEN_BYTES + 1);
    assert_int_equal(decode(&with, longest, TY_ACCESS_TOKEN_BYTES + 1, NOW), -TY_EUNAUTHENTICATED);
    assert_non_null(strstr(err.message, "too long"));
    free(longest);
}

// The steps of docs/access.md: the new secret verifies everywhere, then signs, then the old one goes.
static void a_secret_is_rotated(void **state)
{
    struct ty_access_secrets old = secrets(OLD "\n"), both = secrets(OLD "\n" NEW "\n"), turned = secrets("# rotated\n\n" NEW "\r\n" OLD),
                             new = secrets(NEW), other;
    struct ty_access_claims made = some_claims();
    TY_BUF(before);
    TY_BUF(after);
    (void)state;
    ty_access_token_encode(&both, &made, &before);
    ty_access_token_encode(&turned, &made, &after);
    assert_int_equal(decode(&old, (char *)before.data, before.len, NOW), 0);
    assert_int_equal(decode(&turned, (char *)before.data, before.len, NOW), 0);
    assert_int_equal(decode(&both, (char *)after.data, after.len, NOW), 0);
    assert_int_equal(decode(&new, (char *)after.data, after.len, NOW), 0);
    assert_int_equal(decode(&new, (char *)before.data, before.len, NOW), -TY_EUNAUTHENTICATED);
    ty_access_secrets_random(&other);
    assert_int_equal(decode(&other, (char *)after.data, after.len, NOW), -TY_EUNAUTHENTICATED);
    struct ty_access_secrets another;
    ty_access_secrets_random(&another);
    assert_string_not_equal(other.secrets[0].header, another.secrets[0].header);
}

static void what_is_no_file_of_secrets_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {{"", "no secret"}, {"# only words\n\n", "no secret"}, {"short\n", "line 1"}, {OLD "\n" OLD "\n", "twice"},
                 {OLD "\nshort", "line 2"}};
    struct ty_access_secrets made = {.count = 77};
    TY_BUF(many);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ty_access_secrets_parse(cases[i].text, strlen(cases[i].text), &made, &err), -TY_EINVALID);
        if (!strstr(err.message, cases[i].why))
            fail_msg("\"%s\" lacks \"%s\"", err.message, cases[i].why);
        assert_null(strstr(err.message, OLD)); // no secret in a message
    }
    for (int i = 0; i <= TY_ACCESS_SECRETS_MAX; i++)
        ty_buf_add_format(&many, OLD "%d\n", i);
    assert_int_equal(ty_access_secrets_parse((char *)many.data, many.len, &made, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "more than 8"));
    assert_int_equal(made.count, 77);
    ty_buf_clear(&many);
    ty_buf_reserve(&many, TY_ACCESS_SECRET_MAX_BYTES + 1);
    memset(many.data, 'a', TY_ACCESS_SECRET_MAX_BYTES + 1);
    assert_int_equal(ty_access_secrets_parse((char *)many.data, TY_ACCESS_SECRET_MAX_BYTES + 1, &made, &err), -TY_EINVALID);
    assert_int_equal(ty_access_secrets_parse((char *)many.data, TY_ACCESS_SECRET_MAX_BYTES, &made, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_what_it_was_made_with),
        cmocka_unit_test(the_longest_organization_fits),
        cmocka_unit_test(a_token_expires),
        cmocka_unit_test(what_was_changed_is_refused),
        cmocka_unit_test(what_is_odd_is_refused_though_it_is_signed),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(a_secret_is_rotated),
        cmocka_unit_test(what_is_no_file_of_secrets_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
