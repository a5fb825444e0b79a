// What a request is, by its line and headers.
#include <arpa/inet.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "responder/http_internal.h"

static const struct {
    const char *type;
    enum ty_http_protocol protocol;
    bool is_json, for_streams;
    const char *answer;
} types[] = {
    {"application/json", HTTP_UNARY, true, false, "application/json"},
    {"application/json", HTTP_EVENTS, true, true, "text/event-stream"},
    {"application/proto", HTTP_UNARY, false, false, "application/proto"},
    {"application/grpc-web", HTTP_GRPC_WEB, false, false, "application/grpc-web+proto"},
    {"application/grpc-web", HTTP_GRPC_WEB, false, true, "application/grpc-web+proto"},
    {"application/grpc-web+proto", HTTP_GRPC_WEB, false, false, "application/grpc-web+proto"},
    {"application/grpc-web+proto", HTTP_GRPC_WEB, false, true, "application/grpc-web+proto"},
};

static const struct ty_rpc_method *find_method(const struct ty_http *http, const char *path)
{
    for (size_t i = 0; i < http->method_count; i++)
        if (!strcmp(http->methods[i].path, path))
            return &http->methods[i];
    return NULL;
}

static void refuse_verb(struct ty_http_request *request, const char *allowed)
{
    ty_http_refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, TY_EUNIMPLEMENTED, "this path does not take this HTTP method");
    ty_http_fields_add_text(&request->headers, "allow", allowed);
}

static void answer_text(struct ty_http_request *request, unsigned status, const char *text)
{
    request->status = status;
    request->answered = true;
    ty_http_fields_add_text(&request->headers, "content-type", "text/plain; charset=utf-8");
    ty_http_fields_add_text(&request->headers, "cache-control", "no-store");
    ty_buf_add_format(&request->out, "%s\n", text);
}

// The program lives; and: it can do its work.
static bool route_probe(struct ty_http_request *request, const char *url, const char *verb)
{
    const struct ty_http *http = request->http;
    struct ty_err err;
    bool is_ready = !strcmp(url, "/readyz");
    if (!is_ready && strcmp(url, "/healthz") != 0)
        return false;
    if (strcmp(verb, "GET") != 0 && strcmp(verb, "HEAD") != 0)
        refuse_verb(request, "GET, HEAD");
    else if (is_ready && !http->options.is_ready(http->calls.context, &err))
        answer_text(request, MHD_HTTP_SERVICE_UNAVAILABLE, err.message);
    else
        answer_text(request, MHD_HTTP_OK, "ok");
    return true;
}

// ---- a GET's arguments ----

struct query {
    struct ty_http_request *request;
    json_t *object;
    bool is_wrong;
};

static const ProtobufCFieldDescriptor *find_bool(const ProtobufCMessageDescriptor *type, const char *name)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *at = field->name, *given = name;
        // "until_now" or "untilNow"
        while (*at && *given && (*at == *given || (*at == '_' && at[1] == (*given | 0x20) && ++at)))
            at++, given++;
        if (!*at && !*given && field->type == PROTOBUF_C_TYPE_BOOL)
            return field;
    }
    return NULL;
}

// All values are texts, which the JSON mapping takes for numbers, too, but not for true and false.
static enum MHD_Result add_argument(void *context, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value,
                                    size_t value_len)
{
    struct query *query = context;
    json_t *json = json_stringn(value ? value : "", value_len);
    (void)kind;
    (void)name_len;
    if (value && find_bool(query->request->method->request, name) && (!strcmp(value, "true") || !strcmp(value, "false"))) {
        json_decref(json);
        json = json_boolean(*value == 't');
    }
    query->is_wrong = json_object_get(query->object, name) || json_object_set(query->object, name, json) < 0;
    json_decref(json);
    return query->is_wrong ? MHD_NO : MHD_YES;
}

static void read_query(struct ty_http_request *request)
{
    struct query query = {.request = request, .object = json_object()};
    MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, add_argument, &query);
    char *text = json_dumps(query.object, JSON_COMPACT);
    if (query.is_wrong || !text)
        ty_http_refuse(request, MHD_HTTP_BAD_REQUEST, TY_EINVALID, "an argument of the URL is given twice or not UTF-8");
    else
        ty_buf_add_text(&request->query, text);
    free(text);
    json_decref(query.object);
}

// ---- calls ----

static void refuse_type(struct ty_http_request *request)
{
    bool is_stream = request->method->is_stream;
    ty_http_refuse(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, TY_EINVALID,
                   is_stream ? "a stream takes application/json (and answers text/event-stream) or application/grpc-web+proto"
                             : "this takes application/json, application/proto or application/grpc-web+proto; gRPC itself has a "
                               "port of its own");
    ty_http_fields_add_text(&request->headers, "accept-post",
                            is_stream ? "application/json, application/grpc-web+proto"
                                      : "application/json, application/proto, application/grpc-web+proto");
}

// Takes the type without its parameters; JSON is always UTF-8.
static void route_post(struct ty_http_request *request)
{
    const char *given = ty_http_fields_get(&request->metadata, "content-type");
    const char *coding = ty_http_fields_get(&request->metadata, "content-encoding");
    const char *version = ty_http_fields_get(&request->metadata, "connect-protocol-version");
    size_t len = given ? strcspn(given, "; \t") : 0;
    for (size_t i = 0; len && i < sizeof types / sizeof *types; i++) {
        if (strncasecmp(types[i].type, given, len) != 0 || types[i].type[len] || types[i].for_streams != request->method->is_stream)
            continue;
        request->protocol = types[i].protocol;
        request->is_json = types[i].is_json;
        request->content_type = types[i].answer;
    }
    if (request->protocol == HTTP_PLAIN)
        refuse_type(request);
    else if (coding && strcasecmp(coding, "identity") != 0)
        ty_http_refuse(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, TY_EUNIMPLEMENTED, "a compressed body is not taken");
    else if (request->protocol == HTTP_UNARY && version && strcmp(version, "1") != 0)
        ty_http_refuse(request, MHD_HTTP_BAD_REQUEST, TY_EINVALID, "connect-protocol-version: only 1 is known");
}

static void route_get(struct ty_http_request *request)
{
    request->protocol = HTTP_EVENTS;
    request->is_json = true;
    request->content_type = "text/event-stream";
    read_query(request);
}

static void refuse_path(struct ty_http_request *request)
{
    const char *given = ty_http_fields_get(&request->metadata, "content-type");
    if (given && !strncasecmp(given, "application/grpc-web", 20)) {
        request->protocol = HTTP_GRPC_WEB;
        request->content_type = "application/grpc-web+proto";
    }
    ty_http_refuse(request, MHD_HTTP_NOT_FOUND, TY_EUNIMPLEMENTED, "there is no such method");
}

// "localhost:8481", "127.0.0.1", "[::1]:8481"
static bool is_local_name(const char *host)
{
    size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    struct in_addr v4;
    char name[64];
    if (len >= sizeof name)
        return false;
    memcpy(name, host, len);
    name[len] = 0;
    return !strcasecmp(name, "localhost") || !strcmp(name, "[::1]") ||
           (inet_pton(AF_INET, name, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);
}

// HTTP/1.0 has no Host, and no browser speaks it.
static bool is_for_us(struct ty_http_request *request)
{
    const char *host = ty_http_fields_get(&request->metadata, "host");
    if (!request->http->options.local_names_only || !host || is_local_name(host))
        return true;
    ty_http_refuse(request, MHD_HTTP_MISDIRECTED_REQUEST, TY_EPERMISSION,
                   "without authentication only localhost and loopback addresses are served");
    return false;
}

void ty_http_route(struct ty_http_request *request, const char *url, const char *verb)
{
    bool is_get = !strcmp(verb, "GET"), is_post = !strcmp(verb, "POST");
    if (!is_for_us(request))
        return;
    if (ty_http_is_preflight(request, verb)) {
        ty_http_answer_preflight(request);
        return;
    }
    if (route_probe(request, url, verb))
        return;
    request->method = find_method(request->http, url);
    if (!request->method)
        refuse_path(request);
    else if (!is_post && !(is_get && request->method->is_stream))
        refuse_verb(request, request->method->is_stream ? "GET, POST" : "POST");
    else if (is_post)
        route_post(request);
    else
        route_get(request);
    if (!request->answered && request->http->calls.stopping) {
        ty_http_refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, TY_EUNAVAILABLE, "the server is stopping");
        ty_http_fields_add_text(&request->headers, "connection", "close");
    }
}
