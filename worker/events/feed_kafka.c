// What a feed's thread does with Kafka. Each order ends within about TY_FEED_STEP_MS, or soon after the feed was told to quit.
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "worker/events/feed_internal.h"

#define POLL_MS 50
#define MARKS_MS 500 // Kafka marks the end of a transaction in all partitions within a few ms

// ---- errors ----

static bool is_fence(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
           code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;
}

// That it was fenced is what stands, whatever else fails because of it.
static void fail(struct ty_feed_order *order, rd_kafka_resp_err_t code, const char *what)
{
    if (order->outcome == TY_FEED_FENCED)
        return;
    order->outcome = is_fence(code) ? TY_FEED_FENCED : TY_FEED_FAILED;
    ty_kafka_err(&order->err, code, "Kafka events: %s", what);
}

// Takes error; false when there was none.
static bool failed(struct ty_feed *feed, struct ty_feed_order *order, rd_kafka_error_t *error, const char *what)
{
    if (!error)
        return false;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    if (code == RD_KAFKA_RESP_ERR__FATAL || rd_kafka_error_is_fatal(error)) {
        rd_kafka_resp_err_t inner = rd_kafka_fatal_error(feed->producer, NULL, 0);
        code = inner ? inner : code;
    }
    fail(order, code, what);
    rd_kafka_error_destroy(error);
    return true;
}

// ---- the handles ----

static void on_delivered(rd_kafka_t *handle, const rd_kafka_message_t *message, void *opaque)
{
    struct ty_feed *feed = opaque;
    struct ty_feed_order *order = message->_private;
    (void)handle;
    if (message->err) {
        feed->failed++;
        fail(order, message->err, "not acknowledged");
        return;
    }
    for (size_t i = 0; i < order->sent_count; i++)
        if (order->sent[i].partition == (unsigned)message->partition) {
            if (order->sent[i].next <= message->offset)
                order->sent[i].next = message->offset + 1;
            return;
        }
    if (order->sent_count < TY_FEED_PARTITIONS_MAX)
        order->sent[order->sent_count++] =
            (struct ty_feed_mark){.partition = (unsigned)message->partition, .next = message->offset + 1};
}

static rd_kafka_t *make_handle(struct ty_feed *feed, struct ty_feed_order *order, rd_kafka_type_t type, ty_kafka_setting *settings)
{
    rd_kafka_conf_t *conf;
    rd_kafka_t *handle;
    order->outcome = TY_FEED_FAILED;
    if (ty_kafka_conf(feed->kafka, NULL, settings, &conf, &order->err) < 0)
        return NULL;
    rd_kafka_conf_set_opaque(conf, feed);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    return ty_kafka_handle(type, conf, &handle, &order->err) < 0 ? NULL : handle;
}

static void drop_producer(struct ty_feed *feed)
{
    if (!feed->producer)
        return;
    rd_kafka_purge(feed->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_poll(feed->producer, 0);
    rd_kafka_destroy_flags(feed->producer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    feed->producer = NULL;
}

static void drop_reader(struct ty_feed *feed)
{
    if (feed->reader)
        rd_kafka_destroy_flags(feed->reader, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    feed->reader = NULL;
}

void ty_feed_close(struct ty_feed *feed)
{
    drop_reader(feed);
    drop_producer(feed);
}

// ---- the topic ----

static bool find_partitions(struct ty_feed *feed, struct ty_feed_order *order)
{
    int count;
    rd_kafka_resp_err_t code = ty_feed_find_partitions(feed->producer, feed->topic, &count);
    if (code || count <= 0) {
        fail(order, code ? code : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "its topic is not there, or not known");
        return false;
    }
    if (count > TY_FEED_PARTITIONS_MAX) {
        order->outcome = TY_FEED_FAILED;
        ty_err_set(&order->err, TY_EPRECONDITION, "Kafka events: %d partitions; at most %d are allowed", count,
                   TY_FEED_PARTITIONS_MAX);
        return false;
    }
    order->partitions = feed->partitions = (unsigned)count;
    return true;
}

// By the handle's isolation level: where committed reading ends, or all that there is.
static bool find_ends(struct ty_feed *feed, rd_kafka_t *handle, struct ty_feed_order *order, int64_t *ends)
{
    for (unsigned i = 0; i < feed->partitions; i++) {
        int64_t low = 0, high = 0;
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(handle, feed->topic, (int32_t)i, &low, &high, TY_FEED_STEP_MS);
        if (code) {
            fail(order, code, "where its topic ends is not known");
            return false;
        }
        ends[i] = high > low ? high : 0; // nothing in it: nothing to read
    }
    return true;
}

// One that sees what is not committed, too; NULL: it cannot be had.
static rd_kafka_t *make_uncommitted(struct ty_feed *feed, struct ty_feed_order *order)
{
    ty_kafka_setting settings[] = {{"group.id", feed->transactional_id},
                                   {"isolation.level", "read_uncommitted"},
                                   {"enable.auto.commit", "false"},
                                   {NULL, NULL}};
    return make_handle(feed, order, RD_KAFKA_CONSUMER, settings);
}

// ---- writing ----

static bool produce(struct ty_feed *feed, struct ty_feed_order *order, const struct ty_feed_record *record)
{
    char key[TY_ID_TEXT_BYTES];
    void *value = record->is_null ? NULL : order->bytes.data + record->value_at;
    rd_kafka_resp_err_t code = rd_kafka_producev(
        feed->producer, RD_KAFKA_V_TOPIC(feed->topic), RD_KAFKA_V_KEY(ty_id_format(&record->id, key), TY_ID_TEXT_BYTES - 1),
        RD_KAFKA_V_VALUE(value, record->value_len), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(order),
        RD_KAFKA_V_END);
    if (code)
        fail(order, code, "not taken");
    return !code;
}

static bool wait_for_acks(struct ty_feed *feed, struct ty_feed_order *order)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + TY_FEED_STEP_MS;
    while (rd_kafka_outq_len(feed->producer) > 0 && !feed->failed && !atomic_load(&feed->quit) && ty_clock_mono_ms() < deadline_ms)
        rd_kafka_poll(feed->producer, POLL_MS);
    if (rd_kafka_outq_len(feed->producer) > 0 && !feed->failed)
        fail(order, RD_KAFKA_RESP_ERR__TIMED_OUT, "not acknowledged");
    return !feed->failed && rd_kafka_outq_len(feed->producer) == 0;
}

static bool write_all(struct ty_feed *feed, struct ty_feed_order *order)
{
    feed->failed = 0;
    for (size_t i = 0; i < order->count; i++)
        if (!produce(feed, order, &order->records[i]))
            return false;
    return wait_for_acks(feed, order);
}

// librdkafka says it on a thread of its own, and maybe a little later than that the call has failed.
static bool was_fenced(struct ty_feed *feed)
{
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(feed->producer, NULL, 0);
    for (int i = 0; !fatal && i < 2; i++) {
        rd_kafka_poll(feed->producer, POLL_MS);
        fatal = rd_kafka_fatal_error(feed->producer, NULL, 0);
    }
    return is_fence(fatal);
}

static void do_send(struct ty_feed *feed, struct ty_feed_order *order)
{
    if (!feed->producer) {
        fail(order, RD_KAFKA_RESP_ERR__STATE, "it is not open");
        return;
    }
    order->outcome = TY_FEED_DONE;
    // Whatever goes wrong, the producer is made anew by the next OPEN, which aborts what this one has left.
    if (failed(feed, order, rd_kafka_begin_transaction(feed->producer), "no transaction") || !write_all(feed, order) ||
        failed(feed, order, rd_kafka_commit_transaction(feed->producer, TY_FEED_STEP_MS), "not committed")) {
        if (was_fenced(feed))
            order->outcome = TY_FEED_FENCED;
        drop_producer(feed);
    }
}

// ---- opening ----

static bool sees_all(const struct ty_feed *feed, const int64_t *ends, const int64_t *heads)
{
    for (unsigned i = 0; i < feed->partitions; i++)
        if (ends[i] < heads[i])
            return false;
    return true;
}

// A transaction with a null record, under a key that is no job's id, in each partition that has an open end.
static bool write_ends(struct ty_feed *feed, struct ty_feed_order *order, const int64_t *heads)
{
    static const char key[] = "-";
    if (failed(feed, order, rd_kafka_begin_transaction(feed->producer), "no transaction"))
        return false;
    feed->failed = 0;
    for (unsigned i = 0; i < feed->partitions; i++) {
        rd_kafka_resp_err_t code = order->ends[i] >= heads[i] ? RD_KAFKA_RESP_ERR_NO_ERROR :
            rd_kafka_producev(feed->producer, RD_KAFKA_V_TOPIC(feed->topic), RD_KAFKA_V_PARTITION((int32_t)i),
                              RD_KAFKA_V_KEY(key, sizeof key - 1), RD_KAFKA_V_VALUE(NULL, 0), RD_KAFKA_V_OPAQUE(order), RD_KAFKA_V_END);
        if (code) {
            fail(order, code, "not taken");
            return false;
        }
    }
    return wait_for_acks(feed, order) &&
           !failed(feed, order, rd_kafka_commit_transaction(feed->producer, TY_FEED_STEP_MS), "not committed");
}

static bool find_heads(struct ty_feed *feed, struct ty_feed_order *order, int64_t *heads)
{
    rd_kafka_t *handle = make_uncommitted(feed, order);
    if (!handle)
        return false;
    bool is_known = find_ends(feed, handle, order, heads);
    rd_kafka_destroy_flags(handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return is_known;
}

// No transaction of this id is under way now, and yet a partition may have an open end. Kafka says "committed" before it has
// marked that in each partition; a broker that is killed in between may leave the rest to this producer's next transaction
// there (Kafka 4.3.1 does), and until then readers see nothing of what lies behind. What is read after this is all that was
// committed, but for another writer's open transaction, which is not ours to end.
static bool close_ends(struct ty_feed *feed, struct ty_feed_order *order)
{
    uint64_t began_ms = ty_clock_mono_ms(), now_ms = began_ms;
    int64_t heads[TY_FEED_PARTITIONS_MAX];
    bool has_written = false;
    if (!find_heads(feed, order, heads))
        return false;
    while (!sees_all(feed, order->ends, heads) && !atomic_load(&feed->quit)) {
        if (now_ms - began_ms > MARKS_MS && !has_written) { // they were not just on their way
            if (!write_ends(feed, order, heads))
                return false;
            has_written = true;
            ty_log(TY_LOG_WARN, "events.ends_closed", TY_KV("topic", "%s", feed->topic));
        } else if (now_ms - began_ms > TY_FEED_STEP_MS) {
            ty_log(TY_LOG_WARN, "events.hidden", TY_KV("topic", "%s", feed->topic),
                   TY_KV("error", "%s", "another writer has a transaction open: readers do not see what lies behind it"));
            break;
        }
        rd_kafka_poll(feed->producer, POLL_MS);
        if (!find_ends(feed, feed->producer, order, order->ends))
            return false;
        now_ms = ty_clock_mono_ms();
    }
    order->sent_count = 0;
    return true;
}

static void do_open(struct ty_feed *feed, struct ty_feed_order *order)
{
    ty_kafka_setting settings[] = {{"transactional.id", feed->transactional_id},
                                   {"enable.idempotence", "true"},
                                   {"message.timeout.ms", "2500"},
                                   {"transaction.timeout.ms", "10000"},
                                   {"linger.ms", "0.5"},
                                   {"message.max.bytes", "1200000"},
                                   {"socket.nagle.disable", "true"},
                                   {"topic.metadata.refresh.interval.ms", "5000"},
                                   {NULL, NULL}};
    drop_reader(feed);
    drop_producer(feed);
    feed->producer = make_handle(feed, order, RD_KAFKA_PRODUCER, settings);
    // The one before it is fenced first: what is read after that is all that it has written.
    if (!feed->producer ||
        failed(feed, order, rd_kafka_init_transactions(feed->producer, TY_FEED_STEP_MS), "the transactional id is not to be had") ||
        !find_partitions(feed, order) || !find_ends(feed, feed->producer, order, order->ends) ||
        !close_ends(feed, order)) {
        drop_producer(feed);
        return;
    }
    order->outcome = TY_FEED_DONE;
}

// ---- reading ----

static bool begin_reading(struct ty_feed *feed, struct ty_feed_order *order)
{
    // It is assigned to, and never joins the group; librdkafka wants a name all the same.
    ty_kafka_setting settings[] = {{"group.id", feed->transactional_id},
                                   {"enable.auto.commit", "false"},
                                   {"enable.auto.offset.store", "false"},
                                   {"isolation.level", "read_committed"},
                                   {"enable.partition.eof", "true"},
                                   {"auto.offset.reset", "earliest"},
                                   {"fetch.wait.max.ms", "10"},
                                   {"queued.max.messages.kbytes", "8192"},
                                   {"topic.metadata.refresh.interval.ms", "5000"},
                                   {NULL, NULL}};
    drop_reader(feed);
    feed->ended = 0;
    memset(feed->has_ended, 0, sizeof feed->has_ended);
    feed->reader = make_handle(feed, order, RD_KAFKA_CONSUMER, settings);
    if (!feed->reader)
        return false;
    rd_kafka_poll_set_consumer(feed->reader);
    if (!find_ends(feed, feed->reader, order, order->ends)) {
        drop_reader(feed);
        return false;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)feed->partitions);
    for (unsigned i = 0; i < feed->partitions; i++) {
        // A mark may be beyond what readers may see: Kafka says "committed" before it has marked the end of a transaction in each
        // partition, and a broker that is killed in between may leave that to the next transaction. No end is told of there. Of one
        // that has nothing it is told late.
        feed->has_ended[i] = order->ends[i] == 0 || order->marks[i] >= order->ends[i];
        feed->ended += feed->has_ended[i];
        if (!feed->has_ended[i])
            rd_kafka_topic_partition_list_add(list, feed->topic, (int32_t)i)->offset =
                order->marks[i] < 0 ? RD_KAFKA_OFFSET_BEGINNING : order->marks[i];
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(feed->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        fail(order, code, "its topic cannot be read");
    return !code;
}

static void take(struct ty_feed_order *order, const rd_kafka_message_t *message)
{
    char text[TY_ID_TEXT_BYTES] = "";
    struct ty_err err;
    struct ty_feed_record *record = ty_feed_order_append(order, message->payload, message->len);
    if (message->key_len == TY_ID_TEXT_BYTES - 1)
        memcpy(text, message->key, message->key_len);
    record->is_ours = ty_id_parse(text, &record->id, &err) == 0;
    order->marks[message->partition] = message->offset + 1;
}

static void find_command_ends(struct ty_feed *feed, struct ty_feed_order *order)
{
    rd_kafka_t *all = make_uncommitted(feed, order);
    if (!all)
        return;
    order->outcome = TY_FEED_DONE;
    rd_kafka_resp_err_t code = ty_feed_find_command_ends(feed, all, order);
    if (code)
        fail(order, code, "where the topics settings, cancel and delete end is not known");
    rd_kafka_destroy_flags(all, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

static void do_read(struct ty_feed *feed, struct ty_feed_order *order)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + TY_FEED_STEP_MS;
    if ((order->begins || !feed->reader) && !begin_reading(feed, order))
        return;
    order->outcome = TY_FEED_DONE;
    while (feed->ended < feed->partitions && order->count < TY_FEED_READ_RECORDS && order->bytes.len < TY_FEED_READ_BYTES &&
           !atomic_load(&feed->quit) && ty_clock_mono_ms() < deadline_ms) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(feed->reader, POLL_MS);
        if (!message)
            continue;
        bool is_known = message->partition >= 0 && (unsigned)message->partition < feed->partitions;
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && is_known) {
            feed->ended += !feed->has_ended[message->partition];
            feed->has_ended[message->partition] = true;
            order->marks[message->partition] = message->offset;
        } else if (!message->err && is_known) {
            take(order, message);
        } else if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
            fail(order, message->err, "its topic cannot be read");
        }
        rd_kafka_message_destroy(message);
    }
    order->is_at_end = feed->ended == feed->partitions;
    if (order->is_at_end && feed->reader && order->outcome == TY_FEED_DONE)
        find_command_ends(feed, order);
    if (order->is_at_end)
        drop_reader(feed);
}

void ty_feed_do(struct ty_feed *feed, struct ty_feed_order *order)
{
    switch (order->kind) {
    case TY_FEED_OPEN: do_open(feed, order); break;
    case TY_FEED_CLOSE: ty_feed_close(feed); break;
    case TY_FEED_SEND: do_send(feed, order); break;
    case TY_FEED_READ: do_read(feed, order); break;
    }
}
