#include "responder/job_view.h"

#include <string.h>

// Fields of trainyard.v1.Job and JobTransition.
enum { JOB_METADATA = 1, JOB_OPTIONS, JOB_ATTEMPT, JOB_STAGE, JOB_REASON, JOB_WORKER, JOB_LOSSES, JOB_ERRORS, JOB_CONTAINER,
       JOB_NOT_BEFORE, JOB_CANCEL_REQUESTED, JOB_DELETE_REQUESTED, JOB_WAIT_UNTIL };
enum { CHANGE_TIME = 1, CHANGE_STATUS, CHANGE_STAGE, CHANGE_REASON, CHANGE_ATTEMPT, CHANGE_WORKER };

#define HISTORY_BYTES 13

static void add_text(struct ty_buf *out, uint32_t number, const char *text)
{
    ty_buf_add_tag_bytes(out, number, text, strlen(text));
}

static void add_number(struct ty_buf *out, uint32_t number, uint64_t value)
{
    if (value)
        ty_buf_add_tag_varint(out, number, value);
}

void ty_job_view_add(const struct ty_record *record, uint32_t number, struct ty_buf *out)
{
    TY_BUF(job);
    TY_BUF(metadata);
    size_t worker_len;
    const char *worker = ty_record_worker(record, &worker_len);
    uint64_t due_us = ty_record_due_us(record), wait_end_us = ty_record_wait_end_us(record);
    ty_record_metadata(record, &metadata);
    ty_buf_add_tag_bytes(&job, JOB_METADATA, metadata.data, metadata.len);
    ty_buf_add_tag_bytes(&job, JOB_OPTIONS, record->options, record->options_len);
    add_number(&job, JOB_ATTEMPT, record->attempt);
    add_text(&job, JOB_STAGE, ty_stage_name(record->stage));
    add_text(&job, JOB_REASON, ty_reason_name(record->reason));
    if (worker_len)
        ty_buf_add_tag_bytes(&job, JOB_WORKER, worker, worker_len);
    add_number(&job, JOB_LOSSES, record->worker_losses);
    add_number(&job, JOB_ERRORS, record->errors);
    ty_buf_add_tag_bytes(&job, JOB_CONTAINER, record->pool, record->pool_len);
    if (due_us)
        ty_buf_add_tag_time(&job, JOB_NOT_BEFORE, due_us);
    add_number(&job, JOB_CANCEL_REQUESTED, (record->flags & TY_FLAG_CANCEL) != 0);
    add_number(&job, JOB_DELETE_REQUESTED, (record->flags & TY_FLAG_DELETE) != 0);
    if (wait_end_us)
        ty_buf_add_tag_time(&job, JOB_WAIT_UNTIL, wait_end_us);
    ty_buf_add_tag_bytes(out, number, job.data, job.len);
}

// The store keeps an attempt's number modulo 65536, and no job has so many.
static void add_change(const uint8_t *bytes, struct ty_buf *change)
{
    ty_buf_clear(change);
    ty_buf_add_tag_time(change, CHANGE_TIME, ty_get_le(bytes + 5, 8));
    ty_buf_add_tag_varint(change, CHANGE_STATUS, bytes[0]);
    add_text(change, CHANGE_STAGE, ty_stage_name(bytes[1]));
    add_text(change, CHANGE_REASON, ty_reason_name(bytes[2]));
    add_number(change, CHANGE_ATTEMPT, ty_get_le(bytes + 3, 2));
}

void ty_job_view_add_history(const struct ty_record *record, uint32_t number, struct ty_buf *out)
{
    TY_BUF(change);
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *bytes;
    bool is_open = false;
    // The worker's name stands behind the change with which it took the attempt.
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len)) {
        if (type == TY_TAIL_WORKER && is_open)
            ty_buf_add_tag_bytes(&change, CHANGE_WORKER, bytes, len);
        if (type != TY_TAIL_HISTORY || len < HISTORY_BYTES)
            continue;
        if (is_open)
            ty_buf_add_tag_bytes(out, number, change.data, change.len);
        add_change(bytes, &change);
        is_open = true;
    }
    if (is_open)
        ty_buf_add_tag_bytes(out, number, change.data, change.len);
}
