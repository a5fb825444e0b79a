// What the http_*.c share. A request is known by two: the library, until it has completed it, and its call, until nobody holds
// it. The last of them frees it.
#pragma once

#include <microhttpd.h>

#include "responder/http_fields.h"
#include "responder/http_server.h"
#include "responder/rpc_transport.h"

enum ty_http_protocol {
    HTTP_PLAIN,    // no call: an answer of ours
    HTTP_UNARY,    // one message each way, of JSON or bytes (Connect's unary protocol)
    HTTP_GRPC_WEB, // envelopes, and trailers in the body
    HTTP_EVENTS,   // a stream as server-sent events
};

// One socket. Its deadline is that of what the client has to do next.
struct ty_http_connection {
    struct ty_http *http;
    int fd;
    struct ty_timer deadline;
    struct ty_http_connection *next, **at;
};

struct ty_http_request {
    struct ty_rpc rpc; // first: one is the other
    struct ty_http *http;
    struct MHD_Connection *connection; // NULL: nothing can be sent any more
    bool completed;                    // the library does not know of it any more
    struct ty_http_connection *socket;
    enum ty_http_protocol protocol;
    bool is_json;                       // messages are JSON, not bytes
    const char *content_type;           // of a good answer; static
    const struct ty_rpc_method *method; // NULL: no call
    struct ty_http_fields metadata;     // the request's headers
    struct ty_buf query;                // a GET's arguments as a JSON object
    struct ty_buf body;
    size_t body_at;   // gRPC-Web: where the next envelope begins
    size_t discarded; // bytes of a body that is too long
    size_t answer_bytes; // counted in ty_http.answer_bytes
    bool has_call;    // ty_rpc_start was called
    bool call_done;   // and nobody holds it any more
    bool suspended, watched;
    bool broken;      // the socket is shut down: the library has yet to find it
    // The answer.
    bool answered;  // status, headers and, unless it is a stream, all of out are set
    bool queued;    // the library has it
    bool is_stream; // out is filled as it goes; out_ends: no more comes
    bool out_ends;
    bool greeted; // events: the first one was sent
    unsigned status;
    struct ty_http_fields headers;
    struct ty_buf out;
    size_t out_at;
};

struct ty_http {
    struct ty_rpc_calls calls;
    struct ty_http_options options;
    const struct ty_rpc_method *methods;
    size_t method_count;
    struct MHD_Daemon *daemon;
    int listen_fd, epoll_fd;
    unsigned port;
    struct ty_timer timer; // the library's own
    bool has_resumed;      // a connection, since the library last ran
    struct ty_http_connection *connections;
    size_t requests; // that the library or a call knows of
    size_t body_bytes, answer_bytes;
    void (*stopped)(void *context);
    void *stopped_context;
};

// ---- http_server.c ----

// Closes the connection when the client is not done in time; 0: no limit.
void ty_http_set_deadline(struct ty_http_connection *connection, uint64_t delay_ms);
void ty_http_request_gone(struct ty_http *http);
// After a connection was resumed.
void ty_http_run_soon(struct ty_http *http);

// ---- http_request.c: the library's callbacks for one request ----

enum MHD_Result ty_http_on_access(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **kept);
void ty_http_on_completed(void *context, struct MHD_Connection *connection, void **kept, enum MHD_RequestTerminationCode why);
// There is something to send, or the end: lets the library go on.
void ty_http_wake(struct ty_http_request *request);
void ty_http_request_unref(struct ty_http_request *request);

// ---- http_route.c ----

// From the request line and the headers: the protocol and the method, or the answer.
void ty_http_route(struct ty_http_request *request, const char *url, const char *verb);
// The answer to what is no call, as JSON like a call's error: {"code", "message"}.
void ty_http_refuse(struct ty_http_request *request, unsigned status, enum ty_code code, const char *message);

// ---- http_call.c ----

extern const struct ty_rpc_transport ty_http_transport;

// Starts the call with the whole body.
void ty_http_call_begin(struct ty_http_request *request);
// gRPC-Web: hands the next envelope to the call, or tells that there is none.
void ty_http_call_next(struct ty_http_request *request);

// ---- http_answer.c: messages and the end in each protocol ----

// The end of a unary call. Fills in the answer.
void ty_http_answer_unary(struct ty_http_request *request, const struct ty_buf *message, const struct ty_err *err);
void ty_http_answer_web(struct ty_http_request *request, const struct ty_buf *message, const struct ty_err *err);
void ty_http_answer_events(struct ty_http_request *request, const struct ty_err *err);
// One message of a stream, appended to out. false: it cannot be written.
bool ty_http_add_web_message(struct ty_buf *out, const struct ty_buf *message);
bool ty_http_add_event(struct ty_http_request *request, const struct ty_buf *message);

// ---- http_cors.c ----

bool ty_http_is_preflight(const struct ty_http_request *request, const char *verb);
void ty_http_answer_preflight(struct ty_http_request *request);
// For an answer to a page of an allowed origin; names the answer's headers that the page may read, so it comes last.
void ty_http_add_cors(struct ty_http_request *request);
