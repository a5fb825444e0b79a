#include "worker/stage/dataset.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "worker/stage/bounds.h"
#include "worker/stage/store.h"

#define READ_BYTES (256u * 1024)

struct check {
    const char *shown;
    uint64_t line; // number of the line being looked at, from 1
    uint64_t objects;
};

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a truth value";
    default:
        return "null";
    }
}

static bool is_blank(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!strchr(" \t\r", text[i]) || !text[i])
            return false;
    return true;
}

static int check_line(struct check *check, const uint8_t *text, size_t len, struct ty_err *err)
{
    json_error_t error;
    if (is_blank(text, len))
        return 0;
    json_t *value = json_loadb((const char *)text, len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!value) {
        // Without "any" the parser says best what should have stood there.
        value = json_loadb((const char *)text, len, JSON_ALLOW_NUL, &error);
        json_decref(value);
        return ty_err_set(err, TY_EINVALID, "%s:%llu: not a JSON object: %s", check->shown,
                          (unsigned long long)check->line, error.text);
    }
    int rc = 0;
    if (!json_is_object(value))
        rc = ty_err_set(err, TY_EINVALID, "%s:%llu: not a JSON object but %s", check->shown,
                        (unsigned long long)check->line, type_name(value));
    json_decref(value);
    check->objects++;
    return rc;
}

// Takes whole lines off the front of the buffer.
static int check_lines(struct check *check, struct ty_buf *buf, bool at_end, struct ty_err *err)
{
    size_t at = 0;
    while (at < buf->len) {
        const uint8_t *start = buf->data + at;
        const uint8_t *newline = memchr(start, '\n', buf->len - at);
        if (!newline && !at_end)
            break;
        size_t len = newline ? (size_t)(newline - start) : buf->len - at;
        if (check_line(check, start, len, err) < 0)
            return -(int)err->code;
        check->line++;
        at += len + (newline ? 1 : 0);
    }
    ty_buf_shift(buf, at);
    if (buf->len > TY_STAGE_LINE_BYTES)
        return ty_err_set(err, TY_EINVALID, "%s:%llu: the line is longer than %u MiB", check->shown,
                          (unsigned long long)check->line, TY_STAGE_LINE_BYTES >> 20);
    return 0;
}

static int open_file(int store_fd, const char *path, const char *shown, int *ret_fd,
                     struct ty_err *err)
{
    struct stat st;
    *ret_fd = openat(store_fd, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*ret_fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return ty_err_set(err, TY_ENOTFOUND, "%s: there is no such data set in the store", shown);
    if (*ret_fd < 0 || fstat(*ret_fd, &st) < 0)
        return ty_err_errno(err, errno, "%s", shown);
    if (!S_ISREG(st.st_mode))
        return ty_err_set(err, TY_EINVALID, "%s: is not a file", shown);
    return 0;
}

int ty_dataset_check(int store_fd, const char *path, const char *shown, uint64_t *ret_lines,
                     struct ty_err *err)
{
    struct check check = {.shown = shown, .line = 1};
    TY_BUF(buf);
    TY_FD(fd);
    ssize_t got;
    if (open_file(store_fd, path, shown, &fd, err) < 0)
        return -(int)err->code;
    do {
        got = read(fd, ty_buf_reserve(&buf, READ_BYTES), READ_BYTES);
        if (got < 0)
            return ty_err_errno(err, errno, "%s", shown);
        buf.len += (size_t)got;
        if (check_lines(&check, &buf, got == 0, err) < 0)
            return -(int)err->code;
    } while (got > 0);
    if (!check.objects)
        return ty_err_set(err, TY_EINVALID, "%s: the data set is empty", shown);
    *ret_lines = check.objects;
    return 0;
}
