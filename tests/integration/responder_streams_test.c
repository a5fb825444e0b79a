// The health service and server reflection, and that both live beside the unary calls.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/reflection/v1/reflection.pb-c.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define WATCH "/grpc.health.v1.Health/Watch"
#define REFLECTION_V1 "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECTION_V1ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
#define SERVICE "viam.app.mltraining.v1.MLTrainingService"

enum { OK = 0, CANCELLED = 1, INVALID_ARGUMENT = 3, NOT_FOUND = 5 };
enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *process;
static struct rpc_client *client;

static int set_up(void **state)
{
    (void)state;
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, 1);
    kafka = mock_kafka_new();
    process = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), NULL);
    client = rpc_client_new(responder_process_address(process));
    responder_process_await_store(process);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    uint64_t took_ms;
    rpc_client_free(client);
    int status = responder_process_stop(process, &took_ms); // a sanitizer speaks up here
    if (status != 0)
        print_error("exit %d: %s\n", status, responder_process_log(process));
    responder_process_free(process);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    return status;
}

// ---- health ----

static struct rpc_stream *watch(const char *service)
{
    struct rpc_stream *stream = rpc_stream_open(client, WATCH);
    TY_BUF(request);
    ty_buf_add_tag_bytes(&request, 1, service, strlen(service));
    rpc_stream_send(stream, request.data, request.len);
    rpc_stream_half_close(stream); // as a client of a server-streaming call does
    return stream;
}

static int next_health(struct rpc_stream *stream)
{
    TY_BUF(message);
    if (!rpc_stream_receive(stream, &message))
        fail_msg("the watch has ended");
    assert_int_equal(message.len, 2);
    assert_int_equal(message.data[0], 1 << 3);
    return message.data[1];
}

static int await_serving(struct rpc_stream *stream)
{
    int status;
    while ((status = next_health(stream)) == NOT_SERVING)
        continue;
    return status;
}

static void test_watch_follows_the_store(void **state)
{
    (void)state;
    struct rpc_stream *overall = watch(""), *one = watch(SERVICE), *unknown = watch("no.such.Service");
    assert_int_equal(await_serving(overall), SERVING);
    assert_int_equal(await_serving(one), SERVING);
    assert_int_equal(next_health(unknown), SERVICE_UNKNOWN);
    redis_server_kill(redis);
    assert_int_equal(next_health(overall), NOT_SERVING);
    assert_int_equal(next_health(one), NOT_SERVING);
    redis_server_start(redis);
    assert_int_equal(next_health(overall), SERVING);
    assert_int_equal(next_health(one), SERVING);
    assert_int_equal(rpc_stream_end(overall, true), CANCELLED);
    assert_int_equal(rpc_stream_end(one, true), CANCELLED);
    assert_int_equal(rpc_stream_end(unknown, true), CANCELLED);
}

static void test_check(void **state)
{
    static const struct {
        const char *service;
        int status;
    } cases[] = {{"", OK}, {SERVICE, OK}, {"trainyard.v1.LogService", OK}, {"no.such.Service", NOT_FOUND}, {"viam", NOT_FOUND}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TY_BUF(request);
        struct rpc_answer answer;
        ty_buf_add_tag_bytes(&request, 1, cases[i].service, strlen(cases[i].service));
        rpc_call(client, "/grpc.health.v1.Health/Check", request.data, request.len, NULL, 0, &answer);
        assert_int_equal(answer.status, cases[i].status);
        if (cases[i].status == OK)
            assert_memory_equal(answer.bytes.data, "\x08\x01", 2);
        rpc_answer_done(&answer);
    }
}

static void test_many_watches_come_and_go(void **state)
{
    struct rpc_stream *streams[60];
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 60; i++)
            streams[i] = watch("");
        for (size_t i = 0; i < 60; i++)
            assert_int_equal(next_health(streams[i]), SERVING);
        for (size_t i = 0; i < 60; i++)
            assert_int_equal(rpc_stream_end(streams[i], true), CANCELLED);
    }
}

// ---- reflection ----

static Response *ask(struct rpc_stream *stream, const Request *request)
{
    TY_BUF(bytes);
    TY_BUF(answer);
    size_t len = grpc__reflection__v1__server_reflection_request__get_packed_size(request);
    grpc__reflection__v1__server_reflection_request__pack(request, ty_buf_reserve(&bytes, len));
    rpc_stream_send(stream, bytes.data, len);
    if (!rpc_stream_receive(stream, &answer))
        fail_msg("the reflection stream has ended");
    Response *response = grpc__reflection__v1__server_reflection_response__unpack(NULL, answer.len, answer.data);
    assert_non_null(response);
    assert_non_null(response->original_request);
    assert_int_equal(response->original_request->message_request_case, request->message_request_case);
    return response;
}

static void expect_file(struct rpc_stream *stream, const Request *request, const char *name)
{
    Response *response = ask(stream, request);
    assert_int_equal(response->message_response_case,
                     GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE);
    const ProtobufCBinaryData *file = response->file_descriptor_response->file_descriptor_proto;
    assert_non_null(memmem(file->data, file->len, name, strlen(name)));
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

static void expect_error(struct rpc_stream *stream, const Request *request, int code)
{
    Response *response = ask(stream, request);
    assert_int_equal(response->message_response_case,
                     GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE);
    assert_int_equal(response->error_response->error_code, code);
    assert_true(*response->error_response->error_message != 0);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
}

static void ask_everything(const char *path)
{
    struct rpc_stream *stream = rpc_stream_open(client, path);
    Request request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    request.list_services = (char *)"";
    Response *response = ask(stream, &request);
    assert_int_equal(response->list_services_response->n_service, 8);
    assert_string_equal(response->list_services_response->service[0]->name, SERVICE);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);

    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = (char *)SERVICE;
    expect_file(stream, &request, "viam/app/mltraining/v1/ml_training.proto");
    request.file_containing_symbol = (char *)"trainyard.v1.LogService.Follow";
    expect_file(stream, &request, "trainyard/v1/log_service.proto");
    request.file_containing_symbol = (char *)"viam.app.mltraining.v1.Nothing";
    expect_error(stream, &request, NOT_FOUND);

    request.message_request_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME;
    request.file_by_filename = (char *)"google/rpc/status.proto";
    expect_file(stream, &request, "google/rpc/status.proto");
    request.file_by_filename = (char *)"/etc/passwd";
    expect_error(stream, &request, NOT_FOUND);

    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE;
    request.all_extension_numbers_of_type = (char *)"viam.app.mltraining.v1.Container";
    response = ask(stream, &request);
    assert_int_equal(response->message_response_case,
                     GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE);
    assert_int_equal(response->all_extension_numbers_response->n_extension_number, 0);
    grpc__reflection__v1__server_reflection_response__free_unpacked(response, NULL);
    request.all_extension_numbers_of_type = (char *)SERVICE;
    expect_error(stream, &request, NOT_FOUND);

    request.message_request_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__NOT_SET;
    expect_error(stream, &request, INVALID_ARGUMENT);
    rpc_stream_half_close(stream);
    assert_int_equal(rpc_stream_end(stream, false), OK);
}

static void test_reflection(void **state)
{
    (void)state;
    ask_everything(REFLECTION_V1);
    ask_everything(REFLECTION_V1ALPHA);
}

static void test_bad_bytes_end_a_stream_with_their_status(void **state)
{
    static const char *const paths[] = {REFLECTION_V1, WATCH};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        TY_BUF(message);
        struct rpc_stream *stream = rpc_stream_open(client, paths[i]);
        rpc_stream_send(stream, "\x0a\x01\xff", 3);
        assert_false(rpc_stream_receive(stream, &message));
        assert_int_equal(rpc_stream_end(stream, false), INVALID_ARGUMENT);
        stream = rpc_stream_open(client, paths[i]); // without any message
        rpc_stream_half_close(stream);
        assert_int_equal(rpc_stream_end(stream, false), OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_follows_the_store),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_many_watches_come_and_go),
        cmocka_unit_test(test_reflection),
        cmocka_unit_test(test_bad_bytes_end_a_stream_with_their_status),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
