#include "core/progress.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/progress_json.h"
#include "core/progress_rule.h"
#include "core/wire.h"

// Fields of trainyard.v1.JobProgress and Metric.
enum { PROGRESS_ATTEMPT = 1, PROGRESS_TIME, PROGRESS_FRACTION, PROGRESS_STEP, PROGRESS_STEPS, PROGRESS_MESSAGE, PROGRESS_METRICS,
       PROGRESS_LINES, PROGRESS_LINES_REFUSED, PROGRESS_METRICS_REFUSED };
enum { METRIC_NAME = 1, METRIC_VALUE, METRIC_STEP, METRIC_TIME, METRIC_LEAST, METRIC_GREATEST, METRIC_COUNT, METRIC_STRIDE,
       METRIC_VALUES, METRIC_STEPS, METRIC_TIMES };

struct point {
    double value;
    uint64_t step, time_ms;
};

struct metric {
    char name[TY_PROGRESS_NAME_BYTES + 1];
    struct point last;
    uint64_t last_us;
    double least, greatest; // of those that are numbers
    uint64_t count, stride;
    size_t point_count;
    struct point *points; // TY_PROGRESS_POINTS of them
};

// At most so many a second, by the lines' own times.
struct pace {
    uint64_t second;
    unsigned count;
};

struct ty_progress {
    uint32_t attempt;
    const struct ty_progress_rules *rules;
    bool is_new, has_fraction, has_step, has_steps;
    double fraction;
    uint64_t step, steps, time_us;
    char message[TY_PROGRESS_MESSAGE_BYTES + 1];
    uint64_t lines, lines_refused, metrics_refused;
    size_t metric_count;
    struct metric metrics[TY_PROGRESS_METRICS];
    struct pace form_pace, rule_pace;
    struct ty_buf held; // the last line of the form that came too fast
    uint64_t held_us;   // 0: none
};

struct ty_progress *ty_progress_new(uint32_t attempt, const struct ty_progress_rules *rules)
{
    struct ty_progress *progress = ty_xcalloc(1, sizeof *progress);
    progress->attempt = attempt;
    progress->rules = rules;
    return progress;
}

void ty_progress_free(struct ty_progress *progress)
{
    if (!progress)
        return;
    for (size_t i = 0; i < progress->metric_count; i++)
        free(progress->metrics[i].points);
    ty_buf_done(&progress->held);
    free(progress);
}

bool ty_progress_name_is_good(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return false;
    return len > 0 && len <= TY_PROGRESS_NAME_BYTES;
}

// ---- taking what was told ----

static struct metric *find(struct ty_progress *progress, const char *name)
{
    for (size_t i = 0; i < progress->metric_count; i++)
        if (!strcmp(progress->metrics[i].name, name))
            return &progress->metrics[i];
    if (progress->metric_count == TY_PROGRESS_METRICS)
        return NULL;
    struct metric *metric = &progress->metrics[progress->metric_count++];
    *metric = (struct metric){.stride = 1, .least = INFINITY, .greatest = -INFINITY};
    memcpy(metric->name, name, strlen(name) + 1);
    metric->points = ty_xcalloc(TY_PROGRESS_POINTS, sizeof *metric->points);
    return metric;
}

static void add_point(struct metric *metric, const struct point *point)
{
    if (metric->count++ % metric->stride)
        return;
    if (metric->point_count == TY_PROGRESS_POINTS) {
        for (size_t i = 0; i < TY_PROGRESS_POINTS / 2; i++)
            metric->points[i] = metric->points[2 * i];
        metric->point_count = TY_PROGRESS_POINTS / 2;
        metric->stride *= 2;
    }
    // The number of a value that is kept is a multiple of the stride, also right behind its doubling: 128 of them came before.
    metric->points[metric->point_count++] = *point;
}

static void take_metric(struct ty_progress *progress, uint64_t time_us, const char *name, double value)
{
    struct metric *metric = find(progress, name);
    if (!metric) {
        progress->metrics_refused++;
        return;
    }
    metric->last = (struct point){value, progress->step, time_us / 1000};
    metric->last_us = time_us;
    if (value < metric->least)
        metric->least = value;
    if (value > metric->greatest)
        metric->greatest = value;
    add_point(metric, &metric->last);
}

static double within(double fraction)
{
    return fraction > 0 ? (fraction < 1 ? fraction : 1) : 0; // also of what is no number
}

static void take(struct ty_progress *progress, uint64_t time_us, const struct ty_progress_told *told)
{
    progress->lines++;
    progress->is_new = true;
    progress->time_us = time_us;
    if (told->has_step) {
        progress->has_step = true;
        progress->step = told->step;
    }
    if (told->has_steps) {
        progress->has_steps = true;
        progress->steps = told->steps;
    }
    if (told->has_fraction) {
        progress->has_fraction = true;
        progress->fraction = within(told->fraction);
    } else if ((told->has_step || told->has_steps) && progress->has_step && progress->has_steps && progress->steps) {
        progress->has_fraction = true;
        progress->fraction = within((double)progress->step / (double)progress->steps);
    }
    if (told->message) {
        size_t len = ty_utf8_cut(told->message, strlen(told->message), TY_PROGRESS_MESSAGE_BYTES);
        memcpy(progress->message, told->message, len);
        progress->message[len] = 0;
    }
    for (size_t i = 0; i < told->metric_count; i++)
        take_metric(progress, time_us, told->metrics[i].name, told->metrics[i].value);
    progress->metrics_refused += told->metrics_refused;
}

// ---- lines ----

static bool may_pass(struct pace *pace, uint64_t time_us, unsigned limit)
{
    if (pace->second != time_us / 1000000)
        *pace = (struct pace){.second = time_us / 1000000};
    return pace->count < limit && ++pace->count;
}

static bool read_form(struct ty_progress *progress, uint64_t time_us, const char *text, size_t len)
{
    struct ty_progress_told told;
    struct ty_progress_json *json = ty_progress_json_read(text, len, &told);
    if (json)
        take(progress, time_us, &told);
    else
        progress->lines_refused++;
    progress->is_new = true; // that it was refused is told too
    ty_progress_json_free(json);
    return json != NULL;
}

// What was held is older than what comes next.
static void read_held(struct ty_progress *progress)
{
    if (!progress->held_us)
        return;
    uint64_t time_us = progress->held_us;
    progress->held_us = 0;
    progress->lines_refused--;
    read_form(progress, time_us, (const char *)progress->held.data, progress->held.len);
}

static bool take_form(struct ty_progress *progress, uint64_t time_us, const char *text, size_t len)
{
    if (len > TY_PROGRESS_LINE_BYTES) {
        progress->lines_refused++;
        return false;
    }
    if (!may_pass(&progress->form_pace, time_us, TY_PROGRESS_LINES_A_SECOND)) {
        progress->lines_refused++;
        progress->is_new = true;
        progress->held_us = time_us ? time_us : 1;
        ty_buf_clear(&progress->held);
        ty_buf_add(&progress->held, text, len);
        return true;
    }
    read_held(progress);
    return read_form(progress, time_us, text, len);
}

bool ty_progress_line(struct ty_progress *progress, uint64_t time_us, const char *line, size_t len)
{
    struct ty_progress_told told;
    size_t at;
    if (ty_progress_json_find(line, len, &at))
        return take_form(progress, time_us, line + at, len - at);
    if (!progress->rules || len > TY_PROGRESS_RULE_LINE_BYTES ||
        !may_pass(&progress->rule_pace, time_us, TY_PROGRESS_RULE_LINES_A_SECOND) ||
        !ty_progress_rules_read(progress->rules, line, len, &told))
        return false;
    read_held(progress);
    take(progress, time_us, &told);
    return true;
}

bool ty_progress_is_new(const struct ty_progress *progress)
{
    return progress->is_new;
}

// ---- the message ----

static void add_double_bytes(struct ty_buf *out, double value)
{
    uint64_t bits;
    uint8_t bytes[8];
    memcpy(&bits, &value, sizeof bits);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(bits >> (8 * i));
    ty_buf_add(out, bytes, sizeof bytes);
}

static void add_double(struct ty_buf *out, uint32_t field, double value)
{
    ty_buf_add_varint(out, field << 3 | 1);
    add_double_bytes(out, value);
}

static void add_points(const struct metric *metric, struct ty_buf *out)
{
    TY_BUF(values);
    TY_BUF(steps);
    TY_BUF(times);
    for (size_t i = 0; i < metric->point_count; i++) {
        add_double_bytes(&values, metric->points[i].value);
        ty_buf_add_varint(&steps, metric->points[i].step);
        ty_buf_add_varint(&times, metric->points[i].time_ms);
    }
    ty_buf_add_tag_bytes(out, METRIC_VALUES, values.data, values.len);
    ty_buf_add_tag_bytes(out, METRIC_STEPS, steps.data, steps.len);
    ty_buf_add_tag_bytes(out, METRIC_TIMES, times.data, times.len);
}

static void add_metric(const struct metric *metric, struct ty_buf *out)
{
    TY_BUF(bytes);
    bool has_range = metric->least <= metric->greatest;
    ty_buf_add_tag_bytes(&bytes, METRIC_NAME, metric->name, strlen(metric->name));
    add_double(&bytes, METRIC_VALUE, metric->last.value);
    ty_buf_add_tag_varint(&bytes, METRIC_STEP, metric->last.step);
    ty_buf_add_tag_time(&bytes, METRIC_TIME, metric->last_us);
    add_double(&bytes, METRIC_LEAST, has_range ? metric->least : NAN);
    add_double(&bytes, METRIC_GREATEST, has_range ? metric->greatest : NAN);
    ty_buf_add_tag_varint(&bytes, METRIC_COUNT, metric->count);
    ty_buf_add_tag_varint(&bytes, METRIC_STRIDE, metric->stride);
    add_points(metric, &bytes);
    ty_buf_add_tag_bytes(out, PROGRESS_METRICS, bytes.data, bytes.len);
}

void ty_progress_encode(struct ty_progress *progress, struct ty_buf *out)
{
    read_held(progress);
    progress->is_new = false;
    ty_buf_add_tag_varint(out, PROGRESS_ATTEMPT, progress->attempt);
    ty_buf_add_tag_time(out, PROGRESS_TIME, progress->time_us);
    if (progress->has_fraction)
        add_double(out, PROGRESS_FRACTION, progress->fraction);
    if (progress->has_step)
        ty_buf_add_tag_varint(out, PROGRESS_STEP, progress->step);
    if (progress->has_steps)
        ty_buf_add_tag_varint(out, PROGRESS_STEPS, progress->steps);
    ty_buf_add_tag_bytes(out, PROGRESS_MESSAGE, progress->message, strlen(progress->message));
    for (size_t i = 0; i < progress->metric_count; i++)
        add_metric(&progress->metrics[i], out);
    ty_buf_add_tag_varint(out, PROGRESS_LINES, progress->lines);
    ty_buf_add_tag_varint(out, PROGRESS_LINES_REFUSED, progress->lines_refused);
    ty_buf_add_tag_varint(out, PROGRESS_METRICS_REFUSED, progress->metrics_refused);
}
