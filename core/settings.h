// Settings: one table per program drives the file, the environment, the flags, --help and the documentation.
// Precedence, highest first: flag, environment, file (--config FILE, lines "key = value", # comments), default.
// Not thread-safe; used once at start.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"

enum ty_setting_type {
    TY_SETTING_TEXT,   // char *, owned by the settings
    TY_SETTING_INT,    // int64_t within min..max
    TY_SETTING_BOOL,   // bool: true, false, yes, no, on, off, 1, 0; flags --x and --no-x, or --x=true
    TY_SETTING_CHOICE, // int: index into choices ("a|b|c")
    TY_SETTING_LIST,   // char **, NULL-terminated, owned, NULL when empty; the flag may be repeated, in file and environment
                       // comma-separated; a higher source replaces the whole list of a lower one
};

struct ty_setting {
    const char *key;         // "kafka-brokers": flag --kafka-brokers, file key kafka-brokers
    const char *environment; // "TRAINYARD_KAFKA_BROKERS"
    enum ty_setting_type type;
    size_t offset;           // offsetof in the program's settings struct
    int64_t min, max;        // TY_SETTING_INT
    const char *choices;     // TY_SETTING_CHOICE
    const char *fallback;    // the default as text; NULL: unset
    const char *unit;        // "ms", "bytes", or ""
    const char *help;        // one sentence
};

struct ty_settings_table {
    const char *program; // "trainyard-worker"
    const char *summary; // one line for --help
    const struct ty_setting *rows;
    size_t count;
};

// Fills the zeroed struct at `target` from defaults, file, environment and argv (flags as "--key value" or "--key=value").
// Positional arguments are refused unless ret_positional is given (then it is an array to free that borrows from argv, and
// *ret_count says how many there are). TY_EINVALID names the flag, the variable, or file:line and key, and what is allowed.
// After an error, too, ty_settings_done is called. --help and --version are not handled here: ask ty_settings_has_flag first.
int ty_settings_load(const struct ty_settings_table *table, void *target, int argc, char **argv,
                     char ***ret_positional, int *ret_count, struct ty_err *err) TY_MUST_USE;
// True when argv has the flag (before any "--").
bool ty_settings_has_flag(int argc, char **argv, const char *flag);
void ty_settings_help(const struct ty_settings_table *table, FILE *out);
// The table as Markdown, for the documentation ("--help-markdown" of every program).
void ty_settings_markdown(const struct ty_settings_table *table, FILE *out);
// Frees what the settings own.
void ty_settings_done(const struct ty_settings_table *table, void *target);
