#include "core/command.h"

#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/wire.h"

static int wrong_kind(enum ty_topic_kind topic, enum ty_command_kind kind)
{
    static const enum ty_topic_kind of[] = {TY_TOPIC_SUBMIT, TY_TOPIC_SUBMIT, TY_TOPIC_CANCEL, TY_TOPIC_DELETE};
    return of[kind] != topic;
}

static int parse_key(const uint8_t *key, size_t key_len, struct ty_id *ret_id, struct ty_err *err)
{
    char text[TY_ID_TEXT_BYTES];
    if (key_len != sizeof text - 1 || memchr(key, 0, key_len))
        return ty_err_set(err, TY_EINVALID, "key: not a job id (a UUID of 36 characters)");
    memcpy(text, key, key_len);
    text[key_len] = 0;
    if (ty_id_parse(text, ret_id, err) < 0)
        return ty_err_set(err, TY_EINVALID, "key: not a job id (a UUID of 36 characters)");
    return 0;
}

static int kind_of(const Trainyard__V1__JobCommand *message, enum ty_command_kind *ret_kind, const char **ret_request_id,
                   struct ty_err *err)
{
    *ret_request_id = "";
    switch (message->command_case) {
    case TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT: *ret_kind = TY_COMMAND_SUBMIT; return 0;
    case TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT_CUSTOM: *ret_kind = TY_COMMAND_SUBMIT_CUSTOM; return 0;
    case TRAINYARD__V1__JOB_COMMAND__COMMAND_CANCEL:
        *ret_kind = TY_COMMAND_CANCEL;
        *ret_request_id = message->cancel->id;
        return 0;
    case TRAINYARD__V1__JOB_COMMAND__COMMAND_DELETE:
        *ret_kind = TY_COMMAND_DELETE;
        *ret_request_id = message->delete_->id;
        return 0;
    default: return ty_err_set(err, TY_EINVALID, "command: is missing");
    }
}

static int check(enum ty_topic_kind topic, struct ty_command *command, bool has_key, struct ty_err *err)
{
    const Trainyard__V1__JobCommand *message = command->message;
    struct ty_id id;
    const char *request_id;
    if (message->format_version != TY_COMMAND_FORMAT)
        return ty_err_set(err, TY_EINVALID, "format_version: %u is not %d", message->format_version, TY_COMMAND_FORMAT);
    if (ty_id_parse(message->job_id, &id, err) < 0)
        return ty_err_set(err, TY_EINVALID, "job_id: not a UUID");
    if (has_key && !ty_id_equal(&id, &command->job_id))
        return ty_err_set(err, TY_EINVALID, "job_id: differs from the record's key");
    command->job_id = id;
    if (message->command_id.len != 0 && message->command_id.len != sizeof command->command_id)
        return ty_err_set(err, TY_EINVALID, "command_id: %zu bytes instead of 16", message->command_id.len);
    if (message->command_id.len)
        memcpy(command->command_id, message->command_id.data, sizeof command->command_id);
    if (kind_of(message, &command->kind, &request_id, err) < 0)
        return -(int)err->code;
    if (wrong_kind(topic, command->kind))
        return ty_err_set(err, TY_EINVALID, "command: of another kind than the topic carries");
    if (*request_id && (ty_id_parse(request_id, &id, err) < 0 || !ty_id_equal(&id, &command->job_id)))
        return ty_err_set(err, TY_EINVALID, "the request's id differs from job_id");
    return 0;
}

int ty_command_decode(enum ty_topic_kind topic_kind, const uint8_t *key, size_t key_len, const uint8_t *value,
                      size_t value_len, struct ty_command *ret_command, bool *ret_has_id, struct ty_err *err)
{
    struct ty_command command = {0};
    ProtobufCMessage *message;
    *ret_has_id = false;
    struct ty_err key_err;
    bool has_key = key_len > 0 && parse_key(key, key_len, &command.job_id, &key_err) == 0;
    *ret_has_id = has_key;
    *ret_command = command;
    if (!value_len)
        return ty_err_set(err, TY_EINVALID, "value: is empty");
    if (value_len > TY_LIMIT_COMMAND_BYTES)
        return ty_err_set(err, TY_EINVALID, "value: %zu bytes are more than %d", value_len, TY_LIMIT_COMMAND_BYTES);
    if (ty_wire_unpack(&trainyard__v1__job_command__descriptor, value, value_len, &message, err) < 0)
        return -(int)err->code;
    command.message = (Trainyard__V1__JobCommand *)message;
    int rc = key_len && !has_key ? ty_err_set(err, TY_EINVALID, "%s", key_err.message) : check(topic_kind, &command, has_key, err);
    if (rc < 0) {
        ty_command_done(&command);
        return rc;
    }
    *ret_has_id = true;
    *ret_command = command;
    return 0;
}

void ty_command_done(struct ty_command *command)
{
    if (command->message)
        trainyard__v1__job_command__free_unpacked(command->message, NULL);
    command->message = NULL;
}

void ty_command_encode(enum ty_command_kind kind, const struct ty_id *job_id, const uint8_t command_id[16],
                       uint64_t issued_at_us, const char *issuer, const Trainyard__V1__JobOptions *options,
                       const ProtobufCMessage *request, struct ty_buf *out)
{
    char id[TY_ID_TEXT_BYTES];
    Trainyard__V1__JobCommand message = TRAINYARD__V1__JOB_COMMAND__INIT;
    Google__Protobuf__Timestamp issued = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    issued.seconds = (int64_t)(issued_at_us / 1000000);
    issued.nanos = (int32_t)(issued_at_us % 1000000 * 1000);
    message.format_version = TY_COMMAND_FORMAT;
    message.command_id = (ProtobufCBinaryData){16, (uint8_t *)command_id};
    message.job_id = (char *)ty_id_format(job_id, id);
    message.issued_at = &issued;
    message.issuer = (char *)(issuer ? issuer : "");
    message.options = (Trainyard__V1__JobOptions *)options;
    static const Trainyard__V1__JobCommand__CommandCase cases[] = {
        TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT, TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT_CUSTOM,
        TRAINYARD__V1__JOB_COMMAND__COMMAND_CANCEL, TRAINYARD__V1__JOB_COMMAND__COMMAND_DELETE};
    message.command_case = cases[kind];
    message.submit = (Viam__App__Mltraining__V1__SubmitTrainingJobRequest *)request; // every member of the union is a pointer
    size_t len = trainyard__v1__job_command__get_packed_size(&message);
    trainyard__v1__job_command__pack(&message, ty_buf_reserve(out, len));
    out->len += len;
}
