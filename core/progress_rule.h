// The rules by which a container's own words are read as progress (the member "progress" of containers.json): POSIX extended regular
// expressions and what their groups say.
//   {"pattern": "^Epoch ([0-9]+)/([0-9]+)", "step": 1, "steps": 2}
//   {"pattern": " loss: ([0-9.e+-]+)", "metrics": {"loss": 1}}
// Others: "percent" (0 to 100) and "progress" (0 to 1). Immutable once loaded; thread-safe then.
#pragma once

#include <jansson.h>

#include "core/err.h"
#include "core/progress_told.h"

struct ty_progress_rules;

// Rules of a container, bytes of a pattern, metrics of a rule: more are refused when the catalogue is loaded.
#define TY_PROGRESS_RULES 16
#define TY_PROGRESS_PATTERN_BYTES 256
#define TY_PROGRESS_RULE_METRICS 8

// list: a JSON array, from which nothing is borrowed. TY_EINVALID says which rule is wrong and why.
int ty_progress_rules_new(const json_t *list, struct ty_progress_rules **ret_rules, struct ty_err *err) TY_MUST_USE;
void ty_progress_rules_free(struct ty_progress_rules *rules);
// Fills in *told (names are borrowed from the rules) with what all the rules that fit the line say; false: none does. Groups that
// are no number say nothing.
bool ty_progress_rules_read(const struct ty_progress_rules *rules, const char *line, size_t len, struct ty_progress_told *told);
