#include "producer/cli/table.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "producer/cli/text.h"

struct cell {
    char *text;
    size_t width;
    enum ty_color color;
};

struct ty_table {
    const char *const *headers;
    size_t columns;
    struct cell *cells;
    size_t count, cap;
};

const char *ty_color_on(enum ty_color color, bool use)
{
    static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[36m"};
    return use ? codes[color] : "";
}

const char *ty_color_off(enum ty_color color, bool use)
{
    return use && color != TY_COLOR_NONE ? "\033[0m" : "";
}

struct ty_table *ty_table_new(const char *const *headers, size_t columns)
{
    struct ty_table *table = ty_xcalloc(1, sizeof *table);
    table->headers = headers;
    table->columns = columns;
    return table;
}

void ty_table_free(struct ty_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void ty_table_add(struct ty_table *table, enum ty_color color, const char *text)
{
    struct ty_buf safe = {0};
    if (table->count == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 64;
        table->cells = ty_xrealloc(table->cells, table->cap * sizeof *table->cells);
    }
    ty_text_add_safe(&safe, text, strlen(text), false);
    char *shown = ty_buf_text(&safe); // the cell keeps the buffer's memory
    table->cells[table->count++] = (struct cell){.text = shown, .width = ty_text_width(shown), .color = color};
}

static size_t column_width(const struct ty_table *table, size_t column)
{
    size_t width = ty_text_width(table->headers[column]);
    for (size_t i = column; i < table->count; i += table->columns)
        if (table->cells[i].width > width)
            width = table->cells[i].width;
    return width;
}

static void put_cell(FILE *out, const char *text, size_t width, size_t column_width, enum ty_color color, bool use_color,
                     bool is_last)
{
    fprintf(out, "%s%s%s", ty_color_on(color, use_color), text, ty_color_off(color, use_color));
    if (is_last)
        fputc('\n', out);
    else
        fprintf(out, "%*s", (int)(column_width - width + 2), "");
}

void ty_table_print(const struct ty_table *table, FILE *out, bool use_color)
{
    size_t *widths TY_FREE = ty_xcalloc(table->columns, sizeof *widths);
    for (size_t c = 0; c < table->columns; c++)
        widths[c] = column_width(table, c);
    for (size_t c = 0; c < table->columns; c++)
        put_cell(out, table->headers[c], ty_text_width(table->headers[c]), widths[c], TY_COLOR_BOLD, use_color,
                 c + 1 == table->columns);
    for (size_t i = 0; i < table->count; i++) {
        size_t c = i % table->columns;
        put_cell(out, table->cells[i].text, table->cells[i].width, widths[c], table->cells[i].color, use_color,
                 c + 1 == table->columns);
    }
}
