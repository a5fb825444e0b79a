// core/log_chunk: whatever a chunk's bytes are, it unpacks to what its header says, within the limit, or not at all; and what
// was sealed comes back.
#include "core/limits.h"
#include "core/log_chunk.h"
#include "tests/fuzz/fuzz.h"

static void open_foreign(const uint8_t *data, size_t size)
{
    struct ty_buf raw = {0};
    struct ty_log_chunk_head head;
    struct ty_err err;
    int rc = ty_log_chunk_open(data, size, &raw, &head, &err);
    REQUIRE(rc == 0 || rc == -TY_EDATALOSS);
    REQUIRE(raw.cap <= 2 * TY_LIMIT_LOG_CHUNK_BYTES);
    REQUIRE(rc == 0 || raw.len == 0);
    if (rc == 0) {
        const uint8_t *entry;
        size_t at = 0, len, count = 0, sum = 0;
        for (; ty_log_chunk_next(raw.data, raw.len, &at, &entry, &len); count++)
            for (size_t i = 0; i < len; i++)
                sum += entry[i];
        REQUIRE(at == raw.len && raw.len == head.raw_bytes && count == head.count);
        REQUIRE(sum <= SIZE_MAX);
    }
    ty_buf_done(&raw);
}

// The input cut into entries by its own bytes.
static void seal_and_open(struct input input)
{
    struct ty_log_chunk chunk = {0};
    struct ty_buf blob = {0}, raw = {0}, expected = {0};
    struct ty_log_chunk_head head;
    struct ty_err err;
    uint32_t count = 0;
    while (input.len && !ty_log_chunk_is_full(&chunk)) {
        size_t len = input_byte(&input);
        len = len < input.len ? len : input.len;
        ty_log_chunk_add(&chunk, 9, input.bytes, len);
        input.bytes += len;
        input.len -= len;
        count++;
    }
    if (count) {
        ty_buf_add(&expected, chunk.raw.data, chunk.raw.len);
        ty_log_chunk_seal(&chunk, &blob);
        REQUIRE(ty_log_chunk_open(blob.data, blob.len, &raw, &head, &err) == 0);
        REQUIRE(head.first == 9 && head.count == count && raw.len == expected.len);
        REQUIRE(!memcmp(raw.data, expected.data, raw.len));
        open_foreign(blob.data, blob.len);
    }
    ty_log_chunk_done(&chunk);
    ty_buf_done(&blob);
    ty_buf_done(&raw);
    ty_buf_done(&expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    open_foreign(data, size);
    seal_and_open((struct input){data, size});
    return 0;
}
