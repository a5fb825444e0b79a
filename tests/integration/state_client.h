// A client of the job store as the tests use it: every call waits for its answer and gives it back as plain values. Whatever
// does not come in time, or fails where the test does not ask for the error, fails the running cmocka test. Include
// cmocka.h first.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/catalog.h"
#include "core/redis.h"
#include "core/state.h"
#include "tests/integration/redis_server.h"

#define STATE_JOBS_MAX 64
#define STATE_LEASE_MS 60000u

struct state_client {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_redis *redis; // a connection of its own, to look at keys
    struct ty_catalog *catalog;
    bool up;
    unsigned reports;   // calls of on_up
    struct ty_err down; // why it is not up
    unsigned readies;   // notices, after state_client_listen
    struct ty_id cancel;
    unsigned cancels;
};

// Waits until it is up. shards 0: one.
void state_client_open(struct state_client *client, const struct redis_server *server, unsigned shards);
// The same with this shards, max_losses, retry_base_ms, retry_max_ms, job_retention_ms, horizon_ms and has_events; 0 in all elsewhere.
void state_client_open_site(struct state_client *client, const struct redis_server *server, const struct ty_state_options *site);
// As it is, without waiting.
void state_client_open_only(struct state_client *client, const struct redis_server *server, unsigned shards);
void state_client_close(struct state_client *client);
void state_client_listen(struct state_client *client);
void state_client_turn(struct state_client *client, uint64_t until_ms, const char *condition);
#define STATE_UNTIL(client, condition)                                                             \
    do {                                                                                           \
        uint64_t until_ = ty_clock_mono_ms() + 60000;                                              \
        while (!(condition))                                                                       \
            state_client_turn((client), until_, #condition);                                       \
    } while (0)

// ---- commands ----

struct state_job {
    const char *organization; // NULL: "acme"
    uint64_t created_us;      // 0: now
    uint32_t max_attempts;    // 0: the site's default
    uint32_t priority;
    const char *model_name;   // NULL: "digits"; another name is another body
    const char *container;    // NULL: the default, which is the pool of state_pool
    bool refused;             // stored as FAILED, as the intake does with an invalid submit
    const Trainyard__V1__JobOptions *options; // the rest of them, without max_attempts and priority; NULL: none
};
// The only job in it: an enum ty_applied.
int state_submit(struct state_client *client, const struct ty_id *id, const struct state_job *job);
int state_control(struct state_client *client, enum ty_command_kind kind, const struct ty_id *id);
struct state_applied {
    enum ty_code code;
    bool gap;
    int64_t stored;
    size_t count;
    int results[STATE_JOBS_MAX];
};
// records NULL: none of the commands is a submit.
struct state_applied state_apply(struct state_client *client, const struct ty_apply *commands, size_t count,
                                 const struct ty_watermark *mark);
void state_record(struct state_client *client, const struct ty_id *id, const struct state_job *job, struct ty_buf *out);
int64_t state_attach(struct state_client *client, const char *cluster, const char *topic, int32_t partition,
                     bool *ret_cluster_changed);

// ---- attempts ----

struct state_claim {
    struct ty_id id;
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence;
};
// The pool that all jobs of this client are in: the default container.
const char *state_pool(const struct state_client *client);
// Under this token, from shard 0 unless another is said; returns how many.
size_t state_claim(struct state_client *client, unsigned shard, const struct ty_token *token, unsigned max, uint32_t lease_ms,
                   struct state_claim *ret_claims);
// Under a token of its own; fails the test when there is not just that job to claim.
struct state_claim state_claim_one(struct state_client *client, const struct ty_id *id, uint32_t lease_ms);
int state_renew(struct state_client *client, const struct state_claim *claim, unsigned stage);
int state_finish(struct state_client *client, const struct state_claim *claim, enum ty_finish_action action,
                 enum ty_job_reason reason);
int state_finish_with(struct state_client *client, const struct state_claim *claim, enum ty_finish_action action,
                      enum ty_job_reason reason, const struct ty_buf *patch);
// The ids given out; at most STATE_JOBS_MAX.
size_t state_unlinked(struct state_client *client, uint64_t age_ms, unsigned max, struct ty_id *ret_ids);
unsigned state_reclaim(struct state_client *client, unsigned shard, uint32_t lease_ms);
// Ticks of 1 ms leases until this many are taken.
void state_expire(struct state_client *client, unsigned shard, unsigned count);
// As this publisher, who has the lease or not; returns how many jobs ended.
unsigned state_end_held(struct state_client *client, const char *publisher);
// The attempt reports that it has started, and then its lease passes.
void state_lose(struct state_client *client, const struct state_claim *claim);

// ---- answers ----

struct state_view {
    bool found;
    enum ty_job_state state;
    unsigned stage, reason, flags;
    uint32_t attempt, losses, errors;
    uint64_t version, created_us, modified_us, started_us, ended_us, fence, due_us, wait_end_us;
    char worker[64];
    char error[512]; // error_status.message of the metadata
    int error_code;
    char synced_model[64];
};
struct state_view state_get(struct state_client *client, const struct ty_id *id);
// Fails the test unless the queue, the leases and the indexes say just what the record says.
void state_check(struct state_client *client, const struct ty_id *id, const char *organization);
struct state_list {
    size_t count;
    bool more;
    struct ty_id ids[STATE_JOBS_MAX];
    uint64_t created_us[STATE_JOBS_MAX];
    struct ty_list_cursor last;
};
struct state_list state_query(struct state_client *client, unsigned shard, const struct ty_list_query *query);
// The newest first; status 0: all.
struct state_list state_list(struct state_client *client, unsigned shard, const char *organization, int status,
                             const struct ty_list_cursor *cursor, unsigned limit);

// ---- logs ----

struct state_log {
    enum ty_code code;
    uint64_t next, sealed, bytes;
    bool fresh;
};
struct state_log state_log_open(struct state_client *client, const struct state_claim *claim, uint64_t first);
// Entries are the texts "<first>", "<first + 1>", ...
struct state_log state_log_append(struct state_client *client, const struct state_claim *claim, uint64_t first, size_t count,
                                  bool end);
// The same in one chunk. limit_bytes: 0, or as in ty_log_append.
struct state_log state_log_append_sealed(struct state_client *client, const struct state_claim *claim, uint64_t first,
                                         size_t count, bool end, uint64_t limit_bytes);
struct state_page {
    size_t count;
    bool more, ended;
    uint32_t next_attempt;
    uint64_t next_sequence;
    char entries[STATE_JOBS_MAX][128]; // as they are stored or made; cut there, with dots for NULs
    struct state_line {
        uint32_t attempt;
        uint64_t sequence, missing;
    } lines[STATE_JOBS_MAX];
};
struct state_page state_page(struct state_client *client, const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                             unsigned max_entries, size_t max_bytes);

// ---- the keys themselves ----

struct state_raw {
    enum ty_redis_type type;
    int64_t integer;
    char text[1024];
};
// One command; words of their own length, NULL-terminated, "%" stands for the id's 16 bytes at the end of a word.
struct state_raw state_raw(struct state_client *client, const struct ty_id *id, const char *const *words);
#define STATE_RAW(client, id, ...) state_raw((client), (id), (const char *const[]){__VA_ARGS__, NULL})
