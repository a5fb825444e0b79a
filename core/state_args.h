// Inside the job store only: the argument list of one script call. Bytes are borrowed until the call; numbers, and what
// ty_args_keep was asked for, are kept here.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/id.h"

struct ty_args {
    const char **argv;
    size_t *lens;
    size_t count, cap;
    char **blocks; // of kept bytes
    size_t block_count, block_used, block_bytes;
};

void ty_args_done(struct ty_args *args);
void ty_args_add(struct ty_args *args, const void *bytes, size_t len);
void ty_args_add_text(struct ty_args *args, const char *text);
// Adds what is in `more`, which goes on owning what it keeps.
void ty_args_add_all(struct ty_args *args, const struct ty_args *more);
void ty_args_add_u64(struct ty_args *args, uint64_t value);
// Room that lives as long as args, without being an argument.
char *ty_args_keep(struct ty_args *args, size_t size);
// A number's text, kept and NUL-terminated, without being an argument.
const char *ty_args_number(struct ty_args *args, uint64_t value, size_t *ret_len);
