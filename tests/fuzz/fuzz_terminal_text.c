// producer/cli/text: whatever a server or a log says, on a terminal it is one line, or lines, of characters that show themselves.
#include "core/wire.h"
#include "producer/cli/text.h"
#include "tests/fuzz/fuzz.h"

static void show(const uint8_t *data, size_t size, bool keep_newlines)
{
    TY_BUF(safe);
    TY_BUF(again);
    ty_text_add_safe(&safe, (const char *)data, size, keep_newlines);
    REQUIRE(ty_utf8_is_valid((const char *)safe.data, safe.len) && safe.len <= size * 6);
    for (size_t i = 0; i < safe.len; i++)
        REQUIRE((safe.data[i] >= ' ' && safe.data[i] != 0x7f) || safe.data[i] == '\t' || (keep_newlines && safe.data[i] == '\n'));
    REQUIRE(ty_text_width(ty_buf_text(&safe)) <= 2 * safe.len);
    // What is harmless stays as it is.
    ty_text_add_safe(&again, (const char *)safe.data, safe.len, keep_newlines);
    REQUIRE(again.len == safe.len && (!safe.len || !memcmp(again.data, safe.data, safe.len)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    show(data, size, false);
    show(data, size, true);
    return 0;
}
