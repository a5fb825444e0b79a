#include "core/state_outbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

#define OUTBOX_ITEMS 7      // of the answer of outbox.lua
#define VERSION_AT 32       // in the record's header
#define MODIFIED_AT 48
#define HELD_LIMIT 1000

// ---- reading ----

static void take_job(struct ty_outbox_job *job, const struct ty_redis_reply *id, const struct ty_redis_reply *raw)
{
    struct ty_err err;
    memcpy(job->id.bytes, id->bytes, sizeof job->id.bytes);
    job->is_ok = ty_record_decode(raw->bytes, raw->len, &job->record, &err) == 0;
    if (raw->len < TY_RECORD_HEADER_BYTES)
        return;
    memcpy(job->change, raw->bytes + VERSION_AT, 8);
    memcpy(job->change + 8, raw->bytes + MODIFIED_AT, 8);
}

static bool is_id(const struct ty_redis_reply *item)
{
    return item->type == TY_REDIS_BYTES && item->len == sizeof(struct ty_id);
}

// The lists of an answer that is ours; false when it is none. They are the caller's to free.
static bool take_lists(const struct ty_redis_reply *reply, struct ty_outbox *outbox, int64_t **ret_marks, struct ty_id **ret_nulls,
                       struct ty_outbox_job **ret_jobs)
{
    const struct ty_redis_reply *marks = &reply->items[3], *nulls = &reply->items[4], *jobs = &reply->items[5];
    *ret_marks = ty_xcalloc(marks->count + 1, sizeof **ret_marks);
    *ret_nulls = ty_xcalloc(nulls->count + 1, sizeof **ret_nulls);
    *ret_jobs = ty_xcalloc(jobs->count / 2 + 1, sizeof **ret_jobs);
    for (size_t i = 0; i < marks->count; i++)
        (*ret_marks)[i] = marks->items[i].integer;
    for (size_t i = 0; i < nulls->count; i++) {
        if (!is_id(&nulls->items[i]))
            return false;
        memcpy((*ret_nulls)[i].bytes, nulls->items[i].bytes, sizeof(struct ty_id));
    }
    for (size_t i = 0; i + 1 < jobs->count; i += 2) {
        if (!is_id(&jobs->items[i]) || jobs->items[i + 1].type != TY_REDIS_BYTES)
            return false;
        take_job(&(*ret_jobs)[i / 2], &jobs->items[i], &jobs->items[i + 1]);
    }
    outbox->mark_count = (unsigned)marks->count;
    outbox->null_count = nulls->count;
    outbox->job_count = jobs->count / 2;
    return true;
}

static void deliver(struct ty_call *call, const struct ty_redis_reply *reply)
{
    struct ty_outbox outbox = {0};
    struct ty_err err;
    int64_t *marks = NULL;
    struct ty_id *nulls = NULL;
    struct ty_outbox_job *jobs = NULL;
    outbox.is_ours = reply->items[0].integer == 1;
    bool is_good = !outbox.is_ours || (reply->count >= OUTBOX_ITEMS && reply->items[1].type == TY_REDIS_BYTES &&
                                       take_lists(reply, &outbox, &marks, &nulls, &jobs));
    if (is_good && outbox.is_ours) {
        outbox.stamp_us = strtoull(reply->items[1].bytes, NULL, 10);
        outbox.epoch = (uint64_t)reply->items[2].integer;
        outbox.marks = marks;
        outbox.nulls = nulls;
        outbox.jobs = jobs;
        outbox.replay = (enum ty_replay_why)reply->items[6].integer;
    }
    if (!is_good)
        ty_err_set(&err, TY_EDATALOSS, "outbox: an answer that is none");
    call->fn.outbox(call->context, is_good ? NULL : &err, is_good ? &outbox : NULL);
    free(marks);
    free(nulls);
    free(jobs);
}

static void on_outbox(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 1, &err) < 0)
        call->fn.outbox(call->context, &err, NULL);
    else
        deliver(call, reply);
    free(call);
}

void ty_state_outbox(struct ty_state *state, unsigned shard, const char *name, uint32_t lease_ms, unsigned limit,
                     const char *topic, unsigned partitions, ty_outbox_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.outbox = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_text(&args, name);
    ty_args_add_u64(&args, lease_ms);
    ty_args_add_u64(&args, limit < TY_OUTBOX_JOBS_MAX ? limit : TY_OUTBOX_JOBS_MAX);
    ty_args_add_u64(&args, TY_OUTBOX_BYTES_MAX);
    ty_args_add_text(&args, topic);
    ty_args_add_u64(&args, partitions);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_OUTBOX, key, &args, on_outbox, call);
}

// ---- what Kafka knows ----

static void on_published(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (!reply)
        err = *cause;
    else if (reply->type != TY_REDIS_INT)
        ty_err_set(&err, TY_EINTERNAL, "published: %s", reply->type == TY_REDIS_ERROR ? reply->bytes : "an answer that is none");
    bool is_good = reply && reply->type == TY_REDIS_INT;
    call->fn.published(call->context, is_good ? NULL : &err, is_good ? (enum ty_published_result)reply->integer : 0);
    free(call);
}

static void add_offset(struct ty_args *args, int64_t offset)
{
    if (offset < 0)
        ty_args_add_text(args, "-1");
    else
        ty_args_add_u64(args, (uint64_t)offset);
}

static void add_marks(struct ty_args *args, const struct ty_event_mark *marks, size_t count)
{
    ty_args_add_u64(args, count);
    for (size_t i = 0; i < count; i++) {
        ty_args_add_u64(args, marks[i].partition);
        add_offset(args, marks[i].expected);
        add_offset(args, marks[i].next);
    }
}

void ty_state_published(struct ty_state *state, unsigned shard, const struct ty_published *published, ty_outbox_told_fn fn,
                        void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.published = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_text(&args, published->name);
    ty_args_add_u64(&args, published->stamp_us);
    ty_args_add_text(&args, published->topic);
    add_marks(&args, published->marks, published->mark_count);
    ty_args_add_u64(&args, published->job_count);
    for (size_t i = 0; i < published->job_count; i++) {
        ty_args_add(&args, published->jobs[i].id.bytes, sizeof published->jobs[i].id.bytes);
        ty_args_add(&args, published->jobs[i].change, sizeof published->jobs[i].change);
    }
    for (size_t i = 0; i < published->null_count; i++)
        ty_args_add(&args, published->nulls[i].bytes, sizeof published->nulls[i].bytes);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_PUBLISHED, key, &args, on_published, call);
}

static void on_written(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    (void)context;
    (void)reply;
    (void)cause;
}

void ty_state_count_fenced(struct ty_state *state, unsigned shard)
{
    char key[24];
    ty_state_meta_key(state, shard, key);
    const char *argv[] = {"HINCRBY", key, "publisher_fenced", "1"};
    size_t lens[] = {7, strlen(key), 16, 1};
    ty_redis_command(state->redis, 4, argv, lens, on_written, NULL);
}

static void send_rebuild(struct ty_state *state, unsigned shard, const char *word, ty_redis_fn fn, void *context)
{
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_text(&args, word);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_REBUILD, key, &args, fn, context);
}

void ty_state_need_replay(struct ty_state *state, unsigned shard)
{
    send_rebuild(state, shard, "need", on_written, NULL);
}

// ---- the store made again ----

static void on_restored(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 1, &err) < 0) {
        call->fn.restored(call->context, &err, false, 0);
    } else {
        bool is_ours = reply->items[0].integer == 1 && reply->count >= 2;
        if (is_ours)
            ty_state_end_logs(call->state, reply, 2);
        call->fn.restored(call->context, NULL, is_ours, is_ours ? (unsigned)reply->items[1].integer : 0);
    }
    free(call);
}

void ty_state_restore(struct ty_state *state, unsigned shard, const char *name, const char *topic, uint64_t epoch,
                      const struct ty_event_mark *marks, size_t mark_count, const struct ty_restore *jobs, size_t count,
                      ty_restored_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.restored = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_text(&args, name);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    ty_args_add_text(&args, topic);
    ty_args_add_u64(&args, epoch);
    add_marks(&args, marks, mark_count);
    for (size_t i = 0; i < count; i++) {
        ty_args_add(&args, jobs[i].id.bytes, sizeof jobs[i].id.bytes);
        ty_args_add_text(&args, jobs[i].is_null ? "N" : jobs[i].is_deleted ? "D" : "J");
        ty_args_add_u64(&args, jobs[i].version);
        ty_args_add(&args, jobs[i].record, jobs[i].record_len);
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_RESTORE, key, &args, on_restored, call);
}

static void on_asked(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    struct ty_commands_missing missing = {0};
    int rc = ty_state_check_array(reply, cause, 1, &err);
    if (rc == 0 && (reply->items[0].type != TY_REDIS_INT || reply->items[0].integer < TY_REPLAYED_NOT_OURS ||
                    reply->items[0].integer > TY_REPLAYED_WITHOUT_COMMANDS))
        rc = ty_err_set(&err, TY_EINTERNAL, "replayed: an answer that is none");
    if (rc < 0) {
        call->fn.asked(call->context, &err, TY_REPLAYED_NOT_OURS, NULL);
        free(call);
        return;
    }
    enum ty_replayed result = (enum ty_replayed)reply->items[0].integer;
    if (result == TY_REPLAYED_COMMANDS_MISSING && reply->count >= 5 && reply->items[1].type == TY_REDIS_BYTES) {
        snprintf(missing.partition, sizeof missing.partition, "%s", reply->items[1].bytes);
        missing.mark = reply->items[2].integer;
        missing.end = reply->items[3].integer;
        missing.passed = reply->items[4].integer;
    }
    call->fn.asked(call->context, NULL, result, result == TY_REPLAYED_COMMANDS_MISSING ? &missing : NULL);
    free(call);
}

void ty_state_replayed(struct ty_state *state, unsigned shard, const char *name, uint32_t lease_ms, const char *topic,
                       const struct ty_event_mark *marks, size_t mark_count, const struct ty_topic_end *ends, size_t count,
                       ty_asked_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.asked = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_text(&args, name);
    ty_args_add_u64(&args, lease_ms);
    ty_args_add_text(&args, topic);
    add_marks(&args, marks, mark_count);
    if (count == TY_ENDS_UNKNOWN)
        ty_args_add_text(&args, "?");
    for (size_t i = 0; count != TY_ENDS_UNKNOWN && i < count; i++) {
        ty_args_add_text(&args, ends[i].partition);
        ty_args_add_u64(&args, (uint64_t)ends[i].next);
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_REPLAYED, key, &args, on_asked, call);
}

static void on_held(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    bool is_good = ty_state_check_array(reply, cause, 1, &err) == 0;
    if (is_good)
        ty_state_end_logs(call->state, reply, 1);
    call->fn.held(call->context, is_good ? NULL : &err, is_good ? (unsigned)reply->items[0].integer : 0);
    free(call);
}

void ty_state_end_held(struct ty_state *state, unsigned shard, const char *name, ty_held_fn fn, void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.held = fn;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_text(&args, name);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    ty_args_add_u64(&args, HELD_LIMIT);
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_HELD, key, &args, on_held, call);
}

static void on_rebuild(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct ty_call *call = context;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 3, &err) < 0) {
        call->fn.rebuild(call->context, &err, NULL);
    } else {
        struct ty_rebuild rebuild = {.replay = (enum ty_replay_why)reply->items[0].integer,
                                     .has_publisher = reply->items[1].integer == 1,
                                     .passed = (uint64_t)reply->items[2].integer};
        call->fn.rebuild(call->context, NULL, &rebuild);
    }
    free(call);
}

void ty_state_rebuild(struct ty_state *state, unsigned shard, enum ty_rebuild_ask ask, ty_rebuild_fn fn, void *context)
{
    static const char *const words[] = {[TY_REBUILD_LOOK] = "look", [TY_REBUILD_ASK] = "ask", [TY_REBUILD_WAIVE] = "waive"};
    struct ty_call *call = ty_call_new(state, context);
    call->fn.rebuild = fn;
    send_rebuild(state, shard, words[ask], on_rebuild, call);
}

// ---- what stands ----

void ty_state_settled(struct ty_state *state, unsigned shard, const struct ty_settling *attempts, size_t count, ty_results_fn fn,
                      void *context)
{
    struct ty_call *call = ty_call_new(state, context);
    call->fn.results = fn;
    call->count = count;
    struct ty_args args;
    char key[24];
    ty_state_args(state, shard, &args);
    for (size_t i = 0; i < count; i++) {
        ty_args_add(&args, attempts[i].id.bytes, sizeof attempts[i].id.bytes);
        ty_args_add(&args, attempts[i].token.bytes, sizeof attempts[i].token.bytes);
        ty_args_add_u64(&args, attempts[i].attempt);
        ty_args_add_u64(&args, attempts[i].fence);
        ty_args_add_text(&args, attempts[i].is_given_back ? "B" : "E");
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, TY_SCRIPT_SETTLED, key, &args, ty_state_on_results, call);
}
