// The built trainyard-responder as a process of one test, and a gRPC client that sends and receives raw bytes, so that no
// generated code checks anything before the server does. What goes wrong in here fails the running cmocka test. One
// thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

#define RPC_TRAINING "/viam.app.mltraining.v1.MLTrainingService/"

struct responder_process;

// Starts the program on a free port and returns when it listens. args: more flags, NULL-terminated, or NULL. It dies with
// the test program. Owner frees with responder_process_free, which stops it when it runs.
struct responder_process *responder_process_new(const char *program, const char *redis_url, const char *kafka_brokers,
                                                const char *const *args);
// It listens before it has its store: returns when it has that too. Without this a call may find that the store is away.
void responder_process_await_store(struct responder_process *process);
const char *responder_process_address(const struct responder_process *process);
int responder_process_pid(const struct responder_process *process);
// SIGTERM, without waiting for the end.
void responder_process_tell(struct responder_process *process);
// SIGTERM unless it was told before; returns the exit status (-signal when a signal ended it) and how long it took.
int responder_process_stop(struct responder_process *process, uint64_t *ret_took_ms);
// Everything it has written to stderr so far, in static memory.
const char *responder_process_log(struct responder_process *process);
void responder_process_free(struct responder_process *process);

struct rpc_client;
struct rpc_client *rpc_client_new(const char *address);
void rpc_client_free(struct rpc_client *client);

struct rpc_answer {
    int status;
    char message[2048];
    bool has_message; // a reply message came, maybe an empty one
    struct ty_buf bytes;
    char trailing[1024]; // "key: value" lines
    uint64_t took_ms;
};
void rpc_answer_done(struct rpc_answer *answer);

// metadata: key, value, key, value, ..., NULL; or NULL. deadline_ms 0: none on the wire; a call without an answer for a minute
// fails the test in any case.
void rpc_call(struct rpc_client *client, const char *path, const void *bytes, size_t len, const char *const *metadata,
              unsigned deadline_ms, struct rpc_answer *ret_answer);
// Many calls of the same bytes at once; returns how many ended with each status, and the slowest in *ret_slowest_ms.
void rpc_call_many(struct rpc_client *client, const char *path, const void *bytes, size_t len, unsigned count,
                   unsigned ret_statuses[17], uint64_t *ret_slowest_ms);
// Starts a call and leaves it: the client cancels at once.
void rpc_call_cancel(struct rpc_client *client, const char *path, const void *bytes, size_t len);

struct rpc_stream;
struct rpc_stream *rpc_stream_open(struct rpc_client *client, const char *path);
// The same with metadata, as of rpc_call.
struct rpc_stream *rpc_stream_open_with(struct rpc_client *client, const char *path, const char *const *metadata);
void rpc_stream_send(struct rpc_stream *stream, const void *bytes, size_t len);
void rpc_stream_half_close(struct rpc_stream *stream);
// Asks for the next message now; rpc_stream_receive returns it later. The client library drops what arrived before it was
// asked for when the connection breaks, and this one may be read in the background at any time.
void rpc_stream_expect(struct rpc_stream *stream);
// False when the stream has ended.
bool rpc_stream_receive(struct rpc_stream *stream, struct ty_buf *ret_message);
// Waits for the end and returns its status; cancel first when the server is not to end it.
int rpc_stream_end(struct rpc_stream *stream, bool cancel);
