// Names and values: the headers of a request or an answer. Owned by whoever has the list.
#pragma once

#include <stddef.h>

struct ty_http_field {
    char *name;      // in lower case; the value lies behind it in the same memory
    const char *value;
    size_t value_len; // a NUL follows that is not counted
};

struct ty_http_fields {
    struct ty_http_field *items;
    size_t count, cap;
};

// Copies both; the name is made lower-case.
void ty_http_fields_add(struct ty_http_fields *fields, const char *name, const void *value, size_t value_len);
void ty_http_fields_add_text(struct ty_http_fields *fields, const char *name, const char *value);
// NULL: not there. The first one.
const char *ty_http_fields_get(const struct ty_http_fields *fields, const char *name);
void ty_http_fields_done(struct ty_http_fields *fields);
