#include "responder/access_token.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ISSUER "trainyard"
#define KID_BYTES 8
#define SIGNATURE_TEXT 43 // of 32 bytes in base64url

// ---- secrets ----

// The header says which secret it was, and is the same in all tokens of one. It tells nothing of the secret that a token's signature
// does not.
static void make_header(struct ty_access_secret *secret)
{
    uint8_t hash[TY_SHA256_BYTES];
    TY_BUF(json);
    TY_BUF(text);
    ty_crypto_hmac_sha256(secret->bytes, secret->len, "trainyard kid", 13, hash);
    ty_buf_add_text(&json, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"");
    for (size_t i = 0; i < KID_BYTES; i++)
        ty_buf_add_format(&json, "%02x", hash[i]);
    ty_buf_add_text(&json, "\"}");
    ty_base64url_add(&text, json.data, json.len);
    snprintf(secret->header, sizeof secret->header, "%s", ty_buf_text(&text));
}

static int add_secret(struct ty_access_secrets *secrets, const char *text, size_t len, unsigned line, struct ty_err *err)
{
    if (secrets->count == TY_ACCESS_SECRETS_MAX)
        return ty_err_set(err, TY_EINVALID, "line %u: there are more than %d secrets", line, TY_ACCESS_SECRETS_MAX);
    if (len < TY_ACCESS_SECRET_MIN_BYTES || len > TY_ACCESS_SECRET_MAX_BYTES)
        return ty_err_set(err, TY_EINVALID, "line %u: a secret has %d to %d characters, this one %zu", line, TY_ACCESS_SECRET_MIN_BYTES,
                          TY_ACCESS_SECRET_MAX_BYTES, len);
    struct ty_access_secret *secret = &secrets->secrets[secrets->count];
    memcpy(secret->bytes, text, len);
    secret->len = len;
    make_header(secret);
    for (size_t i = 0; i < secrets->count; i++)
        if (!strcmp(secrets->secrets[i].header, secret->header))
            return ty_err_set(err, TY_EINVALID, "line %u: the same secret is there twice", line);
    secrets->count++;
    return 0;
}

int ty_access_secrets_parse(const char *text, size_t len, struct ty_access_secrets *ret_secrets, struct ty_err *err)
{
    struct ty_access_secrets secrets = {0};
    int rc = 0;
    unsigned line = 0;
    for (size_t at = 0; rc == 0 && at < len;) {
        const char *start = text + at, *end = memchr(start, '\n', len - at);
        size_t size = end ? (size_t)(end - start) : len - at;
        at += size + 1;
        line++;
        while (size && (start[size - 1] == '\r' || start[size - 1] == ' '))
            size--;
        if (size && *start != '#')
            rc = add_secret(&secrets, start, size, line, err);
    }
    if (rc == 0 && !secrets.count)
        rc = ty_err_set(err, TY_EINVALID, "there is no secret in it");
    if (rc == 0)
        *ret_secrets = secrets;
    ty_access_secrets_wipe(&secrets);
    return rc;
}

void ty_access_secrets_random(struct ty_access_secrets *ret_secrets)
{
    *ret_secrets = (struct ty_access_secrets){.count = 1, .secrets[0].len = TY_SHA256_BYTES};
    ty_crypto_random(ret_secrets->secrets[0].bytes, TY_SHA256_BYTES);
    make_header(&ret_secrets->secrets[0]);
}

void ty_access_secrets_wipe(struct ty_access_secrets *secrets)
{
    ty_crypto_wipe(secrets, sizeof *secrets);
}

// ---- out ----

void ty_access_token_encode(const struct ty_access_secrets *secrets, const struct ty_access_claims *claims, struct ty_buf *out)
{
    const struct ty_access_secret *secret = &secrets->secrets[0];
    char id[TY_ID_TEXT_BYTES];
    uint8_t signature[TY_SHA256_BYTES];
    size_t start = out->len;
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", ISSUER, "sub", ty_id_format(&claims->key_id, id), "org",
                             claims->organization, "role", ty_key_role_name(claims->role), "iat", (json_int_t)claims->issued_s, "exp",
                             (json_int_t)claims->expires_s);
    char *text = json_dumps(json, JSON_COMPACT);
    if (!text)
        abort(); // an organization that is no UTF-8, which no record of a key has
    ty_buf_add_text(out, secret->header);
    ty_buf_add_byte(out, '.');
    ty_base64url_add(out, text, strlen(text));
    ty_crypto_hmac_sha256(secret->bytes, secret->len, out->data + start, out->len - start, signature);
    ty_buf_add_byte(out, '.');
    ty_base64url_add(out, signature, sizeof signature);
    free(text);
    json_decref(json);
}

// ---- in ----

static int refuse(struct ty_err *err, const char *why)
{
    return ty_err_set(err, TY_EUNAUTHENTICATED, "the access token %s", why);
}

static const struct ty_access_secret *secret_of(const struct ty_access_secrets *secrets, const char *header, size_t len)
{
    for (size_t i = 0; i < secrets->count; i++)
        if (strlen(secrets->secrets[i].header) == len && !memcmp(secrets->secrets[i].header, header, len))
            return &secrets->secrets[i];
    return NULL;
}

static bool is_signed(const struct ty_access_secret *secret, const char *token, const char *last_dot, size_t len)
{
    uint8_t signature[TY_SHA256_BYTES], wanted[TY_SHA256_BYTES];
    size_t size, text = len - (size_t)(last_dot + 1 - token);
    if (text != SIGNATURE_TEXT || !ty_base64url_decode(last_dot + 1, text, signature, sizeof signature, &size) || size != sizeof signature)
        return false;
    ty_crypto_hmac_sha256(secret->bytes, secret->len, token, (size_t)(last_dot - token), wanted);
    return ty_crypto_equal(signature, wanted, sizeof wanted);
}

// What we have signed ourselves, so that a claim that is missing or odd is one of another version.
static bool read_claims(const uint8_t *text, size_t len, struct ty_access_claims *claims)
{
    const char *issuer, *id, *organization, *role;
    json_int_t issued, expires;
    struct ty_err ignored;
    json_t *json = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, NULL);
    bool is_good = json && json_unpack(json, "{s:s, s:s, s:s, s:s, s:I, s:I}", "iss", &issuer, "sub", &id, "org", &organization, "role",
                                       &role, "iat", &issued, "exp", &expires) == 0 &&
                   !strcmp(issuer, ISSUER) && ty_id_parse(id, &claims->key_id, &ignored) == 0 && *organization &&
                   strlen(organization) < sizeof claims->organization && ty_key_role_of(role) != TY_ROLE_NONE;
    if (is_good) {
        claims->role = ty_key_role_of(role);
        claims->issued_s = issued;
        claims->expires_s = expires;
        snprintf(claims->organization, sizeof claims->organization, "%s", organization);
    }
    json_decref(json);
    return is_good;
}

int ty_access_token_decode(const struct ty_access_secrets *secrets, const char *token, size_t len, int64_t now_s,
                           struct ty_access_claims *ret_claims, struct ty_err *err)
{
    uint8_t text[TY_ACCESS_TOKEN_BYTES];
    struct ty_access_claims claims = {0};
    size_t size;
    if (len > TY_ACCESS_TOKEN_BYTES)
        return refuse(err, "is too long");
    const char *dot = memchr(token, '.', len);
    const char *last = dot ? memchr(dot + 1, '.', len - (size_t)(dot + 1 - token)) : NULL;
    if (!last || memchr(last + 1, '.', len - (size_t)(last + 1 - token)))
        return refuse(err, "is not one of this service");
    const struct ty_access_secret *secret = secret_of(secrets, token, (size_t)(dot - token));
    if (!secret)
        return refuse(err, "is not one of this service, or was signed with a secret that is not in use any more");
    if (!is_signed(secret, token, last, len))
        return refuse(err, "has a signature that is wrong");
    if (!ty_base64url_decode(dot + 1, (size_t)(last - dot - 1), text, sizeof text, &size) || !read_claims(text, size, &claims))
        return refuse(err, "has claims that are not those of this version");
    if (claims.expires_s <= now_s)
        return refuse(err, "has expired; log in again");
    *ret_claims = claims;
    return 0;
}
