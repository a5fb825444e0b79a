// Whether a partition stands still: nothing comes from it, and Kafka says that it has more. The end is asked of Kafka and not of what
// was fetched, for of a partition that is not fetched librdkafka knows nothing new. Where this member has come to is told by its
// records, and at the end by librdkafka's news that there are no more: what is behind the last record may be no record (the mark of a
// transaction), and compaction leaves holes.
#include "core/clock.h"
#include "worker/intake/consumer_internal.h"

#define TICK_MS 1000
// How long Kafka is waited for, in which time nothing is polled; and when it is asked again where it did not answer.
#define ASK_MS 1000
#define ASK_AGAIN_MS 5000
// What Kafka has at the first look may have been written a moment ago, and be on its way: it is looked for once more.
#define SECOND_LOOK_MS 2000
// Behind a backlog of other partitions a record waits its turn. Nothing is said against its partition before as many records as
// librdkafka may have had in its queue (queued.min.messages and one fetch more) have passed, or while the queue is this long.
#define SHORT_RECORDS 1000
#define PASSED_RECORDS 300000

static size_t road_of(const struct ty_claimed_partition *claimed)
{
    return claimed->kind == TY_TOPIC_SUBMIT ? 0 : 1;
}

void ty_consumer_note(struct ty_consumer *consumer, struct ty_claimed_partition *claimed, int64_t next)
{
    claimed->has_come = true;
    claimed->next = next;
    claimed->noted_ms = consumer->polled_at_ms;
    claimed->noted_count = ++consumer->polled[road_of(claimed)];
}

static bool is_quiet(const struct ty_consumer *consumer, struct ty_claimed_partition *claimed, const size_t lengths[TY_ROADS],
                     uint64_t now_ms)
{
    size_t road = road_of(claimed);
    bool is_wanted = claimed->turn && !claimed->is_paused && !atomic_load(&claimed->is_held);
    bool is_next = lengths[road] < SHORT_RECORDS || consumer->polled[road] - claimed->noted_count > PASSED_RECORDS;
    if (!is_wanted)
        claimed->noted_count = consumer->polled[road];
    if (!is_wanted || !is_next)
        claimed->noted_ms = now_ms;
    return now_ms - claimed->noted_ms >= atomic_load(&consumer->patience_ms);
}

// Kafka has more. False: it may have come by the second look.
static bool is_overdue(const struct ty_consumer *consumer, struct ty_claimed_partition *claimed, int64_t end, uint64_t now_ms)
{
    uint64_t patience_ms = atomic_load(&consumer->patience_ms);
    if (claimed->owed > claimed->next) {
        claimed->owed = 0;
        return true;
    }
    claimed->owed = end;
    if (patience_ms > SECOND_LOOK_MS)
        claimed->noted_ms = now_ms - patience_ms + SECOND_LOOK_MS;
    return false;
}

static void ask(struct ty_consumer *consumer, rd_kafka_topic_partition_list_t *quiet)
{
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(consumer->handle, quiet, ASK_MS);
    uint64_t now_ms = ty_clock_mono_ms();
    if (code) {
        consumer->watch_at_ms = now_ms + ASK_AGAIN_MS;
        return;
    }
    for (int i = 0; i < quiet->cnt; i++) {
        const rd_kafka_topic_partition_t *answer = &quiet->elems[i];
        size_t place = ty_consumer_place(consumer, answer->topic, answer->partition);
        if (answer->err || answer->offset < 0 || !place)
            continue;
        struct ty_claimed_partition *claimed = &consumer->assignment->partitions[place - 1];
        struct ty_stall stall = {.next = claimed->next, .end = answer->offset, .quiet_ms = now_ms - claimed->noted_ms};
        claimed->noted_ms = now_ms;
        if (stall.end > stall.next && is_overdue(consumer, claimed, stall.end, now_ms))
            ty_consumer_tell(consumer, &(struct ty_notice){.kind = NOTICE_STALLED, .place = place - 1, .stall = stall});
    }
}

void ty_consumer_watch(struct ty_consumer *consumer)
{
    struct ty_assignment *assignment = consumer->assignment;
    uint64_t now_ms = ty_clock_mono_ms();
    if (!assignment || now_ms < consumer->watch_at_ms)
        return;
    // What this thread did not poll for is no partition's fault.
    bool was_away = now_ms - consumer->watch_at_ms > TICK_MS;
    consumer->watch_at_ms = now_ms + TICK_MS;
    const size_t lengths[TY_ROADS] = {rd_kafka_queue_length(consumer->queue), rd_kafka_queue_length(consumer->urgent)};
    rd_kafka_topic_partition_list_t *quiet = rd_kafka_topic_partition_list_new(8);
    for (size_t i = 0; i < assignment->count; i++) {
        struct ty_claimed_partition *claimed = &assignment->partitions[i];
        if (consumer->is_holding || was_away)
            claimed->noted_ms = now_ms;
        else if (is_quiet(consumer, claimed, lengths, now_ms))
            rd_kafka_topic_partition_list_add(quiet, consumer->topics[claimed->kind], claimed->number)->offset = RD_KAFKA_OFFSET_END;
    }
    if (quiet->cnt)
        ask(consumer, quiet);
    rd_kafka_topic_partition_list_destroy(quiet);
}
