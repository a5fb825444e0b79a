// Attempts on the job store: claims, leases, what a worker may still say, and retries.
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
#include "tests/integration/state_client.h"

static struct redis_server *server;
static struct state_client client;

static struct ty_id submit(uint32_t max_attempts)
{
    struct ty_id id = ty_id_new();
    struct state_job job = {.max_attempts = max_attempts};
    assert_int_equal(state_submit(&client, &id, &job), TY_APPLIED);
    return id;
}

// ---- claims ----

static void claims_go_by_priority_then_age(void **state)
{
    static const struct state_job jobs[] = {
        {.created_us = 1700000003000000}, {.created_us = 1700000001000000}, {.created_us = 1700000002000000, .priority = 7},
        {.created_us = 1700000000000000, .priority = 7}, {.created_us = 1700000004000000, .priority = 3},
    };
    static const size_t order[] = {3, 2, 4, 1, 0};
    struct ty_id ids[5];
    struct state_claim claims[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new(), other = ty_token_new();
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        ids[i] = ty_id_new();
        state_submit(&client, &ids[i], &jobs[i]);
    }
    assert_int_equal(state_claim(&client, 0, &token, 2, STATE_LEASE_MS, claims), 2);
    assert_int_equal(state_claim(&client, 0, &other, 9, STATE_LEASE_MS, claims + 2), 3);
    for (size_t i = 0; i < 5; i++) {
        assert_true(ty_id_equal(&claims[i].id, &ids[order[i]]));
        assert_int_equal(claims[i].attempt, 1);
        state_check(&client, &claims[i].id, "acme");
        assert_string_equal(state_get(&client, &claims[i].id).worker, "worker-1");
    }
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(state_finish(&client, &claims[i], TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
}

static void a_claim_repeated_gives_the_same_jobs(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX], again[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    (void)state;
    for (int i = 0; i < 4; i++)
        submit(0);
    assert_int_equal(state_claim(&client, 0, &token, 3, STATE_LEASE_MS, claims), 3);
    assert_int_equal(state_claim(&client, 0, &token, 3, STATE_LEASE_MS, again), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(ty_id_equal(&claims[i].id, &again[i].id));
        assert_int_equal(claims[i].fence, again[i].fence);
        assert_int_equal(again[i].attempt, 1);
    }
    // Not what it has ended or given back.
    assert_int_equal(state_finish(&client, &claims[0], TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(state_finish(&client, &claims[1], TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK), TY_FINISHED);
    assert_int_equal(state_claim(&client, 0, &token, 3, STATE_LEASE_MS, again), 1);
    assert_true(ty_id_equal(&claims[2].id, &again[0].id));
    state_finish(&client, &claims[2], TY_FINISH_COMPLETED, TY_REASON_NONE);
    token = ty_token_new();
    size_t rest = state_claim(&client, 0, &token, 9, STATE_LEASE_MS, again);
    assert_int_equal(rest, 2);
    for (size_t i = 0; i < rest; i++)
        state_finish(&client, &again[i], TY_FINISH_COMPLETED, TY_REASON_NONE);
}

static void fences_rise_with_each_attempt(void **state)
{
    struct ty_id id = submit(0);
    uint64_t fence = 0;
    (void)state;
    for (uint32_t attempt = 1; attempt <= 5; attempt++) {
        struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
        assert_int_equal(claim.attempt, attempt);
        assert_true(claim.fence > fence);
        fence = claim.fence;
        state_finish(&client, &claim, attempt < 5 ? TY_FINISH_HAND_BACK : TY_FINISH_COMPLETED, TY_REASON_NONE);
    }
}

// ---- renewals ----

static void renewals_say_how_the_job_stands(void **state)
{
    struct ty_id id = submit(0);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS), stale = claim, unknown = claim;
    (void)state;
    stale.token = ty_token_new();
    unknown.id = ty_id_new();
    uint64_t version = state_get(&client, &id).version;
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEWED);
    assert_int_equal(state_get(&client, &id).version, version); // a heartbeat changes nothing
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_PREPARE), TY_RENEWED);
    assert_int_equal(state_get(&client, &id).started_us, 0);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    uint64_t started_us = state_get(&client, &id).started_us;
    assert_true(started_us > 0);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_COLLECT), TY_RENEWED);
    assert_int_equal(state_get(&client, &id).started_us, started_us);
    assert_int_equal(state_get(&client, &id).stage, TY_STAGE_COLLECT);
    assert_int_equal(state_renew(&client, &stale, 0), TY_RENEW_LOST);
    stale = claim;
    stale.attempt++;
    assert_int_equal(state_renew(&client, &stale, 0), TY_RENEW_LOST);
    assert_int_equal(state_renew(&client, &unknown, 0), TY_RENEW_UNKNOWN);
    state_control(&client, TY_COMMAND_CANCEL, &id);
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_CANCEL);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_CANCELED, TY_REASON_CANCELED), TY_FINISHED);
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_LOST);
    state_control(&client, TY_COMMAND_DELETE, &id);
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_DELETED);
    state_control(&client, TY_COMMAND_CANCEL, &unknown.id);
    assert_int_equal(state_renew(&client, &unknown, 0), TY_RENEW_UNKNOWN); // a tombstone of a cancel: its submit may come
}

static void an_expired_attempt_takes_its_job_up_again_while_nobody_has_it(void **state)
{
    struct ty_id id = submit(0);
    struct state_claim claim = state_claim_one(&client, &id, 1);
    (void)state;
    state_renew(&client, &claim, TY_STAGE_TRAIN);
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:l", "1", "%");
    state_expire(&client, 0, 1);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    struct state_view view = state_get(&client, &id);
    assert_int_equal(view.state, TY_JOB_IN_PROGRESS);
    assert_int_equal(view.attempt, 1);
    assert_int_equal(view.reason, TY_REASON_NONE);
    state_check(&client, &id, "acme");
    // Another worker's claim ends that.
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:l", "1", "%");
    state_expire(&client, 0, 1);
    struct state_claim second = state_claim_one(&client, &id, STATE_LEASE_MS);
    assert_int_equal(second.attempt, 2);
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_LOST);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_STALE);
    assert_int_equal(state_finish(&client, &second, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
}

static void a_job_of_a_store_that_went_back_is_taken_up_by_the_attempt_that_runs(void **state)
{
    struct ty_id id = submit(0);
    struct state_claim claim = {.id = id, .token = ty_token_new(), .attempt = 3, .fence = UINT64_C(4000000000000000)};
    (void)state;
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_UNKNOWN);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    struct state_view view = state_get(&client, &id);
    assert_int_equal(view.state, TY_JOB_IN_PROGRESS);
    assert_int_equal(view.attempt, 3);
    assert_int_equal(view.fence, claim.fence);
    assert_string_equal(view.worker, "worker-2");
    struct state_claim older = {.id = id, .token = ty_token_new(), .attempt = 2, .fence = 1};
    assert_int_equal(state_renew(&client, &older, 0), TY_RENEW_LOST);
    state_check(&client, &id, "acme");
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
}

// ---- ends ----

static void an_end_is_told_once_and_only_by_its_owner(void **state)
{
    static const struct {
        enum ty_finish_action action;
        bool canceling;
        enum ty_job_state state;
        enum ty_job_reason reason, stored;
    } cases[] = {
        {TY_FINISH_COMPLETED, false, TY_JOB_COMPLETED, TY_REASON_NONE, TY_REASON_NONE},
        {TY_FINISH_FAILED, false, TY_JOB_FAILED, TY_REASON_SIGNAL, TY_REASON_SIGNAL},
        {TY_FINISH_CANCELED, false, TY_JOB_CANCELED, TY_REASON_NONE, TY_REASON_CANCELED},
        {TY_FINISH_HAND_BACK, false, TY_JOB_PENDING, TY_REASON_HANDED_BACK, TY_REASON_HANDED_BACK},
        {TY_FINISH_RETRY, false, TY_JOB_PENDING, TY_REASON_PREPARE_FAILED, TY_REASON_PREPARE_FAILED},
        {TY_FINISH_COMPLETED, true, TY_JOB_COMPLETED, TY_REASON_NONE, TY_REASON_NONE},
        {TY_FINISH_FAILED, true, TY_JOB_FAILED, TY_REASON_SCRIPT_EXIT, TY_REASON_SCRIPT_EXIT},
        {TY_FINISH_CANCELED, true, TY_JOB_CANCELED, TY_REASON_CANCELED, TY_REASON_CANCELED},
        {TY_FINISH_HAND_BACK, true, TY_JOB_CANCELED, TY_REASON_HANDED_BACK, TY_REASON_CANCELED},
        {TY_FINISH_RETRY, true, TY_JOB_CANCELED, TY_REASON_INTERNAL, TY_REASON_CANCELED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_id id = submit(0);
        struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS), stale = claim;
        stale.token = ty_token_new();
        if (cases[i].canceling)
            assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
        assert_int_equal(state_finish(&client, &stale, cases[i].action, cases[i].reason), TY_FINISH_STALE);
        assert_int_equal(state_finish(&client, &claim, cases[i].action, cases[i].reason), TY_FINISHED);
        struct state_view view = state_get(&client, &id);
        if (view.state != cases[i].state || view.reason != cases[i].stored)
            fail_msg("case %zu: %s, %s", i, ty_state_name(view.state), ty_reason_name(view.reason));
        state_check(&client, &id, "acme");
        int again = state_finish(&client, &claim, cases[i].action, cases[i].reason);
        if (again != TY_FINISH_ALREADY)
            fail_msg("case %zu: told again, the answer is %d", i, again);
        struct state_view after = state_get(&client, &id);
        assert_memory_equal(&view, &after, sizeof view);
        assert_int_equal(state_finish(&client, &stale, cases[i].action, cases[i].reason), TY_FINISH_STALE);
        // What was given back is not taken up again by a heartbeat that comes late.
        assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_LOST);
        state_control(&client, TY_COMMAND_DELETE, &id);
    }
}

struct ends_call {
    bool done;
    int results[4];
};

static void on_ends(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct ends_call *call = context;
    assert_null(err);
    assert_int_equal(count, 4);
    memcpy(call->results, results, sizeof call->results);
    call->done = true;
}

// One call may end many, also one that is to be deleted, and the same one twice.
static void many_ends_go_in_one_call(void **state)
{
    struct state_claim claims[3];
    struct ty_finish finishes[4];
    struct ends_call call = {0};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ty_id id = submit(0);
        claims[i] = state_claim_one(&client, &id, STATE_LEASE_MS);
    }
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &claims[1].id), TY_APPLIED);
    for (size_t i = 0; i < 4; i++) {
        const struct state_claim *claim = &claims[i % 3];
        finishes[i] = (struct ty_finish){.id = claim->id, .token = claim->token, .attempt = claim->attempt,
                                         .action = i == 2 ? TY_FINISH_RETRY : TY_FINISH_COMPLETED,
                                         .reason = i == 2 ? TY_REASON_PREPARE_FAILED : TY_REASON_NONE};
    }
    ty_state_finish(client.state, 0, finishes, 4, on_ends, &call);
    STATE_UNTIL(&client, call.done);
    static const int wanted[] = {TY_FINISHED, TY_FINISH_DELETED, TY_FINISHED, TY_FINISH_ALREADY};
    assert_memory_equal(call.results, wanted, sizeof wanted);
    assert_int_equal(state_get(&client, &claims[0].id).state, TY_JOB_COMPLETED);
    assert_int_equal(state_get(&client, &claims[2].id).state, TY_JOB_PENDING);
    for (size_t i = 0; i < 3; i++)
        state_check(&client, &claims[i].id, "acme");
}

static void ends_bring_their_patch(void **state)
{
    struct ty_id id = submit(0);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    TY_BUF(patch);
    (void)state;
    ty_patch_error(&patch, 13, "the script ended with exit code 1");
    assert_int_equal(state_finish_with(&client, &claim, TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT, &patch), TY_FINISHED);
    struct state_view view = state_get(&client, &id);
    assert_string_equal(view.error, "the script ended with exit code 1");
    assert_int_equal(view.error_code, 13);
    id = submit(0);
    claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    ty_buf_clear(&patch);
    ty_patch_model(&patch, "acme/digits/1");
    assert_int_equal(state_finish_with(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE, &patch), TY_FINISHED);
    view = state_get(&client, &id);
    assert_string_equal(view.synced_model, "acme/digits/1");
    assert_true(view.started_us > 0 && view.started_us <= view.ended_us);
    // A canceled job has neither an error nor a model.
    id = submit(0);
    claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_control(&client, TY_COMMAND_CANCEL, &id);
    assert_int_equal(state_finish_with(&client, &claim, TY_FINISH_CANCELED, TY_REASON_CANCELED, &patch), TY_FINISHED);
    assert_string_equal(state_get(&client, &id).synced_model, "");
}

static void errors_and_losses_use_up_the_attempts(void **state)
{
    static const struct {
        uint32_t max_attempts;
        const char *ends; // R: an error, L: its worker is lost, U: before it had started, H: handed back
    } cases[] = {{0, "RRR"}, {0, "LLL"}, {0, "RLR"}, {1, "R"}, {1, "L"}, {2, "HHRHL"}, {4, "HRRRR"}, {5, "LRHLRL"}, {2, "UULUUUR"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_id id = submit(cases[i].max_attempts);
        for (const char *end = cases[i].ends; *end; end++) {
            assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
            struct state_claim claim = state_claim_one(&client, &id, *end == 'U' ? 1 : STATE_LEASE_MS);
            if (*end == 'U')
                state_expire(&client, 0, 1);
            else if (*end == 'L')
                state_lose(&client, &claim);
            else
                state_finish(&client, &claim, *end == 'R' ? TY_FINISH_RETRY : TY_FINISH_HAND_BACK,
                             *end == 'R' ? TY_REASON_INSTALL_FAILED : TY_REASON_HANDED_BACK);
        }
        struct state_view view = state_get(&client, &id);
        char last = cases[i].ends[strlen(cases[i].ends) - 1];
        if (view.state != TY_JOB_FAILED)
            fail_msg("%s: %s", cases[i].ends, ty_state_name(view.state));
        assert_int_equal(view.reason, last == 'R' ? TY_REASON_INSTALL_FAILED : TY_REASON_WORKER_LOST);
        assert_int_equal(view.attempt, strlen(cases[i].ends));
        if (last == 'L')
            assert_non_null(strstr(view.error, "worker lost"));
        state_check(&client, &id, "acme");
    }
}

static void a_model_without_its_name_is_given_to_other_workers(void **state)
{
    struct ty_id ids[STATE_JOBS_MAX], jobs[3];
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = submit(0);
        struct state_claim claim = state_claim_one(&client, &jobs[i], STATE_LEASE_MS);
        // The last one has no model.
        assert_int_equal(state_finish(&client, &claim, i < 2 ? TY_FINISH_COMPLETED_MODEL : TY_FINISH_COMPLETED, TY_REASON_NONE),
                         TY_FINISHED);
        assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED_MODEL, TY_REASON_NONE), TY_FINISH_ALREADY);
        assert_int_equal(state_get(&client, &jobs[i]).state, TY_JOB_COMPLETED);
    }
    assert_int_equal(state_unlinked(&client, 60000, 9, ids), 0); // their worker still has time
    assert_int_equal(state_unlinked(&client, 0, 1, ids), 1);
    assert_true(ty_id_equal(&ids[0], &jobs[0]));
    assert_int_equal(state_unlinked(&client, 60000, 9, ids), 0); // somebody has it in hand
    assert_int_equal(state_unlinked(&client, 0, 9, ids), 2);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "read", "1"); // there is a publisher, and Kafka does not know of the ends yet
    assert_int_equal(state_unlinked(&client, 0, 9, ids), 0);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:o");
    assert_int_equal(state_unlinked(&client, 0, 9, ids), 2);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "read");
    ty_state_linked(client.state, &jobs[0]);
    assert_int_equal(state_unlinked(&client, 0, 9, ids), 1);
    assert_true(ty_id_equal(&ids[0], &jobs[1]));
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &jobs[1]), TY_APPLY_DELETED);
    assert_int_equal(state_unlinked(&client, 0, 9, ids), 0);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:u").integer, 0);
}

// ---- the lease clock ----

static uint64_t store_us(void)
{
    struct state_raw raw = STATE_RAW(&client, NULL, "EVAL",
                                     "local t = redis.call('TIME') return t[1] .. string.format('%06d', t[2])", "0");
    return strtoull(raw.text, NULL, 10);
}

static void nothing_expires_before_the_store_was_up_for_one_lease(void **state)
{
    struct ty_id id = submit(0);
    char text[32];
    (void)state;
    state_claim_one(&client, &id, 1);
    uint64_t claimed_us = store_us();
    while (store_us() < claimed_us + 2000) // its lease has passed for certain
        continue;
    // The last tick lies ten seconds back, as after an outage.
    snprintf(text, sizeof text, "%" PRIu64, store_us() - 10000000);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "tick", text, "grace_until", "0");
    assert_int_equal(state_reclaim(&client, 0, STATE_LEASE_MS), 0);
    uint64_t until_us = strtoull(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "grace_until").text, NULL, 10);
    assert_in_range(until_us, store_us() + 55000000, store_us() + 60000000);
    assert_int_equal(state_reclaim(&client, 0, STATE_LEASE_MS), 0);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_IN_PROGRESS);
    // A clock that went back starts the wait again.
    snprintf(text, sizeof text, "%" PRIu64, store_us() + 10000000);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "tick", text, "grace_until", "0");
    assert_int_equal(state_reclaim(&client, 0, STATE_LEASE_MS), 0);
    // The wait is over.
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "grace_until", "1");
    assert_int_equal(state_reclaim(&client, 0, STATE_LEASE_MS), 1);
    struct state_view view = state_get(&client, &id);
    assert_int_equal(view.state, TY_JOB_PENDING);
    assert_int_equal(view.reason, TY_REASON_NOT_STARTED);
    state_control(&client, TY_COMMAND_DELETE, &id);
}

static void a_renewed_lease_does_not_expire(void **state)
{
    struct ty_id id = submit(0);
    struct state_claim claim = state_claim_one(&client, &id, 1);
    (void)state;
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEWED);
    assert_int_equal(state_reclaim(&client, 0, 1), 0);
    uint64_t now_us = store_us();
    while (store_us() < now_us + 2000)
        continue;
    assert_int_equal(state_reclaim(&client, 0, 1), 0);
    state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE);
}

static void a_deleted_job_goes_with_its_logs_when_its_worker_is_lost(void **state)
{
    struct ty_id id = submit(0);
    struct state_claim claim = state_claim_one(&client, &id, 1);
    (void)state;
    assert_int_equal(state_log_open(&client, &claim, 0).code, TY_OK);
    assert_int_equal(state_log_append(&client, &claim, 0, 2, false).next, 2);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLIED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_CANCELING);
    state_expire(&client, 0, 1);
    assert_false(state_get(&client, &id).found);
    state_check(&client, &id, "acme");
    assert_int_equal(state_page(&client, &id, 0, 0, 10, 1000).count, 0);
    assert_int_equal(state_renew(&client, &claim, 0), TY_RENEW_DELETED);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_ALREADY);
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

// What a test that failed left in the queue does not fail the next one.
static int empty(void **state)
{
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(claims_go_by_priority_then_age, empty),
        cmocka_unit_test_setup(a_claim_repeated_gives_the_same_jobs, empty),
        cmocka_unit_test_setup(fences_rise_with_each_attempt, empty),
        cmocka_unit_test_setup(renewals_say_how_the_job_stands, empty),
        cmocka_unit_test_setup(an_expired_attempt_takes_its_job_up_again_while_nobody_has_it, empty),
        cmocka_unit_test_setup(a_job_of_a_store_that_went_back_is_taken_up_by_the_attempt_that_runs, empty),
        cmocka_unit_test_setup(an_end_is_told_once_and_only_by_its_owner, empty),
        cmocka_unit_test_setup(many_ends_go_in_one_call, empty),
        cmocka_unit_test_setup(ends_bring_their_patch, empty),
        cmocka_unit_test_setup(errors_and_losses_use_up_the_attempts, empty),
        cmocka_unit_test_setup(a_model_without_its_name_is_given_to_other_workers, empty),
        cmocka_unit_test_setup(nothing_expires_before_the_store_was_up_for_one_lease, empty),
        cmocka_unit_test_setup(a_renewed_lease_does_not_expire, empty),
        cmocka_unit_test_setup(a_deleted_job_goes_with_its_logs_when_its_worker_is_lost, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
