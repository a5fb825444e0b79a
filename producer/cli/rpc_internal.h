// What rpc.c, rpc_stream.c and rpc_server.c share: the only files that see gRPC's client side.
#pragma once

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>

#include "producer/cli/rpc.h"

#define TY_RPC_TRAILING_MAX 8

struct ty_rpc_trailing {
    char *key, *value; // a NUL stands behind the value
    size_t len;
};

struct ty_rpc_client {
    char *server, *authorization; // authorization: NULL without a token
    char *key_id, *key; // to log in with; NULL: not
    int timeout_ms;
    grpc_channel *channel;
    grpc_completion_queue *queue;
    struct ty_rpc_trailing trailing[TY_RPC_TRAILING_MAX];
    size_t trailing_count;
};

// What one call owns.
struct ty_rpc_call {
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_metadata metadata[2];
    size_t metadata_count;
    grpc_byte_buffer *sent, *received;
    grpc_status_code status;
    grpc_slice details;
};

// The address of options->server and whether it is spoken to over TLS. *ret_address is the caller's. TY_EINVALID.
int ty_rpc_server_parse(const struct ty_rpc_client_options *options, char **ret_address, bool *ret_tls, struct ty_err *err) TY_MUST_USE;
// The caller releases them. Errors as of ty_rpc_client_new.
int ty_rpc_credentials(const struct ty_rpc_client_options *options, bool tls, grpc_channel_credentials **ret_credentials,
                       struct ty_err *err) TY_MUST_USE;
// Logs in where that is still to be done; before a call is opened.
int ty_rpc_log_in(struct ty_rpc_client *client, struct ty_err *err) TY_MUST_USE;
// Opens a call to path ("/package.Service/Method") with the metadata that every call carries. deadline_ms 0: none.
void ty_rpc_open_call(struct ty_rpc_client *client, const char *path, int deadline_ms, struct ty_rpc_call *call);
// After the last batch's end.
void ty_rpc_close_call(struct ty_rpc_call *call);
grpc_byte_buffer *ty_rpc_pack(const ProtobufCMessage *request);
int ty_rpc_unpack(const struct ty_rpc_client *client, grpc_byte_buffer *received, const ProtobufCMessageDescriptor *response,
                  ProtobufCMessage **ret_response, struct ty_err *err);
// The error of a call that ended with another status than OK.
int ty_rpc_call_err(const struct ty_rpc_client *client, const struct ty_rpc_call *call, struct ty_err *err);
