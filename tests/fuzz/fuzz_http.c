// responder/http_*: whatever a client sends on a connection is answered in HTTP, or the connection is closed. A real server, one end
// of a socket pair for each input; behind it handlers that send a call's request back. docs/http.md has the protocols.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "responder/http_internal.h"
#include "responder/service.h"
#include "tests/fuzz/fuzz.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "trainyard/v1/log_service.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define INPUT_BYTES 65536u // what a socket pair's buffer takes at once
#define TURNS_MAX 10000

// ---- the calls ----

static void reply(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = malloc(len + 1);
    REQUIRE(bytes && protobuf_c_message_pack(message, bytes) == len);
    if (rpc->method->is_stream)
        ty_rpc_send(rpc, bytes, len);
    else
        ty_rpc_reply(rpc, bytes, len);
    free(bytes);
}

// What a handler reads of the metadata, each byte of it.
static void on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const char *key, *value;
    size_t key_len, value_len, sum = 0;
    for (size_t i = 0; ty_rpc_metadata(rpc, i, &key, &key_len, &value, &value_len); i++) {
        REQUIRE(memchr(key, 0, key_len + 1) == key + key_len);
        for (size_t at = 0; at < value_len; at++)
            sum += (unsigned char)value[at];
    }
    REQUIRE(sum < SIZE_MAX);
    reply(rpc, message);
    if (rpc->method->takes_one)
        ty_rpc_end(rpc);
}

#define SERVICE "/viam.app.mltraining.v1.MLTrainingService/"
#define UNARY(name, type) \
    {.path = SERVICE name, .access = TY_NEEDS_NOTHING, .request = &viam__app__mltraining__v1__##type##_request__descriptor, \
     .response = &viam__app__mltraining__v1__##type##_request__descriptor, .on_request = on_request}
static const struct ty_rpc_method methods[] = {
    UNARY("GetTrainingJob", get_training_job),
    UNARY("SubmitTrainingJob", submit_training_job),
    UNARY("SubmitCustomTrainingJob", submit_custom_training_job),
    {.path = "/trainyard.v1.LogService/Follow", .access = TY_NEEDS_NOTHING, .request = &trainyard__v1__follow_request__descriptor,
     .response = &trainyard__v1__follow_request__descriptor, .is_stream = true, .takes_one = true, .on_request = on_request},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", .access = TY_NEEDS_NOTHING,
     .request = &grpc__reflection__v1__server_reflection_request__descriptor,
     .response = &grpc__reflection__v1__server_reflection_request__descriptor, .is_stream = true, .on_request = on_request},
};

// ---- the server ----

static bool is_ready(void *context, struct ty_err *err)
{
    (void)context;
    ty_err_set(err, TY_EUNAVAILABLE, "not yet");
    return false;
}

static struct ty_loop *loop;

static struct ty_http *get_server(void)
{
    static char *const origins[] = {(char *)"https://a.example", NULL};
    static const struct ty_http_options options = {.host = "127.0.0.1", .max_connections = 8, .max_per_address = 8,
                                                   .origins = origins, .local_names_only = true, .is_ready = is_ready};
    static struct ty_service service; // without access keys
    static struct ty_http *http;
    struct ty_err err;
    if (http)
        return http;
    loop = ty_loop_new(&err);
    REQUIRE(loop && ty_http_new(loop, &options, methods, sizeof methods / sizeof *methods, &service, &http, &err) == 0);
    return http;
}

// The client's end of a connection that the server has.
static int open_client(struct ty_http *http)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(4711)};
    int fds[2], large = 4 * (int)INPUT_BYTES;
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    REQUIRE(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &large, sizeof large) == 0);
    REQUIRE(MHD_add_connection(http->daemon, fds[0], (const struct sockaddr *)&address, sizeof address) == MHD_YES);
    return fds[1];
}

// Reads what there is; false at the end of the connection.
static bool read_answer(int fd, char first[16], size_t *len)
{
    char bytes[65536];
    ssize_t got;
    while ((got = read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < got; i++, ++*len)
            if (*len < 16)
                first[*len] = bytes[i];
    return got < 0 && errno == EAGAIN;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_http *http = get_server();
    char first[16] = "";
    size_t len = 0, seen = 0;
    struct ty_err err;
    size = size < INPUT_BYTES ? size : INPUT_BYTES;
    int fd = open_client(http);
    REQUIRE(send(fd, data, size, MSG_NOSIGNAL) == (ssize_t)size);
    // The client says no more when the server has nothing to do and nothing to say.
    bool is_open = true, said_all = false;
    for (int turns = 0; is_open; turns++) {
        REQUIRE(turns < TURNS_MAX && ty_loop_run_once(loop, said_all ? 1 : 0, &err) == 0);
        is_open = read_answer(fd, first, &len);
        if (!said_all && turns > 2 && len == seen) {
            shutdown(fd, SHUT_WR);
            said_all = true;
        }
        seen = len;
    }
    close(fd);
    REQUIRE(!len || (len >= 12 && !memcmp(first, "HTTP/1.", 7)));
    for (int turns = 0; http->connections || http->requests; turns++)
        REQUIRE(turns < TURNS_MAX && ty_loop_run_once(loop, 1, &err) == 0);
    REQUIRE(!http->body_bytes && !http->answer_bytes && !http->calls.count);
    return 0;
}
