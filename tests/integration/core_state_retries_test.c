// What becomes of jobs whose attempts end early: which losses count, quarantine, and back-off.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "tests/integration/state_client.h"

#define LONG_MS 600000u // longer than any test

static struct redis_server *server;
static struct state_client plain, slow, quick; // without back-off, with a long one, with one that a test can wait for

static struct ty_id submit(struct state_client *client, uint32_t max_attempts)
{
    struct ty_id id = ty_id_new();
    assert_int_equal(state_submit(client, &id, &(struct state_job){.max_attempts = max_attempts}), TY_APPLIED);
    return id;
}

static bool is_in(struct state_client *client, const struct ty_id *id, const char *key)
{
    return STATE_RAW(client, id, "ZSCORE", key, "%").type != TY_REDIS_NIL;
}

static size_t claimable(struct state_client *client)
{
    struct state_claim claims[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    return state_claim(client, 0, &token, STATE_JOBS_MAX, STATE_LEASE_MS, claims);
}

// As if its time had come, for the next attempt.
static void make_ready(struct state_client *client, const struct ty_id *id)
{
    char *queue TY_FREE = ty_xasprintf("{ty:0}:q:%s", state_pool(client));
    STATE_RAW(client, id, "ZREM", "{ty:0}:d", "%");
    STATE_RAW(client, id, "ZADD", queue, "0", "%");
}

// ---- losses ----

static void only_a_started_attempt_counts_as_lost(void **state)
{
    struct ty_id id = submit(&plain, 2);
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct state_claim claim = state_claim_one(&plain, &id, 1);
        if (i % 2) // a heartbeat that has no stage to tell changes nothing of that
            state_renew(&plain, &claim, TY_STAGE_CLAIMED);
        STATE_RAW(&plain, &id, "ZADD", "{ty:0}:l", "1", "%");
        state_expire(&plain, 0, 1);
        struct state_view view = state_get(&plain, &id);
        assert_int_equal(view.state, TY_JOB_PENDING);
        assert_int_equal(view.losses, 0);
        assert_int_equal(view.reason, TY_REASON_NOT_STARTED);
    }
    struct state_claim claim = state_claim_one(&plain, &id, STATE_LEASE_MS);
    state_lose(&plain, &claim);
    struct state_view view = state_get(&plain, &id);
    assert_int_equal(view.losses, 1);
    assert_int_equal(view.reason, TY_REASON_WORKER_LOST);
    claim = state_claim_one(&plain, &id, STATE_LEASE_MS);
    state_lose(&plain, &claim);
    view = state_get(&plain, &id);
    assert_int_equal(view.state, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_WORKER_LOST);
    assert_non_null(strstr(view.error, "after 2 lost workers and 0 errors"));
}

static void an_attempt_that_comes_back_was_not_lost(void **state)
{
    struct ty_id id = submit(&plain, 2);
    struct state_claim claim = state_claim_one(&plain, &id, STATE_LEASE_MS);
    (void)state;
    for (int i = 0; i < 4; i++) {
        state_lose(&plain, &claim);
        assert_int_equal(state_get(&plain, &id).losses, 1);
        assert_int_equal(state_renew(&plain, &claim, TY_STAGE_TRAIN), TY_RENEWED);
        assert_int_equal(state_get(&plain, &id).losses, 0);
        assert_int_equal(state_get(&plain, &id).state, TY_JOB_IN_PROGRESS);
    }
    // One attempt is counted once: as the error that it reports.
    state_lose(&plain, &claim);
    assert_int_equal(state_finish(&plain, &claim, TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED), TY_FINISHED);
    struct state_view view = state_get(&plain, &id);
    assert_int_equal(view.state, TY_JOB_PENDING);
    assert_int_equal(view.losses, 0);
    assert_int_equal(view.errors, 1);
    state_control(&plain, TY_COMMAND_DELETE, &id);
}

// ---- quarantine ----

static void a_job_that_takes_workers_with_it_is_quarantined(void **state)
{
    static const char *const ends[] = {"LLL", "VVV", "LVL", "RLRLL", "RRRLRLV", "LULHUL"};
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct ty_id id = submit(&plain, 100);
        for (const char *end = ends[i]; *end; end++) {
            assert_int_equal(state_get(&plain, &id).state, TY_JOB_PENDING);
            struct state_claim claim = state_claim_one(&plain, &id, *end == 'U' ? 1 : STATE_LEASE_MS);
            switch (*end) {
            case 'L': state_lose(&plain, &claim); break;
            case 'U': state_expire(&plain, 0, 1); break;
            case 'V': // the supervisor vanished; its worker lives
                state_renew(&plain, &claim, TY_STAGE_TRAIN);
                state_finish(&plain, &claim, TY_FINISH_RETRY, TY_REASON_WORKER_LOST);
                break;
            case 'H': state_finish(&plain, &claim, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK); break;
            default: state_finish(&plain, &claim, TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED); break;
            }
        }
        struct state_view view = state_get(&plain, &id);
        if (view.state != TY_JOB_FAILED || view.reason != TY_REASON_QUARANTINED)
            fail_msg("%s: %s, %s", ends[i], ty_state_name(view.state), ty_reason_name(view.reason));
        assert_int_equal(view.losses, 3);
        assert_int_equal(view.error_code, 10);
        assert_non_null(strstr(view.error, "quarantined: its worker was lost 3 times"));
        state_check(&plain, &id, "acme");
    }
    assert_int_equal(atoi(STATE_RAW(&plain, NULL, "HGET", "{ty:0}:m", "quarantined").text), sizeof ends / sizeof *ends);
}

static void a_supervisor_that_never_began_is_an_error(void **state)
{
    struct ty_id id = submit(&plain, 100);
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct state_claim claim = state_claim_one(&plain, &id, STATE_LEASE_MS);
        state_finish(&plain, &claim, TY_FINISH_RETRY, TY_REASON_WORKER_LOST);
    }
    struct state_view view = state_get(&plain, &id);
    assert_int_equal(view.state, TY_JOB_PENDING);
    assert_int_equal(view.errors, 4);
    assert_int_equal(view.losses, 0);
    state_control(&plain, TY_COMMAND_DELETE, &id);
}

static void a_canceled_job_is_not_quarantined(void **state)
{
    struct ty_id id = submit(&plain, 100);
    struct state_claim claim = {0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        claim = state_claim_one(&plain, &id, STATE_LEASE_MS);
        state_lose(&plain, &claim);
    }
    claim = state_claim_one(&plain, &id, STATE_LEASE_MS);
    state_control(&plain, TY_COMMAND_CANCEL, &id);
    state_lose(&plain, &claim);
    struct state_view view = state_get(&plain, &id);
    assert_int_equal(view.state, TY_JOB_CANCELED);
    assert_string_equal(view.error, "");
}

// ---- back-off ----

static uint64_t wait_us(const struct state_view *view)
{
    assert_true(view->due_us >= view->modified_us);
    return view->due_us - view->modified_us;
}

static void fail_once(struct state_client *client, const struct ty_id *id)
{
    struct state_claim claim = state_claim_one(client, id, STATE_LEASE_MS);
    assert_int_equal(state_finish(client, &claim, TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED), TY_FINISHED);
}

static void a_job_in_back_off_is_pending_and_not_claimed(void **state)
{
    static const char ends[] = "RLU";
    (void)state;
    for (const char *end = ends; *end; end++) {
        struct ty_id id = submit(&slow, 0);
        struct state_claim claim = state_claim_one(&slow, &id, *end == 'U' ? 1 : STATE_LEASE_MS);
        if (*end == 'R')
            state_finish(&slow, &claim, TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED);
        else if (*end == 'L')
            state_lose(&slow, &claim);
        else
            state_expire(&slow, 0, 1);
        struct state_view view = state_get(&slow, &id);
        assert_int_equal(view.state, TY_JOB_PENDING);
        assert_in_range(wait_us(&view), 1, (uint64_t)LONG_MS * 1000);
        assert_true(is_in(&slow, &id, "{ty:0}:d"));
        state_check(&slow, &id, "acme");
        state_reclaim(&slow, 0, 1); // a tick does not move what is not due
        assert_int_equal(claimable(&slow), 0);
        // The attempt that was taken for lost takes its job up again from there.
        if (*end != 'R') {
            assert_int_equal(state_renew(&slow, &claim, TY_STAGE_TRAIN), TY_RENEWED);
            state_check(&slow, &id, "acme");
            // And to be handed back is no failure: it does not wait.
            assert_int_equal(state_finish(&slow, &claim, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK), TY_FINISHED);
            assert_int_equal(state_get(&slow, &id).due_us, 0);
            state_check(&slow, &id, "acme");
            claim = state_claim_one(&slow, &id, STATE_LEASE_MS);
            assert_int_equal(state_finish(&slow, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
        }
        state_control(&slow, TY_COMMAND_DELETE, &id);
        assert_false(is_in(&slow, &id, "{ty:0}:d"));
    }
}

static void what_is_due_goes_to_its_queue_with_a_tick(void **state)
{
    struct ty_id ids[3];
    uint64_t due_us[3], until = ty_clock_mono_ms() + 60000;
    (void)state;
    state_client_listen(&quick);
    for (size_t i = 0; i < 3; i++) {
        ids[i] = submit(&quick, 0);
        fail_once(&quick, &ids[i]);
        due_us[i] = state_get(&quick, &ids[i]).due_us;
    }
    quick.readies = 0;
    for (size_t moved = 0; moved < 3;) {
        state_reclaim(&quick, 0, LONG_MS); // also while no lease may be taken
        moved = 0;
        for (size_t i = 0; i < 3; i++)
            moved += !is_in(&quick, &ids[i], "{ty:0}:d");
        if (ty_clock_mono_ms() > until)
            fail_msg("%zu of 3 jobs came back", moved);
    }
    STATE_UNTIL(&quick, quick.readies); // the workers were told
    for (size_t i = 0; i < 3; i++) {
        state_check(&quick, &ids[i], "acme");
        assert_true(due_us[i] <= ty_clock_wall_us());
        state_control(&quick, TY_COMMAND_DELETE, &ids[i]);
    }
}

static void cancel_and_delete_take_a_job_out_of_back_off(void **state)
{
    (void)state;
    struct ty_id id = submit(&slow, 0);
    fail_once(&slow, &id);
    assert_int_equal(state_control(&slow, TY_COMMAND_CANCEL, &id), TY_APPLIED);
    assert_int_equal(state_get(&slow, &id).state, TY_JOB_CANCELED);
    assert_int_equal(state_get(&slow, &id).due_us, 0);
    assert_false(is_in(&slow, &id, "{ty:0}:d"));
    state_check(&slow, &id, "acme");
    id = submit(&slow, 0);
    fail_once(&slow, &id);
    assert_int_equal(state_control(&slow, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    assert_false(state_get(&slow, &id).found);
    assert_false(is_in(&slow, &id, "{ty:0}:d"));
}

// A program of the version before knows nothing of the set: what it leaves there does no harm.
static void what_another_version_leaves_in_the_set_is_dropped(void **state)
{
    struct ty_id canceled = submit(&slow, 0), running = submit(&slow, 0), gone = ty_id_new(), queued;
    (void)state;
    state_control(&slow, TY_COMMAND_CANCEL, &canceled);
    struct state_claim claim = state_claim_one(&slow, &running, STATE_LEASE_MS);
    queued = submit(&slow, 0);
    const struct ty_id *left[] = {&canceled, &running, &gone, &queued};
    for (size_t i = 0; i < 4; i++)
        STATE_RAW(&slow, left[i], "ZADD", "{ty:0}:d", "1", "%");
    state_reclaim(&slow, 0, LONG_MS);
    for (size_t i = 0; i < 4; i++)
        assert_false(is_in(&slow, left[i], "{ty:0}:d"));
    state_check(&slow, &canceled, "acme");
    state_check(&slow, &running, "acme");
    state_check(&slow, &gone, "acme");
    state_check(&slow, &queued, "acme");
    state_finish(&slow, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE);
    state_control(&slow, TY_COMMAND_DELETE, &queued);
}

// As a job comes back from its last event when the store was lost.
static void a_job_that_is_stored_in_back_off_waits(void **state)
{
    struct ty_id ids[4];
    struct ty_apply commands[4];
    struct ty_buf records[4] = {0};
    uint8_t entry[15] = {TY_TAIL_BACKOFF, 12, 0};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint64_t due_us = i % 2 ? ty_clock_wall_us() + (uint64_t)LONG_MS * 1000 : 1;
        for (size_t byte = 0; byte < 8; byte++)
            entry[3 + byte] = (uint8_t)(due_us >> (8 * byte));
        ids[i] = ty_id_new();
        state_record(&plain, &ids[i], &(struct state_job){0}, &records[i]);
        ty_buf_add(&records[i], entry, sizeof entry);
        commands[i] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = ids[i], .record = records[i].data,
                                        .record_len = records[i].len, .organization_id = "acme"};
    }
    // Two at once, and two of which one has been there before, which goes another way.
    assert_int_equal(state_apply(&plain, commands, 2, NULL).results[0], TY_APPLIED);
    assert_int_equal(state_apply(&plain, commands + 1, 3, NULL).results[2], TY_APPLIED);
    state_reclaim(&plain, 0, LONG_MS);
    for (size_t i = 0; i < 4; i++) {
        assert_true(is_in(&plain, &ids[i], "{ty:0}:d") == (i % 2 == 1));
        state_check(&plain, &ids[i], "acme");
        ty_buf_done(&records[i]);
    }
    assert_int_equal(claimable(&plain), 2);
}

// ---- its length ----

#define DRAWS 400

static void the_length_is_random_from_nothing_to_the_limit(void **state)
{
    struct ty_state_options site = {.retry_base_ms = 1000, .retry_max_ms = 1000};
    struct state_client client;
    unsigned quarters[4] = {0};
    uint64_t sum = 0;
    (void)state;
    state_client_open_site(&client, server, &site);
    for (int i = 0; i < DRAWS; i++) {
        struct ty_id id = submit(&client, 0);
        fail_once(&client, &id);
        struct state_view view = state_get(&client, &id);
        uint64_t wait = wait_us(&view);
        assert_true(wait < 1000000);
        quarters[wait / 250000]++;
        sum += wait;
        state_control(&client, TY_COMMAND_DELETE, &id);
    }
    // Six standard deviations of an even distribution each way: 1000/sqrt(12)/20 ms, and sqrt(400 * 3/16) draws.
    assert_in_range(sum / DRAWS, 500000 - 87000, 500000 + 87000);
    for (size_t i = 0; i < 4; i++)
        assert_in_range(quarters[i], 100 - 52, 100 + 52);
    state_client_close(&client);
}

static void the_limit_doubles_with_each_failure_up_to_the_longest(void **state)
{
    static const struct ty_state_options sites[] = {
        {.retry_base_ms = 1000, .retry_max_ms = 60000},
        {.retry_base_ms = 3600000, .retry_max_ms = 86400000}, // times 2^98 in the end
        {.retry_base_ms = UINT32_MAX, .retry_max_ms = UINT32_MAX},
        {.retry_base_ms = 5000, .retry_max_ms = 1000},
    };
    (void)state;
    for (size_t s = 0; s < sizeof sites / sizeof *sites; s++) {
        struct state_client client;
        state_client_open_site(&client, server, &sites[s]);
        struct ty_id id = submit(&client, 100);
        uint64_t limit_ms = sites[s].retry_base_ms, longest = 0;
        for (unsigned n = 1; n < 100; n++) {
            fail_once(&client, &id);
            struct state_view view = state_get(&client, &id);
            assert_int_equal(view.errors, n);
            if (limit_ms > sites[s].retry_max_ms)
                limit_ms = sites[s].retry_max_ms;
            uint64_t wait = wait_us(&view);
            assert_true(wait <= limit_ms * 1000);
            longest = wait > longest ? wait : longest;
            limit_ms *= 2;
            make_ready(&client, &id);
        }
        // 90 draws below eight tenths of the limit would be one chance in five hundred million.
        assert_true(longest > (uint64_t)sites[s].retry_max_ms * 800);
        fail_once(&client, &id);
        assert_int_equal(state_get(&client, &id).state, TY_JOB_FAILED);
        state_client_close(&client);
    }
}

// The scripts read the policy from the options as they are stored, among everything else that may stand there.
static void a_jobs_own_policy_outranks_the_sites(void **state)
{
    enum { LABELS = 32 };
    static const struct {
        uint32_t base_ms, max_ms, limit_ms; // the longest first back-off; the site's is LONG_MS
    } cases[] = {{1, 0, 1}, {0, 1, 1}, {3, 86400000, 3}, {86400000, 2, 2}, {200, 300, 200}, {128, 16384, 128}};
    Trainyard__V1__JobOptions__LabelsEntry labels[LABELS], *list[LABELS];
    char keys[LABELS][8], value[200];
    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < LABELS; i++) {
        trainyard__v1__job_options__labels_entry__init(&labels[i]);
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        labels[i].key = keys[i];
        labels[i].value = value;
        list[i] = &labels[i];
    }
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
        Trainyard__V1__RetryPolicy retry = TRAINYARD__V1__RETRY_POLICY__INIT;
        Trainyard__V1__Resources resources = TRAINYARD__V1__RESOURCES__INIT;
        uint32_t codes[] = {1, 200, 255};
        size_t n = i / 2;
        retry.base_ms = cases[n].base_ms;
        retry.max_ms = cases[n].max_ms;
        options.retry = &retry;
        if (i % 2) { // everything else, too
            options.labels = list;
            options.n_labels = LABELS;
            options.max_runtime_s = UINT32_MAX;
            options.idempotency_key = value;
            options.retry_of = (char *)(uintptr_t) "00000000-0000-4000-8000-000000000001";
            resources.memory_bytes = UINT64_MAX;
            options.resources = &resources;
            retry.on_error = true;
            retry.exit_codes = codes;
            retry.n_exit_codes = 3;
        }
        struct ty_id id = ty_id_new();
        assert_int_equal(state_submit(&slow, &id, &(struct state_job){.options = &options}), TY_APPLIED);
        fail_once(&slow, &id);
        struct state_view view = state_get(&slow, &id);
        uint64_t wait = view.due_us ? wait_us(&view) : 0;
        if (wait > (uint64_t)cases[n].limit_ms * 1000)
            fail_msg("case %zu: it waits %llu us", i, (unsigned long long)wait);
        state_control(&slow, TY_COMMAND_DELETE, &id);
    }
}

static void attempts_that_never_start_wait_longer_each_time(void **state)
{
    struct ty_state_options site = {.max_losses = 3, .retry_base_ms = 1000, .retry_max_ms = LONG_MS};
    struct state_client client;
    uint64_t limit_ms = 1000, longest = 0;
    (void)state;
    state_client_open_site(&client, server, &site);
    struct ty_id id = submit(&client, 2);
    for (int n = 0; n < 40; n++) {
        state_claim_one(&client, &id, 1);
        state_expire(&client, 0, 1);
        struct state_view view = state_get(&client, &id);
        uint64_t wait = view.due_us ? wait_us(&view) : 0;
        limit_ms = limit_ms > LONG_MS ? LONG_MS : limit_ms;
        assert_true(wait <= limit_ms * 1000);
        longest = wait > longest ? wait : longest;
        limit_ms *= 2;
        make_ready(&client, &id);
    }
    assert_true(longest > (uint64_t)LONG_MS * 300);
    assert_int_equal(state_get(&client, &id).losses, 0);
    state_control(&client, TY_COMMAND_DELETE, &id);
    state_client_close(&client);
}

// ---- over a restart ----

static void jobs_in_back_off_survive_the_store(void **state)
{
    struct redis_server *other = redis_server_new(&(struct redis_server_options){.appendonly = true});
    struct state_client client;
    uint64_t until = ty_clock_mono_ms() + 60000;
    (void)state;
    redis_server_start(other);
    state_client_open_site(&client, other, &(struct ty_state_options){.retry_base_ms = 200, .retry_max_ms = 200});
    struct ty_id id = submit(&client, 0);
    fail_once(&client, &id);
    uint64_t due_us = state_get(&client, &id).due_us;
    state_client_close(&client);
    redis_server_kill(other);
    redis_server_start(other);
    state_client_open_site(&client, other, &(struct ty_state_options){.retry_base_ms = 200, .retry_max_ms = 200});
    assert_int_equal(state_get(&client, &id).due_us, due_us);
    assert_true(is_in(&client, &id, "{ty:0}:d"));
    while (is_in(&client, &id, "{ty:0}:d") && ty_clock_mono_ms() < until)
        state_reclaim(&client, 0, LONG_MS);
    assert_int_equal(claimable(&client), 1);
    state_client_close(&client);
    redis_server_free(other);
}

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open_site(&plain, server, &(struct ty_state_options){.max_losses = 3});
    state_client_open_site(&slow, server,
                           &(struct ty_state_options){.max_losses = 3, .retry_base_ms = LONG_MS, .retry_max_ms = LONG_MS});
    state_client_open_site(&quick, server, &(struct ty_state_options){.max_losses = 3, .retry_base_ms = 50, .retry_max_ms = 50});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    state_client_close(&plain);
    state_client_close(&slow);
    state_client_close(&quick);
    redis_server_free(server);
    return 0;
}

// What a test that failed left behind does not fail the next one.
static int empty(void **state)
{
    (void)state;
    STATE_RAW(&plain, NULL, "FLUSHALL");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_a_started_attempt_counts_as_lost, empty),
        cmocka_unit_test_setup(an_attempt_that_comes_back_was_not_lost, empty),
        cmocka_unit_test_setup(a_job_that_takes_workers_with_it_is_quarantined, empty),
        cmocka_unit_test_setup(a_supervisor_that_never_began_is_an_error, empty),
        cmocka_unit_test_setup(a_canceled_job_is_not_quarantined, empty),
        cmocka_unit_test_setup(a_job_in_back_off_is_pending_and_not_claimed, empty),
        cmocka_unit_test_setup(what_is_due_goes_to_its_queue_with_a_tick, empty),
        cmocka_unit_test_setup(cancel_and_delete_take_a_job_out_of_back_off, empty),
        cmocka_unit_test_setup(what_another_version_leaves_in_the_set_is_dropped, empty),
        cmocka_unit_test_setup(a_job_that_is_stored_in_back_off_waits, empty),
        cmocka_unit_test_setup(the_length_is_random_from_nothing_to_the_limit, empty),
        cmocka_unit_test_setup(the_limit_doubles_with_each_failure_up_to_the_longest, empty),
        cmocka_unit_test_setup(a_jobs_own_policy_outranks_the_sites, empty),
        cmocka_unit_test_setup(attempts_that_never_start_wait_longer_each_time, empty),
        cmocka_unit_test_setup(jobs_in_back_off_survive_the_store, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
