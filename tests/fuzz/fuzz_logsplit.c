// core/logsplit: whatever comes, and however it is cut, the same entries come out: valid UTF-8 without control characters.
#include "core/logsplit.h"

#include "core/buf.h"
#include "core/limits.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

#define START_US UINT64_C(1700000000000000)

static void on_entry(void *context, const struct ty_logsplit_line *line)
{
    struct ty_buf *out = context;
    REQUIRE(line->time_us == START_US);
    REQUIRE(line->len <= TY_LIMIT_LOG_MESSAGE_BYTES);
    REQUIRE(ty_utf8_is_valid(line->message, line->len));
    for (size_t i = 0; i < line->len; i++)
        REQUIRE(line->message[i] == '\t' || (unsigned char)line->message[i] >= 0x20);
    ty_buf_add_format(out, "%s%s %zu ", line->level, line->continued ? "+" : "", line->len);
    ty_buf_add(out, line->message, line->len);
    ty_buf_add_byte(out, '\n');
}

// step 0: all at once; otherwise in pieces that change with it.
static void run(const uint8_t *data, size_t size, unsigned step, struct ty_buf *out)
{
    struct ty_logsplit *split = ty_logsplit_new(on_entry, out);
    for (size_t at = 0, n = step; at < size;) {
        n = n * 1103515245 + 12345;
        size_t piece = step ? 1 + (n >> 16) % step : size;
        piece = piece < size - at ? piece : size - at;
        ty_logsplit_feed(split, START_US, data + at, piece);
        ty_logsplit_flush(split, START_US + 999999); // nothing has waited a whole second
        at += piece;
    }
    ty_logsplit_flush(split, UINT64_MAX);
    size_t len = out->len;
    ty_logsplit_flush(split, UINT64_MAX);
    REQUIRE(out->len == len);
    ty_logsplit_free(split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned steps[] = {1, 3, 17, 4000};
    TY_BUF(whole);
    run(data, size, 0, &whole);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        TY_BUF(cut);
        run(data, size, steps[i], &cut);
        REQUIRE(cut.len == whole.len && (!cut.len || !memcmp(cut.data, whole.data, cut.len)));
    }
    return 0;
}
