// A sealed chunk of a log: entries that follow each other, compressed, as the store keeps them. Little-endian:
//   version u8 = 1 | codec u8 (0 none, 1 zstd) | 0 u16 | count u32 | first sequence u64 | raw bytes u32 | payload
// The payload, unpacked, has `raw bytes` and is `count` times: length (varint of at most 3 bytes), that many bytes.
// log_append.lua and log_page.lua read the header. Rule for changes: a new layout takes a new version; a reader refuses those
// it does not know. One thread at a time: the compressor's memory (under 1 MiB) is shared by all.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

#define TY_LOG_CHUNK_HEAD_BYTES 20
// Unpacked bytes at which a chunk is full: the entry that reaches it is its last.
#define TY_LOG_CHUNK_FULL_BYTES (64u * 1024)

struct ty_log_chunk_head {
    uint8_t codec;
    uint32_t count, raw_bytes;
    uint64_t first;
};

// ---- making one: a zeroed struct is empty ----

struct ty_log_chunk {
    uint64_t first; // sequence of its first entry, set with that
    uint32_t count;
    struct ty_buf raw;
};
void ty_log_chunk_done(struct ty_log_chunk *chunk);
// Adds an entry, borrowed; its sequence number is the next one, or any for the first. At most TY_LIMIT_LOG_ENTRY_BYTES.
void ty_log_chunk_add(struct ty_log_chunk *chunk, uint64_t sequence, const void *entry, size_t len);
bool ty_log_chunk_is_full(const struct ty_log_chunk *chunk);
// Appends the sealed chunk and empties this one, which goes on behind it. It must not be empty.
void ty_log_chunk_seal(struct ty_log_chunk *chunk, struct ty_buf *out);

// ---- reading one, whatever its bytes are ----

// TY_EDATALOSS: no chunk, one of another version, or one of more than TY_LIMIT_LOG_CHUNK_BYTES.
int ty_log_chunk_head(const void *bytes, size_t len, struct ty_log_chunk_head *ret_head, struct ty_err *err) TY_MUST_USE;
// Appends the unpacked payload to raw, where ty_log_chunk_next finds `count` entries. TY_EDATALOSS as above, or the payload is
// not what the header says.
int ty_log_chunk_open(const void *bytes, size_t len, struct ty_buf *raw, struct ty_log_chunk_head *ret_head,
                      struct ty_err *err) TY_MUST_USE;
// The entry at *at of a payload, borrowed; moves *at on. False at the end, or where the bytes are none.
bool ty_log_chunk_next(const uint8_t *raw, size_t len, size_t *at, const uint8_t **ret_entry, size_t *ret_len);
