// core/wire's UTF-8: repaired text is valid, and a cut of valid text, too.
#include "core/buf.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    size_t max = input_byte(&input);
    const char *text = (const char *)input.bytes;
    bool valid = ty_utf8_is_valid(text, input.len);
    size_t at = 0;
    while (at < input.len) {
        size_t step = ty_utf8_char(text + at, input.len - at);
        if (!step)
            break;
        REQUIRE(step <= 4 && step <= input.len - at);
        at += step;
    }
    REQUIRE(valid == (at == input.len));
    TY_BUF(repaired);
    ty_utf8_repair(text, input.len, &repaired);
    REQUIRE(ty_utf8_is_valid((const char *)repaired.data, repaired.len));
    REQUIRE(!repaired.len || !memchr(repaired.data, 0, repaired.len));
    if (valid && !memchr(text, 0, input.len))
        REQUIRE(repaired.len == input.len && (!input.len || !memcmp(repaired.data, text, input.len)));
    size_t cut = ty_utf8_cut(text, input.len, max);
    REQUIRE(cut <= max && cut <= input.len);
    REQUIRE(cut || max < 4 || !input.len);
    if (valid)
        REQUIRE(ty_utf8_is_valid(text, cut));
    return 0;
}
