// The catalogues in schemas/: containers.json (what ListSupportedContainers answers and how a worker runs each) and
// trainers.json (which trainer serves a managed job). Loaded and checked whole at start. Every error names the place:
// "containers.json:17: containers[2].eol: not an RFC 3339 time"; "containers.json:3:5: ..." where it is no JSON.
// Immutable after loading; thread-safe then.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

struct ty_progress_rules;

enum ty_runner { TY_RUNNER_PROCESS, TY_RUNNER_CONTAINER, TY_RUNNER_NULL };

struct ty_container {
    const char *key;         // "python:3.11-sklearn"
    const char *uri;
    const char *framework;
    const char *description;
    int64_t eol_s;           // seconds since 1970
    enum ty_runner runner;
    const char *python;      // runner process: the interpreter, absolute
    bool online_install;     // pip may use an index; otherwise --no-index --no-build-isolation --no-deps
    const char *wheels;      // directory for --find-links, or NULL
    struct ty_progress_rules *progress; // how its own words tell progress (core/progress_rule.h), or NULL
    bool hidden;             // not in ListSupportedContainers (the null runner)
};

struct ty_trainer {
    int model_type;          // viam ModelType
    int model_framework;     // viam ModelFramework
    bool is_default;         // serves the model type when the framework is unset; exactly one of each type
    const char *script;      // "prefix:name" in the script store
    const char *script_version; // may be empty: newest
    const char *container;   // key in containers.json
    const char *description;
};

struct ty_catalog;

// dir NULL: the catalogues built into the program. Otherwise dir/containers.json and dir/trainers.json.
// Owner frees with ty_catalog_free. TY_EINVALID on anything wrong in a file, TY_ENOTFOUND when one is missing, TY_ESYSTEM
// when one cannot be read.
int ty_catalog_load(const char *dir, struct ty_catalog **ret_catalog, struct ty_err *err) TY_MUST_USE;
// The same from texts in memory, which may be freed after the call. TY_EINVALID.
int ty_catalog_parse(const char *containers, size_t containers_len, const char *trainers, size_t trainers_len,
                     struct ty_catalog **ret_catalog, struct ty_err *err) TY_MUST_USE;
void ty_catalog_free(struct ty_catalog *catalog);

size_t ty_catalog_container_count(const struct ty_catalog *catalog);
const struct ty_container *ty_catalog_container_at(const struct ty_catalog *catalog, size_t index);
// key "" or NULL: the default container. NULL when there is none of that key.
const struct ty_container *ty_catalog_container(const struct ty_catalog *catalog, const char *key);
// framework 0 picks the type's default trainer. NULL when nothing serves.
const struct ty_trainer *ty_catalog_trainer(const struct ty_catalog *catalog, int model_type, int model_framework);
// "single label classification -> ONNX (trainyard:images), ...": what is installed, for error messages; "none" when
// nothing is. Owned by the catalog.
const char *ty_catalog_trainers_text(const struct ty_catalog *catalog);
// Appends "single label classification -> ONNX"; framework 0 reads "any framework". Unknown values show as numbers.
void ty_catalog_add_pair(struct ty_buf *out, int model_type, int model_framework);
