#include "core/logsplit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/wire.h"

#define HOLD_US 1000000u     // how long a partial line waits for its end
#define PROGRESS_US 1000000u // progress texts come at most this often

struct ty_logsplit {
    ty_logsplit_fn fn;
    void *context;
    struct ty_buf line;      // the line being gathered, raw
    struct ty_buf clean;     // scratch
    struct ty_buf progress;  // the latest text ended by a lone "\r" that has not been emitted
    uint64_t line_us, progress_us, emitted_us;
    bool has_progress, after_cr;
    const char *level;
};

struct ty_logsplit *ty_logsplit_new(ty_logsplit_fn fn, void *context)
{
    struct ty_logsplit *split = ty_xcalloc(1, sizeof *split);
    split->fn = fn;
    split->context = context;
    split->level = "info";
    return split;
}

void ty_logsplit_free(struct ty_logsplit *split)
{
    if (!split)
        return;
    ty_buf_done(&split->line);
    ty_buf_done(&split->clean);
    ty_buf_done(&split->progress);
    free(split);
}

// ---- levels ----

static const struct {
    const char *word, *level;
} words[] = {{"TRACE", "debug"}, {"DEBUG", "debug"},   {"INFO", "info"},      {"NOTICE", "info"}, {"WARNING", "warn"},
             {"WARN", "warn"},   {"ERROR", "error"},   {"CRITICAL", "critical"}, {"FATAL", "critical"}};

static const char *level_of_word(const char *text, size_t len, size_t *ret_len)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t size = strlen(words[i].word);
        if (len >= size && !strncasecmp(text, words[i].word, size)) {
            *ret_len = size;
            return words[i].level;
        }
    }
    return NULL;
}

// "ERROR: ...", "ERROR:logger:...", "[WARNING] ...", "I1123 20:09:10 ..." (glog), "2026-11-23 20:09:10,123 ... ERROR ...".
static const char *prefix_level(const char *text, size_t len)
{
    size_t size;
    const char *level;
    bool bracket = len && text[0] == '[';
    if ((level = level_of_word(text + bracket, len - bracket, &size))) {
        char next = bracket + size < len ? text[bracket + size] : 0;
        if (bracket ? next == ']' : next == ':')
            return level;
    }
    if (len > 6 && strchr("IWEF", text[0]) && strspn(text + 1, "0123456789") >= 4 && text[5] == ' ')
        return text[0] == 'I' ? "info" : text[0] == 'W' ? "warn" : text[0] == 'E' ? "error" : "critical";
    if (len > 20 && strspn(text, "0123456789") == 4 && text[4] == '-') {
        size_t limit = len < 96 ? len : 96;
        for (size_t i = 19; i + 4 < limit; i++)
            if (strchr(" [", text[i]) && (level = level_of_word(text + i + 1, limit - i - 1, &size)) &&
                (i + 1 + size == len || strchr(" ]:-", text[i + 1 + size])))
                return level;
    }
    return NULL;
}

static const char *json_level(const char *text, size_t len)
{
    static const char *const keys[] = {"\"level\"", "\"severity\"", "\"levelname\""};
    size_t size;
    if (len < 2 || text[0] != '{' || text[len - 1] != '}')
        return NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *at = memmem(text, len, keys[i], strlen(keys[i]));
        if (!at)
            continue;
        at += strlen(keys[i]);
        while (at < text + len && (*at == ' ' || *at == ':'))
            at++;
        if (at < text + len && *at == '"')
            return level_of_word(at + 1, (size_t)(text + len - at - 1), &size);
    }
    return NULL;
}

static const char *level_of(struct ty_logsplit *split, const char *text, size_t len)
{
    if (len && (text[0] == ' ' || text[0] == '\t'))
        return split->level; // a continuation, such as a traceback's
    const char *level = json_level(text, len);
    if (!level)
        level = prefix_level(text, len);
    if (!level && len > 8 && !strncmp(text, "Traceback (most recent call last)", len < 33 ? len : 33))
        level = "error";
    split->level = level ? level : "info";
    return split->level;
}

// ---- cleaning ----

// Bytes of the ANSI sequence at text, 0 when there is none.
static size_t ansi(const uint8_t *text, size_t len)
{
    size_t i = 2;
    if (len < 2 || text[0] != 0x1b)
        return 0;
    if (text[1] == '[') {
        while (i < len && (text[i] < 0x40 || text[i] > 0x7e))
            i++;
        return i < len ? i + 1 : len;
    }
    if (text[1] == ']') {
        while (i < len && text[i] != 7 && text[i] != 0x1b)
            i++;
        return i < len && text[i] == 0x1b ? (i + 2 < len ? i + 2 : len) : (i < len ? i + 1 : len);
    }
    return 2;
}

static bool is_plain(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] >= 0x7f || (text[i] < 0x20 && text[i] != '\t'))
            return false;
    return true;
}

static const char *clean(struct ty_logsplit *split, const uint8_t *text, size_t len, size_t *ret_len)
{
    if (is_plain(text, len)) {
        *ret_len = len;
        return (const char *)text;
    }
    TY_BUF(kept);
    for (size_t i = 0; i < len;) {
        size_t skip = ansi(text + i, len - i);
        if (skip) {
            i += skip;
            continue;
        }
        if ((text[i] >= 0x20 && text[i] != 0x7f) || text[i] == '\t')
            ty_buf_add_byte(&kept, text[i]);
        i++;
    }
    ty_buf_clear(&split->clean);
    ty_utf8_repair((const char *)kept.data, kept.len, &split->clean);
    *ret_len = split->clean.len;
    return split->clean.len ? (const char *)split->clean.data : "";
}

static void emit(struct ty_logsplit *split, uint64_t time_us, const uint8_t *text, size_t len)
{
    size_t clean_len, at = 0;
    const char *message = clean(split, text, len, &clean_len);
    const char *level = level_of(split, message, clean_len);
    do {
        size_t cut = ty_utf8_cut(message + at, clean_len - at, TY_LIMIT_LOG_MESSAGE_BYTES);
        split->fn(split->context, time_us, level, message + at, cut);
        at += cut;
    } while (at < clean_len);
    split->emitted_us = time_us;
}

// ---- lines ----

static void emit_progress(struct ty_logsplit *split)
{
    if (!split->has_progress)
        return;
    split->has_progress = false;
    emit(split, split->progress_us, split->progress.data, split->progress.len);
    ty_buf_clear(&split->progress);
}

static void end_line(struct ty_logsplit *split, uint64_t time_us)
{
    emit_progress(split);
    emit(split, split->line.len ? split->line_us : time_us, split->line.data, split->line.len);
    ty_buf_clear(&split->line);
}

// A lone "\r": the line becomes the progress text, emitted now and then.
static void end_progress(struct ty_logsplit *split)
{
    if (!split->line.len)
        return;
    struct ty_buf old = split->progress;
    split->progress = split->line;
    split->line = old;
    ty_buf_clear(&split->line);
    split->progress_us = split->line_us;
    split->has_progress = true;
    if (split->progress_us - split->emitted_us >= PROGRESS_US)
        emit_progress(split);
}

static void gather(struct ty_logsplit *split, uint64_t time_us, const uint8_t *bytes, size_t len)
{
    if (!len)
        return;
    if (!split->line.len)
        split->line_us = time_us;
    ty_buf_add(&split->line, bytes, len);
    while (split->line.len > 2 * TY_LIMIT_LOG_MESSAGE_BYTES) {
        size_t cut = ty_utf8_cut((const char *)split->line.data, split->line.len, TY_LIMIT_LOG_MESSAGE_BYTES);
        if (!cut)
            cut = TY_LIMIT_LOG_MESSAGE_BYTES; // nothing but continuation bytes
        emit_progress(split);
        emit(split, split->line_us, split->line.data, cut);
        ty_buf_shift(&split->line, cut);
    }
}

void ty_logsplit_feed(struct ty_logsplit *split, uint64_t time_us, const void *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = at + len;
    while (at < end) {
        if (split->after_cr) {
            // The byte after "\r" decides what it was.
            split->after_cr = false;
            if (*at == '\n') {
                end_line(split, time_us);
                at++;
                continue;
            }
            if (*at == '\r') {
                split->after_cr = true; // "\r\r\n" ends one line
                at++;
                continue;
            }
            end_progress(split);
        }
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *stop = newline ? newline : end;
        const uint8_t *cr = memchr(at, '\r', (size_t)(stop - at));
        if (cr)
            stop = cr;
        gather(split, time_us, at, (size_t)(stop - at));
        at = stop;
        if (at == end)
            break;
        if (*at == '\r')
            split->after_cr = true;
        else
            end_line(split, time_us);
        at++;
    }
}

void ty_logsplit_flush(struct ty_logsplit *split, uint64_t now_us)
{
    bool last = now_us == UINT64_MAX;
    if (split->after_cr && last) {
        split->after_cr = false;
        end_progress(split);
    }
    if (split->has_progress && (last || now_us - split->progress_us >= PROGRESS_US))
        emit_progress(split);
    if (split->line.len && !split->after_cr && (last || (now_us > split->line_us && now_us - split->line_us >= HOLD_US)))
        end_line(split, split->line_us);
}
