// What an attempt runs: from the job's record to the supervisor's plan. Pure.
//
// The contract with a training script:
//   install  <python> -m pip install --target <dir>/site <dir>/script (without an index where the container says offline)
//   train    <python> -m model.training --dataset_file=<absolute> --model_output_directory=<absolute> --<key>=<value>...
//     custom jobs: the arguments in the byte order of their keys, each one element of argv, never through a shell;
//     managed jobs: --labels=<the tags with a space between> and --model_type=single_label|multi_label|object_detection.
//       A tag with other than letters, digits and _-.:@%+=,/ in it is quoted as for a POSIX shell, so that a split at
//       spaces serves plain tags, and shlex.split any.
//   train runs in the data set's folder, so that relative paths in it work. All steps have stdin from /dev/null and
//   this environment; nothing of the worker's own is passed on:
//     PATH=/usr/local/bin:/usr/bin:/bin  LANG=C.UTF-8  HOME=<dir>/home  TMPDIR=<dir>/tmp  PYTHONPATH=<dir>/site
//     PYTHONUNBUFFERED=1  PYTHONNOUSERSITE=1  PIP_DISABLE_PIP_VERSION_CHECK=1  PIP_NO_INPUT=1
//     TRAINYARD_JOB_ID  TRAINYARD_ATTEMPT (from 1)  TRAINYARD_FENCE (rises with each attempt: for stores outside that
//     can refuse an older writer)  TRAINYARD_ORGANIZATION_ID  TRAINYARD_DATASET_ID  TRAINYARD_MODEL_NAME
//     TRAINYARD_MODEL_VERSION  TRAINYARD_DATASET_FILE  TRAINYARD_OUTPUT_DIR
#pragma once

#include "core/buf.h"
#include "core/catalog.h"
#include "core/err.h"
#include "core/record.h"
#include "trainyard/v1/command.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

// The steps in their order; the ordinal of one in the plan + TY_STAGE_PREPARE is its stage in the record.
#define TY_PLAN_STEPS 4
extern const char *const ty_plan_steps[TY_PLAN_STEPS];

// A job as its record has it.
struct ty_job {
    Viam__App__Mltraining__V1__TrainingJobMetadata *metadata; // owned
    Trainyard__V1__JobOptions *options;                       // owned
    const char *script, *script_version;                      // version "": the newest; borrowed from these or the catalog
    const struct ty_container *container;
};
// TY_EDATALOSS: bytes that are no job; TY_EPRECONDITION: a container or trainer that this worker's catalogue does not have.
int ty_job_read(const struct ty_record *record, const struct ty_catalog *catalog, struct ty_job *ret_job,
                struct ty_err *err) TY_MUST_USE;
void ty_job_done(struct ty_job *job);

struct ty_plan_options {
    const char *dir, *store_dir, *stage_path; // absolute
    const char *boot_id;                      // "": not known
    const char *id;                           // the job's, as text
    uint32_t attempt;
    uint64_t fence;
    const struct ty_token *token;
    uint64_t spool_limit_bytes; // 0: none
    uint64_t grace_ms, max_runtime_ms, lost_lease_limit_ms, install_timeout_ms, prepare_timeout_ms, collect_timeout_ms;
};
// TY_EINVALID when the plan would be larger than TY_EXEC_PLAN_BYTES.
int ty_plan_build(const struct ty_job *job, const struct ty_plan_options *options, struct ty_buf *out,
                  struct ty_err *err) TY_MUST_USE;
