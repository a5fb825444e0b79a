// A call that came by HTTP: its request message out of the body, and what a transport does for it.
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/message_json.h"
#include "responder/http_internal.h"

#define ENVELOPE_BYTES 5
#define FLAG_COMPRESSED 1

// ---- the transport ----

static bool metadata(const struct ty_rpc *rpc, size_t index, const char **ret_key, size_t *ret_key_len, const char **ret_value,
                     size_t *ret_value_len)
{
    const struct ty_http_fields *fields = &((const struct ty_http_request *)rpc)->metadata;
    if (index >= fields->count)
        return false;
    *ret_key = fields->items[index].name;
    *ret_key_len = strlen(fields->items[index].name);
    *ret_value = fields->items[index].value;
    *ret_value_len = fields->items[index].value_len;
    return true;
}

// An answer that its client may take long to take is counted until it has.
static bool has_room(struct ty_http_request *request)
{
    struct ty_http *http = request->http;
    if (request->out.len <= TY_HTTP_SMALL_BYTES)
        return true;
    if (http->answer_bytes + request->out.len > TY_HTTP_ANSWERS_BYTES)
        return false;
    request->answer_bytes = request->out.len;
    http->answer_bytes += request->out.len;
    return true;
}

static void answer_once(struct ty_http_request *request, const struct ty_buf *message, const struct ty_err *err)
{
    if (request->protocol == HTTP_GRPC_WEB)
        ty_http_answer_web(request, message, err);
    else
        ty_http_answer_unary(request, message, err);
}

static void end(struct ty_rpc *rpc, struct ty_buf *message, const struct ty_err *err)
{
    struct ty_http_request *request = (struct ty_http_request *)rpc;
    struct ty_err full;
    if (!request->connection)
        return;
    if (request->protocol == HTTP_EVENTS) {
        ty_http_answer_events(request, err);
    } else {
        answer_once(request, message, err);
        if (!request->is_stream && !has_room(request)) {
            ty_err_set(&full, TY_EEXHAUSTED, "too many answers wait for their clients to take them");
            answer_once(request, NULL, &full);
        }
    }
    request->answered = request->out_ends = true;
    ty_http_wake(request);
}

static bool send_message(struct ty_rpc *rpc, struct ty_buf *message)
{
    struct ty_http_request *request = (struct ty_http_request *)rpc;
    if (!request->connection)
        return false;
    if (!(request->protocol == HTTP_EVENTS ? ty_http_add_event(request, message)
                                           : ty_http_add_web_message(&request->out, message)))
        return false;
    if (!request->answered) {
        request->answered = request->is_stream = true;
        request->status = MHD_HTTP_OK;
        ty_http_fields_add_text(&request->headers, "content-type", request->content_type);
        ty_http_fields_add_text(&request->headers, "cache-control", "no-store");
    }
    ty_http_set_deadline(request->socket, TY_HTTP_WRITE_MS);
    ty_rpc_hold(rpc); // until it has left
    ty_http_wake(request);
    return true;
}

static void done(struct ty_rpc *rpc)
{
    struct ty_http_request *request = (struct ty_http_request *)rpc;
    request->call_done = true;
    ty_http_request_unref(request);
}

// As gRPC writes it.
static const char *peer(const struct ty_rpc *rpc, char *out, size_t size)
{
    const struct ty_http_request *request = (const struct ty_http_request *)rpc;
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (!request->connection || getpeername(request->socket->fd, (struct sockaddr *)&address, &len) < 0 ||
        getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return out;
    bool is_v6 = address.ss_family == AF_INET6;
    snprintf(out, size, is_v6 ? "ipv6:[%s]:%s" : "ipv4:%s:%s", host, port);
    return out;
}

const struct ty_rpc_transport ty_http_transport = {.metadata = metadata, .peer = peer, .end = end, .send = send_message, .done = done};

// ---- the request ----

// The message's number of a field that is called "position", which a stream of ours goes on from; 0: it has none.
static uint32_t position_field(const ProtobufCMessageDescriptor *type)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(type, "position");
    return field && field->type == PROTOBUF_C_TYPE_STRING ? field->id : 0;
}

// The body of one message without an envelope.
static void dispatch_whole(struct ty_http_request *request)
{
    const ProtobufCMessageDescriptor *type = request->method->request;
    const struct ty_buf *text = request->query.len ? &request->query : &request->body;
    const char *last_id = ty_http_fields_get(&request->metadata, "last-event-id");
    uint32_t position = position_field(type);
    struct ty_err err;
    TY_BUF(bytes);
    if (!request->is_json) {
        ty_rpc_dispatch(&request->rpc, request->body.data, request->body.len);
        return;
    }
    if (ty_message_json_read(type, (const char *)text->data, text->len, &bytes, &err) < 0) {
        ty_rpc_fail(&request->rpc, &err);
        return;
    }
    if (bytes.len > TY_LIMIT_REQUEST_BYTES) {
        ty_err_set(&err, TY_EEXHAUSTED, "the message has %zu bytes; at most %d are allowed", bytes.len, TY_LIMIT_REQUEST_BYTES);
        ty_rpc_fail(&request->rpc, &err);
        return;
    }
    // A page that lost its connection goes on behind the event that it had last: of a field that comes twice the last counts.
    if (request->protocol == HTTP_EVENTS && last_id && *last_id && position)
        ty_buf_add_tag_bytes(&bytes, position, last_id, strlen(last_id));
    ty_rpc_dispatch(&request->rpc, bytes.data, bytes.len);
}

static size_t envelope_len(const uint8_t *envelope)
{
    return (size_t)envelope[1] << 24 | (size_t)envelope[2] << 16 | (size_t)envelope[3] << 8 | envelope[4];
}

// Takes the next envelope off the body. False: there is none; *ret_wrong: since what is there is not one.
static bool take_envelope(struct ty_http_request *request, const uint8_t **ret_bytes, size_t *ret_len, const char **ret_wrong)
{
    size_t left = request->body.len - request->body_at;
    *ret_wrong = NULL;
    if (!left)
        return false;
    const uint8_t *at = request->body.data + request->body_at;
    if (left < ENVELOPE_BYTES || envelope_len(at) > left - ENVELOPE_BYTES)
        *ret_wrong = "the body ends inside a message";
    else if (at[0] & FLAG_COMPRESSED)
        *ret_wrong = "compressed messages are not taken";
    else if (at[0])
        *ret_wrong = "the body has an envelope that is no message";
    if (*ret_wrong)
        return false;
    *ret_bytes = at + ENVELOPE_BYTES;
    *ret_len = envelope_len(at);
    request->body_at += ENVELOPE_BYTES + *ret_len;
    return true;
}

static void refuse(struct ty_rpc *rpc, const char *text)
{
    struct ty_err err;
    ty_err_set(&err, TY_EINVALID, "%s", text);
    ty_rpc_fail(rpc, &err);
}

void ty_http_call_next(struct ty_http_request *request)
{
    struct ty_rpc *rpc = &request->rpc;
    const uint8_t *bytes;
    const char *wrong = NULL;
    size_t len;
    do {
        if (request->protocol != HTTP_GRPC_WEB || !take_envelope(request, &bytes, &len, &wrong)) {
            if (wrong)
                refuse(rpc, wrong);
            else
                ty_rpc_on_half_close(rpc);
            return;
        }
        ty_rpc_dispatch(rpc, bytes, len);
    } while (ty_rpc_takes_more(rpc));
}

static void dispatch_web(struct ty_http_request *request)
{
    struct ty_rpc *rpc = &request->rpc;
    const uint8_t *bytes = NULL;
    const char *wrong;
    size_t len = 0;
    if (ty_rpc_is_stream(rpc) && !request->method->takes_one) {
        ty_http_call_next(request);
        return;
    }
    if (!take_envelope(request, &bytes, &len, &wrong))
        refuse(rpc, wrong ? wrong : "the call has no request message");
    else if (request->body_at != request->body.len)
        refuse(rpc, "the call has more than one request message");
    else
        ty_rpc_dispatch(rpc, bytes, len);
}

// "100m" of gRPC-Web and "100" of Connect, in milliseconds.
static uint64_t timeout_ms(const struct ty_http_request *request)
{
    static const struct {
        char unit;
        double ms;
    } units[] = {{'H', 3600000}, {'M', 60000}, {'S', 1000}, {'m', 1}, {'u', 0.001}, {'n', 0.000001}};
    const char *web = ty_http_fields_get(&request->metadata, "grpc-timeout");
    const char *connect = ty_http_fields_get(&request->metadata, "connect-timeout-ms");
    const char *text = request->protocol == HTTP_GRPC_WEB ? web : connect;
    uint64_t number = 0;
    size_t digits = text ? strspn(text, "0123456789") : 0;
    if (!digits || digits > 10)
        return TY_RPC_TIMEOUT_MS;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    if (request->protocol != HTTP_GRPC_WEB)
        return number;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (text[digits] == units[i].unit)
            return (uint64_t)((double)number * units[i].ms);
    return TY_RPC_TIMEOUT_MS;
}

void ty_http_call_begin(struct ty_http_request *request)
{
    struct ty_rpc *rpc = &request->rpc;
    ty_rpc_init(rpc, &request->http->calls, request->method);
    request->has_call = true;
    ty_rpc_hold(rpc);
    if (ty_rpc_start(rpc, timeout_ms(request))) {
        if (request->protocol == HTTP_GRPC_WEB) {
            dispatch_web(request);
        } else {
            dispatch_whole(request);
            if (ty_rpc_is_stream(rpc) && ty_rpc_takes_more(rpc))
                ty_rpc_on_half_close(rpc);
        }
    }
    ty_rpc_release(rpc);
}
