// What an answer looks like in each protocol.
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "core/base64.h"
#include "core/message_json.h"
#include "core/wire.h"
#include "responder/http_internal.h"

#define FLAG_TRAILERS 0x80
#define RETRY_MS 2000

static void begin_answer(struct ty_http_request *request, unsigned status, const char *content_type)
{
    ty_http_fields_done(&request->headers);
    ty_buf_clear(&request->out);
    request->status = status;
    request->answered = true;
    if (content_type)
        ty_http_fields_add_text(&request->headers, "content-type", content_type);
    ty_http_fields_add_text(&request->headers, "cache-control", "no-store");
    ty_http_fields_add_text(&request->headers, "x-content-type-options", "nosniff");
}

// ---- messages as JSON ----

static bool print_message(const ProtobufCMessageDescriptor *type, const struct ty_buf *bytes, struct ty_buf *out)
{
    ProtobufCMessage *message;
    struct ty_err err;
    if (ty_wire_unpack(type, bytes->data, bytes->len, &message, &err) < 0)
        return false;
    ty_message_json_print(message, 0, out);
    protobuf_c_message_free_unpacked(message, NULL);
    return true;
}

static void print_text(const char *text, size_t len, struct ty_buf *out)
{
    ty_buf_add_byte(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == '\\')
            ty_buf_add_byte(out, '\\');
        if ((unsigned char)text[i] < 0x20)
            ty_buf_add_format(out, "\\u%04x", text[i]);
        else
            ty_buf_add_byte(out, (uint8_t)text[i]);
    }
    ty_buf_add_byte(out, '"');
}

// {"code":"not_found","message":"..."}
static void print_error(const struct ty_err *err, struct ty_buf *out)
{
    TY_BUF(text);
    ty_buf_add_text(out, "{\"code\":\"");
    for (const char *name = ty_code_name(err->code); *name; name++)
        ty_buf_add_byte(out, (uint8_t)tolower((unsigned char)*name));
    ty_buf_add_text(out, "\",\"message\":");
    ty_rpc_status_text(err, &text);
    print_text((const char *)text.data, text.len, out);
    ty_buf_add_byte(out, '}');
}

static void trailing_value(const struct ty_rpc_trailing *entry, struct ty_buf *out)
{
    size_t key_len = strlen(entry->key);
    if (key_len > 4 && !strcmp(entry->key + key_len - 4, "-bin"))
        ty_base64_add(out, entry->value, entry->value_len, false);
    else
        ty_buf_add(out, entry->value, entry->value_len);
}

static void add_trailing(struct ty_http_request *request, const char *prefix)
{
    for (size_t i = 0; i < request->rpc.trailing_count; i++) {
        TY_BUF(name);
        TY_BUF(value);
        ty_buf_add_format(&name, "%s%s", prefix, request->rpc.trailing[i].key);
        trailing_value(&request->rpc.trailing[i], &value);
        ty_http_fields_add(&request->headers, ty_buf_text(&name), value.data, value.len);
    }
}

// ---- one message each way ----

void ty_http_answer_unary(struct ty_http_request *request, const struct ty_buf *message, const struct ty_err *err)
{
    static const struct ty_buf none;
    struct ty_err ours;
    begin_answer(request, MHD_HTTP_OK, request->is_json ? "application/json" : "application/proto");
    if (!message)
        message = &none;
    if (!err && !request->is_json) {
        ty_buf_add(&request->out, message->data, message->len);
    } else if (!err && !print_message(request->method->response, message, &request->out)) {
        ty_err_set(&ours, TY_EINTERNAL, "the answer cannot be written as JSON");
        err = &ours;
    }
    if (err) {
        begin_answer(request, (unsigned)ty_code_http(err->code), "application/json");
        print_error(err, &request->out);
    }
    add_trailing(request, "trailer-");
}

void ty_http_refuse(struct ty_http_request *request, unsigned status, enum ty_code code, const char *message)
{
    struct ty_err err;
    ty_err_set(&err, code, "%s", message);
    if (request->protocol == HTTP_GRPC_WEB) {
        ty_http_answer_web(request, NULL, &err);
        return;
    }
    begin_answer(request, status, "application/json");
    print_error(&err, &request->out);
}

// ---- gRPC-Web ----

bool ty_http_add_web_message(struct ty_buf *out, const struct ty_buf *message)
{
    ty_buf_add_byte(out, 0); // the flags
    for (int shift = 24; shift >= 0; shift -= 8)
        ty_buf_add_byte(out, (uint8_t)(message->len >> shift));
    ty_buf_add(out, message->data, message->len);
    return true;
}

// grpc-message: what is not printable ASCII by %XX.
static void percent_encode(const struct ty_err *err, struct ty_buf *out)
{
    TY_BUF(text);
    ty_rpc_status_text(err, &text);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] > 0x7e || text.data[i] == '%')
            ty_buf_add_format(out, "%%%02X", text.data[i]);
        else
            ty_buf_add_byte(out, text.data[i]);
}

// The body's last envelope: the trailers as lines.
static void add_web_trailers(struct ty_http_request *request, const struct ty_err *err)
{
    TY_BUF(lines);
    ty_buf_add_format(&lines, "grpc-status: %d\r\n", err ? ty_code_grpc(err->code) : 0);
    if (err) {
        ty_buf_add_text(&lines, "grpc-message: ");
        percent_encode(err, &lines);
        ty_buf_add_text(&lines, "\r\n");
    }
    for (size_t i = 0; i < request->rpc.trailing_count; i++) {
        ty_buf_add_format(&lines, "%s: ", request->rpc.trailing[i].key);
        trailing_value(&request->rpc.trailing[i], &lines);
        ty_buf_add_text(&lines, "\r\n");
    }
    size_t start = request->out.len;
    ty_http_add_web_message(&request->out, &lines);
    request->out.data[start] = FLAG_TRAILERS;
}

void ty_http_answer_web(struct ty_http_request *request, const struct ty_buf *message, const struct ty_err *err)
{
    static const struct ty_buf none;
    char number[12];
    if (request->is_stream) { // behind messages
        add_web_trailers(request, err);
        return;
    }
    begin_answer(request, MHD_HTTP_OK, request->content_type);
    if (!err) {
        if (!ty_rpc_is_stream(&request->rpc))
            ty_http_add_web_message(&request->out, message ? message : &none);
        add_web_trailers(request, NULL);
        return;
    }
    // An error without a message before it: all in the headers.
    TY_BUF(text);
    snprintf(number, sizeof number, "%d", ty_code_grpc(err->code));
    percent_encode(err, &text);
    ty_http_fields_add_text(&request->headers, "grpc-status", number);
    ty_http_fields_add(&request->headers, "grpc-message", text.data, text.len);
    add_trailing(request, "");
}

// ---- server-sent events ----

static const char *position_of(const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(message->descriptor, "position");
    if (!field || field->type != PROTOBUF_C_TYPE_STRING || field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return NULL;
    return *(const char *const *)(const void *)((const char *)message + field->offset);
}

bool ty_http_add_event(struct ty_http_request *request, const struct ty_buf *message)
{
    ProtobufCMessage *unpacked;
    struct ty_err err;
    if (ty_wire_unpack(request->method->response, message->data, message->len, &unpacked, &err) < 0)
        return false;
    const char *position = position_of(unpacked);
    if (!request->greeted)
        ty_buf_add_format(&request->out, "retry: %d\n", RETRY_MS);
    request->greeted = true;
    if (position && *position && !strpbrk(position, "\r\n"))
        ty_buf_add_format(&request->out, "id: %s\n", position);
    ty_buf_add_text(&request->out, "data: ");
    ty_message_json_print(unpacked, 0, &request->out);
    ty_buf_add_text(&request->out, "\n\n");
    protobuf_c_message_free_unpacked(unpacked, NULL);
    return true;
}

// A page's EventSource connects again whatever the end was: this event tells it to close.
void ty_http_answer_events(struct ty_http_request *request, const struct ty_err *err)
{
    if (err && !request->is_stream) {
        ty_http_answer_unary(request, NULL, err);
        return;
    }
    if (!request->is_stream)
        begin_answer(request, MHD_HTTP_OK, request->content_type);
    ty_buf_add_text(&request->out, "event: end\ndata: {");
    if (err) {
        ty_buf_add_text(&request->out, "\"error\":");
        print_error(err, &request->out);
    }
    ty_buf_add_text(&request->out, "}\n\n");
}
