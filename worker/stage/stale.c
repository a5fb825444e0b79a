// stale and discard: what attempts have left in models/.staged, and its removal. Which of it is still wanted only the job store
// knows: a worker asks it in between.
#include "worker/stage/stale.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/id.h"
#include "worker/stage/stage.h"
#include "worker/stage/store.h"

#define STAGED ".staged"
#define NAME_BYTES 64 // a job's id, a hyphen, the fence

// ---- names ----

// "<job>-<fence>" of what may stand in the staging area: the stage itself, its manifest, and what either was made as.
// False: it is not ours.
static bool stage_of(const char *entry, char ret_name[NAME_BYTES], bool *ret_is_stage)
{
    static const char *const suffixes[] = {"", ".manifest.json", ".partial", ".manifest.json.new"};
    const char *start = entry + (*entry == '.');
    struct ty_id id;
    struct ty_err err;
    char job[TY_ID_TEXT_BYTES];
    if (strlen(start) < TY_ID_TEXT_BYTES + 1 || start[TY_ID_TEXT_BYTES - 1] != '-')
        return false;
    memcpy(job, start, sizeof job - 1);
    job[sizeof job - 1] = 0;
    size_t digits = strspn(start + TY_ID_TEXT_BYTES, "0123456789"), len = TY_ID_TEXT_BYTES + digits;
    if (ty_id_parse(job, &id, &err) < 0 || !digits || len >= NAME_BYTES)
        return false;
    snprintf(ret_name, NAME_BYTES, "%.*s", (int)len, start);
    *ret_is_stage = start == entry && !start[len];
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (!strcmp(start + len, suffixes[i]))
            return true;
    return false;
}

// ---- public names ----

typedef int (*link_fn)(void *context, int dir_fd, const char *version, const char *stage, struct ty_err *err);

static int each_entry_fd(int parent_fd, const char *name, int (*fn)(void *context, int dir_fd, const char *entry, struct ty_err *err),
                         void *context, struct ty_err *err)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return 0; // it went, or it was put there by somebody else
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return ty_err_errno(err, errno, "%s", name);
    int rc = 0;
    for (struct dirent *entry; rc == 0 && (entry = readdir(dir));)
        if (entry->d_name[0] != '.')
            rc = fn(context, dirfd(dir), entry->d_name, err);
    closedir(dir);
    return rc;
}

struct links {
    link_fn fn;
    void *context;
};

static int on_version(void *context, int dir_fd, const char *version, struct ty_err *err)
{
    static const char before[] = "../../" STAGED "/";
    const struct links *links = context;
    char target[PATH_MAX];
    ssize_t len = readlinkat(dir_fd, version, target, sizeof target - 1);
    if (len < 0)
        return 0; // no link, or none any more
    target[len] = 0;
    return strncmp(target, before, sizeof before - 1) ? 0
                                                      : links->fn(links->context, dir_fd, version, target + sizeof before - 1, err);
}

static int on_model(void *context, int dir_fd, const char *model, struct ty_err *err)
{
    return each_entry_fd(dir_fd, model, on_version, context, err);
}

static int on_organization(void *context, int dir_fd, const char *organization, struct ty_err *err)
{
    return each_entry_fd(dir_fd, organization, on_model, context, err);
}

static int each_link(int store_fd, link_fn fn, void *context, struct ty_err *err)
{
    struct links links = {fn, context};
    return each_entry_fd(store_fd, "models", on_organization, &links, err);
}

// ---- stale ----

struct entry {
    char name[NAME_BYTES];
    bool is_stage; // else something beside one
    uint64_t time_s;
};
struct entries {
    struct entry *items;
    size_t count, cap;
};

static struct entry *add(struct entries *entries)
{
    if (entries->count == entries->cap) {
        entries->cap = entries->cap ? 2 * entries->cap : 256;
        entries->items = ty_xrealloc(entries->items, entries->cap * sizeof *entries->items);
    }
    struct entry *entry = &entries->items[entries->count++];
    *entry = (struct entry){0};
    return entry;
}

static void entries_done(struct entries *entries)
{
    free(entries->items);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int add_link(void *context, int dir_fd, const char *version, const char *stage, struct ty_err *err)
{
    (void)dir_fd;
    (void)version;
    (void)err;
    if (strlen(stage) < NAME_BYTES)
        snprintf(add(context)->name, NAME_BYTES, "%s", stage);
    return 0;
}

// All that stands there, sorted by the stage that it belongs to.
static int read_staged(int store_fd, const char *after, struct entries *entries, struct ty_err *err)
{
    int fd = openat(store_fd, "models/" STAGED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; // no model was made here yet
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return ty_err_errno(err, errno, "models/" STAGED);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct entry found = {0};
        struct stat st;
        if (!stage_of(entry->d_name, found.name, &found.is_stage) || strcmp(found.name, after) <= 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        found.is_stage = found.is_stage && S_ISDIR(st.st_mode);
        found.time_s = st.st_mtim.tv_sec > 0 ? (uint64_t)st.st_mtim.tv_sec : 0;
        *add(entries) = found;
    }
    closedir(dir);
    if (entries->count)
        qsort(entries->items, entries->count, sizeof *entries->items, compare);
    return 0;
}

static int number(const char *option, const char *text, uint64_t *ret_value, struct ty_err *err)
{
    char *end;
    if (!text)
        return 0;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno)
        return ty_err_set(err, TY_EINVALID, "--%s: \"%.32s\" is not a number", option, text);
    *ret_value = value;
    return 0;
}

static void list(const struct entries *entries, const struct entries *links, uint64_t stage_age_s, uint64_t model_age_s)
{
    uint64_t now_s = (uint64_t)time(NULL);
    unsigned told = 0;
    for (size_t i = 0, next; i < entries->count && told < TY_STALE_MAX; i = next) {
        struct entry all = entries->items[i];
        for (next = i + 1; next < entries->count && !strcmp(entries->items[next].name, all.name); next++) {
            all.is_stage = all.is_stage || entries->items[next].is_stage;
            if (entries->items[next].time_s > all.time_s)
                all.time_s = entries->items[next].time_s;
        }
        bool is_model = links->count && bsearch(&all, links->items, links->count, sizeof *links->items, compare);
        uint64_t age_s = now_s > all.time_s ? now_s - all.time_s : 0;
        if (is_model ? !model_age_s || age_s < model_age_s : age_s < stage_age_s)
            continue;
        printf("%s %" PRIu64 " %s\n", is_model ? "model" : all.is_stage ? "stage" : "partial", age_s, all.name);
        told++;
    }
}

int ty_stage_stale(const struct ty_stage_options *options, struct ty_err *err)
{
    TY_FD(store_fd);
    struct entries entries TY_CLEANUP(entries_done) = {0};
    struct entries links TY_CLEANUP(entries_done) = {0};
    uint64_t stage_age_s = 0, model_age_s = 0;
    if (number("older-than-s", options->older_than_s, &stage_age_s, err) < 0 ||
        number("models-older-than-s", options->models_older_than_s, &model_age_s, err) < 0 ||
        ty_store_open_dir(options->store, &store_fd, err) < 0)
        return -(int)err->code;
    // What is linked is read last, so that a name that comes meanwhile is seen.
    if (read_staged(store_fd, options->after ? options->after : "", &entries, err) < 0 ||
        each_link(store_fd, add_link, &links, err) < 0)
        return -(int)err->code;
    if (links.count)
        qsort(links.items, links.count, sizeof *links.items, compare);
    list(&entries, &links, stage_age_s, model_age_s);
    return 0;
}

// ---- discard ----

static int remove_link(void *context, int dir_fd, const char *version, const char *stage, struct ty_err *err)
{
    if (strcmp(stage, context) != 0)
        return 0;
    if (unlinkat(dir_fd, version, 0) < 0 && errno != ENOENT)
        return ty_err_errno(err, errno, "%s", version);
    return fsync(dir_fd) < 0 ? ty_err_errno(err, errno, "%s", version) : 0;
}

// The name goes first, and the stage in one step: nobody sees half a model.
int ty_stage_discard(const struct ty_stage_options *options, struct ty_err *err)
{
    TY_FD(store_fd);
    TY_FD(staged_fd);
    char name[NAME_BYTES];
    bool is_stage = false;
    const char *given = strncmp(options->stage, STAGED "/", sizeof STAGED) ? "" : options->stage + sizeof STAGED;
    if (!stage_of(given, name, &is_stage) || !is_stage)
        return ty_err_set(err, TY_EINVALID, "stage \"%.128s\" is not " STAGED "/JOB-FENCE", options->stage);
    if (ty_store_open_dir(options->store, &store_fd, err) < 0 || each_link(store_fd, remove_link, name, err) < 0)
        return -(int)err->code;
    staged_fd = openat(store_fd, "models/" STAGED, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (staged_fd < 0)
        return errno == ENOENT ? 0 : ty_err_errno(err, errno, "models/" STAGED);
    char *partial TY_FREE = ty_xasprintf(".%s.partial", name), *manifest TY_FREE = ty_xasprintf("%s.manifest.json", name);
    char *half TY_FREE = ty_xasprintf(".%s.manifest.json.new", name);
    if (ty_store_remove(staged_fd, partial, err) < 0)
        return -(int)err->code;
    if (renameat(staged_fd, name, staged_fd, partial) < 0 && errno != ENOENT)
        return ty_err_errno(err, errno, "models/%s", options->stage);
    if (ty_store_remove(staged_fd, manifest, err) < 0 || ty_store_remove(staged_fd, half, err) < 0)
        return -(int)err->code;
    return ty_store_remove(staged_fd, partial, err);
}
