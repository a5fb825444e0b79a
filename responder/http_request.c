// One request between the library and its call: the body in, the answer out, and who waits for whom.
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "core/base64.h"
#include "core/log.h"
#include "responder/http_internal.h"
#include "responder/http_tls.h"

// What the library asks a stream for at once.
#define BLOCK_BYTES 16384
// A stream's buffer that is larger is given back when it is empty.
#define KEPT_BYTES 16384

// ---- life ----

static enum MHD_Result add_header(void *context, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value,
                                  size_t value_len)
{
    struct ty_http_request *request = context;
    TY_BUF(bytes);
    (void)kind;
    // As gRPC does it, a handler gets the bytes.
    if (name_len > 4 && !strcasecmp(name + name_len - 4, "-bin") && value && ty_base64_decode(value, value_len, &bytes))
        ty_http_fields_add(&request->metadata, name, bytes.data, bytes.len);
    else
        ty_http_fields_add(&request->metadata, name, value, value_len);
    return MHD_YES;
}

static struct ty_http_request *begin(struct ty_http *http, struct MHD_Connection *connection, const char *url, const char *verb)
{
    struct ty_http_request *request = ty_xcalloc(1, sizeof *request);
    request->http = http;
    request->connection = connection;
    request->socket = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    http->requests++;
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, add_header, request);
    ty_http_route(request, url, verb);
    if (http->options.tls &&
        !ty_http_tls_is_trusted(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session))
        ty_http_refuse(request, MHD_HTTP_FORBIDDEN, TY_EPERMISSION, "a client certificate of the server's authorities is needed");
    return request;
}

static void set_body(struct ty_http_request *request, const char *data, size_t len)
{
    ty_buf_add(&request->body, data, len);
    request->http->body_bytes += len;
}

static void drop_body(struct ty_http_request *request)
{
    request->http->body_bytes -= request->body.len;
    ty_buf_done(&request->body);
}

void ty_http_request_unref(struct ty_http_request *request)
{
    struct ty_http *http = request->http;
    if (!request->completed || (request->has_call && !request->call_done))
        return;
    drop_body(request);
    http->answer_bytes -= request->answer_bytes;
    ty_http_fields_done(&request->metadata);
    ty_http_fields_done(&request->headers);
    ty_buf_done(&request->query);
    ty_buf_done(&request->out);
    free(request);
    ty_http_request_gone(http);
}

// ---- waiting ----

static void unwatch(struct ty_http_request *request)
{
    if (request->watched)
        ty_loop_remove_fd(request->http->calls.loop, request->socket->fd);
    request->watched = false;
}

// The library closes at once what fails in one of its callbacks, but may keep its socket until older connections have gone (0.9.75
// looks only at the oldest). A socket that is shut down it finds by reading or writing, and closes whole.
static void close_soon(struct ty_http_request *request)
{
    shutdown(request->socket->fd, SHUT_RDWR);
    request->broken = true;
}

// The library looks at no connection that is suspended, so that we do: for a handler that wants to know, and for streams.
static void on_peer_closed(void *context, int fd, unsigned events)
{
    struct ty_http_request *request = context;
    struct ty_rpc *rpc = &request->rpc;
    (void)fd;
    (void)events;
    unwatch(request);
    ty_rpc_hold(rpc);
    ty_rpc_on_closed(rpc, true);
    if (ty_rpc_is_stream(rpc)) {
        close_soon(request);
        ty_http_wake(request);
    }
    ty_rpc_release(rpc);
}

static void suspend(struct ty_http_request *request)
{
    struct ty_err err;
    MHD_suspend_connection(request->connection);
    request->suspended = true;
    if (!request->call_done && ty_rpc_tells_closed(&request->rpc))
        request->watched = ty_loop_add_fd(request->http->calls.loop, request->socket->fd, TY_LOOP_PEER_CLOSED, on_peer_closed,
                                          request, &err) == 0;
}

void ty_http_wake(struct ty_http_request *request)
{
    if (!request->suspended)
        return;
    unwatch(request);
    request->suspended = false;
    MHD_resume_connection(request->connection);
    ty_http_run_soon(request->http);
}

// ---- the answer ----

// The message of a stream has left, or never will.
static void tell_sent(struct ty_http_request *request, bool ok)
{
    if (ty_rpc_on_sent(&request->rpc, ok))
        ty_http_call_next(request);
    ty_rpc_release(&request->rpc);
}

static ssize_t read_stream(void *context, uint64_t position, char *out, size_t max)
{
    struct ty_http_request *request = context;
    (void)position;
    if (request->broken && max) { // goes nowhere
        *out = '\n';
        return 1;
    }
    if (request->out_at == request->out.len) {
        ty_buf_clear(&request->out);
        if (request->out.cap > KEPT_BYTES)
            ty_buf_done(&request->out);
        request->out_at = 0;
        ty_http_set_deadline(request->socket, 0);
        if (!request->call_done && request->rpc.sending)
            tell_sent(request, true);
    }
    size_t left = request->out.len - request->out_at, len = left < max ? left : max;
    if (!left && request->out_ends)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (!left) {
        suspend(request);
        return 0;
    }
    memcpy(out, request->out.data + request->out_at, len);
    request->out_at += len;
    return (ssize_t)len;
}

static struct MHD_Response *make_response(struct ty_http_request *request)
{
    struct MHD_Response *response;
    if (request->is_stream)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream, request, NULL);
    response = MHD_create_response_from_buffer_with_free_callback(request->out.len, request->out.data, free);
    if (response)
        request->out = (struct ty_buf){0};
    return response;
}

static enum MHD_Result queue(struct ty_http_request *request)
{
    ty_http_add_cors(request);
    struct MHD_Response *response = make_response(request);
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < request->headers.count; i++)
        if (MHD_add_response_header(response, request->headers.items[i].name, request->headers.items[i].value) != MHD_YES)
            ty_log(TY_LOG_WARN, "http.header_refused", TY_KV("name", "%s", request->headers.items[i].name));
    request->queued = true;
    ty_http_set_deadline(request->socket, TY_HTTP_WRITE_MS);
    enum MHD_Result result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

// ---- the library's callbacks ----

static size_t body_limit(const struct ty_http_request *request)
{
    if (request->protocol == HTTP_PLAIN)
        return 0;
    return request->is_json ? TY_HTTP_BODY_BYTES : TY_LIMIT_REQUEST_BYTES + 5;
}

static void refuse_body(struct ty_http_request *request)
{
    TY_BUF(text);
    ty_buf_add_format(&text, "the request has more than %zu bytes", body_limit(request));
    drop_body(request);
    ty_http_refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, TY_EEXHAUSTED, ty_buf_text(&text));
}

// A body that is known to be too long is answered before it comes where its client waits for leave to send it, or where it is
// so long that the connection is closed. Others would still send and not see the answer: theirs is read and dropped.
static bool is_refused_at_once(struct ty_http_request *request)
{
    const char *length = ty_http_fields_get(&request->metadata, "content-length");
    unsigned long long len = length ? strtoull(length, NULL, 10) : 0;
    if (!request->answered && len > body_limit(request))
        refuse_body(request);
    return request->answered && len && (len > TY_HTTP_DISCARD_BYTES || ty_http_fields_get(&request->metadata, "expect"));
}

static void take_body(struct ty_http_request *request, const char *data, size_t len)
{
    if (!request->answered && request->body.len + len > body_limit(request))
        refuse_body(request);
    if (!request->answered && request->http->body_bytes + len > TY_HTTP_BODIES_BYTES)
        ty_http_refuse(request, MHD_HTTP_TOO_MANY_REQUESTS, TY_EEXHAUSTED, "too many requests are being received");
    if (!request->answered) {
        set_body(request, data, len);
        return;
    }
    // The library takes an answer only when it has the whole body.
    request->discarded += len;
    if (request->discarded > TY_HTTP_DISCARD_BYTES)
        close_soon(request);
}

enum MHD_Result ty_http_on_access(void *context, struct MHD_Connection *connection, const char *url, const char *verb,
                                  const char *version, const char *data, size_t *data_len, void **kept)
{
    struct ty_http_request *request = *kept;
    (void)version;
    if (!request) {
        request = *kept = begin(context, connection, url, verb);
        return is_refused_at_once(request) ? queue(request) : MHD_YES;
    }
    if (*data_len) {
        size_t len = *data_len;
        *data_len = 0;
        take_body(request, data, len);
        return MHD_YES;
    }
    ty_http_set_deadline(request->socket, 0);
    if (!request->answered && !request->has_call)
        ty_http_call_begin(request);
    if (request->broken && !request->answered)
        ty_http_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, TY_EUNAVAILABLE, "the client has left");
    if (request->answered)
        return queue(request);
    suspend(request);
    return MHD_YES;
}

void ty_http_on_completed(void *context, struct MHD_Connection *connection, void **kept, enum MHD_RequestTerminationCode why)
{
    struct ty_http_request *request = *kept;
    (void)context;
    (void)connection;
    if (!request)
        return;
    *kept = NULL;
    unwatch(request);
    request->connection = NULL;
    if (request->has_call && !request->call_done) {
        struct ty_rpc *rpc = &request->rpc;
        ty_rpc_hold(rpc);
        if (rpc->sending)
            tell_sent(request, false);
        ty_rpc_on_closed(rpc, why != MHD_REQUEST_TERMINATED_COMPLETED_OK);
        ty_rpc_release(rpc);
    }
    ty_http_set_deadline(request->socket, TY_HTTP_IDLE_MS);
    request->completed = true;
    ty_http_request_unref(request);
}
