// The word that was meant: for "did you mean". Pure.
#pragma once

#include <stddef.h>

// Of `count` words (the i-th is word(context, i)) the one nearest to text, NULL when none is near enough to be meant.
typedef const char *(*ty_nearest_word_fn)(const void *context, size_t index);
const char *ty_nearest(const char *text, ty_nearest_word_fn word, const void *context, size_t count);
