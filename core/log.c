#include "core/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/wire.h"

static const char *program_name = "trainyard";
static enum ty_log_level lowest = TY_LOG_INFO;
static enum ty_log_format line_format = TY_LOG_TEXT;
static ty_log_line_fn line_fn;
static void *line_context;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

// A line is gathered per thread and leaves in one write, so that threads and processes do not mix within a line.
static _Thread_local char line[4096];
static _Thread_local size_t line_len;
static _Thread_local enum ty_log_level line_level;

void ty_log_setup(const char *program, enum ty_log_level level, enum ty_log_format format)
{
    program_name = program;
    lowest = level;
    line_format = format;
}

void ty_log_to(ty_log_line_fn fn, void *context)
{
    line_fn = fn;
    line_context = context;
}

int ty_log_enabled(enum ty_log_level level)
{
    return level >= lowest;
}

#define LINE_ROOM (sizeof line - 8) // the end of a field and of the line always fit behind it

// All or nothing, so that a line that is cut is cut between characters and escapes.
static void add(const char *text, size_t len)
{
    if (line_len + len > LINE_ROOM)
        return;
    memcpy(line + line_len, text, len);
    line_len += len;
}

static void add_text(const char *text)
{
    add(text, strlen(text));
}

// Bytes that are not UTF-8 become U+FFFD, control characters an escape: a log line neither breaks nor steers a terminal.
static void add_escaped(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0, step; i < len; i += step) {
        const char *at = text + i;
        step = ty_utf8_char(at, len - i);
        if (!step) {
            add("\xef\xbf\xbd", 3);
            step = 1;
        } else if (*at == '"' || *at == '\\') {
            add((char[]){'\\', *at}, 2);
        } else if (*at == '\n') {
            add("\\n", 2);
        } else if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            char code[8];
            add(code, (size_t)snprintf(code, sizeof code, "\\u%04x", (unsigned char)*at));
        } else {
            add(at, step);
        }
    }
}

static bool is_plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f || strchr("\"=\\", *c))
            return false;
    return *text != 0;
}

static void add_field(const char *key, const char *value)
{
    // A field that does not fit with a little of its value is left out whole.
    if (line_len + strlen(key) + 32 > LINE_ROOM)
        return;
    if (line_format == TY_LOG_JSON) {
        add_text(",\"");
        add_text(key);
        add_text("\":\"");
        add_escaped(value);
        line[line_len++] = '"';
        return;
    }
    add_text(" ");
    add_text(key);
    add_text("=");
    bool quoted = !is_plain(value);
    if (quoted)
        add_text("\"");
    add_escaped(value);
    if (quoted)
        line[line_len++] = '"';
}

void ty_log_begin(enum ty_log_level level, const char *event)
{
    uint64_t now_us = ty_clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm utc;
    char stamp[40], whole[64];
    gmtime_r(&seconds, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(whole, sizeof whole, "%s.%06uZ", stamp, (unsigned)(now_us % 1000000));
    line_len = 0;
    line_level = level;
    if (line_format == TY_LOG_JSON) {
        add_text("{\"time\":\"");
        add_text(whole);
        add_text("\"");
    } else {
        add_text("time=");
        add_text(whole);
    }
    add_field("level", level_names[level]);
    add_field("program", program_name);
    add_field("event", event);
}

void ty_log_field(const char *key, const char *format, ...)
{
    char value[1536];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    add_field(key, value);
}

void ty_log_end(void)
{
    if (line_format == TY_LOG_JSON)
        line[line_len++] = '}';
    if (line_fn) {
        line[line_len] = 0;
        line_fn(line_context, line_level, line, line_len);
        return;
    }
    line[line_len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, line_len);
    (void)written; // a log that cannot be written has nowhere to complain
}
