// The road of a Kafka record: decode, the rules of a submit, the job's record, and what a Get answers of it.
#include "core/command.h"
#include "core/record.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"

#define CREATED_US UINT64_C(1700000000123456)

static void take_spec(const struct ty_catalog *catalog, const struct ty_command *command)
{
    const Trainyard__V1__JobCommand *message = command->message;
    bool custom = command->kind == TY_COMMAND_SUBMIT_CUSTOM;
    struct ty_spec spec;
    struct ty_err err = {0};
    int rc = ty_spec_build(catalog, &command->job_id, CREATED_US, custom ? NULL : message->submit,
                           custom ? message->submit_custom : NULL, message->options, &spec, &err);
    if (rc < 0) {
        REQUIRE(rc == -TY_EINVALID && *err.message && ty_utf8_is_valid(err.message, strlen(err.message)));
        REQUIRE(!strchr(err.message, '%'));
        return;
    }
    TY_BUF(bytes);
    TY_BUF(metadata);
    struct ty_record record;
    ty_record_encode_new(&spec, CREATED_US, custom, TY_REASON_NONE, NULL, &bytes);
    REQUIRE(ty_record_decode(bytes.data, bytes.len, &record, &err) == 0);
    REQUIRE(record.state == TY_JOB_PENDING && record.created_us == CREATED_US);
    REQUIRE(!memcmp(record.digest, spec.digest, sizeof spec.digest));
    ty_record_metadata(&record, &metadata);
    REQUIRE(ty_wire_check(&viam__app__mltraining__v1__training_job_metadata__descriptor, metadata.data, metadata.len, &err) ==
            0);
    ty_spec_done(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ty_catalog *catalog;
    struct ty_err err = {0};
    if (!catalog)
        REQUIRE(ty_catalog_load(NULL, &catalog, &err) == 0);
    struct input input = {data, size};
    enum ty_topic_kind topic = (enum ty_topic_kind)(input_byte(&input) % 3);
    size_t key_len = input_byte(&input) % 64;
    key_len = key_len < input.len ? key_len : input.len;
    struct ty_command command;
    bool has_id = false;
    int rc = ty_command_decode(topic, input.bytes, key_len, input.bytes + key_len, input.len - key_len, &command, &has_id, &err);
    if (rc < 0) {
        REQUIRE(rc == -TY_EINVALID && *err.message && ty_utf8_is_valid(err.message, strlen(err.message)));
        return 0;
    }
    REQUIRE(has_id && command.message);
    if (command.kind == TY_COMMAND_SUBMIT || command.kind == TY_COMMAND_SUBMIT_CUSTOM)
        take_spec(catalog, &command);
    ty_command_done(&command);
    return 0;
}
