#include "core/message_json_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "google/protobuf/any.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"
#include "message_types.h"

#define FIRST_S INT64_C(-62135596800) // 0001-01-01
#define LAST_S INT64_C(253402300799)  // 9999-12-31T23:59:59
#define NANOS 1000000000

// ---- names and types ----

void ty_message_json_name(const char *field_name, struct ty_buf *out)
{
    bool is_upper = false;
    for (; *field_name; field_name++) {
        bool is_lower = *field_name >= 'a' && *field_name <= 'z';
        if (*field_name != '_')
            ty_buf_add_byte(out, (uint8_t)(is_upper && is_lower ? *field_name - 'a' + 'A' : *field_name));
        is_upper = *field_name == '_';
    }
}

bool ty_message_json_is_map(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
    TY_BUF(name);
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    if (entry->n_fields != 2 || strcmp(entry->fields[0].name, "key") != 0 || strcmp(entry->fields[1].name, "value") != 0)
        return false;
    ty_buf_add_format(&name, "%s.", descriptor->name);
    size_t start = name.len;
    ty_message_json_name(field->name, &name);
    if (name.data[start] >= 'a' && name.data[start] <= 'z')
        name.data[start] = (uint8_t)(name.data[start] - 'a' + 'A');
    ty_buf_add_text(&name, "Entry");
    return !strcmp(ty_buf_text(&name), entry->name);
}

bool ty_message_json_is_special(const ProtobufCMessageDescriptor *descriptor)
{
    return descriptor == &google__protobuf__timestamp__descriptor || descriptor == &google__protobuf__any__descriptor;
}

const ProtobufCMessageDescriptor *ty_message_json_type(const char *url)
{
    const char *slash = strrchr(url, '/');
    if (!slash)
        return NULL;
    for (size_t i = 0; i < ty_message_type_count; i++)
        if (!strcmp(ty_message_types[i]->name, slash + 1))
            return ty_message_types[i];
    return NULL;
}

// ---- times ----

void ty_message_json_time_print(int64_t seconds, int32_t nanos, char out[TY_MESSAGE_JSON_TIME_BYTES])
{
    struct tm tm;
    if (seconds < FIRST_S || seconds > LAST_S || nanos < 0 || nanos >= NANOS) {
        seconds = seconds < FIRST_S ? FIRST_S : seconds > LAST_S ? LAST_S : seconds;
        nanos = 0;
    }
    time_t time = (time_t)seconds;
    gmtime_r(&time, &tm);
    int len = snprintf(out, TY_MESSAGE_JSON_TIME_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                       tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    size_t left = TY_MESSAGE_JSON_TIME_BYTES - (size_t)len;
    if (!nanos)
        snprintf(out + len, left, "Z");
    else if (nanos % 1000000 == 0)
        snprintf(out + len, left, ".%03dZ", nanos / 1000000);
    else if (nanos % 1000 == 0)
        snprintf(out + len, left, ".%06dZ", nanos / 1000);
    else
        snprintf(out + len, left, ".%09dZ", nanos);
}

// Exactly `digits` of them.
static bool take_number(const char **at, int digits, int *ret_number)
{
    int number = 0;
    for (; digits; digits--, ++*at) {
        if (**at < '0' || **at > '9')
            return false;
        number = number * 10 + (**at - '0');
    }
    *ret_number = number;
    return true;
}

static bool take(const char **at, char wanted)
{
    return **at == wanted && ++*at;
}

static bool take_fraction(const char **at, int32_t *ret_nanos)
{
    int32_t nanos = 0, scale = NANOS / 10;
    *ret_nanos = 0;
    if (!take(at, '.'))
        return true;
    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; ++*at, scale /= 10) {
        if (!scale)
            return false;
        nanos += (**at - '0') * scale;
    }
    *ret_nanos = nanos;
    return true;
}

static bool take_zone(const char **at, int *ret_offset_s)
{
    int hours, minutes, sign = **at == '-' ? -1 : 1;
    *ret_offset_s = 0;
    if (take(at, 'Z'))
        return true;
    if (!take(at, '+') && !take(at, '-'))
        return false;
    if (!take_number(at, 2, &hours) || !take(at, ':') || !take_number(at, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool ty_message_json_time_read(const char *text, int64_t *ret_seconds, int32_t *ret_nanos)
{
    struct tm tm = {0};
    int year, month, offset_s;
    if (!take_number(&text, 4, &year) || !take(&text, '-') || !take_number(&text, 2, &month) || !take(&text, '-') ||
        !take_number(&text, 2, &tm.tm_mday) || !take(&text, 'T') || !take_number(&text, 2, &tm.tm_hour) || !take(&text, ':') ||
        !take_number(&text, 2, &tm.tm_min) || !take(&text, ':') || !take_number(&text, 2, &tm.tm_sec) ||
        !take_fraction(&text, ret_nanos) || !take_zone(&text, &offset_s) || *text)
        return false;
    tm.tm_year = year - 1900;
    tm.tm_mon = month - 1;
    struct tm as_given = tm;
    int64_t seconds = (int64_t)timegm(&tm); // makes the 31st of June the 1st of July
    if (tm.tm_mday != as_given.tm_mday || tm.tm_mon != as_given.tm_mon || tm.tm_hour != as_given.tm_hour ||
        tm.tm_min != as_given.tm_min || tm.tm_sec != as_given.tm_sec)
        return false;
    *ret_seconds = seconds - offset_s;
    return *ret_seconds >= FIRST_S && *ret_seconds <= LAST_S;
}
