// A site for tests of the run role: a real Redis, a model store with scripts and a data set, a catalogue whose "python" is a
// small launcher that copies a script instead of installing it and runs it with sh (so that a job takes milliseconds), and
// worker processes, which are this test program again (run_site_main). Whatever fails or does not come in time fails the
// running cmocka test. Include cmocka.h first.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/buf.h"
#include "core/catalog.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/state.h"
#include "tests/integration/redis_server.h"

#define SITE_WAIT_MS 60000

struct site {
    struct redis_server *redis;
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_catalog *catalog;
    char dir[64];
    bool up, done;
    struct ty_err err;
    struct ty_buf streams; // of the last site_log: for each entry w (the worker's own), o (stdout) or e (stderr)
};

struct site_worker;

// What main of the test program must call first: the program may be a worker, which finds its programs in bin_dir. Returns -1 when it is the test.
int run_site_main(int argc, char **argv, const char *bin_dir);

void site_open(struct site *site, unsigned shards);
void site_close(struct site *site);
// The script acme:<name>, version 1: model/training.py is the text, run by sh as training.py --dataset_file=...
void site_add_script(struct site *site, const char *name, const char *text);

struct site_job {
    const char *script, *version; // of acme; version NULL: the newest
    const char *container;        // NULL: the launcher's
    const char *arguments[8];     // key, value, key, value, ...
    uint32_t max_runtime_s, max_attempts;
    bool stop_on_lost_lease;
    const Trainyard__V1__RetryPolicy *retry;
};
struct ty_id site_submit(struct site *site, const struct site_job *job);
// The same submit once more, as after a replay.
void site_submit_as(struct site *site, const struct site_job *job, const struct ty_id *id);
void site_submit_null(struct site *site, size_t count);
void site_cancel(struct site *site, const struct ty_id *id);
void site_delete(struct site *site, const struct ty_id *id);
// How many jobs of the organization are in the state, in one shard; at most 1000 are counted.
size_t site_count(struct site *site, unsigned shard, enum ty_job_state state);

// A job as the store has it now.
struct site_view {
    enum ty_job_state state;
    uint8_t stage, reason;
    uint32_t attempt, errors, losses;
    uint64_t started_us, fence, due_us;
    int code;                 // of error_status
    char message[9000];       // of error_status
    char model[256];          // synced_model_id
    char script_version[256];
    char worker[128];
    bool is_there;
};
struct site_view site_view(struct site *site, const struct ty_id *id);
// Until it has the state; returns the view.
struct site_view site_wait(struct site *site, const struct ty_id *id, enum ty_job_state state);
void site_wait_stage(struct site *site, const struct ty_id *id, unsigned stage);
// The whole log as lines "<attempt> <level> <message>\n". *ret_ended: the end marker is there.
void site_log(struct site *site, const struct ty_id *id, struct ty_buf *out, bool *ret_ended);
// Until the log has the text.
void site_wait_log(struct site *site, const struct ty_id *id, const char *text);
// The path of something in the site's directory, in static memory that the next thirty calls keep.
const char *site_path(const struct site *site, const char *format, ...) __attribute__((format(printf, 2, 3)));
void site_wait_file(struct site *site, const char *path);
// Until the worker's own log has the text.
void site_wait_word(struct site *site, const struct site_worker *worker, const char *text);
// One turn of the loop; fails when `until` (mono ms) is over, saying what was waited for.
void site_turn(struct site *site, uint64_t until, const char *what);
#define SITE_UNTIL(site, condition)                                                                \
    do {                                                                                           \
        uint64_t until_ = ty_clock_mono_ms() + SITE_WAIT_MS;                                       \
        while (!(condition))                                                                       \
            site_turn((site), until_, #condition);                                                 \
    } while (0)

struct site_worker {
    const char *name;      // also of its work directory
    unsigned slots, null_slots;
    uint32_t lease_ms, grace_ms, drain_ms;
    bool keep_job_dirs;
    unsigned shards;
    unsigned max_losses, retry_base_ms, retry_max_ms; // as in ty_state_options
    unsigned sweep_ms, job_dirs_ms, job_retention_ms, stage_look_ms, model_retention_ms; // as in ty_run_options and ty_state_options
    unsigned job_log_bytes, organization_log_bytes, total_log_bytes; // the same
    const char *program;   // a trainyard-worker; NULL: this test program
    pid_t pid;
};
#define SITE_WORKER(label)                                                                    \
    ((struct site_worker){.name = (label), .slots = 4, .lease_ms = 2000, .grace_ms = 2000, .drain_ms = 0, .shards = 1})
// Dies with the test program.
void site_start(struct site *site, struct site_worker *worker);
void site_kill(struct site_worker *worker);
// SIGSTOP and SIGCONT.
void site_pause(struct site_worker *worker);
void site_resume(struct site_worker *worker);
// Waits until it ends by itself; returns the exit status.
int site_join(struct site *site, struct site_worker *worker);
// SIGTERM; returns the exit status when the drain is over.
int site_stop(struct site *site, struct site_worker *worker);
