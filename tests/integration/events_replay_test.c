// The store made again from the topic `events`, with a real Redis and a real Apache Kafka.
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
#include "core/state_outbox.h"
#include "core/wire.h"
#include "tests/integration/kafka_broker.h"
#include "tests/integration/state_client.h"
#include "worker/events/events.h"

#define LEASE_MS 60000u

static struct kafka_broker *broker;
static struct redis_server *server;

struct rig {
    char *prefix;
    struct state_client client;
    struct ty_events *events;
    struct ty_kafka_options kafka;
};

static uint32_t patience_ms; // of publishers that start from now on

static void publisher_start(struct rig *rig, bool is_manual)
{
    struct ty_err err;
    struct ty_events_options options = {
        .kafka = rig->kafka, .worker = "a", .lease_ms = 5000, .job_lease_ms = LEASE_MS, .is_manual = is_manual, .patience_ms = patience_ms};
    if (ty_events_new(rig->client.loop, rig->client.state, &options, &rig->events, &err) < 0)
        fail_msg("%s", err.message);
    ty_events_on_store(rig->events, true);
}

static void publisher_kill(struct rig *rig)
{
    ty_events_free(rig->events);
    rig->events = NULL;
}

static bool is_level(struct rig *rig)
{
    return ty_events_figures(rig->events).replays > 0 &&
           !strcmp(STATE_RAW(&rig->client, NULL, "HGET", "{ty:0}:m", "replay").text, "done") &&
           STATE_RAW(&rig->client, NULL, "ZCARD", "{ty:0}:o").integer == 0;
}

static void await_level(struct rig *rig)
{
    STATE_UNTIL(&rig->client, is_level(rig));
}

static void rig_open(struct rig *rig, int partitions)
{
    static unsigned number;
    *rig = (struct rig){.prefix = ty_xasprintf("r%u.", ++number)};
    kafka_broker_make_topics(broker, rig->prefix, partitions);
    state_client_open(&rig->client, server, 1);
    STATE_RAW(&rig->client, NULL, "FLUSHALL");
    rig->kafka = (struct ty_kafka_options){.brokers = kafka_broker_address(broker), .client_id = "test", .topic_prefix = rig->prefix};
    publisher_start(rig, false);
}

static void rig_close(struct rig *rig)
{
    publisher_kill(rig);
    state_client_close(&rig->client);
    free(rig->prefix);
}

// ---- what a client sees ----

struct get {
    bool done, found;
    struct ty_buf bytes;
};

static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct get *get = context;
    get->done = true;
    assert_null(err);
    get->found = record != NULL;
    if (record)
        ty_record_metadata(record, &get->bytes);
}

// The answer to Get, packed by a client that has unpacked it.
static void answer_of(struct rig *rig, const struct ty_id *id, struct ty_buf *out)
{
    struct get get = {0};
    ProtobufCMessage *message;
    struct ty_err err;
    ty_state_get(rig->client.state, id, on_got, &get);
    STATE_UNTIL(&rig->client, get.done);
    ty_buf_clear(out);
    if (get.found) {
        assert_int_equal(ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, get.bytes.data, get.bytes.len,
                                        &message, &err), 0);
        ty_buf_reserve(out, protobuf_c_message_get_packed_size(message));
        out->len = protobuf_c_message_pack(message, out->data);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    ty_buf_done(&get.bytes);
}

// ---- jobs in every state ----

enum { PENDING, RUNNING, CANCELING, COMPLETED, FAILED, CANCELED, DELETED, RETRYING, STATES };
struct jobs {
    struct ty_id ids[STATES];
    struct state_claim claims[STATES];
    struct ty_buf answers[STATES];
};

static void make_jobs(struct rig *rig, struct jobs *jobs)
{
    struct state_client *client = &rig->client;
    TY_BUF(patch);
    ty_patch_model(&patch, "acme/digits");
    *jobs = (struct jobs){0};
    for (int i = STATES - 1; i >= 0; i--) { // one at a time in the queue
        jobs->ids[i] = ty_id_new();
        assert_int_equal(state_submit(client, &jobs->ids[i], &(struct state_job){.max_attempts = 5, .priority = 2}), TY_APPLIED);
        switch (i) {
        case PENDING:
            break;
        case CANCELED:
            state_control(client, TY_COMMAND_CANCEL, &jobs->ids[i]);
            break;
        case DELETED:
            state_control(client, TY_COMMAND_DELETE, &jobs->ids[i]);
            break;
        default:
            jobs->claims[i] = state_claim_one(client, &jobs->ids[i], STATE_LEASE_MS);
            state_renew(client, &jobs->claims[i], TY_STAGE_TRAIN);
            break;
        }
    }
    state_control(client, TY_COMMAND_CANCEL, &jobs->ids[CANCELING]);
    state_finish_with(client, &jobs->claims[COMPLETED], TY_FINISH_COMPLETED_MODEL, TY_REASON_NONE, &patch);
    state_finish(client, &jobs->claims[FAILED], TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT);
    state_finish(client, &jobs->claims[RETRYING], TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED);
    await_level(rig);
    for (int i = 0; i < STATES; i++)
        answer_of(rig, &jobs->ids[i], &jobs->answers[i]);
}

static void free_jobs(struct jobs *jobs)
{
    for (int i = 0; i < STATES; i++)
        ty_buf_done(&jobs->answers[i]);
}

static void assert_same(struct rig *rig, struct jobs *jobs)
{
    for (int i = 0; i < STATES; i++) {
        TY_BUF(answer);
        answer_of(rig, &jobs->ids[i], &answer);
        if (answer.len != jobs->answers[i].len || (answer.len && memcmp(answer.data, jobs->answers[i].data, answer.len)))
            fail_msg("job %d is told otherwise: %zu bytes, were %zu", i, answer.len, jobs->answers[i].len);
        if (i != DELETED)
            state_check(&rig->client, &jobs->ids[i], "acme");
    }
    struct state_list list = state_list(&rig->client, 0, "acme", 0, NULL, STATE_JOBS_MAX);
    assert_int_equal(list.count, STATES - 1);
}

static void assert_goes_on(struct rig *rig, struct jobs *jobs)
{
    struct state_client *client = &rig->client;
    // Who runs a job goes on with the same attempt.
    assert_int_equal(state_renew(client, &jobs->claims[RUNNING], TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(state_renew(client, &jobs->claims[CANCELING], TY_STAGE_TRAIN), TY_RENEW_CANCEL);
    assert_int_equal(state_finish(client, &jobs->claims[RUNNING], TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(state_get(client, &jobs->ids[RUNNING]).attempt, 1);
    assert_int_equal(state_finish(client, &jobs->claims[CANCELING], TY_FINISH_CANCELED, TY_REASON_CANCELED), TY_FINISHED);
    // Who has ended is told so, and not heard twice.
    assert_int_equal(state_finish(client, &jobs->claims[COMPLETED], TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_ALREADY);
    assert_int_equal(state_finish(client, &jobs->claims[FAILED], TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT), TY_FINISH_ALREADY);
    assert_int_equal(state_finish(client, &jobs->claims[FAILED], TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISH_STALE);
    assert_int_equal(state_get(client, &jobs->ids[FAILED]).state, TY_JOB_FAILED);
    struct state_claim stranger = jobs->claims[CANCELING];
    stranger.fence++;
    stranger.token = ty_token_new();
    assert_int_equal(state_renew(client, &stranger, TY_STAGE_TRAIN), TY_RENEW_LOST);
    // The same submit is known, a deleted job stays deleted.
    assert_int_equal(state_submit(client, &jobs->ids[DELETED], NULL), TY_APPLY_NOOP);
}

// ---- tests ----

static void a_new_installation_is_ready_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_open(&rig, 2);
    assert_int_equal(state_attach(&rig.client, "c", "submit", 0, NULL), 0); // as the intake does
    await_level(&rig);
    assert_int_equal(ty_events_figures(rig.events).events_read, 0);
    struct ty_id id = ty_id_new();
    state_submit(&rig.client, &id, NULL);
    state_claim_one(&rig.client, &id, STATE_LEASE_MS);
    rig_close(&rig);
}

static void a_store_that_was_emptied_is_made_again(void **state)
{
    struct rig rig;
    struct jobs jobs;
    (void)state;
    rig_open(&rig, 3);
    await_level(&rig);
    make_jobs(&rig, &jobs);
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).restored >= STATES);
    await_level(&rig);
    assert_same(&rig, &jobs);
    assert_string_equal(STATE_RAW(&rig.client, NULL, "HGET", "{ty:0}:m", "epoch").text, "1");
    assert_goes_on(&rig, &jobs);
    // Lost again: what follows is above what readers have seen, though the store had forgotten its epoch.
    await_level(&rig);
    uint64_t restored = ty_events_figures(rig.events).restored;
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).restored >= restored + STATES);
    await_level(&rig);
    assert_string_equal(STATE_RAW(&rig.client, NULL, "HGET", "{ty:0}:m", "epoch").text, "2");
    free_jobs(&jobs);
    rig_close(&rig);
}

static void once_more_changes_nothing(void **state)
{
    struct rig rig;
    struct jobs jobs;
    (void)state;
    rig_open(&rig, 3);
    await_level(&rig);
    make_jobs(&rig, &jobs);
    for (int i = 0; i < 2; i++) {
        uint64_t before = ty_events_figures(rig.events).replays;
        STATE_RAW(&rig.client, NULL, "DEL", "{ty:0}:w");
        STATE_RAW(&rig.client, NULL, "HSET", "{ty:0}:m", "replay", "asked"); // rebuild.lua
        struct ty_token token = ty_token_new();
        struct state_claim claim;
        assert_int_equal(state_claim(&rig.client, 0, &token, 1, STATE_LEASE_MS, &claim), 0);
        STATE_UNTIL(&rig.client, ty_events_figures(rig.events).replays > before);
        await_level(&rig);
        assert_int_equal(ty_events_figures(rig.events).restored, 0);
        assert_same(&rig, &jobs);
    }
    assert_goes_on(&rig, &jobs);
    free_jobs(&jobs);
    rig_close(&rig);
}

static void a_replay_that_dies_is_gone_on_with(void **state)
{
    enum { JOBS = 1700 };
    static struct ty_id ids[JOBS];
    struct rig rig;
    (void)state;
    rig_open(&rig, 2);
    await_level(&rig);
    for (size_t i = 0; i < JOBS; i++) {
        ids[i] = ty_id_new();
        state_submit(&rig.client, &ids[i], NULL);
    }
    await_level(&rig);
    publisher_kill(&rig);
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    publisher_start(&rig, false);
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).restored > 0);
    uint64_t first = ty_events_figures(rig.events).restored;
    assert_true(first < JOBS);
    publisher_kill(&rig);
    publisher_start(&rig, false);
    await_level(&rig);
    uint64_t second = ty_events_figures(rig.events).restored;
    assert_true(second < JOBS); // not from the start again
    assert_true(first + second >= JOBS);
    for (size_t i = 0; i < JOBS; i++)
        assert_int_equal(state_get(&rig.client, &ids[i]).state, TY_JOB_PENDING);
    rig_close(&rig);
}

// Redis comes back as it was, with jobs that ended, were claimed, canceled and deleted since.
static void a_store_that_went_back_is_brought_forward(void **state)
{
    struct rig rig;
    struct jobs jobs;
    struct ty_id late = ty_id_new();
    (void)state;
    rig_open(&rig, 2);
    await_level(&rig);
    struct ty_id ids[4];
    struct state_claim claims[4];
    for (int i = 0; i < 4; i++) {
        ids[i] = ty_id_new();
        state_submit(&rig.client, &ids[i], NULL);
        if (i == 0)
            claims[0] = state_claim_one(&rig.client, &ids[0], STATE_LEASE_MS);
    }
    await_level(&rig);
    char *keep TY_FREE = ty_xasprintf("cp %s/dump.rdb %s/kept", redis_server_dir(server), redis_server_dir(server));
    assert_string_equal(redis_server_ask(server, "SAVE"), "+OK\r\n");
    assert_int_equal(system(keep), 0);
    state_finish(&rig.client, &claims[0], TY_FINISH_COMPLETED, TY_REASON_NONE);
    state_control(&rig.client, TY_COMMAND_CANCEL, &ids[2]);
    state_control(&rig.client, TY_COMMAND_DELETE, &ids[3]);
    claims[1] = state_claim_one(&rig.client, &ids[1], STATE_LEASE_MS);
    make_jobs(&rig, &jobs);
    state_submit(&rig.client, &late, NULL);
    await_level(&rig);
    char *back TY_FREE = ty_xasprintf("cp %s/kept %s/dump.rdb", redis_server_dir(server), redis_server_dir(server));
    redis_server_kill(server);
    assert_int_equal(system(back), 0);
    redis_server_start(server);
    STATE_UNTIL(&rig.client, rig.client.up);
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).restored >= STATES + 4);
    await_level(&rig);
    assert_int_equal(state_get(&rig.client, &ids[0]).state, TY_JOB_COMPLETED);
    assert_int_equal(state_get(&rig.client, &ids[1]).state, TY_JOB_IN_PROGRESS);
    assert_int_equal(state_renew(&rig.client, &claims[1], TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(state_get(&rig.client, &ids[2]).state, TY_JOB_CANCELED);
    assert_false(state_get(&rig.client, &ids[3]).found);
    assert_int_equal(state_get(&rig.client, &late).state, TY_JOB_PENDING);
    assert_goes_on(&rig, &jobs);
    free_jobs(&jobs);
    rig_close(&rig);
}

// The commands were applied again before the events were read: what was asked counts, and so does what is known.
static void commands_may_come_first(void **state)
{
    struct rig rig;
    struct ty_id done = ty_id_new(), running = ty_id_new(), gone = ty_id_new();
    (void)state;
    rig_open(&rig, 1);
    await_level(&rig);
    struct ty_id *ids[] = {&done, &running, &gone};
    struct state_claim claims[3];
    for (int i = 0; i < 3; i++) {
        state_submit(&rig.client, ids[i], &(struct state_job){.created_us = UINT64_C(1700000000000000)});
        claims[i] = state_claim_one(&rig.client, ids[i], STATE_LEASE_MS);
    }
    state_finish(&rig.client, &claims[0], TY_FINISH_COMPLETED, TY_REASON_NONE);
    await_level(&rig);
    publisher_kill(&rig);
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    STATE_RAW(&rig.client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    state_submit(&rig.client, &done, &(struct state_job){.created_us = UINT64_C(1700000000000000)});
    state_control(&rig.client, TY_COMMAND_CANCEL, &running); // before its submit
    state_control(&rig.client, TY_COMMAND_DELETE, &gone);
    struct ty_token token = ty_token_new();
    struct state_claim claim;
    assert_int_equal(state_claim(&rig.client, 0, &token, 1, STATE_LEASE_MS, &claim), 0);
    publisher_start(&rig, false);
    await_level(&rig);
    assert_int_equal(state_get(&rig.client, &done).state, TY_JOB_COMPLETED);
    assert_int_equal(state_get(&rig.client, &running).state, TY_JOB_CANCELING);
    assert_int_equal(state_get(&rig.client, &gone).state, TY_JOB_CANCELING);
    state_check(&rig.client, &done, "acme");
    state_check(&rig.client, &running, "acme");
    assert_int_equal(state_renew(&rig.client, &claims[1], TY_STAGE_TRAIN), TY_RENEW_CANCEL);
    assert_int_equal(state_renew(&rig.client, &claims[2], TY_STAGE_TRAIN), TY_RENEW_CANCEL);
    assert_int_equal(state_finish(&rig.client, &claims[2], TY_FINISH_CANCELED, TY_REASON_CANCELED), TY_FINISH_DELETED);
    assert_false(state_get(&rig.client, &gone).found);
    rig_close(&rig);
}

static void on_rebuild(void *context, const struct ty_err *err, const struct ty_rebuild *rebuild)
{
    (void)rebuild;
    assert_null(err);
    *(bool *)context = true;
}

static void ask_for_all(struct rig *rig)
{
    bool is_done = false;
    ty_state_rebuild(rig->client.state, 0, TY_REBUILD_ASK, on_rebuild, &is_done);
    STATE_UNTIL(&rig->client, is_done);
}

static void an_empty_store_may_wait_for_the_operator(void **state)
{
    struct rig rig;
    struct jobs jobs;
    struct ty_watermark mark = {.topic = "submit", .next = 4};
    (void)state;
    rig_open(&rig, 2);
    await_level(&rig);
    make_jobs(&rig, &jobs);
    publisher_kill(&rig);
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    assert_int_equal(state_attach(&rig.client, "c", "submit", 0, NULL), 0);
    publisher_start(&rig, true);
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).shards == 1 &&
                                 STATE_RAW(&rig.client, NULL, "HEXISTS", "{ty:0}:m", "read").integer == 1);
    uint64_t turns = 4;
    STATE_UNTIL(&rig.client, turns-- == 0);
    assert_int_equal(ty_events_figures(rig.events).replays, 0);
    assert_string_equal(STATE_RAW(&rig.client, NULL, "HGET", "{ty:0}:m", "replay").text, "needed");
    assert_false(state_apply(&rig.client, NULL, 0, &mark).gap); // an intake reads the commands again
    ask_for_all(&rig);
    mark.expected = mark.next;
    assert_true(state_apply(&rig.client, NULL, 0, &mark).gap); // and finds that it must do so once more, before the publisher looks
    await_level(&rig);
    assert_same(&rig, &jobs);
    free_jobs(&jobs);
    rig_close(&rig);
}

// Deleted, forgotten 8 days later, and submitted again under the same idempotency key.
static void an_id_that_came_anew_is_the_new_job(void **state)
{
    struct rig rig;
    struct ty_id id = ty_id_new();
    TY_BUF(before);
    TY_BUF(after);
    (void)state;
    rig_open(&rig, 2);
    await_level(&rig);
    state_submit(&rig.client, &id, NULL);
    assert_int_equal(state_control(&rig.client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    await_level(&rig);
    STATE_RAW(&rig.client, &id, "DEL", "{ty:0}:j:%");
    state_submit(&rig.client, &id, NULL);
    await_level(&rig);
    STATE_RAW(&rig.client, &id, "ZADD", "{ty:0}:x", "XX", "1", "%");
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).nulls == 1);
    await_level(&rig);
    answer_of(&rig, &id, &before);
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    STATE_UNTIL(&rig.client, ty_events_figures(rig.events).replays == 2);
    await_level(&rig);
    answer_of(&rig, &id, &after);
    assert_true(before.len > 0);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.data, before.data, before.len);
    rig_close(&rig);
}

// A writer that is not ours, with a transaction open and one record in it; freed, the transaction ends with it.
static rd_kafka_t *open_transaction_in(struct rig *rig, const char *name, int32_t partition)
{
    char text[256], *topic TY_FREE = ty_xasprintf("%s%s", rig->prefix, name);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", kafka_broker_address(broker), text, sizeof text), RD_KAFKA_CONF_OK);
    assert_int_equal(rd_kafka_conf_set(conf, "transactional.id", topic, text, sizeof text), RD_KAFKA_CONF_OK);
    rd_kafka_t *writer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(writer);
    assert_null(rd_kafka_init_transactions(writer, 20000));
    assert_null(rd_kafka_begin_transaction(writer));
    assert_int_equal(rd_kafka_producev(writer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY("+", 1),
                                       RD_KAFKA_V_VALUE(NULL, 0), RD_KAFKA_V_END), 0);
    assert_int_equal(rd_kafka_flush(writer, 20000), 0);
    return writer;
}

static rd_kafka_t *open_transaction(struct rig *rig)
{
    return open_transaction_in(rig, "events", 0);
}

// The store has marks beyond what readers may see: an open transaction in a partition must not keep the publisher from the rest,
// and what it hides is seen when it has ended.
static void an_open_end_is_not_waited_for(void **state)
{
    struct rig rig;
    struct jobs jobs;
    (void)state;
    rig_open(&rig, 2);
    await_level(&rig);
    rd_kafka_t *writer = open_transaction(&rig);
    make_jobs(&rig, &jobs);
    publisher_kill(&rig);
    STATE_RAW(&rig.client, NULL, "HSET", "{ty:0}:w", "events/1", "0"); // something is to be read
    publisher_start(&rig, false);
    await_level(&rig);
    assert_same(&rig, &jobs);
    assert_null(rd_kafka_abort_transaction(writer, 20000));
    rd_kafka_destroy(writer);
    publisher_kill(&rig);
    STATE_RAW(&rig.client, NULL, "FLUSHALL");
    publisher_start(&rig, false);
    await_level(&rig);
    assert_same(&rig, &jobs);
    free_jobs(&jobs);
    rig_close(&rig);
}

// ---- the commands that must be there before a job starts ----

// What an intake of one partition does.
struct reader {
    const char *topic;
    int32_t partition;
    int64_t next;
};

static int64_t write_command(struct rig *rig, const struct reader *reader)
{
    char *topic TY_FREE = ty_xasprintf("%s%s", rig->prefix, reader->topic);
    return kafka_broker_produce(broker, topic, reader->partition, "k", 1, "v", 1);
}

static void apply_to(struct rig *rig, struct reader *reader, int64_t next, const struct ty_apply *command)
{
    struct ty_watermark mark = {.topic = reader->topic, .partition = reader->partition, .expected = reader->next, .next = next};
    struct state_applied applied = state_apply(&rig->client, command, command ? 1 : 0, &mark);
    assert_int_equal(applied.code, TY_OK);
    assert_false(applied.gap);
    reader->next = next;
}

static void attach(struct rig *rig, struct reader *reader)
{
    reader->next = state_attach(&rig->client, "c", reader->topic, reader->partition, NULL);
}

// The publisher has found again that commands are missing, twice, so that it was not on its way to know better.
static void await_missing(struct rig *rig)
{
    uint64_t before = ty_events_figures(rig->events).commands_missing;
    STATE_UNTIL(&rig->client, ty_events_figures(rig->events).commands_missing >= before + 3 || is_level(rig));
    assert_false(is_level(rig));
    struct ty_token token = ty_token_new();
    struct state_claim claim;
    assert_int_equal(state_claim(&rig->client, 0, &token, 1, STATE_LEASE_MS, &claim), 0);
}

static void on_wait(void *context, const struct ty_err *err, const struct ty_wait *wait)
{
    assert_null(err);
    snprintf(context, 32, "%s", wait->why);
}

static void assert_waits(struct rig *rig, const struct ty_id *id, const char *why)
{
    char text[32] = "";
    ty_state_wait(rig->client.state, id, on_wait, text);
    STATE_UNTIL(&rig->client, text[0]);
    assert_string_equal(text, why);
}

// Redis loses its last second, in which no job changed: a pause, and a cancel that came before its submit. The publisher has been
// level for long, and where it is the store is too.
static void what_was_asked_last_is_there_before_a_job_starts(void **state)
{
    struct rig rig;
    struct ty_id waiting = ty_id_new(), canceled = ty_id_new();
    struct reader settings = {.topic = "settings"}, cancels = {.topic = "cancel", .partition = 1};
    struct ty_apply pause = {.kind = TY_APPLY_RULE, .organization_id = "pause/*", .record = "1", .record_len = 1};
    struct ty_apply cancel = {.kind = TY_COMMAND_CANCEL, .job_id = canceled};
    (void)state;
    rig_open(&rig, 2);
    attach(&rig, &settings);
    attach(&rig, &cancels);
    await_level(&rig);
    state_submit(&rig.client, &waiting, NULL);
    await_level(&rig);
    struct state_client other; // the store knows this Redis process since somebody has come to it
    state_client_open(&other, server, 1);
    state_client_close(&other);
    assert_string_equal(redis_server_ask(server, "SAVE"), "+OK\r\n");
    apply_to(&rig, &settings, write_command(&rig, &settings) + 1, &pause);
    apply_to(&rig, &cancels, write_command(&rig, &cancels) + 1, &cancel);
    assert_waits(&rig, &waiting, "fleet_paused");
    redis_server_kill(server);
    STATE_UNTIL(&rig.client, !rig.client.up && !ty_redis_is_up(rig.client.redis));
    ty_events_on_store(rig.events, false);
    redis_server_start(server);
    STATE_UNTIL(&rig.client, rig.client.up && ty_redis_is_up(rig.client.redis));
    ty_events_on_store(rig.events, true);
    await_missing(&rig);
    assert_waits(&rig, &waiting, "store_rebuild");
    attach(&rig, &settings);
    attach(&rig, &cancels);
    assert_int_equal(settings.next + cancels.next, 0);
    apply_to(&rig, &settings, 1, &pause);
    await_missing(&rig);
    apply_to(&rig, &cancels, 1, &cancel);
    await_level(&rig);
    assert_waits(&rig, &waiting, "fleet_paused");
    state_submit(&rig.client, &canceled, NULL);
    enum ty_job_state became = state_get(&rig.client, &canceled).state;
    assert_true(became == TY_JOB_CANCELED || became == TY_JOB_CANCELING);
    pause.record_len = 0;
    assert_int_equal(state_apply(&rig.client, &pause, 1, NULL).code, TY_OK);
    rig_close(&rig);
}

// The operator asks while the publisher, who has read the events, waits for a cancel: they are read anew before anything is claimed.
static void what_is_asked_while_commands_are_awaited_is_done(void **state)
{
    struct rig rig;
    struct ty_id id = ty_id_new();
    struct reader cancels = {.topic = "cancel"};
    (void)state;
    rig_open(&rig, 1);
    attach(&rig, &cancels);
    await_level(&rig);
    state_submit(&rig.client, &id, NULL);
    await_level(&rig);
    write_command(&rig, &cancels);
    STATE_RAW(&rig.client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    await_missing(&rig);
    struct ty_events_figures before = ty_events_figures(rig.events);
    ask_for_all(&rig);
    attach(&rig, &cancels);
    apply_to(&rig, &cancels, 1, NULL);
    await_level(&rig);
    struct ty_events_figures after = ty_events_figures(rig.events);
    assert_true(after.events_read > before.events_read);
    assert_int_equal(after.replays, before.replays + 1);
    rig_close(&rig);
}

static void on_command(void *context, const rd_kafka_message_t *message)
{
    int64_t *ends = context;
    ends[message->partition] = message->offset + 1;
}

// The ends of transactions are in a topic, and no reader of records comes to them: what was committed is waited for, and nothing else.
static void marks_of_transactions_are_not_waited_for(void **state)
{
    enum { PARTITIONS = 4, TAKEN_BACK = 40 };
    struct rig rig;
    struct reader readers[PARTITIONS];
    int64_t ends[PARTITIONS] = {0};
    (void)state;
    rig_open(&rig, PARTITIONS);
    char *topic TY_FREE = ty_xasprintf("%scancel", rig.prefix);
    for (int32_t i = 0; i < PARTITIONS; i++) {
        readers[i] = (struct reader){.topic = "cancel", .partition = i};
        attach(&rig, &readers[i]);
    }
    await_level(&rig);
    rd_kafka_t *writer = open_transaction_in(&rig, "cancel", 0); // committed
    assert_null(rd_kafka_commit_transaction(writer, 20000));
    rd_kafka_destroy(writer);
    write_command(&rig, &readers[1]); // and then much that is taken back
    writer = open_transaction_in(&rig, "cancel", 1);
    for (int i = 0; i < TAKEN_BACK; i++)
        assert_int_equal(rd_kafka_producev(writer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(1), RD_KAFKA_V_KEY("+", 1),
                                           RD_KAFKA_V_END), 0);
    assert_int_equal(rd_kafka_flush(writer, 20000), 0);
    assert_null(rd_kafka_abort_transaction(writer, 20000));
    rd_kafka_destroy(writer);
    writer = open_transaction_in(&rig, "cancel", 2); // nothing but what was taken back
    assert_null(rd_kafka_abort_transaction(writer, 20000));
    rd_kafka_destroy(writer);
    write_command(&rig, &readers[3]); // one that is hidden behind an open one: it was acknowledged
    writer = open_transaction_in(&rig, "cancel", 3);
    assert_int_equal(write_command(&rig, &readers[3]), 2);
    kafka_broker_read(broker, topic, on_command, ends);
    assert_true(ends[0] == 1 && ends[1] == 1 && ends[2] == 0 && ends[3] == 1);
    STATE_RAW(&rig.client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    await_missing(&rig);
    for (int i = 0; i < PARTITIONS; i++)
        apply_to(&rig, &readers[i], ends[i], NULL);
    await_missing(&rig); // nobody knows yet what comes behind the open one
    assert_null(rd_kafka_abort_transaction(writer, 20000));
    rd_kafka_destroy(writer);
    await_missing(&rig);
    kafka_broker_read(broker, topic, on_command, ends);
    assert_int_equal(ends[3], 3);
    apply_to(&rig, &readers[3], ends[3], NULL);
    await_level(&rig);
    rig_close(&rig);
}

static void delete_records(struct rig *rig, const struct reader *reader, int64_t before)
{
    char text[256], *topic TY_FREE = ty_xasprintf("%s%s", rig->prefix, reader->topic);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", kafka_broker_address(broker), text, sizeof text), RD_KAFKA_CONF_OK);
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, reader->partition)->offset = before;
    rd_kafka_DeleteRecords_t *order = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(handle, &order, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20000);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(order);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(handle);
}

// Retention takes what no intake has read: nobody waits for it for ever.
static void what_kafka_has_no_more_is_not_waited_for(void **state)
{
    struct rig rig;
    struct reader deletes = {.topic = "delete"};
    (void)state;
    patience_ms = 200;
    rig_open(&rig, 1);
    patience_ms = 0;
    await_level(&rig);
    write_command(&rig, &deletes);
    STATE_RAW(&rig.client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    await_missing(&rig);
    delete_records(&rig, &deletes, 1);
    await_level(&rig);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_installation_is_ready_at_once),
        cmocka_unit_test(a_store_that_was_emptied_is_made_again),
        cmocka_unit_test(once_more_changes_nothing),
        cmocka_unit_test(a_replay_that_dies_is_gone_on_with),
        cmocka_unit_test(a_store_that_went_back_is_brought_forward),
        cmocka_unit_test(commands_may_come_first),
        cmocka_unit_test(an_id_that_came_anew_is_the_new_job),
        cmocka_unit_test(an_empty_store_may_wait_for_the_operator),
        cmocka_unit_test(an_open_end_is_not_waited_for),
        cmocka_unit_test(what_was_asked_last_is_there_before_a_job_starts),
        cmocka_unit_test(what_is_asked_while_commands_are_awaited_is_done),
        cmocka_unit_test(marks_of_transactions_are_not_waited_for),
        cmocka_unit_test(what_kafka_has_no_more_is_not_waited_for),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    broker = kafka_broker_new();
    server = redis_server_new(NULL);
    redis_server_start(server);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_free(server);
    kafka_broker_free(broker);
    return failed;
}
