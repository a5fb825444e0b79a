// responder/page_token: what decodes is just what encoding gives back.
#include "responder/page_token.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ty_id id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
    struct input input = {data, size};
    char again[TY_PAGE_TOKEN_BYTES], *text = input_text(&input, 4096);
    uint32_t attempt = 0;
    uint64_t sequence = 0;
    struct ty_err err = {0};
    int rc = ty_page_token_decode(text, &id, &attempt, &sequence, &err);
    REQUIRE(rc == 0 || rc == -TY_EINVALID);
    if (rc == 0)
        REQUIRE(!strcmp(ty_page_token_encode(&id, attempt, sequence, again), text));
    free(text);
    return 0;
}
