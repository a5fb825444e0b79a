// core/base64 and core/crypto's base64url: what is decoded comes back from the text that is made of it.
#include "core/base64.h"
#include "core/crypto.h"
#include "tests/fuzz/fuzz.h"

static void round_trip(const struct ty_buf *bytes)
{
    for (int padded = 0; padded < 2; padded++) {
        TY_BUF(text);
        TY_BUF(again);
        ty_base64_add(&text, bytes->data, bytes->len, padded);
        REQUIRE(ty_base64_decode((const char *)text.data, text.len, &again));
        REQUIRE(again.len == bytes->len && (!again.len || !memcmp(again.data, bytes->data, again.len)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    // The largest that a token's part may be is given by its caller; here half of what there is, so that some do not fit.
    size_t max = size / 2, len = 0;
    uint8_t *out = malloc(size * 3 / 4 + 1);
    TY_BUF(bytes);
    REQUIRE(out);
    if (ty_base64_decode((const char *)data, size, &bytes)) {
        REQUIRE(bytes.len <= size * 3 / 4);
        round_trip(&bytes);
    }
    if (ty_base64url_decode((const char *)data, size, out, max, &len)) {
        TY_BUF(text);
        REQUIRE(len <= max);
        ty_base64url_add(&text, out, len);
        REQUIRE(text.len == size && (!size || !memcmp(text.data, data, size))); // strict: one text for the same bytes
    }
    free(out);
    return 0;
}
