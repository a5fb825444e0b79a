#include "worker/run/batch.h"

#include <string.h>

struct mark {
    size_t at, len; // in blobs
    uint64_t first, end;
};

static const struct mark *marks_of(const struct ty_batch *batch)
{
    return (const void *)batch->marks.data;
}

void ty_batch_done(struct ty_batch *batch)
{
    ty_buf_done(&batch->blobs);
    ty_buf_done(&batch->marks);
    ty_buf_done(&batch->bytes);
    ty_log_chunk_done(&batch->open);
}

void ty_batch_begin(struct ty_batch *batch, const struct ty_log_place *place)
{
    ty_buf_clear(&batch->blobs);
    ty_buf_clear(&batch->marks);
    ty_buf_clear(&batch->open.raw);
    batch->open.count = 0;
    batch->open.first = place->sealed;
    batch->count = batch->sent = 0;
    batch->next = place->next;
}

uint64_t ty_batch_end(const struct ty_batch *batch)
{
    return batch->open.first + batch->open.count;
}

static void seal(struct ty_batch *batch)
{
    struct mark mark = {.at = batch->blobs.len, .first = batch->open.first, .end = ty_batch_end(batch)};
    ty_log_chunk_seal(&batch->open, &batch->blobs);
    mark.len = batch->blobs.len - mark.at;
    ty_buf_add(&batch->marks, &mark, sizeof mark);
    batch->count++;
}

void ty_batch_add(struct ty_batch *batch, const void *entry, size_t len)
{
    ty_log_chunk_add(&batch->open, ty_batch_end(batch), entry, len);
    if (ty_log_chunk_is_full(&batch->open))
        seal(batch);
}

bool ty_batch_is_full(const struct ty_batch *batch)
{
    return batch->count - batch->sent >= TY_BATCH_CHUNKS;
}

void ty_batch_close(struct ty_batch *batch)
{
    if (batch->open.count)
        seal(batch);
}

bool ty_batch_is_empty(const struct ty_batch *batch)
{
    return !batch->count && ty_batch_end(batch) <= batch->next;
}

static void fill_chunks(struct ty_batch *batch, struct ty_log_append *append)
{
    const struct mark *marks = marks_of(batch);
    for (size_t i = 0; i < batch->count; i++) {
        struct ty_bytes chunk = {batch->blobs.data + marks[i].at, marks[i].len};
        ty_buf_add(&batch->bytes, &chunk, sizeof chunk);
    }
    append->chunks = (const void *)batch->bytes.data;
    append->chunk_count = batch->sent = batch->count;
    append->first = batch->open.first;
}

static void fill_entries(struct ty_batch *batch, struct ty_log_append *append)
{
    const struct ty_log_chunk *open = &batch->open;
    size_t at = 0, count = 0;
    struct ty_bytes entry;
    const uint8_t *data;
    for (uint64_t n = open->first; ty_log_chunk_next(open->raw.data, open->raw.len, &at, &data, &entry.len); n++) {
        entry.data = data;
        if (n < batch->next)
            continue;
        ty_buf_add(&batch->bytes, &entry, sizeof entry);
        count++;
    }
    append->first = count ? ty_batch_end(batch) - count : batch->next;
    append->entries = (const void *)batch->bytes.data;
    append->count = count;
}

void ty_batch_fill(struct ty_batch *batch, struct ty_log_append *append)
{
    ty_buf_clear(&batch->bytes);
    if (batch->count)
        fill_chunks(batch, append);
    else
        fill_entries(batch, append);
}

bool ty_batch_settle(struct ty_batch *batch, const struct ty_log_place *place)
{
    const struct mark *marks = marks_of(batch);
    size_t gone = 0, bytes = 0;
    for (; gone < batch->count && marks[gone].end <= place->sealed; gone++)
        bytes = marks[gone].at + marks[gone].len;
    uint64_t first = gone < batch->count ? marks[gone].first : batch->open.first;
    if (place->sealed != first)
        return false;
    ty_buf_shift(&batch->blobs, bytes);
    ty_buf_shift(&batch->marks, gone * sizeof *marks);
    struct mark *left = (void *)batch->marks.data;
    for (size_t i = 0; i < batch->count - gone; i++)
        left[i].at -= bytes;
    batch->count -= gone;
    batch->sent = 0;
    batch->next = place->next;
    return true;
}
