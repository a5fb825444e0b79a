// Access keys: who may use the service, as it travels on the topic settings and lies in the store. Pure but for a new secret.
// A key is made ("key/<id>") and may be revoked ("revoked/<id>"), two records that each stand by themselves: a key is in force when
// the one is there and the other is not, in whichever order they came.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/crypto.h"
#include "core/err.h"
#include "core/id.h"

#define TY_KEY_FORMAT 1
#define TY_KEY_NAME_BYTES 48      // "revoked/", a UUID and the NUL, and some
#define TY_KEY_COMMENT_BYTES 256  // and of an issuer: longer ones are refused
#define TY_KEY_VALUE_BYTES 2048   // of a record: larger ones are refused
#define TY_KEY_SECRET_TEXT 48     // "tyk_", 43 characters and the NUL

enum ty_key_role { TY_ROLE_NONE, TY_ROLE_READ, TY_ROLE_SUBMIT, TY_ROLE_OWNER }; // stored: trainyard.v1.KeyRole
enum ty_key_kind { TY_KEY_API, TY_KEY_SIGNING };

// One record of the topic settings.
struct ty_key {
    struct ty_id id;
    bool is_revocation;    // then only id and issued_at_us are set besides
    uint64_t issued_at_us; // by the issuer's clock
    enum ty_key_role role;
    enum ty_key_kind kind;
    uint8_t proof[32];     // of an API key SHA-256 of its secret; of a signing key the Ed25519 public key
    char organization[128 + 1];
    char comment[TY_KEY_COMMENT_BYTES + 1];
};

// Whether a record's key begins as those of keys do: it is one, or is to be refused as one.
bool ty_key_is_name(const uint8_t *name, size_t len);
// "key/<id>" or "revoked/<id>". Returns out.
const char *ty_key_name(const struct ty_id *id, bool is_revocation, char out[TY_KEY_NAME_BYTES]);
// The road in for a record of the topic settings, and of the store; value NULL as in Kafka. TY_EINVALID names the place: a name
// that has no UUID in lower case behind its slash, no value, one that is no AccessKey or KeyRevocation, another format_version, an
// organization as ty_name_check has it or longer than TY_LIMIT_ID_BYTES, no role, not exactly one proof of 32 bytes.
int ty_key_decode(const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, struct ty_key *ret_key,
                  struct ty_err *err) TY_MUST_USE;
// The value of a record.
void ty_key_encode(const struct ty_key *key, const char *issuer, struct ty_buf *out);

// A new API key's secret: 256 random bits as text. The caller wipes it.
void ty_key_new_secret(char out[TY_KEY_SECRET_TEXT]);
// What is kept of a secret.
void ty_key_hash(const char *secret, size_t len, uint8_t out[TY_SHA256_BYTES]);

// "read", "submit", "owner"; NULL for anything else. And back: TY_ROLE_NONE.
const char *ty_key_role_name(enum ty_key_role role);
enum ty_key_role ty_key_role_of(const char *name);
