// From the frames of a spool to the numbered log entries of an attempt. Pure: frames in, entries out. Not thread-safe.
//
// The same spool gives the same entries under the same numbers, however often and in whatever pieces it is read: a worker
// that is started again reads from the start and the store skips what it has. What is decided by time is therefore decided
// by the frames' times. The one exception is a partial line that nothing follows: it is emitted when the clock says so
// (ty_transcript_find_due), and the reader keeps a record of it (struct ty_transcript_flush) and replays it at
// the same place.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "worker/exec/spool.h"

struct ty_transcript;

// sequence counts from 0 within the attempt. entry is as core/log_entry.h makes it, borrowed.
typedef void (*ty_transcript_fn)(void *context, uint64_t sequence, const void *entry, size_t len);

// An emission by the clock: before the frame that begins at spool_offset, splitter was flushed as at due_us. 24 bytes on
// disk, in this machine's order.
struct ty_transcript_flush {
    uint64_t spool_offset;
    uint64_t due_us;
    uint32_t splitter;
    uint32_t check; // TY_TRANSCRIPT_CHECK
};
#define TY_TRANSCRIPT_CHECK 0x54594c46u

// steps: the names of the plan's steps; what "prepare" and "collect" print is marked as the worker's own, like its supervisor's
// words. stderr_level: of lines on stderr that state none, as core/logsplit.h has it. Both stay borrowed.
struct ty_transcript *ty_transcript_new(const char *const *steps, size_t step_count, const char *stderr_level,
                                        ty_transcript_fn fn, void *context);
void ty_transcript_free(struct ty_transcript *transcript);

// From here on the lines that the job prints in its step "train" go to progress too, which is borrowed.
struct ty_progress;
void ty_transcript_set_progress(struct ty_transcript *transcript, struct ty_progress *progress);

// An entry of the worker's own: "attempt 1 claimed by w1".
void ty_transcript_say(struct ty_transcript *transcript, uint64_t time_us, const char *level, const char *message);
// What has waited a second by the frame's time comes first; then an entry for each step that has begun; then the frame.
void ty_transcript_frame(struct ty_transcript *transcript, const struct ty_spool_frame *frame);
// Everything that is held. After it only ty_transcript_say.
void ty_transcript_end(struct ty_transcript *transcript);

// When the next partial line will have waited long enough; UINT64_MAX: none is held, as far as is known.
uint64_t ty_transcript_next_due(const struct ty_transcript *transcript);
// Names what is due first. False when nothing is due at now_us.
bool ty_transcript_find_due(const struct ty_transcript *transcript, uint64_t now_us,
                            struct ty_transcript_flush *ret_flush);
void ty_transcript_replay(struct ty_transcript *transcript, const struct ty_transcript_flush *flush);

uint64_t ty_transcript_count(const struct ty_transcript *transcript);
// Appends the last lines that the job printed in its latest step, at most TY_TRANSCRIPT_TAIL of them and max_bytes, oldest
// first, each with "\n"; whole lines only (a line counts as its first 2 KiB).
#define TY_TRANSCRIPT_TAIL 20
void ty_transcript_tail(const struct ty_transcript *transcript, size_t max_bytes, struct ty_buf *out);
