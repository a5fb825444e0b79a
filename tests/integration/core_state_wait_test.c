// Jobs that may wait only so long for a worker to take them (max_wait_s): they fail by the lease clock, and only those that nobody has
// ever claimed; also when the store was away, went back or is made again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/event.h"
#include "core/state_outbox.h"
#include "tests/integration/state_client.h"

#define LEASE_MS 1500 // what is looked at within one may take its time on a busy machine
#define TOPIC "events"
#define TEXT "waited 1 s for a worker, as long as max_wait allows"

static struct redis_server *server;
static struct state_client client;

// age_s: how long ago it was created.
static uint64_t submit_as(const struct ty_id *id, uint32_t max_wait_s, uint32_t age_s)
{
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    options.max_wait_s = max_wait_s;
    struct state_job job = {.created_us = ty_clock_wall_us() - age_s * UINT64_C(1000000), .options = &options};
    assert_int_equal(state_submit(&client, id, &job), TY_APPLIED);
    return job.created_us;
}

static struct ty_id submit(uint32_t max_wait_s, uint32_t age_s)
{
    struct ty_id id = ty_id_new();
    submit_as(&id, max_wait_s, age_s);
    state_check(&client, &id, "acme");
    return id;
}

static size_t claimable(void)
{
    struct state_claim claims[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    return state_claim(&client, 0, &token, STATE_JOBS_MAX, STATE_LEASE_MS, claims);
}

static bool is_limited(const struct ty_id *id)
{
    return STATE_RAW(&client, id, "ZSCORE", "{ty:0}:i", "%").type != TY_REDIS_NIL;
}

// Two ticks, of which the first may only start the clock.
static void tick(void)
{
    uint64_t until = ty_clock_mono_ms() + 60000, first_us = 0;
    for (;;) {
        state_reclaim(&client, 0, 1);
        uint64_t now_us = strtoull(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "tick").text, NULL, 10);
        uint64_t grace_us = strtoull(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "grace_until").text, NULL, 10);
        if (first_us && now_us >= grace_us)
            return;
        first_us = now_us;
        assert_true(ty_clock_mono_ms() < until);
    }
}

static struct state_view tick_until_it_ends(const struct ty_id *id)
{
    uint64_t until = ty_clock_mono_ms() + 60000;
    struct state_view view;
    while ((view = state_get(&client, id)).state == TY_JOB_PENDING) {
        tick();
        if (ty_clock_mono_ms() > until)
            fail_msg("it waits for ever");
    }
    return view;
}

static void check_waited_too_long(const struct ty_id *id)
{
    struct state_view view = state_get(&client, id);
    assert_int_equal(view.state, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_WAIT_LIMIT);
    assert_int_equal(view.error_code, 4); // DEADLINE_EXCEEDED
    assert_string_equal(view.error, TEXT);
    assert_int_equal(view.attempt, 0);
    state_check(&client, id, "acme");
}

static void pass(uint64_t time_us)
{
    uint64_t until = ty_clock_mono_ms() + 60000;
    while (ty_clock_wall_us() <= time_us) {
        tick();
        assert_true(ty_clock_mono_ms() < until);
    }
    tick();
}

// ---- one store that stays ----

static void who_is_not_claimed_in_time_fails(void **state)
{
    struct ty_id id = submit(1, 0), patient = submit(3600, 0), endless = submit(0, 100000);
    (void)state;
    struct state_view before = state_get(&client, &id), view = tick_until_it_ends(&id);
    assert_int_equal(before.wait_end_us, before.created_us + 1000000);
    assert_true(view.ended_us >= before.wait_end_us);
    check_waited_too_long(&id);
    assert_true(is_limited(&patient));
    assert_false(is_limited(&endless));
    assert_int_equal(STATE_RAW(&client, NULL, "ZCARD", "{ty:0}:i").integer, 1);
    assert_true(STATE_RAW(&client, &id, "ZSCORE", "{ty:0}:o", "%").type != TY_REDIS_NIL); // its event goes to Kafka
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLY_NOOP);
    assert_int_equal(claimable(), 2);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:i").integer, 0);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    assert_false(state_get(&client, &id).found);
}

static void who_was_claimed_once_may_wait_for_ever(void **state)
{
    struct ty_id id = submit(1, 0);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    uint64_t end_us = state_get(&client, &id).created_us + 1000000;
    (void)state;
    assert_false(is_limited(&id));
    pass(end_us);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_IN_PROGRESS);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK), TY_FINISHED);
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:i", "1", "%"); // as if a program from before the index had claimed it
    tick();
    state_check(&client, &id, "acme");
    claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_lose(&client, &claim);
    tick();
    state_check(&client, &id, "acme");
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    assert_int_equal(claimable(), 1);
}

static void who_was_canceled_or_deleted_stays_that(void **state)
{
    struct ty_id canceled = submit(1, 0), deleted = submit(1, 0), early = ty_id_new();
    (void)state;
    uint64_t end_us = state_get(&client, &deleted).wait_end_us;
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &canceled), TY_APPLIED);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &deleted), TY_APPLY_DELETED);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &early), TY_APPLY_TOMBSTONE);
    submit_as(&early, 1, 0);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:i").integer, 0);
    pass(end_us);
    assert_int_equal(state_get(&client, &canceled).state, TY_JOB_CANCELED);
    assert_int_equal(state_get(&client, &canceled).reason, TY_REASON_CANCELED);
    assert_int_equal(state_get(&client, &early).state, TY_JOB_CANCELED);
    assert_false(state_get(&client, &deleted).found);
}

static void a_claim_passes_over_what_has_waited_too_long(void **state)
{
    struct ty_id late = submit(1, 10), behind = submit(60, 5);
    (void)state;
    state_claim_one(&client, &behind, STATE_LEASE_MS);
    assert_int_equal(state_get(&client, &late).state, TY_JOB_PENDING);
    assert_int_equal(claimable(), 0);
    state_check(&client, &late, "acme");
    tick();
    check_waited_too_long(&late);
    // Also one that a program from before the index has brought back from its event.
    struct ty_id restored = submit(1, 10);
    STATE_RAW(&client, &restored, "ZREM", "{ty:0}:i", "%");
    assert_int_equal(claimable(), 0);
    tick();
    check_waited_too_long(&restored);
}

static void a_known_job_among_them_changes_nothing(void **state)
{
    struct ty_id known = submit(0, 5), id = ty_id_new();
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    TY_BUF(again);
    TY_BUF(record);
    (void)state;
    options.max_wait_s = 1;
    state_record(&client, &known, &(struct state_job){0}, &again);
    state_record(&client, &id, &(struct state_job){.created_us = ty_clock_wall_us() - 10000000, .options = &options}, &record);
    struct ty_apply both[] = {{.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = known, .record = again.data, .record_len = again.len, .organization_id = "acme"},
                              {.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = id, .record = record.data, .record_len = record.len, .organization_id = "acme"}};
    struct state_applied applied = state_apply(&client, both, 2, NULL);
    assert_int_equal(applied.results[0], TY_APPLY_DUPLICATE);
    assert_int_equal(applied.results[1], TY_APPLIED);
    state_check(&client, &id, "acme");
    tick();
    check_waited_too_long(&id);
}

static void a_pause_does_not_stop_it(void **state)
{
    static const char *const pauses[] = {"pause/*", "pause/acme"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ty_apply pause = {.kind = TY_APPLY_RULE, .organization_id = pauses[i], .record = "1", .record_len = 1};
        assert_int_equal(state_apply(&client, &pause, 1, NULL).results[0], TY_APPLIED);
        struct ty_id id = submit(1, 10);
        tick();
        check_waited_too_long(&id);
        STATE_RAW(&client, NULL, "DEL", "{ty:0}:g");
    }
}

static void a_tick_ends_only_so_many(void **state)
{
    enum { JOBS = 300, TICK = 256 };
    int failed = 0;
    (void)state;
    tick();
    for (int i = 0; i < JOBS; i++)
        submit(1, 10);
    // However long that took, the clock has gone on.
    char *now TY_FREE = ty_xasprintf("%" PRIu64, ty_clock_wall_us() - 1000);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "tick", now);
    state_reclaim(&client, 0, 1);
    failed = (int)STATE_RAW(&client, NULL, "ZCARD", "{ty:0}:s:4:acme").integer;
    assert_int_equal(failed, TICK);
    tick();
    assert_int_equal(STATE_RAW(&client, NULL, "ZCARD", "{ty:0}:s:4:acme").integer, JOBS);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:i").integer, 0);
}

// A program from before the index claims from the queue only; it may also have ended a job and made another of its id.
static void what_another_version_leaves_in_the_index_is_put_right(void **state)
{
    struct ty_id claimed = submit(1, 0), gone = ty_id_new();
    (void)state;
    state_claim_one(&client, &claimed, STATE_LEASE_MS);
    struct ty_id other = submit(3600, 0), endless = submit(0, 10);
    uint64_t end_us = state_get(&client, &other).wait_end_us;
    STATE_RAW(&client, &claimed, "ZADD", "{ty:0}:i", "1", "%");
    STATE_RAW(&client, &gone, "ZADD", "{ty:0}:i", "1", "%");
    STATE_RAW(&client, &other, "ZADD", "{ty:0}:i", "1", "%");
    STATE_RAW(&client, &endless, "ZADD", "{ty:0}:i", "1", "%");
    tick();
    assert_int_equal(state_get(&client, &claimed).state, TY_JOB_IN_PROGRESS);
    assert_int_equal(state_get(&client, &other).state, TY_JOB_PENDING);
    assert_int_equal(state_get(&client, &endless).state, TY_JOB_PENDING);
    assert_int_equal(STATE_RAW(&client, NULL, "ZCARD", "{ty:0}:i").integer, 1);
    assert_true((uint64_t)strtod(STATE_RAW(&client, &other, "ZSCORE", "{ty:0}:i", "%").text, NULL) == end_us);
}

// How often the store is asked to change an index in the life of one job.
static int64_t changes_of_a_life(uint32_t max_wait_s)
{
    static const char count[] = "local n = 0 for k, c in redis.call('INFO', 'commandstats'):gmatch('cmdstat_(%w+):calls=(%d+)') do "
                                "if k == 'zadd' or k == 'zrem' then n = n + c end end return n";
    struct ty_id id = ty_id_new();
    STATE_RAW(&client, NULL, "CONFIG", "RESETSTAT");
    submit_as(&id, max_wait_s, 0);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    return STATE_RAW(&client, NULL, "EVAL", count, "0").integer;
}

static void it_costs_only_those_that_have_a_limit(void **state)
{
    (void)state;
    int64_t without = changes_of_a_life(0);
    assert_true(without > 5);
    assert_int_equal(changes_of_a_life(0), without);
    assert_int_equal(changes_of_a_life(3600), without + 2); // into the index and out of it
}

static void on_wait(void *context, const struct ty_err *err, const struct ty_wait *wait)
{
    assert_null(err);
    assert_true(wait->is_waiting);
    snprintf(context, 32, "%s", wait->why);
}

static void it_says_why_it_waits(void **state)
{
    struct ty_id id = submit(1, 10), patient = submit(60, 0);
    char why[32] = "", why_patient[32] = "";
    (void)state;
    ty_state_wait(client.state, &id, on_wait, why);
    ty_state_wait(client.state, &patient, on_wait, why_patient);
    STATE_UNTIL(&client, *why && *why_patient);
    assert_string_equal(why, "wait_limit");
    assert_string_equal(why_patient, "queued");
}

// ---- a store that was away, or went back ----

// As for leases: a gap between ticks starts a lease's time in which nothing expires.
static void nothing_ends_when_the_store_has_just_come(void **state)
{
    struct ty_id id = submit(1, 10);
    (void)state;
    for (int i = 0; i < 3; i++)
        state_reclaim(&client, 0, STATE_LEASE_MS);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    assert_int_equal(claimable(), 0);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "grace_until", "0");
    state_reclaim(&client, 0, STATE_LEASE_MS);
    check_waited_too_long(&id);
}

static void set_replay(const char *why)
{
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", why);
}

static void nothing_ends_while_the_events_are_read(void **state)
{
    static const char *const whys[] = {"needed", "asked"};
    struct ty_id id = submit(1, 10);
    (void)state;
    for (int i = 0; i < 2; i++) {
        set_replay(whys[i]);
        tick();
        assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    }
    set_replay("done");
    tick();
    check_waited_too_long(&id);
}

static void on_replayed(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing)
{
    (void)missing;
    assert_null(err);
    *(int *)context = (int)result;
}

// The events of a store that went back were all read.
static void replayed(void)
{
    int result = -1;
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", TOPIC "/0", "7");
    set_replay("needed");
    ty_state_replayed(client.state, 0, "p", LEASE_MS, TOPIC, NULL, 0, NULL, 0, on_replayed, &result);
    STATE_UNTIL(&client, result >= 0);
    assert_int_equal(result, TY_REPLAYED);
}

static void check_ended_a_lease_after(const struct ty_id *id, uint64_t time_us)
{
    struct state_view view = tick_until_it_ends(id);
    assert_true(view.ended_us >= time_us + LEASE_MS * 1000);
    check_waited_too_long(id);
}

// Whoever has it that the store forgot has a lease's time to say so.
static void who_runs_a_forgotten_job_takes_it_up_again(void **state)
{
    struct ty_id forgotten = submit(1, 0), unclaimed = ty_id_new();
    (void)state;
    struct state_claim claim = state_claim_one(&client, &forgotten, STATE_LEASE_MS);
    STATE_RAW(&client, NULL, "FLUSHALL");
    submit_as(&forgotten, 1, 10);
    submit_as(&unclaimed, 1, 10);
    uint64_t back_us = ty_clock_wall_us();
    replayed();
    tick();
    assert_int_equal(state_get(&client, &forgotten).state, TY_JOB_PENDING);
    assert_int_equal(claimable(), 0);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    state_check(&client, &forgotten, "acme");
    check_ended_a_lease_after(&unclaimed, back_us);
    assert_int_equal(state_get(&client, &forgotten).state, TY_JOB_IN_PROGRESS);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
}

// Its submit comes again only when the store has been back for long: the lease counts from then.
static void also_when_its_submit_comes_again_late(void **state)
{
    struct ty_id forgotten = submit(1, 0), unclaimed = ty_id_new();
    (void)state;
    struct state_claim claim = state_claim_one(&client, &forgotten, STATE_LEASE_MS);
    STATE_RAW(&client, NULL, "FLUSHALL");
    replayed();
    pass(ty_clock_wall_us() + LEASE_MS * 1000 + 1000);
    uint64_t back_us = ty_clock_wall_us();
    submit_as(&forgotten, 1, 10);
    submit_as(&unclaimed, 1, 10);
    tick();
    assert_int_equal(state_get(&client, &forgotten).state, TY_JOB_PENDING);
    assert_int_equal(claimable(), 0);
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEWED);
    check_ended_a_lease_after(&unclaimed, back_us);
    assert_int_equal(state_get(&client, &forgotten).state, TY_JOB_IN_PROGRESS);
    // A store that goes back to when such a lease ran gives one anew.
    struct ty_id again = ty_id_new();
    submit_as(&again, 1, 10);
    tick();
    STATE_RAW(&client, &again, "ZADD", "{ty:0}:i", "XX", "1", "%");
    back_us = ty_clock_wall_us();
    replayed();
    check_ended_a_lease_after(&again, back_us);
    // Who was submitted after that is nobody's.
    struct ty_id fresh = submit(1, 0);
    struct state_view view = tick_until_it_ends(&fresh);
    assert_true(view.ended_us < view.created_us + 1000000 + 10 * LEASE_MS * 1000);
}

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct ty_buf *event = context;
    struct ty_err failed;
    assert_null(err);
    assert_true(outbox->is_ours);
    assert_int_equal(outbox->job_count, 1);
    assert_int_equal(ty_event_encode(&outbox->jobs[0].record, 1, event, &failed), 0);
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    assert_null(err);
    assert_true(is_ours);
    assert_int_equal(changed, 1);
    *(bool *)context = true;
}

// By way of its event, as Kafka has it, into a store that knows nothing.
static void lose_and_restore(const struct ty_id *id)
{
    TY_BUF(bytes);
    struct ty_event event;
    struct ty_err err;
    bool is_done = false;
    ty_state_outbox(client.state, 0, "p", 60000, 10, TOPIC, 1, on_outbox, &bytes);
    STATE_UNTIL(&client, bytes.len);
    assert_int_equal(ty_event_decode(id, bytes.data, bytes.len, &event, &err), 0);
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    struct ty_restore job = {.id = *id, .version = event.version, .record = event.record.data, .record_len = event.record.len};
    ty_state_restore(client.state, 0, "p", TOPIC, 1, NULL, 0, &job, 1, on_restored, &is_done);
    STATE_UNTIL(&client, is_done);
    ty_event_done(&event);
}

static void its_event_brings_the_limit_back(void **state)
{
    struct ty_id late = submit(1, 10);
    (void)state;
    lose_and_restore(&late);
    state_check(&client, &late, "acme");
    assert_true(is_limited(&late));
    uint64_t back_us = ty_clock_wall_us();
    replayed();
    check_ended_a_lease_after(&late, back_us);
    // And the end itself.
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p");
    lose_and_restore(&late);
    check_waited_too_long(&late);
    STATE_RAW(&client, NULL, "FLUSHALL");

    struct ty_id claimed = submit(3600, 0);
    state_claim_one(&client, &claimed, STATE_LEASE_MS);
    lose_and_restore(&claimed);
    assert_false(is_limited(&claimed));
    STATE_RAW(&client, NULL, "FLUSHALL");
    struct ty_id patient = submit(3600, 0);
    uint64_t end_us = state_get(&client, &patient).wait_end_us;
    lose_and_restore(&patient);
    state_check(&client, &patient, "acme");
    assert_int_equal(state_get(&client, &patient).wait_end_us, end_us);
    replayed();
    pass(ty_clock_wall_us() + LEASE_MS * 1000 + 1000);
    assert_int_equal(claimable(), 1);
}

// The server comes back as it was at the last SAVE.
static void go_back(void)
{
    redis_server_kill(server);
    STATE_UNTIL(&client, !client.up && !ty_redis_is_up(client.redis));
    redis_server_start(server);
    STATE_UNTIL(&client, client.up && ty_redis_is_up(client.redis));
}

static void after_a_snapshot_it_meets_the_same_end(void **state)
{
    struct ty_id id = submit(1, 0), forgotten = submit(1, 0);
    (void)state;
    set_replay("done");
    assert_string_equal(redis_server_ask(server, "SAVE"), "+OK\r\n");
    struct state_claim claims[2], *claim = claims;
    struct ty_token token = ty_token_new();
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED); // of two that wait only the other is claimed
    assert_int_equal(state_claim(&client, 0, &token, 2, STATE_LEASE_MS, claims), 1);
    uint64_t end_us = state_get(&client, &forgotten).created_us + 1000000;
    pass(end_us);
    go_back();
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    assert_int_equal(state_get(&client, &forgotten).state, TY_JOB_PENDING);
    uint64_t back_us = ty_clock_wall_us();
    replayed();
    assert_int_equal(claimable(), 0);
    assert_int_equal(state_renew(&client, claim, 0), TY_RENEWED);
    check_ended_a_lease_after(&id, back_us);
    assert_int_equal(state_get(&client, &forgotten).state, TY_JOB_IN_PROGRESS);
    // Once more from the same snapshot, and nobody speaks for the other one.
    go_back();
    back_us = ty_clock_wall_us();
    replayed();
    check_ended_a_lease_after(&id, back_us);
    check_ended_a_lease_after(&forgotten, back_us);
}

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open(&client, server, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    state_client_close(&client);
    redis_server_free(server);
    return 0;
}

// Nothing is left of the test before, not even what this client has seen of the lease clock (a store that has no publisher tells none).
static int empty(void **state)
{
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(who_is_not_claimed_in_time_fails, empty),
        cmocka_unit_test_setup(who_was_claimed_once_may_wait_for_ever, empty),
        cmocka_unit_test_setup(who_was_canceled_or_deleted_stays_that, empty),
        cmocka_unit_test_setup(a_claim_passes_over_what_has_waited_too_long, empty),
        cmocka_unit_test_setup(a_known_job_among_them_changes_nothing, empty),
        cmocka_unit_test_setup(a_pause_does_not_stop_it, empty),
        cmocka_unit_test_setup(a_tick_ends_only_so_many, empty),
        cmocka_unit_test_setup(what_another_version_leaves_in_the_index_is_put_right, empty),
        cmocka_unit_test_setup(it_costs_only_those_that_have_a_limit, empty),
        cmocka_unit_test_setup(it_says_why_it_waits, empty),
        cmocka_unit_test_setup(nothing_ends_when_the_store_has_just_come, empty),
        cmocka_unit_test_setup(nothing_ends_while_the_events_are_read, empty),
        cmocka_unit_test_setup(who_runs_a_forgotten_job_takes_it_up_again, empty),
        cmocka_unit_test_setup(also_when_its_submit_comes_again_late, empty),
        cmocka_unit_test_setup(its_event_brings_the_limit_back, empty),
        cmocka_unit_test_setup(after_a_snapshot_it_meets_the_same_end, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
