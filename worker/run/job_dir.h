// The directory of one attempt (worker/exec/protocol.h): its files as the worker reads and writes them. Beside what
// protocol.h lists the worker keeps there:
//   ticket   what the claim gave, so that a worker that starts over the directory can go on with the attempt
//   flushes  see transcript.h
//   told     the store knows how the attempt ended (written only where directories are kept)
// Loop thread; blocks on the local disk only.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/id.h"
#include "worker/exec/protocol.h"

// Makes dir and its folders. TY_ESYSTEM; TY_EEXISTS when it is there.
int ty_job_dir_make(const char *dir, struct ty_err *err) TY_MUST_USE;
// Whole or not at all: temp and rename, not synced (what a crash of the machine loses has no supervisor either).
int ty_job_dir_write(const char *dir, const char *name, const void *bytes, size_t len, struct ty_err *err) TY_MUST_USE;
// The file as text. TY_ENOTFOUND; TY_EDATALOSS when it is larger than TY_JOB_FILE_BYTES.
#define TY_JOB_FILE_BYTES 65536u
int ty_job_dir_read(const char *dir, const char *name, struct ty_buf *out, struct ty_err *err) TY_MUST_USE;
bool ty_job_dir_has(const char *dir, const char *name);
// The value of the line "key=value" in such a text, owned by the caller; NULL when there is none.
char *ty_job_dir_field(const struct ty_buf *text, const char *key);

// The control file, mapped. make: written anew. TY_ESYSTEM, TY_ENOTFOUND; TY_EPRECONDITION: of another format.
int ty_job_dir_map(const char *dir, bool make, struct ty_exec_control **ret_control, struct ty_err *err) TY_MUST_USE;
void ty_job_dir_unmap(struct ty_exec_control *control);
// Whether a supervisor holds the directory.
bool ty_job_dir_is_held(const char *dir);
// From now on no supervisor starts in this directory. True: none has ever started.
bool ty_job_dir_forbid_start(const char *dir);

// What the claim gave, and what is needed without asking the store again.
struct ty_ticket {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence, claimed_us;
    char *worker;                              // who started it
    char *organization, *model, *model_version; // where the model goes
    char *container;                           // its key; NULL in a ticket of an older version
    char *after;                               // why the attempt before it ended; NULL: there was none, or it is not known
    uint8_t retries[32];                        // struct ty_retries of verdict.h; zeros in a ticket of an older version
};
int ty_ticket_write(const struct ty_ticket *ticket, const char *dir, struct ty_err *err) TY_MUST_USE;
// TY_EDATALOSS when it is not one.
int ty_ticket_read(const char *dir, struct ty_ticket *ret_ticket, struct ty_err *err) TY_MUST_USE;
void ty_ticket_done(struct ty_ticket *ticket);
