// Text for terminals: what came from outside is made harmless, columns are counted as a terminal counts them. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"

// Appends text with everything that could move the cursor, change colours or reorder what is read written out: control
// characters and bytes that are no UTF-8 as \x1b, characters that steer direction or lines as \u202e. Tabs stay; newlines
// stay with keep_newlines.
void ty_text_add_safe(struct ty_buf *out, const char *text, size_t len, bool keep_newlines);
// Columns that a safe text takes on a terminal (a tab counts as one).
size_t ty_text_width(const char *text);

// Of `count` words (the i-th is word(context, i)) the one nearest to text, NULL when none is near enough to be meant.
typedef const char *(*ty_text_word_fn)(const void *context, size_t index);
const char *ty_text_nearest(const char *text, ty_text_word_fn word, const void *context, size_t count);
