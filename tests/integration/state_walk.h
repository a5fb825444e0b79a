// A random walk of the job store beside its model: the calls that are made, what is held against the model, and what is told when
// they differ. Everything here fails the running cmocka test when the store is not as the model says. Include cmocka.h first.
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "tests/integration/job_model.h"
#include "tests/integration/state_client.h"

#define LEASE_MS 3600000u  // no lease passes by itself
#define ATTEMPTS 4         // remembered of each job
#define BATCH 4
#define TOPIC "commands"
#define EVENTS_TOPIC "events"
#define WAIT_MS 60000

enum walk_kind { APPLY, CLAIM, RENEW, FINISH, SETTLED, OUTBOX, PUBLISHED };

struct command {
    unsigned job;
    int kind; // as in ty_apply
    struct model_submit submit;
    uint64_t created_us;
    uint32_t priority;
    unsigned organization; // a cancel or delete is for a job of this one only
    struct model_rule rule; // with kind TY_APPLY_RULE
};

struct attempt {
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence;
};

// What a publisher read, and told Kafka.
struct reading {
    int publisher;
    uint64_t stamp_us;
    int64_t mark, next;
    size_t count, null_count;
    struct ty_outbox_job jobs[MODEL_JOBS];
    struct model_change changes[MODEL_JOBS];
    struct ty_id null_ids[MODEL_JOBS];
    unsigned nulls[MODEL_JOBS];
};

// One call to the store, with all that makes it, so that it can be made again.
struct call {
    enum walk_kind kind;
    unsigned count;
    unsigned jobs[BATCH];
    struct command commands[BATCH];
    bool is_marked;
    int64_t expected;
    struct ty_token token;
    unsigned pools[MODEL_POOLS], pool_count;
    struct ty_renewal renewals[BATCH];
    struct ty_finish finishes[BATCH];
    struct model_patch patches[BATCH]; // of renewals and ends
    struct ty_settling settlings[BATCH];
    int publisher;
    struct reading *reading;
};

struct event {
    unsigned job;
    enum model_event_kind kind;
    struct model_job image;
    struct ty_buf record;
};

// The walk that is going on; there is one.
struct walk {
    struct state_client *client;
    struct model model;
    struct model_site site;
    unsigned shard;
    uint64_t seed, random_state, events_done;
    uint64_t answers[8], states[8]; // of each kind; jobs seen in each state
    size_t on_way;                  // calls without an answer
    struct ty_id ids[MODEL_JOBS];
    struct attempt attempts[MODEL_JOBS][ATTEMPTS];
    unsigned attempt_counts[MODEL_JOBS];
    size_t gap_at;                  // the intake is to go back to there
    bool has_gap, needs_replay;
    size_t claimed;                 // by the latest claim
    struct event *events;           // the topic
    size_t event_count, event_cap;
    struct reading reading;         // the latest; has_reading: and it is to be told
    bool has_reading, is_reading;
};
extern struct walk walk;

uint64_t walk_draw(void);
unsigned walk_below(unsigned n);
bool walk_by_chance(unsigned percent);
void walk_draw_bytes(uint8_t bytes[16]);

// A line of the job's history, of which the last ones are told when it is wrong.
void walk_note(unsigned job, const char *format, ...) __attribute__((format(printf, 2, 3)));
void walk_wrong(unsigned job, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
void walk_check(unsigned job, const char *what, uint64_t is, uint64_t must);
void walk_check_no(const struct ty_err *err);
unsigned walk_job_of(const struct ty_id *id);
// Holds everything that the store has against the model.
void walk_compare(void);

const char *walk_organization(unsigned organization);
const char *walk_pool(unsigned pool);
// The name of a key of the walk's shard: valid until some more were named.
const char *walk_key(const char *format, ...) __attribute__((format(printf, 1, 2)));
// What the metadata of a job must say after this patch, and the bytes of the patch.
struct walk_said {
    int error_code;
    char error[160], model[24], version[24];
};
struct walk_said walk_said_of(const struct model_patch *patch);
void walk_add_patch(const struct model_patch *patch, struct ty_buf *out);
const char *walk_publisher_name(int publisher);
// Makes the call; a copy is kept until its answer, which owns like->reading.
void walk_send(const struct call *like);
// Waits for all answers.
void walk_wait_all(void);
