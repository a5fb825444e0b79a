#include "core/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory)
{
    if (memory)
        return memory;
    fputs("out of memory\n", stderr);
    abort();
}

void *ty_xmalloc(size_t size)
{
    return need(malloc(size ? size : 1));
}

void *ty_xcalloc(size_t count, size_t size)
{
    return need(calloc(count ? count : 1, size ? size : 1));
}

void *ty_xrealloc(void *memory, size_t size)
{
    return need(realloc(memory, size ? size : 1));
}

char *ty_xstrdup(const char *text)
{
    return need(strdup(text));
}

char *ty_xasprintf(const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    return need(len < 0 ? NULL : text);
}

void ty_free_pointer(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

void ty_buf_done(struct ty_buf *buf)
{
    free(buf->data);
    *buf = (struct ty_buf){0};
}

void ty_buf_clear(struct ty_buf *buf)
{
    buf->len = 0;
}

uint8_t *ty_buf_reserve(struct ty_buf *buf, size_t more)
{
    if (more > buf->cap - buf->len || !buf->data) {
        size_t cap = buf->cap ? buf->cap : 256;
        if (more > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4)
            need(NULL);
        while (cap < buf->len + more)
            cap *= 2;
        buf->data = ty_xrealloc(buf->data, cap);
        buf->cap = cap;
    }
    return buf->data + buf->len;
}

void ty_buf_add(struct ty_buf *buf, const void *bytes, size_t len)
{
    if (!len)
        return;
    memcpy(ty_buf_reserve(buf, len), bytes, len);
    buf->len += len;
}

void ty_buf_add_byte(struct ty_buf *buf, uint8_t byte)
{
    *ty_buf_reserve(buf, 1) = byte;
    buf->len++;
}

void ty_buf_add_text(struct ty_buf *buf, const char *text)
{
    ty_buf_add(buf, text, strlen(text));
}

void ty_buf_add_format(struct ty_buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len > 0) {
        vsnprintf((char *)ty_buf_reserve(buf, (size_t)len + 1), (size_t)len + 1, format, again);
        buf->len += (size_t)len;
    }
    va_end(again);
}

void ty_buf_add_varint(struct ty_buf *buf, uint64_t value)
{
    uint8_t *at = ty_buf_reserve(buf, 10);
    size_t len = 0;
    for (; value >= 0x80; value >>= 7)
        at[len++] = (uint8_t)(value | 0x80);
    at[len++] = (uint8_t)value;
    buf->len += len;
}

void ty_buf_add_tag_bytes(struct ty_buf *buf, uint32_t field, const void *bytes, size_t len)
{
    ty_buf_add_varint(buf, (uint64_t)field << 3 | 2);
    ty_buf_add_varint(buf, len);
    ty_buf_add(buf, bytes, len);
}

void ty_buf_add_tag_varint(struct ty_buf *buf, uint32_t field, uint64_t value)
{
    ty_buf_add_varint(buf, (uint64_t)field << 3);
    ty_buf_add_varint(buf, value);
}

void ty_buf_add_tag_time(struct ty_buf *buf, uint32_t field, uint64_t time_us)
{
    uint64_t seconds = time_us / 1000000, nanos = time_us % 1000000 * 1000;
    TY_BUF(time);
    if (seconds)
        ty_buf_add_tag_varint(&time, 1, seconds);
    if (nanos)
        ty_buf_add_tag_varint(&time, 2, nanos);
    ty_buf_add_tag_bytes(buf, field, time.data, time.len);
}

char *ty_buf_text(struct ty_buf *buf)
{
    *ty_buf_reserve(buf, 1) = 0;
    return (char *)buf->data;
}

void ty_buf_shift(struct ty_buf *buf, size_t count)
{
    if (count >= buf->len) {
        buf->len = 0;
        return;
    }
    memmove(buf->data, buf->data + count, buf->len - count);
    buf->len -= count;
}

uint64_t ty_get_le(const uint8_t *bytes, size_t width)
{
    uint64_t value = 0;
    for (size_t i = width; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}
