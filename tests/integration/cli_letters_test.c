// trainyard dead-letters against a mock Kafka: what Python's client cannot write, and a broker that refuses.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/kafka.h"
#include "core/letter.h"
#include "producer/letters.h"
#include "tests/integration/cli_fixture.h"
#include "tests/integration/responder_kafka.h"

#define PREFIX "mltraining."
#define DELIVERY_MS 10000
#define READ_MS 20000

static struct mock_kafka *kafka;

static int set_up(void **state)
{
    (void)state;
    cli_clear_environment();
    kafka = mock_kafka_new();
    setenv("TRAINYARD_KAFKA_BROKERS", mock_kafka_brokers(kafka), 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    mock_kafka_free(kafka);
    return 0;
}

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    (void)context;
    (void)partition;
    (void)offset;
    (void)unknown;
    (void)err; // seen by what is there afterwards
}

// The first has neither key nor value, the others have empty ones.
static void put_letters(int count)
{
    struct ty_kafka_options options = {.brokers = mock_kafka_brokers(kafka), .topic_prefix = PREFIX};
    struct ty_publisher *publisher;
    struct ty_err err;
    if (ty_publisher_new(&options, &publisher, &err) < 0)
        fail_msg("%s", err.message);
    for (int i = 0; i < count; i++) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
        rd_kafka_header_add(headers, "nothing", -1, NULL, 0);
        rd_kafka_header_add(headers, "bytes", -1, "\xff\0", 2);
        rd_kafka_header_add(headers, TY_LETTER_TOPIC, -1, PREFIX "delete", -1);
        rd_kafka_header_add(headers, TY_LETTER_REASON, -1, "no \xff UTF-8", -1);
        if (ty_publisher_send_raw(publisher, "dead-letter", i ? "" : NULL, 0, i ? "" : NULL, 0, headers, on_published, NULL, &err) < 0)
            fail_msg("%s", err.message);
    }
    ty_publisher_free(publisher, DELIVERY_MS);
}

static json_t *parse(struct cli *cli)
{
    json_error_t error;
    json_t *json = json_loads(cli_out(cli), 0, &error);
    if (!json)
        fail_msg("%s: %s", error.text, cli_out(cli));
    return json;
}

// ---- what arrives ----

struct seen {
    size_t count, null_keys, empty_keys;
};

static bool has(const struct ty_topic_record *letter, size_t index, const char *name, const char *value, size_t len)
{
    const struct ty_topic_header *header = &letter->headers[index];
    return !strcmp(header->name, name) && header->len == len && !header->value == !value && (!value || !memcmp(header->value, value, len));
}

static void see(struct seen *seen, const struct ty_topic_record *letter)
{
    seen->count++;
    seen->null_keys += !letter->key && !letter->value;
    seen->empty_keys += letter->key && letter->value;
    assert_int_equal(letter->key_len + letter->value_len, 0);
    assert_int_equal(letter->header_count, 3);
    assert_true(has(letter, 0, "nothing", NULL, 0));
    assert_true(has(letter, 1, "bytes", "\xff\0", 2));
    assert_true(has(letter, 2, TY_LETTER_REPLAY_OF, letter->key ? "0/1" : "0/0", 3));
}

static struct seen read_deletes(void)
{
    const char *const settings[][2] = {{"bootstrap.servers", mock_kafka_brokers(kafka)}, {"enable.partition.eof", "true"}};
    struct seen seen = {0};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], NULL, 0), RD_KAFKA_CONF_OK);
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(handle, PREFIX "delete", NULL);
    assert_int_equal(rd_kafka_consume_start(topic, 0, RD_KAFKA_OFFSET_BEGINNING), 0);
    for (bool at_end = false; !at_end;) {
        rd_kafka_message_t *message = rd_kafka_consume(topic, 0, READ_MS);
        rd_kafka_headers_t *headers;
        struct ty_topic_header list[8];
        struct ty_topic_record letter = {.headers = list};
        assert_non_null(message);
        at_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (!message->err && !rd_kafka_message_headers(message, &headers)) {
            letter.key = message->key;
            letter.key_len = message->key_len;
            letter.value = message->payload;
            letter.value_len = message->len;
            const void *value;
            while (letter.header_count < 8 && !rd_kafka_header_get_all(headers, letter.header_count, &list[letter.header_count].name,
                                                                       &value, &list[letter.header_count].len))
                list[letter.header_count++].value = value;
            see(&seen, &letter);
        }
        rd_kafka_message_destroy(message);
    }
    rd_kafka_consume_stop(topic, 0);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(handle);
    return seen;
}

static void test_no_topic(void **state)
{
    (void)state;
    struct cli *cli = cli_expect(6, "dead-letters", "list", "--topic-prefix", "nobody.");
    assert_non_null(strstr(cli_err(cli), "nobody.dead-letter"));
    cli_free(cli);
    cli = cli_expect(3, "dead-letters", "list", "--kafka-brokers", "127.0.0.1:1", "--timeout-ms", "1000");
    assert_non_null(strstr(cli_err(cli), "Connection refused"));
    cli_free(cli);
}

static void test_a_broker_that_refuses(void **state)
{
    (void)state;
    put_letters(2);
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    struct cli *cli = cli_expect(7, "dead-letters", "replay", "--json", "0/0");
    json_t *json = parse(cli), *left = json_object_get(json, "not_replayed");
    assert_int_equal(json_array_size(json_object_get(json, "replayed")), 0);
    assert_int_equal(json_array_size(left), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(left, 0), "letter")), "0/0");
    assert_non_null(strstr(cli_err(cli), "letter 0/0"));
    json_decref(json);
    cli_free(cli);
    assert_int_equal(read_deletes().count, 0);
}

static void test_null_and_empty_stay_apart(void **state)
{
    (void)state;
    struct cli *cli = cli_expect(0, "dead-letters", "replay", "--filter", "reason=*", "--yes");
    assert_non_null(strstr(cli_err(cli), "2 letters replayed"));
    cli_free(cli);
    struct seen seen = read_deletes();
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.null_keys, 1);
    assert_int_equal(seen.empty_keys, 1);
    cli = cli_expect(0, "dead-letters", "show", "0/0");
    assert_non_null(strstr(cli_out(cli), "nothing: (null)"));
    assert_non_null(strstr(cli_out(cli), "(none)"));
    assert_non_null(strstr(cli_out(cli), "it is null"));
    cli_free(cli);
    cli_free(cli_expect(0, "dead-letters", "list"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_topic),
        cmocka_unit_test(test_a_broker_that_refuses),
        cmocka_unit_test(test_null_and_empty_stay_apart),
    };
    return cmocka_run_group_tests_name("cli_letters", tests, set_up, tear_down);
}
