#include "worker/run/stale_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ty_stale_line_parse(const char *text, struct ty_stale_line *ret_line)
{
    struct ty_stale_line line = {0};
    char kind[16], job[TY_ID_TEXT_BYTES];
    uint64_t age_s;
    struct ty_err err;
    if (sscanf(text, "%15s %" SCNu64 " %127s", kind, &age_s, line.name) != 3 || strlen(line.name) <= TY_ID_TEXT_BYTES ||
        line.name[TY_ID_TEXT_BYTES - 1] != '-' || line.name[TY_ID_TEXT_BYTES + strspn(line.name + TY_ID_TEXT_BYTES, "0123456789")])
        return false;
    line.kind = !strcmp(kind, "model") ? TY_STALE_MODEL : !strcmp(kind, "stage") ? TY_STALE_STAGE : TY_STALE_PARTIAL;
    line.age_ms = age_s < UINT64_MAX / 1000 ? age_s * 1000 : UINT64_MAX;
    line.fence = strtoull(line.name + TY_ID_TEXT_BYTES, NULL, 10);
    memcpy(job, line.name, TY_ID_TEXT_BYTES - 1);
    job[TY_ID_TEXT_BYTES - 1] = 0;
    if (ty_id_parse(job, &line.id, &err) < 0)
        return false;
    *ret_line = line;
    return true;
}
