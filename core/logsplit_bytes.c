#include "core/logsplit_bytes.h"

#include <string.h>

// Whether byte may stand at place `at` (1 to 3) of a character that begins with `first`: the second
// byte is where overlong forms, surrogates and what is beyond U+10FFFF show.
bool ty_logsplit_may_follow(uint8_t first, unsigned at, uint8_t byte)
{
    uint8_t low = 0x80, high = 0xbf;
    if (at == 1) {
        low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    }
    return byte >= low && byte <= high;
}

// What an escape sequence in the state `escape` becomes with the next byte.
enum ty_escape ty_logsplit_next_escape(enum ty_escape escape, uint8_t byte)
{
    bool is_final = byte >= 0x30 && byte <= 0x7e, is_middle = byte >= 0x20 && byte <= 0x2f;
    switch (escape) {
    case TY_ESCAPE_BEGUN:
        if (byte == '[')
            return TY_ESCAPE_CSI;
        if (byte && strchr("]PX^_", byte))
            return TY_ESCAPE_STRING;
        return is_middle ? TY_ESCAPE_SHORT : is_final ? TY_ESCAPE_ENDED : TY_ESCAPE_NONE;
    case TY_ESCAPE_SHORT: // "ESC ( B"
        return is_middle ? TY_ESCAPE_SHORT : is_final ? TY_ESCAPE_ENDED : TY_ESCAPE_NONE;
    case TY_ESCAPE_CSI:
        if (byte >= 0x30 && byte <= 0x3f)
            return TY_ESCAPE_CSI;
        return is_middle ? TY_ESCAPE_CSI_LATE : is_final ? TY_ESCAPE_ENDED : TY_ESCAPE_NONE;
    case TY_ESCAPE_CSI_LATE: // behind the parameters
        return is_middle ? TY_ESCAPE_CSI_LATE : byte >= 0x40 && byte <= 0x7e ? TY_ESCAPE_ENDED : TY_ESCAPE_NONE;
    case TY_ESCAPE_STRING:
        return byte == 0x07 ? TY_ESCAPE_ENDED : byte == 0x1b ? TY_ESCAPE_STRING_ESC : TY_ESCAPE_STRING;
    case TY_ESCAPE_STRING_ESC:
        return byte == '\\' ? TY_ESCAPE_ENDED : TY_ESCAPE_NONE;
    default:
        return TY_ESCAPE_NONE;
    }
}

#define EIGHT(byte) ((byte) * UINT64_C(0x0101010101010101))

// Its top bits show which of eight bytes are below 0x20, 0x7f, or 0x80 and above; some others when
// there is one.
static uint64_t odd_ones(const uint8_t *bytes)
{
    uint64_t eight;
    memcpy(&eight, bytes, sizeof eight);
    return ((eight - EIGHT(0x20)) | eight | (eight + EIGHT(1))) & EIGHT(0x80);
}

// How many bytes at the start are printable ASCII or tabs.
static size_t plain_run(const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    for (;;) {
        while (len - at >= 32 && !(odd_ones(bytes + at) | odd_ones(bytes + at + 8) |
                                   odd_ones(bytes + at + 16) | odd_ones(bytes + at + 24)))
            at += 32;
        while (len - at >= 8 && !odd_ones(bytes + at))
            at += 8;
        size_t stop = len - at > 8 ? at + 8 : len;
        for (; at < stop; at++)
            if ((bytes[at] < 0x20 || bytes[at] > 0x7e) && bytes[at] != '\t')
                return at;
        if (at == len)
            return at;
    }
}

// The bytes of the whole character beyond ASCII that begins here and is no control; 0: there is none.
static size_t whole_character(const uint8_t *bytes, size_t len)
{
    uint8_t first = bytes[0];
    size_t want = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || len < want || !ty_logsplit_may_follow(first, 1, bytes[1]) ||
        (first == 0xc2 && bytes[1] < 0xa0))
        return 0;
    for (unsigned at = 2; at < want; at++)
        if (!ty_logsplit_may_follow(first, at, bytes[at]))
            return 0;
    return want;
}

// How many bytes at the start are clean: printable ASCII, tabs, and whole characters beyond.
size_t ty_logsplit_clean_run(const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t run = plain_run(bytes + at, len - at);
        at += run;
        while (at < len && (run = whole_character(bytes + at, len - at)) > 0)
            at += run;
        if (at < len && (bytes[at] < 0x20 || bytes[at] > 0x7e) && bytes[at] != '\t')
            return at;
    }
    return at;
}

// The bytes of the CSI sequence that begins here and ends before `len`; 0: there is none.
size_t ty_logsplit_whole_sequence(const uint8_t *bytes, size_t len)
{
    size_t at = 2;
    if (len < 3 || bytes[0] != 0x1b || bytes[1] != '[')
        return 0;
    len = len < TY_LOGSPLIT_SEQUENCE_MAX ? len : TY_LOGSPLIT_SEQUENCE_MAX;
    while (at < len && bytes[at] >= 0x30 && bytes[at] <= 0x3f)
        at++;
    while (at < len && bytes[at] >= 0x20 && bytes[at] <= 0x2f)
        at++;
    return at < len && bytes[at] >= 0x40 && bytes[at] <= 0x7e ? at + 1 : 0;
}
