// Where the topics end whose commands must be in a store that was brought back before it starts a job again, and those without which it
// does not know yet which jobs there are: behind the last record that an intake reads. What Kafka calls the end may lie further: the
// marks of transactions of foreign writers, and what they took back, are no records, and compaction and retention leave holes. So the
// topics are read backwards from there.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "worker/events/feed_internal.h"

#define POLL_MS 50
#define FIRST_STEP 1 // almost always the last offset is a record's
#define STEP_GROWTH 16

#define SUBMIT 3
static const char *const topics[] = {"settings", "delete", "cancel", [SUBMIT] = "submit"};
#define TOPICS (sizeof topics / sizeof *topics)

// A partition that has something.
struct tail {
    size_t topic;
    int32_t number;
    int64_t low, head; // of all that Kafka has of it
    int64_t from, stop; // it is read between these
    int64_t last;       // record below head; -1: none is known
    bool is_wanted;     // reading has not come to stop
    bool is_found;      // last is known, or that there is none
    bool is_hidden;     // an open transaction keeps readers from head: what lies behind its beginning is not known yet
};

struct tails {
    struct ty_feed *feed;
    char *names[TOPICS];
    struct tail *list;
    size_t count, wanted;
};

rd_kafka_resp_err_t ty_feed_find_partitions(rd_kafka_t *handle, const char *topic, int *ret_count)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *known = rd_kafka_topic_new(handle, topic, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(handle, 0, known, &metadata, TY_FEED_STEP_MS);
    rd_kafka_topic_destroy(known);
    *ret_count = 0;
    if (code)
        return code;
    code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (!code)
        *ret_count = metadata->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(metadata);
    return code;
}

// ---- what Kafka has ----

static rd_kafka_resp_err_t add_tail(struct tails *tails, rd_kafka_t *all, size_t topic, int32_t number)
{
    struct tail tail = {.topic = topic, .number = number, .last = -1};
    int64_t low, committed;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(all, tails->names[topic], number, &tail.low, &tail.head, TY_FEED_STEP_MS);
    if (code || tail.head <= tail.low)
        return code;
    code = rd_kafka_query_watermark_offsets(tails->feed->reader, tails->names[topic], number, &low, &committed, TY_FEED_STEP_MS);
    tail.is_hidden = tail.is_found = committed < tail.head;
    tail.stop = tail.from = tail.head;
    tails->list = ty_xrealloc(tails->list, (tails->count + 1) * sizeof *tails->list);
    tails->list[tails->count++] = tail;
    return code;
}

// all: a handle that sees what is not committed, too.
static rd_kafka_resp_err_t find_tails(struct tails *tails, rd_kafka_t *all)
{
    for (size_t i = 0; i < TOPICS; i++) {
        int partitions;
        rd_kafka_resp_err_t code = ty_feed_find_partitions(all, tails->names[i], &partitions);
        if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            continue; // it is not there, and has nothing
        for (int32_t p = 0; p < partitions && !code; p++)
            code = add_tail(tails, all, i, p);
        if (code)
            return code;
    }
    return 0;
}

// ---- backwards ----

static rd_kafka_resp_err_t begin_step(struct tails *tails, int64_t step)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)tails->count);
    tails->wanted = 0;
    for (size_t i = 0; i < tails->count; i++) {
        struct tail *tail = &tails->list[i];
        tail->is_wanted = !tail->is_found;
        if (!tail->is_wanted)
            continue;
        tail->stop = tail->from;
        tail->from = tail->head - tail->low > step ? tail->head - step : tail->low;
        rd_kafka_topic_partition_list_add(list, tails->names[tail->topic], tail->number)->offset = tail->from;
        tails->wanted++;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(tails->feed->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static void end_tail(struct tails *tails, struct tail *tail)
{
    tail->is_wanted = false;
    tail->is_found = tail->last >= 0 || tail->from <= tail->low;
    tails->wanted--;
}

static struct tail *tail_of(const struct tails *tails, const rd_kafka_message_t *message)
{
    for (size_t i = 0; message->rkt && i < tails->count; i++)
        if (tails->list[i].number == message->partition && tails->list[i].is_wanted &&
            !strcmp(tails->names[tails->list[i].topic], rd_kafka_topic_name(message->rkt)))
            return &tails->list[i];
    return NULL;
}

static rd_kafka_resp_err_t take(struct tails *tails, const rd_kafka_message_t *message)
{
    struct tail *tail = tail_of(tails, message);
    if (message->err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        return message->err;
    if (!tail)
        return 0;
    if (!message->err && message->offset < tail->stop)
        tail->last = message->offset;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || (!message->err && message->offset + 1 >= tail->stop))
        end_tail(tails, tail);
    return 0;
}

// As long as Kafka gives something, it takes its time.
static rd_kafka_resp_err_t read_step(struct tails *tails)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + TY_FEED_STEP_MS;
    rd_kafka_resp_err_t code = 0;
    while (tails->wanted && !code) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(tails->feed->reader, POLL_MS);
        uint64_t now_ms = ty_clock_mono_ms();
        if (message && tail_of(tails, message)) // not what comes of a partition that is done
            deadline_ms = now_ms + TY_FEED_STEP_MS;
        if (message) {
            code = take(tails, message);
            rd_kafka_message_destroy(message);
        }
        if (!code && (now_ms >= deadline_ms || atomic_load(&tails->feed->quit)))
            code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    return code;
}

static rd_kafka_resp_err_t find_last(struct tails *tails)
{
    rd_kafka_resp_err_t code = 0;
    for (int64_t step = FIRST_STEP; !code; step *= STEP_GROWTH) {
        code = begin_step(tails, step);
        if (code || !tails->wanted)
            break;
        code = read_step(tails);
    }
    return code;
}

// ---- the answer ----

static void give(const struct tails *tails, struct ty_feed_order *order)
{
    order->command_ends = ty_xcalloc(tails->count + 1, sizeof *order->command_ends);
    for (size_t i = 0; i < tails->count; i++) {
        const struct tail *tail = &tails->list[i];
        if (!tail->is_hidden && tail->last < 0)
            continue;
        if (tail->is_hidden && tail->topic == SUBMIT) // nothing waits for certainty about these
            continue;
        struct ty_topic_end *end = &order->command_ends[order->command_end_count++];
        snprintf(end->partition, sizeof end->partition, "%s/%d", topics[tail->topic], (int)tail->number);
        end->next = tail->is_hidden ? tail->head : tail->last + 1;
        order->has_hidden_ends = order->has_hidden_ends || tail->is_hidden;
    }
}

rd_kafka_resp_err_t ty_feed_find_command_ends(struct ty_feed *feed, rd_kafka_t *all, struct ty_feed_order *order)
{
    struct tails tails = {.feed = feed};
    for (size_t i = 0; i < TOPICS; i++)
        tails.names[i] = ty_xasprintf("%s%s", feed->topic_prefix, topics[i]);
    rd_kafka_resp_err_t code = find_tails(&tails, all);
    if (!code)
        code = find_last(&tails);
    if (!code)
        give(&tails, order);
    for (size_t i = 0; i < TOPICS; i++)
        free(tails.names[i]);
    free(tails.list);
    return code;
}
