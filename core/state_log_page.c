// Reading logs: from the pieces that log_page.lua answers to entries.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log_chunk.h"
#include "core/log_entry.h"
#include "core/state_internal.h"
#include "core/wire.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define MARK_BYTES 256
#define COST_BYTES 8 // of an entry beside its own, in the answers that it goes into

// What kind of piece it is; above 0: how many live entries.
enum { CHUNK = 0, DROPPED = -1, LATE = -2, END = -3 };

struct page_call {
    struct ty_call *call;
    uint32_t attempt; // where it goes on; set by what was taken
    uint64_t sequence;
    size_t max_entries, max_bytes;

    struct ty_buf *raws; // unpacked chunks: entries point into them
    size_t raw_count;
    struct ty_buf entries, runs; // struct ty_bytes, struct ty_log_run
    size_t count, bytes;
    bool is_full;
    uint64_t dropped_lines, dropped_bytes; // of the attempt
};

// missing: 0, or the entry stands for so many.
static bool add(struct page_call *page, uint32_t attempt, uint64_t sequence, uint64_t missing, const struct ty_bytes *entry)
{
    size_t run_count = page->runs.len / sizeof(struct ty_log_run);
    struct ty_log_run *last = run_count ? (struct ty_log_run *)(void *)page->runs.data + run_count - 1 : NULL;
    if (page->count && (page->count >= page->max_entries || page->bytes + entry->len + COST_BYTES > page->max_bytes)) {
        page->is_full = true;
        return false;
    }
    if (last && !missing && !last->missing && last->attempt == attempt && last->sequence + last->count == sequence) {
        last->count++;
    } else {
        struct ty_log_run run = {attempt, sequence, 1, missing};
        ty_buf_add(&page->runs, &run, sizeof run);
    }
    ty_buf_add(&page->entries, entry, sizeof *entry);
    page->count++;
    page->bytes += entry->len + COST_BYTES;
    page->attempt = attempt;
    page->sequence = sequence + (missing ? missing : 1);
    return true;
}

// When the entry was written, for the mark before or behind it.
static uint64_t time_of(const struct ty_bytes *from)
{
    struct ty_log_entry entry;
    struct ty_err err;
    ProtobufCMessage *message;
    uint64_t time_us = 0;
    ty_log_entry_read(from->data, from->len, &entry);
    if (ty_wire_unpack(&viam__app__mltraining__v1__training_job_log_entry__descriptor, entry.message, entry.len, &message, &err) < 0)
        return 0;
    const Google__Protobuf__Timestamp *time = ((const Viam__App__Mltraining__V1__TrainingJobLogEntry *)message)->time;
    if (time && time->seconds > 0)
        time_us = (uint64_t)time->seconds * 1000000 + (uint64_t)time->nanos / 1000;
    protobuf_c_message_free_unpacked(message, NULL);
    return time_us;
}

static struct ty_buf *new_raw(struct page_call *page)
{
    return &page->raws[page->raw_count++];
}

// A mark in the place of entries that are not there.
static bool add_mark(struct page_call *page, uint32_t attempt, uint64_t sequence, uint64_t missing, const char *text,
                     uint64_t time_us)
{
    struct ty_buf *raw = new_raw(page);
    ty_log_entry_add(raw, TY_LOG_STREAM_WORKER, false, time_us, "warn", text, strlen(text));
    return add(page, attempt, sequence, missing, &(struct ty_bytes){raw->data, raw->len});
}

static const struct ty_bytes *last_entry(const struct page_call *page)
{
    return page->count ? (const struct ty_bytes *)(const void *)page->entries.data + page->count - 1 : NULL;
}

// Before an entry of this number, or the end there, where `entry` is the one before: whether the page's place is the one before it, or where what was dropped is told.
static bool bridge(struct page_call *page, uint32_t attempt, uint64_t sequence, const struct ty_bytes *entry)
{
    uint64_t from = page->attempt == attempt ? page->sequence : 0;
    if (from >= sequence || !page->dropped_lines)
        return true;
    char text[MARK_BYTES], size[64] = "";
    uint64_t missing = sequence - from;
    if (missing == page->dropped_lines)
        snprintf(size, sizeof size, " (%" PRIu64 " bytes)", page->dropped_bytes);
    snprintf(text, sizeof text, "%" PRIu64 " line%s%s are left out here: the log's limit", missing,
             missing == 1 ? "" : "s", size);
    return add_mark(page, attempt, from, missing, text, entry ? time_of(entry) : 0);
}

static void take_entry(struct page_call *page, uint32_t attempt, uint64_t sequence, const void *data, size_t len)
{
    struct ty_bytes entry = {data, len};
    if (bridge(page, attempt, sequence, &entry))
        add(page, attempt, sequence, 0, &entry);
}

static int take_chunk(struct page_call *page, uint32_t attempt, const struct ty_redis_reply *item, struct ty_err *err)
{
    struct ty_buf *raw = new_raw(page);
    struct ty_log_chunk_head head;
    if (ty_log_chunk_open(item->bytes, item->len, raw, &head, err) < 0)
        return -(int)err->code;
    uint64_t from = page->attempt == attempt ? page->sequence : 0, sequence = head.first;
    const uint8_t *entry;
    size_t at = 0, len;
    for (; !page->is_full && ty_log_chunk_next(raw->data, raw->len, &at, &entry, &len); sequence++)
        if (sequence >= from)
            take_entry(page, attempt, sequence, entry, len);
    return 0;
}

static void take_late(struct page_call *page, uint32_t attempt, uint64_t sequence, uint64_t late, bool is_final)
{
    char text[MARK_BYTES];
    const char *end = is_final ? ", and no other attempt follows" : "";
    const struct ty_bytes *last = last_entry(page);
    uint64_t time_us = last ? time_of(last) : 0;
    if (late)
        snprintf(text, sizeof text,
                 "attempt %u was taken from its worker here%s; %" PRIu64 " line%s came later and are left out", attempt, end, late,
                 late == 1 ? "" : "s");
    else
        snprintf(text, sizeof text, "attempt %u was taken from its worker here%s", attempt, end);
    if (add_mark(page, attempt, sequence, late ? late : 1, text, time_us)) {
        page->attempt = attempt + 1;
        page->sequence = 0;
    }
}

// The pieces one after the other, until the page is full. TY_EINTERNAL: an answer of another shape.
static int take_pieces(struct page_call *page, const struct ty_redis_reply *reply, struct ty_err *err)
{
    uint32_t dropped_of = 0;
    bool is_ended = reply->items[1].integer != 0 && reply->items[0].integer == 0;
    for (size_t i = 4; i < reply->count && !page->is_full;) {
        if (reply->count - i < 4)
            return ty_err_set(err, TY_EINTERNAL, "Redis: a piece of a log is missing");
        const struct ty_redis_reply *piece = &reply->items[i];
        uint32_t attempt = (uint32_t)piece[0].integer;
        uint64_t first = (uint64_t)piece[1].integer;
        int64_t kind = piece[2].integer;
        size_t len = kind > 0 ? (size_t)kind : 1;
        if (len > reply->count - i - 3)
            return ty_err_set(err, TY_EINTERNAL, "Redis: entries of a log are missing");
        if (dropped_of != attempt)
            page->dropped_lines = page->dropped_bytes = 0;
        dropped_of = attempt;
        if (kind == DROPPED && piece[3].count >= 2) {
            page->dropped_lines = (uint64_t)piece[3].items[0].integer;
            page->dropped_bytes = (uint64_t)piece[3].items[1].integer;
        } else if (kind == CHUNK && take_chunk(page, attempt, &piece[3], err) < 0) {
            return -(int)err->code;
        } else if (kind == END) {
            bridge(page, attempt, first, last_entry(page));
        } else if (kind == LATE) {
            take_late(page, attempt, first, (uint64_t)piece[3].integer, is_ended && i + 3 + len == reply->count);
        }
        for (int64_t n = 0; n < kind && !page->is_full; n++)
            take_entry(page, attempt, first + (uint64_t)n, piece[3 + n].bytes, piece[3 + n].len);
        i += 3 + len;
    }
    return 0;
}

static void page_free(struct page_call *page)
{
    for (size_t i = 0; i < page->raw_count; i++)
        ty_buf_done(&page->raws[i]);
    free(page->raws);
    ty_buf_done(&page->entries);
    ty_buf_done(&page->runs);
    free(page->call);
    free(page);
}

static void on_page(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct page_call *page = context;
    struct ty_call *call = page->call;
    struct ty_err err;
    int rc = ty_state_check_array(reply, cause, 4, &err);
    if (rc == 0) {
        page->raws = ty_xcalloc(reply->count * 2 + 1, sizeof *page->raws); // each piece is a chunk, and has a mark before it
        rc = take_pieces(page, reply, &err);
    }
    if (rc < 0) {
        call->fn.log_page(call->context, &err, NULL);
        page_free(page);
        return;
    }
    struct ty_log_page result = {
        .entries = (const void *)page->entries.data,
        .count = page->count,
        .runs = (const void *)page->runs.data,
        .run_count = page->runs.len / sizeof(struct ty_log_run),
        .more = page->is_full || reply->items[0].integer != 0,
        .ended = reply->items[1].integer != 0,
        .next_attempt = page->is_full ? page->attempt : (uint32_t)reply->items[2].integer,
        .next_sequence = page->is_full ? page->sequence : (uint64_t)reply->items[3].integer,
    };
    call->fn.log_page(call->context, NULL, &result);
    page_free(page);
}

void ty_state_log_page(struct ty_state *state, const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                       unsigned max_entries, size_t max_bytes, ty_log_page_fn fn, void *context)
{
    struct page_call *page = ty_xcalloc(1, sizeof *page);
    *page = (struct page_call){.call = ty_call_new(state, context), .attempt = attempt ? attempt : 1, .sequence = sequence,
                               .max_entries = max_entries, .max_bytes = max_bytes};
    page->call->fn.log_page = fn;
    struct ty_args args;
    char key[48];
    ty_state_args(state, 0, &args);
    ty_args_add_u64(&args, attempt);
    ty_args_add_u64(&args, sequence);
    ty_args_add_u64(&args, max_entries);
    ty_args_add_u64(&args, max_bytes);
    ty_state_log_key(id, key);
    ty_state_eval(state, TY_SCRIPT_LOG_PAGE, key, &args, on_page, page);
}
