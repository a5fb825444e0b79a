// What stands in the broker: topics and records. The process: kafka_broker.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "schemas/schemas.h"
#include "tests/integration/kafka_broker.h"

#define PATIENCE_MS 60000
#define TOPICS_MAX 16

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

static rd_kafka_t *open_handle(struct kafka_broker *broker, rd_kafka_type_t type, const char *const (*settings)[2])
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", kafka_broker_address(broker), text, sizeof text))
        fail_msg("%s", text);
    for (; settings && (*settings)[0]; settings++)
        if (rd_kafka_conf_set(conf, (*settings)[0], (*settings)[1], text, sizeof text))
            fail_msg("%s", text);
    rd_kafka_t *handle = rd_kafka_new(type, conf, text, sizeof text);
    if (!handle)
        fail_msg("%s", text);
    return handle;
}

// ---- topics ----

// A topic can be used when each of its partitions has a leader.
static bool is_ready(rd_kafka_t *handle, const char *topic)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *place = rd_kafka_topic_new(handle, topic, NULL);
    bool ready = rd_kafka_metadata(handle, 0, place, &metadata, PATIENCE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR &&
                 metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
                 metadata->topics[0].partition_cnt > 0;
    for (int i = 0; ready && i < metadata->topics[0].partition_cnt; i++)
        ready = metadata->topics[0].partitions[i].err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(place);
    return ready;
}

static rd_kafka_event_t *await_event(rd_kafka_queue_t *queue, const char *what)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    if (!event)
        fail_msg("%s: the broker does not answer", what);
    if (rd_kafka_event_error(event))
        fail_msg("%s: %s", what, rd_kafka_event_error_string(event));
    return event;
}

static void make_topics(struct kafka_broker *broker, rd_kafka_NewTopic_t **topics, char **names, size_t count)
{
    rd_kafka_t *handle = open_handle(broker, RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_CreateTopics(handle, topics, count, NULL, queue);
    rd_kafka_event_t *event = await_event(queue, "CreateTopics");
    size_t results;
    const rd_kafka_topic_result_t **list =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &results);
    for (size_t i = 0; i < results; i++)
        if (rd_kafka_topic_result_error(list[i]))
            fail_msg("%s: %s", rd_kafka_topic_result_name(list[i]), rd_kafka_topic_result_error_string(list[i]));
    rd_kafka_event_destroy(event);
    uint64_t until = ty_clock_mono_ms() + PATIENCE_MS;
    for (size_t i = 0; i < count; i++)
        while (!is_ready(handle, names[i]))
            if (ty_clock_mono_ms() > until)
                fail_msg("%s: no leader", names[i]);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(handle);
    rd_kafka_NewTopic_destroy_array(topics, count);
    for (size_t i = 0; i < count; i++)
        free(names[i]);
}

static rd_kafka_NewTopic_t *new_topic(const char *name, int partitions)
{
    char text[512];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, text, sizeof text);
    if (!topic)
        fail_msg("%s: %s", name, text);
    return topic;
}

void kafka_broker_make_topics(struct kafka_broker *broker, const char *prefix, int partitions)
{
    rd_kafka_NewTopic_t *topics[TOPICS_MAX];
    char *names[TOPICS_MAX];
    size_t i, count = 0;
    json_error_t error;
    json_t *schema = json_loadb((const char *)ty_schema_topics, ty_schema_topics_len, 0, &error), *entry, *value;
    if (!schema)
        fail_msg("topics.json: %s", error.text);
    json_array_foreach(json_object_get(schema, "topics"), i, entry) {
        const char *key;
        assert_true(count < TOPICS_MAX);
        names[count] = ty_xasprintf("%s%s", prefix, json_string_value(json_object_get(entry, "name")));
        topics[count] = new_topic(names[count], partitions ? partitions
                                                           : (int)json_integer_value(json_object_get(entry, "partitions")));
        json_object_foreach(json_object_get(entry, "config"), key, value)
            rd_kafka_NewTopic_set_config(topics[count], key, json_string_value(value));
        count++;
    }
    assert_true(count > 0);
    make_topics(broker, topics, names, count);
    json_decref(schema);
}

void kafka_broker_make_topic(struct kafka_broker *broker, const char *topic, int partitions)
{
    rd_kafka_NewTopic_t *topics[] = {new_topic(topic, partitions)};
    char *names[] = {ty_xstrdup(topic)};
    make_topics(broker, topics, names, 1);
}

void kafka_broker_delete_topic(struct kafka_broker *broker, const char *topic)
{
    rd_kafka_t *handle = open_handle(broker, RD_KAFKA_PRODUCER, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(handle);
    rd_kafka_DeleteTopic_t *topics[] = {rd_kafka_DeleteTopic_new(topic)};
    rd_kafka_DeleteTopics(handle, topics, 1, NULL, queue);
    rd_kafka_event_t *event = await_event(queue, "DeleteTopics");
    size_t results;
    const rd_kafka_topic_result_t **list =
        rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &results);
    for (size_t i = 0; i < results; i++)
        if (rd_kafka_topic_result_error(list[i]))
            fail_msg("%s: %s", rd_kafka_topic_result_name(list[i]), rd_kafka_topic_result_error_string(list[i]));
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(topics[0]);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(handle);
}

// ---- records ----

static void on_delivery(rd_kafka_t *handle, const rd_kafka_message_t *message, void *context)
{
    (void)handle;
    (void)context;
    int64_t *offset = message->_private;
    if (message->err)
        fail_msg("%s: %s", rd_kafka_topic_name(message->rkt), rd_kafka_err2str(message->err));
    *offset = message->offset;
}

int64_t kafka_broker_produce(struct kafka_broker *broker, const char *topic, int32_t partition, const void *key, size_t key_len,
                             const void *value, size_t value_len)
{
    char text[512];
    int64_t offset = -1;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", kafka_broker_address(broker), text, sizeof text) ||
        rd_kafka_conf_set(conf, "message.max.bytes", "16000000", text, sizeof text) ||
        rd_kafka_conf_set(conf, "linger.ms", "0", text, sizeof text))
        fail_msg("%s", text);
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (!handle)
        fail_msg("%s", text);
    rd_kafka_resp_err_t rc =
        rd_kafka_producev(handle, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, key_len),
                          RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                          RD_KAFKA_V_OPAQUE(&offset), RD_KAFKA_V_END);
    if (rc)
        fail_msg("%s: %s", topic, rd_kafka_err2str(rc));
    rc = rd_kafka_flush(handle, PATIENCE_MS);
    if (rc || offset < 0)
        fail_msg("%s: %s", topic, rc ? rd_kafka_err2str(rc) : "no offset");
    rd_kafka_destroy(handle);
    return offset;
}

static int partitions_of(rd_kafka_t *handle, const char *topic)
{
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *place = rd_kafka_topic_new(handle, topic, NULL);
    rd_kafka_resp_err_t rc = rd_kafka_metadata(handle, 0, place, &metadata, PATIENCE_MS);
    if (rc)
        fail_msg("%s: %s", topic, rd_kafka_err2str(rc));
    if (metadata->topics[0].err)
        fail_msg("%s: %s", topic, rd_kafka_err2str(metadata->topics[0].err));
    int count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(place);
    return count;
}

// Aborted and control records take offsets, too, so the end is what the consumer says, not a count.
static size_t read_partition(rd_kafka_t *reader, const char *topic, int32_t partition, kafka_broker_fn fn, void *context)
{
    size_t count = 0;
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(places, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader, places);
    for (bool at_end = false; !at_end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, PATIENCE_MS);
        if (!message)
            fail_msg("%s/%d: nothing comes", topic, partition);
        at_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        // A broker that has just come back is looked for again.
        bool passing = message->err == RD_KAFKA_RESP_ERR__TRANSPORT || message->err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN;
        if (message->err && !at_end && !passing)
            fail_msg("%s/%d: %s", topic, partition, rd_kafka_message_errstr(message));
        if (!message->err) {
            count++;
            if (fn)
                fn(context, message);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(reader, NULL);
    rd_kafka_topic_partition_list_destroy(places);
    return count;
}

size_t kafka_broker_read(struct kafka_broker *broker, const char *topic, kafka_broker_fn fn, void *context)
{
    static const char *const settings[][2] = {{"group.id", "tests-reader"}, {"enable.partition.eof", "true"},
                                              {"enable.auto.commit", "false"}, {"isolation.level", "read_committed"},
                                              {"fetch.wait.max.ms", "10"}, {NULL, NULL}};
    rd_kafka_t *reader = open_handle(broker, RD_KAFKA_CONSUMER, settings);
    rd_kafka_poll_set_consumer(reader);
    size_t count = 0;
    int partitions = partitions_of(reader, topic);
    for (int partition = 0; partition < partitions; partition++)
        count += read_partition(reader, topic, partition, fn, context);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    return count;
}

int64_t kafka_broker_committed(struct kafka_broker *broker, const char *group, const char *topic, int32_t partition)
{
    const char *const settings[][2] = {{"group.id", group}, {NULL, NULL}};
    rd_kafka_t *reader = open_handle(broker, RD_KAFKA_CONSUMER, settings);
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(places, topic, partition);
    rd_kafka_resp_err_t rc = rd_kafka_committed(reader, places, PATIENCE_MS);
    if (rc || places->elems[0].err)
        fail_msg("%s/%d: %s", topic, partition, rd_kafka_err2str(rc ? rc : places->elems[0].err));
    int64_t offset = places->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(places);
    rd_kafka_destroy(reader);
    return offset < 0 ? -1 : offset;
}
