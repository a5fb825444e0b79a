#include "core/state_args.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define BLOCK_BYTES 4096
#define NUMBER_BYTES 24

void ty_args_done(struct ty_args *args)
{
    for (size_t i = 0; i < args->block_count; i++)
        free(args->blocks[i]);
    free(args->blocks);
    free(args->argv);
    free(args->lens);
    *args = (struct ty_args){0};
}

static void reserve(struct ty_args *args, size_t more)
{
    if (args->count + more <= args->cap)
        return;
    args->cap = args->count + more > args->cap * 2 ? args->count + more + 64 : args->cap * 2;
    args->argv = ty_xrealloc(args->argv, args->cap * sizeof *args->argv);
    args->lens = ty_xrealloc(args->lens, args->cap * sizeof *args->lens);
}

void ty_args_add(struct ty_args *args, const void *bytes, size_t len)
{
    reserve(args, 1);
    args->argv[args->count] = len ? bytes : "";
    args->lens[args->count++] = len;
}

void ty_args_add_all(struct ty_args *args, const struct ty_args *more)
{
    if (!more->count)
        return;
    reserve(args, more->count);
    memcpy(args->argv + args->count, more->argv, more->count * sizeof *args->argv);
    memcpy(args->lens + args->count, more->lens, more->count * sizeof *args->lens);
    args->count += more->count;
}

void ty_args_add_text(struct ty_args *args, const char *text)
{
    ty_args_add(args, text, strlen(text));
}

char *ty_args_keep(struct ty_args *args, size_t size)
{
    if (!args->block_count || size > args->block_bytes - args->block_used) {
        args->blocks = ty_xrealloc(args->blocks, (args->block_count + 1) * sizeof *args->blocks);
        args->block_bytes = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        args->blocks[args->block_count++] = ty_xmalloc(args->block_bytes);
        args->block_used = 0;
    }
    char *room = args->blocks[args->block_count - 1] + args->block_used;
    args->block_used += size;
    return room;
}

// Tens of thousands of numbers a second go through here; printf would take most of their time.
const char *ty_args_number(struct ty_args *args, uint64_t value, size_t *ret_len)
{
    char digits[NUMBER_BYTES], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + value % 10);
    while (value /= 10);
    *ret_len = (size_t)(digits + sizeof digits - at);
    char *text = ty_args_keep(args, *ret_len + 1);
    text[*ret_len] = 0;
    return memcpy(text, at, *ret_len);
}

void ty_args_add_u64(struct ty_args *args, uint64_t value)
{
    size_t len;
    const char *text = ty_args_number(args, value, &len);
    ty_args_add(args, text, len);
}
