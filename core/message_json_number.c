#include "core/message_json_number.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct integer {
    bool is_negative;
    uint64_t magnitude;
};

static bool integer_of_real(double value, struct integer *ret)
{
    if (!(fabs(value) < 18446744073709551616.0) || floor(value) != value)
        return false;
    *ret = (struct integer){.is_negative = value < 0, .magnitude = (uint64_t)fabs(value)};
    return true;
}

// A JSON number, and nothing around it.
static bool is_number_text(const char *text)
{
    text += *text == '-';
    if (*text == '0')
        text++;
    else
        for (const char *start = text;; text++)
            if (*text < '0' || *text > '9') {
                if (text == start)
                    return false;
                break;
            }
    if (*text == '.') {
        size_t digits = strspn(++text, "0123456789");
        if (!digits)
            return false;
        text += digits;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        size_t digits = strspn(text, "0123456789");
        if (!digits)
            return false;
        text += digits;
    }
    return !*text;
}

static bool integer_of_text(const char *text, struct integer *ret)
{
    if (!is_number_text(text))
        return false;
    if (strpbrk(text, ".eE"))
        return integer_of_real(strtod(text, NULL), ret);
    ret->is_negative = *text == '-';
    errno = 0;
    ret->magnitude = strtoull(text + ret->is_negative, NULL, 10);
    return !errno;
}

static bool integer_of(const json_t *value, struct integer *ret)
{
    if (json_is_string(value))
        return strlen(json_string_value(value)) == json_string_length(value) &&
               integer_of_text(json_string_value(value), ret);
    if (json_is_real(value))
        return integer_of_real(json_real_value(value), ret);
    if (!json_is_integer(value))
        return false;
    json_int_t number = json_integer_value(value);
    *ret = (struct integer){.is_negative = number < 0, .magnitude = number < 0 ? -(uint64_t)number : (uint64_t)number};
    return true;
}

const char *ty_json_integer(const json_t *value, uint64_t lowest, uint64_t highest, uint64_t *ret)
{
    struct integer integer;
    if (!integer_of(value, &integer))
        return "is not a whole number of at most 64 bits";
    if (integer.magnitude > (integer.is_negative ? lowest : highest))
        return "is out of range";
    *ret = integer.is_negative ? -integer.magnitude : integer.magnitude;
    return NULL;
}

static const char *real_of(const json_t *value, double *ret)
{
    static const struct {
        const char *text;
        double value;
    } words[] = {{"NaN", NAN}, {"Infinity", INFINITY}, {"-Infinity", -INFINITY}};
    if (json_is_number(value)) {
        *ret = json_number_value(value);
        return NULL;
    }
    const char *text = json_string_value(value);
    for (size_t i = 0; text && i < sizeof words / sizeof *words; i++)
        if (!strcmp(text, words[i].text)) {
            *ret = words[i].value;
            return NULL;
        }
    if (!text || strlen(text) != json_string_length(value) || !is_number_text(text))
        return "is not a number";
    *ret = strtod(text, NULL);
    return isfinite(*ret) ? NULL : "is out of range";
}

const char *ty_json_float(const json_t *value, uint64_t *ret_bits)
{
    double number;
    const char *wrong = real_of(value, &number);
    if (wrong)
        return wrong;
    float narrow = (float)number;
    if (isfinite(number) && !isfinite(narrow))
        return "is out of range";
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    *ret_bits = bits;
    return NULL;
}

const char *ty_json_double(const json_t *value, uint64_t *ret_bits)
{
    double number;
    const char *wrong = real_of(value, &number);
    if (!wrong)
        memcpy(ret_bits, &number, sizeof *ret_bits);
    return wrong;
}
