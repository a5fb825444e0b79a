// Pages of an organization's jobs.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

enum { AT_MORE, AT_TIME, AT_ID, AT_JOBS };

static int take_page(const struct ty_redis_reply *reply, const struct ty_err *cause, struct ty_claimed **ret_jobs,
                     struct ty_list_page *page, struct ty_err *err)
{
    if (ty_state_check_array(reply, cause, AT_JOBS, err) < 0 ||
        ty_state_take_jobs(reply, AT_JOBS, ret_jobs, &page->count, err) < 0)
        return -(int)err->code;
    const struct ty_redis_reply *id = &reply->items[AT_ID];
    page->jobs = *ret_jobs;
    page->more = reply->items[AT_MORE].integer != 0;
    if (!id->len)
        return 0;
    if (id->len != sizeof page->last.id.bytes)
        return ty_err_set(err, TY_EDATALOSS, "Redis: an id of %zu bytes", id->len);
    if (reply->items[AT_TIME].type != TY_REDIS_BYTES)
        return ty_err_set(err, TY_EINTERNAL, "Redis: a page of jobs without a time");
    memcpy(page->last.id.bytes, id->bytes, id->len);
    page->last.time_us = strtoull(reply->items[AT_TIME].bytes, NULL, 10);
    return 0;
}

static void on_listed(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_claimed *jobs = NULL;
    struct ty_list_page page = {0};
    int rc = take_page(reply, cause, &jobs, &page, &err);
    call->fn.list(call->context, rc < 0 ? &err : NULL, rc < 0 ? NULL : &page);
    free(jobs);
    free(call);
}

static void add_time(struct ty_args *args, uint64_t time_us, const char *none)
{
    if (time_us)
        ty_args_add_u64(args, time_us);
    else
        ty_args_add_text(args, none);
}

static void add_index(struct ty_args *args, const char *kind, const char *organization_id)
{
    size_t size = strlen(kind) + strlen(organization_id) + 1;
    char *index = ty_args_keep(args, size);
    snprintf(index, size, "%s%s", kind, organization_id);
    ty_args_add_text(args, index);
}

// A job is in the index of its state only; all states together are all jobs.
static void add_indexes(struct ty_args *args, const struct ty_list_query *query)
{
    char kind[] = "s:0:";
    if (query->order == TY_LIST_ENDED) {
        add_index(args, "t:", query->organization_id);
        return;
    }
    for (unsigned state = TY_JOB_PENDING; state <= TY_JOB_CANCELING; state++) {
        kind[2] = (char)('0' + state);
        if (!query->states || query->states & 1u << state)
            add_index(args, kind, query->organization_id);
    }
}

void ty_state_list(struct ty_state *state, unsigned shard, const struct ty_list_query *query, ty_list_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.list = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, query->limit);
    ty_args_add_u64(&args, query->max_bytes);
    ty_args_add_text(&args, query->oldest_first ? "old" : "new");
    add_time(&args, query->least_us, "-inf");
    add_time(&args, query->most_us, "+inf");
    if (query->after) {
        ty_args_add_u64(&args, query->after->time_us);
        ty_args_add(&args, query->after->id.bytes, sizeof query->after->id.bytes);
    } else {
        ty_args_add_text(&args, "");
        ty_args_add_text(&args, "");
    }
    add_indexes(&args, query);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_LIST, key, &args, on_listed, call);
}
