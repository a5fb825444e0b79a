// --filter KEY=VALUE, given any number of times, as several verbs take it; each has its own keys. A thing passes when each key
// that is given has one value that fits. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define TY_FILTERS_MAX 64 // more are refused

struct ty_filter {
    const char *key;   // one of the verb's
    const char *value; // behind the =, borrowed from the text
};
struct ty_filters {
    struct ty_filter entries[TY_FILTERS_MAX];
    size_t count;
};

// texts and keys are NULL-terminated; texts NULL: none. TY_EINVALID: no =, an empty value, an unknown key (the keys are listed), too
// many.
int ty_filters_parse(char *const *texts, const char *const *keys, struct ty_filters *ret_filters, struct ty_err *err) TY_MUST_USE;
// The nth value of a key; NULL when there are not as many.
const char *ty_filters_get(const struct ty_filters *filters, const char *key, size_t n);
// Whether text passes the filters of this key: there is none, or a value is the text, or ends in * and the text begins with the rest.
bool ty_filters_allow(const struct ty_filters *filters, const char *key, const char *text);
// "90s", "15m", "12h" or "30d" as seconds, at most 10 years. TY_EINVALID names the key.
int ty_filter_age(const char *key, const char *text, uint64_t *ret_s, struct ty_err *err) TY_MUST_USE;
