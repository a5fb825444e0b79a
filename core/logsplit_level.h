// Inside the log splitter only: the level a line states in its first words. Pure.
#pragma once

#include <stddef.h>

// One of "debug", "info", "warn", "error", "critical" (static), or NULL when the line states none. text is clean and need
// not end with NUL.
const char *ty_logsplit_level(const char *text, size_t len);
