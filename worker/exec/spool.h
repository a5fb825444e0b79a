// Reads spool frames out of a buffer. Pure: the caller reads the file and says how many bytes it has; nothing is copied.
// Thread-safe.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "worker/exec/protocol.h"

struct ty_spool_frame {
    uint64_t time_us;
    uint8_t stream;       // TY_EXEC_STREAM_*
    uint8_t step;
    const uint8_t *bytes; // borrowed from the buffer
    uint32_t len;
};

// The largest number of bytes one frame takes: a buffer of this size always makes progress.
#define TY_SPOOL_FRAME_MAX (sizeof(struct ty_exec_frame) + TY_EXEC_FRAME_BYTES)

enum ty_spool_result {
    TY_SPOOL_FRAME, // a whole frame; *ret_used bytes belong to it
    TY_SPOOL_MORE,  // the bytes may begin a frame, but it is not whole. Where no more bytes will come (the supervisor is
                    // dead and this is the end of the file) that is a torn tail, too
    TY_SPOOL_TORN,  // these bytes were never a frame: the tail was lost. Nothing behind them can be read
};

// Looks at bytes[0..len). frame and *ret_used are written for TY_SPOOL_FRAME only.
enum ty_spool_result ty_spool_next(const uint8_t *bytes, size_t len, struct ty_spool_frame *ret_frame,
                                   size_t *ret_used);
