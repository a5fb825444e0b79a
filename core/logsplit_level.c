#include "core/logsplit_level.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct view {
    const char *text;
    size_t len;
};

static const struct {
    const char *word, *level;
} words[] = {{"TRACE", "debug"}, {"DEBUG", "debug"},       {"INFO", "info"},
             {"NOTICE", "info"}, {"WARNING", "warn"},      {"WARN", "warn"},
             {"ERROR", "error"}, {"CRITICAL", "critical"}, {"FATAL", "critical"}};

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
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t len = strlen(words[i].word);
        if (view.len < len || is_word_char(char_at(view, len)))
            continue;
        if (any_case ? !strncasecmp(view.text, words[i].word, len)
                     : !strncmp(view.text, words[i].word, len)) {
            *ret_len = len;
            return words[i].level;
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

// "[ERROR] ...", "[ERROR:name] ...", "[W 2026-11-23 ...] ...".
static const char *bracket_level(struct view view)
{
    size_t len;
    view = skip(view, 1);
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

// "2026-11-23 20:09:10,123 - name - ERROR - ...", "2026-11-23T20:09:10Z ERROR ...", "... | ERROR |
// ...", and TensorFlow's "2026-11-23 20:09:10.123456: W file.cc:12] ...".
static const char *dated_level(struct view view)
{
    size_t len;
    if (char_at(view, 4) != '-' || char_at(view, 7) != '-' || !is_digit(char_at(view, 9)))
        return NULL;
    view.len = view.len < 160 ? view.len : 160;
    for (size_t at = 10; at < view.len; at++) {
        char before = view.text[at - 1];
        if (before != ' ' && before != '[' && before != '|')
            continue;
        const char *level = level_word(skip(view, at), false, &len);
        if (level)
            return level;
        if (at < 40 && view.text[at - 1] == ' ' && char_at(view, at - 2) == ':' &&
            char_at(view, at + 1) == ' ')
            return level_letter(view.text[at]);
    }
    return NULL;
}

static const char *json_level(struct view view)
{
    static const char *const keys[] = {"\"level\"", "\"severity\"", "\"levelname\""};
    size_t len;
    if (view.text[view.len - 1] != '}')
        return NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *found = memmem(view.text, view.len, keys[i], strlen(keys[i]));
        if (!found)
            continue;
        struct view rest = skip(view, (size_t)(found - view.text) + strlen(keys[i]));
        while (char_at(rest, 0) == ' ' || char_at(rest, 0) == ':')
            rest = skip(rest, 1);
        return char_at(rest, 0) == '"' ? level_word(skip(rest, 1), true, &len) : NULL;
    }
    return NULL;
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
    case 'N':
    case 'T':
    case 'c' ... 'f':
    case 'i':
    case 'n':
    case 't':
    case 'w':
        return plain_level(view);
    default:
        return NULL;
    }
}
