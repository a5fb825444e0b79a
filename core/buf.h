// A growable byte buffer. Owner frees with ty_buf_done. Running out of memory ends the process (as everywhere in the
// project: ty_xmalloc and friends print one line and abort). Not thread-safe.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ty_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
};

void *ty_xmalloc(size_t size);
void *ty_xcalloc(size_t count, size_t size);
void *ty_xrealloc(void *memory, size_t size);
char *ty_xstrdup(const char *text);
char *ty_xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A zeroed struct ty_buf is a valid empty buffer.
void ty_buf_done(struct ty_buf *buf);
// Empties it, keeps the memory.
void ty_buf_clear(struct ty_buf *buf);
// Makes room for `more` bytes behind len and returns where they start; len is not changed.
uint8_t *ty_buf_reserve(struct ty_buf *buf, size_t more);
void ty_buf_add(struct ty_buf *buf, const void *bytes, size_t len);
void ty_buf_add_byte(struct ty_buf *buf, uint8_t byte);
void ty_buf_add_text(struct ty_buf *buf, const char *text);
void ty_buf_add_format(struct ty_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// Protobuf wire pieces.
void ty_buf_add_varint(struct ty_buf *buf, uint64_t value);
void ty_buf_add_tag_bytes(struct ty_buf *buf, uint32_t field, const void *bytes, size_t len);
void ty_buf_add_tag_varint(struct ty_buf *buf, uint32_t field, uint64_t value);
// A google.protobuf.Timestamp field from microseconds since 1970.
void ty_buf_add_tag_time(struct ty_buf *buf, uint32_t field, uint64_t time_us);
// A little-endian number of `width` bytes, 1 to 8, as the store's records have them.
uint64_t ty_get_le(const uint8_t *bytes, size_t width);
// Ensures a NUL behind data[len-1] (not counted in len) and returns data as text.
char *ty_buf_text(struct ty_buf *buf);
// Drops the first `count` bytes.
void ty_buf_shift(struct ty_buf *buf, size_t count);

#define TY_CLEANUP(function) __attribute__((cleanup(function)))
// Scope cleanup: TY_BUF(buf) declares an empty buffer freed at the end of the scope.
#define TY_BUF(name) struct ty_buf name TY_CLEANUP(ty_buf_done) = {0}
void ty_free_pointer(void *pointer_to_pointer);
#define TY_FREE TY_CLEANUP(ty_free_pointer)
