// core/logsplit: whatever comes, and however it is cut, the same entries come out: valid UTF-8 without control characters. And
// nothing is lost: every line says what a second reading of the rules, written here over whole lines, finds in it; of texts
// that overwrite each other the last is there.
#include "core/logsplit.h"

#include "core/buf.h"
#include "core/limits.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

#define START_US UINT64_C(1700000000000000)
#define SEQUENCE_MAX 4096u

// ---- what comes out ----

struct result {
    struct ty_buf whole; // levels, marks and messages
    struct ty_buf lines; // a "\n" before each line, pieces of a line one behind the other
};

static void on_entry(void *context, const struct ty_logsplit_line *line)
{
    struct result *result = context;
    REQUIRE(line->time_us == START_US);
    REQUIRE(line->len <= TY_LIMIT_LOG_MESSAGE_BYTES);
    REQUIRE(ty_utf8_is_valid(line->message, line->len));
    for (size_t i = 0; i < line->len; i++)
        REQUIRE(line->message[i] == '\t' || (unsigned char)line->message[i] >= 0x20);
    ty_buf_add_format(&result->whole, "%s%s %zu ", line->level, line->continued ? "+" : "", line->len);
    ty_buf_add(&result->whole, line->message, line->len);
    ty_buf_add_byte(&result->whole, '\n');
    if (!line->continued)
        ty_buf_add_byte(&result->lines, '\n');
    ty_buf_add(&result->lines, line->message, line->len);
}

static void result_done(struct result *result)
{
    ty_buf_done(&result->whole);
    ty_buf_done(&result->lines);
}

// step 0: all at once; otherwise in pieces that change with it.
static void run(const uint8_t *data, size_t size, unsigned step, struct result *result)
{
    struct ty_logsplit *split = ty_logsplit_new("info", on_entry, result);
    for (size_t at = 0, n = step; at < size;) {
        n = n * 1103515245 + 12345;
        size_t piece = step ? 1 + (n >> 16) % step : size;
        piece = piece < size - at ? piece : size - at;
        ty_logsplit_feed(split, START_US, data + at, piece);
        ty_logsplit_flush(split, START_US + 999999); // nothing has waited a whole second
        at += piece;
    }
    ty_logsplit_flush(split, UINT64_MAX);
    size_t len = result->whole.len;
    ty_logsplit_flush(split, UINT64_MAX);
    REQUIRE(result->whole.len == len);
    ty_logsplit_free(split);
}

// ---- what should come out ----

// The bytes of the escape sequence at bytes[0], an ESC; 1 where there is none.
static size_t sequence(const uint8_t *bytes, size_t len)
{
    size_t at = 2;
    if (len < 2)
        return 1;
    if (bytes[1] == '[') {
        while (at < len && bytes[at] >= '0' && bytes[at] <= '?')
            at++;
        while (at < len && bytes[at] >= ' ' && bytes[at] <= '/')
            at++;
        return at < len && bytes[at] >= '@' && bytes[at] <= '~' && at - 1 < SEQUENCE_MAX ? at + 1 : 1;
    }
    if (bytes[1] == ']' || bytes[1] == 'P' || bytes[1] == 'X' || bytes[1] == '^' || bytes[1] == '_') {
        while (at < len && bytes[at] != 0x07 && bytes[at] != 0x1b)
            at++;
        if (at == len || at - 1 >= SEQUENCE_MAX)
            return 1;
        return bytes[at] == 0x07 ? at + 1 : at + 1 < len && bytes[at + 1] == '\\' ? at + 2 : 1;
    }
    for (at = 1; at < len && bytes[at] >= ' ' && bytes[at] <= '/';)
        at++;
    return at < len && bytes[at] >= '0' && bytes[at] <= '~' && at - 1 < SEQUENCE_MAX ? at + 1 : 1;
}

// The bytes of the character that begins here; *ret_valid: or of the longest piece of one.
static size_t character(const uint8_t *bytes, size_t len, bool *ret_valid)
{
    size_t want = *bytes < 0x80 ? 1 : *bytes < 0xe0 ? 2 : *bytes < 0xf0 ? 3 : 4, got = 1;
    *ret_valid = false;
    if (*bytes >= 0x80 && (*bytes < 0xc2 || *bytes > 0xf4))
        return 1;
    while (got < want && got < len && (bytes[got] & 0xc0) == 0x80) {
        // Whether any end makes it valid.
        uint8_t whole[4] = {0x80, 0x80, 0x80, 0x80};
        for (size_t i = 0; i <= got; i++)
            whole[i] = bytes[i];
        if (!ty_utf8_is_valid((const char *)whole, want))
            break;
        got++;
    }
    *ret_valid = got == want;
    return got;
}

static void clean(const uint8_t *bytes, size_t len, struct ty_buf *out)
{
    for (size_t at = 0, used; at < len; at += used) {
        bool valid;
        if (bytes[at] == 0x1b) {
            used = sequence(bytes + at, len - at);
            continue;
        }
        used = character(bytes + at, len - at, &valid);
        bool is_control = (bytes[at] < 0x20 && bytes[at] != '\t') || bytes[at] == 0x7f ||
                          (used == 2 && bytes[at] == 0xc2 && bytes[at + 1] < 0xa0);
        if (!valid)
            ty_buf_add_text(out, "\xef\xbf\xbd");
        else if (!is_control)
            ty_buf_add(out, bytes + at, used);
    }
}

static void expect(const uint8_t *data, size_t size, struct ty_buf *out)
{
    for (size_t at = 0; at < size;) {
        const uint8_t *newline = memchr(data + at, '\n', size - at);
        size_t len = newline ? (size_t)(newline - data) - at : size - at, before = out->len;
        ty_buf_add_byte(out, '\n');
        clean(data + at, len, out);
        if (len && out->len == before + 1)
            out->len = before; // nothing but what is dropped
        at += len + 1;
    }
}

static void nothing_is_lost(const uint8_t *data, size_t size)
{
    TY_BUF(input);
    TY_BUF(wanted);
    for (size_t i = 0; i < size; i++)
        if (data[i] != '\r')
            ty_buf_add_byte(&input, data[i]);
    for (unsigned step = 0; step < 40; step += 7) {
        struct result result = {0};
        run(input.data, input.len, step, &result);
        ty_buf_clear(&wanted);
        expect(input.data, input.len, &wanted);
        REQUIRE(result.lines.len == wanted.len && (!wanted.len || !memcmp(result.lines.data, wanted.data, wanted.len)));
        result_done(&result);
    }
    // The text behind the last "\r", or before it when that ends the input.
    size_t end = size;
    while (end && data[end - 1] == '\r')
        end--;
    size_t start = end;
    while (start && data[start - 1] != '\r' && data[start - 1] != '\n')
        start--;
    ty_buf_clear(&wanted);
    clean(data + start, end - start, &wanted);
    struct result result = {0};
    run(data, size, 0, &result);
    REQUIRE(result.lines.len >= wanted.len &&
            (!wanted.len || !memcmp(result.lines.data + result.lines.len - wanted.len, wanted.data, wanted.len)));
    result_done(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned steps[] = {1, 3, 17, 4000};
    struct result whole = {0};
    run(data, size, 0, &whole);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct result cut = {0};
        run(data, size, steps[i], &cut);
        REQUIRE(cut.whole.len == whole.whole.len &&
                (!cut.whole.len || !memcmp(cut.whole.data, whole.whole.data, cut.whole.len)));
        result_done(&cut);
    }
    result_done(&whole);
    nothing_is_lost(data, size);
    return 0;
}
