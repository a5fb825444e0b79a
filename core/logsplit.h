// From raw output to log entries: lines, cleaned to valid UTF-8, with a level. Pure: bytes and times in, entries out; the
// bytes may be cut anywhere. One splitter for each stream of each step. Not thread-safe.
//   - "\n", "\r\n" and "\r" end a line; a line ended by a lone "\r" is a progress text: at most one a second is emitted, and
//     always the last one before something else or the end.
//   - a line longer than TY_LIMIT_LOG_MESSAGE_BYTES continues in the next entry, cut on a character boundary.
//   - invalid UTF-8 becomes U+FFFD (one for each longest piece that could have begun a character), NUL and other control
//     characters but tab are dropped, whole ANSI sequences are stripped (CSI, strings that end with BEL or ESC \, and the
//     short ones; of at most 4 KiB, within a line). What only looks like the beginning of one is text: nothing printable is
//     lost. A line of nothing but what is dropped is no entry; an empty line is.
//   - a partial line is held until its end, ty_logsplit_flush after 1 s without a byte of it, or the end of the stream. What
//     comes of the line after a flush is the next entry; a line end alone is none.
//   - the level comes from recognised prefixes (Python logging and warnings, glog, "LEVEL:" words, a date, then a level) and
//     from JSON and logfmt lines with a level, else it is the stream's default; indented continuation lines keep the last level. A Python traceback is "error" from its first line to the
//     one that names the exception.
// No byte sequence makes it fail, and it holds no more than three messages of TY_LIMIT_LOG_MESSAGE_BYTES.
// schemas/log_lines.json has all of that as cases, and schemas/README.md as a table.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ty_logsplit;

struct ty_logsplit_line {
    uint64_t time_us;    // when its first byte came
    const char *level;   // one of the fixed words "debug", "info", "warn", "error", "critical" (static)
    bool continued;      // it goes on with the line of the entry before
    const char *message; // borrowed, valid UTF-8, not NUL-terminated
    size_t len;
};
// line is borrowed.
typedef void (*ty_logsplit_fn)(void *context, const struct ty_logsplit_line *line);

// default_level: one of the words above, of lines that state none; borrowed.
struct ty_logsplit *ty_logsplit_new(const char *default_level, ty_logsplit_fn fn, void *context);
void ty_logsplit_free(struct ty_logsplit *split);
void ty_logsplit_feed(struct ty_logsplit *split, uint64_t time_us, const void *bytes, size_t len);
// Emits what has waited long enough at now_us: a partial line, a progress text. With now_us UINT64_MAX, the end, all that
// is held.
void ty_logsplit_flush(struct ty_logsplit *split, uint64_t now_us);
