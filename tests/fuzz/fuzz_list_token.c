// responder/list_token: what decodes is just what encoding gives back.
#include "responder/list_token.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t digest[TY_LIST_DIGEST_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct input input = {data, size};
    char again[TY_LIST_TOKEN_BYTES], *text = input_text(&input, 4096);
    struct ty_list_cursor cursor = {0};
    struct ty_err err = {0};
    int rc = ty_list_token_decode("page_token", text, digest, &cursor, &err);
    REQUIRE(rc == 0 || rc == -TY_EINVALID);
    if (rc == 0)
        REQUIRE(!strcmp(ty_list_token_encode(digest, &cursor, again), text));
    free(text);
    return 0;
}
