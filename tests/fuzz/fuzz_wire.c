// core/wire: what passes the check unpacks, and what was unpacked passes again when it is packed.
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "trainyard/v1/command.pb-c.h"
#include "trainyard/v1/event.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

static const ProtobufCMessageDescriptor *const descriptors[] = {
    &trainyard__v1__job_command__descriptor,
    &viam__app__mltraining__v1__training_job_metadata__descriptor,
    &viam__app__mltraining__v1__submit_custom_training_job_request__descriptor,
    &viam__app__mltraining__v1__get_training_job_logs_request__descriptor,
    &trainyard__v1__job_event__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const ProtobufCMessageDescriptor *descriptor =
        descriptors[input_byte(&input) % (sizeof descriptors / sizeof *descriptors)];
    ProtobufCMessage *message = NULL;
    struct ty_err err = {0};
    int checked = ty_wire_check(descriptor, input.bytes, input.len, &err);
    REQUIRE(checked == 0 || (checked == -TY_EINVALID && ty_utf8_is_valid(err.message, strlen(err.message))));
    int rc = ty_wire_unpack(descriptor, input.bytes, input.len, &message, &err);
    REQUIRE(rc == checked);
    if (rc < 0)
        return 0;
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(len + 1);
    REQUIRE(packed && protobuf_c_message_pack(message, packed) == len);
    REQUIRE(ty_wire_check(descriptor, packed, len, &err) == 0);
    free(packed);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}
