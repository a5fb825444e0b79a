// worker/intake/apply: what a record becomes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/record.h"
#include "worker/intake/apply.h"

#define TIME_US 1700000000123000u

typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Submit;

static struct ty_catalog *catalog;
static struct ty_id id;
static char key[TY_ID_TEXT_BYTES];
static struct ty_buf arena;
static struct ty_prepared prepared;
static struct ty_err err;

static int set_up(void **state)
{
    (void)state;
    id = ty_id_new();
    ty_id_format(&id, key);
    return ty_catalog_load(NULL, &catalog, &err);
}

static int tear_down(void **state)
{
    (void)state;
    ty_catalog_free(catalog);
    ty_buf_done(&arena);
    return 0;
}

static void encode(enum ty_command_kind kind, const char *model_name, struct ty_buf *out)
{
    static const uint8_t command_id[16] = {1};
    Submit submit = VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel = VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    submit.organization_id = (char *)"acme";
    submit.dataset_id = (char *)"digits";
    submit.model_name = (char *)model_name;
    submit.model_version = (char *)"1";
    submit.registry_item_id = (char *)"acme:digits";
    ty_command_encode(kind, &id, command_id, 1, "test", NULL, kind == TY_COMMAND_CANCEL ? &cancel.base : &submit.base, out);
}

static void prepare(enum ty_topic_kind topic, const struct ty_buf *value)
{
    // A copy of its own, so that reading one byte too far is seen.
    uint8_t *bytes TY_FREE = ty_xmalloc(value->len + !value->len);
    if (value->len)
        memcpy(bytes, value->data, value->len);
    ty_prepare(catalog, topic, (const uint8_t *)key, 36, bytes, value->len, TIME_US, &arena, &prepared, &err);
}

static struct ty_record record_of(const struct ty_apply *command)
{
    struct ty_record record;
    if (ty_record_decode(command->record, command->record_len, &record, &err) < 0)
        fail_msg("%s", err.message);
    return record;
}

static void test_submit(void **state)
{
    (void)state;
    TY_BUF(value);
    encode(TY_COMMAND_SUBMIT_CUSTOM, "digits", &value);
    prepare(TY_TOPIC_SUBMIT, &value);
    assert_true(prepared.has_command && !prepared.is_refused);
    struct ty_apply command = ty_prepared_command(&prepared, &arena);
    struct ty_record record = record_of(&command);
    assert_int_equal(command.kind, TY_COMMAND_SUBMIT_CUSTOM);
    assert_true(ty_id_equal(&command.job_id, &id));
    assert_string_equal(command.organization_id, "acme");
    assert_int_equal(record.state, TY_JOB_PENDING);
    assert_int_equal(record.created_us, TIME_US); // the record's time, not the issuer's
    assert_int_equal(record.flags, TY_FLAG_CUSTOM);
}

static void test_many_share_an_arena(void **state)
{
    (void)state;
    struct ty_prepared all[50];
    TY_BUF(value);
    ty_buf_clear(&arena);
    for (size_t i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "model%zu", i);
        ty_buf_clear(&value);
        encode(TY_COMMAND_SUBMIT_CUSTOM, name, &value);
        prepare(TY_TOPIC_SUBMIT, &value);
        all[i] = prepared;
    }
    for (size_t i = 0; i < 50; i++) {
        struct ty_apply command = ty_prepared_command(&all[i], &arena);
        struct ty_record record = record_of(&command);
        TY_BUF(bytes);
        ty_record_metadata(&record, &bytes);
        Viam__App__Mltraining__V1__TrainingJobMetadata *metadata =
            viam__app__mltraining__v1__training_job_metadata__unpack(NULL, bytes.len, bytes.data);
        char name[16];
        snprintf(name, sizeof name, "model%zu", i);
        assert_non_null(metadata);
        assert_string_equal(metadata->model_name, name);
        viam__app__mltraining__v1__training_job_metadata__free_unpacked(metadata, NULL);
    }
}

static void test_control(void **state)
{
    (void)state;
    TY_BUF(value);
    encode(TY_COMMAND_CANCEL, "", &value);
    prepare(TY_TOPIC_CANCEL, &value);
    assert_true(prepared.has_command && !prepared.is_refused);
    struct ty_apply command = ty_prepared_command(&prepared, &arena);
    assert_int_equal(command.kind, TY_COMMAND_CANCEL);
    assert_null(command.record);
    // On another topic it is no command, and not about a job that could be there.
    prepare(TY_TOPIC_SUBMIT, &value);
    assert_true(!prepared.has_command && prepared.is_refused);
    prepare(TY_TOPIC_DELETE, &value);
    assert_true(!prepared.has_command && prepared.is_refused);
}

static void check_failed(const char *message)
{
    assert_true(prepared.has_command && prepared.is_refused);
    struct ty_apply command = ty_prepared_command(&prepared, &arena);
    struct ty_record record = record_of(&command);
    assert_int_equal(command.kind, TY_COMMAND_SUBMIT);
    assert_int_equal(record.state, TY_JOB_FAILED);
    assert_int_equal(record.reason, TY_REASON_REFUSED);
    assert_string_equal(err.message, message);
}

static void test_refused(void **state)
{
    (void)state;
    TY_BUF(value);
    encode(TY_COMMAND_SUBMIT_CUSTOM, "", &value);
    prepare(TY_TOPIC_SUBMIT, &value);
    check_failed("model_name is empty");
    assert_string_equal(ty_prepared_command(&prepared, &arena).organization_id, "acme");
    // The key alone is enough for a job that says why.
    ty_buf_clear(&value);
    prepare(TY_TOPIC_SUBMIT, &value);
    check_failed("value: is empty");
    ty_buf_reserve(&value, TY_LIMIT_COMMAND_BYTES);
    memset(value.data, 0, TY_LIMIT_COMMAND_BYTES);
    value.len = TY_LIMIT_COMMAND_BYTES;
    prepare(TY_TOPIC_SUBMIT, &value);
    check_failed("value: key and value have 1048612 bytes; at most 1048576 are allowed");
    assert_string_equal(ty_prepared_command(&prepared, &arena).organization_id, "");
}

// What a newer program has written leaves no job here: after an upgrade it may be published again.
static void test_newer_format(void **state)
{
    (void)state;
    TY_BUF(value);
    encode(TY_COMMAND_SUBMIT_CUSTOM, "digits", &value);
    ty_buf_add_tag_varint(&value, 1, TY_COMMAND_FORMAT + 1); // the last one of a field counts
    prepare(TY_TOPIC_SUBMIT, &value);
    assert_true(!prepared.has_command && prepared.is_refused);
    assert_string_equal(err.message, "format_version: 2 is not 1");
    ty_buf_add_tag_varint(&value, 1, 0); // no program has written that
    prepare(TY_TOPIC_SUBMIT, &value);
    check_failed("format_version: 0 is not 1");
}

// Every way to cut a command short, and every byte of it changed: it is a command or refused, and says why.
static void test_damage(void **state)
{
    (void)state;
    TY_BUF(value);
    encode(TY_COMMAND_SUBMIT_CUSTOM, "digits", &value);
    size_t whole = value.len;
    for (value.len = 0; value.len < whole; value.len++) {
        ty_buf_clear(&arena);
        prepare(TY_TOPIC_SUBMIT, &value);
        assert_true(prepared.has_command);
        assert_true(!prepared.is_refused || *err.message);
    }
    for (size_t i = 0; i < whole; i++)
        for (int bit = 0; bit < 8; bit++) {
            value.data[i] ^= (uint8_t)(1 << bit);
            ty_buf_clear(&arena);
            prepare(TY_TOPIC_SUBMIT, &value);
            assert_true(prepared.has_command || prepared.is_refused);
            if (prepared.has_command) {
                struct ty_apply command = ty_prepared_command(&prepared, &arena);
                record_of(&command);
            }
            value.data[i] ^= (uint8_t)(1 << bit);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit),  cmocka_unit_test(test_many_share_an_arena), cmocka_unit_test(test_control),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_newer_format),        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests_name("intake/apply", tests, set_up, tear_down);
}
