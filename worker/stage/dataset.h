// The check of a data set's file of JSON lines. Inside trainyard-stage only.
#pragma once

#include <stdint.h>

#include "core/err.h"

// Reads the whole file. `shown` is its name in errors. TY_EINVALID "<shown>:<line>: ..." for a line that is no JSON object
// or too long, and for a file without any; TY_ENOTFOUND when there is none; TY_ESYSTEM when it cannot be read.
int ty_dataset_check(int store_fd, const char *path, const char *shown, uint64_t *ret_lines, struct ty_err *err)
    TY_MUST_USE;
