// The run role: claims ready jobs under leases, runs each attempt under a supervisor of its own (trainyard-exec), ships
// its output to the store, and ends it there. Loop thread only; nothing blocks.
//
// A lease is renewed from here, where no job code runs, at a third of its length; the supervisor holds the deadline itself
// (control file) and enforces it when this process is dead. All that an attempt needs to go on stands in its directory, so a
// worker that starts over the same work directory adopts what it finds: live supervisors go on under the same token, exit
// records that were not yet told to the store are told.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/catalog.h"
#include "core/err.h"
#include "core/loop.h"
#include "core/state.h"

struct ty_run;

struct ty_run_options {
    const char *worker;           // name in the store, e.g. host name and a random part
    const char *work_dir;         // <work_dir>/jobs/<job>-<attempt>/; made when missing; one worker at a time (flock)
    const char *store_dir;        // root of datasets/, scripts/, models/
    const char *exec_path;        // trainyard-exec
    const char *stage_path;       // trainyard-stage
    unsigned slots;               // attempts of the runner process at a time
    unsigned null_slots;          // attempts of the runner null at a time
    uint32_t lease_ms;
    uint64_t grace_ms;            // TERM to KILL
    uint64_t drain_ms;            // how long a drain lets running jobs finish before they are handed back; 0: not at all
    uint64_t max_runtime_ms;      // the site's default for a job that asks for none; 0: none
    uint64_t lost_lease_limit_ms; // how long a job whose lease passed runs on
    uint64_t install_timeout_ms, prepare_timeout_ms, collect_timeout_ms;
    uint64_t log_wait_ms;         // how long an ended job waits for a store that takes nothing of its log; 0: 60 s
    uint64_t sweep_ms;            // between two looks for what is to go; 0: 10 s
    uint64_t stage_look_ms;       // between two looks at the store's staging area; 0: 6 h
    uint64_t model_retention_ms;  // of a model whose job is gone, since it was made; 0: for ever
    uint64_t organization_log_bytes, total_log_bytes; // of the store, by the logs of one organization and of all; 0: no limit
    bool keep_job_dirs;           // finished attempts' directories stay (for debugging)
    uint64_t job_dirs_ms;         // and how long; 0: for ever
    uint64_t spool_limit_bytes;   // of an attempt's output; of what follows the last 256 KiB are kept; 0: none
    const char *stderr_level;     // "info", "warn" or "error": of lines on stderr that state none. NULL: info. Static
    char **containers;            // keys that this worker serves, NULL-terminated; NULL: all it can run
};

struct ty_run_figures {
    uint64_t claimed, started, completed, failed, canceled, handed_back, retried, lost, adopted, log_entries;
    uint64_t retired;    // jobs that had ended long ago, removed from the store
    uint64_t told_again; // ends that were told once more, since the store had gone back
    unsigned running;
};

// Borrows all but the options' strings, which are copied. Adopts what stands in work_dir. TY_EINVALID: a directory or
// program that is not there, or a container that is not in the catalogue; TY_EEXISTS: another worker has work_dir.
int ty_run_new(struct ty_loop *loop, struct ty_state *state, const struct ty_catalog *catalog,
               const struct ty_run_options *options, struct ty_run **ret_run, struct ty_err *err) TY_MUST_USE;
// The store came or went.
void ty_run_on_store(struct ty_run *run, bool up);
// A notice of ty_state_listen.
void ty_run_on_notice(struct ty_run *run, bool ready, const struct ty_id *cancel_id);
// The store has no room for logs (ship.h says what becomes of them), or has again.
void ty_run_shed_logs(struct ty_run *run, bool shed);
struct ty_run_figures ty_run_figures(const struct ty_run *run);
// Claims nothing more; running jobs may end within drain_ms, then they are stopped (DRAIN) and handed back. fn comes
// once, when nothing runs any more and the store has been told all of it, or after drain_ms + grace_ms + 10 s at the latest
// (what is left then is adopted by the next worker over the same directory, or reclaimed). A second call does not wait
// for jobs.
typedef void (*ty_run_drained_fn)(void *context);
void ty_run_drain(struct ty_run *run, ty_run_drained_fn fn, void *context);
// Leaves the supervisors of running attempts alone. Answers of the store that are still to come find nothing; the state may
// be freed before or after, and so may the loop. Accepts NULL.
void ty_run_free(struct ty_run *run);
