#include "core/state_args.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define BLOCK_BYTES 4096
#define NUMBER_BYTES 24

void ty_args_done(struct ty_args *args)
{
    for (size_t i = 0; i < args->block_count; i++)
        free(args->numbers[i]);
    free(args->numbers);
    free(args->argv);
    free(args->lens);
    *args = (struct ty_args){0};
}

void ty_args_add(struct ty_args *args, const void *bytes, size_t len)
{
    if (args->count == args->cap) {
        args->cap = args->cap ? args->cap * 2 : 64;
        args->argv = ty_xrealloc(args->argv, args->cap * sizeof *args->argv);
        args->lens = ty_xrealloc(args->lens, args->cap * sizeof *args->lens);
    }
    args->argv[args->count] = len ? bytes : "";
    args->lens[args->count++] = len;
}

void ty_args_add_text(struct ty_args *args, const char *text)
{
    ty_args_add(args, text, strlen(text));
}

void ty_args_add_u64(struct ty_args *args, uint64_t value)
{
    if (!args->block_count || args->block_used + NUMBER_BYTES > BLOCK_BYTES) {
        args->numbers = ty_xrealloc(args->numbers, (args->block_count + 1) * sizeof *args->numbers);
        args->numbers[args->block_count++] = ty_xmalloc(BLOCK_BYTES);
        args->block_used = 0;
    }
    char *text = args->numbers[args->block_count - 1] + args->block_used;
    int len = snprintf(text, NUMBER_BYTES, "%" PRIu64, value);
    args->block_used += (size_t)len + 1;
    ty_args_add(args, text, (size_t)len);
}
