#include "responder/access_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"

#define LOOK_MS 1000

struct ty_access_file {
    struct ty_loop *loop;
    const char *path;
    struct ty_timer timer;
    struct stat seen; // when it was last read
    struct ty_access_secrets secrets;
};

static int check(const struct stat *found, struct ty_err *err)
{
    if (!S_ISREG(found->st_mode))
        return ty_err_set(err, TY_EINVALID, "is no regular file");
    if (found->st_mode & (S_IRWXO | S_IWGRP))
        return ty_err_set(err, TY_EINVALID, "has the mode %03o: nobody but its owner may write it, and nobody but owner and group may read it",
                          found->st_mode & 0777u);
    if (found->st_size > TY_ACCESS_SECRETS_FILE_BYTES)
        return ty_err_set(err, TY_EINVALID, "has %lld bytes; at most %d are allowed", (long long)found->st_size, TY_ACCESS_SECRETS_FILE_BYTES);
    return 0;
}

static int read_all(int fd, struct ty_access_secrets *ret_secrets, struct ty_err *err)
{
    char text[TY_ACCESS_SECRETS_FILE_BYTES];
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, text + len, sizeof text - len)) != 0) {
        if (n < 0 && errno != EINTR)
            return ty_err_errno(err, errno, "reading");
        len += n > 0 ? (size_t)n : 0;
    }
    int rc = ty_access_secrets_parse(text, len, ret_secrets, err);
    ty_crypto_wipe(text, sizeof text);
    return rc;
}

static int load(struct ty_access_file *file, struct ty_err *err)
{
    struct stat found;
    int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? ty_err_set(err, TY_ENOTFOUND, "is not there") : ty_err_errno(err, errno, "opening");
    int rc = fstat(fd, &found) < 0 ? ty_err_errno(err, errno, "opening") : check(&found, err);
    if (rc == 0)
        rc = read_all(fd, &file->secrets, err);
    if (rc == 0)
        file->seen = found;
    close(fd);
    return rc;
}

static bool is_changed(const struct stat *a, const struct stat *b)
{
    return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size || a->st_mtim.tv_sec != b->st_mtim.tv_sec ||
           a->st_mtim.tv_nsec != b->st_mtim.tv_nsec || a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

static void look(void *context)
{
    struct ty_access_file *file = context;
    struct stat found;
    struct ty_err err;
    ty_loop_set_timer(file->loop, &file->timer, LOOK_MS, look, file);
    if (stat(file->path, &found) < 0 || !is_changed(&found, &file->seen))
        return; // one that is away for a moment is being replaced
    if (load(file, &err) < 0) {
        file->seen = found; // said once
        ty_log(TY_LOG_ERROR, "access.secret_file", TY_KV("path", "%s", file->path), TY_KV("error", "%s", err.message),
               TY_KV("message", "%s", "the secrets stay as they were"));
        return;
    }
    ty_log(TY_LOG_INFO, "access.secrets_read", TY_KV("path", "%s", file->path), TY_KV("count", "%zu", file->secrets.count));
}

int ty_access_file_open(struct ty_loop *loop, const char *path, struct ty_access_file **ret_file, struct ty_err *err)
{
    struct ty_access_file *file = ty_xcalloc(1, sizeof *file);
    file->loop = loop;
    file->path = path;
    if (load(file, err) < 0) {
        free(file);
        return ty_err_prefix(err, "--token-secret-file: %s", path);
    }
    ty_loop_set_timer(loop, &file->timer, LOOK_MS, look, file);
    *ret_file = file;
    return 0;
}

void ty_access_file_close(struct ty_access_file *file)
{
    if (!file)
        return;
    ty_loop_clear_timer(file->loop, &file->timer);
    ty_access_secrets_wipe(&file->secrets);
    free(file);
}

const struct ty_access_secrets *ty_access_file_secrets(const struct ty_access_file *file)
{
    return &file->secrets;
}
