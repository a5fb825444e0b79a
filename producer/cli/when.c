#include "producer/cli/when.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND INT64_C(1000000)
#define FIRST_S INT64_C(-30610224000) // 1000-01-01: a year has four digits
#define LAST_S INT64_C(253402300799)  // 9999-12-31T23:59:59

int64_t ty_when_us(const Google__Protobuf__Timestamp *timestamp)
{
    int64_t seconds = timestamp->seconds;
    seconds = seconds < FIRST_S ? FIRST_S : seconds > LAST_S ? LAST_S : seconds;
    int32_t nanos = timestamp->nanos < 0 || timestamp->nanos > 999999999 ? 0 : timestamp->nanos;
    return seconds * SECOND + nanos / 1000;
}

static int64_t split(int64_t time_us, struct tm *ret_tm)
{
    int64_t fraction = time_us % SECOND;
    if (fraction < 0)
        fraction += SECOND;
    time_t seconds = (time_t)((time_us - fraction) / SECOND);
    gmtime_r(&seconds, ret_tm);
    return fraction;
}

const char *ty_when_rfc3339(int64_t time_us, char out[TY_WHEN_BYTES])
{
    struct tm tm;
    int64_t fraction = split(time_us, &tm);
    size_t len = strftime(out, TY_WHEN_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + len, TY_WHEN_BYTES - len, ".%06" PRId64 "Z", fraction);
    return out;
}

const char *ty_when_millis(int64_t time_us, char out[TY_WHEN_BYTES])
{
    struct tm tm;
    int64_t fraction = split(time_us, &tm);
    size_t len = strftime(out, TY_WHEN_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + len, TY_WHEN_BYTES - len, ".%03" PRId64 "Z", fraction / 1000);
    return out;
}

const char *ty_when_utc(int64_t time_us, char out[TY_WHEN_BYTES])
{
    struct tm tm;
    split(time_us, &tm);
    strftime(out, TY_WHEN_BYTES, "%Y-%m-%d %H:%M:%S UTC", &tm);
    return out;
}

const char *ty_when_day(int64_t time_us, char out[TY_WHEN_BYTES])
{
    struct tm tm;
    split(time_us, &tm);
    strftime(out, TY_WHEN_BYTES, "%Y-%m-%d", &tm);
    return out;
}

const char *ty_when_version(int64_t time_us, char out[TY_WHEN_BYTES])
{
    struct tm tm;
    split(time_us, &tm);
    strftime(out, TY_WHEN_BYTES, "%Y-%m-%dT%H-%M-%S", &tm);
    return out;
}

const char *ty_when_ago(int64_t time_us, int64_t now_us, char out[TY_WHEN_BYTES])
{
    static const struct {
        int64_t seconds;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    int64_t away_s = (now_us - time_us) / SECOND, size_s = away_s < 0 ? -away_s : away_s;
    size_t i = 0;
    while (i < 3 && size_s < units[i].seconds)
        i++;
    if (size_s < 2)
        snprintf(out, TY_WHEN_BYTES, "just now");
    else
        snprintf(out, TY_WHEN_BYTES, "%s%" PRId64 "%c%s", away_s < 0 ? "in " : "", size_s / units[i].seconds, units[i].unit,
                 away_s < 0 ? "" : " ago");
    return out;
}

const char *ty_when_duration(int64_t duration_us, char out[TY_WHEN_BYTES])
{
    int64_t us = duration_us < 0 ? 0 : duration_us, s = us / SECOND;
    if (s < 10)
        snprintf(out, TY_WHEN_BYTES, "%" PRId64 ".%" PRId64 "s", s, us % SECOND / 100000);
    else if (s < 60)
        snprintf(out, TY_WHEN_BYTES, "%" PRId64 "s", s);
    else if (s < 3600)
        snprintf(out, TY_WHEN_BYTES, "%" PRId64 "m %02" PRId64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(out, TY_WHEN_BYTES, "%" PRId64 "h %02" PRId64 "m", s / 3600, s % 3600 / 60);
    else
        snprintf(out, TY_WHEN_BYTES, "%" PRId64 "d %02" PRId64 "h", s / 86400, s % 86400 / 3600);
    return out;
}

static bool parse_fraction(const char *text, uint64_t *us)
{
    size_t digits = *text == '.' ? strspn(text + 1, "0123456789") : 0;
    uint64_t unit = SECOND;
    if (*text == '.' && (digits < 1 || digits > 6))
        return false;
    for (size_t i = 1; i <= digits; i++)
        *us += (unit /= 10) * (uint64_t)(text[i] - '0');
    return !strcmp(text + (digits ? digits + 1 : 0), "Z");
}

bool ty_when_parse(const char *text, uint64_t *ret_us)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd";
    struct tm tm = {0}, again;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    if (!strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
        return false;
    again = tm;
    time_t seconds = timegm(&again);
    // A day or hour that there is not comes back as another one.
    if (seconds < 0 || !gmtime_r(&seconds, &again) || again.tm_mday != tm.tm_mday || again.tm_hour != tm.tm_hour)
        return false;
    uint64_t us = (uint64_t)seconds * SECOND;
    if (!parse_fraction(text + sizeof form - 1, &us))
        return false;
    *ret_us = us;
    return true;
}
