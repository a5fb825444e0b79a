#include "worker/stage/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "worker/stage/bounds.h"
#include "worker/stage/store.h"

#define READ_BYTES (256u * 1024)

struct link {
    char *path, *target;
};

struct unpack {
    struct archive *archive;
    const char *to, *shown;
    int to_fd;
    uint64_t entries, bytes;
    struct link *links; // made when everything else is there
    size_t link_count, link_cap;
};

// ---- names ----

// "./a//b/" becomes "a/b"; empty for the archive's root. NULL when it leads out.
static char *clean_name(const char *name)
{
    if (*name == '/')
        return NULL;
    TY_BUF(out);
    unsigned depth = 0;
    for (size_t len; *name; name += len) {
        while (*name == '/')
            name++;
        len = strcspn(name, "/");
        if (!len || (len == 1 && *name == '.'))
            continue;
        if ((len == 2 && !strncmp(name, "..", 2)) || ++depth > TY_STAGE_DEPTH)
            return NULL;
        if (out.len)
            ty_buf_add_byte(&out, '/');
        ty_buf_add(&out, name, len);
    }
    return ty_xstrdup(ty_buf_text(&out));
}

static int refuse(const struct unpack *unpack, const char *entry, const char *why,
                  struct ty_err *err)
{
    return ty_err_set(err, TY_EINVALID, "%s: archive entry \"%.256s\" %s", unpack->shown, entry,
                      why);
}

// A system call failed for an entry. What its name or its neighbours brought about is the archive's
// fault.
static int entry_err(const struct unpack *unpack, const char *entry, struct ty_err *err)
{
    switch (errno) {
    case EEXIST:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ELOOP:
        return refuse(unpack, entry, "clashes with another entry", err);
    case ENAMETOOLONG:
        return refuse(unpack, entry, "has a name that is too long", err);
    default:
        return ty_err_errno(err, errno, "%s: unpacking \"%.256s\"", unpack->shown, entry);
    }
}

// Opens the folder that the last part of path is to stand in, making what is missing. Returns that
// part, or NULL with errno.
static const char *open_parent(const struct unpack *unpack, char *path, int *ret_fd)
{
    *ret_fd = fcntl(unpack->to_fd, F_DUPFD_CLOEXEC, 3);
    char *slash;
    for (; *ret_fd >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        *slash = 0;
        if (mkdirat(*ret_fd, path, 0755) < 0 && errno != EEXIST) {
            *slash = '/';
            return NULL;
        }
        int fd = openat(*ret_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        *slash = '/';
        close(*ret_fd);
        errno = saved;
        *ret_fd = fd;
    }
    return *ret_fd < 0 ? NULL : path;
}

// ---- entries ----

static int read_err(const struct unpack *unpack, struct ty_err *err)
{
    const char *text = archive_error_string(unpack->archive);
    if (archive_errno(unpack->archive) == EIO)
        return ty_err_errno(err, EIO, "%s", unpack->shown);
    return ty_err_set(err, TY_EINVALID, "%s: the archive cannot be read: %s", unpack->shown,
                      text ? text : "broken");
}

static int take_bytes(struct unpack *unpack, uint64_t more, struct ty_err *err)
{
    unpack->bytes += more;
    if (unpack->bytes > TY_STAGE_SCRIPT_BYTES)
        return ty_err_set(err, TY_EINVALID, "%s: the archive unpacks to more than %llu bytes",
                          unpack->shown, TY_STAGE_SCRIPT_BYTES);
    return 0;
}

// Data comes in blocks with offsets: a sparse file has holes, which count as bytes, too.
static int write_data(struct unpack *unpack, int fd, const char *name, struct ty_err *err)
{
    const void *block;
    size_t len;
    la_int64_t at;
    uint64_t size = 0;
    int rc;
    while ((rc = archive_read_data_block(unpack->archive, &block, &len, &at)) == ARCHIVE_OK) {
        if (at < 0 || (uint64_t)at < size || (uint64_t)at > TY_STAGE_SCRIPT_BYTES)
            return refuse(unpack, name, "has data out of order", err);
        if (take_bytes(unpack, (uint64_t)at + len - size, err) < 0)
            return -(int)err->code;
        size = (uint64_t)at + len;
        for (size_t done = 0; done < len;) {
            ssize_t put = pwrite(fd, (const char *)block + done, len - done, at + (la_int64_t)done);
            if (put < 0)
                return entry_err(unpack, name, err);
            done += (size_t)put;
        }
    }
    return rc == ARCHIVE_EOF ? 0 : read_err(unpack, err);
}

static int unpack_file(struct unpack *unpack, struct archive_entry *entry, char *name,
                       struct ty_err *err)
{
    TY_FD(dir_fd);
    TY_FD(fd);
    const char *last = open_parent(unpack, name, &dir_fd);
    if (!last)
        return entry_err(unpack, name, err);
    // A later entry of the same name replaces the earlier one, as tar itself has it.
    if (unlinkat(dir_fd, last, 0) < 0 && errno != ENOENT)
        return entry_err(unpack, name, err);
    fd = openat(dir_fd, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || fchmod(fd, archive_entry_perm(entry) & S_IXUSR ? 0755 : 0644) < 0)
        return entry_err(unpack, name, err);
    return write_data(unpack, fd, name, err);
}

static int unpack_dir(struct unpack *unpack, char *name, struct ty_err *err)
{
    TY_FD(dir_fd);
    TY_FD(fd);
    if (!*name)
        return 0;
    const char *last = open_parent(unpack, name, &dir_fd);
    if (!last || (mkdirat(dir_fd, last, 0755) < 0 && errno != EEXIST))
        return entry_err(unpack, name, err);
    fd = openat(dir_fd, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0755) < 0)
        return entry_err(unpack, name, err);
    return 0;
}

// A hard link to a file of the archive that came before.
static int unpack_hard_link(struct unpack *unpack, const char *target, char *name,
                            struct ty_err *err)
{
    struct stat st;
    TY_FD(from_fd);
    TY_FD(to_fd);
    char *from TY_FREE = clean_name(target);
    if (!from || !*from)
        return refuse(unpack, name, "is a link that leads out of the archive", err);
    const char *from_last = open_parent(unpack, from, &from_fd);
    if (!from_last || fstatat(from_fd, from_last, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode))
        return refuse(unpack, name, "is a link to no file of the archive", err);
    const char *to_last = open_parent(unpack, name, &to_fd);
    if (!to_last || linkat(from_fd, from_last, to_fd, to_last, 0) < 0)
        return entry_err(unpack, name, err);
    return 0;
}

static void keep_link(struct unpack *unpack, const char *target, const char *name)
{
    if (unpack->link_count == unpack->link_cap) {
        unpack->link_cap = unpack->link_cap ? 2 * unpack->link_cap : 16;
        unpack->links = ty_xrealloc(unpack->links, unpack->link_cap * sizeof *unpack->links);
    }
    unpack->links[unpack->link_count++] =
        (struct link){.path = ty_xstrdup(name), .target = ty_xstrdup(target)};
}

static int unpack_entry(struct unpack *unpack, struct archive_entry *entry, struct ty_err *err)
{
    const char *raw = archive_entry_pathname(entry), *target = archive_entry_hardlink(entry);
    if (!raw)
        return ty_err_set(err, TY_EINVALID,
                          "%s: an archive entry has a name that is not valid UTF-8", unpack->shown);
    if (++unpack->entries > TY_STAGE_ENTRIES)
        return ty_err_set(err, TY_EINVALID, "%s: the archive has more than %d entries",
                          unpack->shown, TY_STAGE_ENTRIES);
    char *name TY_FREE = clean_name(raw);
    if (!name)
        return refuse(unpack, raw, "leads out of the archive", err);
    if (target)
        return *name ? unpack_hard_link(unpack, target, name, err)
                     : refuse(unpack, raw, "has no name", err);
    mode_t type = archive_entry_filetype(entry);
    if (type == AE_IFDIR)
        return unpack_dir(unpack, name, err);
    if (!*name)
        return refuse(unpack, raw, "has no name", err);
    if (type == AE_IFREG)
        return unpack_file(unpack, entry, name, err);
    target = type == AE_IFLNK ? archive_entry_symlink(entry) : NULL;
    if (!target)
        return refuse(unpack, raw, "is neither a file nor a folder nor a link", err);
    keep_link(unpack, target, name);
    return 0;
}

// ---- symbolic links ----

// Makes all links first: they may lead to each other.
static int make_links(struct unpack *unpack, struct ty_err *err)
{
    for (size_t i = 0; i < unpack->link_count; i++) {
        TY_FD(dir_fd);
        struct link *link = &unpack->links[i];
        const char *last = open_parent(unpack, link->path, &dir_fd);
        if (!last || symlinkat(link->target, dir_fd, last) < 0)
            return entry_err(unpack, link->path, err);
    }
    return 0;
}

static int check_link(const struct unpack *unpack, const char *root, const struct link *link,
                      struct ty_err *err)
{
    char path[PATH_MAX], target[PATH_MAX];
    size_t root_len = strlen(root);
    if (snprintf(path, sizeof path, "%s/%s", unpack->to, link->path) >= (int)sizeof path)
        return refuse(unpack, link->path, "has a name that is too long", err);
    if (!realpath(path, target))
        return refuse(unpack, link->path, "is a link that leads nowhere", err);
    if (strncmp(target, root, root_len) != 0 || (target[root_len] && target[root_len] != '/'))
        return refuse(unpack, link->path, "is a link that leads out of the archive", err);
    return 0;
}

// The only folder at the top when there is nothing beside it, else the top itself.
static char *find_root(const char *to)
{
    unsigned count = 0;
    struct stat st;
    char *only TY_FREE = NULL;
    DIR *dir = opendir(to);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || count++)
            continue;
        only = ty_xasprintf("%s/%s", to, entry->d_name);
    }
    if (dir)
        closedir(dir);
    bool strip = count == 1 && lstat(only, &st) == 0 && S_ISDIR(st.st_mode);
    return realpath(strip ? only : to, NULL);
}

static int finish_links(struct unpack *unpack, char **ret_root, struct ty_err *err)
{
    if (make_links(unpack, err) < 0)
        return -(int)err->code;
    char *root TY_FREE = find_root(unpack->to);
    if (!root)
        return ty_err_errno(err, errno, "%s", unpack->to);
    for (size_t i = 0; i < unpack->link_count; i++)
        if (check_link(unpack, root, &unpack->links[i], err) < 0)
            return -(int)err->code;
    *ret_root = root;
    root = NULL;
    return 0;
}

// ---- the whole ----

static int unpack_entries(struct unpack *unpack, struct ty_err *err)
{
    struct archive_entry *entry;
    int rc;
    while ((rc = archive_read_next_header(unpack->archive, &entry)) == ARCHIVE_OK ||
           rc == ARCHIVE_WARN)
        if (unpack_entry(unpack, entry, err) < 0)
            return -(int)err->code;
    return rc == ARCHIVE_EOF ? 0 : read_err(unpack, err);
}

int ty_archive_unpack(int archive_fd, const char *to, const char *shown, char **ret_root,
                      struct ty_err *err)
{
    TY_FD(to_fd);
    if (ty_store_open_dir(to, &to_fd, err) < 0)
        return -(int)err->code;
    struct unpack unpack = {
        .archive = archive_read_new(), .to = to, .shown = shown, .to_fd = to_fd};
    if (!unpack.archive)
        abort();
    archive_read_support_filter_gzip(unpack.archive);
    archive_read_support_format_tar(unpack.archive);
    int rc = archive_read_open_fd(unpack.archive, archive_fd, READ_BYTES) == ARCHIVE_OK
                 ? unpack_entries(&unpack, err)
                 : read_err(&unpack, err);
    archive_read_free(unpack.archive);
    if (rc == 0)
        rc = finish_links(&unpack, ret_root, err);
    for (size_t i = 0; i < unpack.link_count; i++) {
        free(unpack.links[i].path);
        free(unpack.links[i].target);
    }
    free(unpack.links);
    return rc;
}
