// A store that went back may have forgotten who has a job, and even its end: a cancel of a pending one is held until whoever has
// it has said so, or had a lease's time to, and so long nothing is claimed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/state_outbox.h"
#include "tests/integration/state_client.h"

#define LEASE_MS 300

static struct redis_server *server;
static struct state_client client;

static void set_replay(const char *why)
{
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", why);
}

// The store forgets the job's claim: it is as it was when its submit was applied.
static struct state_claim claim_and_forget(struct ty_id *ret_id, enum ty_finish_action end)
{
    *ret_id = ty_id_new();
    set_replay("done");
    assert_int_equal(state_submit(&client, ret_id, NULL), TY_APPLIED);
    struct state_claim claim = state_claim_one(&client, ret_id, STATE_LEASE_MS);
    if (end)
        assert_int_equal(state_finish(&client, &claim, end, TY_REASON_NONE), TY_FINISHED);
    STATE_RAW(&client, NULL, "FLUSHALL");
    set_replay("needed");
    return claim;
}

static void nobody_can_claim(void)
{
    struct state_claim claims[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    assert_int_equal(state_claim(&client, 0, &token, STATE_JOBS_MAX, STATE_LEASE_MS, claims), 0);
}

static void on_settled(void *context, const struct ty_err *err, const int *results, size_t count)
{
    assert_null(err);
    assert_int_equal(count, 1);
    *(int *)context = results[0];
}

static int settled(const struct state_claim *claim)
{
    int result = 0;
    struct ty_settling settling = {.id = claim->id, .token = claim->token, .attempt = claim->attempt, .fence = claim->fence};
    ty_state_settled(client.state, 0, &settling, 1, on_settled, &result);
    STATE_UNTIL(&client, result);
    return result;
}

static void an_end_that_was_told_stands(void **state)
{
    struct ty_id id;
    (void)state;
    for (int cancel_first = 0; cancel_first < 2; cancel_first++) {
        struct state_claim claim = claim_and_forget(&id, TY_FINISH_COMPLETED);
        if (cancel_first)
            assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLY_TOMBSTONE);
        assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
        if (!cancel_first)
            assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
        assert_int_equal(state_get(&client, &id).state, TY_JOB_CANCELING);
        state_check(&client, &id, "acme");
        set_replay("done");
        nobody_can_claim();
        set_replay("needed");
        STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "read", "1"); // a store with a publisher
        assert_int_equal(settled(&claim), TY_SETTLED_TELL_AGAIN);
        assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_LATER);
        set_replay("done");
        assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_UNKNOWN);
        set_replay("needed");
        assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_CANCEL);
        state_check(&client, &id, "acme");
        set_replay("done");
        assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
        assert_int_equal(state_get(&client, &id).state, TY_JOB_COMPLETED);
        state_check(&client, &id, "acme");
    }
}

static void who_still_runs_it_is_told_to_stop(void **state)
{
    struct ty_id id;
    (void)state;
    struct state_claim claim = claim_and_forget(&id, 0);
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLIED);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEW_CANCEL);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEW_CANCEL);
    state_check(&client, &id, "acme");
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_CANCELED, TY_REASON_CANCELED), TY_FINISH_DELETED);
    assert_false(state_get(&client, &id).found);
}

// An earlier attempt that the store takes for the one that has the job is stale, since a later one shows that it had it too.
static void the_later_attempt_has_the_job(void **state)
{
    struct ty_id id;
    (void)state;
    struct state_claim later = claim_and_forget(&id, TY_FINISH_COMPLETED);
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    set_replay("done");
    struct state_claim earlier = state_claim_one(&client, &id, STATE_LEASE_MS);
    later.attempt++;
    later.fence = earlier.fence + 1;
    assert_int_equal(state_finish(&client, &later, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_UNKNOWN);
    assert_int_equal(state_renew(&client, &later, 0), TY_RENEWED);
    assert_int_equal(state_renew(&client, &earlier, 0), TY_RENEW_LOST);
    assert_int_equal(state_finish(&client, &earlier, TY_FINISH_FAILED, TY_REASON_NONE), TY_FINISH_STALE);
    assert_int_equal(state_finish(&client, &later, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_COMPLETED);
}

static void on_replayed(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing)
{
    (void)missing;
    assert_null(err);
    *(int *)context = (int)result;
}

// As when the publisher has written everything.
static void publish_all(void)
{
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:o");
}

static int replayed_to(int64_t mark, const struct ty_topic_end *ends, size_t count)
{
    int result = -1;
    struct ty_event_mark to = {.partition = 0, .expected = mark, .next = mark};
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    ty_state_replayed(client.state, 0, "p", LEASE_MS, "events", &to, 1, ends, count, on_replayed, &result);
    STATE_UNTIL(&client, result >= 0);
    return result;
}

static int replayed(const struct ty_topic_end *ends, size_t count)
{
    return replayed_to(-1, ends, count);
}

static void when_nobody_has_it_it_ends_after_a_lease(void **state)
{
    static const enum ty_command_kind kinds[] = {TY_COMMAND_CANCEL, TY_COMMAND_DELETE};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ty_id id;
        claim_and_forget(&id, TY_FINISH_COMPLETED);
        STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "events/0", "7");
        assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
        assert_int_equal(state_control(&client, kinds[i], &id), TY_APPLIED);
        STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
        assert_int_equal(state_end_held(&client, "p"), 0);
        uint64_t before_us = ty_clock_wall_us();
        assert_int_equal(replayed(NULL, 0), TY_REPLAYED);
        uint64_t until = ty_clock_mono_ms() + 60000;
        while (!state_end_held(&client, "p")) {
            assert_int_equal(state_get(&client, &id).state, TY_JOB_CANCELING);
            assert_int_equal(state_end_held(&client, "q"), 0);
            publish_all();
            if (ty_clock_mono_ms() > until)
                fail_msg("it is held for ever");
        }
        struct state_view view = state_get(&client, &id);
        if (kinds[i] == TY_COMMAND_CANCEL) {
            assert_int_equal(view.state, TY_JOB_CANCELED);
            assert_true(view.ended_us >= before_us + LEASE_MS * 1000);
            state_check(&client, &id, "acme");
        } else {
            assert_false(view.found);
        }
    }
}

// What was submitted after the store was back was never anybody's: it is canceled at once.
static void a_new_job_is_not_held(void **state)
{
    struct ty_id old = ty_id_new(), new = ty_id_new();
    struct state_job job = {.created_us = ty_clock_wall_us() - 3600 * UINT64_C(1000000)};
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    set_replay("needed");
    assert_int_equal(replayed(NULL, 0), TY_REPLAYED);
    assert_int_equal(state_submit(&client, &new, NULL), TY_APPLIED);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &new), TY_APPLIED); // nothing ever became of a job here
    assert_int_equal(state_get(&client, &new).state, TY_JOB_CANCELED);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "events/0", "7");
    set_replay("needed");
    assert_int_equal(replayed(NULL, 0), TY_REPLAYED);
    uint64_t until = ty_clock_mono_ms() + 60000;
    for (int is_canceled = 0; !is_canceled;) { // when the lease's time is over
        new = ty_id_new();
        job.created_us = ty_clock_wall_us();
        assert_int_equal(state_submit(&client, &new, &job), TY_APPLIED);
        assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &new), TY_APPLIED);
        is_canceled = state_get(&client, &new).state == TY_JOB_CANCELED;
        assert_true(is_canceled || ty_clock_mono_ms() < until);
    }
    job.created_us -= 3600 * UINT64_C(1000000);
    assert_int_equal(state_submit(&client, &old, &job), TY_APPLIED); // from before: its submit has come again only now
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &old), TY_APPLIED);
    assert_int_equal(state_get(&client, &old).state, TY_JOB_CANCELING);
}

// A worker may know of the end of a job that the store takes for a pending one, and has a lease's time to say so.
static void claims_wait_a_lease(void **state)
{
    struct ty_id id = ty_id_new();
    struct ty_token token = ty_token_new();
    struct state_claim claim;
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "events/0", "7");
    set_replay("needed");
    uint64_t before_us = ty_clock_wall_us(), until = ty_clock_mono_ms() + 60000;
    assert_int_equal(replayed(NULL, 0), TY_REPLAYED);
    while (!state_claim(&client, 0, &token, 1, STATE_LEASE_MS, &claim))
        if (ty_clock_mono_ms() > until)
            fail_msg("nothing is claimed any more");
    assert_true(claim.fence >= before_us + LEASE_MS * 1000);
    // Where nothing ever became of a job there is nothing to wait for.
    STATE_RAW(&client, NULL, "FLUSHALL");
    id = ty_id_new();
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    set_replay("needed");
    assert_int_equal(replayed(NULL, 0), TY_REPLAYED);
    state_claim_one(&client, &id, STATE_LEASE_MS);
}

static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    assert_null(record);
    *(int *)context = err ? (int)err->code : TY_OK;
}

static int code_of(const struct ty_id *id)
{
    int code = -1;
    ty_state_get(client.state, id, on_got, &code);
    STATE_UNTIL(&client, code >= 0);
    return code;
}

// Nobody is told that there is no such job before the submits are here, which nothing else waits for.
static void a_job_that_is_not_there_may_come_yet(void **state)
{
    static const struct ty_topic_end ends[] = {{"cancel/0", 3}, {"submit/0", 20}, {"submit/2", 7}};
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    set_replay("needed");
    assert_int_equal(code_of(&id), TY_EUNAVAILABLE);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "cancel/0", "3", "submit/2", "6", "submit/0", "5");
    assert_int_equal(replayed(ends, 3), TY_REPLAYED);
    state_end_held(&client, "p");
    assert_int_equal(code_of(&id), TY_EUNAVAILABLE);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "submit/0", "21");
    state_end_held(&client, "p");
    assert_int_equal(code_of(&id), TY_EUNAVAILABLE);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "submit/2", "7");
    state_end_held(&client, "p");
    assert_int_equal(code_of(&id), TY_OK);
    // Not for ever.
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "submits", "1000000 submit/2 8");
    assert_int_equal(code_of(&id), TY_EUNAVAILABLE);
    state_end_held(&client, "p");
    assert_int_equal(code_of(&id), TY_OK);
}

static void claims_wait_for_what_was_asked_before(void **state)
{
    static const struct ty_topic_end ends[] = {{"cancel/3", 10}, {"settings/0", 2}};
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    set_replay("needed");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "cancel/3", "9", "settings/0", "2");
    assert_int_equal(replayed(ends, 2), TY_REPLAYED_COMMANDS_MISSING);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "cancel/3", "10");
    assert_int_equal(replayed(ends, 2), TY_REPLAYED);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "cancel/3", "9");
    assert_int_equal(replayed(ends, 2), TY_REPLAYED); // nobody waits any more
    assert_int_equal(replayed(NULL, TY_ENDS_UNKNOWN), TY_REPLAYED);
}

static void on_rebuild(void *context, const struct ty_err *err, const struct ty_rebuild *rebuild)
{
    assert_null(err);
    (void)rebuild;
    *(bool *)context = true;
}

static void rebuild(enum ty_rebuild_ask ask)
{
    bool is_done = false;
    ty_state_rebuild(client.state, 0, ask, on_rebuild, &is_done);
    STATE_UNTIL(&client, is_done);
}

// The operator's way out counts for one wait, and for nothing when nobody waits.
static void the_operator_may_do_without(void **state)
{
    static const struct ty_topic_end ends[] = {{"cancel/3", 10}};
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    set_replay("done");
    rebuild(TY_REBUILD_WAIVE);
    for (int i = 0; i < 2; i++) {
        set_replay("needed");
        rebuild(TY_REBUILD_LOOK);
        assert_int_equal(replayed(NULL, TY_ENDS_UNKNOWN), TY_REPLAYED_COMMANDS_MISSING);
        assert_int_equal(replayed(ends, 1), TY_REPLAYED_COMMANDS_MISSING);
        rebuild(TY_REBUILD_WAIVE);
        assert_int_equal(replayed(NULL, TY_ENDS_UNKNOWN), TY_REPLAYED_COMMANDS_MISSING);
        assert_int_equal(replayed(ends, 1), TY_REPLAYED_WITHOUT_COMMANDS);
    }
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    assert_null(err);
    (void)changed;
    *(int *)context = is_ours;
}

static int restored(int64_t from, int64_t to)
{
    int is_ours = -1;
    struct ty_event_mark mark = {.partition = 0, .expected = from, .next = to};
    ty_state_restore(client.state, 0, "p", "events", 0, &mark, 1, NULL, 0, on_restored, &is_ours);
    STATE_UNTIL(&client, is_ours >= 0);
    return is_ours;
}

// The operator asks while a publisher reads the events, or has read them and waits for commands: what he has read counts no more.
static void what_is_asked_meanwhile_is_done_from_the_start(void **state)
{
    static const struct ty_topic_end ends[] = {{"cancel/3", 10}};
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    set_replay("needed");
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    assert_int_equal(restored(-1, 5), 1);
    assert_int_equal(restored(5, 7), 1);
    assert_int_equal(replayed_to(7, ends, 1), TY_REPLAYED_COMMANDS_MISSING);
    rebuild(TY_REBUILD_ASK);
    assert_int_equal(restored(7, 9), 0);
    assert_int_equal(STATE_RAW(&client, NULL, "HLEN", "{ty:0}:w").integer, 0);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "cancel/3", "10"); // an intake is fast
    assert_int_equal(replayed_to(7, ends, 1), TY_REPLAYED_NOT_OURS);
    nobody_can_claim();
    assert_int_equal(restored(-1, 7), 1);
    assert_int_equal(replayed_to(7, ends, 1), TY_REPLAYED);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "back_at");
    state_claim_one(&client, &id, STATE_LEASE_MS);
}

// Where an empty store waits for the operator, what he asked is not lost by others who find that it is empty.
static void what_was_asked_stays_asked(void **state)
{
    struct ty_watermark mark = {.topic = "submit", .partition = 0, .expected = 4, .next = 4};
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    assert_int_equal(state_attach(&client, "c", "submit", 0, NULL), 0);
    set_replay("done");
    assert_true(state_apply(&client, NULL, 0, &mark).gap);
    assert_string_equal(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "replay").text, "needed");
    rebuild(TY_REBUILD_ASK);
    assert_true(state_apply(&client, NULL, 0, &mark).gap);
    ty_state_need_replay(client.state, 0);
    assert_true(state_apply(&client, NULL, 0, &mark).gap); // behind it, on the same connection
    assert_string_equal(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "replay").text, "asked");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_that_was_told_stands),
        cmocka_unit_test(who_still_runs_it_is_told_to_stop),
        cmocka_unit_test(the_later_attempt_has_the_job),
        cmocka_unit_test(when_nobody_has_it_it_ends_after_a_lease),
        cmocka_unit_test(a_new_job_is_not_held),
        cmocka_unit_test(claims_wait_a_lease),
        cmocka_unit_test(a_job_that_is_not_there_may_come_yet),
        cmocka_unit_test(claims_wait_for_what_was_asked_before),
        cmocka_unit_test(the_operator_may_do_without),
        cmocka_unit_test(what_is_asked_meanwhile_is_done_from_the_start),
        cmocka_unit_test(what_was_asked_stays_asked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
