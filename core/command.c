#include "core/command.h"

#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/wire.h"

typedef Trainyard__V1__JobCommand Message;

// What the kinds differ in.
static const struct row {
    Trainyard__V1__JobCommand__CommandCase command_case;
    enum ty_topic_kind topic;
} rows[] = {
    [TY_COMMAND_SUBMIT] = {TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT, TY_TOPIC_SUBMIT},
    [TY_COMMAND_SUBMIT_CUSTOM] = {TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT_CUSTOM, TY_TOPIC_SUBMIT},
    [TY_COMMAND_CANCEL] = {TRAINYARD__V1__JOB_COMMAND__COMMAND_CANCEL, TY_TOPIC_CANCEL},
    [TY_COMMAND_DELETE] = {TRAINYARD__V1__JOB_COMMAND__COMMAND_DELETE, TY_TOPIC_DELETE},
};
#define KINDS (sizeof rows / sizeof *rows)

static bool parse_key(const uint8_t *key, size_t key_len, struct ty_id *ret_id)
{
    char text[TY_ID_TEXT_BYTES];
    struct ty_err ignored;
    if (key_len != sizeof text - 1 || memchr(key, 0, key_len))
        return false;
    memcpy(text, key, key_len);
    text[key_len] = 0;
    return ty_id_parse(text, ret_id, &ignored) == 0;
}

static const char *request_id(const Message *message)
{
    switch (message->command_case) {
    case TRAINYARD__V1__JOB_COMMAND__COMMAND_CANCEL: return message->cancel->id;
    case TRAINYARD__V1__JOB_COMMAND__COMMAND_DELETE: return message->delete_->id;
    default: return "";
    }
}

// The command's kind; KINDS when there is no command.
static size_t kind_of(const Message *message)
{
    size_t kind = 0;
    while (kind < KINDS && rows[kind].command_case != message->command_case)
        kind++;
    return kind;
}

static int check_ids(const struct ty_command *command, bool key_is_id, bool message_has_id, const struct ty_id *message_id,
                     struct ty_err *err)
{
    struct ty_id id;
    const char *text = request_id(command->message);
    if (!key_is_id)
        return ty_err_set(err, TY_EINVALID, "key: not a job id (a UUID of 36 characters)");
    if (!message_has_id)
        return ty_err_set(err, TY_EINVALID, "job_id: not a UUID");
    if (!ty_id_equal(message_id, &command->job_id))
        return ty_err_set(err, TY_EINVALID, "job_id: differs from the record's key");
    if (*text && (ty_id_parse(text, &id, err) < 0 || !ty_id_equal(&id, &command->job_id)))
        return ty_err_set(err, TY_EINVALID, "id: the request's differs from job_id");
    return 0;
}

// command->message is set and the caller's to free.
static int read_message(enum ty_topic_kind topic, bool key_is_id, struct ty_command *command, bool *has_id,
                        struct ty_err *err)
{
    const Message *message = command->message;
    struct ty_id message_id;
    bool message_has_id = ty_id_parse(message->job_id, &message_id, err) == 0;
    if (!key_is_id && message_has_id)
        command->job_id = message_id;
    *has_id = key_is_id || message_has_id;
    if (message->format_version > TY_COMMAND_FORMAT)
        *has_id = false; // a newer program may do what it asks for: nothing ends here that a replay could not begin
    if (message->format_version != TY_COMMAND_FORMAT)
        return ty_err_set(err, TY_EINVALID, "format_version: %u is not %d", message->format_version, TY_COMMAND_FORMAT);
    size_t kind = kind_of(message);
    if (kind == KINDS)
        return ty_err_set(err, TY_EINVALID, "command: is missing");
    if (rows[kind].topic != topic) {
        *has_id = false;
        return ty_err_set(err, TY_EINVALID, "command: of another kind than the topic carries");
    }
    command->kind = (enum ty_command_kind)kind;
    if (message->command_id.len && message->command_id.len != sizeof command->command_id)
        return ty_err_set(err, TY_EINVALID, "command_id: %zu bytes instead of 16", message->command_id.len);
    if (message->command_id.len)
        memcpy(command->command_id, message->command_id.data, sizeof command->command_id);
    return check_ids(command, key_is_id, message_has_id, &message_id, err);
}

int ty_command_decode(enum ty_topic_kind topic_kind, const uint8_t *key, size_t key_len, const uint8_t *value,
                      size_t value_len, struct ty_command *ret_command, bool *ret_has_id, struct ty_err *err)
{
    struct ty_command command = {0};
    ProtobufCMessage *message = NULL;
    bool key_is_id = parse_key(key, key_len, &command.job_id), has_id = key_is_id;
    int rc;
    if (!value_len)
        rc = ty_err_set(err, TY_EINVALID, "value: is empty");
    else if (value_len > TY_LIMIT_COMMAND_BYTES || key_len > TY_LIMIT_COMMAND_BYTES - value_len)
        rc = ty_err_set(err, TY_EINVALID, "value: key and value have %zu bytes; at most %d are allowed",
                        key_len + value_len, TY_LIMIT_COMMAND_BYTES);
    else
        rc = ty_wire_unpack(&trainyard__v1__job_command__descriptor, value, value_len, &message, err);
    if (rc == 0) {
        command.message = (Message *)message;
        rc = read_message(topic_kind, key_is_id, &command, &has_id, err);
    }
    if (rc < 0)
        ty_command_done(&command);
    *ret_command = command;
    *ret_has_id = has_id;
    return rc;
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
    Message message = TRAINYARD__V1__JOB_COMMAND__INIT;
    Google__Protobuf__Timestamp issued = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    issued.seconds = (int64_t)(issued_at_us / 1000000);
    issued.nanos = (int32_t)(issued_at_us % 1000000 * 1000);
    message.format_version = TY_COMMAND_FORMAT;
    message.command_id = (ProtobufCBinaryData){16, (uint8_t *)command_id};
    message.job_id = (char *)ty_id_format(job_id, id);
    message.issued_at = &issued;
    message.issuer = (char *)(issuer ? issuer : "");
    message.options = (Trainyard__V1__JobOptions *)options;
    message.command_case = rows[kind].command_case;
    // The union's members are all pointers to a message.
    message.submit = (Viam__App__Mltraining__V1__SubmitTrainingJobRequest *)request;
    size_t len = trainyard__v1__job_command__get_packed_size(&message);
    trainyard__v1__job_command__pack(&message, ty_buf_reserve(out, len));
    out->len += len;
}
