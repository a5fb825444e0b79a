#include "tests/integration/responder_store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/catalog.h"
#include "core/log_entry.h"
#include "core/clock.h"

#define PATIENCE_MS 60000
#define PADDING_MAX (64 * 1024)
#define APPEND_ENTRIES 200

struct store {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_catalog *catalog;
    bool up, done;
    char error[1024];
    struct store_attempt *attempt; // of a claim on its way
};

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct store *store = context;
    (void)err;
    store->up = up;
}

static void wait_for(struct store *store, const bool *flag, const char *what)
{
    uint64_t deadline = ty_clock_mono_ms() + PATIENCE_MS;
    struct ty_err err;
    while (!*flag) {
        if (ty_loop_run_once(store->loop, 100, &err) < 0)
            fail_msg("%s", err.message);
        if (ty_clock_mono_ms() > deadline)
            fail_msg("%s: no answer", what);
    }
    if (*store->error)
        fail_msg("%s: %s", what, store->error);
}

static void finish_call(struct store *store, const struct ty_err *err)
{
    store->done = true;
    if (err)
        snprintf(store->error, sizeof store->error, "%s", err->message);
}

struct store *store_new(const char *redis_url, unsigned shards)
{
    struct store *store = ty_xcalloc(1, sizeof *store);
    struct ty_state_options options = {.redis_url = redis_url, .shards = shards, .command_ms = 10000,
                                       .tombstone_ms = 3600000, .log_retention_ms = 3600000, .default_max_attempts = 3};
    struct ty_err err;
    if (ty_catalog_load(NULL, &store->catalog, &err) < 0)
        fail_msg("%s", err.message);
    store->loop = ty_loop_new(&err);
    assert_non_null(store->loop);
    if (ty_state_new(store->loop, &options, on_up, store, &store->state, &err) < 0)
        fail_msg("%s", err.message);
    wait_for(store, &store->up, "the store");
    return store;
}

void store_free(struct store *store)
{
    if (!store)
        return;
    ty_state_free(store->state);
    ty_loop_free(store->loop);
    ty_catalog_free(store->catalog);
    free(store);
}

// ---- jobs ----

static void build_record(struct store *store, const struct store_job *job, const struct ty_id *id, struct ty_buf *out)
{
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry entries[4], *pointers[4];
    static char padding[PADDING_MAX + 1], names[4][8];
    struct ty_spec spec;
    struct ty_err err;
    memset(padding, 'p', PADDING_MAX);
    request.organization_id = (char *)job->organization_id;
    request.dataset_id = (char *)(job->dataset_id ? job->dataset_id : "digits");
    request.model_name = (char *)job->model_name;
    request.model_version = (char *)"1";
    request.registry_item_id = (char *)"acme:digits";
    request.arguments = pointers;
    for (size_t left = job->padding; left && request.n_arguments < 4; request.n_arguments++) {
        size_t i = request.n_arguments, len = left < PADDING_MAX ? left : PADDING_MAX - 64;
        viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__init(&entries[i]);
        snprintf(names[i], sizeof names[i], "pad%zu", i);
        entries[i].key = names[i];
        entries[i].value = padding + PADDING_MAX - len;
        pointers[i] = &entries[i];
        left -= len;
    }
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Trainyard__V1__JobOptions__LabelsEntry labels[2], *label_pointers[2];
    const char *const names_of_labels[] = {"team", "run"}, *const values[] = {job->label, job->other};
    options.labels = label_pointers;
    for (size_t i = 0; i < 2; i++) {
        if (!values[i])
            continue;
        trainyard__v1__job_options__labels_entry__init(&labels[i]);
        labels[i].key = (char *)names_of_labels[i];
        labels[i].value = (char *)values[i];
        label_pointers[options.n_labels++] = &labels[i];
    }
    if (ty_spec_build(store->catalog, id, job->created_us, NULL, &request, &options, &spec, &err) < 0)
        fail_msg("%s", err.message);
    ty_record_encode_new(&spec, job->created_us, true, TY_REASON_NONE, NULL, out);
    ty_spec_done(&spec);
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    (void)stored;
    finish_call(context, err);
    for (size_t i = 0; !err && i < count; i++)
        assert_int_equal(results[i], TY_APPLIED);
    assert_false(gap);
}

static void submit_batch(struct store *store, const struct store_job *jobs, size_t count, struct ty_id *ret_ids)
{
    struct ty_apply *commands = ty_xcalloc(count, sizeof *commands);
    struct ty_buf *records = ty_xcalloc(count, sizeof *records);
    for (size_t i = 0; i < count; i++) {
        ret_ids[i] = ty_id_new();
        build_record(store, &jobs[i], &ret_ids[i], &records[i]);
        commands[i] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = ret_ids[i], .record = records[i].data,
                                        .record_len = records[i].len, .organization_id = jobs[i].organization_id};
    }
    store->done = false;
    ty_state_apply(store->state, commands, count, NULL, on_applied, store);
    wait_for(store, &store->done, "apply");
    for (size_t i = 0; i < count; i++)
        ty_buf_done(&records[i]);
    free(records);
    free(commands);
}

void store_submit(struct store *store, const struct store_job *jobs, size_t count, struct ty_id *ret_ids)
{
    for (size_t at = 0; at < count; at += 50)
        submit_batch(store, jobs + at, count - at < 50 ? count - at : 50, ret_ids + at);
}

static void on_claimed(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct store *store = context;
    finish_call(store, err);
    if (err)
        return;
    assert_int_equal(count, 1);
    store->attempt->id = jobs[0].id;
    store->attempt->attempt = jobs[0].record.attempt;
    store->attempt->fence = jobs[0].record.fence;
}

static void on_log(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    struct store *store = context;
    finish_call(store, err);
    store->attempt->next = place->next;
}

void store_claim(struct store *store, const struct ty_id *id, struct store_attempt *ret_attempt)
{
    const char *pools[8];
    size_t pool_count = 0;
    for (size_t i = 0; i < ty_catalog_container_count(store->catalog) && i < 8; i++)
        pools[pool_count++] = ty_catalog_container_at(store->catalog, i)->key;
    *ret_attempt = (struct store_attempt){.token = ty_token_new()};
    store->attempt = ret_attempt;
    store->done = false;
    ty_state_claim(store->state, ty_state_shard_of(store->state, id), &ret_attempt->token, "test", 1, 60000, pools,
                   pool_count, on_claimed, store);
    wait_for(store, &store->done, "claim");
    assert_true(ty_id_equal(&ret_attempt->id, id));
    store->done = false;
    ty_state_log_open(store->state, id, ret_attempt->attempt, ret_attempt->fence, &ret_attempt->token, 0, on_log, store);
    wait_for(store, &store->done, "open the log");
}

static void append(struct store *store, struct store_attempt *attempt, const char *label, size_t count, size_t bytes)
{
    struct ty_buf packed[APPEND_ENTRIES] = {0};
    struct ty_bytes entries[APPEND_ENTRIES];
    uint64_t first = attempt->next;
    char *text = ty_xcalloc(bytes + 64, 1);
    for (size_t i = 0; i < count; i++) {
        Viam__App__Mltraining__V1__TrainingJobLogEntry entry = VIAM__APP__MLTRAINING__V1__TRAINING_JOB_LOG_ENTRY__INIT;
        Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
        int len = snprintf(text, 64, "%s %llu ", label, (unsigned long long)(first + i));
        if ((size_t)len < bytes)
            memset(text + len, '.', bytes - (size_t)len);
        time.seconds = 1700000000;
        time.nanos = (int32_t)(first + i);
        entry.level = (char *)"INFO";
        entry.time = &time;
        entry.message = text;
        // Those of odd numbers are of a program that did not mark entries.
        size_t mark = (first + i) % 2 ? 0 : 1, size = mark + protobuf_c_message_get_packed_size(&entry.base);
        uint8_t *at = ty_buf_reserve(&packed[i], size);
        *at = 0x80 | (TY_LOG_STREAM_STDOUT - 1);
        protobuf_c_message_pack(&entry.base, at + mark);
        entries[i] = (struct ty_bytes){packed[i].data, size};
    }
    store->attempt = attempt;
    store->done = false;
    struct ty_log_append what = {.id = attempt->id, .token = attempt->token, .attempt = attempt->attempt, .first = first,
                                 .entries = entries, .count = count};
    ty_state_log_append(store->state, &what, on_log, store);
    wait_for(store, &store->done, "append");
    assert_true(attempt->next == first + count);
    for (size_t i = 0; i < count; i++)
        ty_buf_done(&packed[i]);
    free(text);
}

void store_log_one(struct store *store, struct store_attempt *attempt, const char *level, uint64_t time_us, const char *message)
{
    TY_BUF(entry);
    ty_log_entry_add(&entry, TY_LOG_STREAM_STDERR, false, time_us, level, message, strlen(message));
    struct ty_bytes bytes = {entry.data, entry.len};
    struct ty_log_append call = {.id = attempt->id, .token = attempt->token, .attempt = attempt->attempt, .first = attempt->next,
                                 .entries = &bytes, .count = 1};
    store->attempt = attempt;
    store->done = false;
    ty_state_log_append(store->state, &call, on_log, store);
    wait_for(store, &store->done, "append");
}

void store_log(struct store *store, struct store_attempt *attempt, const char *label, size_t count, size_t bytes)
{
    for (; count > APPEND_ENTRIES; count -= APPEND_ENTRIES)
        append(store, attempt, label, APPEND_ENTRIES, bytes);
    append(store, attempt, label, count, bytes);
}

void store_log_end(struct store *store, struct store_attempt *attempt)
{
    store->attempt = attempt;
    store->done = false;
    struct ty_log_append what = {.id = attempt->id, .token = attempt->token, .attempt = attempt->attempt,
                                 .first = attempt->next, .end = true};
    ty_state_log_append(store->state, &what, on_log, store);
    wait_for(store, &store->done, "end the log");
}

static void on_finished(void *context, const struct ty_err *err, const int *results, size_t count)
{
    finish_call(context, err);
    if (!err) {
        assert_int_equal(count, 1);
        assert_int_equal(results[0], TY_FINISHED);
    }
}

void store_finish(struct store *store, const struct store_attempt *attempt, enum ty_finish_action action)
{
    TY_BUF(patch);
    struct ty_finish finish = {.id = attempt->id, .token = attempt->token, .attempt = attempt->attempt, .action = action};
    if (action == TY_FINISH_FAILED || action == TY_FINISH_RETRY) {
        finish.reason = TY_REASON_SCRIPT_EXIT;
        ty_patch_error(&patch, 2, "the script ended with status 1");
        finish.patch = patch.data;
        finish.patch_len = patch.len;
    }
    store->done = false;
    ty_state_finish(store->state, ty_state_shard_of(store->state, &attempt->id), &finish, 1, on_finished, store);
    wait_for(store, &store->done, "finish");
}
