#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/wire.h"

struct row {
    const char *name;
    int grpc, http, exit_code;
    bool retriable;
};

static const struct row rows[TY_CODES] = {
    [TY_OK] = {"OK", 0, 200, 0, false},
    [TY_EINVALID] = {"INVALID_ARGUMENT", 3, 400, 2, false},
    [TY_ENOTFOUND] = {"NOT_FOUND", 5, 404, 4, false},
    [TY_EEXISTS] = {"ALREADY_EXISTS", 6, 409, 5, false},
    [TY_EPRECONDITION] = {"FAILED_PRECONDITION", 9, 400, 6, false},
    [TY_EUNAUTHENTICATED] = {"UNAUTHENTICATED", 16, 401, 7, false},
    [TY_EPERMISSION] = {"PERMISSION_DENIED", 7, 403, 7, false},
    [TY_EEXHAUSTED] = {"RESOURCE_EXHAUSTED", 8, 429, 8, true},
    [TY_EUNAVAILABLE] = {"UNAVAILABLE", 14, 503, 3, true},
    [TY_EDEADLINE] = {"DEADLINE_EXCEEDED", 4, 504, 3, true},
    [TY_EABORTED] = {"ABORTED", 10, 409, 6, true},
    [TY_EUNIMPLEMENTED] = {"UNIMPLEMENTED", 12, 501, 9, false},
    [TY_EDATALOSS] = {"DATA_LOSS", 15, 500, 1, false},
    [TY_EINTERNAL] = {"INTERNAL", 13, 500, 1, false},
    [TY_ESYSTEM] = {"INTERNAL", 13, 500, 1, false},
};

static const struct row *row_of(enum ty_code code)
{
    return &rows[(unsigned)code < TY_CODES ? code : TY_EINTERNAL];
}

static void set_code(struct ty_err *err, enum ty_code code)
{
    err->code = code;
    err->retriable = row_of(code)->retriable;
    err->fatal = false;
}

// Messages go into protobuf strings and onto terminals, and may quote what came from outside and be cut: each byte that is
// not part of a valid character, and each control character, becomes a question mark.
static void tidy(char *message)
{
    size_t len = strlen(message);
    for (size_t i = 0, step; i < len; i += step) {
        step = ty_utf8_char(message + i, len - i);
        if (!step || (unsigned char)message[i] < 0x20 || message[i] == 0x7f) {
            message[i] = message[i] == '\n' || message[i] == '\t' ? message[i] : '?';
            step = 1;
        }
    }
}

int ty_err_set(struct ty_err *err, enum ty_code code, const char *format, ...)
{
    va_list args;
    set_code(err, code);
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    tidy(err->message);
    return -(int)code;
}

int ty_err_errno(struct ty_err *err, int errno_value, const char *format, ...)
{
    va_list args;
    set_code(err, TY_ESYSTEM);
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t len = strlen(err->message);
    char text[128];
    snprintf(err->message + len, sizeof err->message - len, ": %s",
             strerror_r(errno_value, text, sizeof text));
    tidy(err->message);
    return -TY_ESYSTEM;
}

int ty_err_prefix(struct ty_err *err, const char *format, ...)
{
    char old[sizeof err->message];
    memcpy(old, err->message, sizeof old);
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    size_t len = strlen(err->message);
    snprintf(err->message + len, sizeof err->message - len, ": %s", old);
    tidy(err->message);
    return -(int)err->code;
}

const char *ty_code_name(enum ty_code code)
{
    return row_of(code)->name;
}

int ty_code_grpc(enum ty_code code)
{
    return row_of(code)->grpc;
}

int ty_code_http(enum ty_code code)
{
    return row_of(code)->http;
}

int ty_code_exit(enum ty_code code)
{
    return row_of(code)->exit_code;
}

enum ty_code ty_code_from_grpc(int grpc_status)
{
    for (unsigned code = 0; code < TY_CODES; code++)
        if (rows[code].grpc == grpc_status && code != TY_ESYSTEM)
            return (enum ty_code)code;
    return TY_EINTERNAL;
}
