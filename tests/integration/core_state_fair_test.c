// The ready queues: round robin between organizations, priorities within one, limits and pauses, and what a job is told of its
// place.
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

static struct redis_server *server;
static struct state_client client;

static struct ty_id submit(const char *organization, uint32_t priority)
{
    struct ty_id id = ty_id_new();
    assert_int_equal(state_submit(&client, &id, &(struct state_job){.organization = organization, .priority = priority}), TY_APPLIED);
    return id;
}

static size_t claim(unsigned max, struct state_claim *ret_claims)
{
    struct ty_token token = ty_token_new();
    return state_claim(&client, 0, &token, max, STATE_LEASE_MS, ret_claims);
}

// The next job; its claim stays in *ret_claim.
static struct ty_id next(struct state_claim *ret_claim)
{
    assert_int_equal(claim(1, ret_claim), 1);
    return ret_claim->id;
}

// NULL: taken back.
static void set(const char *name, const char *value)
{
    struct ty_apply rule = {.kind = TY_APPLY_RULE, .organization_id = name, .record = value, .record_len = value ? strlen(value) : 0};
    struct state_applied applied = state_apply(&client, &rule, 1, NULL);
    assert_int_equal(applied.code, TY_OK);
    assert_int_equal(applied.results[0], TY_APPLIED);
}

struct wait_call {
    bool done;
    struct ty_wait wait;
    char why[32];
};

static void on_wait(void *context, const struct ty_err *failed, const struct ty_wait *wait)
{
    struct wait_call *call = context;
    assert_null(failed);
    call->wait = *wait;
    snprintf(call->why, sizeof call->why, "%s", wait->is_waiting ? wait->why : "");
    call->done = true;
}

static struct wait_call wait_of(const struct ty_id *id)
{
    struct wait_call call = {0};
    ty_state_wait(client.state, id, on_wait, &call);
    STATE_UNTIL(&client, call.done);
    return call;
}

// ---- turns ----

static void submit_many(const char *organization, size_t count)
{
    enum { STEP = 500 };
    struct ty_apply commands[STEP];
    struct ty_buf records[STEP];
    for (size_t done = 0; done < count; done += STEP) {
        for (size_t i = 0; i < STEP; i++) {
            records[i] = (struct ty_buf){0};
            commands[i] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT, .job_id = ty_id_new(), .organization_id = organization};
            state_record(&client, &commands[i].job_id, &(struct state_job){.organization = organization}, &records[i]);
            commands[i].record = records[i].data;
            commands[i].record_len = records[i].len;
        }
        for (size_t at = 0; at < STEP; at += 50)
            assert_int_equal(state_apply(&client, commands + at, 50, NULL).code, TY_OK);
        for (size_t i = 0; i < STEP; i++)
            ty_buf_done(&records[i]);
    }
}

static void a_backlog_does_not_keep_another_organization_waiting(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX];
    (void)state;
    submit_many("acme", 10000);
    assert_int_equal(claim(STATE_JOBS_MAX, claims), STATE_JOBS_MAX);
    struct ty_id single = submit("other", 0);
    assert_memory_equal(next(claims).bytes, single.bytes, sizeof single.bytes);
}

enum { ORGANIZATIONS = 5, EACH = 40 };

static void organizations_take_turns(void **state)
{
    static const unsigned steps[] = {1, 7, 3, 16, 2};
    static const char *const names[ORGANIZATIONS] = {"a", "b", "c", "d", "e"};
    struct ty_id ids[ORGANIZATIONS][EACH];
    unsigned taken[ORGANIZATIONS] = {0}, total = 0;
    (void)state;
    for (int o = 0; o < ORGANIZATIONS; o++)
        for (int i = 0; i < EACH; i++)
            ids[o][i] = submit(names[o], 0);
    for (unsigned turn = 0; total < ORGANIZATIONS * EACH; turn++) {
        struct state_claim claims[STATE_JOBS_MAX];
        size_t count = claim(steps[turn % 5], claims);
        assert_true(count > 0);
        for (size_t c = 0; c < count; c++, total++)
            for (int o = 0; o < ORGANIZATIONS; o++)
                for (int i = 0; i < EACH; i++)
                    if (ty_id_equal(&ids[o][i], &claims[c].id))
                        taken[o]++;
        // None has got more than one turn more than another, and a turn is at most a share of the step.
        unsigned least = EACH, most = 0;
        for (int o = 0; o < ORGANIZATIONS; o++) {
            least = taken[o] < least ? taken[o] : least;
            most = taken[o] > most ? taken[o] : most;
        }
        assert_in_range(most - least, 0, 4);
    }
    for (int o = 0; o < ORGANIZATIONS; o++)
        assert_int_equal(taken[o], EACH);
}

// One whose jobs come one by one has no more turns than one that has them in stock.
static void trickling_is_no_advantage(void **state)
{
    struct state_claim got;
    unsigned trickled = 0;
    (void)state;
    for (int i = 0; i < 40; i++)
        submit("stock", 0);
    struct ty_id waiting = submit("drops", 0);
    for (int i = 0; i < 40; i++) {
        struct ty_id id = next(&got);
        if (!ty_id_equal(&id, &waiting))
            continue;
        trickled++;
        waiting = submit("drops", 0);
    }
    assert_in_range(trickled, 19, 21);
}

// Nor do organizations that nobody has seen before keep an old one from its turn for ever.
static void newcomers_do_not_starve_a_backlog(void **state)
{
    struct state_claim got;
    unsigned old = 0;
    struct ty_id backlog[8];
    (void)state;
    for (int i = 0; i < 8; i++)
        backlog[i] = submit("old", 0);
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "new%d", i);
        submit(name, 0);
        struct ty_id id = next(&got);
        for (int k = 0; k < 8; k++)
            old += ty_id_equal(&id, &backlog[k]);
    }
    assert_in_range(old, 2, 8);
}

static void priority_counts_within_an_organization(void **state)
{
    struct state_claim got;
    (void)state;
    struct ty_id low = submit("acme", 0), other = submit("other", 0), high = submit("acme", 7);
    struct ty_id first = next(&got), second = next(&got), third = next(&got);
    assert_true(ty_id_equal(&first, &high));
    assert_true(ty_id_equal(&second, &other));
    assert_true(ty_id_equal(&third, &low));
}

// ---- limits and pauses ----

static void a_limit_bounds_what_runs(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX], more[STATE_JOBS_MAX];
    (void)state;
    set("limit/acme", "2");
    for (int i = 0; i < 5; i++)
        submit("acme", 0);
    assert_int_equal(claim(10, claims), 2);
    assert_int_equal(claim(10, more), 0);
    struct ty_id other = submit("other", 0);
    assert_int_equal(claim(10, more), 1);
    assert_true(ty_id_equal(&more[0].id, &other));
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &claims[0].id), TY_APPLIED);
    assert_int_equal(claim(10, more), 0); // it still runs
    assert_int_equal(state_finish(&client, &claims[0], TY_FINISH_CANCELED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(claim(10, more), 1);
    assert_int_equal(state_finish(&client, &claims[1], TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK), TY_FINISHED);
    state_lose(&client, &more[0]);
    assert_int_equal(claim(10, more), 2);
    assert_int_equal(claim(10, claims), 0);
}

static void a_limit_for_all_yields_to_an_organizations_own(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX];
    (void)state;
    set("limit/*", "1");
    set("limit/free", "0");
    for (int i = 0; i < 4; i++) {
        submit("acme", 0);
        submit("free", 0);
    }
    assert_int_equal(claim(10, claims), 5);
}

static void what_is_paused_does_not_start(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX];
    (void)state;
    submit("acme", 0);
    submit("other", 0);
    set("pause/acme", "1");
    assert_int_equal(claim(10, claims), 1);
    submit("other", 0);
    set("pause/*", "1");
    assert_int_equal(claim(10, claims), 0);
    set("pause/*", NULL);
    assert_int_equal(claim(10, claims), 1);
    assert_int_equal(claim(10, claims), 0);
    set("pause/acme", NULL);
    assert_int_equal(claim(10, claims), 1);
}

static void a_rule_that_changes_lets_the_parked_go(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX];
    (void)state;
    set("limit/*", "1");
    for (int i = 0; i < 3; i++) {
        submit("acme", 0);
        submit("other", 0);
    }
    assert_int_equal(claim(10, claims), 2);
    assert_int_equal(claim(10, claims), 0); // both are parked
    set("limit/acme", "2");
    assert_int_equal(claim(10, claims), 1);
    set("limit/*", NULL);
    assert_int_equal(claim(10, claims), 2);
    set("limit/acme", NULL);
    assert_int_equal(claim(10, claims), 1);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:g", "{ty:0}:y").integer, 0);
}

// An intake that begins again behind the store's mark reads old rules once more: none of them stands for a moment.
static void a_rule_that_is_read_again_changes_nothing(void **state)
{
    struct ty_apply rules[] = {{.kind = TY_APPLY_RULE, .organization_id = "pause/*", .record = "1", .record_len = 1},
                               {.kind = TY_APPLY_RULE, .organization_id = "pause/*", .offset = 1},
                               {.kind = TY_APPLY_RULE, .organization_id = "pause/*", .record = "1", .record_len = 1, .offset = 2}};
    struct ty_watermark mark = {.topic = "settings"};
    (void)state;
    state_attach(&client, "cluster", "settings", 0, &(bool){false});
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 3; i++) {
            mark.expected = i;
            mark.next = i + 1;
            struct state_applied applied = state_apply(&client, &rules[i], 1, &mark);
            assert_int_equal(applied.code, TY_OK);
            assert_false(applied.gap);
            bool is_paused = STATE_RAW(&client, NULL, "HEXISTS", "{ty:0}:g", "pause/*").integer == 1;
            assert_int_equal(is_paused, round > 0 || i != 1);
        }
    mark.expected = 2; // one that was read before, and a new one
    mark.next = 4;
    rules[1].offset = 3;
    struct ty_apply both[] = {rules[2], rules[1]};
    assert_int_equal(state_apply(&client, both, 2, &mark).code, TY_OK);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:g").integer, 0);
}

// ---- places ----

static void a_place_says_why(void **state)
{
    struct state_claim got;
    (void)state;
    struct ty_id first = submit("acme", 0), second = submit("acme", 0);
    assert_string_equal(wait_of(&first).why, "queued");
    set("pause/acme", "1");
    assert_string_equal(wait_of(&first).why, "organization_paused");
    set("pause/*", "1");
    assert_string_equal(wait_of(&first).why, "fleet_paused");
    set("pause/*", NULL);
    set("pause/acme", NULL);
    set("limit/acme", "1");
    next(&got);
    assert_false(wait_of(&first).wait.is_waiting);
    struct wait_call call = wait_of(&second);
    assert_string_equal(call.why, "organization_limit");
    assert_int_equal(call.wait.limit, 1);
    assert_int_equal(call.wait.position, 1);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    assert_string_equal(wait_of(&second).why, "store_rebuild");
    struct ty_id nobody = ty_id_new();
    assert_false(wait_of(&nobody).wait.is_waiting);
}

// Where each job is said to stand is when it is claimed.
static void a_place_holds(void **state)
{
    enum { COUNT = 60 };
    static const char *const names[] = {"a", "b", "c", "d"};
    struct ty_id ids[COUNT];
    struct state_claim got;
    uint64_t places[COUNT];
    unsigned seed = 7;
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1103515245 + 12345;
        ids[i] = submit(names[(seed >> 16) % 10 % 4], (seed >> 20) % 8);
        if (i % 9 == 8) { // so that the rotation is not new
            struct ty_id taken = next(&got);
            for (int k = 0; k <= i; k++)
                if (ty_id_equal(&ids[k], &taken))
                    ids[k] = (struct ty_id){0};
        }
    }
    unsigned left = 0;
    for (int i = 0; i < COUNT; i++) {
        places[i] = wait_of(&ids[i]).wait.position;
        left += places[i] != 0;
    }
    assert_int_equal(left, COUNT - COUNT / 9);
    for (unsigned turn = 1; turn <= left; turn++) {
        struct ty_id taken = next(&got);
        for (int i = 0; i < COUNT; i++)
            if (ty_id_equal(&ids[i], &taken))
                assert_int_equal(places[i], turn);
    }
}

// More organizations wait than are looked at: a position is exact, or said to be the least that it can be.
static void a_place_among_very_many(void **state)
{
    enum { MANY = 1001 };
    char name[16];
    (void)state;
    struct ty_id first = submit("first", 0), second = submit("first", 0);
    for (int i = 0; i < MANY - 1; i++) {
        snprintf(name, sizeof name, "org-%d", i);
        submit(name, 0);
    }
    struct ty_id last = submit("last", 0);
    struct wait_call call = wait_of(&first);
    assert_true(call.wait.position == 1 && !call.wait.is_least);
    call = wait_of(&second);
    assert_true(call.wait.position == 1001 && call.wait.is_least); // and in truth MANY + 2
    call = wait_of(&last);
    assert_true(call.wait.position == 1001 && call.wait.is_least);
    struct state_claim got;
    next(&got);
    next(&got);
    call = wait_of(&last); // the thousandth of the rotation now
    assert_true(call.wait.position == 1000 && !call.wait.is_least);
}

// ---- upgrades ----

static void what_is_in_the_one_queue_of_before_is_claimed(void **state)
{
    struct state_claim claims[STATE_JOBS_MAX];
    char *queue TY_FREE = ty_xasprintf("{ty:0}:f:%s|acme", state_pool(&client));
    char *older TY_FREE = ty_xasprintf("{ty:0}:q:%s", state_pool(&client));
    char *rotation TY_FREE = ty_xasprintf("{ty:0}:r:%s", state_pool(&client));
    struct ty_id ids[3];
    (void)state;
    for (int i = 0; i < 3; i++)
        ids[i] = submit("acme", 0);
    STATE_RAW(&client, NULL, "RENAME", queue, older);
    STATE_RAW(&client, NULL, "DEL", rotation);
    state_control(&client, TY_COMMAND_CANCEL, &ids[1]);
    assert_int_equal(claim(10, claims), 2);
    for (int i = 0; i < 3; i++)
        state_check(&client, &ids[i], "acme");
}

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open(&client, server, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    state_client_close(&client);
    redis_server_free(server);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_backlog_does_not_keep_another_organization_waiting, empty),
        cmocka_unit_test_setup(organizations_take_turns, empty),
        cmocka_unit_test_setup(trickling_is_no_advantage, empty),
        cmocka_unit_test_setup(newcomers_do_not_starve_a_backlog, empty),
        cmocka_unit_test_setup(priority_counts_within_an_organization, empty),
        cmocka_unit_test_setup(a_limit_bounds_what_runs, empty),
        cmocka_unit_test_setup(a_limit_for_all_yields_to_an_organizations_own, empty),
        cmocka_unit_test_setup(what_is_paused_does_not_start, empty),
        cmocka_unit_test_setup(a_rule_that_changes_lets_the_parked_go, empty),
        cmocka_unit_test_setup(a_rule_that_is_read_again_changes_nothing, empty),
        cmocka_unit_test_setup(a_place_says_why, empty),
        cmocka_unit_test_setup(a_place_holds, empty),
        cmocka_unit_test_setup(a_place_among_very_many, empty),
        cmocka_unit_test_setup(what_is_in_the_one_queue_of_before_is_claimed, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
