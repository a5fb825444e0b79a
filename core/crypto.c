#include "core/crypto.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ty_ed25519 {
    EVP_PKEY *pkey;
};

static void require(bool is_good, const char *what)
{
    if (is_good)
        return;
    char why[160];
    ERR_error_string_n(ERR_get_error(), why, sizeof why);
    fprintf(stderr, "OpenSSL: %s: %s\n", what, why);
    abort();
}

void ty_crypto_random(void *out, size_t len)
{
    require(len <= INT32_MAX && RAND_bytes(out, (int)len) == 1, "random bytes");
}

void ty_crypto_sha256(const void *bytes, size_t len, uint8_t out[TY_SHA256_BYTES])
{
    unsigned size = 0;
    require(EVP_Digest(bytes, len, out, &size, EVP_sha256(), NULL) == 1 && size == TY_SHA256_BYTES, "SHA-256");
}

void ty_crypto_hmac_sha256(const void *secret, size_t secret_len, const void *bytes, size_t len, uint8_t out[TY_SHA256_BYTES])
{
    unsigned size = 0;
    require(secret_len <= INT32_MAX && HMAC(EVP_sha256(), secret, (int)secret_len, bytes, len, out, &size) &&
                size == TY_SHA256_BYTES,
            "HMAC-SHA-256");
}

bool ty_crypto_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void ty_crypto_wipe(void *bytes, size_t len)
{
    OPENSSL_cleanse(bytes, len);
}

// ---- base64url ----

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void ty_base64url_add(struct ty_buf *out, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    uint32_t bits = 0;
    unsigned have = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | from[i];
        for (have += 8; have >= 6; have -= 6)
            ty_buf_add_byte(out, (uint8_t)alphabet[bits >> (have - 6) & 63]);
    }
    if (have)
        ty_buf_add_byte(out, (uint8_t)alphabet[bits << (6 - have) & 63]);
}

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool ty_base64url_decode(const char *text, size_t len, uint8_t *out, size_t max, size_t *ret_len)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t count = 0;
    if (len % 4 == 1)
        return false;
    for (size_t i = 0; i < len; i++) {
        int value = digit(text[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have < 8)
            continue;
        if (count == max)
            return false;
        have -= 8;
        out[count++] = (uint8_t)(bits >> have);
    }
    if (bits & ((1u << have) - 1))
        return false; // one text for the same bytes only
    *ret_len = count;
    return true;
}

// ---- Ed25519 ----

void ty_ed25519_new(uint8_t public_key[TY_ED25519_KEY_BYTES], struct ty_buf *private_pem)
{
    EVP_PKEY *pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    require(pkey != NULL, "a new Ed25519 key");
    struct ty_ed25519 key = {pkey};
    ty_ed25519_public(&key, public_key);
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    require(bio && PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1, "PEM");
    long len = BIO_get_mem_data(bio, &text);
    require(len > 0, "PEM");
    ty_buf_add(private_pem, text, (size_t)len);
    ty_crypto_wipe(text, (size_t)len);
    BIO_free(bio);
    EVP_PKEY_free(pkey);
}

// Nobody is asked for a pass phrase on a terminal.
static int no_pass_phrase(char *out, int size, int writing, void *context)
{
    (void)out, (void)size, (void)writing, (void)context;
    return -1;
}

int ty_ed25519_read(const void *pem, size_t len, struct ty_ed25519 **ret_key, struct ty_err *err)
{
    BIO *bio = len <= INT32_MAX ? BIO_new_mem_buf(pem, (int)len) : NULL;
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (!pkey || EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(pkey);
        return ty_err_set(err, TY_EINVALID, "is no Ed25519 private key in PEM (without a pass phrase)");
    }
    *ret_key = ty_xcalloc(1, sizeof **ret_key);
    (*ret_key)->pkey = pkey;
    return 0;
}

void ty_ed25519_free(struct ty_ed25519 *key)
{
    if (key)
        EVP_PKEY_free(key->pkey);
    free(key);
}

void ty_ed25519_public(const struct ty_ed25519 *key, uint8_t public_key[TY_ED25519_KEY_BYTES])
{
    size_t len = TY_ED25519_KEY_BYTES;
    require(EVP_PKEY_get_raw_public_key(key->pkey, public_key, &len) == 1 && len == TY_ED25519_KEY_BYTES, "an Ed25519 public key");
}

void ty_ed25519_sign(const struct ty_ed25519 *key, const void *bytes, size_t len, uint8_t out[TY_ED25519_SIGNATURE_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = TY_ED25519_SIGNATURE_BYTES;
    require(context && EVP_DigestSignInit(context, NULL, NULL, NULL, key->pkey) == 1 &&
                EVP_DigestSign(context, out, &size, bytes, len) == 1 && size == TY_ED25519_SIGNATURE_BYTES,
            "an Ed25519 signature");
    EVP_MD_CTX_free(context);
}

bool ty_ed25519_verify(const uint8_t public_key[TY_ED25519_KEY_BYTES], const void *bytes, size_t len, const uint8_t *signature,
                       size_t signature_len)
{
    if (signature_len != TY_ED25519_SIGNATURE_BYTES)
        return false;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, TY_ED25519_KEY_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_good = pkey && context && EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
                   EVP_DigestVerify(context, signature, signature_len, bytes, len) == 1;
    ERR_clear_error();
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return is_good;
}
