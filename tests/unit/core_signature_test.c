// core/signature: the vector of schemas/README.md, files with a key, and that no other bytes hold.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/signature.h"

#define KEY "0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b"
#define VALUE "\x08\x01value"
#define PEM "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n-----END PRIVATE KEY-----\n"
#define KEY_ID "3f2504e0-4f89-41d3-9a0c-0305e82c3301"

static const uint8_t vector[TY_SIGNATURE_BYTES + 1] =
    "\x3f\x25\x04\xe0\x4f\x89\x41\xd3\x9a\x0c\x03\x05\xe8\x2c\x33\x01"
    "\xcc\xce\x89\x52\xf0\x15\x50\x34\xe1\xee\xe9\xb0\x50\xf7\x2e\x58\xa5\x74\x01\x5d\x7e\x49\xcf\x3e\xca\x43\xf6\x99\x74\x4e\xea\x21"
    "\x07\x7f\x4f\x32\xa7\xde\xbf\x89\xb5\xb2\xa9\x5c\x13\x17\x80\x1b\xe1\x46\x4b\x62\x3e\x96\x40\xec\xfe\xac\x72\xcd\x0e\x61\xb5\x05";
static const uint8_t public_key[TY_ED25519_KEY_BYTES + 1] =
    "\x03\xa1\x07\xbf\xf3\xce\x10\xbe\x1d\x70\xdd\x18\xe7\x4b\xc0\x99\x67\xe4\xd6\x30\x9b\xa5\x0d\x5f\x1d\xdc\x86\x64\x12\x55\x31\xb8";

static int read_text(const char *text, struct ty_signer **ret_signer, struct ty_err *err)
{
    char path[] = "/tmp/trainyard-signer-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    int rc = ty_signer_read(path, ret_signer, err);
    unlink(path);
    if (rc < 0)
        assert_non_null(strstr(err->message, path));
    return rc;
}

static void the_vector_is_made_and_holds(void **state)
{
    struct ty_signer *signer = NULL;
    struct ty_err err;
    uint8_t made[TY_SIGNATURE_BYTES];
    char text[TY_ID_TEXT_BYTES];
    struct ty_id id;
    (void)state;
    assert_int_equal(read_text("key-id: " KEY_ID "\n" PEM, &signer, &err), 0);
    ty_signer_sign(signer, KEY, strlen(KEY), VALUE, strlen(VALUE), made);
    ty_signer_free(signer);
    assert_memory_equal(made, vector, sizeof made);
    assert_int_equal(ty_signature_key_id(vector, TY_SIGNATURE_BYTES, &id, &err), 0);
    assert_string_equal(ty_id_format(&id, text), KEY_ID);
    assert_true(ty_signature_holds(public_key, vector, KEY, strlen(KEY), VALUE, strlen(VALUE)));
}

static void nothing_else_holds(void **state)
{
    struct ty_err err;
    struct ty_id id;
    uint8_t changed[TY_SIGNATURE_BYTES];
    (void)state;
    for (size_t i = 16; i < sizeof changed; i++) {
        memcpy(changed, vector, sizeof changed);
        changed[i] ^= 1;
        assert_false(ty_signature_holds(public_key, changed, KEY, strlen(KEY), VALUE, strlen(VALUE)));
    }
    assert_false(ty_signature_holds(public_key, vector, KEY, strlen(KEY), VALUE, strlen(VALUE) - 1));
    assert_false(ty_signature_holds(public_key, vector, KEY, strlen(KEY) - 1, VALUE, strlen(VALUE)));
    assert_false(ty_signature_holds(public_key, vector, KEY "\x08", strlen(KEY) + 1, VALUE + 1, strlen(VALUE) - 1)); // moved over
    assert_false(ty_signature_holds(public_key, vector, NULL, 0, NULL, 0));
    assert_int_equal(ty_signature_key_id(vector, TY_SIGNATURE_BYTES - 1, &id, &err), -TY_EINVALID);
    assert_int_equal(ty_signature_key_id(vector, 0, &id, &err), -TY_EINVALID);
}

static void files_that_are_none(void **state)
{
    static const char *const wrong[] = {"", PEM, "key-id: " KEY_ID "\n", "key-id: " KEY_ID, "key-id: x\n" PEM, "the key-id: " KEY_ID "\n" PEM,
                                        "key-id: " KEY_ID "\n-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----\n"};
    struct ty_signer *signer = NULL;
    struct ty_err err;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(read_text(wrong[i], &signer, &err), -TY_EINVALID);
    assert_int_equal(ty_signer_read("/nowhere", &signer, &err), -TY_ENOTFOUND);
    assert_null(signer);
    assert_int_equal(read_text("a word\r\nkey-id: " KEY_ID "\r\n\n" PEM, &signer, &err), 0);
    ty_signer_free(signer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vector_is_made_and_holds),
        cmocka_unit_test(nothing_else_holds),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
