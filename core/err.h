// Errors as values: a code, whether a retry can help, and a message that names the place. Nothing to free.
// Functions that can fail return 0 or a negative code and take `struct ty_err *err` as their last argument (never NULL
// inside the project). Pure, thread-safe.
#pragma once

#include <stdbool.h>

#define TY_MUST_USE __attribute__((warn_unused_result))

enum ty_code {
    TY_OK = 0,
    TY_EINVALID,        // the input is wrong; INVALID_ARGUMENT, HTTP 400, exit 2
    TY_ENOTFOUND,       // there is no such thing; NOT_FOUND, 404, exit 4
    TY_EEXISTS,         // there is another thing under this name; ALREADY_EXISTS, 409, exit 5
    TY_EPRECONDITION,   // the state does not allow it; FAILED_PRECONDITION, 400, exit 6
    TY_EUNAUTHENTICATED, // no or bad credentials; UNAUTHENTICATED, 401, exit 7
    TY_EPERMISSION,     // not allowed; PERMISSION_DENIED, 403, exit 7
    TY_EEXHAUSTED,      // a limit or the store is full; RESOURCE_EXHAUSTED, 429, exit 8
    TY_EUNAVAILABLE,    // Redis, Kafka or a server is away; UNAVAILABLE, 503, exit 3
    TY_EDEADLINE,       // it took too long; DEADLINE_EXCEEDED, 504, exit 3
    TY_EABORTED,        // a conflict (stale token, gap): ABORTED, 409, exit 6
    TY_EUNIMPLEMENTED,  // UNIMPLEMENTED, 501, exit 9
    TY_EDATALOSS,       // stored bytes cannot be read; DATA_LOSS, 500, exit 1
    TY_EINTERNAL,       // our own fault; INTERNAL, 500, exit 1
    TY_ESYSTEM,         // a system call failed (message has the errno text); INTERNAL, 500, exit 1
    TY_CODES
};

struct ty_err {
    enum ty_code code;
    bool retriable;
    bool fatal; // the process cannot go on
    char message[1024];
};

// Fills err and returns -code. The message is cut at its size and always valid UTF-8; what is not, or a control character
// other than newline and tab, becomes "?". The arguments must not point into err. retriable is set from the code's row in
// the table (UNAVAILABLE, DEADLINE, ABORTED, EXHAUSTED).
int ty_err_set(struct ty_err *err, enum ty_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// As ty_err_set with TY_ESYSTEM and ": " + strerror(errno_value) appended.
int ty_err_errno(struct ty_err *err, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Puts "prefix: " before the message of err; returns -err->code.
int ty_err_prefix(struct ty_err *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The table behind the comments above. Names are the gRPC ones ("INVALID_ARGUMENT").
const char *ty_code_name(enum ty_code code);
int ty_code_grpc(enum ty_code code);
int ty_code_http(enum ty_code code);
int ty_code_exit(enum ty_code code);
// The code for a gRPC status number (INTERNAL for unknown ones).
enum ty_code ty_code_from_grpc(int grpc_status);
