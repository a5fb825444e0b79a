#include "responder/http_fields.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

void ty_http_fields_add(struct ty_http_fields *fields, const char *name, const void *value, size_t value_len)
{
    size_t name_len = strlen(name);
    if (fields->count == fields->cap) {
        fields->cap = fields->cap ? 2 * fields->cap : 16;
        fields->items = ty_xrealloc(fields->items, fields->cap * sizeof *fields->items);
    }
    char *memory = ty_xmalloc(name_len + value_len + 2);
    for (size_t i = 0; i <= name_len; i++)
        memory[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    if (value_len)
        memcpy(memory + name_len + 1, value, value_len);
    memory[name_len + 1 + value_len] = 0;
    fields->items[fields->count++] =
        (struct ty_http_field){.name = memory, .value = memory + name_len + 1, .value_len = value_len};
}

void ty_http_fields_add_text(struct ty_http_fields *fields, const char *name, const char *value)
{
    ty_http_fields_add(fields, name, value, strlen(value));
}

const char *ty_http_fields_get(const struct ty_http_fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++)
        if (!strcmp(fields->items[i].name, name))
            return fields->items[i].value;
    return NULL;
}

void ty_http_fields_done(struct ty_http_fields *fields)
{
    for (size_t i = 0; i < fields->count; i++)
        free(fields->items[i].name);
    free(fields->items);
    *fields = (struct ty_http_fields){0};
}
