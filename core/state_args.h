// Inside the job store only: the argument list of one script call. Bytes are borrowed until the call, numbers are kept here.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/id.h"

struct ty_args {
    const char **argv;
    size_t *lens;
    size_t count, cap;
    char **numbers; // blocks of text for numbers
    size_t block_count, block_used;
};

void ty_args_done(struct ty_args *args);
void ty_args_add(struct ty_args *args, const void *bytes, size_t len);
void ty_args_add_text(struct ty_args *args, const char *text);
void ty_args_add_u64(struct ty_args *args, uint64_t value);
