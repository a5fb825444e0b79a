#include "core/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/nearest.h"

static void *slot(const struct ty_setting *row, void *target)
{
    return (char *)target + row->offset;
}

static void free_list(char **list)
{
    for (char **item = list; item && *item; item++)
        free(*item);
    free(list);
}

static void list_add(char ***list, const char *text, size_t len)
{
    size_t count = 0;
    while (*list && (*list)[count])
        count++;
    *list = ty_xrealloc(*list, (count + 2) * sizeof **list);
    (*list)[count] = ty_xasprintf("%.*s", (int)len, text);
    (*list)[count + 1] = NULL;
}

static bool has_unit(const struct ty_setting *row)
{
    return row->unit && *row->unit;
}

static int set_choice(const struct ty_setting *row, const char *text, int *ret_index)
{
    int index = 0;
    for (const char *at = row->choices; at; index++) {
        const char *end = strchrnul(at, '|');
        if ((size_t)(end - at) == strlen(text) && !strncmp(at, text, (size_t)(end - at))) {
            *ret_index = index;
            return 0;
        }
        at = *end ? end + 1 : NULL;
    }
    return -1;
}

// place says where the text came from, for errors. split: a list is cut at commas.
static int set_value(const struct ty_setting *row, void *target, const char *text, bool split, const char *place,
                     struct ty_err *err)
{
    void *at = slot(row, target);
    char *end;
    long long number;
    switch (row->type) {
    case TY_SETTING_TEXT:
        free(*(char **)at);
        *(char **)at = ty_xstrdup(text);
        return 0;
    case TY_SETTING_INT:
        errno = 0;
        number = strtoll(text, &end, 10);
        if (errno || end == text || *end || number < row->min || number > row->max)
            return ty_err_set(err, TY_EINVALID, "%s: \"%.64s\" is not a whole number%s%s from %" PRId64 " to %" PRId64, place,
                              text, has_unit(row) ? " of " : "", has_unit(row) ? row->unit : "", row->min, row->max);
        *(int64_t *)at = number;
        return 0;
    case TY_SETTING_BOOL:
        if (!strcmp(text, "true") || !strcmp(text, "1") || !strcmp(text, "yes") || !strcmp(text, "on"))
            *(bool *)at = true;
        else if (!strcmp(text, "false") || !strcmp(text, "0") || !strcmp(text, "no") || !strcmp(text, "off"))
            *(bool *)at = false;
        else
            return ty_err_set(err, TY_EINVALID, "%s: \"%.64s\" is neither true nor false", place, text);
        return 0;
    case TY_SETTING_CHOICE:
        if (set_choice(row, text, at) < 0)
            return ty_err_set(err, TY_EINVALID, "%s: \"%.64s\" is none of %s", place, text, row->choices);
        return 0;
    case TY_SETTING_LIST:
        while (split && *text) {
            const char *stop = strchrnul(text, ','), *first = text + strspn(text, " \t"), *last = stop;
            while (last > first && strchr(" \t", last[-1]))
                last--;
            if (last > first)
                list_add(at, first, (size_t)(last - first));
            text = *stop ? stop + 1 : stop;
        }
        if (!split)
            list_add(at, text, strlen(text));
        return 0;
    }
    return ty_err_set(err, TY_EINTERNAL, "%s: unknown type of setting", place);
}

static const struct ty_setting *find(const struct ty_settings_table *table, const char *key, size_t len)
{
    for (size_t i = 0; i < table->count; i++)
        if (strlen(table->rows[i].key) == len && !strncmp(table->rows[i].key, key, len))
            return &table->rows[i];
    return NULL;
}

// A list from a higher source replaces the one from a lower source; within one source it grows.
static void start_source(const struct ty_settings_table *table, void *target, const struct ty_setting *row, bool *touched)
{
    bool *mark = &touched[row - table->rows];
    if (row->type == TY_SETTING_LIST && !*mark) {
        free_list(*(char ***)slot(row, target));
        *(char ***)slot(row, target) = NULL;
    }
    *mark = true;
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t len = strlen(text);
    while (len && strchr(" \t\r\n", text[len - 1]))
        text[--len] = 0;
    return text;
}

static int load_line(const struct ty_settings_table *table, void *target, bool *touched, const char *path, int number,
                     char *line, struct ty_err *err)
{
    char *text = trim(line);
    if (!*text || *text == '#')
        return 0;
    char *equals = strchr(text, '=');
    if (!equals)
        return ty_err_set(err, TY_EINVALID, "%s:%d: expected \"key = value\"", path, number);
    *equals = 0;
    char *key = trim(text);
    const struct ty_setting *row = find(table, key, strlen(key));
    if (!row)
        return ty_err_set(err, TY_EINVALID, "%s:%d: there is no setting \"%.64s\"", path, number, key);
    char *place TY_FREE = ty_xasprintf("%s:%d: %s", path, number, key);
    start_source(table, target, row, touched);
    return set_value(row, target, trim(equals + 1), true, place, err);
}

static int load_file(const struct ty_settings_table *table, void *target, const char *path, struct ty_err *err)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return ty_err_set(err, TY_EINVALID, "--config: %s: %s", path, strerror(errno));
    bool *touched = ty_xcalloc(table->count, sizeof *touched);
    char *line = NULL;
    size_t cap = 0;
    int rc = 0;
    errno = 0;
    for (int number = 1; rc == 0 && getline(&line, &cap, file) >= 0; number++)
        rc = load_line(table, target, touched, path, number, line, err);
    if (rc == 0 && ferror(file)) // a directory, for one
        rc = ty_err_set(err, TY_EINVALID, "--config: %s: %s", path, strerror(errno));
    free(line);
    free(touched);
    fclose(file);
    return rc;
}

static int load_environment(const struct ty_settings_table *table, void *target, struct ty_err *err)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct ty_setting *row = &table->rows[i];
        const char *text = row->environment ? getenv(row->environment) : NULL;
        if (!text)
            continue;
        if (row->type == TY_SETTING_LIST) {
            free_list(*(char ***)slot(row, target));
            *(char ***)slot(row, target) = NULL;
        }
        if (set_value(row, target, text, true, row->environment, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static const char *key_at(const void *context, size_t index)
{
    return ((const struct ty_settings_table *)context)->rows[index].key;
}

static int refuse_flag(const struct ty_settings_table *table, const char *place, struct ty_err *err)
{
    const char *near = ty_nearest(place + strlen("--"), key_at, table, table->count);
    if (near)
        return ty_err_set(err, TY_EINVALID, "%s: there is no such flag; did you mean --%s?", place, near);
    return ty_err_set(err, TY_EINVALID, "%s: there is no such flag; see --help", place);
}

// Reads one flag at argv[*index] (and its value); leaves *index on the last element it used.
static int load_flag(const struct ty_settings_table *table, void *target, bool *touched, int argc, char **argv,
                     int *index, struct ty_err *err)
{
    const char *flag = argv[*index] + 2;
    size_t len = strcspn(flag, "=");
    const struct ty_setting *row = find(table, flag, len);
    char *place TY_FREE = ty_xasprintf("--%.*s", (int)(len < 64 ? len : 64), flag);
    if (!row && !strncmp(flag, "no-", 3) && !flag[len]) {
        row = find(table, flag + 3, len - 3);
        if (row && row->type == TY_SETTING_BOOL)
            return set_value(row, target, "false", false, place, err);
        row = NULL;
    }
    if (!row)
        return refuse_flag(table, place, err);
    start_source(table, target, row, touched);
    if (flag[len])
        return set_value(row, target, flag + len + 1, false, place, err);
    if (row->type == TY_SETTING_BOOL)
        return set_value(row, target, "true", false, place, err);
    if (*index + 1 >= argc)
        return ty_err_set(err, TY_EINVALID, "%s: a value is missing", place);
    return set_value(row, target, argv[++*index], false, place, err);
}

static int load_flags(const struct ty_settings_table *table, void *target, int argc, char **argv, char **positional,
                      int *ret_count, struct ty_err *err)
{
    bool *touched = ty_xcalloc(table->count, sizeof *touched);
    int rc = 0;
    bool flags_end = false;
    for (int i = 1; rc == 0 && i < argc; i++) {
        if (!flags_end && !strcmp(argv[i], "--")) {
            flags_end = true;
        } else if (!flags_end && !strcmp(argv[i], "--config")) {
            i++; // read before, since flags outrank the file
        } else if (!flags_end && !strncmp(argv[i], "--config=", 9)) {
            continue;
        } else if (!flags_end && !strncmp(argv[i], "--", 2)) {
            rc = load_flag(table, target, touched, argc, argv, &i, err);
        } else if (positional) {
            positional[(*ret_count)++] = argv[i];
        } else {
            rc = ty_err_set(err, TY_EINVALID, "\"%.64s\": unexpected argument; see --help", argv[i]);
        }
    }
    free(touched);
    return rc;
}

static const char *config_path(int argc, char **argv, bool *ret_missing)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
        if (!strncmp(argv[i], "--config=", 9))
            return argv[i] + 9;
        if (!strcmp(argv[i], "--config")) {
            *ret_missing = i + 1 >= argc;
            return *ret_missing ? NULL : argv[i + 1];
        }
    }
    return NULL;
}

int ty_settings_load(const struct ty_settings_table *table, void *target, int argc, char **argv, char ***ret_positional,
                     int *ret_count, struct ty_err *err)
{
    char **positional = ret_positional ? ty_xcalloc((size_t)argc + 1, sizeof *positional) : NULL;
    int count = 0, rc = 0;
    bool missing = false;
    for (size_t i = 0; rc == 0 && i < table->count; i++)
        if (table->rows[i].fallback)
            rc = set_value(&table->rows[i], target, table->rows[i].fallback, true, table->rows[i].key, err);
    const char *path = config_path(argc, argv, &missing);
    if (rc == 0 && missing)
        rc = ty_err_set(err, TY_EINVALID, "--config: a value is missing");
    if (rc == 0 && path)
        rc = load_file(table, target, path, err);
    if (rc == 0)
        rc = load_environment(table, target, err);
    if (rc == 0)
        rc = load_flags(table, target, argc, argv, positional, &count, err);
    if (rc < 0) {
        free(positional);
        return rc;
    }
    if (ret_positional) {
        *ret_positional = positional;
        *ret_count = count;
    }
    return 0;
}

bool ty_settings_has_flag(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], flag))
            return true;
    return false;
}

// ---- help ----

#define HELP_COLUMN 34

static const char *value_word(const struct ty_setting *row)
{
    switch (row->type) {
    case TY_SETTING_INT: return has_unit(row) ? row->unit : "N";
    case TY_SETTING_BOOL: return "";
    case TY_SETTING_CHOICE: return row->choices;
    case TY_SETTING_LIST: return "TEXT,...";
    default: return "TEXT";
    }
}

// "--lease-ms ms"; "--[no-]color".
static char *flag_text(const struct ty_setting *row)
{
    if (row->type == TY_SETTING_BOOL)
        return ty_xasprintf("--[no-]%s", row->key);
    return ty_xasprintf("--%s %s", row->key, value_word(row));
}

static char *range_text(const struct ty_setting *row)
{
    return row->type == TY_SETTING_INT ? ty_xasprintf(" (%" PRId64 " to %" PRId64 ")", row->min, row->max) : ty_xstrdup("");
}

static void help_row(FILE *out, const char *flag, const char *help)
{
    if (strlen(flag) + 2 < HELP_COLUMN - 2)
        fprintf(out, "  %-*s%s\n", HELP_COLUMN - 2, flag, help);
    else
        fprintf(out, "  %s\n%*s%s\n", flag, HELP_COLUMN, "", help);
}

void ty_settings_help(const struct ty_settings_table *table, FILE *out)
{
    fprintf(out,
            "%s: %s\n\n"
            "Settings. A flag outranks its environment variable, which outranks the file, which outranks the default.\n",
            table->program, table->summary);
    for (size_t i = 0; i < table->count; i++) {
        const struct ty_setting *row = &table->rows[i];
        char *flag TY_FREE = flag_text(row), *range TY_FREE = range_text(row);
        help_row(out, flag, row->help);
        fprintf(out, "%*s%s%sdefault: %s%s\n", HELP_COLUMN, "", row->environment ? row->environment : "",
                row->environment ? "; " : "", row->fallback && *row->fallback ? row->fallback : "none", range);
    }
    fputc('\n', out);
    help_row(out, "--config FILE", "Reads settings from lines \"key = value\"; # starts a comment line.");
    help_row(out, "--help", "Prints this.");
    help_row(out, "--help-markdown", "Prints the settings as a Markdown table.");
    help_row(out, "--version", "Prints the version.");
}

// A | would end the table's cell.
static void put_cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

void ty_settings_markdown(const struct ty_settings_table *table, FILE *out)
{
    fputs("| Flag and file key | Environment | Value | Default | Meaning |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < table->count; i++) {
        const struct ty_setting *row = &table->rows[i];
        const char *tick = row->environment ? "`" : "", *quote = row->fallback && *row->fallback ? "`" : "";
        char *range TY_FREE = range_text(row);
        fprintf(out, "| `--%s` | %s%s%s | ", row->key, tick, row->environment ? row->environment : "", tick);
        put_cell(out, row->type == TY_SETTING_BOOL ? "true|false" : value_word(row));
        fprintf(out, "%s | %s", range, quote);
        put_cell(out, row->fallback ? row->fallback : "");
        fprintf(out, "%s | ", quote);
        put_cell(out, row->help);
        fputs(" |\n", out);
    }
}

void ty_settings_done(const struct ty_settings_table *table, void *target)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct ty_setting *row = &table->rows[i];
        if (row->type == TY_SETTING_TEXT) {
            free(*(char **)slot(row, target));
            *(char **)slot(row, target) = NULL;
        } else if (row->type == TY_SETTING_LIST) {
            free_list(*(char ***)slot(row, target));
            *(char ***)slot(row, target) = NULL;
        }
    }
}
