// trainyard-stage: the steps of an attempt that touch the store. Runs under the supervisor like any other step, so that no
// slow disk and no foreign archive can hold up a worker. Exit code 0, or 1 with one clear line on stderr that names file,
// line and field; 3 when the store itself is the trouble (worth another attempt).
//
//   trainyard-stage prepare --store DIR --job-dir DIR --dataset ID --script PREFIX:NAME [--script-version V]
//                           --organization ID --model NAME --model-version V
//     Refuses a model name and version that another job has already taken. Checks datasets/<id>/dataset.jsonl line by line
//     (each a JSON object; "dataset.jsonl:7: ..."), finds scripts/<prefix>/<name>/<version>.tar.gz or <version>/ (newest
//     version by name when V is empty: versions compare as natural order, digits as numbers), unpacks it into
//     <job-dir>/script (one top directory is stripped; refuses absolute paths, "..", links that lead out, devices, over-large
//     archives), requires setup.py or pyproject.toml, and model/training.py. Writes <job-dir>/prepared:
//     script_version=, script_digest=sha256:..., script_dir=, dataset_file=, dataset_lines=.
//   trainyard-stage collect --store DIR --job-dir DIR --job ID --fence N --organization ID --model NAME --model-version V
//     Copies <job-dir>/output without tmp/ to models/.staged/<job>-<fence>/ (files and folders only; links that lead out are
//     refused), syncs everything, writes manifest.json beside the files' folder with each file's SHA-256, and
//     <job-dir>/collected: stage=.staged/<job>-<fence>, digest=sha256:..., files=, bytes=. An empty output is refused:
//     "the script left no files in its output directory".
//   trainyard-stage link --store DIR --stage NAME --organization ID --model NAME --model-version V
//     Makes models/<organization>/<model>/<version> a relative symbolic link to the stage. Already so: 0. Another job's: 1.
#pragma once
