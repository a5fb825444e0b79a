#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/command.h"
#include "core/limits.h"
#include "worker/stage/dataset.h"
#include "worker/stage/model.h"
#include "worker/stage/script.h"
#include "worker/stage/stage.h"
#include "worker/stage/store.h"

// The attempt's directory is named <job>-<attempt>.
static char *job_of(const char *job_dir)
{
    const char *slash = strrchr(job_dir, '/');
    char *job = ty_xstrdup(slash ? slash + 1 : job_dir);
    char *hyphen = strrchr(job, '-');
    if (hyphen)
        *hyphen = 0;
    return job;
}

static int write_prepared(const char *job_dir, const struct ty_script *script,
                          const char *dataset_file, uint64_t dataset_lines, struct ty_err *err)
{
    char *text TY_FREE = ty_xasprintf(
        "script_version=%s\nscript_digest=sha256:%s\nscript_dir=%s/script\ndataset_file=%s\n"
        "dataset_lines=%" PRIu64 "\n",
        script->version, script->digest, job_dir, dataset_file, dataset_lines);
    return ty_store_write(job_dir, "prepared", text, err);
}

int ty_stage_prepare(const struct ty_stage_options *options, struct ty_err *err)
{
    uint64_t lines = 0;
    TY_FD(store_fd);
    struct ty_script script TY_CLEANUP(ty_script_done) = {0};
    if (ty_name_check("dataset", options->dataset, TY_LIMIT_ID_BYTES, err) < 0 ||
        ty_model_check_names(options->organization, options->model, options->model_version, err) <
            0 ||
        ty_store_open_dir(options->store, &store_fd, err) < 0)
        return -(int)err->code;
    char *job TY_FREE = job_of(options->job_dir);
    char *dataset TY_FREE = ty_xasprintf("datasets/%s/dataset.jsonl", options->dataset);
    char *dataset_file TY_FREE = ty_xasprintf("%s/%s", options->store, dataset);
    if (ty_model_check_free(store_fd, options->organization, options->model, options->model_version,
                            job, err) < 0 ||
        ty_dataset_check(store_fd, dataset, dataset, &lines, err) < 0 ||
        ty_script_fetch(store_fd, options->store, options->script, options->script_version,
                        options->job_dir, &script, err) < 0 ||
        write_prepared(options->job_dir, &script, dataset_file, lines, err) < 0)
        return -(int)err->code;
    printf("%s, sha256:%s; data set %s of %" PRIu64 " lines\n", script.shown, script.digest,
           options->dataset, lines);
    return 0;
}
