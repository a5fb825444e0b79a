// gRPC: the load on a server, and the server that does nothing, which is the limit of every server on this library.
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "tests/bench/bench.h"

// ---- the server that does nothing ----

#define SLOTS 64

struct slot {
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *reply;
    int cancelled;
    bool answering;
};

struct server {
    grpc_server *server;
    grpc_completion_queue *queue;
    void *method;
};

static void request_call(struct server *server, struct slot *slot)
{
    *slot = (struct slot){0};
    grpc_metadata_array_init(&slot->metadata);
    grpc_server_request_registered_call(server->server, server->method, &slot->call, &slot->deadline, &slot->metadata,
                                        &slot->request, server->queue, server->queue, slot);
}

static void answer(struct slot *slot)
{
    grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}, {.op = GRPC_OP_RECV_CLOSE_ON_SERVER}};
    grpc_slice nothing = grpc_empty_slice();
    slot->answering = true;
    slot->reply = grpc_raw_byte_buffer_create(&nothing, 1);
    ops[1].data.send_message.send_message = slot->reply;
    ops[3].data.recv_close_on_server.cancelled = &slot->cancelled;
    grpc_call_start_batch(slot->call, ops, 4, slot, NULL);
}

static void release(struct slot *slot)
{
    grpc_byte_buffer_destroy(slot->request);
    grpc_byte_buffer_destroy(slot->reply);
    grpc_metadata_array_destroy(&slot->metadata);
    if (slot->call)
        grpc_call_unref(slot->call);
}

static void *serve(void *context)
{
    struct server *server = context;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(server->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct slot *slot = event.tag;
        if (!slot)
            continue; // the end of the server
        if (slot->answering) {
            release(slot);
            request_call(server, slot);
        } else if (event.success) {
            answer(slot);
        } else {
            release(slot);
        }
    }
}

static int write_address(const struct bench_options *options, int port, struct ty_err *err)
{
    if (!options->port_file)
        return ty_err_set(err, TY_EINVALID, "--port-file: is missing");
    char *aside TY_FREE = ty_xasprintf("%s.new", options->port_file);
    FILE *file = fopen(aside, "we");
    bool written = file && fprintf(file, "127.0.0.1:%d\n", port) > 0;
    if (file && fclose(file) != 0)
        written = false;
    if (!written || rename(aside, options->port_file) < 0)
        return ty_err_set(err, TY_ESYSTEM, "%s cannot be written", options->port_file);
    return 0;
}

int bench_grpc_serve(const struct bench_options *options, struct ty_err *err)
{
    struct server server;
    struct slot slots[SLOTS];
    pthread_t thread;
    sigset_t stops;
    int signal_number;
    // Blocked before the library starts threads, so that it is ours to take.
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    grpc_init();
    server.queue = grpc_completion_queue_create_for_next(NULL);
    server.server = grpc_server_create(NULL, NULL);
    grpc_server_register_completion_queue(server.server, server.queue, NULL);
    server.method = grpc_server_register_method(server.server, options->method, NULL,
                                                GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server.server, "127.0.0.1:0", credentials);
    grpc_server_credentials_release(credentials);
    grpc_server_start(server.server);
    for (size_t i = 0; i < SLOTS; i++)
        request_call(&server, &slots[i]);
    if (pthread_create(&thread, NULL, serve, &server) != 0)
        return ty_err_set(err, TY_ESYSTEM, "cannot start a thread");
    int rc = write_address(options, port, err);
    if (rc == 0)
        sigwait(&stops, &signal_number);
    grpc_server_shutdown_and_notify(server.server, server.queue, NULL);
    grpc_server_cancel_all_calls(server.server);
    grpc_completion_queue_shutdown(server.queue);
    pthread_join(thread, NULL);
    grpc_server_destroy(server.server);
    grpc_completion_queue_destroy(server.queue);
    grpc_shutdown();
    return rc;
}

// ---- the load ----

struct call {
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *request, *reply;
    grpc_status_code status;
    grpc_slice details;
    uint64_t start_us;
};

struct load {
    const struct bench_options *options;
    grpc_channel *channel;
    grpc_completion_queue *queue;
    void *method;
    int64_t sent, done, failed, bytes;
    struct bench_samples times;
    char failure[128];
};

// GetTrainingJobRequest {id}.
static grpc_byte_buffer *make_request(const struct load *load)
{
    char text[TY_ID_TEXT_BYTES];
    TY_BUF(bytes);
    // The jobs in turn, so that each request is another key.
    struct ty_id id = bench_job_id(load->options, load->options->first + load->sent % load->options->batch);
    ty_buf_add_tag_bytes(&bytes, 1, ty_id_format(&id, text), sizeof text - 1);
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static void start_call(struct load *load, struct call *call)
{
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    *call = (struct call){.request = make_request(load), .start_us = ty_clock_mono_us()};
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    call->call = grpc_channel_create_registered_call(load->channel, NULL, GRPC_PROPAGATE_DEFAULTS, load->queue, load->method,
                                                     gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    ops[1].data.send_message.send_message = call->request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].data.recv_message.recv_message = &call->reply;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->status;
    ops[5].data.recv_status_on_client.status_details = &call->details;
    grpc_call_start_batch(call->call, ops, 6, call, NULL);
    load->sent++;
}

static void end_call(struct load *load, struct call *call)
{
    load->done++;
    bench_samples_add(&load->times, (double)(ty_clock_mono_us() - call->start_us) / 1000);
    load->bytes += call->reply ? (int64_t)grpc_byte_buffer_length(call->reply) : 0;
    if (call->status != GRPC_STATUS_OK && !load->failed++)
        snprintf(load->failure, sizeof load->failure, "status %d: %.*s", (int)call->status,
                 (int)GRPC_SLICE_LENGTH(call->details), (const char *)GRPC_SLICE_START_PTR(call->details));
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->reply);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->details);
    grpc_call_unref(call->call);
}

static void run(struct load *load)
{
    int64_t count = load->options->count, in_flight = load->options->in_flight;
    struct call *calls = ty_xcalloc((size_t)in_flight, sizeof *calls);
    for (int64_t i = 0; i < in_flight && i < count; i++)
        start_call(load, &calls[i]);
    while (load->done < count) {
        grpc_event event = grpc_completion_queue_next(load->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        end_call(load, event.tag);
        if (load->sent < count)
            start_call(load, event.tag);
    }
    free(calls);
}

int bench_grpc_load(const struct bench_options *options, struct ty_err *err)
{
    struct load load = {.options = options};
    grpc_init();
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    load.channel = grpc_channel_create(options->address, credentials, NULL);
    grpc_channel_credentials_release(credentials);
    load.queue = grpc_completion_queue_create_for_next(NULL);
    load.method = grpc_channel_register_call(load.channel, options->method, NULL, NULL);
    uint64_t start_us = ty_clock_mono_us();
    run(&load);
    double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
    grpc_channel_destroy(load.channel);
    grpc_completion_queue_shutdown(load.queue);
    grpc_completion_queue_destroy(load.queue);
    grpc_shutdown();
    printf("{\"calls\": %lld, \"failed\": %lld, \"seconds\": %.6f, \"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"reply_bytes\": %.1f}\n", (long long)load.done, (long long)load.failed, seconds, (double)load.done / seconds,
           bench_samples_percentile(&load.times, 50), bench_samples_percentile(&load.times, 99),
           (double)load.bytes / (double)load.done);
    bench_samples_done(&load.times);
    return load.failed ? ty_err_set(err, TY_EUNAVAILABLE, "%lld calls failed, the first with %s", (long long)load.failed,
                                    load.failure)
                       : 0;
}
