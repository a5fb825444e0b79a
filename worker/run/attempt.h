// One attempt of one job, from the claim to the last word. Its life is the table in attempt.c: states and what each event
// does in them. Inside worker/run only; loop thread.
#pragma once

#include "core/state.h"
#include "worker/run/job_dir.h"
#include "worker/run/ship.h"
#include "worker/run/verdict.h"

struct ty_run;

enum ty_attempt_state {
    TY_ATTEMPT_RUNNING,  // the supervisor lives
    TY_ATTEMPT_SHIPPING, // it has ended; the rest of the output is on its way to the store
    TY_ATTEMPT_TELLING,  // the store is being told how it ended
    TY_ATTEMPT_SETTLING, // the store has taken the end; whether it stands shows when Kafka has it too
    TY_ATTEMPT_LINKING,  // completed; the model is getting its public name
    TY_ATTEMPT_KEEPING,  // all is done, but the store may lose the end of the log yet: it is looked at once more
    TY_ATTEMPT_LEAVING,  // the job is another's: the supervisor is told to go, and nothing is written
    TY_ATTEMPT_GONE,
    TY_ATTEMPT_STATES
};

enum ty_attempt_event {
    TY_ATTEMPT_ON_UNSTARTED,   // there is no supervisor and will not be one; the verdict is set
    TY_ATTEMPT_ON_SUPERVISOR_END,
    TY_ATTEMPT_ON_LOG_READ,    // the spool was read to its end
    TY_ATTEMPT_ON_LOG_SEALED,  // and the store has all of it
    TY_ATTEMPT_ON_LOG_LOST,    // the log is another attempt's
    TY_ATTEMPT_ON_LOG_TIMEOUT, // the store takes nothing of it
    TY_ATTEMPT_ON_CANCEL,
    TY_ATTEMPT_ON_LOST,        // the lease is another's
    TY_ATTEMPT_ON_DRAIN,
    TY_ATTEMPT_ON_TOLD,        // the store has taken the end
    TY_ATTEMPT_ON_REFUSED,     // it has not: the attempt does not own the job
    TY_ATTEMPT_ON_SETTLED,     // the end stands, whatever happens to the store
    TY_ATTEMPT_ON_TELL_AGAIN,  // the store went back to before it
    TY_ATTEMPT_ON_OTHER_END,   // the end of another attempt stands
    TY_ATTEMPT_ON_LINKED,
    TY_ATTEMPT_ON_LOG_SAFE,    // the store has had the log's end for a while
    TY_ATTEMPT_EVENTS
};

struct ty_attempt {
    struct ty_run *run;
    struct ty_attempt *next;
    enum ty_attempt_state state;
    unsigned refs;
    struct ty_ticket ticket;
    unsigned shard;
    char id[TY_ID_TEXT_BYTES], *dir;
    bool has_dir;                    // dir is this attempt's
    struct ty_exec_control *control; // NULL when nothing was started
    struct ty_ship *ship;            // as control
    pid_t pid;                       // of the supervisor while it is our child, else 0
    pid_t link_pid;

    bool renewing, ask;              // a renewal is on its way; another one is wanted
    uint8_t stage, stage_told;
    char *script_version;            // as the step prepare found it
    bool version_told;

    struct ty_ending ending;
    struct ty_verdict verdict;
    bool judged, telling;            // telling: a call is on its way
    bool is_taken;                   // the store had taken the end once
    uint64_t settling_since_ms;
    unsigned settle_round;           // in which the store was asked last; see settle.c
    char *model_stage;               // of the file `collected`
    uint64_t log_progress, waiting_since_ms;
    uint64_t log_bytes, log_bytes_told; // what the job's log takes in the store
    uint64_t log_end, log_end_ms;       // the sequence number behind the whole log, and since when the store has it; 0: not yet
    bool log_is_short;                  // its organization's logs, or all, take too much
    uint64_t unknown_since_ms;       // since when the store does not know the job; 0: it does
    unsigned probes;
    struct ty_timer timer;
};

// RUNNING, one slot taken, nothing started. Takes dir and ticket.
struct ty_attempt *ty_attempt_new(struct ty_run *run, char *dir, const struct ty_ticket *ticket);
// From here on the output is shipped; needs control.
void ty_attempt_open_log(struct ty_attempt *attempt);

// ---- start.c ----

// Starts what was claimed. Whatever goes wrong is told to the store. sent_ns: CLOCK_BOOTTIME when the claim was sent.
void ty_attempt_start(struct ty_run *run, const struct ty_token *token, uint64_t sent_ns,
                      const struct ty_claimed *job);
// Goes on with the attempt in dir. Takes ticket. What cannot be an attempt any more is removed.
void ty_attempt_adopt(struct ty_run *run, const char *dir, struct ty_ticket *ticket);

// ---- attempt.c ----

void ty_attempt_on(struct ty_attempt *attempt, enum ty_attempt_event event);
// Which step runs now, and what it has found out.
void ty_attempt_look_at_stage(struct ty_attempt *attempt);
// A look at what the supervisor and the job have done meanwhile.
void ty_attempt_tick(struct ty_attempt *attempt);
void ty_attempt_on_store(struct ty_attempt *attempt, bool up);
bool ty_attempt_holds_lease(const struct ty_attempt *attempt);

struct ty_attempt *ty_attempt_hold(struct ty_attempt *attempt);
void ty_attempt_release(struct ty_attempt *attempt);
// For the end of the run: frees all but what calls still hold; the supervisor is left alone.
void ty_attempt_abandon(struct ty_attempt *attempt);

// ---- finish.c: the states TELLING and LINKING ----

void ty_finish_tell(struct ty_attempt *attempt);
void ty_finish_link(struct ty_attempt *attempt);
// The file that says over restarts that the store has taken the end.
#define TY_TAKEN_FILE "taken"
// Reads how the attempt ended. TY_SHIP_READ has come, or nothing more of the output can be had.
void ty_finish_judge(struct ty_attempt *attempt);
