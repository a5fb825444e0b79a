// Which line of a JSON file a value stands on, for the errors of checks that come after parsing: the parser keeps no
// places. Pure.
#pragma once

#include <stddef.h>

// One step down: into an object's member, or (member NULL) to a list's entry.
struct ty_json_step {
    const char *member;
    size_t index;
};

// The line, from 1, of the value that the steps lead to in a text that a JSON parser accepted. Where a step leads nowhere
// (a member that is missing, or written with escapes) the answer is the line of the value it was to start from.
size_t ty_json_line(const char *text, size_t len, const struct ty_json_step *steps, size_t count);
