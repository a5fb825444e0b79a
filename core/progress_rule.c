#include "core/progress_rule.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define GROUPS 10 // of a pattern, the whole included
#define NUMBER_BYTES 64

struct rule {
    regex_t regex;
    bool is_compiled;
    unsigned step, steps, percent, progress; // groups; 0: none
    size_t metric_count;
    struct {
        char *name;
        unsigned group;
    } metrics[TY_PROGRESS_RULE_METRICS];
};

struct ty_progress_rules {
    size_t count;
    struct rule rules[];
};

// ---- loading ----

static int take_group(const struct rule *rule, const json_t *value, const char *name, unsigned *ret_group, struct ty_err *err)
{
    json_int_t group = json_integer_value(value);
    if (!json_is_integer(value) || group < 1 || group > (json_int_t)rule->regex.re_nsub || group >= GROUPS)
        return ty_err_set(err, TY_EINVALID, "%.64s: not the number of a group of the pattern", name);
    *ret_group = (unsigned)group;
    return 0;
}

static int take_metrics(struct rule *rule, const json_t *metrics, struct ty_err *err)
{
    if (!json_is_object(metrics))
        return ty_err_set(err, TY_EINVALID, "metrics: not an object of names and groups");
    if (json_object_size(metrics) > TY_PROGRESS_RULE_METRICS)
        return ty_err_set(err, TY_EINVALID, "metrics: more than %d", TY_PROGRESS_RULE_METRICS);
    for (void *at = json_object_iter((json_t *)metrics); at; at = json_object_iter_next((json_t *)metrics, at)) {
        const char *name = json_object_iter_key(at);
        unsigned group = 0;
        if (!ty_progress_name_is_good(name))
            return ty_err_set(err, TY_EINVALID, "metrics: \"%.64s\" is no name of a metric", name);
        if (take_group(rule, json_object_iter_value(at), name, &group, err) < 0)
            return -(int)err->code;
        rule->metrics[rule->metric_count].name = ty_xstrdup(name);
        rule->metrics[rule->metric_count++].group = group;
    }
    return 0;
}

static int compile(struct rule *rule, const json_t *pattern, struct ty_err *err)
{
    char why[128];
    if (!json_is_string(pattern) || !*json_string_value(pattern) || strlen(json_string_value(pattern)) > TY_PROGRESS_PATTERN_BYTES)
        return ty_err_set(err, TY_EINVALID, "pattern: not a text of 1 to %d bytes", TY_PROGRESS_PATTERN_BYTES);
    if (strchr(json_string_value(pattern), '\\') && strpbrk(strchr(json_string_value(pattern), '\\') + 1, "123456789"))
        return ty_err_set(err, TY_EINVALID, "pattern: back-references are not allowed, nor digits behind a backslash");
    int rc = regcomp(&rule->regex, json_string_value(pattern), REG_EXTENDED);
    rule->is_compiled = rc == 0;
    if (rc == 0)
        return 0;
    regerror(rc, &rule->regex, why, sizeof why);
    return ty_err_set(err, TY_EINVALID, "pattern: %s", why);
}

static int load(struct rule *rule, const json_t *object, struct ty_err *err)
{
    if (!json_is_object(object))
        return ty_err_set(err, TY_EINVALID, "not an object");
    if (compile(rule, json_object_get(object, "pattern"), err) < 0)
        return -(int)err->code;
    for (void *at = json_object_iter((json_t *)object); at; at = json_object_iter_next((json_t *)object, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        unsigned *group = !strcmp(name, "step") ? &rule->step : !strcmp(name, "steps") ? &rule->steps :
                          !strcmp(name, "percent") ? &rule->percent : !strcmp(name, "progress") ? &rule->progress : NULL;
        if (!strcmp(name, "pattern"))
            continue;
        if (!group && strcmp(name, "metrics") != 0)
            return ty_err_set(err, TY_EINVALID, "%.64s: there is no such member", name);
        if ((group ? take_group(rule, value, name, group, err) : take_metrics(rule, value, err)) < 0)
            return -(int)err->code;
    }
    if (!rule->step && !rule->steps && !rule->percent && !rule->progress && !rule->metric_count)
        return ty_err_set(err, TY_EINVALID, "it reads nothing from its line: step, steps, percent, progress or metrics is missing");
    return 0;
}

int ty_progress_rules_new(const json_t *list, struct ty_progress_rules **ret_rules, struct ty_err *err)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > TY_PROGRESS_RULES)
        return ty_err_set(err, TY_EINVALID, "not a list of at most %d rules", TY_PROGRESS_RULES);
    struct ty_progress_rules *rules = ty_xcalloc(1, sizeof *rules + count * sizeof rules->rules[0]);
    rules->count = count;
    for (size_t i = 0; i < count; i++) {
        if (load(&rules->rules[i], json_array_get(list, i), err) == 0)
            continue;
        ty_err_prefix(err, "rule %zu", i + 1);
        ty_progress_rules_free(rules);
        return -(int)err->code;
    }
    *ret_rules = rules;
    return 0;
}

void ty_progress_rules_free(struct ty_progress_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->count; i++) {
        for (size_t j = 0; j < rules->rules[i].metric_count; j++)
            free(rules->rules[i].metrics[j].name);
        if (rules->rules[i].is_compiled)
            regfree(&rules->rules[i].regex);
    }
    free(rules);
}

// ---- reading ----

static bool number_of(const char *line, const regmatch_t *group, double *ret_value)
{
    char text[NUMBER_BYTES], *end;
    size_t len = group->rm_so < 0 ? 0 : (size_t)(group->rm_eo - group->rm_so);
    if (!len || len >= sizeof text)
        return false;
    memcpy(text, line + group->rm_so, len);
    text[len] = 0;
    *ret_value = strtod(text, &end);
    return !*end;
}

static bool count_of(const char *line, const regmatch_t *group, uint64_t *ret_value)
{
    double value;
    if (!number_of(line, group, &value) || !(value >= 0) || value > 9e15)
        return false;
    *ret_value = (uint64_t)value;
    return true;
}

static bool take(const struct rule *rule, const char *line, const regmatch_t *groups, struct ty_progress_told *told)
{
    bool has_any = false;
    double value;
    if (rule->step && count_of(line, &groups[rule->step], &told->step))
        has_any = told->has_step = true;
    if (rule->steps && count_of(line, &groups[rule->steps], &told->steps))
        has_any = told->has_steps = true;
    if (rule->percent && number_of(line, &groups[rule->percent], &value)) {
        told->fraction = value / 100;
        has_any = told->has_fraction = true;
    }
    if (rule->progress && number_of(line, &groups[rule->progress], &value)) {
        told->fraction = value;
        has_any = told->has_fraction = true;
    }
    for (size_t i = 0; i < rule->metric_count; i++) {
        if (!number_of(line, &groups[rule->metrics[i].group], &value))
            continue;
        has_any = true;
        if (told->metric_count == TY_PROGRESS_METRICS) {
            told->metrics_refused++;
            continue;
        }
        told->metrics[told->metric_count].name = rule->metrics[i].name;
        told->metrics[told->metric_count++].value = value;
    }
    return has_any;
}

bool ty_progress_rules_read(const struct ty_progress_rules *rules, const char *line, size_t len, struct ty_progress_told *told)
{
    bool has_any = false;
    regmatch_t groups[GROUPS];
    TY_BUF(copy); // the line ends with its length, a text for regexec with a NUL
    ty_buf_add(&copy, line, len);
    const char *text = ty_buf_text(&copy);
    *told = (struct ty_progress_told){0};
    for (size_t i = 0; i < rules->count; i++)
        if (regexec(&rules->rules[i].regex, text, GROUPS, groups, 0) == 0)
            has_any |= take(&rules->rules[i], text, groups, told);
    return has_any;
}
