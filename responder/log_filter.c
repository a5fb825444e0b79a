#include "responder/log_filter.h"

#include <string.h>

enum { DEBUG = 1, INFO, WARN, ERROR, CRITICAL };

int ty_log_rank_parse(const char *level, unsigned *ret_rank, struct ty_err *err)
{
    static const char *const names[] = {"", "debug", "info", "warn", "error", "critical"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(level, names[i]) != 0)
            continue;
        *ret_rank = i;
        return 0;
    }
    return ty_err_set(err, TY_EINVALID, "minimum_level: none of debug, info, warn, error and critical");
}

unsigned ty_log_rank(const char *level, size_t len)
{
    switch (len ? level[0] | 0x20 : 0) {
    case 't':
    case 'd': return DEBUG;
    case 'w': return WARN;
    case 'e': return ERROR;
    case 'f':
    case 'c': return CRITICAL;
    default: return INFO;
    }
}

struct view {
    const uint8_t *at, *end;
};

static bool read_varint(struct view *view, uint64_t *ret_value)
{
    *ret_value = 0;
    for (unsigned shift = 0; view->at < view->end && shift < 64; shift += 7) {
        uint8_t byte = *view->at++;
        *ret_value |= (uint64_t)(byte & 127) << shift;
        if (!(byte & 128))
            return true;
    }
    return false;
}

// The next field: a number in *ret_value, or bytes in *ret_bytes. False at the end and on what cannot be read.
static bool next_field(struct view *view, uint64_t *ret_tag, uint64_t *ret_value, struct view *ret_bytes)
{
    *ret_bytes = (struct view){0};
    if (!read_varint(view, ret_tag))
        return false;
    switch (*ret_tag & 7) {
    case 0: return read_varint(view, ret_value);
    case 1: *ret_value = 8; break;
    case 5: *ret_value = 4; break;
    case 2:
        if (!read_varint(view, ret_value))
            return false;
        break;
    default: return false;
    }
    if (*ret_value > (uint64_t)(view->end - view->at))
        return false;
    *ret_bytes = (struct view){view->at, view->at + *ret_value};
    view->at += *ret_value;
    return true;
}

enum { LEVEL = 1 << 3 | 2, TIME = 2 << 3 | 2, SECONDS = 1 << 3, NANOS = 2 << 3 };

static uint64_t read_time(struct view time)
{
    uint64_t tag, value, seconds = 0, nanos = 0;
    struct view bytes;
    while (next_field(&time, &tag, &value, &bytes)) {
        if (tag == SECONDS && value < UINT64_MAX / 2000000)
            seconds = value;
        else if (tag == NANOS && value < 1000000000)
            nanos = value;
    }
    return seconds * 1000000 + nanos / 1000;
}

bool ty_log_facts_read(const uint8_t *message, size_t len, struct ty_log_facts *ret_facts)
{
    struct view view = {message, message + len}, bytes;
    uint64_t tag, value;
    *ret_facts = (struct ty_log_facts){.rank = INFO};
    while (view.at < view.end) {
        if (!next_field(&view, &tag, &value, &bytes))
            return false;
        if (tag == LEVEL)
            ret_facts->rank = ty_log_rank((const char *)bytes.at, (size_t)(bytes.end - bytes.at));
        else if (tag == TIME)
            ret_facts->time_us = read_time(bytes);
    }
    return true;
}

bool ty_log_filter_passes(const struct ty_log_filter *filter, const uint8_t *message, size_t len)
{
    struct ty_log_facts facts;
    if ((!filter->rank && !filter->since_us) || !ty_log_facts_read(message, len, &facts))
        return true;
    return facts.rank >= filter->rank && (!facts.time_us || facts.time_us >= filter->since_us);
}
