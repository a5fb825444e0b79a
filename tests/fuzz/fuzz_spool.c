// worker/exec: the reader of a spool says the same of a whole file and of one that grows, and never stops in a full buffer.
#include "tests/fuzz/fuzz.h"
#include "worker/exec/spool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0, total = 0;
    for (;;) {
        struct ty_spool_frame frame;
        size_t used = 0, rest = size - at;
        enum ty_spool_result result = ty_spool_next(data + at, rest, &frame, &used);
        if (result != TY_SPOOL_FRAME) {
            REQUIRE(result == TY_SPOOL_TORN || rest < TY_SPOOL_FRAME_MAX);
            break;
        }
        REQUIRE(used <= rest && used == sizeof(struct ty_exec_frame) + frame.len);
        REQUIRE(frame.bytes == data + at + sizeof(struct ty_exec_frame));
        struct ty_spool_frame same;
        REQUIRE(ty_spool_next(data + at, used - 1, &same, &used) == TY_SPOOL_MORE);
        for (size_t i = 0; i < frame.len; i++)
            total += frame.bytes[i];
        at += sizeof(struct ty_exec_frame) + frame.len;
    }
    REQUIRE(total <= SIZE_MAX);
    return 0;
}
