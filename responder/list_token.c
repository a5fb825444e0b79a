#include "responder/list_token.h"

#include <string.h>

#include "core/buf.h"
#include "responder/sealed_token.h"

#define VERSION 2

enum { AT_DIGEST = 1, AT_TIME = AT_DIGEST + TY_LIST_DIGEST_BYTES, AT_ID = AT_TIME + 8, AT_CHECK = AT_ID + 16,
       RAW_BYTES = AT_CHECK + TY_SEALED_CHECK_BYTES };

_Static_assert(TY_LIST_TOKEN_BYTES == TY_SEALED_TEXT_BYTES(RAW_BYTES) && RAW_BYTES % 3 == 0, "a list token has its bytes");

const char *ty_list_token_encode(const uint8_t digest[TY_LIST_DIGEST_BYTES], const struct ty_list_cursor *last,
                                 char out[TY_LIST_TOKEN_BYTES])
{
    uint8_t raw[RAW_BYTES] = {VERSION};
    memcpy(raw + AT_DIGEST, digest, TY_LIST_DIGEST_BYTES);
    ty_sealed_put(raw + AT_TIME, 8, last->time_us);
    memcpy(raw + AT_ID, last->id.bytes, sizeof last->id.bytes);
    return ty_sealed_encode(raw, sizeof raw, out);
}

int ty_list_token_decode(const char *name, const char *text, const uint8_t digest[TY_LIST_DIGEST_BYTES],
                         struct ty_list_cursor *ret_last, struct ty_err *err)
{
    uint8_t raw[RAW_BYTES];
    if (!ty_sealed_decode(text, raw, sizeof raw))
        return ty_err_set(err, TY_EINVALID, "%s: not a token of this service", name);
    if (raw[0] != VERSION)
        return ty_err_set(err, TY_EINVALID, "%s: of another version of this service", name);
    if (memcmp(raw + AT_DIGEST, digest, TY_LIST_DIGEST_BYTES) != 0)
        return ty_err_set(err, TY_EINVALID, "%s: of another list: its organization, filters or order differ", name);
    ret_last->time_us = ty_get_le(raw + AT_TIME, 8);
    memcpy(ret_last->id.bytes, raw + AT_ID, sizeof ret_last->id.bytes);
    return 0;
}
