// Access tokens, which Authenticate gives and every other call shows: JWTs (RFC 7519) signed with HMAC-SHA-256 (HS256). They say by
// themselves of which key they are, for which organization and role, and until when. Pure but for ty_access_secrets_random; one
// thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/key.h"

#define TY_ACCESS_TOKEN_BYTES 2048  // longer ones are refused unread
#define TY_ACCESS_SECRETS_MAX 8     // in one file: more are refused
#define TY_ACCESS_SECRET_MIN_BYTES 32
#define TY_ACCESS_SECRET_MAX_BYTES 256
#define TY_ACCESS_SECRETS_FILE_BYTES 8192

struct ty_access_claims {
    struct ty_id key_id;
    char organization[128 + 1];
    enum ty_key_role role;
    int64_t issued_s, expires_s; // seconds since 1970
};

// What tokens are signed with: the first one signs, all of them verify.
struct ty_access_secret {
    uint8_t bytes[TY_ACCESS_SECRET_MAX_BYTES];
    size_t len;
    char header[96]; // the first part of its tokens, which names it
};
struct ty_access_secrets {
    struct ty_access_secret secrets[TY_ACCESS_SECRETS_MAX];
    size_t count;
};

// A file's text: one secret a line, its characters as they are; empty lines and those that begin with # are passed over. TY_EINVALID
// names the line: none, too many, one that is too short or too long, one that is there twice.
int ty_access_secrets_parse(const char *text, size_t len, struct ty_access_secrets *ret_secrets, struct ty_err *err) TY_MUST_USE;
// One secret that nobody else has.
void ty_access_secrets_random(struct ty_access_secrets *ret_secrets);
void ty_access_secrets_wipe(struct ty_access_secrets *secrets);

// Adds the token's text.
void ty_access_token_encode(const struct ty_access_secrets *secrets, const struct ty_access_claims *claims, struct ty_buf *out);
// Nothing of the token is parsed before its signature was found good. TY_EUNAUTHENTICATED: it is none of ours, or has expired.
int ty_access_token_decode(const struct ty_access_secrets *secrets, const char *token, size_t len, int64_t now_s,
                           struct ty_access_claims *ret_claims, struct ty_err *err) TY_MUST_USE;
