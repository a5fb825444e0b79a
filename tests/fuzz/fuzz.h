// What the fuzz targets share: the entry point, requirements, and bytes taken off the front of an input.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Ends the process, so that the fuzzer keeps the input. Unlike assert it is always there.
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct input {
    const uint8_t *bytes;
    size_t len;
};

static inline uint8_t input_byte(struct input *input)
{
    if (!input->len)
        return 0;
    input->len--;
    return *input->bytes++;
}

// At most max bytes off the front, as text of its own; the caller frees.
static inline char *input_text(struct input *input, size_t max)
{
    size_t len = input->len < max ? input->len : max;
    char *text = malloc(len + 1);
    REQUIRE(text);
    memcpy(text, input->bytes, len);
    text[len] = 0;
    input->bytes += len;
    input->len -= len;
    return text;
}
