// collect and link: a model becomes visible in two steps, each by one rename or one link, so that
// there is a whole model or none at any moment.
#include "worker/stage/model.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/command.h"
#include "core/limits.h"
#include "worker/stage/bounds.h"
#include "worker/stage/stage.h"
#include "worker/stage/store.h"
#include "worker/stage/tree.h"

#define STAGED ".staged"

// ---- names ----

int ty_model_check_names(const char *organization, const char *model, const char *version,
                         struct ty_err *err)
{
    if (ty_name_check("organization", organization, TY_LIMIT_ID_BYTES, err) < 0 ||
        ty_name_check("model", model, TY_LIMIT_NAME_BYTES, err) < 0 ||
        ty_name_check("model-version", version, TY_LIMIT_NAME_BYTES, err) < 0)
        return -(int)err->code;
    return 0;
}

// "<job>-<fence>": the job's part ends at the last hyphen.
static bool is_of_job(const char *stage_name, const char *job, size_t job_len)
{
    const char *hyphen = strrchr(stage_name, '-');
    return hyphen && (size_t)(hyphen - stage_name) == job_len && !strncmp(stage_name, job, job_len);
}

// Reads the public link below store_fd or models_fd. Returns 1 with the stage's name, 0 when
// nothing is there, or an error: TY_EEXISTS for something that is no link to a stage.
static int read_public(int dir_fd, const char *path, const char *shown, char out[PATH_MAX],
                       struct ty_err *err)
{
    static const char before[] = "../../" STAGED "/";
    ssize_t len = readlinkat(dir_fd, path, out, PATH_MAX - 1);
    if (len < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (len < 0 && errno != EINVAL)
        return ty_err_errno(err, errno, "%s", shown);
    if (len >= 0)
        out[len] = 0;
    if (len < 0 || strncmp(out, before, sizeof before - 1) != 0)
        return ty_err_set(err, TY_EEXISTS, "%s is already in the store, and not put there by a job",
                          shown);
    memmove(out, out + sizeof before - 1, (size_t)len + 1 - (sizeof before - 1));
    return 1;
}

static int taken_err(const char *organization, const char *model, const char *version,
                     const char *stage_name, struct ty_err *err)
{
    const char *hyphen = strrchr(stage_name, '-');
    return ty_err_set(err, TY_EEXISTS, "model %s/%s version %s is already taken by job %.*s",
                      organization, model, version,
                      hyphen ? (int)(hyphen - stage_name) : (int)strlen(stage_name), stage_name);
}

int ty_model_check_free(int store_fd, const char *organization, const char *model,
                        const char *version, const char *job, struct ty_err *err)
{
    char stage_name[PATH_MAX];
    char *path TY_FREE = ty_xasprintf("models/%s/%s/%s", organization, model, version);
    int rc = read_public(store_fd, path, path, stage_name, err);
    if (rc <= 0 || is_of_job(stage_name, job, strlen(job)))
        return rc < 0 ? rc : 0;
    return taken_err(organization, model, version, stage_name, err);
}

// ---- collect ----

static void add_provenance(json_t *manifest, const char *job_dir)
{
    static const char *const wanted[] = {"script_version", "script_digest", "dataset_lines"};
    char *path TY_FREE = ty_xasprintf("%s/prepared", job_dir);
    char *line TY_FREE = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    while (file && getline(&line, &size, file) > 0) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value++ = 0;
        value[strcspn(value, "\n")] = 0;
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            if (!strcmp(line, wanted[i]))
                json_object_set_new(manifest, line, json_string(value));
    }
    if (file)
        fclose(file);
}

static char *make_manifest(const struct ty_stage_options *options, const struct ty_tree *tree,
                           const char *digest)
{
    json_t *files = json_array();
    for (size_t i = 0; i < tree->count; i++) {
        const struct ty_tree_file *file = &tree->files[i];
        json_array_append_new(files, json_pack("{s:s, s:s, s:I}", "path", file->path, "sha256",
                                               file->sha256, "bytes", (json_int_t)file->bytes));
    }
    json_t *manifest =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s+, s:I}", "format", 1, "job", options->job,
                  "fence", options->fence, "organization_id", options->organization, "model_name",
                  options->model, "model_version", options->model_version, "digest",
                  "sha256:", digest, "bytes", (json_int_t)tree->bytes);
    add_provenance(manifest, options->job_dir);
    json_object_set_new(manifest, "files", files);
    char *text = json_dumps(manifest, JSON_INDENT(1));
    json_decref(manifest);
    if (!text)
        abort();
    return text;
}

static int check_collect(const struct ty_stage_options *options, struct ty_err *err)
{
    if (ty_model_check_names(options->organization, options->model, options->model_version, err) <
            0 ||
        ty_name_check("job", options->job, TY_LIMIT_ID_BYTES, err) < 0)
        return -(int)err->code;
    for (const char *at = options->fence; *at || at == options->fence; at++)
        if (!isdigit((unsigned char)*at))
            return ty_err_set(err, TY_EINVALID, "fence \"%.32s\" is not a number", options->fence);
    return 0;
}

static int write_collected(const struct ty_stage_options *options, const char *name,
                           const struct ty_tree *tree, const char *digest, struct ty_err *err)
{
    char *text TY_FREE =
        ty_xasprintf("stage=" STAGED "/%s\ndigest=sha256:%s\nfiles=%zu\nbytes=%" PRIu64 "\n", name,
                     digest, tree->count, tree->bytes);
    if (ty_store_write(options->job_dir, "collected", text, err) < 0)
        return -(int)err->code;
    printf("model of %zu files, %" PRIu64 " bytes, sha256:%s\n", tree->count, tree->bytes, digest);
    return 0;
}

// Puts the finished copy in place of whatever an interrupted run of this very attempt left.
static int commit(int staged_fd, const char *partial, const char *name, struct ty_err *err)
{
    if (ty_store_remove(staged_fd, name, err) < 0)
        return -(int)err->code;
    if (renameat(staged_fd, partial, staged_fd, name) < 0 || fsync(staged_fd) < 0)
        return ty_err_errno(err, errno, "models/" STAGED "/%s", name);
    return 0;
}

static int collect_into(const struct ty_stage_options *options, int staged_fd, const char *name,
                        const char *partial, struct ty_err *err)
{
    char digest[TY_DIGEST_TEXT];
    struct ty_tree tree TY_CLEANUP(ty_tree_done) = {0};
    struct ty_tree_options copying = {.shown = "output", .skip = "tmp", .durable = true};
    char *from TY_FREE = ty_xasprintf("%s/output", options->job_dir);
    char *to TY_FREE = ty_xasprintf("%s/models/" STAGED "/%s", options->store, partial);
    if (ty_tree_copy(from, to, &copying, &tree, err) < 0)
        return -(int)err->code;
    if (!tree.count)
        return ty_err_set(err, TY_EPRECONDITION,
                          "the script left no files in its output directory");
    ty_tree_digest(&tree, digest);
    char *manifest TY_FREE = make_manifest(options, &tree, digest);
    char *staged TY_FREE = ty_xasprintf("%s/models/" STAGED, options->store);
    char *manifest_name TY_FREE = ty_xasprintf("%s.manifest.json", name);
    if (ty_store_write(staged, manifest_name, manifest, err) < 0 ||
        commit(staged_fd, partial, name, err) < 0)
        return -(int)err->code;
    return write_collected(options, name, &tree, digest, err);
}

int ty_stage_collect(const struct ty_stage_options *options, struct ty_err *err)
{
    TY_FD(store_fd);
    TY_FD(models_fd);
    TY_FD(staged_fd);
    TY_FD(partial_fd);
    if (check_collect(options, err) < 0 || ty_store_open_dir(options->store, &store_fd, err) < 0 ||
        ty_store_make_dir(store_fd, "models", &models_fd, err) < 0 ||
        ty_store_make_dir(models_fd, STAGED, &staged_fd, err) < 0)
        return -(int)err->code;
    char *name TY_FREE = ty_xasprintf("%s-%s", options->job, options->fence);
    char *partial TY_FREE = ty_xasprintf(".%s.partial", name);
    if (ty_store_remove(staged_fd, partial, err) < 0 ||
        ty_store_make_dir(staged_fd, partial, &partial_fd, err) < 0)
        return -(int)err->code;
    int rc = collect_into(options, staged_fd, name, partial, err);
    if (rc < 0) {
        struct ty_err ignored; // the first error is the one to tell
        if (ty_store_remove(staged_fd, partial, &ignored) < 0)
            return rc;
    }
    return rc;
}

// ---- link ----

static int replace_link(int dir_fd, const char *target, const char *version, struct ty_err *err)
{
    char *temp TY_FREE = ty_xasprintf(".%s.new-%d", version, (int)getpid());
    if (ty_store_remove(dir_fd, temp, err) < 0)
        return -(int)err->code;
    if (symlinkat(target, dir_fd, temp) < 0 || renameat(dir_fd, temp, dir_fd, version) < 0)
        return ty_err_errno(err, errno, "%s", version);
    return 0;
}

static int make_link(const struct ty_stage_options *options, int dir_fd, const char *name,
                     struct ty_err *err)
{
    char present[PATH_MAX];
    const char *hyphen = strrchr(name, '-');
    char *target TY_FREE = ty_xasprintf("../../" STAGED "/%s", name);
    char *shown TY_FREE = ty_xasprintf("models/%s/%s/%s", options->organization, options->model,
                                       options->model_version);
    if (symlinkat(target, dir_fd, options->model_version) < 0) {
        if (errno != EEXIST)
            return ty_err_errno(err, errno, "%s", shown);
        int rc = read_public(dir_fd, options->model_version, shown, present, err);
        if (rc < 0)
            return rc;
        if (rc > 0 && !strcmp(present, name))
            return 0;
        if (rc > 0 && !is_of_job(present, name, (size_t)(hyphen - name)))
            return taken_err(options->organization, options->model, options->model_version, present,
                             err);
        if (replace_link(dir_fd, target, options->model_version, err) < 0)
            return -(int)err->code;
    }
    return fsync(dir_fd) < 0 ? ty_err_errno(err, errno, "%s", shown) : 0;
}

// ".staged/<job>-<fence>" as its last part, or NULL.
static const char *stage_name(const char *stage, struct ty_err *err)
{
    static const char before[] = STAGED "/";
    const char *name = strncmp(stage, before, sizeof before - 1) ? "" : stage + sizeof before - 1;
    if (ty_name_check("stage", name, TY_LIMIT_ID_BYTES + 32, err) < 0)
        return NULL;
    if (!strrchr(name, '-')) {
        ty_err_set(err, TY_EINVALID, "stage \"%.128s\" is not " STAGED "/JOB-FENCE", stage);
        return NULL;
    }
    return name;
}

int ty_stage_link(const struct ty_stage_options *options, struct ty_err *err)
{
    struct stat st;
    TY_FD(store_fd);
    TY_FD(models_fd);
    TY_FD(staged_fd);
    TY_FD(organization_fd);
    TY_FD(model_fd);
    const char *name = stage_name(options->stage, err);
    if (!name ||
        ty_model_check_names(options->organization, options->model, options->model_version, err) <
            0 ||
        ty_store_open_dir(options->store, &store_fd, err) < 0 ||
        ty_store_make_dir(store_fd, "models", &models_fd, err) < 0 ||
        ty_store_make_dir(models_fd, STAGED, &staged_fd, err) < 0)
        return -(int)err->code;
    if (fstatat(staged_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
        return ty_err_errno(err, errno, "models/%s", options->stage);
    else if (errno == ENOENT || !S_ISDIR(st.st_mode))
        return ty_err_set(err, TY_ENOTFOUND, "models/%s: there is no such stage in the store",
                          options->stage);
    if (ty_store_make_dir(models_fd, options->organization, &organization_fd, err) < 0 ||
        ty_store_make_dir(organization_fd, options->model, &model_fd, err) < 0)
        return -(int)err->code;
    return make_link(options, model_fd, name, err);
}
