#include "tests/integration/responder_kafka.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define PREFIX "mltraining."
#define API_PRODUCE 0
#define PATIENCE_MS 60000

struct mock_kafka {
    rd_kafka_t *handle; // owns the cluster
    rd_kafka_mock_cluster_t *cluster;
};

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    (void)level;
    (void)facility;
    (void)text;
}

static rd_kafka_t *open_handle(rd_kafka_type_t type, const char *const (*settings)[2], size_t count)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    for (size_t i = 0; i < count; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) != RD_KAFKA_CONF_OK)
            fail_msg("%s", text);
    rd_kafka_t *handle = rd_kafka_new(type, conf, text, sizeof text);
    if (!handle)
        fail_msg("%s", text);
    return handle;
}

struct mock_kafka *mock_kafka_new(void)
{
    static const char *const settings[][2] = {{"test.mock.num.brokers", "1"}};
    static const char *const topics[] = {PREFIX "submit", PREFIX "cancel", PREFIX "delete", PREFIX "dead-letter", PREFIX "settings"};
    struct mock_kafka *kafka = ty_xcalloc(1, sizeof *kafka);
    kafka->handle = open_handle(RD_KAFKA_PRODUCER, settings, 1);
    kafka->cluster = rd_kafka_handle_mock_cluster(kafka->handle);
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++)
        if (rd_kafka_mock_topic_create(kafka->cluster, topics[i], 1, 1))
            fail_msg("%s cannot be made", topics[i]);
    return kafka;
}

void mock_kafka_free(struct mock_kafka *kafka)
{
    if (!kafka)
        return;
    rd_kafka_destroy(kafka->handle);
    free(kafka);
}

const char *mock_kafka_brokers(const struct mock_kafka *kafka)
{
    return rd_kafka_mock_cluster_bootstraps(kafka->cluster);
}

void mock_kafka_set_delay(struct mock_kafka *kafka, int delay_ms)
{
    rd_kafka_mock_broker_set_rtt(kafka->cluster, 1, delay_ms);
}

void mock_kafka_refuse_produce(struct mock_kafka *kafka, rd_kafka_resp_err_t error, size_t count)
{
    rd_kafka_resp_err_t *errors = ty_xcalloc(count, sizeof *errors);
    for (size_t i = 0; i < count; i++)
        errors[i] = error;
    rd_kafka_mock_push_request_errors_array(kafka->cluster, API_PRODUCE, count, errors);
    free(errors);
}

size_t mock_kafka_read(struct mock_kafka *kafka, const char *topic, enum ty_topic_kind kind, mock_kafka_fn fn,
                       void *context)
{
    const char *const settings[][2] = {{"bootstrap.servers", mock_kafka_brokers(kafka)}, {"group.id", "reader"},
                                       {"enable.partition.eof", "true"}, {"fetch.wait.max.ms", "10"}};
    char *name TY_FREE = ty_xasprintf(PREFIX "%s", topic);
    rd_kafka_t *reader = open_handle(RD_KAFKA_CONSUMER, settings, 4);
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(places, name, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(reader, places);
    size_t count = 0;
    for (bool at_end = false; !at_end;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, PATIENCE_MS);
        struct ty_command command;
        struct ty_err err;
        bool has_id;
        if (!message || (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF))
            fail_msg("%s: %s", name, message ? rd_kafka_message_errstr(message) : "nothing comes");
        at_end = message->err != 0;
        if (!at_end) {
            if (ty_command_decode(kind, message->key, message->key_len, message->payload, message->len, &command, &has_id,
                                  &err) < 0)
                fail_msg("%s: %s", name, err.message);
            if (fn)
                fn(context, &command);
            ty_command_done(&command);
            count++;
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_topic_partition_list_destroy(places);
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
    return count;
}
