#include "worker/exec/spool.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "spool frames are read in place");

static bool header_is_good(const struct ty_exec_frame *frame)
{
    bool known = frame->stream == TY_EXEC_STREAM_STDOUT || frame->stream == TY_EXEC_STREAM_STDERR ||
                 frame->stream == TY_EXEC_STREAM_SUPERVISOR ||
                 (frame->stream == TY_EXEC_STREAM_END && frame->len == 0);
    return known && frame->check == TY_EXEC_FRAME_CHECK && frame->len <= TY_EXEC_FRAME_BYTES;
}

enum ty_spool_result ty_spool_next(const uint8_t *bytes, size_t len,
                                   struct ty_spool_frame *ret_frame, size_t *ret_used)
{
    struct ty_exec_frame frame;
    if (len < sizeof frame)
        return TY_SPOOL_MORE;
    memcpy(&frame, bytes, sizeof frame);
    if (!header_is_good(&frame))
        return TY_SPOOL_TORN;
    if (len - sizeof frame < frame.len)
        return TY_SPOOL_MORE;
    *ret_frame = (struct ty_spool_frame){.time_us = frame.time_us,
                                         .stream = frame.stream,
                                         .step = frame.step,
                                         .bytes = bytes + sizeof frame,
                                         .len = frame.len};
    *ret_used = sizeof frame + frame.len;
    return TY_SPOOL_FRAME;
}
