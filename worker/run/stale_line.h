// One line of what `trainyard-stage stale` lists (worker/stage/stale.h): "stage 172801 <job>-<fence>". Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/id.h"

#define TY_STALE_NAME_BYTES 128

enum ty_stale_kind {
    TY_STALE_STAGE,
    TY_STALE_PARTIAL, // and what a newer program may say
    TY_STALE_MODEL,
};
struct ty_stale_line {
    enum ty_stale_kind kind;
    uint64_t age_ms, fence;
    struct ty_id id;
    char name[TY_STALE_NAME_BYTES]; // "<job>-<fence>"
};
// False: it is no such line, and *ret_line is not written.
bool ty_stale_line_parse(const char *text, struct ty_stale_line *ret_line);
