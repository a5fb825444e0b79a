// The publisher of events with a real Redis and a real Apache Kafka.
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
#include "core/event.h"
#include "core/wire.h"
#include "tests/integration/kafka_broker.h"
#include "tests/integration/state_client.h"
#include "trainyard/v1/event.pb-c.h"
#include "worker/events/events.h"

#define SEEN_MAX 20000

static struct kafka_broker *broker;
static struct redis_server *server;

// One installation: a topic prefix of its own, and an emptied store.
struct rig {
    char *prefix, *topic;
    struct state_client client;
    struct ty_kafka_options kafka;
};

static void rig_open(struct rig *rig, int partitions)
{
    static unsigned number;
    rig->prefix = ty_xasprintf("t%u.", ++number);
    rig->topic = ty_xasprintf("%sevents", rig->prefix);
    if (partitions)
        kafka_broker_make_topics(broker, rig->prefix, partitions);
    state_client_open(&rig->client, server, 1);
    rig->kafka = (struct ty_kafka_options){.brokers = kafka_broker_address(broker), .client_id = "test", .topic_prefix = rig->prefix};
}

static void rig_close(struct rig *rig)
{
    STATE_RAW(&rig->client, NULL, "FLUSHALL");
    state_client_close(&rig->client);
    free(rig->prefix);
    free(rig->topic);
}

static struct ty_events *start_on(struct rig *rig, struct state_client *client, const char *name, uint32_t lease_ms)
{
    struct ty_events *events;
    struct ty_err err;
    struct ty_events_options options = {.kafka = rig->kafka, .worker = name, .lease_ms = lease_ms};
    if (ty_events_new(client->loop, client->state, &options, &events, &err) < 0)
        fail_msg("%s", err.message);
    ty_events_on_store(events, true);
    return events;
}

static struct ty_events *start(struct rig *rig, const char *name, uint32_t lease_ms)
{
    return start_on(rig, &rig->client, name, lease_ms);
}

static bool is_published(struct rig *rig)
{
    return STATE_RAW(&rig->client, NULL, "ZCARD", "{ty:0}:o").integer == 0;
}

static void await_published(struct rig *rig)
{
    STATE_UNTIL(&rig->client, is_published(rig));
}

// ---- the feed as a reader sees it ----

struct seen {
    struct ty_id id;
    bool is_null, is_deleted;
    enum ty_job_state state;
    uint64_t version;
    size_t history;
};
struct feed {
    size_t count;
    struct seen seen[SEEN_MAX];
};

static void on_record(void *context, const rd_kafka_message_t *message)
{
    struct feed *feed = context;
    char key[TY_ID_TEXT_BYTES] = "";
    struct ty_err err;
    ProtobufCMessage *unpacked;
    if (!message->payload && message->key_len == 1) // it closes what a Kafka that was killed has left open
        return;
    assert_true(feed->count < SEEN_MAX);
    struct seen *seen = &feed->seen[feed->count++];
    *seen = (struct seen){.is_null = !message->payload};
    assert_int_equal(message->key_len, TY_ID_TEXT_BYTES - 1);
    memcpy(key, message->key, message->key_len);
    assert_int_equal(ty_id_parse(key, &seen->id, &err), 0);
    if (!message->payload)
        return;
    assert_int_equal(ty_wire_unpack(&trainyard__v1__job_event__descriptor, message->payload, message->len, &unpacked, &err), 0);
    Trainyard__V1__JobEvent *event = (Trainyard__V1__JobEvent *)unpacked;
    seen->is_deleted = event->deleted;
    seen->version = event->version;
    seen->history = event->n_history;
    if (event->metadata) {
        assert_string_equal(event->metadata->id, key);
        seen->state = (enum ty_job_state)event->metadata->status;
    }
    protobuf_c_message_free_unpacked(unpacked, NULL);
}

static struct feed *read_feed(struct rig *rig)
{
    static struct feed feed;
    feed.count = 0;
    kafka_broker_read(broker, rig->topic, on_record, &feed);
    return &feed;
}

// The events of one job, oldest first; each version is higher than the one before, or the same once more.
static size_t of_job(const struct feed *feed, const struct ty_id *id, struct seen *out, size_t max)
{
    size_t count = 0;
    uint64_t version = 0;
    for (size_t i = 0; i < feed->count; i++) {
        if (!ty_id_equal(&feed->seen[i].id, id))
            continue;
        assert_true(count < max);
        assert_true(feed->seen[i].is_null || feed->seen[i].version >= version);
        version = feed->seen[i].version;
        out[count++] = feed->seen[i];
    }
    return count;
}

// Reads until there are so many. Kafka says "committed" before it has marked that in each partition, so readers see the last events
// a moment after the outbox is empty.
static size_t await_of_job(struct rig *rig, const struct ty_id *id, struct seen *out, size_t max, size_t wanted)
{
    size_t count = of_job(read_feed(rig), id, out, max);
    STATE_UNTIL(&rig->client, count >= wanted || (count = of_job(read_feed(rig), id, out, max)) >= wanted);
    return count;
}

static struct ty_id submit(struct rig *rig)
{
    struct ty_id id = ty_id_new();
    assert_int_equal(state_submit(&rig->client, &id, &(struct state_job){0}), TY_APPLIED);
    return id;
}

// ---- tests ----

static void a_job_can_be_followed(void **state)
{
    struct rig rig;
    struct seen seen[16];
    (void)state;
    rig_open(&rig, 2);
    struct ty_events *events = start(&rig, "a", 60000);
    struct ty_id id = submit(&rig);
    await_published(&rig);
    struct state_claim claim = state_claim_one(&rig.client, &id, STATE_LEASE_MS);
    await_published(&rig);
    state_renew(&rig.client, &claim, TY_STAGE_TRAIN);
    state_finish(&rig.client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE);
    await_published(&rig);
    // Mostly the last two are one event. The outbox is looked at ten times a second, once in a while between them.
    size_t told = await_of_job(&rig, &id, seen, 16, 3);
    if (seen[told - 1].state != TY_JOB_COMPLETED)
        told = await_of_job(&rig, &id, seen, 16, 4);
    assert_in_range(told, 3, 4);
    assert_int_equal(seen[0].state, TY_JOB_PENDING);
    assert_int_equal(seen[1].state, TY_JOB_IN_PROGRESS);
    assert_int_equal(seen[told - 2].state, TY_JOB_IN_PROGRESS);
    struct seen end = seen[told - 1];
    assert_int_equal(end.state, TY_JOB_COMPLETED);
    assert_int_equal(end.version, state_get(&rig.client, &id).version);
    assert_int_equal(end.history, 3); // claimed, training, completed: nothing is missing though two were one event
    // Deleted, and then forgotten: the null record comes when the tombstone goes.
    assert_int_equal(state_control(&rig.client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    await_published(&rig);
    assert_int_equal(await_of_job(&rig, &id, seen, 16, told + 1), told + 1);
    assert_true(seen[told].is_deleted && seen[told].version > end.version);
    STATE_RAW(&rig.client, &id, "ZADD", "{ty:0}:x", "XX", "1", "%");
    STATE_UNTIL(&rig.client, STATE_RAW(&rig.client, NULL, "ZCARD", "{ty:0}:x").integer == 0);
    assert_int_equal(await_of_job(&rig, &id, seen, 16, told + 2), told + 2);
    assert_true(seen[told + 1].is_null);
    // The publisher hears of it on a connection of its own.
    STATE_UNTIL(&rig.client, ty_events_figures(events).nulls == 1);
    struct ty_events_figures figures = ty_events_figures(events);
    assert_int_equal(figures.published, told + 1);
    assert_int_equal(figures.shards, 1);
    ty_events_free(events);
    rig_close(&rig);
}

static void many_jobs_are_all_there(void **state)
{
    enum { JOBS = 2000 };
    static struct ty_id ids[JOBS];
    struct rig rig;
    struct seen seen[4];
    (void)state;
    rig_open(&rig, 4);
    for (size_t i = 0; i < JOBS; i++)
        ids[i] = submit(&rig);
    struct ty_events *events = start(&rig, "a", 60000);
    await_published(&rig);
    // As in await_of_job.
    const struct feed *feed = read_feed(&rig);
    STATE_UNTIL(&rig.client, feed->count >= JOBS || read_feed(&rig)->count >= JOBS);
    assert_int_equal(feed->count, JOBS);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(of_job(feed, &ids[i], seen, 4), 1);
    STATE_UNTIL(&rig.client, ty_events_figures(events).batches >= JOBS / 1000);
    ty_events_free(events);
    rig_close(&rig);
}

// The lease passes while the first one, which has a loop of its own, stands still: Kafka takes nothing more of it.
static void a_second_publisher_fences_the_first(void **state)
{
    struct rig rig;
    struct state_client paused;
    struct seen seen[8];
    (void)state;
    rig_open(&rig, 1);
    state_client_open(&paused, server, 1);
    struct ty_events *first = start_on(&rig, &paused, "a", 60000);
    struct ty_id before = submit(&rig);
    STATE_UNTIL(&paused, ty_events_figures(first).published == 1);
    STATE_RAW(&rig.client, NULL, "SET", "{ty:0}:p", "b");
    struct ty_events *second = start(&rig, "b", 60000);
    STATE_UNTIL(&rig.client, ty_events_figures(second).shards == 1);
    struct ty_id after = submit(&rig);
    await_published(&rig);
    STATE_UNTIL(&rig.client, ty_events_figures(second).published == 1);
    // The first one believes that the lease is its own: what it then writes is refused.
    STATE_RAW(&rig.client, NULL, "SET", "{ty:0}:p", "a");
    struct ty_id third = submit(&rig);
    STATE_UNTIL(&paused, ty_events_figures(first).fenced == 1);
    STATE_UNTIL(&paused, is_published(&rig));
    assert_string_equal(STATE_RAW(&rig.client, NULL, "HGET", "{ty:0}:m", "publisher_fenced").text, "1");
    assert_int_equal(await_of_job(&rig, &before, seen, 8, 1), 1);
    assert_int_equal(await_of_job(&rig, &after, seen, 8, 1), 1);
    assert_int_equal(await_of_job(&rig, &third, seen, 8, 1), 1);
    ty_events_free(first);
    ty_events_free(second);
    state_client_close(&paused);
    rig_close(&rig);
}

static void one_that_stops_is_followed_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 1);
    struct ty_events *first = start(&rig, "a", 60000), *second;
    submit(&rig);
    await_published(&rig);
    ty_events_stop(first);
    STATE_UNTIL(&rig.client, STATE_RAW(&rig.client, NULL, "EXISTS", "{ty:0}:p").integer == 0);
    second = start(&rig, "b", 60000);
    submit(&rig);
    await_published(&rig);
    STATE_UNTIL(&rig.client, ty_events_figures(second).published == 1);
    ty_events_free(first);
    ty_events_free(second);
    rig_close(&rig);
}

// What was committed to Kafka and not told to the store comes once more, and nothing is lost.
static void a_publisher_that_dies_loses_nothing(void **state)
{
    enum { ROUNDS = 10 };
    struct rig rig;
    struct seen seen[4 * ROUNDS];
    struct ty_id ids[ROUNDS];
    (void)state;
    rig_open(&rig, 1);
    for (int i = 0; i < ROUNDS; i++) {
        struct ty_events *events = start(&rig, "a", 60000);
        ids[i] = submit(&rig);
        uint64_t turns = (uint64_t)i * 3;
        STATE_UNTIL(&rig.client, turns-- == 0);
        ty_events_free(events); // in the middle of whatever it is at
    }
    struct ty_events *events = start(&rig, "a", 60000);
    await_published(&rig);
    for (int i = 0; i < ROUNDS; i++)
        assert_true(await_of_job(&rig, &ids[i], seen, 4 * ROUNDS, 1) >= 1);
    ty_events_free(events);
    rig_close(&rig);
}

// For certain: Kafka has it, and the store was not told.
static void what_was_committed_and_not_told_comes_twice(void **state)
{
    struct rig rig;
    struct seen seen[4];
    struct ty_id id;
    size_t rounds = 0;
    bool was_told = true;
    (void)state;
    rig_open(&rig, 1);
    while (was_told) { // once in a while Kafka answers between the look at the topic and the turn after it
        assert_true(rounds++ < 10);
        struct ty_events *events = start(&rig, "a", 60000);
        id = submit(&rig);
        uint64_t until_ms = ty_clock_mono_ms() + 60000;
        // The feed's thread commits while the loop, which would tell the store, stands still.
        while (!of_job(read_feed(&rig), &id, seen, 4))
            state_client_turn(&rig.client, until_ms, "the event in the topic");
        ty_events_free(events);
        was_told = is_published(&rig);
    }
    STATE_RAW(&rig.client, NULL, "DEL", "{ty:0}:p"); // of the dead one
    struct ty_events *events = start(&rig, "b", 60000);
    await_published(&rig);
    assert_int_equal(await_of_job(&rig, &id, seen, 4, 2), 2);
    assert_int_equal(seen[0].version, seen[1].version);
    assert_int_equal(seen[1].state, TY_JOB_PENDING);
    ty_events_free(events);
    rig_close(&rig);
}

static void kafka_and_the_topic_may_come_later(void **state)
{
    struct rig rig;
    struct seen seen[4];
    (void)state;
    rig_open(&rig, 0);
    struct ty_events *events = start(&rig, "a", 2000);
    struct ty_id id = submit(&rig);
    STATE_UNTIL(&rig.client, ty_events_figures(events).shards == 1); // it has tried
    kafka_broker_make_topics(broker, rig.prefix, 1);
    await_published(&rig);
    kafka_broker_kill(broker);
    struct ty_id second = submit(&rig);
    STATE_UNTIL(&rig.client, ty_events_figures(events).shards == 0); // it has given up for now
    assert_false(is_published(&rig));
    kafka_broker_start(broker);
    await_published(&rig);
    assert_true(await_of_job(&rig, &id, seen, 4, 1) >= 1);
    assert_true(await_of_job(&rig, &second, seen, 4, 1) >= 1);
    ty_events_free(events);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_can_be_followed),
        cmocka_unit_test(many_jobs_are_all_there),
        cmocka_unit_test(a_second_publisher_fences_the_first),
        cmocka_unit_test(one_that_stops_is_followed_at_once),
        cmocka_unit_test(a_publisher_that_dies_loses_nothing),
        cmocka_unit_test(what_was_committed_and_not_told_comes_twice),
        cmocka_unit_test(kafka_and_the_topic_may_come_later),
    };
    broker = kafka_broker_new();
    server = redis_server_new(NULL);
    redis_server_start(server);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_free(server);
    kafka_broker_free(broker);
    return failed;
}
