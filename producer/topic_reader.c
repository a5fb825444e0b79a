// The reader is librdkafka's simple consumer: the other one wants a group's name, and asks for that group's coordinator, which an
// operator may have no right to.
#include "producer/topic_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"

#define POLL_MS 100
#define PARTITIONS_MAX 10000

struct part {
    int64_t low, high; // when the reader was opened
    int64_t next;      // to be read
    bool is_read;      // to its end
};

struct ty_topic_reader {
    rd_kafka_t *handle;
    rd_kafka_topic_t *topic;
    char *name;
    uint64_t timeout_ms;
    struct part *parts;
    int32_t count;
    struct ty_topic_header *headers; // of the record that is looked at
    size_t header_cap;
};

// ---- opening ----

static int make_handle(struct ty_topic_reader *reader, const struct ty_kafka_options *kafka, struct ty_err *err)
{
    static ty_kafka_setting settings[] = {
        {"enable.auto.commit", "false"}, {"enable.partition.eof", "true"}, {"auto.offset.reset", "earliest"},
        {"fetch.wait.max.ms", "10"}, {"queued.max.messages.kbytes", "8192"}, {"allow.auto.create.topics", "false"}, {NULL, NULL}};
    rd_kafka_conf_t *conf;
    if (ty_kafka_conf(kafka, NULL, settings, &conf, err) < 0)
        return -(int)err->code;
    return ty_kafka_handle(RD_KAFKA_CONSUMER, conf, &reader->handle, err);
}

// All topics are asked for: asking for one by its name makes some brokers create it, and so does a handle of it.
static int find_partitions(struct ty_topic_reader *reader, struct ty_err *err)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(reader->handle, 1, NULL, &metadata, (int)reader->timeout_ms);
    if (code)
        return ty_kafka_err(err, code, "Kafka does not answer");
    for (int i = 0; i < metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
        if (!strcmp(topic->topic, reader->name) && topic->err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            reader->count = topic->partition_cnt;
            code = topic->err;
        }
    }
    rd_kafka_metadata_destroy(metadata);
    if (code)
        return ty_kafka_err(err, code, "Kafka topic %s", reader->name);
    if (reader->count < 1)
        return ty_err_set(err, TY_EPRECONDITION, "Kafka has no topic %s; see trainyard topics", reader->name);
    if (reader->count > PARTITIONS_MAX)
        return ty_err_set(err, TY_EPRECONDITION, "Kafka topic %s has %" PRId32 " partitions; at most %d are read", reader->name,
                          reader->count, PARTITIONS_MAX);
    reader->parts = ty_xcalloc((size_t)reader->count, sizeof *reader->parts);
    reader->topic = rd_kafka_topic_new(reader->handle, reader->name, NULL);
    return reader->topic ? 0 : ty_kafka_err(err, rd_kafka_last_error(), "Kafka topic %s", reader->name);
}

static int find_ends(struct ty_topic_reader *reader, struct ty_err *err)
{
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int32_t i = 0; !code && i < reader->count; i++)
        code = rd_kafka_query_watermark_offsets(reader->handle, reader->name, i, &reader->parts[i].low, &reader->parts[i].high,
                                                (int)reader->timeout_ms);
    return code ? ty_kafka_err(err, code, "Kafka topic %s: where it ends is not known", reader->name) : 0;
}

int ty_topic_reader_open(const struct ty_kafka_options *kafka, const char *topic, int timeout_ms,
                         struct ty_topic_reader **ret_reader, struct ty_err *err)
{
    struct ty_topic_reader *reader = ty_xcalloc(1, sizeof *reader);
    reader->name = ty_xasprintf("%s%s", kafka->topic_prefix, topic);
    reader->timeout_ms = (uint64_t)timeout_ms;
    int rc = make_handle(reader, kafka, err);
    if (rc == 0)
        rc = find_partitions(reader, err);
    if (rc == 0)
        rc = find_ends(reader, err);
    if (rc < 0)
        ty_topic_reader_close(reader);
    else
        *ret_reader = reader;
    return rc;
}

void ty_topic_reader_close(struct ty_topic_reader *reader)
{
    if (!reader)
        return;
    if (reader->topic)
        rd_kafka_topic_destroy(reader->topic);
    if (reader->handle)
        rd_kafka_destroy(reader->handle);
    free(reader->headers);
    free(reader->parts);
    free(reader->name);
    free(reader);
}

// ---- reading ----

static size_t take_headers(struct ty_topic_reader *reader, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    size_t count = 0, len;
    const char *name;
    const void *value;
    if (rd_kafka_message_headers(message, &headers))
        return 0;
    for (; !rd_kafka_header_get_all(headers, count, &name, &value, &len); count++) {
        if (count == reader->header_cap) {
            reader->header_cap = count ? 2 * count : 16;
            reader->headers = ty_xrealloc(reader->headers, reader->header_cap * sizeof *reader->headers);
        }
        reader->headers[count] = (struct ty_topic_header){name, value, value ? len : 0};
    }
    return count;
}

static int show(struct ty_topic_reader *reader, const rd_kafka_message_t *message, ty_topic_record_fn fn, void *context,
                struct ty_err *err)
{
    rd_kafka_timestamp_type_t type;
    int64_t time_ms = rd_kafka_message_timestamp(message, &type);
    struct ty_topic_record record = {.place = {message->partition, message->offset},
                                    .time_us = time_ms > 0 ? (uint64_t)time_ms * 1000 : 0,
                                    .key = message->key,
                                    .key_len = message->key_len,
                                    .value = message->payload,
                                    .value_len = message->len,
                                    .header_count = take_headers(reader, message)};
    record.headers = reader->headers;
    return fn(context, &record, err);
}

static bool is_done(const struct ty_topic_reader *reader)
{
    int32_t i = 0;
    while (i < reader->count && reader->parts[i].is_read)
        i++;
    return i == reader->count;
}

static int complain(const struct ty_topic_reader *reader, struct ty_err *err)
{
    int32_t i = 0;
    while (reader->parts[i].is_read)
        i++;
    return ty_err_set(err, TY_EDEADLINE, "Kafka topic %s: partition %" PRId32 " was not read beyond offset %" PRId64 " of %" PRId64
                                         ": nothing came for %" PRIu64 " ms",
                      reader->name, i, reader->parts[i].next, reader->parts[i].high, reader->timeout_ms);
}

// Whether the trouble will not pass by itself.
static bool is_final(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || code == RD_KAFKA_RESP_ERR__AUTHENTICATION ||
           code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

static int take(struct ty_topic_reader *reader, const rd_kafka_message_t *message, ty_topic_record_fn fn, void *context,
                struct ty_err *err)
{
    struct part *part = message->partition >= 0 && message->partition < reader->count ? &reader->parts[message->partition] : NULL;
    int rc = 0;
    if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        return is_final(message->err) ? ty_kafka_err(err, message->err, "Kafka topic %s cannot be read", reader->name) : 0;
    if (!part || part->is_read)
        return 0;
    if (message->err)
        part->next = part->high; // the end, and whatever is between is nothing that can be read
    else
        part->next = message->offset + 1;
    if (!message->err && message->offset < part->high)
        rc = show(reader, message, fn, context, err);
    part->is_read = part->next >= part->high;
    return rc;
}

static int read_parts(struct ty_topic_reader *reader, ty_topic_record_fn fn, void *context, struct ty_err *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(reader->handle);
    uint64_t since_ms = ty_clock_mono_ms();
    int rc = 0;
    for (int32_t i = 0; rc == 0 && i < reader->count; i++)
        if (!reader->parts[i].is_read && rd_kafka_consume_start_queue(reader->topic, i, reader->parts[i].next, queue))
            rc = ty_kafka_err(err, rd_kafka_last_error(), "Kafka topic %s cannot be read", reader->name);
    while (rc == 0 && !is_done(reader)) {
        rd_kafka_message_t *message = rd_kafka_consume_queue(queue, POLL_MS);
        if (message) {
            if (!message->err)
                since_ms = ty_clock_mono_ms();
            rc = take(reader, message, fn, context, err);
            rd_kafka_message_destroy(message);
        } else if (ty_clock_mono_ms() - since_ms > reader->timeout_ms) {
            rc = complain(reader, err);
        }
    }
    for (int32_t i = 0; i < reader->count; i++)
        rd_kafka_consume_stop(reader->topic, i); // one that was not started is no matter
    rd_kafka_queue_destroy(queue);
    return rc < 0 ? rc : 0;
}

// Where time_us begins; a broker that cannot say has all of it read.
static void skip_older(struct ty_topic_reader *reader, uint64_t time_us)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(reader->count);
    for (int32_t i = 0; i < reader->count; i++)
        rd_kafka_topic_partition_list_add(list, reader->name, i)->offset = (int64_t)(time_us / 1000);
    if (!rd_kafka_offsets_for_times(reader->handle, list, (int)reader->timeout_ms))
        for (int i = 0; i < list->cnt; i++)
            if (!list->elems[i].err && list->elems[i].offset > reader->parts[list->elems[i].partition].next)
                reader->parts[list->elems[i].partition].next = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
}

struct newer {
    uint64_t since_us;
    ty_topic_record_fn fn;
    void *context;
};

static int pass_newer(void *context, const struct ty_topic_record *record, struct ty_err *err)
{
    const struct newer *newer = context;
    return record->time_us >= newer->since_us ? newer->fn(newer->context, record, err) : 0;
}

int ty_topic_reader_each(struct ty_topic_reader *reader, uint64_t since_us, ty_topic_record_fn fn, void *context, struct ty_err *err)
{
    struct newer newer = {since_us, fn, context};
    for (int32_t i = 0; i < reader->count; i++)
        reader->parts[i].next = reader->parts[i].low;
    if (since_us)
        skip_older(reader, since_us);
    for (int32_t i = 0; i < reader->count; i++)
        reader->parts[i].is_read = reader->parts[i].next >= reader->parts[i].high;
    return read_parts(reader, pass_newer, &newer, err);
}

struct only {
    int64_t offset;
    bool found;
    ty_topic_record_fn fn;
    void *context;
};

static int pass_only(void *context, const struct ty_topic_record *record, struct ty_err *err)
{
    struct only *only = context;
    only->found = record->place.offset == only->offset;
    int rc = only->found ? only->fn(only->context, record, err) : 0;
    return rc < 0 ? rc : 1;
}

int ty_topic_reader_at(struct ty_topic_reader *reader, const struct ty_place *place, ty_topic_record_fn fn, void *context,
                  struct ty_err *err)
{
    struct only only = {.offset = place->offset, .fn = fn, .context = context};
    char text[TY_PLACE_BYTES];
    ty_place_format(place, text);
    if (place->partition >= reader->count)
        return ty_err_set(err, TY_ENOTFOUND, "there is no record %s: the topic %s has the partitions 0 to %" PRId32, text,
                          reader->name, reader->count - 1);
    struct part *part = &reader->parts[place->partition];
    if (part->low >= part->high)
        return ty_err_set(err, TY_ENOTFOUND, "there is no record %s: partition %" PRId32 " of %s is empty", text, place->partition,
                          reader->name);
    if (place->offset < part->low || place->offset >= part->high)
        return ty_err_set(err, TY_ENOTFOUND, "there is no record %s: partition %" PRId32 " of %s has the offsets %" PRId64 " to %" PRId64,
                          text, place->partition, reader->name, part->low, part->high - 1);
    for (int32_t i = 0; i < reader->count; i++)
        reader->parts[i].is_read = true;
    part->is_read = false;
    part->next = place->offset;
    int rc = read_parts(reader, pass_only, &only, err);
    if (rc == 0 && !only.found)
        return ty_err_set(err, TY_ENOTFOUND, "there is no record %s: Kafka has removed it", text);
    return rc;
}
