#include "core/message_json_internal.h"

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
    uint8_t *at = ty_buf_reserve(out, strlen(field_name));
    for (bool is_upper = false; *field_name; field_name++) {
        bool is_lower = *field_name >= 'a' && *field_name <= 'z';
        if (*field_name != '_')
            *at++ = (uint8_t)(is_upper && is_lower ? *field_name - 'a' + 'A' : *field_name);
        is_upper = *field_name == '_';
    }
    out->len = (size_t)(at - out->data);
}

// Whether the text is the field's name in JSON, beginning with a capital, and then "Entry".
static bool is_entry_name(const char *text, const char *field_name)
{
    for (bool is_upper = true; *field_name; field_name++) {
        bool is_lower = *field_name >= 'a' && *field_name <= 'z';
        if (*field_name != '_' && *text++ != (char)(is_upper && is_lower ? *field_name - 'a' + 'A' : *field_name))
            return false;
        is_upper = *field_name == '_';
    }
    return !strcmp(text, "Entry");
}

bool ty_message_json_is_map(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field)
{
    size_t len = strlen(descriptor->name);
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    return entry->n_fields == 2 && !strcmp(entry->fields[0].name, "key") && !strcmp(entry->fields[1].name, "value") &&
           !strncmp(entry->name, descriptor->name, len) && entry->name[len] == '.' &&
           is_entry_name(entry->name + len + 1, field->name);
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

// Exactly `digits` of them, with what follows.
static char *put_number(char *at, int64_t number, int digits, char after)
{
    for (int i = digits; i--; number /= 10)
        at[i] = (char)('0' + number % 10);
    at[digits] = after;
    return at + digits + 1;
}

// The date of a day since 0000-03-01, in a calendar of 400 years that begins there, so that the leap day is a year's last.
static char *put_date(char *at, int64_t day)
{
    int64_t era = day / 146097, of_era = day % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    at = put_number(at, era * 400 + year + (month >= 10), 4, '-');
    at = put_number(at, month < 10 ? month + 3 : month - 9, 2, '-');
    return put_number(at, of_year - (153 * month + 2) / 5 + 1, 2, 'T');
}

void ty_message_json_time_print(int64_t seconds, int32_t nanos, char out[TY_MESSAGE_JSON_TIME_BYTES])
{
    if (seconds < FIRST_S || seconds > LAST_S || nanos < 0 || nanos >= NANOS) {
        seconds = seconds < FIRST_S ? FIRST_S : seconds > LAST_S ? LAST_S : seconds;
        nanos = 0;
    }
    int64_t since_march = seconds + INT64_C(719468) * 86400, of_day = since_march % 86400;
    char *at = put_date(out, since_march / 86400);
    at = put_number(at, of_day / 3600, 2, ':');
    at = put_number(at, of_day / 60 % 60, 2, ':');
    at = put_number(at, of_day % 60, 2, nanos ? '.' : 'Z');
    if (nanos && nanos % 1000000 == 0)
        at = put_number(at, nanos / 1000000, 3, 'Z');
    else if (nanos && nanos % 1000 == 0)
        at = put_number(at, nanos / 1000, 6, 'Z');
    else if (nanos)
        at = put_number(at, nanos, 9, 'Z');
    *at = 0;
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
