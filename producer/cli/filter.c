#include "producer/cli/filter.h"

#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define AGE_MAX_S (UINT64_C(3653) * 86400)

static const char *find_key(const char *const *keys, const char *text, size_t len)
{
    for (; *keys; keys++)
        if (strlen(*keys) == len && !memcmp(*keys, text, len))
            return *keys;
    return NULL;
}

static int refuse_key(const char *const *keys, const char *text, size_t len, struct ty_err *err)
{
    TY_BUF(list);
    for (; *keys; keys++)
        ty_buf_add_format(&list, "%s%s", list.len ? ", " : "", *keys);
    return ty_err_set(err, TY_EINVALID, "--filter: there is no key \"%.*s\"; there are: %s", len < 64 ? (int)len : 64, text,
                      ty_buf_text(&list));
}

int ty_filters_parse(char *const *texts, const char *const *keys, struct ty_filters *ret_filters, struct ty_err *err)
{
    struct ty_filters filters = {0};
    for (; texts && *texts; texts++) {
        const char *equals = strchr(*texts, '=');
        if (!equals || !equals[1])
            return ty_err_set(err, TY_EINVALID, "--filter: \"%.128s\" is not of the form KEY=VALUE", *texts);
        if (filters.count == TY_FILTERS_MAX)
            return ty_err_set(err, TY_EINVALID, "--filter: more than %d are given", TY_FILTERS_MAX);
        const char *key = find_key(keys, *texts, (size_t)(equals - *texts));
        if (!key)
            return refuse_key(keys, *texts, (size_t)(equals - *texts), err);
        filters.entries[filters.count++] = (struct ty_filter){key, equals + 1};
    }
    *ret_filters = filters;
    return 0;
}

const char *ty_filters_get(const struct ty_filters *filters, const char *key, size_t n)
{
    for (size_t i = 0; i < filters->count; i++)
        if (!strcmp(filters->entries[i].key, key) && !n--)
            return filters->entries[i].value;
    return NULL;
}

static bool fits(const char *value, const char *text)
{
    size_t len = strlen(value);
    return value[len - 1] == '*' ? !strncmp(value, text, len - 1) : !strcmp(value, text);
}

bool ty_filters_allow(const struct ty_filters *filters, const char *key, const char *text)
{
    const char *value = ty_filters_get(filters, key, 0);
    if (!value)
        return true;
    for (size_t n = 0; value; value = ty_filters_get(filters, key, ++n))
        if (fits(value, text))
            return true;
    return false;
}

int ty_filter_age(const char *key, const char *text, uint64_t *ret_s, struct ty_err *err)
{
    static const char units[] = "smhd";
    static const unsigned seconds[] = {1, 60, 3600, 86400};
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    if (digits && digits < 12 && unit && !text[digits + 1]) {
        uint64_t age_s = strtoull(text, NULL, 10) * seconds[unit - units];
        if (age_s <= AGE_MAX_S) {
            *ret_s = age_s;
            return 0;
        }
    }
    return ty_err_set(err, TY_EINVALID, "--filter %s: \"%.64s\" is no time such as 90s, 15m, 12h or 30d (at most 10 years)", key, text);
}
