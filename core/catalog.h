// The catalogues in schemas/: containers.json (what ListSupportedContainers answers and how a worker runs each) and
// trainers.json (which trainer serves a managed job). Loaded and checked whole at start: an error names file, and the
// JSON path or line and column of what is wrong. Immutable after loading; thread-safe then.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

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
    bool hidden;             // not in ListSupportedContainers (the null runner)
};

struct ty_trainer {
    int model_type;          // viam ModelType
    int model_framework;     // viam ModelFramework
    bool is_default;         // serves the model type when the framework is unset
    const char *script;      // "prefix:name" in the script store
    const char *script_version; // may be empty: newest
    const char *container;   // key in containers.json
    const char *description;
};

struct ty_catalog;

// dir NULL: the catalogues built into the program. Otherwise dir/containers.json and dir/trainers.json.
// Owner frees with ty_catalog_free. TY_EINVALID on anything wrong in a file, TY_ENOTFOUND when one is missing.
int ty_catalog_load(const char *dir, struct ty_catalog **ret_catalog, struct ty_err *err) TY_MUST_USE;
void ty_catalog_free(struct ty_catalog *catalog);

size_t ty_catalog_container_count(const struct ty_catalog *catalog);
const struct ty_container *ty_catalog_container_at(const struct ty_catalog *catalog, size_t index);
// key "" or NULL: the default container. NULL when there is none of that key.
const struct ty_container *ty_catalog_container(const struct ty_catalog *catalog, const char *key);
// framework 0 picks the type's default trainer. NULL when nothing serves.
const struct ty_trainer *ty_catalog_trainer(const struct ty_catalog *catalog, int model_type, int model_framework);
// "single label classification -> ONNX (trainer ...), ...": what is installed, for error messages. Owned by the catalog.
const char *ty_catalog_trainers_text(const struct ty_catalog *catalog);
