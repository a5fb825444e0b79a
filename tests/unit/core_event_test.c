// core/event: an event says everything of a job, and the store gets the same job back from it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/event.h"
#include "core/limits.h"
#include "core/wire.h"
#include "trainyard/v1/event.pb-c.h"

#define CREATED_US UINT64_C(1700000000123456)

static struct ty_catalog *catalog;
static const struct ty_id id = {{0, 0, 0, 0, 0, 0, 0x40, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}};

static void add_tail(struct ty_buf *out, uint8_t type, const void *bytes, size_t len)
{
    uint8_t head[3] = {type, (uint8_t)(len & 0xff), (uint8_t)(len >> 8)};
    ty_buf_add(out, head, sizeof head);
    ty_buf_add(out, bytes, len);
}

static void add_move(struct ty_buf *out, uint8_t state, uint16_t attempt, uint64_t time_us)
{
    uint8_t move[13] = {state, 1, 0, (uint8_t)attempt, (uint8_t)(attempt >> 8)};
    for (size_t i = 0; i < 8; i++)
        move[5 + i] = (uint8_t)(time_us >> (8 * i));
    add_tail(out, TY_TAIL_HISTORY, move, sizeof move);
}

static void new_record(struct ty_buf *out)
{
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry argument =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__ARGUMENTS_ENTRY__INIT;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry *arguments[] = {&argument};
    struct ty_spec spec;
    struct ty_err err;
    request.organization_id = (char *)(uintptr_t) "acme";
    request.dataset_id = (char *)(uintptr_t) "digits";
    request.model_name = (char *)(uintptr_t) "m";
    request.model_version = (char *)(uintptr_t) "1";
    request.registry_item_id = (char *)(uintptr_t) "acme:digits";
    argument.key = (char *)(uintptr_t) "epochs";
    argument.value = (char *)(uintptr_t) "3";
    request.arguments = arguments;
    request.n_arguments = 1;
    options.priority = 4;
    options.max_attempts = 7;
    options.max_runtime_s = 60;
    assert_int_equal(ty_spec_build(catalog, &id, CREATED_US, NULL, &request, &options, &spec, &err), 0);
    ty_record_encode_new(&spec, CREATED_US, true, TY_REASON_NONE, NULL, out);
    ty_spec_done(&spec);
}

// A job that has lived: in every field something.
static void full_record(struct ty_buf *out)
{
    TY_BUF(patch);
    new_record(out);
    ty_record_set_changes(out->data, &(struct ty_record){.state = TY_JOB_FAILED, .stage = TY_STAGE_TRAIN, .reason = TY_REASON_SIGNAL,
                                                         .flags = TY_FLAG_CANCEL | TY_FLAG_CUSTOM, .attempt = 3, .worker_losses = 1,
                                                         .errors = 2, .lease_ms = 30000, .version = 9,
                                                         .modified_us = CREATED_US + 50, .started_us = CREATED_US + 10,
                                                         .ended_us = CREATED_US + 50, .fence = CREATED_US + 7});
    memset(out->data + 80, 0x5a, 16); // the token
    add_move(out, TY_JOB_IN_PROGRESS, 1, CREATED_US + 5);
    add_tail(out, TY_TAIL_WORKER, "first", 5);
    ty_patch_script_version(&patch, "2024-01-01");
    add_tail(out, TY_TAIL_METADATA, patch.data, patch.len);
    add_move(out, TY_JOB_FAILED, 3, CREATED_US + 50);
    add_tail(out, TY_TAIL_WORKER, "last", 4);
    ty_buf_clear(&patch);
    ty_patch_error(&patch, 13, "a signal");
    ty_patch_model(&patch, "acme/m");
    add_tail(out, TY_TAIL_METADATA, patch.data, patch.len);
    add_tail(out, TY_TAIL_BACKOFF, "123456789012", 12);
    add_tail(out, 200, "of a later program", 18);
}

static void decode(const struct ty_buf *bytes, struct ty_record *ret_record)
{
    struct ty_err err;
    if (ty_record_decode(bytes->data, bytes->len, ret_record, &err) < 0)
        fail_msg("%s", err.message);
}

static void encode(const struct ty_buf *record_bytes, struct ty_buf *out)
{
    struct ty_record record;
    struct ty_err err;
    decode(record_bytes, &record);
    if (ty_event_encode(&record, 4, out, &err) < 0)
        fail_msg("%s", err.message);
}

static Trainyard__V1__JobEvent *unpack(const struct ty_buf *bytes)
{
    ProtobufCMessage *message;
    struct ty_err err;
    if (ty_wire_unpack(&trainyard__v1__job_event__descriptor, bytes->data, bytes->len, &message, &err) < 0)
        fail_msg("%s", err.message);
    return (Trainyard__V1__JobEvent *)message;
}

static void an_event_says_everything_of_a_job(void **state)
{
    TY_BUF(record);
    TY_BUF(bytes);
    (void)state;
    full_record(&record);
    encode(&record, &bytes);
    Trainyard__V1__JobEvent *event = unpack(&bytes);
    assert_int_equal(event->format_version, 1);
    assert_int_equal(event->epoch, 4);
    assert_int_equal(event->version, 9);
    assert_string_equal(event->metadata->id, "00000000-0000-4000-8000-000000000001");
    assert_int_equal(event->metadata->status, TY_JOB_FAILED);
    assert_string_equal(event->metadata->error_status->message, "a signal");
    assert_string_equal(event->metadata->registry_item_version, "2024-01-01");
    assert_int_equal(event->options->max_runtime_s, 60);
    assert_int_equal(event->attempt, 3);
    assert_int_equal(event->fence, CREATED_US + 7);
    assert_int_equal(event->token_hash.len, 32);
    assert_null(memmem(bytes.data, bytes.len, "ZZZZZZZZ", 8)); // the token itself is not in it
    assert_string_equal(event->worker, "last");
    assert_int_equal(event->stage, TY_STAGE_TRAIN);
    assert_int_equal(event->reason, TY_REASON_SIGNAL);
    assert_int_equal(event->n_history, 2);
    assert_string_equal(event->history[0]->worker, "first");
    assert_string_equal(event->history[1]->worker, "last");
    assert_int_equal(event->history[1]->status, TY_JOB_FAILED);
    assert_int_equal(event->history[1]->attempt, 3);
    assert_int_equal(event->history[1]->time->nanos, 123506000);
    assert_true(event->cancel_requested && !event->delete_requested && !event->deleted);
    assert_int_equal(event->losses, 1);
    assert_int_equal(event->errors, 2);
    assert_true(*event->pool);
    assert_int_equal(event->n_other, 2);
    protobuf_c_message_free_unpacked(&event->base, NULL);
}

static void compare_metadata(const struct ty_record *a, const struct ty_record *b)
{
    const struct ty_record *records[] = {a, b};
    TY_BUF(first);
    TY_BUF(second);
    struct ty_buf *packed[] = {&first, &second};
    for (size_t i = 0; i < 2; i++) {
        TY_BUF(bytes);
        ProtobufCMessage *message;
        struct ty_err err;
        ty_record_metadata(records[i], &bytes);
        assert_int_equal(ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, bytes.data, bytes.len,
                                        &message, &err), 0);
        packed[i]->len = protobuf_c_message_pack(message, ty_buf_reserve(packed[i], bytes.len + 64));
        protobuf_c_message_free_unpacked(message, NULL);
    }
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
}

// Moves and workers in their order: whose attempt began with which move.
static void check_moves(const struct ty_record *before, const struct ty_record *after)
{
    const struct ty_record *records[] = {before, after};
    TY_BUF(first);
    TY_BUF(second);
    struct ty_buf *moves[] = {&first, &second};
    for (int i = 0; i < 2; i++) {
        size_t offset = 0, len;
        uint8_t type;
        const uint8_t *bytes;
        while (ty_record_tail_next(records[i], &offset, &type, &bytes, &len))
            if (type == TY_TAIL_HISTORY || type == TY_TAIL_WORKER)
                ty_buf_add(moves[i], bytes, len);
    }
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data ? first.data : (uint8_t *)"", second.data ? second.data : (uint8_t *)"", first.len);
}

// Of a program that did not say who took which attempt, or of a job whose last claim is too long ago.
static void the_latest_worker_is_known_without_a_history(void **state)
{
    TY_BUF(record);
    TY_BUF(bytes);
    TY_BUF(older);
    struct ty_event event;
    struct ty_record decoded;
    struct ty_err err;
    size_t len;
    (void)state;
    full_record(&record);
    encode(&record, &bytes);
    Trainyard__V1__JobEvent *message = unpack(&bytes);
    for (size_t i = 0; i < message->n_history; i++)
        *message->history[i]->worker = 0;
    ty_buf_reserve(&older, protobuf_c_message_get_packed_size(&message->base));
    older.len = protobuf_c_message_pack(&message->base, older.data);
    protobuf_c_message_free_unpacked(&message->base, NULL);
    assert_int_equal(ty_event_decode(&id, older.data, older.len, &event, &err), 0);
    decode(&event.record, &decoded);
    assert_memory_equal(ty_record_worker(&decoded, &len), "last", 4);
    assert_int_equal(decoded.tail[0], TY_TAIL_WORKER); // before all moves: of none of them
    ty_event_done(&event);
}

static void the_store_gets_the_same_job_back(void **state)
{
    (void)state;
    for (int is_full = 0; is_full < 2; is_full++) {
        TY_BUF(before_bytes);
        TY_BUF(bytes);
        struct ty_event event;
        struct ty_record before, after;
        struct ty_err err;
        if (is_full)
            full_record(&before_bytes);
        else
            new_record(&before_bytes);
        encode(&before_bytes, &bytes);
        if (ty_event_decode(&id, bytes.data, bytes.len, &event, &err) < 0)
            fail_msg("%s", err.message);
        assert_int_equal(event.epoch, 4);
        assert_false(event.is_deleted);
        decode(&before_bytes, &before);
        decode(&event.record, &after);
        compare_metadata(&before, &after);
        check_moves(&before, &after);
        // All of the header but the token, which nobody may know.
        memset(before_bytes.data + 80, 0, 16);
        assert_memory_equal(before_bytes.data, event.record.data, 20); // up to metadata_len: repacked, it may differ
        assert_memory_equal(before_bytes.data + 28, event.record.data + 28, 112 - 28);
        assert_int_equal(before.ready, after.ready);
        assert_int_equal(before.pool_len, after.pool_len);
        assert_memory_equal(before.pool, after.pool, before.pool_len);
        assert_int_equal(before.options_len, after.options_len);
        assert_memory_equal(before.options, after.options, before.options_len);
        // Once more gives the same bytes: nothing is lost on the way.
        TY_BUF(again);
        TY_BUF(first);
        encode(&event.record, &again);
        struct ty_event second;
        assert_int_equal(ty_event_decode(&id, again.data, again.len, &second, &err), 0);
        assert_int_equal(second.record.len, event.record.len);
        assert_memory_equal(second.record.data, event.record.data, second.record.len);
        ty_event_done(&second);
        ty_event_done(&event);
    }
}

static void a_deletion_is_small(void **state)
{
    TY_BUF(record);
    TY_BUF(bytes);
    struct ty_event event;
    struct ty_err err;
    (void)state;
    full_record(&record);
    ty_record_set_changes(record.data, &(struct ty_record){.flags = TY_FLAG_DELETE, .version = 10});
    record.len = TY_RECORD_HEADER_BYTES;
    memset(record.data + 20, 0, 8);
    memset(record.data + 112, 0, 8);
    encode(&record, &bytes);
    assert_true(bytes.len < 16);
    assert_int_equal(ty_event_decode(&id, bytes.data, bytes.len, &event, &err), 0);
    assert_true(event.is_deleted);
    assert_int_equal(event.version, 10);
    ty_event_done(&event);
    // What was only asked of a job that has not come yet is no event.
    struct ty_record tombstone = {.flags = TY_FLAG_CANCEL};
    assert_int_equal(ty_event_encode(&tombstone, 0, &bytes, &err), -TY_EINVALID);
}

static void a_long_history_keeps_its_end(void **state)
{
    TY_BUF(record);
    TY_BUF(bytes);
    (void)state;
    new_record(&record);
    for (uint16_t i = 1; i <= TY_EVENT_HISTORY_MAX + 5; i++)
        add_move(&record, TY_JOB_IN_PROGRESS, i, CREATED_US + i);
    encode(&record, &bytes);
    Trainyard__V1__JobEvent *event = unpack(&bytes);
    assert_int_equal(event->n_history, TY_EVENT_HISTORY_MAX);
    assert_int_equal(event->history[0]->attempt, 6);
    assert_int_equal(event->history[TY_EVENT_HISTORY_MAX - 1]->attempt, TY_EVENT_HISTORY_MAX + 5);
    protobuf_c_message_free_unpacked(&event->base, NULL);
}

static void what_is_too_large_is_refused(void **state)
{
    TY_BUF(record);
    TY_BUF(bytes);
    struct ty_record decoded;
    struct ty_err err;
    static const uint8_t much[60000];
    (void)state;
    new_record(&record);
    for (int i = 0; i < 17; i++)
        add_tail(&record, 200, much, sizeof much);
    decode(&record, &decoded);
    assert_int_equal(ty_event_encode(&decoded, 0, &bytes, &err), -TY_EINVALID);
    assert_int_equal(bytes.len, 0);
}

static void what_is_no_event_of_the_job_is_refused(void **state)
{
    TY_BUF(record);
    TY_BUF(bytes);
    struct ty_event event;
    struct ty_err err;
    struct ty_id other = id;
    (void)state;
    full_record(&record);
    encode(&record, &bytes);
    other.bytes[0] = 9;
    assert_int_equal(ty_event_decode(&other, bytes.data, bytes.len, &event, &err), -TY_EDATALOSS);
    assert_non_null(strstr(err.message, "metadata.id"));
    assert_int_equal(ty_event_decode(&id, bytes.data, bytes.len - 1, &event, &err), -TY_EDATALOSS);
    assert_int_equal(ty_event_decode(&id, "", 0, &event, &err), -TY_EDATALOSS);
    static const uint8_t newer[] = {0x08, 0x02, 0x18, 0x01};
    assert_int_equal(ty_event_decode(&id, newer, sizeof newer, &event, &err), -TY_EPRECONDITION);
    // Its status stands behind the rest of the metadata: one that is no state.
    uint8_t *status = memmem(bytes.data + 16, bytes.len - 16, "\x10\x04", 2); // behind the epoch
    assert_non_null(status);
    status[1] = 7;
    assert_int_equal(ty_event_decode(&id, bytes.data, bytes.len, &event, &err), -TY_EDATALOSS);
    assert_non_null(strstr(err.message, "status"));
}

static int set_up(void **state)
{
    struct ty_err err;
    (void)state;
    return ty_catalog_load(NULL, &catalog, &err);
}

static int tear_down(void **state)
{
    (void)state;
    ty_catalog_free(catalog);
    return 0;
}

// With a directory as its argument, the program writes the fuzzer's corpus there in place of testing.
static int write_corpus(const char *dir)
{
    struct ty_err err;
    if (ty_catalog_load(NULL, &catalog, &err) < 0)
        return 1;
    for (int i = 0; i < 3; i++) {
        TY_BUF(record);
        TY_BUF(bytes);
        char *path TY_FREE = ty_xasprintf("%s/%s", dir, (const char *[]){"new", "full", "deleted"}[i]);
        if (i == 0)
            new_record(&record);
        else
            full_record(&record);
        if (i == 2)
            ty_buf_add(&bytes, "\x08\x01\x18\x0a\x68\x01", 6);
        else
            encode(&record, &bytes);
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(bytes.data, 1, bytes.len, file) != bytes.len || fclose(file))
            return 1;
    }
    ty_catalog_free(catalog);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_says_everything_of_a_job),
        cmocka_unit_test(the_store_gets_the_same_job_back),
        cmocka_unit_test(the_latest_worker_is_known_without_a_history),
        cmocka_unit_test(a_deletion_is_small),
        cmocka_unit_test(a_long_history_keeps_its_end),
        cmocka_unit_test(what_is_too_large_is_refused),
        cmocka_unit_test(what_is_no_event_of_the_job_is_refused),
    };
    if (argc > 1)
        return write_corpus(argv[1]);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
