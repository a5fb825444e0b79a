// core/key and core/key_table: records of access keys, and what is known of them in any order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/key.h"
#include "core/key_table.h"
#include "core/limits.h"
#include "trainyard/v1/key.pb-c.h"

#define NAME "key/1b4e28ba-2fa1-4ed2-983f-0016d3cca427"
#define GONE "revoked/1b4e28ba-2fa1-4ed2-983f-0016d3cca427"

static struct ty_err err;
static struct ty_key key;

static int decode(const char *name, const void *value, size_t value_len)
{
    memset(&key, 0x5a, sizeof key);
    return ty_key_decode((const uint8_t *)name, strlen(name), value, value_len, &key, &err);
}

static void refused(const char *name, const struct ty_buf *value, const char *text)
{
    assert_int_equal(decode(name, value ? value->data : NULL, value ? value->len : 0), -TY_EINVALID);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" lacks \"%s\"", err.message, text);
}

static struct ty_key a_key(void)
{
    struct ty_key made = {.id = ty_id_new(), .issued_at_us = 1700000000123456, .role = TY_ROLE_SUBMIT, .organization = "acme", .comment = "c"};
    memset(made.proof, 7, sizeof made.proof);
    return made;
}

static void what_is_encoded_is_decoded(void **state)
{
    char name[TY_KEY_NAME_BYTES];
    (void)state;
    for (int kind = TY_KEY_API; kind <= TY_KEY_SIGNING; kind++)
        for (enum ty_key_role role = TY_ROLE_READ; role <= TY_ROLE_OWNER; role++) {
            struct ty_key made = a_key();
            TY_BUF(value);
            made.kind = (enum ty_key_kind)kind;
            made.role = role;
            ty_key_encode(&made, "test", &value);
            ty_key_name(&made.id, false, name);
            assert_true(ty_key_is_name((const uint8_t *)name, strlen(name)));
            assert_int_equal(decode(name, value.data, value.len), 0);
            assert_true(ty_id_equal(&key.id, &made.id) && !key.is_revocation && key.role == role && (int)key.kind == kind);
            assert_memory_equal(key.proof, made.proof, sizeof key.proof);
            assert_string_equal(key.organization, "acme");
            assert_string_equal(key.comment, "c");
            assert_int_equal(key.issued_at_us, made.issued_at_us);
        }
    struct ty_key gone = {.id = ty_id_new(), .is_revocation = true, .issued_at_us = 5};
    TY_BUF(value);
    ty_key_encode(&gone, "test", &value);
    assert_int_equal(decode(ty_key_name(&gone.id, true, name), value.data, value.len), 0);
    assert_true(key.is_revocation && ty_id_equal(&key.id, &gone.id) && key.issued_at_us == 5);
}

static void what_is_no_name_is_refused(void **state)
{
    static const char *const names[] = {"key/", "key/x", "revoked/", "key/1B4E28BA-2FA1-4ED2-983F-0016D3CCA427", NAME "0", "key//1b4e28ba-2fa1-4ed2-983f-0016d3cca42",
                                        "keys/1b4e28ba-2fa1-4ed2-983f-0016d3cca427", "pause/acme", ""};
    struct ty_key made = a_key();
    TY_BUF(value);
    (void)state;
    ty_key_encode(&made, "test", &value);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        refused(names[i], &value, "key: ");
    assert_int_equal(ty_key_decode((const uint8_t *)"key/1b4e28ba-2fa1-4ed2-983f-0016d3cca42\0", 40, value.data, value.len, &key, &err), -TY_EINVALID);
}

typedef void (*change_fn)(Trainyard__V1__AccessKey *message);

static void other_format(Trainyard__V1__AccessKey *m) { m->format_version = 2; }
static void no_organization(Trainyard__V1__AccessKey *m) { m->organization_id = (char *)""; }
static void bad_organization(Trainyard__V1__AccessKey *m) { m->organization_id = (char *)"a/b"; }
static void no_role(Trainyard__V1__AccessKey *m) { m->role = (Trainyard__V1__KeyRole)0; }
static void unknown_role(Trainyard__V1__AccessKey *m) { m->role = (Trainyard__V1__KeyRole)4; }
static void no_proof(Trainyard__V1__AccessKey *m) { m->proof_case = TRAINYARD__V1__ACCESS_KEY__PROOF__NOT_SET; }
static void short_proof(Trainyard__V1__AccessKey *m) { m->secret_sha256.len = 31; }
static void long_comment(Trainyard__V1__AccessKey *m)
{
    static char text[TY_KEY_COMMENT_BYTES + 2];
    memset(text, 'a', sizeof text - 1);
    m->comment = text;
}
static void long_organization(Trainyard__V1__AccessKey *m)
{
    static char text[TY_LIMIT_ID_BYTES + 2];
    memset(text, 'a', sizeof text - 1);
    m->organization_id = text;
}

static void what_is_no_key_is_refused(void **state)
{
    static const struct {
        change_fn change;
        const char *text;
    } cases[] = {{other_format, "format_version: 2"}, {no_organization, "organization_id is empty"}, {bad_organization, "organization_id"},
                 {long_organization, "organization_id"}, {no_role, "role: 0"}, {unknown_role, "role: 4"}, {no_proof, "proof: there is none"},
                 {short_proof, "proof: has 31"}, {long_comment, "comment has 257"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_key made = a_key();
        TY_BUF(value);
        ty_key_encode(&made, "test", &value);
        Trainyard__V1__AccessKey *message = trainyard__v1__access_key__unpack(NULL, value.len, value.data), kept;
        kept = *message;
        cases[i].change(message);
        ty_buf_clear(&value);
        ty_buf_reserve(&value, 2048);
        value.len = trainyard__v1__access_key__pack(message, value.data);
        *message = kept;
        trainyard__v1__access_key__free_unpacked(message, NULL);
        refused(NAME, &value, cases[i].text);
    }
    refused(NAME, NULL, "value: there is none");
    refused(GONE, NULL, "value: there is none");
    struct ty_buf junk = {.data = (uint8_t *)"\xff", .len = 1}, empty = {.data = (uint8_t *)""};
    refused(NAME, &junk, "");
    refused(GONE, &junk, "");
    refused(NAME, &empty, "value: there is none");
    TY_BUF(big);
    ty_buf_reserve(&big, TY_KEY_VALUE_BYTES + 1);
    memset(big.data, 0, TY_KEY_VALUE_BYTES + 1);
    big.len = TY_KEY_VALUE_BYTES + 1;
    refused(NAME, &big, "value: has");
}

static void secrets_differ_and_hash_alike(void **state)
{
    char first[TY_KEY_SECRET_TEXT], second[TY_KEY_SECRET_TEXT];
    uint8_t hash[32];
    (void)state;
    ty_key_new_secret(first);
    ty_key_new_secret(second);
    assert_int_equal(strlen(first), 47);
    assert_string_not_equal(first, second);
    assert_int_equal(strncmp(first, "tyk_", 4), 0);
    ty_key_hash("abc", 3, hash); // FIPS 180-2
    assert_memory_equal(hash, "\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad", 32);
    assert_int_equal(ty_key_role_of("owner"), TY_ROLE_OWNER);
    assert_int_equal(ty_key_role_of("Owner"), TY_ROLE_NONE);
    assert_null(ty_key_role_name(TY_ROLE_NONE));
}

// A key and its revocation, in each order and repeated: it is revoked.
static void a_revocation_wins_in_any_order(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 1u << 4; order++) { // of four puts, which are revocations
        struct ty_key_table table = {.max_keys = 10};
        struct ty_key made = a_key(), gone = {.id = made.id, .is_revocation = true};
        for (unsigned i = 0; i < 4; i++)
            assert_true(ty_key_table_put(&table, order >> i & 1 ? &gone : &made));
        const struct ty_key_entry *entry = ty_key_table_get(&table, &made.id);
        assert_non_null(entry);
        assert_int_equal(entry->is_revoked, order != 0);
        assert_int_equal(table.keys, order == 0);
        ty_key_table_forget_keys(&table);
        entry = ty_key_table_get(&table, &made.id);
        assert_int_equal(entry && entry->is_revoked, order != 0);
        ty_key_table_put(&table, &made);
        assert_int_equal(table.keys, order == 0);
        ty_key_table_done(&table);
    }
}

static void a_table_holds_many_up_to_its_limit(void **state)
{
    enum { MANY = 3000, SIGNED = 100 };
    struct ty_key_table table = {.max_keys = MANY};
    struct ty_id *ids = ty_xcalloc(MANY, sizeof *ids);
    struct ty_key made = a_key();
    (void)state;
    for (int i = 0; i < MANY; i++) {
        made.id = ids[i] = ty_id_new();
        made.issued_at_us = (uint64_t)i;
        assert_true(ty_key_table_put(&table, &made));
    }
    made.id = ty_id_new();
    assert_false(ty_key_table_put(&table, &made));
    assert_null(ty_key_table_get(&table, &made.id));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(ty_key_table_get(&table, &ids[i])->key->issued_at_us, i);
    for (int i = 0; i < SIGNED; i++)
        ty_key_table_put(&table, &(struct ty_key){.id = ids[i], .is_revocation = true});
    assert_int_equal(table.keys, MANY - SIGNED);
    assert_true(ty_key_table_put(&table, &made)); // there is room again
    ty_key_table_forget_keys(&table);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(ty_key_table_get(&table, &ids[i]) != NULL, i < SIGNED);
    assert_int_equal(table.count, SIGNED);
    ty_key_table_done(&table);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),      cmocka_unit_test(what_is_no_name_is_refused),
        cmocka_unit_test(what_is_no_key_is_refused),       cmocka_unit_test(secrets_differ_and_hash_alike),
        cmocka_unit_test(a_revocation_wins_in_any_order),  cmocka_unit_test(a_table_holds_many_up_to_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
