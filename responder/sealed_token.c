#include "responder/sealed_token.h"

#include <string.h>

#include "core/buf.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void ty_sealed_put(uint8_t *bytes, size_t width, uint64_t value)
{
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
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

const char *ty_sealed_encode(uint8_t *raw, size_t len, char *out)
{
    size_t checked = len - TY_SEALED_CHECK_BYTES;
    ty_sealed_put(raw + checked, TY_SEALED_CHECK_BYTES, crc32(raw, checked));
    char *at = out;
    for (size_t i = 0; i < len; i += 3) {
        uint32_t group = (uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *at++ = alphabet[group >> shift & 63];
    }
    *at = 0;
    return out;
}

bool ty_sealed_decode(const char *text, uint8_t *ret_raw, size_t len)
{
    size_t chars = TY_SEALED_TEXT_BYTES(len) - 1, checked = len - TY_SEALED_CHECK_BYTES;
    if (strlen(text) != chars)
        return false;
    for (size_t i = 0, o = 0; i < chars; i += 4) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 4; j++) {
            const char *digit = strchr(alphabet, text[j]);
            if (!digit)
                return false;
            group = group << 6 | (uint32_t)(digit - alphabet);
        }
        for (int shift = 16; shift >= 0; shift -= 8)
            ret_raw[o++] = (uint8_t)(group >> shift);
    }
    return ty_get_le(ret_raw + checked, TY_SEALED_CHECK_BYTES) == crc32(ret_raw, checked);
}
