#include "core/id.h"

#include <stdbool.h>
#include <string.h>
#include <uuid/uuid.h>

#include "core/buf.h"

// Fixed for ever: ids made from idempotency keys depend on it.
static const uuid_t key_namespace = {0x5f, 0x3c, 0x1e, 0x0a, 0x7d, 0x44, 0x4b, 0x52,
                                     0x9a, 0x6e, 0x21, 0xc8, 0x0f, 0x95, 0xd3, 0xb7};

struct ty_id ty_id_new(void)
{
    struct ty_id id;
    uuid_generate_random(id.bytes);
    return id;
}

struct ty_token ty_token_new(void)
{
    // Two ids, since six bits of each are fixed.
    uuid_t a, b;
    struct ty_token token;
    uuid_generate_random(a);
    uuid_generate_random(b);
    memcpy(token.bytes, a, sizeof token.bytes);
    token.bytes[6] = b[0];
    token.bytes[8] = b[1];
    return token;
}

struct ty_id ty_id_from_key(const char *organization, const char *key)
{
    struct ty_id id;
    TY_BUF(name);
    ty_buf_add(&name, organization, strlen(organization) + 1);
    ty_buf_add_text(&name, key);
    uuid_generate_sha1(id.bytes, key_namespace, (const char *)name.data, name.len);
    return id;
}

// The value of a hexadecimal digit, plus one; 0 for what is none.
static const uint8_t digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

// libuuid's uuid_parse takes three times as long, and every command and request comes with an id or two.
static bool parse(const char *text, struct ty_id *ret_id)
{
    struct ty_id id;
    size_t at = 0;
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        if ((at == 8 || at == 13 || at == 18 || at == 23) && text[at++] != '-')
            return false;
        unsigned high = digits[(uint8_t)text[at]];
        unsigned low = high ? digits[(uint8_t)text[at + 1]] : 0; // never behind the end of a short one
        if (!low)
            return false;
        id.bytes[i] = (uint8_t)((high - 1) << 4 | (low - 1));
        at += 2;
    }
    if (text[at])
        return false;
    *ret_id = id;
    return true;
}

int ty_id_parse(const char *text, struct ty_id *ret_id, struct ty_err *err)
{
    return parse(text, ret_id) ? 0 : ty_err_set(err, TY_EINVALID, "id is not a UUID");
}

const char *ty_id_format(const struct ty_id *id, char out[TY_ID_TEXT_BYTES])
{
    uuid_unparse_lower(id->bytes, out);
    return out;
}

bool ty_id_equal(const struct ty_id *a, const struct ty_id *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}
