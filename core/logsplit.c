// The cleaner works byte by byte with a state that survives any cut, so that nothing raw is ever
// held but an escape sequence that has not ended. What needs no state is found without it: runs of
// clean text many bytes at a time, whole escape sequences; a clean line that is whole in the input
// is handed on without a copy.
#include "core/logsplit.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/logsplit_bytes.h"
#include "core/logsplit_level.h"

#define SECOND_US 1000000u

struct ty_logsplit {
    ty_logsplit_fn fn;
    void *context;

    struct ty_buf text; // the clean text of the line being gathered
    uint64_t text_us;   // when its first byte came
    uint64_t last_us;   // when its last byte came
    bool begun;         // bytes of it came, if only such as are dropped
    bool continued;     // part of it was emitted
    bool after_cr;      // it ended with "\r"; the next byte says whether that was all
    bool swallow_lf;    // it was emitted as ended by "\r"; a "\n" that follows belongs to it

    enum ty_escape escape;
    struct ty_buf held; // what came of the escape sequence behind its ESC: text if it does not end
    uint8_t tail[4]; // the beginning of a UTF-8 character
    unsigned tail_len, tail_want;

    struct ty_buf progress; // the latest text ended by a lone "\r" that has not been emitted
    uint64_t progress_us;
    bool has_progress;
    uint64_t shown_us; // when the last progress text was emitted
    bool shown;

    const char *default_level;
    const char *level; // of the last line
    bool in_traceback;
};

struct ty_logsplit *ty_logsplit_new(const char *default_level, ty_logsplit_fn fn, void *context)
{
    struct ty_logsplit *split = ty_xcalloc(1, sizeof *split);
    split->fn = fn;
    split->context = context;
    split->level = split->default_level = default_level;
    return split;
}

void ty_logsplit_free(struct ty_logsplit *split)
{
    if (!split)
        return;
    ty_buf_done(&split->text);
    ty_buf_done(&split->progress);
    ty_buf_done(&split->held);
    free(split);
}

// ---- entries ----

static const char *level_of(struct ty_logsplit *split, const char *text, size_t len)
{
    static const char traceback[] = "Traceback (most recent call last)";
    if (len && (*text == ' ' || *text == '\t'))
        return split->level; // a continuation
    if (split->in_traceback) {
        split->in_traceback = !len; // the line that names the exception is the last
        return split->level;
    }
    if (len >= sizeof traceback - 1 && !memcmp(text, traceback, sizeof traceback - 1)) {
        split->in_traceback = true;
        return split->level = "error";
    }
    const char *level = ty_logsplit_level(text, len);
    return split->level = level ? level : split->default_level;
}

static void emit(struct ty_logsplit *split, uint64_t time_us, const char *text, size_t len)
{
    struct ty_logsplit_line line = {.time_us = time_us,
                                    .level = split->continued ? split->level
                                                              : level_of(split, text, len),
                                    .continued = split->continued,
                                    .message = text,
                                    .len = len};
    split->fn(split->context, &line);
}

static void emit_text(struct ty_logsplit *split)
{
    emit(split, split->text_us, split->text.len ? (const char *)split->text.data : "",
         split->text.len);
    ty_buf_clear(&split->text);
}

static void emit_progress(struct ty_logsplit *split, uint64_t now_us)
{
    if (!split->has_progress)
        return;
    // A progress text is written whole: it is no part of the line that may have begun since.
    bool continued = split->continued;
    split->continued = false;
    emit(split, split->progress_us, (const char *)split->progress.data, split->progress.len);
    split->continued = continued;
    ty_buf_clear(&split->progress);
    split->has_progress = false;
    split->shown = true;
    split->shown_us = now_us;
}

// A clock that was set back counts as time gone by.
static bool is_past(uint64_t now_us, uint64_t since_us)
{
    return now_us < since_us || now_us - since_us >= SECOND_US;
}

// ---- cleaning ----

// Room for at least `len` more bytes of the line.
static void make_room(struct ty_logsplit *split, size_t len)
{
    if (TY_LIMIT_LOG_MESSAGE_BYTES - split->text.len >= len)
        return;
    emit_progress(split, split->text_us);
    emit_text(split);
    split->continued = true;
}

static bool is_begun_by(uint8_t byte)
{
    return (byte & 0xc0) != 0x80;
}

// Clean text is cut between characters. Where a line is cut must not depend on how its bytes came.
static void add_clean(struct ty_logsplit *split, const uint8_t *bytes, size_t len)
{
    while (len) {
        size_t room = TY_LIMIT_LOG_MESSAGE_BYTES - split->text.len, part = len < room ? len : room;
        while (part < len && !is_begun_by(bytes[part]))
            part--;
        ty_buf_add(&split->text, bytes, part);
        bytes += part;
        len -= part;
        if (len)
            make_room(split, TY_LIMIT_LOG_MESSAGE_BYTES);
    }
}

static void add_character(struct ty_logsplit *split, const uint8_t *bytes, size_t len)
{
    make_room(split, len);
    ty_buf_add(&split->text, bytes, len);
}

static void add_replacement(struct ty_logsplit *split)
{
    add_character(split, (const uint8_t *)"\xef\xbf\xbd", 3);
}

static void begin_character(struct ty_logsplit *split, uint8_t byte)
{
    unsigned want = byte >= 0xc2 && byte <= 0xdf   ? 2
                    : byte >= 0xe0 && byte <= 0xef ? 3
                    : byte >= 0xf0 && byte <= 0xf4 ? 4
                                                   : 0;
    if (!want) {
        add_replacement(split);
        return;
    }
    split->tail[0] = byte;
    split->tail_len = 1;
    split->tail_want = want;
}

// A character that was begun and will not be ended was none.
static void end_character(struct ty_logsplit *split)
{
    if (!split->tail_len)
        return;
    split->tail_len = 0;
    add_replacement(split);
}

// False when the byte does not belong to the character begun, which then was none.
static bool go_on_character(struct ty_logsplit *split, uint8_t byte)
{
    if (!ty_logsplit_may_follow(split->tail[0], split->tail_len, byte)) {
        end_character(split);
        return false;
    }
    split->tail[split->tail_len++] = byte;
    if (split->tail_len < split->tail_want)
        return true;
    split->tail_len = 0;
    bool is_control = split->tail[0] == 0xc2 && split->tail[1] < 0xa0; // U+0080 to U+009F
    if (!is_control)
        add_character(split, split->tail, split->tail_want);
    return true;
}

static void take_text(struct ty_logsplit *split, uint8_t byte)
{
    if (split->tail_len && go_on_character(split, byte))
        return;
    if (byte >= 0x80)
        begin_character(split, byte);
    else if ((byte >= 0x20 && byte != 0x7f) || byte == '\t')
        add_clean(split, &byte, 1);
}

// There is no escape sequence: what was held of one is text, but for the ESC.
static void release_held(struct ty_logsplit *split)
{
    bool had_escape = split->escape == TY_ESCAPE_STRING_ESC; // it began in the midst of the string
    split->escape = TY_ESCAPE_TEXT;
    for (size_t i = 0; i < split->held.len; i++)
        take_text(split, split->held.data[i]);
    ty_buf_clear(&split->held);
    if (had_escape) {
        end_character(split);
        split->escape = TY_ESCAPE_BEGUN;
    }
}

// True when the byte belongs to the escape sequence.
static bool go_on_escape(struct ty_logsplit *split, uint8_t byte)
{
    enum ty_escape next = ty_logsplit_next_escape(split->escape, byte);
    if (next == TY_ESCAPE_NONE) {
        release_held(split);
        return split->escape == TY_ESCAPE_BEGUN && go_on_escape(split, byte);
    }
    if (next == TY_ESCAPE_ENDED) {
        split->escape = TY_ESCAPE_TEXT;
        ty_buf_clear(&split->held);
        return true;
    }
    split->escape = next;
    if (next != TY_ESCAPE_STRING_ESC)
        ty_buf_add_byte(&split->held, byte);
    if (split->held.len == TY_LOGSPLIT_SEQUENCE_MAX)
        release_held(split);
    return true;
}

static void take_byte(struct ty_logsplit *split, uint8_t byte)
{
    if (split->escape != TY_ESCAPE_TEXT && go_on_escape(split, byte))
        return;
    if (byte == 0x1b) {
        end_character(split);
        split->escape = TY_ESCAPE_BEGUN;
    } else {
        take_text(split, byte);
    }
}

// Bytes of one line, without its end.
static void gather(struct ty_logsplit *split, uint64_t time_us, const uint8_t *bytes, size_t len)
{
    if (!len)
        return;
    if (!split->begun)
        split->text_us = time_us;
    split->begun = true;
    split->swallow_lf = false;
    split->last_us = time_us;
    for (size_t at = 0; at < len;) {
        if (split->escape != TY_ESCAPE_TEXT || split->tail_len) {
            take_byte(split, bytes[at++]);
            continue;
        }
        size_t run = ty_logsplit_clean_run(bytes + at, len - at);
        add_clean(split, bytes + at, run);
        at += run;
        size_t dropped = at < len ? ty_logsplit_whole_sequence(bytes + at, len - at) : 0;
        at += dropped;
        if (!dropped && at < len)
            take_byte(split, bytes[at++]);
    }
}

// ---- lines ----

// Nothing of a sequence or a character goes on behind a line's end.
static void end_cleaning(struct ty_logsplit *split)
{
    if (split->escape != TY_ESCAPE_TEXT)
        release_held(split);
    split->escape = TY_ESCAPE_TEXT;
    end_character(split);
}

static void begin_line(struct ty_logsplit *split)
{
    split->begun = split->continued = split->after_cr = false;
    ty_buf_clear(&split->text);
}

static void end_line(struct ty_logsplit *split, uint64_t time_us)
{
    end_cleaning(split);
    emit_progress(split, time_us);
    if (!split->begun)
        split->text_us = time_us;
    if (split->text.len || !(split->begun || split->continued))
        emit_text(split);
    begin_line(split);
}

// The line ended with a lone "\r": it becomes the progress text, which is emitted now and then.
static void end_progress(struct ty_logsplit *split, uint64_t time_us)
{
    end_cleaning(split);
    if (split->continued) {
        end_line(split, time_us);
        return;
    }
    if (split->text.len) {
        struct ty_buf old = split->progress;
        split->progress = split->text;
        split->text = old;
        split->progress_us = split->text_us;
        split->has_progress = true;
        if (!split->shown || is_past(time_us, split->shown_us))
            emit_progress(split, time_us);
    }
    begin_line(split);
}

// A line that is whole, clean and not too long needs no state.
static bool emit_directly(struct ty_logsplit *split, uint64_t time_us, const uint8_t *bytes,
                          size_t len)
{
    if (split->begun || split->continued || split->has_progress || !len ||
        len > TY_LIMIT_LOG_MESSAGE_BYTES || ty_logsplit_clean_run(bytes, len) != len)
        return false;
    split->swallow_lf = false;
    emit(split, time_us, (const char *)bytes, len);
    return true;
}

static void take_newline(struct ty_logsplit *split, uint64_t time_us)
{
    if (split->swallow_lf)
        split->swallow_lf = false;
    else
        end_line(split, time_us);
}

// The byte after a "\r": true when it is taken.
static bool resolve_cr(struct ty_logsplit *split, uint64_t time_us, uint8_t byte)
{
    if (byte == '\r')
        return true; // "\r\r\n" ends one line
    split->after_cr = false;
    if (byte == '\n')
        take_newline(split, time_us);
    else
        end_progress(split, time_us);
    return byte == '\n';
}

void ty_logsplit_feed(struct ty_logsplit *split, uint64_t time_us, const void *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = at + len;
    const uint8_t *cr = len ? memchr(at, '\r', len) : NULL; // the next one, searched once
    while (at < end) {
        if (split->after_cr && resolve_cr(split, time_us, *at)) {
            at++;
            continue;
        }
        if (cr && cr < at)
            cr = memchr(at, '\r', (size_t)(end - at));
        const uint8_t *limit = cr ? cr : end;
        const uint8_t *newline = memchr(at, '\n', (size_t)(limit - at));
        const uint8_t *stop = newline ? newline : limit;
        if (newline && emit_directly(split, time_us, at, (size_t)(stop - at))) {
            at = stop + 1;
            continue;
        }
        gather(split, time_us, at, (size_t)(stop - at));
        at = stop;
        if (at == end)
            break;
        if (newline)
            take_newline(split, time_us);
        else
            split->after_cr = true, split->last_us = time_us;
        at++;
    }
}

static void flush_line(struct ty_logsplit *split, uint64_t now_us, bool is_end)
{
    if (split->after_cr) {
        end_progress(split, now_us);
        split->swallow_lf = true;
        return;
    }
    if (is_end)
        end_cleaning(split);
    if (split->text.len) {
        emit_progress(split, now_us);
        emit_text(split);
        split->continued = true;
        split->begun = false;
    }
    if (is_end)
        begin_line(split);
}

void ty_logsplit_flush(struct ty_logsplit *split, uint64_t now_us)
{
    bool is_end = now_us == UINT64_MAX, is_waiting = split->begun || split->after_cr;
    if (is_end && (split->tail_len || split->escape != TY_ESCAPE_TEXT))
        is_waiting = true; // the rest of a line that was flushed
    if (is_waiting && (is_end || is_past(now_us, split->last_us)))
        flush_line(split, now_us, is_end);
    if (split->has_progress && (is_end || is_past(now_us, split->shown_us)))
        emit_progress(split, now_us);
}
