// ListTrainingJobs: all jobs of an organization in one answer, newest first, merged over the shards page by page.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "responder/access.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define FIELD_JOBS 1
#define PAGE_JOBS 256

// A job that waits for its place in the answer.
struct entry {
    uint64_t created_us;
    struct ty_id id;
    size_t at, len; // in its shard's bytes
};

struct shard {
    struct list *list;
    struct entry entries[PAGE_JOBS];
    size_t count, next;
    struct ty_buf bytes;
    bool more;
    struct ty_list_cursor cursor;
};

struct list {
    struct ty_rpc *rpc;
    char *organization_id;
    int status;
    unsigned pages_missing; // asked for and not there
    bool started, truncated;
    size_t returned;
    struct ty_buf answer;
    unsigned shard_count;
    struct shard shards[];
};

static struct list **slot(struct ty_rpc *rpc)
{
    return ty_rpc_scratch(rpc);
}

static void on_page(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count, bool more);

static void ask(struct shard *shard)
{
    struct list *list = shard->list;
    struct ty_service *service = ty_rpc_context(list->rpc);
    ty_rpc_hold(list->rpc);
    list->pages_missing++;
    ty_state_list(service->state, (unsigned)(shard - list->shards), list->organization_id, list->status,
                  list->started ? &shard->cursor : NULL, PAGE_JOBS, on_page, shard);
}

// Newer first; of the same time the greater id first, as the store has it.
static bool goes_before(const struct entry *a, const struct entry *b)
{
    if (a->created_us != b->created_us)
        return a->created_us > b->created_us;
    return memcmp(a->id.bytes, b->id.bytes, sizeof a->id.bytes) > 0;
}

// The shard with the next job, NULL when there is none. *ret_dry is one that must be asked before that can be said.
static struct shard *find_next(struct list *list, struct shard **ret_dry)
{
    struct shard *best = NULL;
    *ret_dry = NULL;
    for (unsigned i = 0; i < list->shard_count; i++) {
        struct shard *shard = &list->shards[i];
        if (shard->next == shard->count) {
            if (shard->more)
                *ret_dry = shard;
            continue;
        }
        if (!best || goes_before(&shard->entries[shard->next], &best->entries[best->next]))
            best = shard;
    }
    return best;
}

static void reply(struct list *list)
{
    if (list->truncated) {
        char number[24];
        snprintf(number, sizeof number, "%zu", list->returned);
        ty_rpc_add_trailing(list->rpc, "trainyard-list-truncated", "true");
        ty_rpc_add_trailing(list->rpc, "trainyard-list-total-returned", number);
    }
    ty_rpc_reply_take(list->rpc, &list->answer);
}

// Moves jobs into the answer until a shard runs dry, the answer is full, or nothing is left.
static void merge(struct list *list)
{
    struct shard *dry, *best;
    while ((best = find_next(list, &dry)) && !dry) {
        const struct entry *entry = &best->entries[best->next];
        if (list->answer.len + entry->len > TY_LIMIT_LIST_BYTES) {
            list->truncated = true;
            break;
        }
        ty_buf_add(&list->answer, best->bytes.data + entry->at, entry->len);
        list->returned++;
        best->next++;
    }
    if (dry)
        ask(dry);
    else
        reply(list);
}

static void keep_page(struct shard *shard, const struct ty_claimed *jobs, size_t count)
{
    TY_BUF(metadata);
    ty_buf_clear(&shard->bytes);
    shard->count = shard->next = 0;
    for (size_t i = 0; i < count && i < PAGE_JOBS; i++) {
        struct entry *entry = &shard->entries[shard->count++];
        *entry = (struct entry){.created_us = jobs[i].record.created_us, .id = jobs[i].id, .at = shard->bytes.len};
        ty_buf_clear(&metadata);
        ty_record_metadata(&jobs[i].record, &metadata);
        ty_buf_add_tag_bytes(&shard->bytes, FIELD_JOBS, metadata.data, metadata.len);
        entry->len = shard->bytes.len - entry->at;
    }
}

static void on_page(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count, bool more)
{
    struct shard *shard = context;
    struct list *list = shard->list;
    struct ty_rpc *rpc = list->rpc;
    list->pages_missing--;
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!ty_rpc_is_answered(rpc) && !ty_rpc_is_cancelled(rpc)) {
        keep_page(shard, jobs, count);
        shard->more = more && count > 0;
        if (count)
            shard->cursor = (struct ty_list_cursor){jobs[count - 1].record.created_us, jobs[count - 1].id};
        if (!list->pages_missing) {
            list->started = true;
            merge(list);
        }
    } else if (!list->pages_missing) {
        struct ty_err gone;
        ty_err_set(&gone, TY_EUNAVAILABLE, "the client has left");
        ty_rpc_fail(rpc, &gone);
    }
    ty_rpc_release(rpc);
}

static int check(const Viam__App__Mltraining__V1__ListTrainingJobsRequest *request, struct ty_err *err)
{
    if (ty_name_check("organization_id", request->organization_id, TY_LIMIT_ID_BYTES, err) < 0)
        return -(int)err->code;
    if (!protobuf_c_enum_descriptor_get_value(&viam__app__mltraining__v1__training_status__descriptor,
                                              (int)request->status))
        return ty_err_set(err, TY_EINVALID, "status: %d is no value of it", (int)request->status);
    return 0;
}

void ty_list_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Viam__App__Mltraining__V1__ListTrainingJobsRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_err err;
    if (check(request, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!ty_access_needs_organization(rpc, request->organization_id) || !ty_service_needs_store(rpc))
        return;
    unsigned shards = ty_state_shards(service->state);
    struct list *list = ty_xcalloc(1, sizeof *list + shards * sizeof list->shards[0]);
    *slot(rpc) = list;
    list->rpc = rpc;
    list->organization_id = ty_xstrdup(request->organization_id);
    list->status = (int)request->status;
    list->shard_count = shards;
    for (unsigned i = 0; i < shards; i++)
        list->shards[i].list = list;
    for (unsigned i = 0; i < shards; i++)
        ask(&list->shards[i]);
}

void ty_list_on_done(struct ty_rpc *rpc)
{
    struct list *list = *slot(rpc);
    if (!list)
        return;
    for (unsigned i = 0; i < list->shard_count; i++)
        ty_buf_done(&list->shards[i].bytes);
    ty_buf_done(&list->answer);
    free(list->organization_id);
    free(list);
}
