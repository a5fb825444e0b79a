#include "worker/stage/store.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void ty_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int ty_store_open_dir(const char *path, int *ret_fd, struct ty_err *err)
{
    *ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret_fd < 0 ? ty_err_errno(err, errno, "%s", path) : 0;
}

int ty_store_make_dir(int dir_fd, const char *name, int *ret_fd, struct ty_err *err)
{
    if (mkdirat(dir_fd, name, 0777) == 0) {
        if (fsync(dir_fd) < 0)
            return ty_err_errno(err, errno, "%s", name);
    } else if (errno != EEXIST) {
        return ty_err_errno(err, errno, "%s", name);
    }
    *ret_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *ret_fd < 0 ? ty_err_errno(err, errno, "%s", name) : 0;
}

static int write_text(int fd, const char *text)
{
    for (size_t len = strlen(text); len;) {
        ssize_t put = write(fd, text, len);
        if (put < 0)
            return -1;
        text += put;
        len -= (size_t)put;
    }
    return fsync(fd);
}

int ty_store_write(const char *dir, const char *name, const char *text, struct ty_err *err)
{
    char temp[512];
    TY_FD(dir_fd);
    TY_FD(fd);
    if (ty_store_open_dir(dir, &dir_fd, err) < 0)
        return -(int)err->code;
    snprintf(temp, sizeof temp, ".%s.new", name);
    fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0 || write_text(fd, text) < 0 || renameat(dir_fd, temp, dir_fd, name) < 0 ||
        fsync(dir_fd) < 0)
        return ty_err_errno(err, errno, "%s/%s", dir, name);
    return 0;
}

static int remove_children(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int rc = dir ? 0 : -1;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir));) {
        const char *child = entry->d_name;
        if (!strcmp(child, ".") || !strcmp(child, "..") || unlinkat(fd, child, 0) == 0)
            continue;
        rc = errno == EISDIR ? remove_children(fd, child) : -1;
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return rc == 0 ? unlinkat(parent_fd, name, AT_REMOVEDIR) : -1;
}

int ty_store_remove(int dir_fd, const char *name, struct ty_err *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno == EISDIR && remove_children(dir_fd, name) == 0)
        return 0;
    return ty_err_errno(err, errno, "%s", name);
}

// Compares two runs of digits as numbers of any length and moves both texts behind them.
static int compare_digits(const char **a, const char **b)
{
    while (**a == '0')
        (*a)++;
    while (**b == '0')
        (*b)++;
    size_t a_len = strspn(*a, "0123456789"), b_len = strspn(*b, "0123456789");
    int order = a_len == b_len ? memcmp(*a, *b, a_len) : (a_len > b_len ? 1 : -1);
    *a += a_len;
    *b += b_len;
    return order;
}

int ty_store_compare_versions(const char *a, const char *b)
{
    const char *left = a, *right = b;
    while (*left && *right) {
        int order;
        if (isdigit((unsigned char)*left) && isdigit((unsigned char)*right))
            order = compare_digits(&left, &right);
        else
            order = (unsigned char)*left++ - (unsigned char)*right++;
        if (order)
            return order;
    }
    if (*left || *right)
        return *left ? 1 : -1;
    return strcmp(a, b); // "1.01" and "1.1": the same numbers, but two names
}
