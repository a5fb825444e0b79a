#include "responder/grpc_server.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "responder/grpc_internal.h"

// Calls the library may hand out before we ask for more, per method.
#define SLOTS_UNARY 64
#define SLOTS_STREAM 8

// ---- the pool ----

static void set_up_call(struct ty_grpc_call *call, struct ty_grpc *grpc, const struct ty_grpc_slot *slot)
{
    *call = (struct ty_grpc_call){.grpc = grpc, .slot = slot};
    ty_rpc_init(&call->rpc, &grpc->calls, slot ? slot->table : NULL);
    atomic_init(&call->refs, 1);
    call->on_new = (struct ty_grpc_tag){.kind = TAG_NEW, .call = call};
    call->on_message = (struct ty_grpc_tag){.kind = TAG_MESSAGE, .call = call};
    call->on_sent = (struct ty_grpc_tag){.kind = TAG_SENT, .call = call};
    call->on_closed = (struct ty_grpc_tag){.kind = TAG_CLOSED, .call = call};
    grpc_metadata_array_init(&call->metadata);
    if (!slot)
        grpc_call_details_init(&call->details);
}

static struct ty_grpc_call *take_call(struct ty_grpc *grpc)
{
    if (!grpc->pool)
        grpc->pool = atomic_exchange(&grpc->returned, NULL);
    struct ty_grpc_call *call = grpc->pool;
    if (!call)
        return ty_xmalloc(sizeof *call);
    grpc->pool = call->next;
    return call;
}

static void give_back(struct ty_grpc_call *call)
{
    struct ty_grpc *grpc = call->grpc;
    grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->reply);
    grpc_metadata_array_destroy(&call->metadata);
    if (!call->slot)
        grpc_call_details_destroy(&call->details);
    if (call->call)
        grpc_call_unref(call->call);
    call->next = atomic_load(&grpc->returned);
    while (!atomic_compare_exchange_weak(&grpc->returned, &call->next, call))
        continue;
}

void ty_grpc_call_unref(struct ty_grpc_call *call)
{
    if (atomic_fetch_sub(&call->refs, 1) == 1)
        give_back(call);
}

// ---- the completion queue's thread ----

static void request_call(struct ty_grpc *grpc, const struct ty_grpc_slot *slot)
{
    struct ty_grpc_call *call = take_call(grpc);
    set_up_call(call, grpc, slot);
    grpc_call_error error =
        slot ? grpc_server_request_registered_call(grpc->server, slot->registered, &call->call, &call->deadline,
                                                   &call->metadata, slot->table->is_stream ? NULL : &call->request,
                                                   grpc->queue, grpc->queue, &call->on_new)
             : grpc_server_request_call(grpc->server, &call->call, &call->details, &call->metadata, grpc->queue,
                                        grpc->queue, &call->on_new);
    if (error != GRPC_CALL_OK)
        ty_grpc_call_unref(call);
}

static void drain(void *context);

static void put_in_mailbox(struct ty_grpc *grpc, struct ty_grpc_tag *tag)
{
    struct ty_grpc_tag *before = atomic_load(&grpc->mailbox);
    do
        tag->next = before;
    while (!atomic_compare_exchange_weak(&grpc->mailbox, &before, tag));
    if (!before) // the tag is the loop's already
        ty_loop_post(grpc->calls.loop, drain, grpc);
}

static void handle_event(struct ty_grpc *grpc, struct ty_grpc_tag *tag, bool ok)
{
    struct ty_grpc_call *call = tag->call;
    tag->ok = ok;
    if (tag->kind == TAG_NEW) {
        if (!ok) { // the server is stopping
            ty_grpc_call_unref(call);
            return;
        }
        request_call(grpc, call->slot);
    }
    // Of a unary call nobody waits for the answer to leave: it ends here.
    if (tag->kind == TAG_SENT && !ty_rpc_is_stream(&call->rpc) && !call->large_bytes) {
        ty_grpc_call_unref(call);
        return;
    }
    put_in_mailbox(grpc, tag);
}

static void *serve(void *context)
{
    struct ty_grpc *grpc = context;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(grpc->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE)
            handle_event(grpc, event.tag, event.success);
    }
}

// ---- the loop's side ----

// The server ends on its own time; a handler may hold a call beyond that.
static void tell_stopped(void *context)
{
    struct ty_grpc *grpc = context;
    if (grpc->server_stopped && !grpc->calls.count && grpc->stopped)
        grpc->stopped(grpc->stopped_context);
}

static uint64_t time_left_ms(const struct ty_grpc_call *call)
{
    gpr_timespec left = gpr_time_sub(call->deadline, gpr_now(call->deadline.clock_type));
    int64_t ms = left.tv_sec >= TY_RPC_TIMEOUT_MS / 1000 + 1 ? TY_RPC_TIMEOUT_MS : gpr_time_to_millis(left);
    return ms < 0 ? 0 : (uint64_t)ms;
}

// The request's bytes in one piece; *ret_slice is the caller's to unref.
static bool read_request(grpc_byte_buffer *request, grpc_slice *ret_slice)
{
    grpc_byte_buffer_reader reader;
    if (!request || !grpc_byte_buffer_reader_init(&reader, request))
        return false;
    *ret_slice = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return true;
}

static void take_message(struct ty_grpc_call *call)
{
    struct ty_err err;
    grpc_slice bytes;
    if (!read_request(call->request, &bytes)) {
        ty_err_set(&err, TY_EINVALID, "the call has no request message");
        ty_rpc_fail(&call->rpc, &err);
        return;
    }
    grpc_byte_buffer_destroy(call->request);
    call->request = NULL;
    ty_rpc_dispatch(&call->rpc, GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes));
    grpc_slice_unref(bytes);
}

static void on_new_call(struct ty_grpc_call *call)
{
    struct ty_rpc *rpc = &call->rpc;
    if (ty_rpc_tells_closed(rpc))
        ty_grpc_receive_close(call);
    if (!ty_rpc_start(rpc, call->slot ? time_left_ms(call) : 0))
        return;
    if (ty_rpc_is_stream(rpc)) {
        ty_grpc_receive_message(call);
    } else {
        ty_rpc_hold(rpc);
        take_message(call);
        ty_rpc_release(rpc);
    }
}

static void on_stream_message(struct ty_grpc_call *call, bool ok)
{
    struct ty_rpc *rpc = &call->rpc;
    if (rpc->answered)
        return;
    if (ok && call->request)
        take_message(call);
    else
        ty_rpc_answer(rpc, NULL, NULL); // the client has said all it wants to say
    if (ty_rpc_takes_more(rpc))
        ty_grpc_receive_message(call);
}

static void on_stream_sent(struct ty_grpc_call *call, bool ok)
{
    grpc_byte_buffer_destroy(call->reply);
    call->reply = NULL;
    if (ty_rpc_on_sent(&call->rpc, ok))
        ty_grpc_receive_message(call);
}

static void deliver(struct ty_grpc *grpc, struct ty_grpc_tag *tag)
{
    struct ty_grpc_call *call = tag->call;
    switch (tag->kind) {
    case TAG_NEW: on_new_call(call); return;
    case TAG_MESSAGE: on_stream_message(call, tag->ok); break;
    case TAG_SENT:
        if (call->large_bytes)
            ty_grpc_on_large_sent(call);
        else
            on_stream_sent(call, tag->ok);
        break;
    case TAG_CLOSED: ty_rpc_on_closed(&call->rpc, call->was_cancelled != 0); break;
    case TAG_STOPPED:
        grpc->server_stopped = true;
        tell_stopped(grpc);
        return;
    }
    ty_rpc_release(&call->rpc);
}

static void drain(void *context)
{
    struct ty_grpc *grpc = context;
    struct ty_grpc_tag *newest = atomic_exchange(&grpc->mailbox, NULL), *oldest = NULL;
    while (newest) {
        struct ty_grpc_tag *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct ty_grpc_tag *next = oldest->next; // the tag is free for its next use once it is delivered
        deliver(grpc, oldest);
        oldest = next;
    }
}

// ---- the server ----

// The library's own words go where ours go.
static void on_library_log(gpr_log_func_args *args)
{
    enum ty_log_level level = args->severity == GPR_LOG_SEVERITY_ERROR ? TY_LOG_WARN : TY_LOG_DEBUG;
    ty_log(level, "grpc.log", TY_KV("message", "%s", args->message));
}

static grpc_server *create_server(const struct ty_grpc_options *options)
{
    grpc_arg args[] = {
        {.key = GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, .value.integer = (int)options->max_request_bytes},
        {.key = GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, .value.integer = -1},
        {.key = GRPC_ARG_ALLOW_REUSEPORT, .value.integer = 0},
        {.key = GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, .value.integer = TY_GRPC_PING_INTERVAL_MS},
        {.key = GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, .value.integer = 1},
        // A client that has gone without a word is found out, though nothing is sent to it.
        {.key = GRPC_ARG_KEEPALIVE_TIME_MS, .value.integer = TY_GRPC_KEEPALIVE_MS},
        {.key = GRPC_ARG_KEEPALIVE_TIMEOUT_MS, .value.integer = TY_GRPC_KEEPALIVE_TIMEOUT_MS},
        {.key = GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, .value.integer = 0},
        {.key = GRPC_ARG_MAX_CONCURRENT_STREAMS, .value.integer = TY_GRPC_STREAMS},
        {.key = GRPC_ARG_MAX_METADATA_SIZE, .value.integer = TY_GRPC_METADATA_BYTES},
        {.key = GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, .value.integer = TY_GRPC_HANDSHAKE_MS},
        {.key = GRPC_ARG_ENABLE_CHANNELZ, .value.integer = 0},
        {.key = GRPC_ARG_HTTP2_BDP_PROBE, .value.integer = 0},
    };
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        args[i].type = GRPC_ARG_INTEGER;
    grpc_channel_args all = {.num_args = sizeof args / sizeof *args, .args = args};
    return grpc_server_create(&all, NULL);
}

static int listen_on(struct ty_grpc *grpc, const struct ty_grpc_options *options, struct ty_err *err)
{
    bool is_v6 = strchr(options->host, ':') != NULL;
    char *address TY_FREE =
        ty_xasprintf("%s%s%s:%u", is_v6 ? "[" : "", options->host, is_v6 ? "]" : "", options->port);
    grpc_server_credentials *credentials = ty_grpc_credentials(grpc);
    int port = grpc_server_add_http2_port(grpc->server, address, credentials);
    grpc_server_credentials_release(credentials);
    if (port <= 0)
        return ty_err_set(err, TY_EUNAVAILABLE, "cannot listen on %s: the address is in use or not ours", address);
    grpc->port = (unsigned)port;
    return 0;
}

static void register_methods(struct ty_grpc *grpc, const struct ty_rpc_method *methods, size_t count)
{
    grpc->methods = ty_xcalloc(count, sizeof *grpc->methods);
    grpc->method_count = count;
    for (size_t i = 0; i < count; i++) {
        grpc->methods[i].table = &methods[i];
        grpc->methods[i].registered = grpc_server_register_method(
            grpc->server, methods[i].path, NULL,
            methods[i].is_stream ? GRPC_SRM_PAYLOAD_NONE : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    }
}

static void request_calls(struct ty_grpc *grpc)
{
    for (size_t i = 0; i < grpc->method_count; i++)
        for (int n = 0; n < (grpc->methods[i].table->is_stream ? SLOTS_STREAM : SLOTS_UNARY); n++)
            request_call(grpc, &grpc->methods[i]);
    for (int n = 0; n < SLOTS_STREAM; n++)
        request_call(grpc, NULL);
}

int ty_grpc_new(struct ty_loop *loop, const struct ty_grpc_options *options, const struct ty_rpc_method *methods,
                size_t count, void *context, struct ty_grpc **ret_grpc, struct ty_err *err)
{
    struct ty_grpc *grpc = ty_xcalloc(1, sizeof *grpc);
    gpr_set_log_function(on_library_log);
    grpc_init();
    grpc->calls = (struct ty_rpc_calls){.loop = loop,
                                        .context = context,
                                        .transport = &ty_grpc_transport,
                                        .on_idle = tell_stopped,
                                        .transport_context = grpc};
    grpc->tls = options->tls;
    grpc->on_stopped = (struct ty_grpc_tag){.kind = TAG_STOPPED};
    grpc->queue = grpc_completion_queue_create_for_next(NULL);
    grpc->server = create_server(options);
    grpc_server_register_completion_queue(grpc->server, grpc->queue, NULL);
    register_methods(grpc, methods, count);
    int rc = listen_on(grpc, options, err);
    if (rc == 0) {
        grpc_server_start(grpc->server);
        request_calls(grpc); // the thread that owns the pool from here on starts after it
        grpc->started = pthread_create(&grpc->thread, NULL, serve, grpc) == 0;
        if (!grpc->started)
            rc = ty_err_set(err, TY_ESYSTEM, "cannot start the thread of the completion queue");
    }
    if (rc < 0) {
        ty_grpc_free(grpc);
        return rc;
    }
    *ret_grpc = grpc;
    return 0;
}

unsigned ty_grpc_port(const struct ty_grpc *grpc)
{
    return grpc->port;
}

void ty_grpc_stop(struct ty_grpc *grpc, void (*on_stopped)(void *context), void *context)
{
    grpc->stopped = on_stopped;
    grpc->stopped_context = context;
    grpc_server_shutdown_and_notify(grpc->server, grpc->queue, &grpc->on_stopped);
    ty_rpc_stop_calls(&grpc->calls);
}

void ty_grpc_cancel_calls(struct ty_grpc *grpc)
{
    grpc_server_cancel_all_calls(grpc->server);
}

static void free_pool(struct ty_grpc_call *call)
{
    for (struct ty_grpc_call *next; call; call = next) {
        next = call->next;
        free(call);
    }
}

// Reads the queue up to the server's end.
static void take_end(struct ty_grpc *grpc)
{
    for (;;) {
        grpc_event event = grpc_completion_queue_next(grpc->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.tag == &grpc->on_stopped)
            return;
        handle_event(grpc, event.tag, event.success);
    }
}

void ty_grpc_free(struct ty_grpc *grpc)
{
    if (!grpc)
        return;
    if (!grpc->started) { // nobody has read the queue so far: take the end of the server from it here
        grpc_server_shutdown_and_notify(grpc->server, grpc->queue, &grpc->on_stopped);
        grpc_server_cancel_all_calls(grpc->server);
        take_end(grpc);
    }
    grpc_server_destroy(grpc->server);
    grpc_completion_queue_shutdown(grpc->queue);
    if (grpc->started)
        pthread_join(grpc->thread, NULL);
    else
        serve(grpc);
    grpc_completion_queue_destroy(grpc->queue);
    free_pool(grpc->pool);
    free_pool(atomic_load(&grpc->returned));
    free(grpc->methods);
    free(grpc);
    grpc_shutdown();
}

const char *ty_grpc_version(void)
{
    return grpc_version_string();
}
