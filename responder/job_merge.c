#include "responder/job_merge.h"

#include <stdlib.h>
#include <string.h>

// One call of the store: how many jobs, and the bytes of records at which it ends. Either takes it about a millisecond.
#define PAGE_JOBS 256
#define PAGE_BYTES ((size_t)1024 * 1024)

// A job that waits for its turn.
struct entry {
    struct ty_list_cursor place;
    size_t at, len; // in its shard's bytes
};

struct shard {
    struct ty_job_merge *merge;
    struct entry entries[PAGE_JOBS];
    size_t count, next;
    struct ty_buf bytes;
    bool more, is_asked;
    struct ty_list_cursor cursor; // behind which it goes on
    bool has_cursor;
};

struct ty_job_merge {
    struct ty_job_merge_options options;
    unsigned pages_missing; // asked for and not there
    struct shard *best;     // that ty_job_merge_next has shown
    unsigned shard_count;
    struct shard shards[];
};

static void on_page(void *context, const struct ty_err *err, const struct ty_list_page *page);

static void ask(struct shard *shard)
{
    struct ty_job_merge *merge = shard->merge;
    struct ty_rpc *rpc = merge->options.rpc;
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_list_query query = merge->options.query;
    query.after = shard->has_cursor ? &shard->cursor : NULL;
    query.limit = PAGE_JOBS;
    query.max_bytes = PAGE_BYTES;
    ty_rpc_hold(rpc);
    merge->pages_missing++;
    ty_state_list(service->state, (unsigned)(shard - merge->shards), &query, on_page, shard);
}

struct ty_job_merge *ty_job_merge_new(const struct ty_job_merge_options *options)
{
    struct ty_service *service = ty_rpc_context(options->rpc);
    unsigned shards = ty_state_shards(service->state);
    struct ty_job_merge *merge = ty_xcalloc(1, sizeof *merge + shards * sizeof merge->shards[0]);
    merge->options = *options;
    merge->shard_count = shards;
    for (unsigned i = 0; i < shards; i++) {
        struct shard *shard = &merge->shards[i];
        shard->merge = merge;
        shard->more = true;
        shard->has_cursor = options->query.after != NULL;
        if (shard->has_cursor)
            shard->cursor = *options->query.after;
    }
    merge->options.query.after = NULL;
    return merge;
}

void ty_job_merge_free(struct ty_job_merge *merge)
{
    if (!merge)
        return;
    for (unsigned i = 0; i < merge->shard_count; i++)
        ty_buf_done(&merge->shards[i].bytes);
    free(merge);
}

// Newer, or older, first; of the same time by id, as the store has it.
static bool goes_before(const struct ty_job_merge *merge, const struct entry *a, const struct entry *b)
{
    bool oldest_first = merge->options.query.oldest_first;
    if (a->place.time_us != b->place.time_us)
        return (a->place.time_us < b->place.time_us) == oldest_first;
    return (memcmp(a->place.id.bytes, b->place.id.bytes, sizeof a->place.id.bytes) < 0) == oldest_first;
}

enum ty_merge_step ty_job_merge_next(struct ty_job_merge *merge, struct ty_merged *ret_job)
{
    struct shard *best = NULL;
    for (unsigned i = 0; i < merge->shard_count && !merge->pages_missing; i++) {
        struct shard *shard = &merge->shards[i];
        if (shard->next < shard->count &&
            (!best || goes_before(merge, &shard->entries[shard->next], &best->entries[best->next])))
            best = shard;
    }
    for (unsigned i = 0; i < merge->shard_count; i++) {
        struct shard *shard = &merge->shards[i];
        if (shard->next == shard->count && shard->more && !shard->is_asked) {
            shard->is_asked = true;
            ask(shard);
        }
    }
    if (merge->pages_missing)
        return TY_MERGE_WAIT;
    if (!best)
        return TY_MERGE_END;
    const struct entry *entry = &best->entries[best->next];
    merge->best = best;
    *ret_job = (struct ty_merged){.place = entry->place, .bytes = best->bytes.data + entry->at, .len = entry->len};
    return TY_MERGE_JOB;
}

void ty_job_merge_take(struct ty_job_merge *merge)
{
    merge->best->next++;
}

static void keep_page(struct shard *shard, const struct ty_list_page *page)
{
    const struct ty_job_merge_options *options = &shard->merge->options;
    bool is_ended = options->query.order == TY_LIST_ENDED;
    ty_buf_clear(&shard->bytes);
    shard->count = shard->next = 0;
    for (size_t i = 0; i < page->count && i < PAGE_JOBS; i++) {
        const struct ty_claimed *job = &page->jobs[i];
        struct entry *entry = &shard->entries[shard->count++];
        *entry = (struct entry){.place = {is_ended ? job->record.ended_us : job->record.created_us, job->id},
                                .at = shard->bytes.len};
        options->encode(options->context, job, &shard->bytes);
        entry->len = shard->bytes.len - entry->at;
    }
    shard->more = page->more;
    if (page->more) {
        shard->cursor = page->last;
        shard->has_cursor = true;
    }
}

static void on_page(void *context, const struct ty_err *err, const struct ty_list_page *page)
{
    struct shard *shard = context;
    struct ty_job_merge *merge = shard->merge;
    struct ty_rpc *rpc = merge->options.rpc;
    merge->pages_missing--;
    shard->is_asked = false;
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!ty_rpc_is_answered(rpc) && !ty_rpc_is_cancelled(rpc)) {
        keep_page(shard, page);
        if (!merge->pages_missing)
            merge->options.on_ready(merge->options.context);
    } else if (!merge->pages_missing) {
        struct ty_err gone;
        ty_err_set(&gone, TY_EUNAVAILABLE, "the client has left");
        ty_rpc_fail(rpc, &gone);
    }
    ty_rpc_release(rpc);
}
