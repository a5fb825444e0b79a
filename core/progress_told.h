// What one line says of a job's progress: what readers of lines fill in and core/progress.c takes. Inside core/ only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/progress.h"

struct ty_progress_told {
    bool has_fraction, has_step, has_steps;
    double fraction;
    uint64_t step, steps;
    const char *message; // NULL: none; borrowed
    size_t metric_count;
    struct {
        const char *name; // borrowed
        double value;
    } metrics[TY_PROGRESS_METRICS];
    size_t metrics_refused; // that are behind those
};

// A name of 1 to TY_PROGRESS_NAME_BYTES bytes without control characters.
bool ty_progress_name_is_good(const char *name);
