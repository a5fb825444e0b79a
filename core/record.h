// A job as the store keeps it: one string of bytes. schemas/redis/README.md has the layout byte by byte; prelude.lua is
// the other reader and writer of it. Pure.
//
//   header (128 bytes) | pool | metadata | options | tail entries, each: type u8, length u16, bytes
//
// metadata is a serialized partial TrainingJobMetadata; a reply to Get is therefore a byte copy plus the few mutable fields.
// Version rule: byte 0 is the format. A reader refuses a format above its own; what is added comes as new tail entry
// types, which older readers skip.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/command.h"
#include "core/err.h"
#include "core/id.h"

#define TY_RECORD_FORMAT 1
#define TY_RECORD_HEADER_BYTES 128

// The API's TrainingStatus numbers; 0 marks a tombstone (a cancel or delete whose submit has not come).
enum ty_job_state {
    TY_JOB_TOMBSTONE = 0,
    TY_JOB_PENDING = 1,
    TY_JOB_IN_PROGRESS = 2,
    TY_JOB_COMPLETED = 3,
    TY_JOB_FAILED = 4,
    TY_JOB_CANCELED = 5,
    TY_JOB_CANCELING = 6,
};

enum ty_job_stage {
    TY_STAGE_NONE = 0,
    TY_STAGE_CLAIMED = 1,
    TY_STAGE_PREPARE = 2,
    TY_STAGE_INSTALL = 3,
    TY_STAGE_TRAIN = 4,
    TY_STAGE_COLLECT = 5,
};

// Why a job is where it is. Numbers are stored: never reuse one. ty_reason_name gives the word.
enum ty_job_reason {
    TY_REASON_NONE = 0,
    TY_REASON_SCRIPT_EXIT = 1,
    TY_REASON_SIGNAL = 2,
    TY_REASON_OUT_OF_MEMORY = 3,
    TY_REASON_DEADLINE = 4,
    TY_REASON_WAIT_LIMIT = 5, // no worker took it within its max_wait_s
    TY_REASON_EMPTY_OUTPUT = 6,
    TY_REASON_INSTALL_FAILED = 7,
    TY_REASON_PREPARE_FAILED = 8,
    TY_REASON_COLLECT_FAILED = 9,
    TY_REASON_NOT_EXECUTABLE = 10,
    TY_REASON_WORKER_LOST = 11,
    TY_REASON_UNKILLABLE = 12,
    TY_REASON_CANCELED = 13,
    TY_REASON_REFUSED = 14,
    TY_REASON_INTERNAL = 15,
    TY_REASON_HANDED_BACK = 16,
    TY_REASON_QUARANTINED = 17, // it took too many workers with it
    TY_REASON_BACKOFF = 18,     // never stored: why a job is pending that ty_record_due_us says is kept back
    TY_REASON_NOT_STARTED = 19, // the lease passed before the attempt had started
    TY_REASONS
};

#define TY_FLAG_CANCEL 1u  // a cancel was applied
#define TY_FLAG_DELETE 2u  // a delete was applied: the job goes when it is terminal
#define TY_FLAG_CUSTOM 4u  // a custom job

#define TY_TAIL_HISTORY 1  // state u8, stage u8, reason u8, attempt u16, time_us u64
#define TY_TAIL_METADATA 2 // more of the serialized TrainingJobMetadata; later entries win
#define TY_TAIL_WORKER 3   // the name of the worker that claimed the attempt
#define TY_TAIL_BACKOFF 4  // due_us u64 (0: at once), attempts in a row that expired unstarted u32; the last entry counts
#define TY_TAIL_WAIT 6     // wait_end_us u64: fails if no worker has claimed it by then. 5 is of tombstones, and the scripts' only

struct ty_record {
    enum ty_job_state state;
    uint8_t stage, reason, flags, priority;
    uint16_t max_attempts;  // 0: the site's default
    uint32_t attempt;       // of the latest claim; 0 before the first
    uint32_t worker_losses; // attempts that ended because their worker did
    uint32_t errors;        // attempts that were given back because of an error
    uint32_t lease_ms;      // of the latest claim; 0 before the first, and when that attempt gave the job back
    uint64_t version;       // rises with each change
    uint64_t created_us, modified_us, started_us, ended_us; // started and ended: 0 before they happen
    uint64_t fence;
    uint64_t ready;         // its place in the ready queue: the smallest goes first
    struct ty_token token;
    uint8_t digest[16];
    // Borrowed from the bytes that were decoded:
    const char *pool;
    size_t pool_len;
    const char *organization; // within metadata; organization_len 0: none
    size_t organization_len;
    const uint8_t *metadata, *options, *tail;
    size_t metadata_len, options_len, tail_len;
};

// TY_EDATALOSS on bytes that are no record; TY_EPRECONDITION on a newer format.
int ty_record_decode(const void *bytes, size_t len, struct ty_record *ret_record, struct ty_err *err) TY_MUST_USE;
// The record of a new job, PENDING or (reason not NONE: refused) FAILED with message as its error_status.
void ty_record_encode_new(const struct ty_spec *spec, uint64_t created_us, bool is_custom, enum ty_job_reason reason,
                          const char *message, struct ty_buf *out);
// Writes what changes during a job's life into the header of a record that ty_record_encode_new made: state, stage, reason, flags,
// attempt, worker_losses, errors, lease_ms, version, fence, and the times but for created_us. The rest of record is not read.
void ty_record_set_changes(uint8_t *bytes, const struct ty_record *record);
// Appends the whole serialized TrainingJobMetadata (immutable part, patches, status and times).
void ty_record_metadata(const struct ty_record *record, struct ty_buf *out);

// A field of the tail, iterated: start with *offset = 0; false at the end.
bool ty_record_tail_next(const struct ty_record *record, size_t *offset, uint8_t *ret_type, const uint8_t **ret_bytes,
                         size_t *ret_len);
bool ty_record_is_terminal(const struct ty_record *record);
// The name of the worker of the latest attempt; len 0 when there is none. Borrowed.
const char *ty_record_worker(const struct ty_record *record, size_t *ret_len);
// When a PENDING job in back-off may be claimed, µs since 1970; 0: it is not kept back. A time that has passed means that it
// is in its queue, or will be with the lease clock's next tick.
uint64_t ty_record_due_us(const struct ty_record *record);
// When a PENDING job that was never claimed has waited as long as it may, µs since 1970; 0: it may for ever, or was claimed.
uint64_t ty_record_wait_end_us(const struct ty_record *record);

// Serialized partial TrainingJobMetadata for TY_TAIL_METADATA. A message is repaired and cut; of a name that is no UTF-8, and a
// version that is longer than one may be, nothing is added.
void ty_patch_error(struct ty_buf *out, int grpc_code, const char *message);
void ty_patch_model(struct ty_buf *out, const char *synced_model_id);
void ty_patch_script_version(struct ty_buf *out, const char *version);

const char *ty_state_name(enum ty_job_state state);   // "PENDING"
const char *ty_stage_name(unsigned stage);            // "train"
const char *ty_reason_name(unsigned reason);          // "script_exit"
