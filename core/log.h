// Our own log (not the jobs'): one line an event on stderr, key=value or JSON by setting. Never secrets. Thread-safe.
#pragma once

#include <stddef.h>

enum ty_log_level { TY_LOG_DEBUG, TY_LOG_INFO, TY_LOG_WARN, TY_LOG_ERROR };
enum ty_log_format { TY_LOG_TEXT, TY_LOG_JSON };

// program stays borrowed. Call once at start.
void ty_log_setup(const char *program, enum ty_log_level level, enum ty_log_format format);
// Lines go to fn instead of stderr from now on, from whichever thread logs: NUL-terminated, without a newline, len bytes.
// fn must not log. NULL: to stderr again. Set it before threads log.
typedef void (*ty_log_line_fn)(void *context, enum ty_log_level level, const char *line, size_t len);
void ty_log_to(ty_log_line_fn fn, void *context);
// event is a short fixed name; the rest are fields made by TY_KV:
//   ty_log(TY_LOG_INFO, "job.claimed", TY_KV("job", "%s", text), TY_KV("attempt", "%u", n));
#define TY_KV(key, ...) ty_log_field((key), __VA_ARGS__)
#define ty_log(level, event, ...)                                                                  \
    do {                                                                                           \
        if (ty_log_enabled(level)) {                                                               \
            ty_log_begin((level), (event));                                                        \
            (void)0, ##__VA_ARGS__;                                                                \
            ty_log_end();                                                                          \
        }                                                                                          \
    } while (0)

int ty_log_enabled(enum ty_log_level level);
void ty_log_begin(enum ty_log_level level, const char *event);
void ty_log_field(const char *key, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ty_log_end(void);
