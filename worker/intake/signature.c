#include "worker/intake/signature.h"

#include <string.h>

#include "core/clock.h"
#include "core/signature.h"

// A key of it may act for all organizations: the responder's, which has asked its own clients who they are.
#define ALL "*"

static bool find_header(const struct ty_intake_record *record, const void **ret_value, size_t *ret_len)
{
    rd_kafka_headers_t *headers;
    return record->message && !rd_kafka_message_headers(record->message, &headers) &&
           !rd_kafka_header_get_last(headers, TY_SIGNATURE_HEADER, ret_value, ret_len) && *ret_value;
}

static bool is_young(const struct ty_intake_record *record)
{
    uint64_t now_us = ty_clock_wall_us();
    return record->time_us + TY_SIGNATURE_YOUNG_MS * UINT64_C(1000) > now_us;
}

static enum ty_signature_verdict find_key(const struct ty_keyring *keyring, const struct ty_intake_record *record, const struct ty_id *id,
                                          uint64_t waited_ms, const struct ty_key **ret_key, struct ty_err *err)
{
    bool is_whole;
    char text[TY_ID_TEXT_BYTES];
    int rc = ty_keyring_find_early(keyring, id, ret_key, &is_whole, err);
    if (rc == -TY_EUNAVAILABLE)
        return TY_SIGNATURE_WAIT;
    if (rc == -TY_ENOTFOUND && (is_whole ? is_young(record) && waited_ms < TY_SIGNATURE_YOUNG_MS : waited_ms < TY_SIGNATURE_REBUILD_MS))
        return TY_SIGNATURE_WAIT;
    if (rc < 0) {
        ty_err_prefix(err, "signature: key %s", ty_id_format(id, text));
        return TY_SIGNATURE_BAD;
    }
    return TY_SIGNATURE_GOOD;
}

static int check_role(const struct ty_key *key, int kind, struct ty_err *err)
{
    enum ty_key_role needed = kind == TY_COMMAND_DELETE ? TY_ROLE_OWNER : TY_ROLE_SUBMIT;
    if (key->role < needed)
        return ty_err_set(err, TY_EPERMISSION, "signature: the key's role is %s; this command needs %s", ty_key_role_name(key->role),
                          ty_key_role_name(needed));
    return 0;
}

// A submit names its organization; whose job a cancel or delete is for, the store knows.
static int check_organization(const struct ty_key *key, enum ty_topic_kind topic, struct ty_buf *arena, struct ty_prepared *prepared,
                              struct ty_err *err)
{
    if (!strcmp(key->organization, ALL) || !prepared->has_command)
        return 0;
    if (topic != TY_TOPIC_SUBMIT) {
        prepared->has_signer = true;
        prepared->organization_at = arena->len;
        ty_buf_add(arena, key->organization, strlen(key->organization) + 1);
        return 0;
    }
    const char *organization = (const char *)arena->data + prepared->organization_at;
    if (strcmp(organization, key->organization) != 0 && (*organization || !prepared->is_refused))
        return ty_err_set(err, TY_EPERMISSION, "signature: the key is of another organization than the job");
    return 0;
}

enum ty_signature_verdict ty_signature_judge(const struct ty_keyring *keyring, const struct ty_intake_record *record, uint64_t waited_ms,
                                             struct ty_buf *arena, struct ty_prepared *prepared, struct ty_err *err)
{
    const struct ty_key *key;
    const void *header;
    struct ty_id id;
    size_t len;
    if (!find_header(record, &header, &len)) {
        ty_err_set(err, TY_EUNAUTHENTICATED, "signature: there is none, and commands must be signed here");
        return TY_SIGNATURE_BAD;
    }
    if (ty_signature_key_id(header, len, &id, err) < 0) {
        ty_err_prefix(err, "signature");
        return TY_SIGNATURE_BAD;
    }
    enum ty_signature_verdict verdict = find_key(keyring, record, &id, waited_ms, &key, err);
    if (verdict != TY_SIGNATURE_GOOD)
        return verdict;
    if (key->kind != TY_KEY_SIGNING)
        ty_err_set(err, TY_EPERMISSION, "signature: the key is an API key, which signs nothing");
    else if (!ty_signature_holds(key->proof, header, record->key, record->key_len, record->value, record->value_len))
        ty_err_set(err, TY_EUNAUTHENTICATED, "signature: it does not hold for this key and value");
    else if (check_role(key, prepared->command.kind, err) == 0 &&
             check_organization(key, record->claimed->kind, arena, prepared, err) == 0)
        return TY_SIGNATURE_GOOD;
    return TY_SIGNATURE_BAD;
}
