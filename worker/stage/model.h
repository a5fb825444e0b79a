// Where models stand in the store. Inside trainyard-stage only.
#pragma once

#include "core/err.h"

// Checks the three names that make a model's path, as every verb does first.
int ty_model_check_names(const char *organization, const char *model, const char *version, struct ty_err *err)
    TY_MUST_USE;
// TY_EEXISTS when models/<organization>/<model>/<version> is there and not of this job.
int ty_model_check_free(int store_fd, const char *organization, const char *model, const char *version,
                        const char *job, struct ty_err *err) TY_MUST_USE;
