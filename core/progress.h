// What a job tells of its progress, out of the lines that it prints. Pure: lines and times in, a serialized
// trainyard.v1.JobProgress out; the same lines give the same bytes. Not thread-safe.
//
// A line is one of the form
//   {"trainyard": {"progress": 0.4, "step": 12, "steps": 30, "message": "epoch 2", "metrics": {"loss": 0.1, "accuracy": 0.9}}}
// on stdout or stderr, alone or behind what a logger puts before it, or a line of JSON with a member "trainyard" among others. All
// members are optional, others are ignored; NaN, Infinity and -Infinity are numbers as Python writes them. Or one that a rule
// of the job's container fits (progress_rule.h). docs/jobs.md is the page for those who write such scripts.
//
// What is kept is bounded, whatever comes: see the limits below. A line that is none costs a look at its last byte, and with rules
// their regular expressions.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

struct ty_progress;
struct ty_progress_rules;

// Metrics of a job: values of further names are counted and left out.
#define TY_PROGRESS_METRICS 32
// A metric's name, and the message: a longer name is refused with its line, a longer message is cut.
#define TY_PROGRESS_NAME_BYTES 64
#define TY_PROGRESS_MESSAGE_BYTES 256
// Values kept of one metric: when there are so many, every second one is left out, and from there on.
#define TY_PROGRESS_POINTS 128
// A line of the form, from its brace on; a longer one is refused. A line that rules are held against; longer ones are not.
#define TY_PROGRESS_LINE_BYTES 8192
#define TY_PROGRESS_RULE_LINE_BYTES 512
// Lines of the form that are read within a second of their own time, of which the last that came behind is read too; lines that rules are
// held against.
#define TY_PROGRESS_LINES_A_SECOND 200
#define TY_PROGRESS_RULE_LINES_A_SECOND 2000

// rules are borrowed; NULL: none.
struct ty_progress *ty_progress_new(uint32_t attempt, const struct ty_progress_rules *rules);
void ty_progress_free(struct ty_progress *progress);
// One line, valid UTF-8, without its end. Returns whether it told something.
bool ty_progress_line(struct ty_progress *progress, uint64_t time_us, const char *line, size_t len);
// Something was told since the last ty_progress_encode.
bool ty_progress_is_new(const struct ty_progress *progress);
// Appends the message. At most about 80 KiB: TY_PROGRESS_METRICS with all their points.
void ty_progress_encode(struct ty_progress *progress, struct ty_buf *out);
