#include "core/key.h"

#include <stdio.h>
#include <string.h>

#include "core/command.h"
#include "core/limits.h"
#include "core/wire.h"
#include "trainyard/v1/key.pb-c.h"

#define MADE "key/"
#define REVOKED "revoked/"
#define SECRET "tyk_" // so that a program that looks for leaked secrets finds it

_Static_assert(sizeof ((struct ty_key *)0)->organization == TY_LIMIT_ID_BYTES + 1, "an organization fits");

static const char *const roles[] = {[TY_ROLE_READ] = "read", [TY_ROLE_SUBMIT] = "submit", [TY_ROLE_OWNER] = "owner"};
#define ROLES ((int)(sizeof roles / sizeof *roles))

const char *ty_key_role_name(enum ty_key_role role)
{
    return (int)role > 0 && (int)role < ROLES ? roles[role] : NULL;
}

enum ty_key_role ty_key_role_of(const char *name)
{
    int role = ROLES - 1;
    while (role > 0 && strcmp(roles[role], name) != 0)
        role--;
    return (enum ty_key_role)role;
}

static bool begins(const uint8_t *name, size_t len, const char *with)
{
    return len >= strlen(with) && !memcmp(name, with, strlen(with));
}

bool ty_key_is_name(const uint8_t *name, size_t len)
{
    return begins(name, len, MADE) || begins(name, len, REVOKED);
}

const char *ty_key_name(const struct ty_id *id, bool is_revocation, char out[TY_KEY_NAME_BYTES])
{
    char text[TY_ID_TEXT_BYTES];
    snprintf(out, TY_KEY_NAME_BYTES, "%s%s", is_revocation ? REVOKED : MADE, ty_id_format(id, text));
    return out;
}

// Only as ty_key_name writes it, so that a key has one name.
static int read_name(const uint8_t *name, size_t len, struct ty_key *key, struct ty_err *err)
{
    char text[TY_KEY_NAME_BYTES], again[TY_KEY_NAME_BYTES];
    struct ty_err ignored;
    key->is_revocation = begins(name, len, REVOKED);
    size_t prefix = strlen(key->is_revocation ? REVOKED : MADE);
    if (!ty_key_is_name(name, len))
        return ty_err_set(err, TY_EINVALID, "key: is neither \"key/ID\" nor \"revoked/ID\"");
    if (len < sizeof text && !memchr(name, 0, len)) {
        memcpy(text, name, len);
        text[len] = 0;
        if (ty_id_parse(text + prefix, &key->id, &ignored) == 0 && !strcmp(ty_key_name(&key->id, key->is_revocation, again), text))
            return 0;
    }
    return ty_err_set(err, TY_EINVALID, "key: has no UUID in lower case behind its slash");
}

static uint64_t micros(const Google__Protobuf__Timestamp *time)
{
    if (!time || time->seconds < 0 || time->seconds > INT64_MAX / 1000000 || time->nanos < 0 || time->nanos > 999999999)
        return 0;
    return (uint64_t)time->seconds * 1000000 + (uint64_t)time->nanos / 1000;
}

static int check_format(uint32_t format, const char *issuer, struct ty_err *err)
{
    if (format != TY_KEY_FORMAT)
        return ty_err_set(err, TY_EINVALID, "format_version: %u is not %d", format, TY_KEY_FORMAT);
    if (strlen(issuer) > TY_KEY_COMMENT_BYTES)
        return ty_err_set(err, TY_EINVALID, "issuer has %zu bytes; at most %d are allowed", strlen(issuer), TY_KEY_COMMENT_BYTES);
    return 0;
}

static int read_made(const Trainyard__V1__AccessKey *told, struct ty_key *key, struct ty_err *err)
{
    const ProtobufCBinaryData *proof = &told->secret_sha256;
    if (check_format(told->format_version, told->issuer, err) < 0 ||
        ty_name_check("organization_id", told->organization_id, TY_LIMIT_ID_BYTES, err) < 0)
        return -TY_EINVALID;
    if (!ty_key_role_name((enum ty_key_role)told->role))
        return ty_err_set(err, TY_EINVALID, "role: %d is none", (int)told->role);
    if (strlen(told->comment) > TY_KEY_COMMENT_BYTES)
        return ty_err_set(err, TY_EINVALID, "comment has %zu bytes; at most %d are allowed", strlen(told->comment), TY_KEY_COMMENT_BYTES);
    switch (told->proof_case) {
    case TRAINYARD__V1__ACCESS_KEY__PROOF_SECRET_SHA256: key->kind = TY_KEY_API; break;
    case TRAINYARD__V1__ACCESS_KEY__PROOF_ED25519_PUBLIC_KEY:
        key->kind = TY_KEY_SIGNING;
        proof = &told->ed25519_public_key;
        break;
    default: return ty_err_set(err, TY_EINVALID, "proof: there is none");
    }
    if (proof->len != sizeof key->proof)
        return ty_err_set(err, TY_EINVALID, "proof: has %zu bytes, not %zu", proof->len, sizeof key->proof);
    memcpy(key->proof, proof->data, proof->len);
    key->role = (enum ty_key_role)told->role;
    key->issued_at_us = micros(told->issued_at);
    snprintf(key->organization, sizeof key->organization, "%s", told->organization_id);
    snprintf(key->comment, sizeof key->comment, "%s", told->comment);
    return 0;
}

int ty_key_decode(const uint8_t *name, size_t name_len, const uint8_t *value, size_t value_len, struct ty_key *ret_key,
                  struct ty_err *err)
{
    struct ty_key key = {0};
    ProtobufCMessage *message;
    if (read_name(name, name_len, &key, err) < 0)
        return -TY_EINVALID;
    if (!value || !value_len)
        return ty_err_set(err, TY_EINVALID, "value: there is none; a key is revoked, and a revocation stands");
    if (value_len > TY_KEY_VALUE_BYTES)
        return ty_err_set(err, TY_EINVALID, "value: has %zu bytes; at most %d are allowed", value_len, TY_KEY_VALUE_BYTES);
    if (ty_wire_unpack(key.is_revocation ? &trainyard__v1__key_revocation__descriptor : &trainyard__v1__access_key__descriptor,
                       value, value_len, &message, err) < 0)
        return -(int)err->code;
    int rc;
    if (key.is_revocation) {
        const Trainyard__V1__KeyRevocation *told = (const Trainyard__V1__KeyRevocation *)message;
        key.issued_at_us = micros(told->issued_at);
        rc = check_format(told->format_version, told->issuer, err);
    } else {
        rc = read_made((const Trainyard__V1__AccessKey *)message, &key, err);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    if (rc == 0)
        *ret_key = key;
    return rc;
}

static void pack(const ProtobufCMessage *message, struct ty_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    ty_buf_reserve(out, len);
    protobuf_c_message_pack(message, out->data + out->len);
    out->len += len;
}

void ty_key_encode(const struct ty_key *key, const char *issuer, struct ty_buf *out)
{
    Google__Protobuf__Timestamp issued = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    issued.seconds = (int64_t)(key->issued_at_us / 1000000);
    issued.nanos = (int32_t)(key->issued_at_us % 1000000 * 1000);
    if (key->is_revocation) {
        Trainyard__V1__KeyRevocation message = TRAINYARD__V1__KEY_REVOCATION__INIT;
        message.format_version = TY_KEY_FORMAT;
        message.issued_at = &issued;
        message.issuer = (char *)issuer;
        pack(&message.base, out);
        return;
    }
    Trainyard__V1__AccessKey message;
    trainyard__v1__access_key__init(&message);
    ProtobufCBinaryData proof = {.len = sizeof key->proof, .data = (uint8_t *)key->proof};
    message.format_version = TY_KEY_FORMAT;
    message.issued_at = &issued;
    message.issuer = (char *)issuer;
    message.organization_id = (char *)key->organization;
    message.role = (Trainyard__V1__KeyRole)key->role;
    message.comment = (char *)key->comment;
    if (key->kind == TY_KEY_API) {
        message.proof_case = TRAINYARD__V1__ACCESS_KEY__PROOF_SECRET_SHA256;
        message.secret_sha256 = proof;
    } else {
        message.proof_case = TRAINYARD__V1__ACCESS_KEY__PROOF_ED25519_PUBLIC_KEY;
        message.ed25519_public_key = proof;
    }
    pack(&message.base, out);
}

void ty_key_new_secret(char out[TY_KEY_SECRET_TEXT])
{
    uint8_t bytes[32];
    struct ty_buf text = {0};
    ty_crypto_random(bytes, sizeof bytes);
    ty_buf_add_text(&text, SECRET);
    ty_base64url_add(&text, bytes, sizeof bytes);
    memcpy(out, ty_buf_text(&text), text.len + 1);
    ty_crypto_wipe(text.data, text.len);
    ty_crypto_wipe(bytes, sizeof bytes);
    ty_buf_done(&text);
}

void ty_key_hash(const char *secret, size_t len, uint8_t out[TY_SHA256_BYTES])
{
    ty_crypto_sha256(secret, len, out);
}
