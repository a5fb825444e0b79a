// core/command: the road of a record from Kafka, with every way in which it can be wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/command.h"
#include "core/limits.h"

#define ID "0f0e0d0c-0b0a-4908-8706-050403020100"
#define OTHER_ID "1f0e0d0c-0b0a-4908-8706-050403020100"

typedef Trainyard__V1__JobCommand Message;

static void pack(const Message *message, struct ty_buf *out)
{
    size_t len = trainyard__v1__job_command__get_packed_size(message);
    trainyard__v1__job_command__pack(message, ty_buf_reserve(out, len));
    out->len += len;
}

static void decode_text(enum ty_topic_kind topic, const char *key, const struct ty_buf *value, const char *says, bool has_id)
{
    struct ty_command command;
    struct ty_err err = {0};
    bool got_id = !has_id;
    int rc = ty_command_decode(topic, (const uint8_t *)key, strlen(key), value->data, value->len, &command, &got_id, &err);
    if (rc != (says ? -TY_EINVALID : 0) || (says && !strstr(err.message, says)))
        fail_msg("\"%s\" was expected: %d, %s", says ? says : "no error", rc, err.message);
    if (got_id != has_id)
        fail_msg("%s: has_id is %d", says ? says : "no error", got_id);
    if (rc == 0)
        assert_non_null(command.message);
    else
        assert_null(command.message);
    ty_command_done(&command);
}

static void what_is_encoded_is_decoded(void **state)
{
    static const uint8_t command_id[16] = {1, 2, 3, 15, [15] = 255};
    Viam__App__Mltraining__V1__SubmitTrainingJobRequest submit = VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest custom =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel = VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__DeleteCompletedTrainingJobRequest delete =
        VIAM__APP__MLTRAINING__V1__DELETE_COMPLETED_TRAINING_JOB_REQUEST__INIT;
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    const struct {
        enum ty_command_kind kind;
        enum ty_topic_kind topic;
        const ProtobufCMessage *request;
    } cases[] = {
        {TY_COMMAND_SUBMIT, TY_TOPIC_SUBMIT, &submit.base},
        {TY_COMMAND_SUBMIT_CUSTOM, TY_TOPIC_SUBMIT, &custom.base},
        {TY_COMMAND_CANCEL, TY_TOPIC_CANCEL, &cancel.base},
        {TY_COMMAND_DELETE, TY_TOPIC_DELETE, &delete.base},
    };
    struct ty_id id;
    struct ty_err err;
    (void)state;
    options.priority = 5;
    cancel.id = (char *)(uintptr_t) ID; // with and without the request's own id
    assert_int_equal(ty_id_parse(ID, &id, &err), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TY_BUF(value);
        struct ty_command command;
        bool has_id;
        ty_command_encode(cases[i].kind, &id, command_id, 1700000000123456, "tester", &options, cases[i].request, &value);
        assert_int_equal(ty_command_decode(cases[i].topic, (const uint8_t *)ID, 36, value.data, value.len, &command, &has_id,
                                           &err), 0);
        assert_true(has_id);
        assert_int_equal(command.kind, cases[i].kind);
        assert_true(ty_id_equal(&command.job_id, &id));
        assert_memory_equal(command.command_id, command_id, 16);
        assert_string_equal(command.message->issuer, "tester");
        assert_int_equal(command.message->issued_at->nanos, 123456000);
        assert_int_equal(command.message->options->priority, 5);
        ty_command_done(&command);
        for (int topic = TY_TOPIC_SUBMIT; topic <= TY_TOPIC_DELETE; topic++)
            if (topic != (int)cases[i].topic)
                decode_text((enum ty_topic_kind)topic, ID, &value, "of another kind", false);
    }
}

static void each_fault_is_named_and_the_id_saved_where_it_can_be(void **state)
{
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel = VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    static uint8_t bytes[17];
    const struct {
        uint32_t format;
        const char *job_id, *request_id, *key;
        size_t command_id_len;
        bool no_command;
        const char *says;
        bool has_id;
    } cases[] = {
        {1, ID, "", ID, 16, false, NULL, true},
        {1, ID, ID, ID, 0, false, NULL, true},
        {0, ID, "", ID, 16, false, "format_version: 0 is not 1", true},
        {2, ID, "", ID, 16, false, "format_version: 2 is not 1", false},
        {2, ID, "", "", 16, false, "format_version: 2 is not 1", false},
        {1, ID, "", ID, 15, false, "command_id: 15 bytes instead of 16", true},
        {1, ID, "", ID, 17, false, "command_id: 17 bytes instead of 16", true},
        {1, ID, "", ID, 16, true, "command: is missing", true},
        {1, ID, "", "", 16, false, "key: not a job id", true},
        {1, ID, "", "0f0e0d0c", 16, false, "key: not a job id", true},
        {1, "", "", ID, 16, false, "job_id: not a UUID", true},
        {1, "no uuid", "", ID, 16, false, "job_id: not a UUID", true},
        {1, "no uuid", "", "", 16, false, "key: not a job id", false},
        {1, OTHER_ID, "", ID, 16, false, "job_id: differs from the record's key", true},
        {1, ID, OTHER_ID, ID, 16, false, "id: the request's differs from job_id", true},
        {1, ID, "no uuid", ID, 16, false, "id: the request's differs from job_id", true},
        {1, "0F0E0D0C-0B0A-4908-8706-050403020100", "", ID, 16, false, NULL, true}, // case does not matter
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Message message = TRAINYARD__V1__JOB_COMMAND__INIT;
        TY_BUF(value);
        message.format_version = cases[i].format;
        message.job_id = (char *)(uintptr_t)cases[i].job_id;
        message.command_id = (ProtobufCBinaryData){cases[i].command_id_len, bytes};
        cancel.id = (char *)(uintptr_t)cases[i].request_id;
        message.command_case = cases[i].no_command ? TRAINYARD__V1__JOB_COMMAND__COMMAND__NOT_SET
                                                   : TRAINYARD__V1__JOB_COMMAND__COMMAND_CANCEL;
        message.cancel = &cancel;
        pack(&message, &value);
        decode_text(TY_TOPIC_CANCEL, cases[i].key, &value, cases[i].says, cases[i].has_id);
    }
}

static void bytes_that_are_no_command(void **state)
{
    TY_BUF(value);
    (void)state;
    decode_text(TY_TOPIC_SUBMIT, ID, &value, "value: is empty", true);
    decode_text(TY_TOPIC_SUBMIT, "", &value, "value: is empty", false);
    ty_buf_add_text(&value, "{\"json\": true}");
    decode_text(TY_TOPIC_SUBMIT, ID, &value, "", true);
    ty_buf_clear(&value);
    memset(ty_buf_reserve(&value, TY_LIMIT_COMMAND_BYTES), 0, TY_LIMIT_COMMAND_BYTES);
    value.len = TY_LIMIT_COMMAND_BYTES;
    decode_text(TY_TOPIC_SUBMIT, ID, &value, "at most 1048576 are allowed", true); // with the key it is too long
    // Half a character in a string that protobuf-c would take.
    ty_buf_clear(&value);
    ty_buf_add_tag_varint(&value, 1, 1);
    ty_buf_add_tag_bytes(&value, 5, "\xc3", 1);
    decode_text(TY_TOPIC_SUBMIT, ID, &value, "issuer", true);
    ty_buf_clear(&value);
    ty_buf_add_tag_bytes(&value, 3, ID "\0x", 38);
    decode_text(TY_TOPIC_SUBMIT, ID, &value, "job_id", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(each_fault_is_named_and_the_id_saved_where_it_can_be),
        cmocka_unit_test(bytes_that_are_no_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
