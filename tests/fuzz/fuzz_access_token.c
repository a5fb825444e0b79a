// responder/access_token: no text is taken for a token but one that was signed, and no claims that were signed break the reader. The
// first byte says which: the whole token, or its claims, or the file of secrets.
#include <string.h>

#include "core/wire.h"
#include "responder/access_token.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "a-secret-of-forty-characters-or-so......"

static void check_error(int rc, enum ty_code code, const struct ty_err *err)
{
    REQUIRE(rc == -(int)code && *err->message && ty_utf8_is_valid(err->message, strlen(err->message)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned kind = input_byte(&input) % 3;
    struct ty_access_secrets secrets, read;
    struct ty_access_claims claims = {0};
    struct ty_err err = {0};
    TY_BUF(token);
    if (kind == 2) {
        int rc = ty_access_secrets_parse((const char *)input.bytes, input.len, &read, &err);
        if (rc < 0)
            check_error(rc, TY_EINVALID, &err);
        else
            REQUIRE(read.count > 0 && read.count <= TY_ACCESS_SECRETS_MAX);
        return 0;
    }
    REQUIRE(ty_access_secrets_parse(SECRET, strlen(SECRET), &secrets, &err) == 0);
    if (kind == 0) {
        ty_buf_add(&token, input.bytes, input.len);
    } else {
        uint8_t signature[TY_SHA256_BYTES];
        ty_buf_add_text(&token, secrets.secrets[0].header);
        ty_buf_add_byte(&token, '.');
        ty_base64url_add(&token, input.bytes, input.len);
        ty_crypto_hmac_sha256(SECRET, strlen(SECRET), token.data, token.len, signature);
        ty_buf_add_byte(&token, '.');
        ty_base64url_add(&token, signature, sizeof signature);
    }
    int rc = ty_access_token_decode(&secrets, ty_buf_text(&token), token.len, 1000, &claims, &err);
    if (rc < 0) {
        check_error(rc, TY_EUNAUTHENTICATED, &err);
        return 0;
    }
    REQUIRE(*claims.organization && ty_key_role_name(claims.role) && claims.expires_s > 1000);
    return 0;
}
