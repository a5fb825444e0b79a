// Every event of schemas/transitions.json in every state, on the scripts: what the table lists happens, and nothing else.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "schemas/schemas.h"
#include "core/state_outbox.h"
#include "tests/integration/state_client.h"

static struct redis_server *server;
static struct state_client client, strict; // strict: one lost worker is too many

struct job {
    struct ty_id id;
    struct state_claim claim; // of the attempt that has it, or had it last
};

// ---- into a state ----

static void claim(struct job *job, uint32_t lease_ms)
{
    job->claim = state_claim_one(&client, &job->id, lease_ms);
}

// unclaimed: a pending one was never claimed.
static void enter(struct job *job, enum ty_job_state state, uint32_t max_attempts, bool unclaimed)
{
    struct state_job wanted = {.max_attempts = max_attempts};
    *job = (struct job){.id = ty_id_new()};
    assert_int_equal(state_submit(&client, &job->id, &wanted), TY_APPLIED);
    if (unclaimed && state == TY_JOB_PENDING)
        return;
    // PENDING is the state of a job whose lease has passed, so that an attempt may still speak for it.
    // With one attempt it must not have started, or it would be the last.
    bool unstarted = state == TY_JOB_PENDING && max_attempts == 1;
    claim(job, unstarted ? 1 : STATE_LEASE_MS);
    if (unstarted)
        state_expire(&client, 0, 1);
    else if (state == TY_JOB_PENDING)
        state_lose(&client, &job->claim);
    else
        assert_int_equal(state_renew(&client, &job->claim, TY_STAGE_PREPARE), TY_RENEWED);
    switch (state) {
    case TY_JOB_PENDING:
    case TY_JOB_IN_PROGRESS: break;
    case TY_JOB_COMPLETED: assert_int_equal(state_finish(&client, &job->claim, TY_FINISH_COMPLETED, TY_REASON_NONE), 1); break;
    case TY_JOB_FAILED: assert_int_equal(state_finish(&client, &job->claim, TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT), 1); break;
    case TY_JOB_CANCELED:
    case TY_JOB_CANCELING: assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &job->id), TY_APPLIED); break;
    default: fail();
    }
    if (state == TY_JOB_CANCELED)
        assert_int_equal(state_finish(&client, &job->claim, TY_FINISH_CANCELED, TY_REASON_CANCELED), 1);
    assert_int_equal(state_get(&client, &job->id).state, state);
    state_check(&client, &job->id, "acme");
}

// ---- events ----

static void force_claim(struct job *job)
{
    // Whatever state it is in, the queue has it, as after a mistake of the index.
    struct state_claim claims[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    char *queue TY_FREE = ty_xasprintf("{ty:0}:f:%s|acme", state_pool(&client));
    char *rotation TY_FREE = ty_xasprintf("{ty:0}:r:%s", state_pool(&client));
    STATE_RAW(&client, &job->id, "ZADD", queue, "0", "%");
    STATE_RAW(&client, NULL, "ZADD", rotation, "NX", "0", "acme");
    state_claim(&client, 0, &token, STATE_JOBS_MAX, STATE_LEASE_MS, claims);
}

static void adopt(struct job *job)
{
    state_renew(&client, &job->claim, 0);
}

static void cancel(struct job *job)
{
    state_control(&client, TY_COMMAND_CANCEL, &job->id);
}

static void adopt_forgotten(struct job *job)
{
    struct state_claim later = job->claim;
    later.token = ty_token_new();
    later.attempt++;
    later.fence++;
    state_renew(&client, &later, 0);
}

static void cancel_unsure(struct job *job)
{
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    cancel(job);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
}

static void finish(struct job *job, enum ty_finish_action action, enum ty_job_reason reason)
{
    state_finish(&client, &job->claim, action, reason);
}

static void complete(struct job *job) { finish(job, TY_FINISH_COMPLETED, TY_REASON_NONE); }
static void fail_job(struct job *job) { finish(job, TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT); }
static void stopped(struct job *job) { finish(job, TY_FINISH_CANCELED, TY_REASON_CANCELED); }
static void hand_back(struct job *job) { finish(job, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK); }
static void retry(struct job *job) { finish(job, TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED); }

static void quarantine(struct job *job)
{
    state_finish(&strict, &job->claim, TY_FINISH_RETRY, TY_REASON_WORKER_LOST);
}

static void expire_by(struct state_client *clock, struct job *job)
{
    STATE_RAW(&client, &job->id, "ZADD", "{ty:0}:l", "1", "%");
    uint64_t until = ty_clock_mono_ms() + 60000; // the first tick after a while only starts the clock
    while (STATE_RAW(&client, &job->id, "ZSCORE", "{ty:0}:l", "%").type != TY_REDIS_NIL) {
        state_reclaim(clock, 0, 1);
        if (ty_clock_mono_ms() > until)
            fail_msg("the lease clock stands still");
    }
}

static void force_expire(struct job *job) { expire_by(&client, job); }
static void expire_strictly(struct job *job) { expire_by(&strict, job); }

// The lease clock of a store that has a publisher.
static void disown(struct job *job)
{
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "read", "1");
    force_expire(job);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "read");
}

// It is marked and held by hand, in whatever state it is.
static void end_disowned(struct job *job)
{
    char *queue TY_FREE = ty_xasprintf("{ty:0}:f:%s|acme", state_pool(&client));
    int state = (int)state_get(&client, &job->id).state;
    if (state == TY_JOB_PENDING || state == TY_JOB_CANCELING) {
        STATE_RAW(&client, &job->id, "ZREM", queue, "%");
        STATE_RAW(&client, &job->id, "ZREM", "{ty:0}:l", "%");
        STATE_RAW(&client, &job->id, "EVAL", "return redis.call('SETRANGE', KEYS[1], 3, string.char(20))", "1", "{ty:0}:j:%");
    }
    STATE_RAW(&client, &job->id, "ZADD", "{ty:0}:z", "1", "%");
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:o"); // Kafka knows
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    state_end_held(&client, "p"); // others from before may have waited, too
}

// As if its submit had said so.
static void wait_over(struct job *job)
{
    STATE_RAW(&client, &job->id, "EVAL", "return redis.call('APPEND', KEYS[1], struct.pack('<BHI8', 6, 8, 1))", "1", "{ty:0}:j:%");
    STATE_RAW(&client, &job->id, "ZADD", "{ty:0}:i", "1", "%");
    uint64_t until = ty_clock_mono_ms() + 60000;
    while (STATE_RAW(&client, &job->id, "ZSCORE", "{ty:0}:i", "%").type != TY_REDIS_NIL) {
        state_reclaim(&client, 0, 1);
        if (ty_clock_mono_ms() > until)
            fail_msg("the lease clock stands still");
    }
}

static const struct event {
    const char *name;
    void (*run)(struct job *job);
    uint32_t attempts; // max_attempts that bring the event about
    int never_from;    // a state in which this way to bring it about is another event; 0: none
    bool unclaimed;    // it is an event of jobs that were never claimed
} events[] = {
    {"claim", force_claim, 100, 0, false},  {"adopt", adopt, 100, 0, false},
    {"adopt_forgotten", adopt_forgotten, 100, 0, false},
    {"cancel", cancel, 100, 0, false},      {"cancel_unsure", cancel_unsure, 100, TY_JOB_IN_PROGRESS, false},
    {"wait_over", wait_over, 100, 0, true},
    {"complete", complete, 100, 0, false},
    {"fail", fail_job, 100, 0, false},      {"stopped", stopped, 100, 0, false},
    {"hand_back", hand_back, 100, 0, false}, {"retry", retry, 100, 0, false},
    {"give_up", retry, 1, 0, false},        {"expire", force_expire, 100, 0, false},
    {"expire_last", force_expire, 1, 0, false},
    {"quarantine", quarantine, 100, 0, false}, {"quarantine", expire_strictly, 100, TY_JOB_PENDING, false},
    {"disown", disown, 1, TY_JOB_PENDING, false}, {"end_disowned", end_disowned, 100, 0, false},
};

// ---- the table ----

static json_t *table;

static int number_of(const char *state)
{
    return (int)json_integer_value(json_object_get(json_object_get(table, "states"), state));
}

// 0: the table has no such row.
static int target(const char *event, int from)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(table, "transitions"), i, row)
        if (!strcmp(json_string_value(json_object_get(row, "event")), event) &&
            number_of(json_string_value(json_object_get(row, "from"))) == from)
            return number_of(json_string_value(json_object_get(row, "to")));
    return 0;
}

static void check_pair(const struct event *event, int from)
{
    struct job job;
    enter(&job, (enum ty_job_state)from, event->attempts, event->unclaimed);
    struct state_view before = state_get(&client, &job.id);
    event->run(&job);
    struct state_view after = state_get(&client, &job.id);
    int to = target(event->name, from);
    if ((int)after.state != (to ? to : from))
        fail_msg("%s in state %d leads to %d, the table says %d", event->name, from, after.state, to ? to : from);
    if (to ? after.version <= before.version : after.version != before.version)
        fail_msg("%s in state %d: version %llu became %llu", event->name, from, (unsigned long long)before.version,
                 (unsigned long long)after.version);
    state_check(&client, &job.id, "acme");
    // Nothing is left for the next pair's claim.
    state_control(&client, TY_COMMAND_CANCEL, &job.id);
}

static void every_event_in_every_state(void **state)
{
    static const int states[] = {1, 2, 3, 4, 5, 6};
    (void)state;
    for (size_t e = 0; e < sizeof events / sizeof *events; e++)
        for (size_t s = 0; s < sizeof states / sizeof *states; s++)
            if (states[s] != events[e].never_from)
                check_pair(&events[e], states[s]);
}

static void the_test_knows_every_row(void **state)
{
    size_t i;
    json_t *row;
    (void)state;
    json_array_foreach(json_object_get(table, "transitions"), i, row) {
        const char *name = json_string_value(json_object_get(row, "event"));
        bool known = false;
        for (size_t e = 0; e < sizeof events / sizeof *events; e++)
            known = known || !strcmp(events[e].name, name);
        if (!known)
            fail_msg("this test cannot bring about \"%s\"", name);
        int from = number_of(json_string_value(json_object_get(row, "from")));
        assert_true(from != TY_JOB_COMPLETED && from != TY_JOB_FAILED && from != TY_JOB_CANCELED);
    }
}

static int set_up(void **state)
{
    json_error_t error;
    (void)state;
    table = json_loadb((const char *)ty_schema_transitions, ty_schema_transitions_len, 0, &error);
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open(&client, server, 1);
    state_client_open_site(&strict, server, &(struct ty_state_options){.max_losses = 1});
    return table ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    state_client_close(&client);
    state_client_close(&strict);
    redis_server_free(server);
    json_decref(table);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_test_knows_every_row),
        cmocka_unit_test(every_event_in_every_state),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
