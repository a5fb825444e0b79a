// trainyard-stage: the steps of an attempt that touch the store. Runs under the supervisor like any other step, so that no
// slow disk and no foreign archive can hold up a worker. Exit code 0, or 1 with one clear line on stderr that names file,
// line and field; 3 when the store itself is the trouble (worth another attempt); 2 for wrong usage.
//
//   trainyard-stage prepare --store DIR --job-dir DIR --dataset ID --script PREFIX:NAME [--script-version V]
//                           --organization ID --model NAME --model-version V
//     Refuses a model name and version that another job has already taken (the job's own id is the name of its directory,
//     <job>-<attempt>). Checks datasets/<id>/dataset.jsonl line by line (each a JSON object; "dataset.jsonl:7: ..."; blank
//     lines do not count, and there must be one that does), finds scripts/<prefix>/<name>/<version>.tar.gz or <version>/
//     (newest version by name when V is empty: versions compare as natural order, digits as numbers; the archive where
//     both are there), unpacks or copies it into <job-dir>/script (one top directory is stripped; refuses absolute paths,
//     "..", links that lead out or nowhere, devices, over-large archives), requires setup.py or pyproject.toml, and
//     model/training.py. Writes <job-dir>/prepared:
//     script_version=, script_digest=sha256:..., script_dir=, dataset_file=, dataset_lines=.
//     script_digest is the archive's own, or, for a folder, the tree digest below. dataset_file is absolute.
//   trainyard-stage collect --store DIR --job-dir DIR --job ID --fence N --organization ID --model NAME --model-version V
//     Copies <job-dir>/output without tmp/ to models/.staged/<job>-<fence>/ (files and folders only; links to what is
//     inside become copies, links that lead out are refused; sockets, pipes and links to nothing are left out with a note),
//     syncs everything, writes models/.staged/<job>-<fence>.manifest.json with each file's SHA-256, and
//     <job-dir>/collected: stage=.staged/<job>-<fence>, digest=sha256:..., files=, bytes=. An empty output is refused:
//     "the script left no files in its output directory". The stage appears whole, by rename, or not at all.
//   trainyard-stage link --store DIR --stage .staged/JOB-FENCE --organization ID --model NAME --model-version V
//     Makes models/<organization>/<model>/<version> a relative symbolic link to the stage. Already so: 0. Another job's: 1.
//     A link to another stage of the same job is replaced: the caller knows which one the job's record names.
//
//   trainyard-stage stale --store DIR --older-than-s N [--models-older-than-s N] [--after NAME]
//     Lists what stands in models/.staged and has not changed for so long, a line "<kind> <age in s> <job>-<fence>" each, in the
//     byte order of the names, those after NAME, at most 1024. Kinds: stage (without a public name), partial (a copy that was
//     never finished, or what is left beside a stage that is gone), model (it has a public name; only with --models-older-than-s).
//   trainyard-stage discard --store DIR --stage .staged/JOB-FENCE
//     Removes public names that lead there, the stage, its manifest and what was never finished of it. Not there: 0.
//
// The tree digest is the SHA-256 of the lines "<sha256 of the file>  <path>\n" in the byte order of the paths, so that
// `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum` gives it, too.
#pragma once

#include <stdint.h>

#include "core/err.h"

struct ty_stage_options {
    const char *store, *job_dir, *dataset, *script, *script_version, *organization, *model, *model_version, *job, *fence,
        *stage, *older_than_s, *models_older_than_s, *after;
};

// Errors: TY_ESYSTEM is the store's or the disk's trouble (exit 3), everything else is the input's (exit 1). Block on files
// for as long as it takes; the supervisor's time limit ends them.
int ty_stage_prepare(const struct ty_stage_options *options, struct ty_err *err) TY_MUST_USE;
int ty_stage_collect(const struct ty_stage_options *options, struct ty_err *err) TY_MUST_USE;
int ty_stage_link(const struct ty_stage_options *options, struct ty_err *err) TY_MUST_USE;
int ty_stage_stale(const struct ty_stage_options *options, struct ty_err *err) TY_MUST_USE;
int ty_stage_discard(const struct ty_stage_options *options, struct ty_err *err) TY_MUST_USE;
