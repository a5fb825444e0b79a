#include "producer/cli/rpc.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/crypto.h"
#include "core/wire.h"
#include "producer/cli/rpc_internal.h"
#include "proto/rpc/v1/auth.pb-c.h"

#define AUTHENTICATE "/proto.rpc.v1.AuthService/Authenticate"
#define SERVICE "/viam.app.mltraining.v1.MLTrainingService/"
// Above what a responder ever answers (TY_LIMIT_LIST_BYTES and what its clients take, 32 MiB).
#define ANSWER_BYTES (64 * 1024 * 1024)

// The library's own lines would stand between the program's; GRPC_VERBOSITY and GRPC_TRACE bring them back.
static void drop_log(gpr_log_func_args *args)
{
    (void)args;
}

static grpc_channel *create_channel(const char *server, grpc_channel_credentials *credentials)
{
    grpc_arg args[] = {
        {.key = (char *)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = ANSWER_BYTES},
        {.key = (char *)GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, .value.integer = 100},
        {.key = (char *)GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, .value.integer = 1000},
        {.key = (char *)GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, .value.integer = 1000},
        // A responder stands in the same network; a web proxy from the environment would only be in the way.
        {.key = (char *)GRPC_ARG_ENABLE_HTTP_PROXY, .value.integer = 0},
        {.key = (char *)GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, .value.integer = 1},
    };
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        args[i].type = GRPC_ARG_INTEGER;
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};
    grpc_channel *channel = grpc_channel_create(server, credentials, &all);
    grpc_channel_credentials_release(credentials);
    return channel;
}

static bool is_header_value(const char *text)
{
    grpc_slice slice = grpc_slice_from_static_string(text);
    return grpc_header_nonbin_value_is_legal(slice);
}

static const char *text_of(const char *setting)
{
    return setting && *setting ? setting : NULL;
}

int ty_rpc_client_new(const struct ty_rpc_client_options *options, struct ty_rpc_client **ret_client,
                      struct ty_err *err)
{
    const char *token = text_of(options->token), *key_id = text_of(options->key_id), *key = text_of(options->key);
    grpc_channel_credentials *credentials;
    char *address TY_FREE = NULL;
    bool tls;
    if (ty_rpc_server_parse(options, &address, &tls, err) < 0)
        return -(int)err->code;
    if (token && !is_header_value(token))
        return ty_err_set(err, TY_EINVALID, "--token: has characters that a header cannot carry");
    if (!token && !key != !key_id)
        return ty_err_set(err, TY_EINVALID, "--api-key and --api-key-id: one of them is missing");
    if (!getenv("GRPC_VERBOSITY") && !getenv("GRPC_TRACE"))
        gpr_set_log_function(drop_log);
    grpc_init();
    if (ty_rpc_credentials(options, tls, &credentials, err) < 0) {
        grpc_shutdown();
        return -(int)err->code;
    }
    struct ty_rpc_client *client = ty_xcalloc(1, sizeof *client);
    client->server = ty_xstrdup(options->server);
    client->authorization = token ? ty_xasprintf("Bearer %s", token) : NULL;
    client->key_id = key_id && !token ? ty_xstrdup(key_id) : NULL;
    client->key = key && !token ? ty_xstrdup(key) : NULL;
    client->timeout_ms = options->timeout_ms;
    client->channel = create_channel(address, credentials);
    client->queue = grpc_completion_queue_create_for_pluck(NULL);
    *ret_client = client;
    return 0;
}

static void forget_trailing(struct ty_rpc_client *client)
{
    for (size_t i = 0; i < client->trailing_count; i++) {
        free(client->trailing[i].key);
        free(client->trailing[i].value);
    }
    client->trailing_count = 0;
}

void ty_rpc_client_free(struct ty_rpc_client *client)
{
    if (!client)
        return;
    forget_trailing(client);
    grpc_channel_destroy(client->channel);
    grpc_completion_queue_shutdown(client->queue);
    grpc_completion_queue_destroy(client->queue);
    grpc_shutdown();
    free(client->server);
    free(client->authorization);
    free(client->key_id);
    if (client->key)
        ty_crypto_wipe(client->key, strlen(client->key));
    free(client->key);
    free(client);
}

// ---- one call ----

grpc_byte_buffer *ty_rpc_pack(const ProtobufCMessage *request)
{
    size_t len = protobuf_c_message_get_packed_size(request);
    grpc_slice slice = grpc_slice_malloc(len);
    protobuf_c_message_pack(request, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

// Both are borrowed for the call.
static void add_metadata(struct ty_rpc_call *call, const char *key, const char *value)
{
    grpc_metadata *entry = &call->metadata[call->metadata_count++];
    entry->key = grpc_slice_from_static_string(key);
    entry->value = grpc_slice_from_static_string(value);
}

void ty_rpc_open_call(struct ty_rpc_client *client, const char *path, int deadline_ms, struct ty_rpc_call *call)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (deadline_ms)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(deadline_ms, GPR_TIMESPAN));
    grpc_slice path_slice = grpc_slice_from_copied_string(path);
    call->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue, path_slice, NULL,
                                          deadline, NULL);
    grpc_slice_unref(path_slice);
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    add_metadata(call, "trainyard-explain", "true");
    if (client->authorization)
        add_metadata(call, "authorization", client->authorization);
    call->details = grpc_empty_slice();
}

void ty_rpc_close_call(struct ty_rpc_call *call)
{
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_byte_buffer_destroy(call->sent);
    grpc_byte_buffer_destroy(call->received);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->call);
}

// Sends the request and waits for the status, which comes by the deadline at the latest.
static int run_batch(struct ty_rpc_client *client, struct ty_rpc_call *call, struct ty_err *err)
{
    grpc_op ops[6] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},  {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
        {.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT},
    };
    ops[0].data.send_initial_metadata.metadata = call->metadata;
    ops[0].data.send_initial_metadata.count = call->metadata_count;
    ops[1].data.send_message.send_message = call->sent;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_message.recv_message = &call->received;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->status;
    ops[5].data.recv_status_on_client.status_details = &call->details;
    grpc_call_error error = grpc_call_start_batch(call->call, ops, 6, call, NULL);
    if (error != GRPC_CALL_OK)
        return ty_err_set(err, TY_EINTERNAL, "grpc: %s", grpc_call_error_to_string(error));
    grpc_completion_queue_pluck(client->queue, call, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    return 0;
}

static void keep_trailing(struct ty_rpc_client *client, const grpc_metadata_array *from)
{
    for (size_t i = 0; i < from->count && client->trailing_count < TY_RPC_TRAILING_MAX; i++) {
        struct ty_rpc_trailing *trailing = &client->trailing[client->trailing_count++];
        trailing->key = grpc_slice_to_c_string(from->metadata[i].key);
        trailing->value = grpc_slice_to_c_string(from->metadata[i].value);
        trailing->len = GRPC_SLICE_LENGTH(from->metadata[i].value);
    }
}

int ty_rpc_call_err(const struct ty_rpc_client *client, const struct ty_rpc_call *call, struct ty_err *err)
{
    // Nobody here cancels: a server that is stopping drops a call that came in that moment.
    if (call->status == GRPC_STATUS_CANCELLED)
        return ty_err_set(err, TY_EUNAVAILABLE, "responder %s: it dropped the call; it is stopping", client->server);
    enum ty_code code = ty_code_from_grpc((int)call->status);
    size_t len = GRPC_SLICE_LENGTH(call->details);
    const char *text = len ? (const char *)GRPC_SLICE_START_PTR(call->details) : ty_code_name(code);
    int shown = len ? (int)len : (int)strlen(text);
    if (code == TY_EDEADLINE)
        return ty_err_set(err, code, "responder %s: no answer within %d ms", client->server, client->timeout_ms);
    if (code == TY_EUNAVAILABLE || code == TY_EINTERNAL || code == TY_EUNIMPLEMENTED || code == TY_EDATALOSS)
        return ty_err_set(err, code, "responder %s: %.*s", client->server, shown, text);
    return ty_err_set(err, code, "%.*s", shown, text);
}

int ty_rpc_unpack(const struct ty_rpc_client *client, grpc_byte_buffer *received,
                  const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret_response, struct ty_err *err)
{
    grpc_byte_buffer_reader reader;
    if (!received || !grpc_byte_buffer_reader_init(&reader, received))
        return ty_err_set(err, TY_EDATALOSS, "responder %s: an answer without a message", client->server);
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    int rc = ty_wire_unpack(response, GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes), ret_response, err);
    grpc_slice_unref(bytes);
    grpc_byte_buffer_reader_destroy(&reader);
    if (rc < 0) {
        err->code = TY_EDATALOSS;
        return ty_err_prefix(err, "responder %s: the answer cannot be read", client->server);
    }
    return 0;
}

static int call_path(struct ty_rpc_client *client, const char *path, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret_response, struct ty_err *err)
{
    struct ty_rpc_call call = {0};
    forget_trailing(client);
    ty_rpc_open_call(client, path, client->timeout_ms, &call);
    call.sent = ty_rpc_pack(request);
    int rc = run_batch(client, &call, err);
    if (rc == 0) {
        keep_trailing(client, &call.trailing);
        rc = call.status == GRPC_STATUS_OK ? ty_rpc_unpack(client, call.received, response, ret_response, err)
                                           : ty_rpc_call_err(client, &call, err);
    }
    ty_rpc_close_call(&call);
    return rc;
}

int ty_rpc_log_in(struct ty_rpc_client *client, struct ty_err *err)
{
    Proto__Rpc__V1__AuthenticateRequest request = PROTO__RPC__V1__AUTHENTICATE_REQUEST__INIT;
    Proto__Rpc__V1__Credentials credentials = PROTO__RPC__V1__CREDENTIALS__INIT;
    ProtobufCMessage *message;
    if (client->authorization || !client->key)
        return 0;
    credentials.type = (char *)"api-key";
    credentials.payload = client->key;
    request.entity = client->key_id;
    request.credentials = &credentials;
    if (call_path(client, AUTHENTICATE, &request.base, &proto__rpc__v1__authenticate_response__descriptor, &message, err) < 0)
        return ty_err_prefix(err, "logging in");
    const char *token = ((const Proto__Rpc__V1__AuthenticateResponse *)message)->access_token;
    int rc = *token && is_header_value(token) ? 0 : ty_err_set(err, TY_EDATALOSS, "responder %s: it gave no access token", client->server);
    if (rc == 0)
        client->authorization = ty_xasprintf("Bearer %s", token);
    protobuf_c_message_free_unpacked(message, NULL);
    return rc;
}

int ty_rpc_client_call(struct ty_rpc_client *client, const char *method, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret_response, struct ty_err *err)
{
    char *path TY_FREE = ty_xasprintf("%s%s", *method == '/' ? "" : SERVICE, method);
    int rc = ty_rpc_log_in(client, err);
    return rc < 0 ? rc : call_path(client, path, request, response, ret_response, err);
}

const void *ty_rpc_client_trailing_bytes(const struct ty_rpc_client *client, const char *key, size_t *ret_len)
{
    for (size_t i = 0; i < client->trailing_count; i++) {
        if (strcmp(client->trailing[i].key, key) != 0)
            continue;
        *ret_len = client->trailing[i].len;
        return client->trailing[i].value;
    }
    return NULL;
}

const char *ty_rpc_client_trailing(const struct ty_rpc_client *client, const char *key)
{
    size_t len;
    return ty_rpc_client_trailing_bytes(client, key, &len);
}

const char *ty_rpc_client_server(const struct ty_rpc_client *client)
{
    return client->server;
}

const char *ty_rpc_client_version(void)
{
    return grpc_version_string();
}
