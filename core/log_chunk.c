#include "core/log_chunk.h"

#include <string.h>
#include <zstd.h>

#include "core/limits.h"

#define VERSION 1
#define LEVEL 1
enum { PLAIN, ZSTD };

_Static_assert(TY_LOG_CHUNK_FULL_BYTES + TY_LIMIT_LOG_ENTRY_BYTES + 3 <= TY_LIMIT_LOG_CHUNK_BYTES, "a chunk takes one entry more");
_Static_assert(TY_LIMIT_LOG_ENTRY_BYTES < 1 << 21, "lengths fit three bytes");

void ty_log_chunk_done(struct ty_log_chunk *chunk)
{
    ty_buf_done(&chunk->raw);
    *chunk = (struct ty_log_chunk){0};
}

void ty_log_chunk_add(struct ty_log_chunk *chunk, uint64_t sequence, const void *entry, size_t len)
{
    if (!chunk->count)
        chunk->first = sequence;
    ty_buf_add_varint(&chunk->raw, len);
    ty_buf_add(&chunk->raw, entry, len);
    chunk->count++;
}

bool ty_log_chunk_is_full(const struct ty_log_chunk *chunk)
{
    return chunk->raw.len >= TY_LOG_CHUNK_FULL_BYTES;
}

// One for the process: a log is a stream of chunks, and the compressor's tables are larger than any of them.
static ZSTD_CCtx *compressor(void)
{
    static ZSTD_CCtx *context;
    if (!context)
        context = ZSTD_createCCtx();
    return context;
}

static ZSTD_DCtx *decompressor(void)
{
    static ZSTD_DCtx *context;
    if (!context)
        context = ZSTD_createDCtx();
    return context;
}

static void add_le(struct ty_buf *out, size_t width, uint64_t value)
{
    for (size_t i = 0; i < width; i++)
        ty_buf_add_byte(out, (uint8_t)(value >> (8 * i)));
}

void ty_log_chunk_seal(struct ty_log_chunk *chunk, struct ty_buf *out)
{
    const struct ty_buf *raw = &chunk->raw;
    size_t head = out->len, room = ZSTD_compressBound(raw->len);
    add_le(out, 1, VERSION);
    add_le(out, 1, ZSTD);
    add_le(out, 2, 0);
    add_le(out, 4, chunk->count);
    add_le(out, 8, chunk->first);
    add_le(out, 4, raw->len);
    uint8_t *to = ty_buf_reserve(out, room);
    size_t packed = ZSTD_compressCCtx(compressor(), to, room, raw->data, raw->len, LEVEL);
    if (ZSTD_isError(packed) || packed >= raw->len) {
        out->data[head + 1] = PLAIN;
        ty_buf_add(out, raw->data, raw->len);
    } else {
        out->len += packed;
    }
    ty_buf_clear(&chunk->raw);
    chunk->first += chunk->count;
    chunk->count = 0;
}

int ty_log_chunk_head(const void *bytes, size_t len, struct ty_log_chunk_head *ret_head, struct ty_err *err)
{
    const uint8_t *at = bytes;
    if (len < TY_LOG_CHUNK_HEAD_BYTES || at[0] != VERSION || at[1] > ZSTD)
        return ty_err_set(err, TY_EDATALOSS, "log: not a chunk, or one of another version");
    struct ty_log_chunk_head head = {.codec = at[1],
                                     .count = (uint32_t)ty_get_le(at + 4, 4),
                                     .first = ty_get_le(at + 8, 8),
                                     .raw_bytes = (uint32_t)ty_get_le(at + 16, 4)};
    if (!head.count || head.raw_bytes < head.count || head.raw_bytes > TY_LIMIT_LOG_CHUNK_BYTES || head.first > INT64_MAX)
        return ty_err_set(err, TY_EDATALOSS, "log: a chunk of %u entries in %u bytes", head.count, head.raw_bytes);
    *ret_head = head;
    return 0;
}

// All that readers rely on: the lengths of `count` entries fill the payload.
static bool is_sound(const uint8_t *raw, size_t len, uint32_t count)
{
    const uint8_t *entry;
    size_t at = 0, entry_len;
    for (uint32_t i = 0; i < count; i++)
        if (!ty_log_chunk_next(raw, len, &at, &entry, &entry_len))
            return false;
    return at == len;
}

int ty_log_chunk_open(const void *bytes, size_t len, struct ty_buf *raw, struct ty_log_chunk_head *ret_head, struct ty_err *err)
{
    struct ty_log_chunk_head head;
    if (ty_log_chunk_head(bytes, len, &head, err) < 0)
        return -(int)err->code;
    const uint8_t *payload = (const uint8_t *)bytes + TY_LOG_CHUNK_HEAD_BYTES;
    size_t payload_len = len - TY_LOG_CHUNK_HEAD_BYTES;
    uint8_t *to = ty_buf_reserve(raw, head.raw_bytes);
    if (head.codec == PLAIN && payload_len == head.raw_bytes)
        memcpy(to, payload, payload_len);
    else if (head.codec == PLAIN ||
             ZSTD_decompressDCtx(decompressor(), to, head.raw_bytes, payload, payload_len) != head.raw_bytes)
        return ty_err_set(err, TY_EDATALOSS, "log: a chunk does not unpack to its %u bytes", head.raw_bytes);
    if (!is_sound(to, head.raw_bytes, head.count))
        return ty_err_set(err, TY_EDATALOSS, "log: a chunk does not have its %u entries", head.count);
    raw->len += head.raw_bytes;
    *ret_head = head;
    return 0;
}

bool ty_log_chunk_next(const uint8_t *raw, size_t len, size_t *at, const uint8_t **ret_entry, size_t *ret_len)
{
    size_t place = *at, entry_len = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (place >= len || shift > 14)
            return false;
        entry_len |= (size_t)(raw[place] & 0x7f) << shift;
        if (!(raw[place++] & 0x80))
            break;
    }
    if (entry_len > len - place)
        return false;
    *ret_entry = raw + place;
    *ret_len = entry_len;
    *at = place + entry_len;
    return true;
}
