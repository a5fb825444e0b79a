#include "responder/page_token.h"

#include <stdbool.h>
#include <string.h>

#define VERSION 1
#define RAW_BYTES 33
#define CHECKED_BYTES 29

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_le(uint8_t *bytes, size_t width, uint64_t value)
{
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static uint32_t crc32(const uint8_t *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

const char *ty_page_token_encode(const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                                 char out[TY_PAGE_TOKEN_BYTES])
{
    uint8_t raw[RAW_BYTES] = {VERSION};
    memcpy(raw + 1, id->bytes, sizeof id->bytes);
    put_le(raw + 17, 4, attempt);
    put_le(raw + 21, 8, sequence);
    put_le(raw + CHECKED_BYTES, 4, crc32(raw, CHECKED_BYTES));
    char *at = out;
    for (size_t i = 0; i < RAW_BYTES; i += 3) {
        uint32_t group = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *at++ = alphabet[group >> shift & 63];
    }
    *at = 0;
    return out;
}

static bool from_base64(const char *text, uint8_t raw[RAW_BYTES])
{
    if (strlen(text) != TY_PAGE_TOKEN_BYTES - 1)
        return false;
    for (size_t i = 0, o = 0; i < TY_PAGE_TOKEN_BYTES - 1; i += 4) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 4; j++) {
            const char *digit = strchr(alphabet, text[j]);
            if (!digit)
                return false;
            group = group << 6 | (uint32_t)(digit - alphabet);
        }
        for (int shift = 16; shift >= 0; shift -= 8)
            raw[o++] = (uint8_t)(group >> shift);
    }
    return true;
}

int ty_page_token_decode(const char *text, const struct ty_id *id, uint32_t *ret_attempt, uint64_t *ret_sequence,
                         struct ty_err *err)
{
    uint8_t raw[RAW_BYTES];
    if (!from_base64(text, raw) || get_le(raw + CHECKED_BYTES, 4) != crc32(raw, CHECKED_BYTES))
        return ty_err_set(err, TY_EINVALID, "page_token: not a token of this service");
    if (raw[0] != VERSION)
        return ty_err_set(err, TY_EINVALID, "page_token: of another version of this service");
    if (memcmp(raw + 1, id->bytes, sizeof id->bytes) != 0)
        return ty_err_set(err, TY_EINVALID, "page_token: of another job");
    *ret_attempt = (uint32_t)get_le(raw + 17, 4);
    *ret_sequence = get_le(raw + 21, 8);
    return 0;
}
