#include "core/json_place.h"

#include <stdbool.h>
#include <string.h>

struct scan {
    const char *at, *end;
};

static bool at_char(const struct scan *scan, char c)
{
    return scan->at < scan->end && *scan->at == c;
}

// Spaces and the separators between entries: none of them starts a value.
static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && memchr(" \t\r\n,:", *scan->at, 6))
        scan->at++;
}

static void skip_string(struct scan *scan)
{
    scan->at++;
    while (scan->at < scan->end && *scan->at != '"')
        scan->at += *scan->at == '\\' && scan->end - scan->at > 1 ? 2 : 1;
    if (scan->at < scan->end)
        scan->at++;
}

// Moves behind the value that starts here. Objects and lists are walked by their depth alone.
static void skip_value(struct scan *scan)
{
    size_t depth = 0;
    do {
        if (at_char(scan, '"')) {
            skip_string(scan);
        } else if (at_char(scan, '{') || at_char(scan, '[')) {
            depth++;
            scan->at++;
        } else if (at_char(scan, '}') || at_char(scan, ']')) {
            depth -= depth > 0;
            scan->at++;
        } else {
            while (scan->at < scan->end && !memchr(" \t\r\n,:{}[]\"", *scan->at, 11))
                scan->at++;
        }
        skip_blanks(scan);
    } while (depth && scan->at < scan->end);
}

// From the start of an object or a list to the value that the step names; false when there is none.
static bool descend(struct scan *scan, const struct ty_json_step *step)
{
    size_t len = step->member ? strlen(step->member) : 0;
    if (!at_char(scan, step->member ? '{' : '['))
        return false;
    scan->at++;
    skip_blanks(scan);
    for (size_t i = 0; scan->at < scan->end && *scan->at != '}' && *scan->at != ']'; i++) {
        bool found = i == step->index;
        if (step->member) {
            const char *key = scan->at + 1;
            skip_string(scan);
            found = (size_t)(scan->at - key) == len + 1 && !memcmp(key, step->member, len);
            skip_blanks(scan);
        }
        if (found)
            return scan->at < scan->end;
        skip_value(scan);
    }
    return false;
}

size_t ty_json_line(const char *text, size_t len, const struct ty_json_step *steps, size_t count)
{
    struct scan scan = {.at = text, .end = text + len};
    size_t line = 1;
    skip_blanks(&scan);
    for (size_t i = 0; i < count; i++) {
        struct scan inside = scan;
        if (!descend(&inside, &steps[i]))
            break;
        scan = inside;
    }
    for (const char *c = text; c < scan.at; c++)
        line += *c == '\n';
    return line;
}
