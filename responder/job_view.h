// A job's record as trainyard.v1.Job and its history: serialized by copying what the store has. Pure.
#pragma once

#include "core/buf.h"
#include "core/record.h"

// Appends a message Job as field `number`.
void ty_job_view_add(const struct ty_record *record, uint32_t number, struct ty_buf *out);
// Appends the history, a message JobTransition each, as repeated field `number`.
void ty_job_view_add_history(const struct ty_record *record, uint32_t number, struct ty_buf *out);
