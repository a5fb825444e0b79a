#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/intake_fixture.h"
#include "worker/intake/consumer_internal.h"
#include "worker/intake/intake_internal.h"

#define PATIENCE_MS 60000
#define AWAIT_MS 60000

unsigned intake_shards = 1;
unsigned intake_batch_commands = 64;
uint64_t intake_horizon_ms, intake_age_ms;

// ---- nodes ----

static struct ty_kafka_options kafka_options(const struct intake_rig *rig)
{
    return (struct ty_kafka_options){.brokers = rig->brokers, .client_id = "test", .topic_prefix = rig->prefix, .properties = rig->properties};
}

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct intake_node *node = context;
    (void)err;
    node->is_up = up;
    if (node->intake)
        ty_intake_on_store(node->intake, up);
}

static void open_state(struct intake_rig *rig, struct intake_node *node)
{
    struct ty_err err;
    struct ty_state_options options = {
        .redis_url = redis_server_url(rig->redis), .shards = intake_shards, .command_ms = 2000, .tombstone_ms = 691200000,
        .horizon_ms = intake_horizon_ms};
    node->rig = rig;
    if (ty_state_new(rig->loop, &options, on_up, node, &node->state, &err) < 0)
        fail_msg("%s", err.message);
}

static void on_health(void *context, bool is_well)
{
    struct intake_node *node = context;
    assert_true(node->is_ill == is_well);
    node->is_ill = !is_well;
}

void intake_node_start(struct intake_rig *rig, size_t at)
{
    struct intake_node *node = &rig->nodes[at];
    struct ty_intake_options options = {
        .kafka = kafka_options(rig), .group_id = rig->group, .batch_commands = intake_batch_commands, .batch_bytes = 1024 * 1024,
        .breaker_percent = rig->breaker_percent, .stall_ms = rig->stall_ms, .health_fn = on_health, .health_context = node};
    struct ty_err err;
    *node = (struct intake_node){0};
    open_state(rig, node);
    if (ty_publisher_new(&options.kafka, &node->publisher, &err) < 0 ||
        ty_intake_new(rig->loop, node->state, rig->catalog, node->publisher, &options, &node->intake, &err) < 0)
        fail_msg("%s", err.message);
}

static void on_stopped(void *context)
{
    struct intake_node *node = context;
    node->is_stopped = true;
}

static void close_node(struct intake_node *node)
{
    ty_intake_free(node->intake);
    ty_publisher_free(node->publisher, 0);
    ty_state_free(node->state);
    *node = (struct intake_node){0};
}

void intake_node_stop(struct intake_rig *rig, size_t at)
{
    struct intake_node *node = &rig->nodes[at];
    ty_intake_stop(node->intake, INTAKE_STOP_MS, on_stopped, node);
    RIG_UNTIL(rig, node->is_stopped);
    close_node(node);
}

void intake_node_kill(struct intake_rig *rig, size_t at)
{
    close_node(&rig->nodes[at]);
}

void intake_pause_behind(struct intake_rig *rig, const char *topic, int32_t partition)
{
    const struct ty_consumer *consumer = rig->nodes[0].intake->consumer;
    if (!consumer) // between two
        return;
    char *name TY_FREE = ty_xasprintf("%s%s", rig->prefix, topic);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, name, partition);
    rd_kafka_pause_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

struct ty_intake_figures intake_node_figures(const struct intake_rig *rig, size_t at)
{
    return ty_intake_figures(rig->nodes[at].intake);
}

// ---- the rig ----

static void on_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)handle;
    (void)level;
    (void)facility;
    (void)text;
}

static rd_kafka_t *open_handle(const struct intake_rig *rig, rd_kafka_type_t type, const char *const (*settings)[2])
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", rig->brokers, text, sizeof text))
        fail_msg("%s", text);
    for (; (*settings)[0]; settings++)
        if (rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], text, sizeof text))
            fail_msg("%s", text);
    rd_kafka_t *handle = rd_kafka_new(type, conf, text, sizeof text);
    if (!handle)
        fail_msg("%s", text);
    return handle;
}

static rd_kafka_t *open_producer(const struct intake_rig *rig)
{
    // Idempotent: without that, a batch that a topic's first moments refuse (no leader yet) is sent again behind its successors.
    static const char *const settings[][2] = {
        {"linger.ms", "1"}, {"message.max.bytes", "4000000"}, {"enable.idempotence", "true"}, {NULL, NULL}};
    return open_handle(rig, RD_KAFKA_PRODUCER, settings);
}

struct intake_rig *intake_rig_new(const char *brokers, intake_topics_fn make_topics, void *broker, int partitions)
{
    static unsigned count;
    struct intake_rig *rig = ty_xcalloc(1, sizeof *rig);
    struct ty_err err;
    rig->brokers = brokers;
    rig->partitions = partitions;
    rig->breaker_percent = 50;
    rig->stall_ms = 30000;
    snprintf(rig->prefix, sizeof rig->prefix, "t%u.", ++count);
    snprintf(rig->group, sizeof rig->group, "intake-%u", count);
    make_topics(broker, rig->prefix, partitions);
    rig->redis = rig->own_redis = redis_server_new(NULL);
    redis_server_start(rig->redis);
    rig->loop = ty_loop_new(&err);
    assert_non_null(rig->loop);
    if (ty_catalog_load(NULL, &rig->catalog, &err) < 0)
        fail_msg("%s", err.message);
    rig->producer = open_producer(rig);
    open_state(rig, &rig->eye);
    return rig;
}

void intake_rig_share_redis(struct intake_rig *rig, struct intake_rig *from)
{
    close_node(&rig->eye);
    rig->redis = from->redis;
    open_state(rig, &rig->eye);
}

void intake_reopen_producer(struct intake_rig *rig)
{
    rd_kafka_destroy(rig->producer);
    rig->producer = open_producer(rig);
}

void intake_rig_free(struct intake_rig *rig)
{
    if (!rig)
        return;
    close_node(&rig->nodes[0]);
    close_node(&rig->nodes[1]);
    close_node(&rig->eye);
    rd_kafka_destroy(rig->producer);
    ty_catalog_free(rig->catalog);
    ty_loop_free(rig->loop);
    redis_server_free(rig->own_redis);
    free(rig);
}

void intake_rig_turn(struct intake_rig *rig, uint64_t until_ms, const char *condition)
{
    struct ty_err err;
    uint64_t now_ms = ty_clock_mono_ms();
    if (now_ms >= until_ms)
        fail_msg("waited in vain for: %s", condition);
    assert_int_equal(ty_loop_run_once(rig->loop, (int)(until_ms - now_ms), &err), 0);
}

void intake_rig_turn_for(struct intake_rig *rig, uint64_t ms)
{
    struct ty_err err;
    uint64_t until_ms = ty_clock_mono_ms() + ms;
    for (uint64_t now_ms; (now_ms = ty_clock_mono_ms()) < until_ms;)
        assert_int_equal(ty_loop_run_once(rig->loop, (int)(until_ms - now_ms), &err), 0);
}

// ---- in ----

void intake_encode(enum ty_command_kind kind, const struct ty_id *id, const char *model_name, struct ty_buf *out)
{
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest submit =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel = VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__DeleteCompletedTrainingJobRequest delete_ =
        VIAM__APP__MLTRAINING__V1__DELETE_COMPLETED_TRAINING_JOB_REQUEST__INIT;
    struct ty_id command_id = ty_id_new();
    const ProtobufCMessage *request = kind == TY_COMMAND_CANCEL   ? &cancel.base
                                      : kind == TY_COMMAND_DELETE ? &delete_.base
                                                                  : &submit.base;
    submit.organization_id = (char *)"acme";
    submit.dataset_id = (char *)"digits";
    submit.model_name = (char *)model_name;
    submit.model_version = (char *)"1";
    submit.registry_item_id = (char *)"acme:digits";
    ty_command_encode(kind, id, command_id.bytes, ty_clock_wall_us(), "test", NULL, request, out);
}

void intake_produce(struct intake_rig *rig, const char *topic, int32_t partition, const void *key, size_t key_len,
                    const void *value, size_t value_len, rd_kafka_headers_t *headers)
{
    char *name TY_FREE = ty_xasprintf("%s%s", rig->prefix, topic);
    int64_t time_ms = (int64_t)(ty_clock_wall_us() / 1000 - intake_age_ms);
    rd_kafka_resp_err_t code =
        headers ? rd_kafka_producev(rig->producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_TIMESTAMP(time_ms),
                                    RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_VALUE((void *)value, value_len),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END)
                : rd_kafka_producev(rig->producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_TIMESTAMP(time_ms),
                                    RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_VALUE((void *)value, value_len),
                                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (code)
        fail_msg("%s: %s", name, rd_kafka_err2str(code));
}

void intake_send(struct intake_rig *rig, enum ty_command_kind kind, const struct ty_id *id, int32_t partition)
{
    char key[TY_ID_TEXT_BYTES];
    TY_BUF(value);
    intake_encode(kind, id, "digits", &value);
    intake_produce(rig, kind == TY_COMMAND_CANCEL ? "cancel" : kind == TY_COMMAND_DELETE ? "delete" : "submit", partition,
                   ty_id_format(id, key), TY_ID_TEXT_BYTES - 1, value.data, value.len, NULL);
}

void intake_flush(struct intake_rig *rig)
{
    rd_kafka_resp_err_t code = rd_kafka_flush(rig->producer, PATIENCE_MS);
    if (code)
        fail_msg("not acknowledged: %s", rd_kafka_err2str(code));
}

void intake_send_many(struct intake_rig *rig, struct ty_id *ret_ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ret_ids[i] = ty_id_new();
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &ret_ids[i], -1);
    }
    intake_flush(rig);
}

// ---- out ----

struct look {
    bool is_over;
    struct intake_job job;
};

static void on_look(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct look *look = context;
    look->is_over = true;
    if (err || !record)
        return;
    TY_BUF(bytes);
    ty_record_metadata(record, &bytes);
    Viam__App__Mltraining__V1__TrainingJobMetadata *metadata =
        viam__app__mltraining__v1__training_job_metadata__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(metadata);
    look->job = (struct intake_job){.found = true, .state = record->state, .reason = record->reason};
    if (metadata->error_status)
        snprintf(look->job.error, sizeof look->job.error, "%s", metadata->error_status->message);
    viam__app__mltraining__v1__training_job_metadata__free_unpacked(metadata, NULL);
}

struct intake_job intake_look(struct intake_rig *rig, const struct ty_id *id)
{
    struct look look = {0};
    ty_state_get(rig->eye.state, id, on_look, &look);
    RIG_UNTIL(rig, look.is_over);
    return look.job;
}

static bool is_in(struct intake_rig *rig, const struct ty_id *id, enum ty_job_state state)
{
    struct intake_job job = intake_look(rig, id);
    // There is no publisher here to say that a new store is whole, and nobody who has jobs: a cancel stays held.
    bool is_held = state == TY_JOB_CANCELED && job.state == TY_JOB_CANCELING;
    return job.found && (job.state == state || is_held);
}

void intake_await(struct intake_rig *rig, const struct ty_id *id, enum ty_job_state state)
{
    uint64_t until_ms = ty_clock_mono_ms() + AWAIT_MS;
    // Nothing tells of a job that has changed: the loop may go to sleep on it, so it is looked at again and again.
    while (!is_in(rig, id, state)) {
        if (ty_clock_mono_ms() > until_ms)
            fail_msg("waited in vain for a job to be %s", ty_state_name(state));
        intake_rig_turn_for(rig, 2);
    }
}

void intake_await_all(struct intake_rig *rig, const struct ty_id *ids, size_t count, enum ty_job_state state)
{
    for (size_t i = 0; i < count; i++)
        intake_await(rig, &ids[i], state);
}

size_t intake_count(struct intake_rig *rig, const struct ty_id *ids, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += intake_look(rig, &ids[i]).found;
    return found;
}

static int partitions_of(const struct intake_rig *rig, const char *topic)
{
    const struct rd_kafka_metadata *metadata;
    char *name TY_FREE = ty_xasprintf("%s%s", rig->prefix, topic);
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rig->producer, name, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(rig->producer, 0, handle, &metadata, PATIENCE_MS);
    if (code)
        fail_msg("%s: %s", name, rd_kafka_err2str(code));
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(handle);
    return count;
}

size_t intake_read(struct intake_rig *rig, const char *topic, intake_record_fn fn, void *context)
{
    static const char *const settings[][2] = {{"group.id", "reader"}, {"enable.partition.eof", "true"},
                                              {"enable.auto.commit", "false"}, {"fetch.wait.max.ms", "10"},
                                              {"fetch.message.max.bytes", "4000000"}, {NULL, NULL}};
    char *name TY_FREE = ty_xasprintf("%s%s", rig->prefix, topic);
    rd_kafka_t *reader = open_handle(rig, RD_KAFKA_CONSUMER, settings);
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(1);
    int left = partitions_of(rig, topic);
    for (int i = 0; i < left; i++)
        rd_kafka_topic_partition_list_add(places, name, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader, places);
    size_t count = 0;
    while (left) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, PATIENCE_MS);
        if (!message || (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF))
            fail_msg("%s: %s", name, message ? rd_kafka_message_errstr(message) : "nothing comes");
        left -= message->err != 0;
        if (!message->err) {
            count++;
            if (fn)
                fn(context, message);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_topic_partition_list_destroy(places);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    return count;
}

const char *intake_header(const rd_kafka_message_t *message, const char *name)
{
    static char text[1024];
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;
    *text = 0;
    if (!rd_kafka_message_headers(message, &headers) && !rd_kafka_header_get_last(headers, name, &value, &len))
        snprintf(text, sizeof text, "%.*s", (int)len, (const char *)value);
    return text;
}

int64_t intake_committed(struct intake_rig *rig, const char *topic)
{
    const char *const settings[][2] = {{"group.id", rig->group}, {NULL, NULL}};
    char *name TY_FREE = ty_xasprintf("%s%s", rig->prefix, topic);
    rd_kafka_t *reader = open_handle(rig, RD_KAFKA_CONSUMER, settings);
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(1);
    for (int i = 0; i < rig->partitions; i++)
        rd_kafka_topic_partition_list_add(places, name, i);
    rd_kafka_resp_err_t code = rd_kafka_committed(reader, places, PATIENCE_MS);
    if (code)
        fail_msg("%s: %s", name, rd_kafka_err2str(code));
    int64_t sum = 0;
    for (int i = 0; i < places->cnt; i++)
        sum += places->elems[i].offset > 0 ? places->elems[i].offset : 0;
    rd_kafka_topic_partition_list_destroy(places);
    rd_kafka_destroy(reader);
    return sum;
}
