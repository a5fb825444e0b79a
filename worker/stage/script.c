#include "worker/stage/script.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/command.h"
#include "core/limits.h"
#include "worker/stage/archive.h"
#include "worker/stage/bounds.h"
#include "worker/stage/store.h"

#define ARCHIVE_SUFFIX ".tar.gz"
#define UNPACK_DIR ".script.new"

void ty_script_done(struct ty_script *script)
{
    free(script->shown);
    free(script->version);
    *script = (struct ty_script){0};
}

// ---- finding it ----

// "prefix:name" as "scripts/prefix/name".
static char *folder_of(const char *id, struct ty_err *err)
{
    const char *colon = strchr(id, ':');
    if (!colon) {
        ty_err_set(err, TY_EINVALID, "script %.256s: the id has no colon; it is PREFIX:NAME", id);
        return NULL;
    }
    char *prefix TY_FREE = ty_xstrdup(id);
    prefix[colon - id] = 0;
    if (ty_name_check("the prefix", prefix, TY_LIMIT_NAME_BYTES, err) < 0 ||
        ty_name_check("the name", colon + 1, TY_LIMIT_NAME_BYTES, err) < 0) {
        ty_err_prefix(err, "script %.256s", id);
        return NULL;
    }
    return ty_xasprintf("scripts/%s/%s", prefix, colon + 1);
}

// The version an entry of the script's folder stands for, or NULL.
static char *version_of(int dir_fd, const char *name)
{
    struct stat st;
    size_t len = strlen(name), suffix = strlen(ARCHIVE_SUFFIX);
    if (*name == '.' || fstatat(dir_fd, name, &st, 0) < 0)
        return NULL;
    if (S_ISDIR(st.st_mode))
        return ty_xstrdup(name);
    if (!S_ISREG(st.st_mode) || len <= suffix || strcmp(name + len - suffix, ARCHIVE_SUFFIX) != 0)
        return NULL;
    return ty_xasprintf("%.*s", (int)(len - suffix), name);
}

static char *newest_version(int folder_fd)
{
    char *newest = NULL;
    int fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 3);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char *version = version_of(folder_fd, entry->d_name);
        if (version && (!newest || ty_store_compare_versions(version, newest) > 0)) {
            char *older = newest;
            newest = version;
            version = older;
        }
        free(version);
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return newest;
}

static int open_folder(int store_fd, const char *id, const char *folder, int *ret_fd,
                       struct ty_err *err)
{
    *ret_fd = openat(store_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*ret_fd >= 0)
        return 0;
    if (errno == ENOENT || errno == ENOTDIR)
        return ty_err_set(err, TY_ENOTFOUND, "script %s: not in the store (%s)", id, folder);
    return ty_err_errno(err, errno, "script %s: %s", id, folder);
}

static int find_version(int folder_fd, const char *id, const char *version,
                        struct ty_script *script, struct ty_err *err)
{
    if (version && *version) {
        script->shown = ty_xasprintf("script %s %s", id, version);
        script->version = ty_xstrdup(version);
        if (ty_name_check("the version", version, TY_LIMIT_NAME_BYTES, err) < 0)
            return ty_err_prefix(err, "%.600s", script->shown);
        return 0;
    }
    script->version = newest_version(folder_fd);
    if (!script->version)
        return ty_err_set(err, TY_ENOTFOUND, "script %s: the store has no version of it", id);
    script->shown = ty_xasprintf("script %s %s", id, script->version);
    return 0;
}

// ---- bringing it ----

static int require_file(const struct ty_script *script, const char *root, const char *a,
                        const char *b, struct ty_err *err)
{
    struct stat st;
    for (int i = 0; i < 2; i++) {
        const char *name = i ? b : a;
        char *path TY_FREE = name ? ty_xasprintf("%s/%s", root, name) : NULL;
        if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode))
            return 0;
    }
    return ty_err_set(err, TY_EINVALID, "%s: has no %s%s%s", script->shown, a, b ? " or " : "",
                      b ? b : "");
}

// Renames the project's root to <job_dir>/script.
static int put_in_place(const struct ty_script *script, int job_fd, const char *root,
                        struct ty_err *err)
{
    if (require_file(script, root, "setup.py", "pyproject.toml", err) < 0 ||
        require_file(script, root, "model/training.py", NULL, err) < 0 ||
        ty_store_remove(job_fd, "script", err) < 0)
        return -(int)err->code;
    if (renameat(AT_FDCWD, root, job_fd, "script") < 0)
        return ty_err_errno(err, errno, "%s: %s", script->shown, root);
    return ty_store_remove(job_fd, UNPACK_DIR, err); // what a stripped top directory leaves
}

static int unpack(struct ty_script *script, int archive_fd, const char *to, char **ret_root,
                  struct ty_err *err)
{
    if (ty_file_digest(archive_fd, script->digest, err) < 0)
        return ty_err_prefix(err, "%s", script->shown);
    if (lseek(archive_fd, 0, SEEK_SET) < 0)
        return ty_err_errno(err, errno, "%s", script->shown);
    return ty_archive_unpack(archive_fd, to, script->shown, ret_root, err);
}

static int copy(struct ty_script *script, const char *from, const char *to, char **ret_root,
                struct ty_err *err)
{
    struct ty_tree tree TY_CLEANUP(ty_tree_done) = {0};
    struct ty_tree_options options = {.shown = script->shown, .max_bytes = TY_STAGE_SCRIPT_BYTES};
    if (ty_tree_copy(from, to, &options, &tree, err) < 0)
        return -(int)err->code;
    ty_tree_digest(&tree, script->digest);
    *ret_root = ty_xstrdup(to);
    return 0;
}

// Opens the version's archive, or says that it is a folder with *ret_fd -1.
static int open_version(int folder_fd, const char *folder, const struct ty_script *script,
                        int *ret_fd, struct ty_err *err)
{
    struct stat st;
    char *name TY_FREE = ty_xasprintf("%s" ARCHIVE_SUFFIX, script->version);
    *ret_fd = openat(folder_fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (*ret_fd >= 0) {
        if (fstat(*ret_fd, &st) == 0 && S_ISREG(st.st_mode))
            return 0;
        return ty_err_set(err, TY_EINVALID, "%s: %s/%s is not a file", script->shown, folder, name);
    }
    if (errno != ENOENT)
        return ty_err_errno(err, errno, "%s: %s/%s", script->shown, folder, name);
    if (fstatat(folder_fd, script->version, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return ty_err_set(err, TY_ENOTFOUND, "%s: not in the store (neither %s/%s nor %s/%s/)",
                      script->shown, folder, name, folder, script->version);
}

int ty_script_fetch(int store_fd, const char *store, const char *id, const char *version,
                    const char *job_dir, struct ty_script *script, struct ty_err *err)
{
    TY_FD(folder_fd);
    TY_FD(version_fd);
    TY_FD(job_fd);
    TY_FD(unpack_fd);
    char *folder TY_FREE = folder_of(id, err);
    if (!folder || open_folder(store_fd, id, folder, &folder_fd, err) < 0 ||
        find_version(folder_fd, id, version, script, err) < 0 ||
        open_version(folder_fd, folder, script, &version_fd, err) < 0 ||
        ty_store_open_dir(job_dir, &job_fd, err) < 0 ||
        ty_store_remove(job_fd, UNPACK_DIR, err) < 0 ||
        ty_store_make_dir(job_fd, UNPACK_DIR, &unpack_fd, err) < 0)
        return -(int)err->code;
    char *to TY_FREE = ty_xasprintf("%s/" UNPACK_DIR, job_dir);
    char *from TY_FREE = ty_xasprintf("%s/%s/%s", store, folder, script->version);
    char *root TY_FREE = NULL;
    int rc = version_fd >= 0 ? unpack(script, version_fd, to, &root, err)
                             : copy(script, from, to, &root, err);
    return rc < 0 ? rc : put_in_place(script, job_fd, root, err);
}
