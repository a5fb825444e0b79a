#include "core/logsplit_level.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct view {
    const char *text;
    size_t len;
};

struct word {
    const char *word, *level;
    size_t len;
};
#define WORD(word, level) {word, level, sizeof(word) - 1}

// The words that begin with a letter; the longer one first.
static const struct word by_letter[26][2] = {
    ['C' - 'A'] = {WORD("CRITICAL", "critical")},
    ['D' - 'A'] = {WORD("DEBUG", "debug")},
    ['E' - 'A'] = {WORD("ERROR", "error")},
    ['F' - 'A'] = {WORD("FATAL", "critical")},
    ['I' - 'A'] = {WORD("INFO", "info")},
    ['N' - 'A'] = {WORD("NOTICE", "info")},
    ['T' - 'A'] = {WORD("TRACE", "debug")},
    ['W' - 'A'] = {WORD("WARNING", "warn"), WORD("WARN", "warn")},
};

static char char_at(struct view view, size_t at)
{
    return at < view.len ? view.text[at] : 0;
}

static struct view skip(struct view view, size_t count)
{
    return count < view.len ? (struct view){view.text + count, view.len - count}
                            : (struct view){view.text, 0};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word_char(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// A level word at the start that is a whole word, in capitals or, with any_case, in any. *ret_len
// is its length.
static const char *level_word(struct view view, bool any_case, size_t *ret_len)
{
    char first = any_case ? (char)(char_at(view, 0) & ~0x20) : char_at(view, 0);
    if (first < 'A' || first > 'Z')
        return NULL;
    for (const struct word *word = by_letter[first - 'A']; word < by_letter[first - 'A'] + 2 && word->len; word++) {
        if (view.len < word->len || is_word_char(char_at(view, word->len)))
            continue;
        if (any_case ? !strncasecmp(view.text, word->word, word->len) : !memcmp(view.text, word->word, word->len)) {
            *ret_len = word->len;
            return word->level;
        }
    }
    return NULL;
}

static const char *level_letter(char letter)
{
    switch (letter) {
    case 'D':
        return "debug";
    case 'I':
        return "info";
    case 'W':
        return "warn";
    case 'E':
        return "error";
    case 'F':
    case 'C':
        return "critical";
    default:
        return NULL;
    }
}

// "ERROR: ...", "error: ...", "ERROR:logger:...", "ERROR ...".
static const char *plain_level(struct view view)
{
    size_t len;
    const char *level = level_word(view, true, &len);
    if (level && char_at(view, len) == ':')
        return level;
    level = level_word(view, false, &len);
    return level && (len == view.len || strchr(" \t|-", char_at(view, len))) ? level : NULL;
}

// A date or a time of day, then a level soon: see dated_level.
static bool begins_with_time(struct view view)
{
    bool is_date = char_at(view, 4) == '-' && char_at(view, 7) == '-' && is_digit(char_at(view, 9));
    return is_date || (char_at(view, 2) == ':' && char_at(view, 5) == ':' && is_digit(char_at(view, 7)));
}

// "2026-11-23 20:09:10,123 - name - ERROR - ...", "2026-11-23T20:09:10Z ERROR ...", "... | ERROR |
// ...", "... [error    ] ...", "20:09:10.123 [main] WARN ...", and TensorFlow's
// "2026-11-23 20:09:10.123456: W file.cc:12] ...".
static const char *dated_level(struct view view)
{
    size_t len;
    if (!begins_with_time(view))
        return NULL;
    view.len = view.len < 160 ? view.len : 160;
    for (size_t at = 8; at < view.len; at++) {
        char before = view.text[at - 1];
        if (before != ' ' && before != '[' && before != '|')
            continue;
        const char *level = level_word(skip(view, at), before == '[', &len);
        if (level)
            return level;
        if (at < 40 && before == ' ' && char_at(view, at - 2) == ':' && char_at(view, at + 1) == ' ')
            return level_letter(view.text[at]);
    }
    return NULL;
}

// "[ERROR] ...", "[ERROR:name] ...", "[W 2026-11-23 ...] ...", "[2026-11-23T20:09:10Z ERROR name] ...",
// XGBoost's "[20:09:10] WARNING: ..." and LightGBM's "[LightGBM] [Warning] ...".
static const char *bracket_level(struct view view)
{
    size_t len;
    view = skip(view, 1);
    if (is_digit(char_at(view, 0)))
        return dated_level(view);
    if (view.len > 9 && !memcmp(view.text, "LightGBM", 8))
        view = skip(view, 11);
    const char *level = level_word(view, true, &len);
    if (level && len < view.len && strchr("]: ", char_at(view, len)))
        return level;
    return char_at(view, 1) == ' ' ? level_letter(char_at(view, 0)) : NULL;
}

// glog: "I1123 20:09:10.123456 7 file.cc:12] ...", some with a year before the month.
static const char *glog_level(struct view view)
{
    size_t digits = 0;
    while (is_digit(char_at(view, 1 + digits)))
        digits++;
    if ((digits != 4 && digits != 8) || char_at(view, 1 + digits) != ' ' ||
        !is_digit(char_at(view, 2 + digits)) || char_at(view, 4 + digits) != ':')
        return NULL;
    return level_letter(char_at(view, 0));
}

// The numbers of pino and bunyan.
static const char *numbered_level(struct view view)
{
    int number = 0;
    size_t at = 0;
    for (; at < 3 && is_digit(char_at(view, at)); at++)
        number = number * 10 + char_at(view, at) - '0';
    if (at != 2 || is_digit(char_at(view, at)))
        return NULL;
    return number < 30 ? "debug" : number < 40 ? "info" : number < 50 ? "warn" : number < 60 ? "error" : "critical";
}

// Behind a key: what of ": " and quotes there is, and a word or a number.
static const char *value_level(struct view view)
{
    size_t len;
    while (char_at(view, 0) == ' ' || char_at(view, 0) == ':')
        view = skip(view, 1);
    if (is_digit(char_at(view, 0)))
        return numbered_level(view);
    return level_word(skip(view, char_at(view, 0) == '"'), true, &len);
}

static const char *json_level(struct view view)
{
    static const char *const keys[] = {"\"level\"", "\"severity\"", "\"levelname\"", "\"log.level\""};
    if (view.text[view.len - 1] != '}')
        return NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *found = memmem(view.text, view.len, keys[i], strlen(keys[i]));
        if (found)
            return value_level(skip(view, (size_t)(found - view.text) + strlen(keys[i])));
    }
    return NULL;
}

// logfmt: "level=error msg=...", "time=... level=warn msg=...".
static const char *pair_level(struct view view)
{
    static const char key[] = "level=";
    size_t key_len = sizeof key - 1, span = view.len < 80 ? view.len : 80;
    const char *found = memmem(view.text, span, key, key_len);
    if (!found || (found > view.text && found[-1] != ' '))
        return NULL;
    return value_level(skip(view, (size_t)(found - view.text) + key_len));
}

// Python's warnings: "/path/to/file.py:12: UserWarning: ...".
static const char *warning_level(struct view view)
{
    static const char end[] = "Warning: ";
    const char *found = memmem(view.text, view.len < 400 ? view.len : 400, end, sizeof end - 1), *at = found;
    while (at && at > view.text && is_word_char(at[-1]))
        at--;
    bool is_category = at && at < found && at - view.text > 4 && at[-1] == ' ' && at[-2] == ':' && is_digit(at[-3]);
    return is_category ? "warn" : NULL;
}

const char *ty_logsplit_level(const char *text, size_t len)
{
    struct view view = {text, len};
    switch (char_at(view, 0)) {
    case '[':
        return bracket_level(view);
    case '{':
        return json_level(view);
    case '0' ... '9':
        return dated_level(view);
    case 'C':
    case 'D':
    case 'E':
    case 'F':
    case 'I':
    case 'W': {
        const char *level = glog_level(view);
        return level ? level : plain_level(view);
    }
    case 'l':
        return pair_level(view);
    case 't': {
        const char *level = plain_level(view);
        return level ? level : pair_level(view);
    }
    case '/':
    case '<':
        return warning_level(view);
    case 'N':
    case 'T':
    case 'c' ... 'f':
    case 'i':
    case 'n':
    case 'w':
        return plain_level(view);
    default:
        return NULL;
    }
}
