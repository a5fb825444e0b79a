// The intake's breaker with the mock cluster: what is mostly no commands is held, and nothing of it is lost.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/apart.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"
#include "worker/intake/breaker.h"

#define BADS 600 // more than trials let through while a test runs
#define FEW 40 // of which one trial leaves less than the good ones behind them
#define GOODS 20

static struct intake_rig *new_rig(int partitions)
{
    return intake_rig_new(intake_broker.address, intake_broker.make_topics, intake_broker.broker, partitions);
}

static struct ty_intake_figures figures(const struct intake_rig *rig)
{
    return intake_node_figures(rig, 0);
}

// Of another schema: records that are no commands.
static void send_bads(struct intake_rig *rig, const char *topic, int32_t partition, size_t count)
{
    for (size_t i = 0; i < count; i++)
        intake_produce(rig, topic, partition, NULL, 0, "\xff\xff", 2, NULL);
    intake_flush(rig);
}

static void once(void *context, const rd_kafka_message_t *message)
{
    unsigned char *seen = context;
    long offset = atol(intake_header(message, "trainyard-origin-offset"));
    assert_in_range(offset, 0, FEW - 1);
    assert_int_equal(seen[offset]++, 0);
}

// Open, hold, trial by trial, close. The other partitions go on; a cancel behind the bad ones comes through.
static void test_an_outage_is_held_and_ends(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(2);
    struct ty_id beside = ty_id_new(), behind, jobs[3];
    unsigned char seen[FEW] = {0};
    send_bads(rig, "cancel", 0, FEW);
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = ty_id_new();
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &jobs[i], 0);
    }
    intake_send(rig, TY_COMMAND_CANCEL, &jobs[1], 0);
    for (size_t i = 0; i < GOODS; i++) {
        behind = ty_id_new();
        intake_send(rig, TY_COMMAND_CANCEL, &behind, 0);
    }
    intake_send(rig, TY_COMMAND_CANCEL, &jobs[2], 1);
    intake_flush(rig);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).held_partitions == 1);
    assert_true(rig->nodes[0].is_ill);
    assert_int_equal(figures(rig).breaker_opened, 1);
    // They came at once or in pieces, of which fewer than the least may have gone.
    assert_true(figures(rig).dead_lettered < TY_BREAKER_LEAST);
    intake_await(rig, &jobs[0], TY_JOB_PENDING);
    intake_await(rig, &jobs[2], TY_JOB_CANCELED);
    struct intake_job canceled = intake_look(rig, &jobs[1]);
    assert_true(canceled.state == TY_JOB_PENDING || figures(rig).dead_lettered == FEW); // its cancel lies behind them all
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &beside, 0);
    intake_flush(rig);
    intake_await(rig, &beside, TY_JOB_PENDING);
    // After a second a trial, mostly bad, and two seconds later one that is mostly good.
    intake_await(rig, &jobs[1], TY_JOB_CANCELED);
    RIG_UNTIL(rig, figures(rig).held_partitions == 0);
    assert_false(rig->nodes[0].is_ill);
    assert_in_range(figures(rig).breaker_opened, 1, 3);
    RIG_UNTIL(rig, figures(rig).tombstones >= GOODS); // and those that came before their submit
    assert_int_equal(figures(rig).dead_lettered, FEW);
    assert_int_equal(figures(rig).refused, FEW);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_read(rig, "dead-letter", once, seen), FEW);
    assert_int_equal(intake_committed(rig, "cancel"), FEW + GOODS + 2);
    intake_rig_free(rig);
}

// Held: the store is asked all the same whether it went back, the offset stands, and another one takes over from there.
static void test_another_takes_over(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    struct ty_id good = ty_id_new(), behind = ty_id_new();
    intake_send(rig, TY_COMMAND_CANCEL, &good, 0);
    intake_flush(rig);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).tombstones == 1);
    send_bads(rig, "cancel", 0, BADS);
    intake_send(rig, TY_COMMAND_CANCEL, &behind, 0);
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).held_partitions == 1);
    // A flush is seen by a probe of the held partition or of another; all is read again, and held again.
    assert_string_equal(redis_server_ask(rig->redis, "FLUSHALL"), "+OK\r\n");
    RIG_UNTIL(rig, figures(rig).gaps >= 1);
    RIG_UNTIL(rig, figures(rig).held_partitions == 1 && figures(rig).tombstones == 2);
    // Fewer than the least before it opened, then trial by trial; and what had gone before the flush, once more.
    uint64_t lettered = figures(rig).dead_lettered;
    assert_true(lettered <= 2 * (TY_BREAKER_LEAST + figures(rig).breaker_opened * TY_BREAKER_TRIAL_RECORDS));
    assert_true(lettered < BADS);
    intake_node_stop(rig, 0);
    int64_t committed = intake_committed(rig, "cancel");
    assert_in_range(committed, 1, 1 + lettered);
    // A worker that does not mind takes all of it.
    rig->breaker_percent = 0;
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).tombstones >= 1);
    RIG_UNTIL(rig, figures(rig).dead_lettered >= BADS - lettered);
    assert_int_equal(figures(rig).breaker_opened, 0);
    intake_node_stop(rig, 0);
    assert_true(intake_read(rig, "dead-letter", NULL, NULL) >= BADS);
    assert_int_equal(intake_committed(rig, "cancel"), BADS + 2);
    intake_rig_free(rig);
}

// Two share: the one that comes takes partitions that the other holds, and holds them itself.
static void test_a_rebalance_while_open(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(2);
    struct ty_id job = ty_id_new();
    send_bads(rig, "submit", 0, BADS);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).held_partitions == 1);
    intake_node_start(rig, 1);
    // Range: the first partition of each topic is the member's whose name comes first.
    RIG_UNTIL(rig, intake_node_figures(rig, 1).held_partitions == 1 || intake_node_figures(rig, 0).breaker_opened >= 2);
    RIG_UNTIL(rig, rig->nodes[0].is_ill || rig->nodes[1].is_ill);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &job, 1);
    intake_flush(rig);
    intake_await(rig, &job, TY_JOB_PENDING);
    int64_t committed = intake_committed(rig, "submit");
    assert_true(committed < BADS);
    intake_node_kill(rig, 0);
    intake_node_stop(rig, 1);
    assert_int_equal(intake_count(rig, &job, 1), 1);
    intake_rig_free(rig);
}

#define PARTITIONS 40
#define JOBS 3000
#define TOTAL_RECORDS 16384 // what the intake may have, as intake.c says

// More is held than the intake may have in all: what is not held goes on as if it were not there.
static void test_what_is_held_stops_no_other(void **state)
{
    (void)state;
    static const char *const topics[] = {"submit", "cancel", "delete"};
    static struct ty_id ids[JOBS];
    struct intake_rig *rig = new_rig(PARTITIONS);
    for (int i = 0; i < 3 * (PARTITIONS - 1); i++)
        send_bads(rig, topics[i % 3], i / 3, BADS);
    intake_flush(rig);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).held_partitions == 3 * (PARTITIONS - 1));
    for (size_t i = 0; i < JOBS; i++) {
        ids[i] = ty_id_new();
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &ids[i], PARTITIONS - 1);
    }
    uint64_t received = figures(rig).received;
    redis_server_pause(rig->redis);
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).received > received);
    intake_rig_turn_for(rig, 300); // so long that the consumer's thread does not wait for it
    redis_server_resume(rig->redis);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    // Before trials have let enough through for the others by themselves.
    assert_int_equal(figures(rig).held_partitions, 3 * (PARTITIONS - 1));
    assert_true(figures(rig).received - JOBS - figures(rig).dead_lettered > TOTAL_RECORDS);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_outage_is_held_and_ends),
        cmocka_unit_test(test_another_takes_over),
        cmocka_unit_test(test_a_rebalance_while_open),
        cmocka_unit_test(test_what_is_held_stops_no_other),
    };
    return apart_run("intake's breaker, mock cluster", tests, intake_mock_set_up, intake_mock_tear_down);
}
