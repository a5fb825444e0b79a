#include "producer/topic_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

bool ty_place_number(const char *text, int64_t max, int64_t *ret_number, const char **ret_end)
{
    char *end;
    errno = 0;
    *ret_number = *text >= '0' && *text <= '9' ? (int64_t)strtoll(text, &end, 10) : -1;
    if (*ret_number < 0 || errno || *ret_number > max)
        return false;
    *ret_end = end;
    return true;
}

int ty_place_parse(const char *text, struct ty_place *ret_place, struct ty_err *err)
{
    int64_t partition, offset;
    const char *end;
    if (!ty_place_number(text, INT32_MAX, &partition, &end) || *end != '/' ||
        !ty_place_number(end + 1, INT64_MAX - 1, &offset, &end) || *end)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": not PARTITION/OFFSET, as 0/17", text);
    *ret_place = (struct ty_place){(int32_t)partition, offset};
    return 0;
}

const char *ty_place_format(const struct ty_place *place, char out[TY_PLACE_BYTES])
{
    snprintf(out, TY_PLACE_BYTES, "%" PRId32 "/%" PRId64, place->partition, place->offset);
    return out;
}
