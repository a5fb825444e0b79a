// producer/cli: what a server answers to the command line program. The first byte says which message the rest is; it is read or refused,
// and what was read can be shown. 255: a job's options, in an answer's trailing metadata. 254: the server's address, a setting.
#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <jansson.h>

#include "core/wire.h"
#include "producer/cli/job.h"
#include "producer/cli/message_json.h"
#include "producer/cli/rpc_internal.h"
#include "proto/rpc/v1/auth.pb-c.h"
#include "tests/fuzz/fuzz.h"
#include "trainyard/v1/job_service.pb-c.h"
#include "trainyard/v1/log_service.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

static const ProtobufCMessageDescriptor *const answers[] = {
    &viam__app__mltraining__v1__submit_training_job_response__descriptor,
    &viam__app__mltraining__v1__list_training_jobs_response__descriptor,
    &viam__app__mltraining__v1__get_training_job_response__descriptor,
    &viam__app__mltraining__v1__get_training_job_logs_response__descriptor,
    &viam__app__mltraining__v1__list_supported_containers_response__descriptor,
    &proto__rpc__v1__authenticate_response__descriptor,
    &trainyard__v1__follow_reply__descriptor,
    &trainyard__v1__list_jobs_reply__descriptor,
    &trainyard__v1__get_job_reply__descriptor,
};

static void check_error(int rc, const struct ty_err *err)
{
    REQUIRE(rc < 0 && *err->message && ty_utf8_is_valid(err->message, strlen(err->message)));
}

static void read_answer(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size)
{
    struct ty_rpc_client client = {.server = (char *)"localhost:8480"};
    ProtobufCMessage *message = NULL;
    struct ty_err err = {0};
    // In two pieces, as a network may bring it.
    grpc_slice pieces[] = {grpc_slice_from_copied_buffer((const char *)data, size / 2),
                           grpc_slice_from_copied_buffer((const char *)data + size / 2, size - size / 2)};
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(pieces, 2);
    grpc_slice_unref(pieces[0]);
    grpc_slice_unref(pieces[1]);
    int rc = ty_rpc_unpack(&client, buffer, type, &message, &err);
    grpc_byte_buffer_destroy(buffer);
    if (rc < 0) {
        check_error(rc, &err);
        REQUIRE(rc == -TY_EDATALOSS);
        return;
    }
    REQUIRE(message->descriptor == type);
    json_decref(ty_message_json(message));
    protobuf_c_message_free_unpacked(message, NULL);
}

static void read_options(struct input input)
{
    size_t len = input.len;
    char *bytes = input_text(&input, len);
    struct ty_rpc_client client = {.server = (char *)"localhost:8480",
                                   .trailing = {{.key = (char *)"trainyard-options-bin", .value = bytes, .len = len}},
                                   .trailing_count = 1};
    Trainyard__V1__JobOptions *options = NULL;
    struct ty_err err = {0};
    int rc = ty_job_options(&client, &options, &err);
    if (rc < 0)
        check_error(rc, &err);
    else
        protobuf_c_message_free_unpacked(&options->base, NULL);
    free(bytes);
}

static void read_address(struct input input)
{
    char *text = input_text(&input, 1024), *address = NULL;
    struct ty_rpc_client_options options = {.server = text};
    struct ty_err err = {0};
    bool tls = false;
    int rc = ty_rpc_server_parse(&options, &address, &tls, &err);
    if (rc < 0)
        check_error(rc, &err);
    else
        REQUIRE(strchr(address, ':') && strlen(address) <= strlen(text) + 4 && (!tls || !strncmp(text, "https://", 8)));
    free(address);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    if (data[0] == 255)
        read_options((struct input){data + 1, size - 1});
    else if (data[0] == 254)
        read_address((struct input){data + 1, size - 1});
    else
        read_answer(answers[data[0] % (sizeof answers / sizeof *answers)], data + 1, size - 1);
    return 0;
}
