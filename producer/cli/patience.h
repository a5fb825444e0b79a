// How verbs that wait for a job (watch, logs --follow, submit --wait) bear with a responder that goes away, and how long
// they pause between questions. The decisions are pure: now_ms is CLOCK_MONOTONIC's milliseconds.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

struct ty_patience {
    int64_t away_limit_ms;   // how long a responder may be away
    int64_t appear_limit_ms; // how long a job may be unknown that was never seen
    bool seen;               // the job was there once
    bool is_away;
    uint64_t since_ms;       // of the trouble that lasts; 0: none
    int pause_ms;
};

void ty_patience_init(struct ty_patience *patience, int64_t away_limit_ms, int64_t appear_limit_ms);

// An answer came. *ret_was_away says that the responder is back.
void ty_patience_on_answer(struct ty_patience *patience, bool *ret_was_away);
// A question failed. 0: ask again after a pause; *ret_is_new says that the responder has just gone. Otherwise err's code,
// negative: it is final, or it has lasted too long (the message says so then).
int ty_patience_on_error(struct ty_patience *patience, uint64_t now_ms, bool *ret_is_new, struct ty_err *err) TY_MUST_USE;

// The next pause: from 100 ms, growing by half each time to 2 s; after progress it is short again.
int ty_patience_next_pause_ms(struct ty_patience *patience, bool progress);
// Ends the program as SIGPIPE does when the reader of its stdout has gone.
void ty_patience_check_reader(void);
// Pauses that long; blocks. Ends the program as SIGPIPE does when the reader of its stdout has gone.
void ty_patience_pause(struct ty_patience *patience, bool progress);
