#include "producer/cli/text.h"

#include <stdint.h>
#include <string.h>
#include <wchar.h>

#include "core/wire.h"

static uint32_t decode(const char *bytes, size_t len)
{
    static const uint8_t head_mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t rune = (uint8_t)bytes[0] & head_mask[len];
    for (size_t i = 1; i < len; i++)
        rune = rune << 6 | ((uint8_t)bytes[i] & 0x3f);
    return rune;
}

// Beside the control characters: line and paragraph separators, direction marks and overrides, the byte order mark.
static bool is_steering(uint32_t rune)
{
    return (rune >= 0x80 && rune < 0xa0) || rune == 0x200e || rune == 0x200f || rune == 0x061c ||
           (rune >= 0x2028 && rune <= 0x202e) || (rune >= 0x2066 && rune <= 0x2069) || rune == 0xfeff;
}

void ty_text_add_safe(struct ty_buf *out, const char *text, size_t len, bool keep_newlines)
{
    for (size_t i = 0, step; i < len; i += step) {
        unsigned char byte = (unsigned char)text[i];
        step = ty_utf8_char(text + i, len - i);
        if (!step || byte == 0x7f || (byte < 0x20 && byte != '\t' && !(byte == '\n' && keep_newlines))) {
            ty_buf_add_format(out, "\\x%02x", byte);
            step = 1;
        } else if (step > 1 && is_steering(decode(text + i, step))) {
            ty_buf_add_format(out, "\\u%04x", decode(text + i, step));
        } else {
            ty_buf_add(out, text + i, step);
        }
    }
}

// A character that the C library does not know counts as one column.
size_t ty_text_width(const char *text)
{
    size_t len = strlen(text), width = 0;
    for (size_t i = 0, step; i < len; i += step) {
        step = ty_utf8_char(text + i, len - i);
        int columns = step ? wcwidth((wchar_t)decode(text + i, step)) : 1;
        width += columns < 0 ? 1 : (size_t)columns;
        step = step ? step : 1;
    }
    return width;
}
