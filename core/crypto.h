// The one door to OpenSSL's libcrypto: hashes, HMAC, Ed25519, random bytes. No algorithm of our own. Where the library fails (no
// memory, a broken configuration) the process ends with one line, as when memory runs out: nobody can go on safely with an answer
// that was not computed. Thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

#define TY_SHA256_BYTES 32
#define TY_ED25519_KEY_BYTES 32
#define TY_ED25519_SIGNATURE_BYTES 64

void ty_crypto_random(void *out, size_t len);
void ty_crypto_sha256(const void *bytes, size_t len, uint8_t out[TY_SHA256_BYTES]);
void ty_crypto_hmac_sha256(const void *secret, size_t secret_len, const void *bytes, size_t len, uint8_t out[TY_SHA256_BYTES]);
// Takes the same time wherever they differ.
bool ty_crypto_equal(const void *a, const void *b, size_t len);
// Overwrites a secret, also where the compiler sees no use of it.
void ty_crypto_wipe(void *bytes, size_t len);

// base64url without padding (RFC 7515).
void ty_base64url_add(struct ty_buf *out, const void *bytes, size_t len);
// Strict: only its alphabet, no padding, no bits left over that are not zero. out has room for (len * 3) / 4 bytes; false: it is
// none, or longer than max bytes.
bool ty_base64url_decode(const char *text, size_t len, uint8_t *out, size_t max, size_t *ret_len);

// A new key pair. private_pem: PKCS#8 PEM is added, text as `openssl pkey` reads it.
void ty_ed25519_new(uint8_t public_key[TY_ED25519_KEY_BYTES], struct ty_buf *private_pem);
// Reads such a PEM (the first key in it). TY_EINVALID: it is no Ed25519 private key. Owner frees with ty_ed25519_free.
struct ty_ed25519;
int ty_ed25519_read(const void *pem, size_t len, struct ty_ed25519 **ret_key, struct ty_err *err) TY_MUST_USE;
void ty_ed25519_free(struct ty_ed25519 *key);
void ty_ed25519_public(const struct ty_ed25519 *key, uint8_t public_key[TY_ED25519_KEY_BYTES]);
void ty_ed25519_sign(const struct ty_ed25519 *key, const void *bytes, size_t len, uint8_t out[TY_ED25519_SIGNATURE_BYTES]);
// False also for 32 bytes that are no public key.
bool ty_ed25519_verify(const uint8_t public_key[TY_ED25519_KEY_BYTES], const void *bytes, size_t len,
                       const uint8_t *signature, size_t signature_len);
