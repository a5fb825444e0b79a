// From the structs of trainyard.h to a checked command record. Pure but for new ids and the wall clock; thread-safe.
#pragma once

#include "core/buf.h"
#include "core/command.h"
#include "core/err.h"
#include "core/id.h"
#include "producer/trainyard.h"

struct ty_request {
    const char *topic; // short name
    struct ty_id job_id;
    struct ty_buf record;    // a serialized JobCommand, owned
    const char *traceparent; // borrowed from the caller's struct, NULL for none
};

// Each writes ret_request in success only; the caller then frees it with ty_request_done. TY_EINVALID: a NULL or wrong
// struct, or a rule of the API broken; the message names the field. issuer may be NULL.
int ty_request_managed(const struct trainyard_managed_job *job, const char *issuer, struct ty_request *ret_request,
                       struct ty_err *err) TY_MUST_USE;
int ty_request_custom(const struct trainyard_custom_job *job, const char *issuer, struct ty_request *ret_request,
                      struct ty_err *err) TY_MUST_USE;
// kind: TY_COMMAND_CANCEL or TY_COMMAND_DELETE.
int ty_request_control(enum ty_command_kind kind, const char *job_id, const char *traceparent, const char *issuer,
                       struct ty_request *ret_request, struct ty_err *err) TY_MUST_USE;
void ty_request_done(struct ty_request *request);

// Copies a struct that starts with its size into one of ours. Members that the caller does not have become zero; members
// that we do not have must be zero. first_size: what the struct had in its first version. name and macro stand in errors.
int ty_request_copy(void *out, size_t out_size, size_t first_size, const void *from, const char *name, const char *macro,
                    struct ty_err *err) TY_MUST_USE;
