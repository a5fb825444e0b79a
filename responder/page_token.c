#include "responder/page_token.h"

#include <string.h>

#include "core/buf.h"
#include "responder/sealed_token.h"

#define VERSION 1
#define RAW_BYTES 33

_Static_assert(TY_PAGE_TOKEN_BYTES == TY_SEALED_TEXT_BYTES(RAW_BYTES), "a page token has its bytes");

const char *ty_page_token_encode(const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                                 char out[TY_PAGE_TOKEN_BYTES])
{
    uint8_t raw[RAW_BYTES] = {VERSION};
    memcpy(raw + 1, id->bytes, sizeof id->bytes);
    ty_sealed_put(raw + 17, 4, attempt);
    ty_sealed_put(raw + 21, 8, sequence);
    return ty_sealed_encode(raw, sizeof raw, out);
}

int ty_page_token_decode(const char *text, const struct ty_id *id, uint32_t *ret_attempt, uint64_t *ret_sequence,
                         struct ty_err *err)
{
    uint8_t raw[RAW_BYTES];
    if (!ty_sealed_decode(text, raw, sizeof raw))
        return ty_err_set(err, TY_EINVALID, "page_token: not a token of this service");
    if (raw[0] != VERSION)
        return ty_err_set(err, TY_EINVALID, "page_token: of another version of this service");
    if (memcmp(raw + 1, id->bytes, sizeof id->bytes) != 0)
        return ty_err_set(err, TY_EINVALID, "page_token: of another job");
    *ret_attempt = (uint32_t)ty_get_le(raw + 17, 4);
    *ret_sequence = ty_get_le(raw + 21, 8);
    return 0;
}
