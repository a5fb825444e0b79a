// A line of the documented form: finding and reading it. Inside core/ only; core/progress.h has the form. Pure.
#pragma once

#include "core/progress_told.h"

// Whether a line may be of the form; *ret_at: where its JSON begins. Costs a look at the line's last byte where that is no brace.
bool ty_progress_json_find(const char *line, size_t len, size_t *ret_at);
// What it tells. NULL: it is not of the form (told is not set then); else what told borrows its texts from.
struct ty_progress_json;
struct ty_progress_json *ty_progress_json_read(const char *text, size_t len, struct ty_progress_told *ret_told);
void ty_progress_json_free(struct ty_progress_json *json);
