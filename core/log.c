#include "core/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

static const char *program_name = "trainyard";
static enum ty_log_level lowest = TY_LOG_INFO;
static enum ty_log_format line_format = TY_LOG_TEXT;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

// A line is gathered per thread and leaves in one write, so that threads and processes do not mix within a line.
static _Thread_local char line[4096];
static _Thread_local size_t line_len;

void ty_log_setup(const char *program, enum ty_log_level level, enum ty_log_format format)
{
    program_name = program;
    lowest = level;
    line_format = format;
}

int ty_log_enabled(enum ty_log_level level)
{
    return level >= lowest;
}

static void add(const char *text, size_t len)
{
    size_t room = sizeof line - 8 - line_len; // what ty_log_end adds always fits
    if (len > room)
        len = room;
    memcpy(line + line_len, text, len);
    line_len += len;
}

static void add_text(const char *text)
{
    add(text, strlen(text));
}

static void add_escaped(const char *text)
{
    for (const char *c = text; *c; c++) {
        char code[8];
        if (*c == '"' || *c == '\\')
            add((char[]){'\\', *c}, 2);
        else if (*c == '\n')
            add("\\n", 2);
        else if ((unsigned char)*c < 0x20)
            add(code, (size_t)snprintf(code, sizeof code, "\\u%04x", (unsigned char)*c));
        else
            add(c, 1);
    }
}

static void add_field(const char *key, const char *value)
{
    if (line_format == TY_LOG_JSON) {
        add_text(",\"");
        add_text(key);
        add_text("\":\"");
        add_escaped(value);
        add_text("\"");
        return;
    }
    int quoted = !*value || strpbrk(value, " \"=\n\t\\") != NULL;
    add_text(" ");
    add_text(key);
    add_text(quoted ? "=\"" : "=");
    if (quoted)
        add_escaped(value);
    else
        add_text(value);
    if (quoted)
        add_text("\"");
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
    line[line_len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, line_len);
    (void)written; // a log that cannot be written has nowhere to complain
}
