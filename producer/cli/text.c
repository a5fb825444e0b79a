#include "producer/cli/text.h"

#include <stdint.h>
#include <stdlib.h>
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

static size_t smallest(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;
    return least < c ? least : c;
}

// Letters to add, drop or change, or neighbours to swap.
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 32 };
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t rows[LONGEST + 1][LONGEST + 1];
    if (a_len > LONGEST || b_len > LONGEST)
        return SIZE_MAX;
    for (size_t i = 0; i <= a_len; i++)
        for (size_t j = 0; j <= b_len; j++) {
            if (!i || !j) {
                rows[i][j] = i + j;
                continue;
            }
            rows[i][j] = smallest(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && rows[i - 2][j - 2] + 1 < rows[i][j])
                rows[i][j] = rows[i - 2][j - 2] + 1;
        }
    return rows[a_len][b_len];
}

const char *ty_text_nearest(const char *text, ty_text_word_fn word, const void *context, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        const char *candidate = word(context, i);
        size_t near = distance(text, candidate);
        size_t allowed = strlen(candidate) <= 4 ? 1 : strlen(candidate) <= 7 ? 2 : 3;
        // What begins like it is meant, too ("cont" for "containers").
        if (near > allowed && strlen(text) >= 3 && !strncmp(text, candidate, strlen(text)))
            near = allowed;
        if (near <= allowed && near < best_distance) {
            best = candidate;
            best_distance = near;
        }
    }
    return best;
}
