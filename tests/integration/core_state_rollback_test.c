// A store that goes back to a snapshot, and the attempts that it has forgotten: whoever lost the job cannot write, and each
// refusal is counted.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "tests/integration/state_client.h"

static struct redis_server *server;
static struct state_client client;

static int refused(void)
{
    return atoi(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "stale_refused").text);
}

struct got {
    bool is_done;
    enum ty_code code;
};

static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct got *got = context;
    (void)record;
    *got = (struct got){.is_done = true, .code = err ? err->code : TY_OK};
}

static enum ty_code state_get_code(struct state_client *from, const struct ty_id *id)
{
    struct got got = {0};
    ty_state_get(from->state, id, on_got, &got);
    STATE_UNTIL(from, got.is_done);
    return got.code;
}

struct told {
    bool done;
    enum ty_code code;
};

static void on_told(void *context, const struct ty_err *err)
{
    *(struct told *)context = (struct told){true, err ? err->code : TY_OK};
}

static enum ty_code tell_progress(const struct state_claim *claim)
{
    struct told told = {0};
    ty_state_progress_put(client.state, &claim->id, &claim->token, "\x20\x01", 2, on_told, &told);
    STATE_UNTIL(&client, told.done);
    return told.code;
}

static void save(void)
{
    assert_string_equal(redis_server_ask(server, "SAVE"), "+OK\r\n");
}

// Nothing was saved since `save`: the server comes back as it was then.
static void restore(void)
{
    redis_server_kill(server);
    STATE_UNTIL(&client, !client.up && !ty_redis_is_up(client.redis));
    redis_server_start(server);
    STATE_UNTIL(&client, client.up && ty_redis_is_up(client.redis));
}

// Two attempts of one number: one before the store went back, one after.
static void claim_twice(struct ty_id *ret_id, struct state_claim *ret_old, struct state_claim *ret_new)
{
    *ret_id = ty_id_new();
    assert_int_equal(state_submit(&client, ret_id, NULL), TY_APPLIED);
    save();
    *ret_old = state_claim_one(&client, ret_id, STATE_LEASE_MS);
    assert_int_equal(state_log_open(&client, ret_old, 0).code, TY_OK);
    assert_int_equal(state_log_append(&client, ret_old, 0, 2, false).next, 2);
    assert_int_equal(state_renew(&client, ret_old, TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(refused(), 0);
    restore();
    assert_int_equal(state_get(&client, ret_id).state, TY_JOB_PENDING);
    *ret_new = state_claim_one(&client, ret_id, STATE_LEASE_MS);
    assert_int_equal(ret_new->attempt, ret_old->attempt);
    assert_true(ret_new->fence > ret_old->fence);
    assert_int_equal(state_log_open(&client, ret_new, 0).code, TY_OK);
    assert_int_equal(state_log_append(&client, ret_new, 0, 1, false).next, 1);
}

// Who meets the new process first need not be who knows of a later time: nothing is claimed before the events were read.
static void another_process_is_not_trusted(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_client first; // it has seen no tick of the lease clock
    struct ty_token token = ty_token_new();
    struct state_claim claim;
    (void)state;
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done", "read", "1");
    save();
    state_client_open(&first, server, 1);
    assert_string_equal(STATE_RAW(&first, NULL, "HGET", "{ty:0}:m", "replay").text, "done"); // the same one as before
    state_client_close(&first);
    restore();
    state_client_open(&first, server, 1);
    assert_string_equal(STATE_RAW(&first, NULL, "HGET", "{ty:0}:m", "replay").text, "needed");
    assert_int_equal(state_claim(&first, 0, &token, 1, STATE_LEASE_MS, &claim), 0);
    STATE_RAW(&first, NULL, "HSET", "{ty:0}:m", "replay", "done");
    assert_int_equal(state_claim(&first, 0, &token, 1, STATE_LEASE_MS, &claim), 1);
    state_client_close(&first);
}

// A machine and its Redis are lost, and a worker and a responder are back before any intake is.
static void an_empty_store_is_not_trusted(void **state)
{
    struct ty_id id = ty_id_new(), other = ty_id_new();
    struct state_client first;
    struct ty_state_options fleet = {.has_events = true};
    struct ty_token token = ty_token_new();
    struct state_claim claim;
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    state_client_open_site(&first, server, &fleet);
    assert_int_equal(state_submit(&first, &id, NULL), TY_APPLIED); // it may have ended long ago
    assert_int_equal(state_claim(&first, 0, &token, 1, STATE_LEASE_MS, &claim), 0);
    assert_int_equal(state_get_code(&first, &other), TY_EUNAVAILABLE);
    state_client_close(&first);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done"); // and from then on it is
    state_client_open_site(&first, server, &fleet);
    assert_int_equal(state_claim(&first, 0, &token, 1, STATE_LEASE_MS, &claim), 1);
    assert_int_equal(state_get_code(&first, &other), TY_OK);
    state_client_close(&first);
}

// Everything is deleted under a program that goes on: whoever it is that asks, and nobody else may be there, does not say that a job
// was never there.
static void an_emptied_store_is_seen_by_who_asks(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_client fleet;
    struct ty_state_options site = {.has_events = true};
    (void)state;
    state_client_open_site(&fleet, server, &site);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    assert_int_equal(state_get_code(&fleet, &id), TY_OK);
    STATE_RAW(&client, NULL, "FLUSHALL");
    assert_int_equal(state_get_code(&fleet, &id), TY_EUNAVAILABLE);
    STATE_UNTIL(&fleet, STATE_RAW(&client, NULL, "HEXISTS", "{ty:0}:m", "format").integer == 1);
    assert_string_equal(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "replay").text, "needed");
    assert_int_equal(state_get_code(&fleet, &id), TY_EUNAVAILABLE);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    assert_int_equal(state_get_code(&fleet, &id), TY_OK);
    assert_true(fleet.up && fleet.reports == 1);
    state_client_close(&fleet);
}

static void the_old_holder_is_refused_everywhere(void **state)
{
    struct ty_id id;
    struct state_claim old, new;
    (void)state;
    claim_twice(&id, &old, &new);
    struct state_view before = state_get(&client, &id);
    assert_int_equal(state_renew(&client, &old, TY_STAGE_COLLECT), TY_RENEW_LOST);
    assert_int_equal(refused(), 1);
    static const enum ty_finish_action ends[] = {TY_FINISH_COMPLETED, TY_FINISH_COMPLETED_MODEL, TY_FINISH_FAILED,
                                                 TY_FINISH_CANCELED, TY_FINISH_HAND_BACK, TY_FINISH_RETRY};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(state_finish(&client, &old, ends[i], TY_REASON_NONE), TY_FINISH_STALE);
        assert_int_equal(refused(), 2 + i);
    }
    // Log writes are counted behind the answer, on the same connection.
    assert_int_equal(state_log_append(&client, &old, 2, 1, false).code, TY_EABORTED);
    STATE_UNTIL(&client, refused() == 8);
    assert_int_equal(state_log_append(&client, &old, 2, 0, true).code, TY_EABORTED); // the end mark
    STATE_UNTIL(&client, refused() == 9);
    assert_int_equal(state_log_open(&client, &old, 2).code, TY_EABORTED);
    STATE_UNTIL(&client, refused() == 10);
    assert_int_equal(tell_progress(&old), TY_EABORTED);
    STATE_UNTIL(&client, refused() == 11);
    struct state_view after = state_get(&client, &id);
    assert_memory_equal(&before, &after, sizeof before);
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_int_equal(page.count, 1);
    assert_false(page.ended);
    // The one that has it goes on as if nothing were.
    assert_int_equal(state_renew(&client, &new, TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(state_log_append(&client, &new, 1, 1, true).next, 2);
    assert_int_equal(tell_progress(&new), TY_OK);
    assert_int_equal(state_finish(&client, &new, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(refused(), 11);
}

static void and_after_the_end(void **state)
{
    struct ty_id id;
    struct state_claim old, new;
    (void)state;
    claim_twice(&id, &old, &new);
    assert_int_equal(state_finish(&client, &new, TY_FINISH_FAILED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(state_renew(&client, &new, TY_STAGE_TRAIN), TY_RENEW_LOST); // its own heartbeat, overtaken by its end
    assert_int_equal(refused(), 0);
    assert_int_equal(state_renew(&client, &old, TY_STAGE_TRAIN), TY_RENEW_LOST);
    assert_int_equal(refused(), 1);
    assert_int_equal(state_finish(&client, &old, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_STALE);
    assert_int_equal(refused(), 2);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_FAILED);
}

// Nobody else has it: the one that runs is no stale one.
static void without_another_claim_the_job_goes_on(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    state_submit(&client, &id, NULL);
    save();
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_log_open(&client, &claim, 0);
    state_log_append(&client, &claim, 0, 2, false);
    restore();
    assert_int_equal(state_log_append(&client, &claim, 2, 1, false).code, TY_ENOTFOUND); // to be opened and sent again
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(state_log_open(&client, &claim, 0).next, 0);
    assert_int_equal(state_log_append(&client, &claim, 0, 3, true).next, 3);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(refused(), 0);
    assert_int_equal(state_get(&client, &id).attempt, 1);
}

static int empty(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open(&client, server, 1);
    return 0;
}

static int done(void **state)
{
    (void)state;
    state_client_close(&client);
    redis_server_free(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_process_is_not_trusted, empty, done),
        cmocka_unit_test_setup_teardown(an_empty_store_is_not_trusted, empty, done),
        cmocka_unit_test_setup_teardown(an_emptied_store_is_seen_by_who_asks, empty, done),
        cmocka_unit_test_setup_teardown(the_old_holder_is_refused_everywhere, empty, done),
        cmocka_unit_test_setup_teardown(and_after_the_end, empty, done),
        cmocka_unit_test_setup_teardown(without_another_claim_the_job_goes_on, empty, done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
