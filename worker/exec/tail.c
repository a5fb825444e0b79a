// The last frames of an output that has its limit: a ring of bytes, the oldest frames make room.
#include <string.h>

#include "worker/exec/exec.h"

static void put(struct ty_exec_tail *tail, const void *bytes, size_t len)
{
    size_t at = (tail->start + tail->len) % sizeof tail->bytes, first = sizeof tail->bytes - at;
    first = len < first ? len : first;
    memcpy(tail->bytes + at, bytes, first);
    memcpy(tail->bytes, (const uint8_t *)bytes + first, len - first);
    tail->len += len;
}

static void get(struct ty_exec_tail *tail, void *bytes, size_t len)
{
    size_t first = sizeof tail->bytes - tail->start;
    first = len < first ? len : first;
    memcpy(bytes, tail->bytes + tail->start, first);
    memcpy((uint8_t *)bytes + first, tail->bytes, len - first);
    tail->start = (tail->start + len) % sizeof tail->bytes;
    tail->len -= len;
}

bool ty_exec_tail_take(struct ty_exec_tail *tail, struct ty_exec_frame *ret_frame,
                       uint8_t bytes[TY_EXEC_FRAME_BYTES])
{
    if (!tail->len)
        return false;
    get(tail, ret_frame, sizeof *ret_frame);
    get(tail, bytes, ret_frame->len);
    return true;
}

size_t ty_exec_tail_add(struct ty_exec_tail *tail, const struct ty_exec_frame *frame,
                        const void *bytes)
{
    static uint8_t oldest[TY_EXEC_FRAME_BYTES];
    struct ty_exec_frame gone;
    size_t dropped = 0;
    while (sizeof tail->bytes - tail->len < sizeof *frame + frame->len &&
           ty_exec_tail_take(tail, &gone, oldest))
        dropped += gone.len;
    put(tail, frame, sizeof *frame);
    put(tail, bytes, frame->len);
    return dropped;
}
