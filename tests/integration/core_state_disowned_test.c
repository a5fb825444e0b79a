// An end that the lease clock gives: nobody but the store knows of it, so it is told only when Kafka knows that no attempt has the
// job any more. From then on the lost worker is refused, also by a store that went back to before that.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/state_outbox.h"
#include "tests/integration/state_client.h"

#define TOPIC "events"

static struct redis_server *server;
static struct state_client client;

// ---- calls that wait ----

static unsigned end_held(void)
{
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    return state_end_held(&client, "p");
}

// What the publisher sends of the one job that has changed.
struct sent {
    bool is_there;
    struct ty_id id;
    struct ty_buf bytes;
};

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct sent *sent = context;
    struct ty_err encode_err;
    assert_null(err);
    assert_int_equal(outbox->job_count, 1);
    sent->id = outbox->jobs[0].id;
    if (ty_event_encode(&outbox->jobs[0].record, outbox->epoch, &sent->bytes, &encode_err) < 0)
        fail_msg("%s", encode_err.message);
    sent->is_there = true;
}

// All is in Kafka; the event that is there now.
static struct sent publish(void)
{
    struct sent sent = {0};
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    ty_state_outbox(client.state, 0, "p", 10000, STATE_JOBS_MAX, TOPIC, 1, on_outbox, &sent);
    STATE_UNTIL(&client, sent.is_there);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:o");
    return sent;
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    assert_null(err);
    assert_true(is_ours);
    *(int *)context = (int)changed;
}

// The store is brought to where the event is, and a lease passes.
static void replay(struct sent *sent)
{
    struct ty_event event;
    struct ty_err err;
    int changed = -1;
    if (ty_event_decode(&sent->id, sent->bytes.data, sent->bytes.len, &event, &err) < 0)
        fail_msg("%s", err.message);
    struct ty_restore job = {.id = sent->id, .version = event.version, .record = event.record.data, .record_len = event.record.len};
    STATE_RAW(&client, NULL, "SET", "{ty:0}:p", "p");
    ty_state_restore(client.state, 0, "p", TOPIC, 0, NULL, 0, &job, 1, on_restored, &changed);
    STATE_UNTIL(&client, changed >= 0);
    assert_int_equal(changed, 1);
    ty_event_done(&event);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done", "read", "1");
}

static void save(void)
{
    assert_string_equal(redis_server_ask(server, "SAVE"), "+OK\r\n");
}

static void go_back(void)
{
    redis_server_kill(server);
    STATE_UNTIL(&client, !client.up && !ty_redis_is_up(client.redis));
    redis_server_start(server);
    STATE_UNTIL(&client, client.up && ty_redis_is_up(client.redis));
}

static void set_up_store(void)
{
    STATE_RAW(&client, NULL, "FLUSHALL");
    // It has a publisher, and is none that went back.
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done", "read", "1", "tick", "9000000000000000", "server",
              "another");
}

static int refused(void)
{
    return atoi(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "stale_refused").text);
}

static struct state_claim start(struct ty_id *ret_id, uint32_t max_attempts)
{
    *ret_id = ty_id_new();
    assert_int_equal(state_submit(&client, ret_id, &(struct state_job){.max_attempts = max_attempts}), TY_APPLIED);
    struct state_claim claim = state_claim_one(&client, ret_id, STATE_LEASE_MS);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    return claim;
}

static void is_refused_everywhere(const struct state_claim *claim)
{
    int before = refused();
    assert_int_equal(state_renew(&client, claim, TY_STAGE_COLLECT), TY_RENEW_LOST);
    assert_int_equal(state_finish(&client, claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_STALE);
    assert_int_equal(refused(), before + 2);
}

// ---- tests ----

static void it_is_told_when_kafka_knows(void **state)
{
    enum { LAST_ATTEMPT, QUARANTINED, CANCELED, DELETED, KINDS };
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct ty_id id;
        set_up_store();
        struct state_claim claim = start(&id, kind == LAST_ATTEMPT ? 1 : 100);
        for (int lost = 1; kind == QUARANTINED && lost < 3; lost++) {
            state_lose(&client, &claim);
            claim = state_claim_one(&client, &id, STATE_LEASE_MS);
        }
        if (kind == CANCELED || kind == DELETED)
            assert_int_equal(state_control(&client, kind == CANCELED ? TY_COMMAND_CANCEL : TY_COMMAND_DELETE, &id), TY_APPLIED);
        state_lose(&client, &claim);

        enum ty_job_state waiting = kind < CANCELED ? TY_JOB_PENDING : TY_JOB_CANCELING;
        struct ty_token token = ty_token_new();
        struct state_claim other;
        assert_int_equal(state_get(&client, &id).state, waiting);
        is_refused_everywhere(&claim);
        assert_int_equal(state_claim(&client, 0, &token, 1, STATE_LEASE_MS, &other), 0);
        state_check(&client, &id, "acme");
        assert_int_equal(end_held(), 0);
        assert_int_equal(state_get(&client, &id).state, waiting);
        struct sent sent = publish();
        assert_int_equal(end_held(), 1);
        assert_int_equal(end_held(), 0);
        struct state_view view = state_get(&client, &id);
        if (kind == DELETED) {
            assert_false(view.found);
        } else {
            assert_int_equal(view.state, kind == CANCELED ? TY_JOB_CANCELED : TY_JOB_FAILED);
            assert_int_equal(view.reason, kind == CANCELED      ? TY_REASON_CANCELED
                                          : kind == QUARANTINED ? TY_REASON_QUARANTINED
                                                                : TY_REASON_WORKER_LOST);
            if (kind != CANCELED)
                assert_non_null(strstr(view.error, kind == QUARANTINED ? "quarantined: its worker was lost 3 times"
                                                                       : "no attempt is left after 1 lost workers and 0 errors"));
            state_check(&client, &id, "acme");
            is_refused_everywhere(&claim);
        }
        ty_buf_done(&sent.bytes);
    }
}

// A client was told the end. The store goes back to when the lost worker still had the job, Kafka has but what came before
// the end, and the lost worker is back.
static void it_stands_when_the_store_goes_back(void **state)
{
    (void)state;
    for (int is_canceled = 0; is_canceled < 2; is_canceled++) {
        struct ty_id id;
        set_up_store();
        struct state_claim claim = start(&id, 1);
        save();
        if (is_canceled)
            assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
        state_lose(&client, &claim);
        struct sent sent = publish();
        assert_int_equal(end_held(), 1);
        enum ty_job_state end = state_get(&client, &id).state;
        assert_int_equal(end, is_canceled ? TY_JOB_CANCELED : TY_JOB_FAILED);

        go_back();
        assert_int_equal(state_get(&client, &id).state, TY_JOB_IN_PROGRESS);
        for (unsigned stage = TY_STAGE_PREPARE; stage <= TY_STAGE_COLLECT; stage++) // its record gets ahead of the event
            assert_int_equal(state_renew(&client, &claim, stage), TY_RENEWED);
        assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_LATER);
        replay(&sent);
        assert_int_equal(state_renew(&client, &claim, TY_STAGE_COLLECT), TY_RENEW_LOST);
        is_refused_everywhere(&claim);
        state_check(&client, &id, "acme");
        assert_int_equal(end_held(), 1);
        assert_int_equal(state_get(&client, &id).state, end);
        state_check(&client, &id, "acme");
        is_refused_everywhere(&claim);
        ty_buf_done(&sent.bytes);
    }
}

// Canceled in between it ends as it would have: the same commands come again when the store goes back.
static void a_cancel_changes_nothing(void **state)
{
    struct ty_id id;
    (void)state;
    set_up_store();
    struct state_claim claim = start(&id, 1);
    state_lose(&client, &claim);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    assert_int_equal(end_held(), 0);
    struct sent sent = publish();
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLY_NOOP); // however often: it does not wait longer for that
    assert_int_equal(end_held(), 1);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_FAILED);
    state_check(&client, &id, "acme");
    ty_buf_done(&sent.bytes);
}

// What has waited too long for its first claim ends in the same way.
static void a_wait_that_is_over_is_told_when_kafka_knows(void **state)
{
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    struct ty_id id = ty_id_new();
    struct ty_token token = ty_token_new();
    struct state_claim claim;
    (void)state;
    set_up_store();
    options.max_wait_s = 1;
    uint64_t created_us = ty_clock_wall_us() - 3600 * UINT64_C(1000000), until = ty_clock_mono_ms() + 60000;
    assert_int_equal(state_submit(&client, &id, &(struct state_job){.created_us = created_us, .options = &options}), TY_APPLIED);
    while (state_get(&client, &id).reason != TY_REASON_WAIT_LIMIT) {
        state_reclaim(&client, 0, 1);
        assert_true(ty_clock_mono_ms() < until);
    }
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    state_check(&client, &id, "acme");
    assert_int_equal(state_claim(&client, 0, &token, 1, STATE_LEASE_MS, &claim), 0);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
    assert_int_equal(end_held(), 0);
    struct sent sent = publish();
    assert_int_equal(end_held(), 1);
    struct state_view view = state_get(&client, &id);
    assert_int_equal(view.state, TY_JOB_FAILED);
    assert_int_equal(view.reason, TY_REASON_WAIT_LIMIT);
    assert_string_equal(view.error, "waited 1 s for a worker, as long as max_wait allows");
    state_check(&client, &id, "acme");
    ty_buf_done(&sent.bytes);
}

// A program from before this brought it back from its event: it stands in its queue. Nobody takes it, and it ends.
static void an_older_publisher_has_listed_it_as_ready(void **state)
{
    struct ty_id id;
    struct ty_token token = ty_token_new();
    struct state_claim other;
    (void)state;
    set_up_store();
    struct state_claim claim = start(&id, 1);
    state_lose(&client, &claim);
    char *queue TY_FREE = ty_xasprintf("{ty:0}:f:%s|acme", state_pool(&client)), *rotation TY_FREE = ty_xasprintf("{ty:0}:r:%s", state_pool(&client));
    STATE_RAW(&client, &id, "ZREM", "{ty:0}:z", "%");
    STATE_RAW(&client, &id, "ZADD", queue, "0", "%");
    STATE_RAW(&client, NULL, "ZADD", rotation, "0", "acme");
    assert_int_equal(state_claim(&client, 0, &token, 1, STATE_LEASE_MS, &other), 0);
    state_check(&client, &id, "acme");
    struct sent sent = publish();
    assert_int_equal(end_held(), 1);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_FAILED);
    ty_buf_done(&sent.bytes);
}

static void on_wait(void *context, const struct ty_err *err, const struct ty_wait *wait)
{
    assert_null(err);
    assert_true(wait->is_waiting);
    assert_string_equal(wait->why, "ending");
    *(bool *)context = true;
}

static void why_it_waits_is_told(void **state)
{
    struct ty_id id;
    bool is_told = false;
    (void)state;
    set_up_store();
    struct state_claim claim = start(&id, 1);
    state_lose(&client, &claim);
    ty_state_wait(client.state, &id, on_wait, &is_told);
    STATE_UNTIL(&client, is_told);
}

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open_site(&client, server, &(struct ty_state_options){.max_losses = 3});
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
        cmocka_unit_test(it_is_told_when_kafka_knows),
        cmocka_unit_test(it_stands_when_the_store_goes_back),
        cmocka_unit_test(a_cancel_changes_nothing),
        cmocka_unit_test(a_wait_that_is_over_is_told_when_kafka_knows),
        cmocka_unit_test(an_older_publisher_has_listed_it_as_ready),
        cmocka_unit_test(why_it_waits_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
