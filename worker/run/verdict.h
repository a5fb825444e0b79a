// What an exit record means for the job. Pure. The table of running-jobs: exactly one action, reason and text for each
// way an attempt can end.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/record.h"
#include "core/state.h"
#include "trainyard/v1/command.pb-c.h"

// The record as the supervisor left it; texts are owned.
struct ty_ending {
    char *outcome, *step, *message;
    int code, signal_number;
    uint64_t ended_us; // 0: not known
};
// text is the file `exit`; an empty one, or one that is none, is outcome "gone": the supervisor was killed.
void ty_ending_parse(const struct ty_buf *text, struct ty_ending *ret_ending);
void ty_ending_done(struct ty_ending *ending);

struct ty_verdict {
    bool is_told;                 // false: the attempt was lost, the store is told nothing
    enum ty_finish_action action;
    enum ty_job_reason reason;
    int grpc_code;                // of error_status; 0: none
    char text[1200];              // one line, valid UTF-8
};
// tail: the last lines of the step that ended, as ty_transcript_tail gives them (NUL-terminated). has_model: the step
// collect has left its file.
void ty_verdict_of(const struct ty_ending *ending, const char *tail, bool has_model, struct ty_verdict *ret_verdict);

// Which failures of its own a job wants to be tried again, as its ticket keeps it: a bit for each exit code of the training
// script (bit code % 8 of byte code / 8), and bit 0 for a failed installation.
struct ty_retries {
    uint8_t bits[32];
};
// policy NULL: none.
void ty_retries_of(const Trainyard__V1__RetryPolicy *policy, struct ty_retries *ret_retries);
// A failure that is to be tried again becomes a RETRY; anything else stays as it is.
void ty_verdict_retry(const struct ty_ending *ending, const struct ty_retries *retries, struct ty_verdict *verdict);

// error_status.message: the text, the exit code, and the tail; cut at TY_LIMIT_ERROR_MESSAGE_BYTES. That of a RETRY is used when
// no attempt is left, and says so.
// incomplete: as ty_verdict_incomplete says it; "" where the log is whole.
void ty_verdict_message(const struct ty_verdict *verdict, uint32_t attempt, const char *tail, const char *incomplete,
                        struct ty_buf *out);
// "log incomplete: the store did not take its last 12 lines and 3400 bytes of output": what a log lacks whose end came first.
void ty_verdict_incomplete(uint64_t lines, uint64_t bytes, struct ty_buf *out);
// The attempt's last log entry: "attempt 1 failed: step train exited with code 3".
void ty_verdict_closing(const struct ty_verdict *verdict, uint32_t attempt, struct ty_buf *out);
