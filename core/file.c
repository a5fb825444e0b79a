#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_err(struct ty_err *err, int errno_value, const char *path)
{
    if (errno_value == ENOENT || errno_value == ENOTDIR)
        return ty_err_set(err, TY_ENOTFOUND, "%s: there is no such file", path);
    if (errno_value == EACCES || errno_value == EPERM)
        return ty_err_set(err, TY_EINVALID, "%s: it may not be read by this user", path);
    return ty_err_errno(err, errno_value, "%s", path);
}

static int read_all(int fd, const char *path, size_t max_bytes, struct ty_buf *out, struct ty_err *err)
{
    size_t before = out->len;
    for (;;) {
        uint8_t *room = ty_buf_reserve(out, 4096);
        ssize_t got = read(fd, room, 4096);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return open_err(err, errno, path);
        if (got == 0)
            return 0;
        out->len += (size_t)got;
        if (out->len - before > max_bytes)
            return ty_err_set(err, TY_EINVALID, "%s: it is larger than %zu bytes", path, max_bytes);
    }
}

int ty_file_read(const char *path, size_t max_bytes, struct ty_buf *out, struct ty_err *err)
{
    struct stat status;
    // A named pipe without a writer would hold an opening for reading.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return open_err(err, errno, path);
    int rc;
    if (fstat(fd, &status) < 0)
        rc = open_err(err, errno, path);
    else if (!S_ISREG(status.st_mode))
        rc = ty_err_set(err, TY_EINVALID, "%s: it is no regular file", path);
    else
        rc = read_all(fd, path, max_bytes, out, err);
    close(fd);
    return rc;
}

struct ty_file_seen ty_file_look(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return (struct ty_file_seen){0};
    return (struct ty_file_seen){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = (uint64_t)status.st_size,
        .changed_ns = (int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec,
    };
}

void ty_file_forget(struct ty_buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->cap);
    ty_buf_done(buf);
}
