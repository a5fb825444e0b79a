#include "worker/stage/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/wire.h"
#include "worker/stage/bounds.h"
#include "worker/stage/store.h"

#define COPY_BYTES (1u << 20)

struct copy {
    const struct ty_tree_options *options;
    struct ty_tree *tree;
    char *root;         // the source, without symbolic links
    struct ty_buf path; // of the entry being looked at, relative to the root
    unsigned depth;
};

// ---- digests ----

static EVP_MD_CTX *digest_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1)
        abort();
    return context;
}

static void digest_end(EVP_MD_CTX *context, char out[TY_DIGEST_TEXT])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    EVP_DigestFinal_ex(context, bytes, &len);
    EVP_MD_CTX_free(context);
    for (unsigned i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

void ty_tree_digest(const struct ty_tree *tree, char out[TY_DIGEST_TEXT])
{
    EVP_MD_CTX *context = digest_new();
    for (size_t i = 0; i < tree->count; i++) {
        TY_BUF(line);
        ty_buf_add_format(&line, "%s  %s\n", tree->files[i].sha256, tree->files[i].path);
        EVP_DigestUpdate(context, line.data, line.len);
    }
    digest_end(context, out);
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len) {
        ssize_t put = write(fd, bytes, len);
        if (put < 0 && errno != EINTR)
            return -1;
        if (put > 0) {
            bytes += put;
            len -= (size_t)put;
        }
    }
    return 0;
}

// Reads from_fd to its end into the digest and, when to_fd is one, into it. Returns -1 with errno.
static int pump(int from_fd, int to_fd, uint64_t *ret_bytes, char out[TY_DIGEST_TEXT])
{
    static uint8_t bytes[COPY_BYTES];
    EVP_MD_CTX *context = digest_new();
    ssize_t got;
    *ret_bytes = 0;
    while ((got = read(from_fd, bytes, sizeof bytes)) > 0) {
        EVP_DigestUpdate(context, bytes, (size_t)got);
        *ret_bytes += (uint64_t)got;
        if (to_fd >= 0 && write_all(to_fd, bytes, (size_t)got) < 0) {
            got = -1;
            break;
        }
    }
    int saved = errno;
    digest_end(context, out);
    errno = saved;
    return got < 0 ? -1 : 0;
}

int ty_file_digest(int fd, char out[TY_DIGEST_TEXT], struct ty_err *err)
{
    uint64_t bytes;
    if (lseek(fd, 0, SEEK_SET) < 0 || pump(fd, -1, &bytes, out) < 0)
        return ty_err_errno(err, errno, "reading for the digest");
    return 0;
}

// ---- the list ----

static struct ty_tree_file *add_file(struct ty_tree *tree, const char *path)
{
    if (tree->count == tree->cap) {
        tree->cap = tree->cap ? 2 * tree->cap : 16;
        tree->files = ty_xrealloc(tree->files, tree->cap * sizeof *tree->files);
    }
    struct ty_tree_file *file = &tree->files[tree->count++];
    *file = (struct ty_tree_file){.path = ty_xstrdup(path)};
    return file;
}

void ty_tree_done(struct ty_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        free(tree->files[i].path);
    free(tree->files);
    *tree = (struct ty_tree){0};
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct ty_tree_file *)a)->path, ((const struct ty_tree_file *)b)->path);
}

// ---- the walk ----

static const char *shown_path(struct copy *copy)
{
    return ty_buf_text(&copy->path);
}

static void leave_out(struct copy *copy, const char *why)
{
    fprintf(stderr, "left out: %s/%s is %s\n", copy->options->shown, shown_path(copy), why);
}

// The source is somebody else's: what may not be read there is their mistake, no trouble of the
// disk.
static int source_err(struct copy *copy, struct ty_err *err)
{
    int saved = errno;
    ty_err_errno(err, saved, "%s/%s", copy->options->shown, shown_path(copy));
    if (saved == EACCES || saved == EPERM || saved == ENAMETOOLONG)
        err->code = TY_EINVALID;
    return -(int)err->code;
}

static int check_name(struct copy *copy, const char *name, struct ty_err *err)
{
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return ty_err_set(err, TY_EINVALID, "%s/%s: the name has a control character",
                              copy->options->shown, shown_path(copy));
    if (!ty_utf8_is_valid(name, strlen(name)))
        return ty_err_set(err, TY_EINVALID, "%s/%s: the name is not valid UTF-8",
                          copy->options->shown, shown_path(copy));
    if (++copy->tree->entries > TY_STAGE_ENTRIES)
        return ty_err_set(err, TY_EINVALID, "%s has more than %d files and folders",
                          copy->options->shown, TY_STAGE_ENTRIES);
    return 0;
}

static int copy_file(struct copy *copy, int from_fd, int to_dir, const char *name,
                     struct ty_err *err)
{
    struct stat st;
    TY_FD(to_fd);
    if (fstat(from_fd, &st) < 0)
        return ty_err_errno(err, errno, "%s/%s", copy->options->shown, shown_path(copy));
    if (copy->options->max_bytes &&
        copy->tree->bytes + (uint64_t)st.st_size > copy->options->max_bytes)
        return ty_err_set(err, TY_EINVALID, "%s has more than %llu bytes", copy->options->shown,
                          (unsigned long long)copy->options->max_bytes);
    to_fd = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct ty_tree_file *file = add_file(copy->tree, shown_path(copy));
    if (to_fd < 0 || pump(from_fd, to_fd, &file->bytes, file->sha256) < 0 ||
        fchmod(to_fd, st.st_mode & S_IXUSR ? 0755 : 0644) < 0 ||
        (copy->options->durable && fsync(to_fd) < 0))
        return ty_err_errno(err, errno, "%s/%s", copy->options->shown, shown_path(copy));
    copy->tree->bytes += file->bytes;
    return 0;
}

static int copy_dir(struct copy *copy, int from_fd, int to_fd, struct ty_err *err);

static int copy_subdir(struct copy *copy, int from_fd, int to_dir, const char *name,
                       struct ty_err *err)
{
    TY_FD(to_fd);
    if (copy->depth >= TY_STAGE_DEPTH)
        return ty_err_set(err, TY_EINVALID, "%s has folders more than %d deep",
                          copy->options->shown, TY_STAGE_DEPTH);
    if (mkdirat(to_dir, name, 0700) == 0)
        to_fd = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to_fd < 0 || fchmod(to_fd, 0755) < 0)
        return ty_err_errno(err, errno, "%s/%s", copy->options->shown, shown_path(copy));
    copy->depth++;
    int rc = copy_dir(copy, from_fd, to_fd, err);
    copy->depth--;
    return rc;
}

// Opens what a link of the source leads to. *ret_fd stays -1 when it leads nowhere.
static int follow_link(struct copy *copy, int *ret_fd, struct ty_err *err)
{
    char link_path[PATH_MAX], target[PATH_MAX];
    size_t root_len = strlen(copy->root);
    if (snprintf(link_path, sizeof link_path, "%s/%s", copy->root, shown_path(copy)) >=
        (int)sizeof link_path)
        return ty_err_set(err, TY_EINVALID, "%s/%s: the path is too long", copy->options->shown,
                          shown_path(copy));
    if (!realpath(link_path, target)) {
        if (errno != ENOENT && errno != ELOOP && errno != ENOTDIR)
            return source_err(copy, err);
        leave_out(copy, "a link to nothing");
        return 0;
    }
    if (strncmp(target, copy->root, root_len) != 0 || (target[root_len] && target[root_len] != '/'))
        return ty_err_set(err, TY_EINVALID, "%s/%s is a link that leads out of the directory",
                          copy->options->shown, shown_path(copy));
    size_t len = strlen(target);
    if (!strncmp(link_path, target, len) && link_path[len] == '/') {
        leave_out(copy, "a link to a folder that it is in");
        return 0;
    }
    *ret_fd = open(target, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? source_err(copy, err) : 0;
}

static int copy_entry(struct copy *copy, int from_dir, int to_dir, const char *name,
                      struct ty_err *err)
{
    struct stat st;
    TY_FD(fd);
    if (check_name(copy, name, err) < 0)
        return -(int)err->code;
    if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return source_err(copy, err);
    if (S_ISLNK(st.st_mode)) {
        if (follow_link(copy, &fd, err) < 0)
            return -(int)err->code;
        if (fd < 0)
            return 0;
    } else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
        fd = openat(from_dir, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
        leave_out(copy, "neither a file nor a folder");
        return 0;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return source_err(copy, err);
    if (S_ISDIR(st.st_mode))
        return copy_subdir(copy, fd, to_dir, name, err);
    if (S_ISREG(st.st_mode))
        return copy_file(copy, fd, to_dir, name, err);
    leave_out(copy, "neither a file nor a folder");
    return 0;
}

static int copy_entries(struct copy *copy, DIR *dir, int to_fd, struct ty_err *err)
{
    for (struct dirent *entry; (errno = 0, entry = readdir(dir));) {
        const char *name = entry->d_name;
        bool skipped =
            copy->depth == 0 && copy->options->skip && !strcmp(name, copy->options->skip);
        if (!strcmp(name, ".") || !strcmp(name, "..") || skipped)
            continue;
        size_t len = copy->path.len;
        if (len)
            ty_buf_add_byte(&copy->path, '/');
        ty_buf_add_text(&copy->path, name);
        int rc = copy_entry(copy, dirfd(dir), to_fd, name, err);
        copy->path.len = len;
        if (rc < 0)
            return rc;
    }
    return errno ? ty_err_errno(err, errno, "%s", copy->options->shown) : 0;
}

// Borrows from_fd.
static int copy_dir(struct copy *copy, int from_fd, int to_fd, struct ty_err *err)
{
    int fd = fcntl(from_fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return ty_err_errno(err, errno, "%s", copy->options->shown);
    }
    int rc = copy_entries(copy, dir, to_fd, err);
    closedir(dir);
    if (rc == 0 && copy->options->durable && fsync(to_fd) < 0)
        rc = ty_err_errno(err, errno, "%s", copy->options->shown);
    return rc;
}

int ty_tree_copy(const char *from, const char *to, const struct ty_tree_options *options,
                 struct ty_tree *tree, struct ty_err *err)
{
    TY_FD(from_fd);
    TY_FD(to_fd);
    if (ty_store_open_dir(from, &from_fd, err) < 0 || ty_store_open_dir(to, &to_fd, err) < 0)
        return -(int)err->code;
    struct copy copy = {.options = options, .tree = tree, .root = realpath(from, NULL)};
    if (!copy.root)
        return ty_err_errno(err, errno, "%s", from);
    int rc = copy_dir(&copy, from_fd, to_fd, err);
    free(copy.root);
    ty_buf_done(&copy.path);
    if (rc == 0 && tree->count)
        qsort(tree->files, tree->count, sizeof *tree->files, by_path);
    return rc;
}
