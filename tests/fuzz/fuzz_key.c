// core/key: any key and value of the topic settings are a record of an access key, or are refused with a reason; what is one
// is the same when it is written again.
#include <string.h>

#include "core/key.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    size_t name_len = input_byte(&input);
    name_len = name_len < input.len ? name_len : input.len;
    struct ty_key key, again;
    struct ty_err err = {0};
    int rc = ty_key_decode(input.bytes, name_len, input.bytes + name_len, input.len - name_len, &key, &err);
    if (rc < 0) {
        REQUIRE(rc == -TY_EINVALID && *err.message && ty_utf8_is_valid(err.message, strlen(err.message)));
        return 0;
    }
    char name[TY_KEY_NAME_BYTES];
    TY_BUF(value);
    ty_key_name(&key.id, key.is_revocation, name);
    REQUIRE(strlen(name) == name_len && !memcmp(name, input.bytes, name_len));
    REQUIRE(key.is_revocation || (ty_key_role_name(key.role) && *key.organization));
    ty_key_encode(&key, "fuzz", &value);
    REQUIRE(ty_key_decode((const uint8_t *)name, name_len, value.data, value.len, &again, &err) == 0);
    REQUIRE(again.role == key.role && again.kind == key.kind && !memcmp(again.proof, key.proof, sizeof key.proof) &&
            !strcmp(again.organization, key.organization) && again.issued_at_us == key.issued_at_us);
    return 0;
}
