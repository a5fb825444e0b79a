// Jobs that ended long ago leave the store, and only those; and submits from long ago make none. Time passes by what is written into records and index.
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
#include "core/state_outbox.h"
#include "tests/integration/state_client.h"

#define HOUR_US (UINT64_C(3600) * 1000000)
#define RETENTION_MS 3600000u // one hour
#define INTERVAL_MS 60000u

static struct redis_server *server;
static struct state_client client;

struct retired {
    bool done;
    unsigned removed, passed;
};

static void on_retired(void *context, const struct ty_err *err, unsigned removed, unsigned passed)
{
    if (err)
        fail_msg("%s", err->message);
    *(struct retired *)context = (struct retired){true, removed, passed};
}

static struct retired retire_within(struct state_client *by, uint64_t interval_ms)
{
    struct retired answer = {0};
    ty_state_retire(by->state, 0, interval_ms, on_retired, &answer);
    STATE_UNTIL(by, answer.done);
    return answer;
}

static void assert_retires(unsigned removed, unsigned passed)
{
    struct retired answer = retire_within(&client, 0);
    assert_int_equal(answer.removed, removed);
    assert_int_equal(answer.passed, passed);
}

// ---- jobs ----

static struct ty_id ended_job(struct state_claim *ret_claim, enum ty_finish_action how)
{
    struct ty_id id = ty_id_new();
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    if (ret_claim)
        *ret_claim = claim;
    assert_int_equal(state_log_open(&client, &claim, 0).code, TY_OK);
    assert_int_equal(state_log_append(&client, &claim, 0, 3, true).next, 3);
    assert_int_equal(state_finish(&client, &claim, how, TY_REASON_NONE), TY_FINISHED);
    return id;
}

static void kafka_has_all(void)
{
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:o");
}

static void goes_back_by(const struct ty_id *id, uint64_t us)
{
    char *at TY_FREE = ty_xasprintf("%" PRIu64, ty_clock_wall_us() - us);
    static const char script[] = "redis.call('SETRANGE', KEYS[1], 64, struct.pack('<I8', ARGV[1]))"
                                 "return redis.call('ZADD', KEYS[2], 'XX', 'CH', ARGV[1], string.sub(KEYS[1], 10))";
    STATE_RAW(&client, id, "EVAL", script, "2", "{ty:0}:j:%", "{ty:0}:e", at);
}

static struct ty_id old_job(void)
{
    struct ty_id id = ended_job(NULL, TY_FINISH_COMPLETED);
    kafka_has_all();
    goes_back_by(&id, 2 * HOUR_US);
    return id;
}

static bool is_ended_in_index(const struct ty_id *id)
{
    return STATE_RAW(&client, id, "ZSCORE", "{ty:0}:e", "%").type != TY_REDIS_NIL;
}

static int64_t log_keys(const struct ty_id *id)
{
    char text[TY_ID_TEXT_BYTES], hex[40], key[64], list[64];
    size_t n = 0;
    ty_id_format(id, text);
    for (const char *c = text; *c; c++)
        if (*c != '-')
            hex[n++] = *c;
    hex[n] = 0;
    snprintf(key, sizeof key, "{%s}:l", hex);
    snprintf(list, sizeof list, "{%s}:l:1", hex);
    return STATE_RAW(&client, NULL, "EXISTS", key, list).integer;
}

// ---- what goes ----

static void it_goes_with_its_log_as_by_a_delete(void **state)
{
    struct ty_id young = ended_job(NULL, TY_FINISH_FAILED), old = old_job(), waiting = ty_id_new();
    (void)state;
    state_submit(&client, &waiting, NULL);
    assert_int_equal(log_keys(&old), 2);
    assert_retires(1, 0);
    assert_false(state_get(&client, &old).found);
    assert_true(state_get(&client, &young).found);
    assert_true(state_get(&client, &waiting).found);
    state_check(&client, &old, "acme");
    state_check(&client, &young, "acme");
    assert_false(is_ended_in_index(&old));
    assert_int_equal(state_list(&client, 0, "acme", 0, NULL, STATE_JOBS_MAX).count, 2);
    STATE_UNTIL(&client, log_keys(&old) == 1); // a tombstone of it
    assert_string_equal(STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", "retired").text, "1");
    // Kafka is told, and its submit does not make it anew.
    assert_int_equal(STATE_RAW(&client, &old, "ZSCORE", "{ty:0}:o", "%").type, TY_REDIS_BYTES);
    assert_int_equal(state_submit(&client, &old, NULL), TY_APPLY_NOOP);
    assert_retires(0, 0);
}

static void every_end_is_in_the_index(void **state)
{
    struct ty_id ids[5];
    struct state_claim claim;
    (void)state;
    ids[0] = ty_id_new(); // refused as it came in
    state_submit(&client, &ids[0], &(struct state_job){.refused = true});
    ids[1] = ty_id_new(); // canceled before it came
    state_control(&client, TY_COMMAND_CANCEL, &ids[1]);
    state_submit(&client, &ids[1], NULL);
    ids[2] = ty_id_new(); // refused, and canceled before it came: it goes another way into the store
    state_control(&client, TY_COMMAND_CANCEL, &ids[2]);
    state_submit(&client, &ids[2], &(struct state_job){.refused = true});
    ids[3] = ended_job(NULL, TY_FINISH_COMPLETED_MODEL);
    ids[4] = ty_id_new(); // its lease passed while it was to be canceled
    state_submit(&client, &ids[4], NULL);
    claim = state_claim_one(&client, &ids[4], 1);
    state_control(&client, TY_COMMAND_CANCEL, &ids[4]);
    state_expire(&client, 0, 1);
    for (int i = 0; i < 5; i++)
        assert_true(is_ended_in_index(&ids[i]));
    (void)claim;
    // A running job is not, also after it went back to the queue.
    struct ty_id id = ty_id_new();
    state_submit(&client, &id, NULL);
    claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_finish(&client, &claim, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK);
    assert_false(is_ended_in_index(&id));
}

// ---- what does not go ----

static void what_kafka_does_not_know_or_has_no_name_waits(void **state)
{
    struct ty_id unknown = ended_job(NULL, TY_FINISH_COMPLETED), unnamed = ended_job(NULL, TY_FINISH_COMPLETED_MODEL);
    (void)state;
    goes_back_by(&unknown, 2 * HOUR_US);
    goes_back_by(&unnamed, 3 * HOUR_US);
    STATE_RAW(&client, &unnamed, "ZREM", "{ty:0}:o", "%");
    assert_retires(0, 2);
    assert_true(state_get(&client, &unknown).found);
    assert_true(state_get(&client, &unnamed).found);
    // They do not stand in the way of others, and are not looked at each time.
    struct ty_id old = old_job();
    assert_retires(1, 0);
    assert_false(state_get(&client, &old).found);
    // An hour later.
    kafka_has_all();
    ty_state_linked(client.state, &unnamed);
    goes_back_by(&unknown, 2 * HOUR_US);
    goes_back_by(&unnamed, 3 * HOUR_US);
    assert_retires(2, 0);
}

static void nothing_goes_while_the_events_are_to_be_read(void **state)
{
    struct ty_id old = old_job();
    (void)state;
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    assert_retires(0, 0);
    assert_true(state_get(&client, &old).found);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    assert_retires(1, 0);
}

static void without_a_limit_all_is_kept(void **state)
{
    struct state_client keeper;
    struct ty_id old = old_job();
    (void)state;
    state_client_open(&keeper, server, 1); // its job_retention_ms is 0
    assert_int_equal(retire_within(&keeper, 0).removed, 0);
    assert_true(state_get(&client, &old).found);
    state_client_close(&keeper);
}

static void another_job_under_the_id_counts_by_its_own_end(void **state)
{
    struct ty_id id = ended_job(NULL, TY_FINISH_COMPLETED);
    (void)state;
    kafka_has_all();
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:e", "1", "%"); // as an older program leaves it
    assert_retires(0, 0);
    assert_true(state_get(&client, &id).found);
    goes_back_by(&id, 2 * HOUR_US);
    assert_retires(1, 0);
}

// ---- who does it, and when ----

static void one_of_all_workers_does_a_step(void **state)
{
    struct ty_id first = old_job();
    (void)state;
    assert_int_equal(retire_within(&client, INTERVAL_MS).removed, 1);
    struct ty_id second = old_job();
    assert_int_equal(retire_within(&client, INTERVAL_MS).removed, 0);
    assert_false(state_get(&client, &first).found);
    assert_true(state_get(&client, &second).found);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "swept", "1");
    assert_int_equal(retire_within(&client, INTERVAL_MS).removed, 1);
}

// Jobs that were ended by a program of before there was the index.
static void a_store_of_before_is_looked_over(void **state)
{
    enum { JOBS = 20 };
    struct ty_id ids[JOBS], running = ty_id_new();
    unsigned removed = 0, steps = 0;
    (void)state;
    for (int i = 0; i < JOBS; i++)
        ids[i] = old_job();
    state_submit(&client, &running, NULL);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:e");
    STATE_RAW(&client, NULL, "EVAL", "for i = 1, 5000 do redis.call('SET', 'other' .. i, 1) end return 1", "0");
    uint64_t until = ty_clock_mono_ms() + 60000;
    for (; removed < JOBS && ty_clock_mono_ms() < until; steps++)
        removed += retire_within(&client, 0).removed;
    assert_int_equal(removed, JOBS);
    assert_true(steps > 1); // in pieces
    for (int i = 0; i < JOBS; i++)
        assert_false(state_get(&client, &ids[i]).found);
    assert_true(state_get(&client, &running).found);
    while (STATE_RAW(&client, NULL, "HEXISTS", "{ty:0}:m", "sweep_at").integer)
        assert_retires(0, 0);
    // The next pass is a day later.
    state_control(&client, TY_COMMAND_DELETE, &running);
    struct ty_id late = old_job();
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:e");
    assert_retires(0, 0);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "looked_over", "1");
    for (removed = 0; !removed && ty_clock_mono_ms() < until;)
        removed = retire_within(&client, 0).removed;
    assert_false(state_get(&client, &late).found);
}

static void it_works_with_the_store_full(void **state)
{
    struct ty_id old = old_job();
    (void)state;
    STATE_RAW(&client, NULL, "CONFIG", "SET", "maxmemory", "1");
    assert_retires(1, 0);
    STATE_RAW(&client, NULL, "CONFIG", "SET", "maxmemory", "0");
    assert_false(state_get(&client, &old).found);
}

// ---- the store made again ----

struct answer {
    bool done;
    unsigned changed;
};

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    assert_null(err);
    assert_true(outbox->is_ours);
    *(bool *)context = true;
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    assert_null(err);
    assert_true(is_ours);
    *(struct answer *)context = (struct answer){true, changed};
}

static void what_events_bring_back_goes_with_the_next_sweep(void **state)
{
    struct ty_id id = ty_id_new();
    uint64_t before_us = ty_clock_wall_us() - 2 * HOUR_US;
    struct ty_record record;
    struct ty_err err;
    TY_BUF(bytes);
    bool has_lease = false;
    struct answer answer = {0};
    (void)state;
    state_record(&client, &id, &(struct state_job){.created_us = before_us}, &bytes);
    assert_int_equal(ty_record_decode(bytes.data, bytes.len, &record, &err), 0);
    record.state = TY_JOB_FAILED;
    record.version = 3;
    record.modified_us = record.ended_us = before_us;
    ty_record_set_changes(bytes.data, &record);
    ty_state_outbox(client.state, 0, "p", STATE_LEASE_MS, 0, "events", 1, on_outbox, &has_lease);
    STATE_UNTIL(&client, has_lease);
    struct ty_restore event = {.id = id, .version = 3, .record = bytes.data, .record_len = bytes.len};
    ty_state_restore(client.state, 0, "p", "events", 0, NULL, 0, &event, 1, on_restored, &answer);
    STATE_UNTIL(&client, answer.done);
    assert_int_equal(answer.changed, 1);
    assert_true(state_get(&client, &id).found);
    assert_retires(1, 0);
    assert_false(state_get(&client, &id).found);
}

// ---- the horizon ----

// One batch, in parts that are written at once and parts that are not.
static void a_submit_from_beyond_the_horizon_makes_no_job(void **state)
{
    enum { COUNT = 6 };
    struct ty_apply commands[COUNT];
    struct ty_buf records[COUNT] = {{0}};
    struct ty_id known = ty_id_new(), canceled = ty_id_new(), old = ty_id_new(), refused = ty_id_new();
    struct ty_id ids[COUNT] = {ty_id_new(), old, known, canceled, refused, old};
    static const int wanted[COUNT] = {TY_APPLIED, TY_APPLY_TOO_OLD, TY_APPLY_DUPLICATE, TY_APPLIED, TY_APPLY_TOO_OLD, TY_APPLY_TOO_OLD};
    uint64_t now_us = ty_clock_wall_us();
    (void)state;
    state_submit(&client, &known, NULL);
    state_control(&client, TY_COMMAND_CANCEL, &canceled);
    for (size_t i = 0; i < COUNT; i++) {
        struct state_job job = {.created_us = i ? now_us - 2 * HOUR_US : now_us, .refused = i == 4};
        state_record(&client, &ids[i], &job, &records[i]);
        commands[i] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = ids[i], .record = records[i].data,
                                        .record_len = records[i].len, .organization_id = "acme"};
    }
    state_attach(&client, "c", "submit", 0, NULL);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    struct ty_watermark mark = {.topic = "submit", .expected = 0, .next = COUNT};
    struct state_applied applied = state_apply(&client, commands, COUNT, &mark);
    assert_int_equal(applied.count, COUNT);
    for (int i = 0; i < COUNT; i++)
        if (applied.results[i] != wanted[i])
            fail_msg("command %d: %d, not %d", i, applied.results[i], wanted[i]);
    assert_false(state_get(&client, &refused).found);
    assert_int_equal(state_get(&client, &canceled).state, TY_JOB_CANCELED);
    assert_int_equal(state_attach(&client, "c", "submit", 0, NULL), COUNT); // they are done with
    // What does not come from a partition was made just now, whatever its clock says.
    assert_int_equal(state_apply(&client, &commands[1], 1, NULL).results[0], TY_APPLIED);
    for (size_t i = 0; i < COUNT; i++)
        ty_buf_done(&records[i]);
}

// ---- setup ----

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open_site(&client, server, &(struct ty_state_options){.job_retention_ms = RETENTION_MS, .horizon_ms = RETENTION_MS});
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
        cmocka_unit_test_setup(it_goes_with_its_log_as_by_a_delete, empty),
        cmocka_unit_test_setup(every_end_is_in_the_index, empty),
        cmocka_unit_test_setup(what_kafka_does_not_know_or_has_no_name_waits, empty),
        cmocka_unit_test_setup(nothing_goes_while_the_events_are_to_be_read, empty),
        cmocka_unit_test_setup(without_a_limit_all_is_kept, empty),
        cmocka_unit_test_setup(another_job_under_the_id_counts_by_its_own_end, empty),
        cmocka_unit_test_setup(one_of_all_workers_does_a_step, empty),
        cmocka_unit_test_setup(a_store_of_before_is_looked_over, empty),
        cmocka_unit_test_setup(it_works_with_the_store_full, empty),
        cmocka_unit_test_setup(what_events_bring_back_goes_with_the_next_sweep, empty),
        cmocka_unit_test_setup(a_submit_from_beyond_the_horizon_makes_no_job, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
