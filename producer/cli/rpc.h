// The only door to gRPC's client side: blocking unary calls of MLTrainingService, each with a deadline, and streams from a
// server. One thread.
// Nothing is connected before the first call; a server that comes back is found again within about a second.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

struct ty_rpc_client;

struct ty_rpc_client_options {
    const char *server; // "host:port" or "[address]:port", with http:// or https:// before it or not
    const char *token;  // sent as "authorization: Bearer TOKEN"; NULL or "": nothing is sent
    const char *key_id, *key; // without a token: the first call logs in with these before it; NULL or "": it does not
    int timeout_ms;     // for each call, connecting included
    bool tls;           // as https://; so are the files below
    const char *tls_ca, *tls_cert, *tls_key; // PEM files; NULL or "": the system's authorities, no certificate of our own
};

// The texts of options are copied. TY_EINVALID: not of the form host:port, a token that cannot be a header's value, half a key, or TLS
// files that contradict each other or the server's http://; TY_ENOTFOUND and others: as ty_file_read of a TLS file.
int ty_rpc_client_new(const struct ty_rpc_client_options *options, struct ty_rpc_client **ret_client,
                      struct ty_err *err) TY_MUST_USE;
void ty_rpc_client_free(struct ty_rpc_client *client);

// Calls a method of the service ("GetTrainingJob"), or of another by its path ("/package.Service/Method"). *ret_response is the caller's, freed with
// protobuf_c_message_free_unpacked. Errors: the server's status with its message, and with its name where the fault is
// the server's (or it is no responder at all); TY_EDATALOSS when the answer is no message of this kind.
int ty_rpc_client_call(struct ty_rpc_client *client, const char *method, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret_response,
                       struct ty_err *err) TY_MUST_USE;
// Trailing metadata of the last call, NULL when it has no such key. Borrowed until the next call.
const char *ty_rpc_client_trailing(const struct ty_rpc_client *client, const char *key);
// The same of a key that ends in "-bin": any bytes.
const void *ty_rpc_client_trailing_bytes(const struct ty_rpc_client *client, const char *key, size_t *ret_len);

// A call of any service that is answered by a stream of messages. Nothing is waited for by opening it, but a log-in
// that is still to be done; one at a time a client.
struct ty_rpc_stream;
int ty_rpc_stream_open(struct ty_rpc_client *client, const char *path, const ProtobufCMessage *request,
                       struct ty_rpc_stream **ret_stream, struct ty_err *err) TY_MUST_USE;
enum ty_rpc_stream_event {
    TY_RPC_STREAM_QUIET,   // nothing came within wait_ms
    TY_RPC_STREAM_MESSAGE, // *ret_message is the caller's
    TY_RPC_STREAM_END,     // with OK
};
// Waits for what comes next: an event, or an error as of ty_rpc_client_call, which is the stream's end.
int ty_rpc_stream_next(struct ty_rpc_stream *stream, const ProtobufCMessageDescriptor *descriptor, int wait_ms,
                       ProtobufCMessage **ret_message, struct ty_err *err) TY_MUST_USE;
// Cancels what has not ended. NULL is fine.
void ty_rpc_stream_close(struct ty_rpc_stream *stream);

const char *ty_rpc_client_server(const struct ty_rpc_client *client);

// Of the library.
const char *ty_rpc_client_version(void);
