// From raw output to log entries: lines, cleaned to valid UTF-8, with a level. Pure: bytes and times in, entries out; the
// bytes may be cut anywhere. One splitter for each stream of each step. Not thread-safe.
//   - "\n", "\r\n" and "\r" end a line; a line ended by a lone "\r" is a progress text: at most one a second is emitted, and
//     always the last one before something else or the end.
//   - a line longer than TY_LIMIT_LOG_MESSAGE_BYTES continues in the next entry, cut on a character boundary.
//   - invalid UTF-8 becomes U+FFFD, NUL and other control bytes but tab are dropped, ANSI sequences are stripped.
//   - a partial line is held until its end, ty_logsplit_flush, or the end of the stream.
//   - the level comes from recognised prefixes (Python logging, glog, "LEVEL:" words) and JSON lines with a level member,
//     else "info"; indented continuation lines keep the last level.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ty_logsplit;

// level: one of the fixed words "debug", "info", "warn", "error", "critical" (static). message is borrowed, valid UTF-8.
typedef void (*ty_logsplit_fn)(void *context, uint64_t time_us, const char *level, const char *message, size_t len);

struct ty_logsplit *ty_logsplit_new(ty_logsplit_fn fn, void *context);
void ty_logsplit_free(struct ty_logsplit *split);
void ty_logsplit_feed(struct ty_logsplit *split, uint64_t time_us, const void *bytes, size_t len);
// Emits a held partial line that is older than 1 s at now_us (or any, with now_us UINT64_MAX: the end).
void ty_logsplit_flush(struct ty_logsplit *split, uint64_t now_us);
