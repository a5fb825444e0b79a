#include "core/progress_json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MARK "\"trainyard\""
#define COUNT_MAX 9007199254740991.0 // 2^53 - 1: as far as every JSON writer counts exactly

// The parsed text itself: what is told borrows from it.
struct ty_progress_json {
    json_t *root;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

bool ty_progress_json_find(const char *line, size_t len, size_t *ret_at)
{
    while (len && is_space(line[len - 1]))
        len--;
    if (len < sizeof MARK + 1 || line[len - 1] != '}')
        return false;
    const char *mark = memmem(line, len, MARK, sizeof MARK - 1);
    if (!mark)
        return false;
    // {"trainyard": ...} behind whatever a logger has put before it; else the line is one object with it among others.
    size_t at = (size_t)(mark - line);
    while (at && is_space(line[at - 1]))
        at--;
    if (at && line[at - 1] == '{') {
        *ret_at = at - 1;
        return true;
    }
    for (at = 0; is_space(line[at]);)
        at++;
    *ret_at = at;
    return line[at] == '{';
}

// What Python writes for numbers that JSON does not have, as texts, which `number_of` reads.
static char *quote_words(const char *text, size_t len, size_t *ret_len)
{
    static const char *const words[] = {"NaN", "-Infinity", "Infinity"};
    char *out = ty_xmalloc(3 * len + 1);
    size_t to = 0;
    bool is_text = false, is_escaped = false;
    for (size_t i = 0; i < len;) {
        size_t word = 0;
        if (text[i] == '"' && !is_escaped)
            is_text = !is_text;
        is_escaped = is_text && text[i] == '\\' && !is_escaped;
        for (; !is_text && word < 3; word++)
            if (len - i >= strlen(words[word]) && !memcmp(text + i, words[word], strlen(words[word])))
                break;
        if (is_text || word == 3) {
            out[to++] = text[i++];
            continue;
        }
        out[to++] = '"';
        memcpy(out + to, text + i, strlen(words[word]));
        to += strlen(words[word]);
        out[to++] = '"';
        i += strlen(words[word]);
    }
    *ret_len = to;
    return out;
}

static json_t *parse(const char *text, size_t len)
{
    if (!memmem(text, len, "NaN", 3) && !memmem(text, len, "Infinity", 8))
        return json_loadb(text, len, 0, NULL);
    size_t quoted_len;
    char *quoted TY_FREE = quote_words(text, len, &quoted_len);
    return json_loadb(quoted, quoted_len, 0, NULL);
}

static bool number_of(const json_t *value, double *ret_number)
{
    if (json_is_number(value)) {
        *ret_number = json_number_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (!text)
        return false;
    if (!strcmp(text, "NaN"))
        *ret_number = (double)NAN;
    else if (!strcmp(text, "Infinity"))
        *ret_number = (double)INFINITY;
    else if (!strcmp(text, "-Infinity"))
        *ret_number = -(double)INFINITY;
    else
        return false;
    return true;
}

// False: it is there, and no whole number from 0 on. 12.0 is one.
static bool take_count(const json_t *object, const char *name, bool *ret_has, uint64_t *ret_count)
{
    const json_t *value = json_object_get(object, name);
    double number = json_number_value(value);
    if (!value || json_is_null(value))
        return true;
    if (!json_is_number(value) || !(number >= 0) || number > COUNT_MAX || number != floor(number))
        return false;
    *ret_has = true;
    *ret_count = (uint64_t)number;
    return true;
}

static bool take_metrics(const json_t *metrics, struct ty_progress_told *told)
{
    if (!metrics || json_is_null(metrics))
        return true;
    if (!json_is_object(metrics))
        return false;
    for (void *at = json_object_iter((json_t *)metrics); at; at = json_object_iter_next((json_t *)metrics, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        double number;
        if (json_is_null(value))
            continue;
        if (!ty_progress_name_is_good(name) || !number_of(value, &number))
            return false;
        if (told->metric_count == TY_PROGRESS_METRICS) {
            told->metrics_refused++;
            continue;
        }
        told->metrics[told->metric_count].name = name;
        told->metrics[told->metric_count++].value = number;
    }
    return true;
}

// All of it, or nothing: a line with one wrong member is refused, and counted, so that its writer sees it.
static bool take(const json_t *object, struct ty_progress_told *told)
{
    const json_t *progress = json_object_get(object, "progress"), *message = json_object_get(object, "message");
    if (!json_is_object(object))
        return false;
    if (progress && !json_is_null(progress)) {
        told->has_fraction = true;
        if (!number_of(progress, &told->fraction) || !(told->fraction >= 0 && told->fraction <= 1))
            return false;
    }
    if (message && !json_is_null(message) && !(told->message = json_string_value(message)))
        return false;
    return take_count(object, "step", &told->has_step, &told->step) && take_count(object, "steps", &told->has_steps, &told->steps) &&
           take_metrics(json_object_get(object, "metrics"), told);
}

struct ty_progress_json *ty_progress_json_read(const char *text, size_t len, struct ty_progress_told *ret_told)
{
    json_t *root = parse(text, len);
    *ret_told = (struct ty_progress_told){0};
    if (!root || !take(json_object_get(root, "trainyard"), ret_told)) {
        json_decref(root);
        return NULL;
    }
    struct ty_progress_json *json = ty_xmalloc(sizeof *json);
    json->root = root;
    return json;
}

void ty_progress_json_free(struct ty_progress_json *json)
{
    if (json)
        json_decref(json->root);
    free(json);
}
