// What the thread holds back: a partition that the loop does not keep up with is paused, and all where the whole is too much.
#include <pthread.h>

#include "core/clock.h"
#include "worker/intake/consumer_internal.h"

// How long the thread waits for the loop before it pauses what is full: a pause throws away what librdkafka has fetched, so it
// is for a partition that stands still, not for one that is only busy.
#define RELIEF_MS 50

static bool is_full(const struct ty_consumer *consumer, const struct ty_claimed_partition *claimed, size_t share)
{
    return atomic_load(&claimed->is_held) || atomic_load(&claimed->held_records) > consumer->limits.partition_records / share ||
           atomic_load(&claimed->held_bytes) > consumer->limits.partition_bytes / share;
}

static bool total_is_full(const struct ty_consumer *consumer, size_t share)
{
    return atomic_load(&consumer->held_records) > consumer->limits.total_records / share ||
           atomic_load(&consumer->held_bytes) > consumer->limits.total_bytes / share;
}

// What it holds may be left over from before a start: until something has come since, it must not be paused (see start).
static bool is_to_pause(const struct ty_consumer *consumer, const struct ty_claimed_partition *claimed, bool total_is_full)
{
    return claimed->has_come && !claimed->is_paused &&
           (is_full(consumer, claimed, 1) || (total_is_full && atomic_load(&claimed->held_records) > 0));
}

static bool needs_relief(const struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment;
    bool all = total_is_full(consumer, 1);
    for (size_t i = 0; i < assignment->count; i++)
        if (is_to_pause(consumer, &assignment->partitions[i], all))
            return true;
    return false;
}

static void wait_for_relief(struct ty_consumer *consumer)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += RELIEF_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&consumer->lock);
    bool in_time = true;
    while (in_time && !consumer->orders) {
        // The flag goes up before the look, so that what is let go after the look is heard of.
        atomic_store(&consumer->is_waiting, true);
        if (!needs_relief(consumer))
            break;
        in_time = pthread_cond_timedwait(&consumer->relief, &consumer->lock, &until) == 0;
    }
    atomic_store(&consumer->is_waiting, false);
    pthread_mutex_unlock(&consumer->lock);
}

static void pause_full_ones(struct ty_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    bool all = total_is_full(consumer, 1);
    for (size_t i = 0; i < consumer->assignment->count; i++) {
        struct ty_claimed_partition *claimed = &consumer->assignment->partitions[i];
        if (!is_to_pause(consumer, claimed, all))
            continue;
        claimed->is_paused = consumer->has_paused = true;
        rd_kafka_topic_partition_list_add(list, consumer->topics[claimed->kind], claimed->number);
    }
    if (list->cnt)
        rd_kafka_pause_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void resume_empty_ones(struct ty_consumer *consumer)
{
    if (total_is_full(consumer, 2))
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    consumer->has_paused = false;
    for (size_t i = 0; i < consumer->assignment->count; i++) {
        struct ty_claimed_partition *claimed = &consumer->assignment->partitions[i];
        if (!claimed->is_paused)
            continue;
        if (is_full(consumer, claimed, 2)) {
            consumer->has_paused = true;
            continue;
        }
        claimed->is_paused = false;
        rd_kafka_topic_partition_list_add(list, consumer->topics[claimed->kind], claimed->number);
    }
    if (list->cnt)
        rd_kafka_resume_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void ty_consumer_balance(struct ty_consumer *consumer)
{
    if (!consumer->assignment || consumer->is_holding)
        return;
    if (needs_relief(consumer)) {
        wait_for_relief(consumer);
        pause_full_ones(consumer);
    }
    if (consumer->has_paused)
        resume_empty_ones(consumer);
}
