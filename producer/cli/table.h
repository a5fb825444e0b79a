// Aligned columns, and colours where they are wanted. Cells are made safe as they are added. One thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum ty_color { TY_COLOR_NONE, TY_COLOR_BOLD, TY_COLOR_DIM, TY_COLOR_RED, TY_COLOR_GREEN, TY_COLOR_YELLOW, TY_COLOR_CYAN };

// "" when color is false or the colour is none.
const char *ty_color_on(enum ty_color color, bool use);
const char *ty_color_off(enum ty_color color, bool use);

struct ty_table;

// headers: as many as there are columns, borrowed.
struct ty_table *ty_table_new(const char *const *headers, size_t columns);
void ty_table_free(struct ty_table *table);
// The next cell, row by row.
void ty_table_add(struct ty_table *table, enum ty_color color, const char *text);
void ty_table_print(const struct ty_table *table, FILE *out, bool use_color);
