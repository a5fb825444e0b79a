// Entries are made once for every line that a job prints: they are written where they will lie, in one
// go, without an allocation of their own.
#include "core/log_entry.h"

#include <string.h>

#define MARK 0x80u
#define STREAM_BITS 0x03u
#define CONTINUED 0x04u

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_bytes(uint8_t *at, uint8_t tag, const void *bytes, size_t len)
{
    *at++ = tag;
    at = put_varint(at, len);
    if (len)
        memcpy(at, bytes, len);
    return at + len;
}

static uint8_t *put_time(uint8_t *at, uint64_t time_us)
{
    uint8_t time[24], *end = time;
    uint64_t seconds = time_us / 1000000, nanos = time_us % 1000000 * 1000;
    if (seconds)
        *end++ = 1 << 3, end = put_varint(end, seconds);
    if (nanos)
        *end++ = 2 << 3, end = put_varint(end, nanos);
    return put_bytes(at, 2 << 3 | 2, time, (size_t)(end - time));
}

void ty_log_entry_add(struct ty_buf *out, enum ty_log_stream stream, bool continued, uint64_t time_us, const char *level,
                      const char *message, size_t len)
{
    size_t level_len = strlen(level);
    uint8_t *start = ty_buf_reserve(out, level_len + len + TY_LOG_ENTRY_EXTRA_BYTES), *at = start;
    *at++ = (uint8_t)(MARK | ((unsigned)stream - 1) | (continued ? CONTINUED : 0));
    at = put_bytes(at, 1 << 3 | 2, level, level_len);
    at = put_time(at, time_us);
    at = put_bytes(at, 3 << 3 | 2, message, len);
    out->len += (size_t)(at - start);
}

void ty_log_entry_read(const void *bytes, size_t len, struct ty_log_entry *ret_entry)
{
    const uint8_t *at = bytes;
    *ret_entry = (struct ty_log_entry){.message = at, .len = len};
    if (!len || !(*at & MARK))
        return;
    unsigned stream = (*at & STREAM_BITS) + 1; // the last of the four is of no stream that is known here
    ret_entry->stream = stream <= TY_LOG_STREAM_STDERR ? (enum ty_log_stream)stream : TY_LOG_STREAM_UNSPECIFIED;
    ret_entry->continued = *at & CONTINUED;
    ret_entry->message++;
    ret_entry->len--;
}
