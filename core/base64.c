#include "core/base64.h"

void ty_base64_add(struct ty_buf *out, const void *bytes, size_t len, bool padded)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *at = bytes;
    uint8_t *text = ty_buf_reserve(out, (len + 2) / 3 * 4);
    for (; len; at += len < 3 ? len : 3, len -= len < 3 ? len : 3) {
        uint32_t word = (uint32_t)at[0] << 16 | (uint32_t)(len > 1 ? at[1] : 0) << 8 | (len > 2 ? at[2] : 0);
        size_t count = len < 3 ? len + 1 : 4;
        for (size_t i = 0; i < 4 && (i < count || padded); i++)
            *text++ = i < count ? (uint8_t)digits[word >> (18 - 6 * i) & 63] : '=';
    }
    out->len = (size_t)(text - out->data);
}

static int value_of(char digit)
{
    if (digit >= 'A' && digit <= 'Z')
        return digit - 'A';
    if (digit >= 'a' && digit <= 'z')
        return digit - 'a' + 26;
    if (digit >= '0' && digit <= '9')
        return digit - '0' + 52;
    if (digit == '+' || digit == '-')
        return 62;
    return digit == '/' || digit == '_' ? 63 : -1;
}

bool ty_base64_decode(const char *text, size_t len, struct ty_buf *out)
{
    uint32_t word = 0;
    size_t digits = 0, pads = 0;
    for (; len && text[len - 1] == '=' && pads < 2; len--)
        pads++;
    if (len % 4 == 1 || (pads && (len + pads) % 4))
        return false;
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i]);
        if (value < 0)
            return false;
        word = word << 6 | (uint32_t)value;
        if (++digits % 4 == 0) {
            ty_buf_add_byte(out, (uint8_t)(word >> 16));
            ty_buf_add_byte(out, (uint8_t)(word >> 8));
            ty_buf_add_byte(out, (uint8_t)word);
        }
    }
    if (digits % 4 >= 2)
        ty_buf_add_byte(out, (uint8_t)(word >> (digits % 4 == 2 ? 4 : 10)));
    if (digits % 4 == 3)
        ty_buf_add_byte(out, (uint8_t)(word >> 2));
    return true;
}
