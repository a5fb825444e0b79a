// Finds a training script in the store and brings it into the attempt's directory. Inside trainyard-stage only.
#pragma once

#include "core/err.h"
#include "worker/stage/tree.h"

struct ty_script {
    char *shown;   // "script digits:trainer 1.0", as errors name it
    char *version; // as found
    char digest[TY_DIGEST_TEXT];
};

// id: "prefix:name". version empty or NULL: the newest. The script stands in <job_dir>/script afterwards and has what a
// training script must have. TY_ENOTFOUND when the store has no such script or version.
int ty_script_fetch(int store_fd, const char *store, const char *id, const char *version, const char *job_dir,
                    struct ty_script *script, struct ty_err *err) TY_MUST_USE;
void ty_script_done(struct ty_script *script);
