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
