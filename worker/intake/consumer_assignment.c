// The thread's assignment: what the group gives and takes, where it starts, what of it may be committed.
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "worker/intake/consumer_internal.h"

#define RETRY_MS 200
#define QUERY_MS 3000

static rd_kafka_topic_partition_list_t *list_of(const struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)assignment->count);
    for (size_t i = 0; i < assignment->count; i++)
        rd_kafka_topic_partition_list_add(list, consumer->topics[assignment->partitions[i].kind],
                                          assignment->partitions[i].number);
    return list;
}

// Tells librdkafka what may be committed.
void ty_consumer_store_done(struct ty_consumer *consumer)
{
    struct ty_assignment *assignment = consumer->assignment;
    rd_kafka_topic_partition_list_t *forward = NULL, *back = NULL;
    for (size_t i = 0; assignment && i < assignment->count; i++) {
        struct ty_claimed_partition *claimed = &assignment->partitions[i];
        int64_t done = atomic_load(&claimed->done);
        if (done < 0 || done == claimed->stored)
            continue;
        // A lower offset is never committed by itself; it is meant when Kafka went back.
        rd_kafka_topic_partition_list_t **list = done < claimed->stored ? &back : &forward;
        if (!*list)
            *list = rd_kafka_topic_partition_list_new(8);
        rd_kafka_topic_partition_list_add(*list, consumer->topics[claimed->kind], claimed->number)->offset = done;
        claimed->stored = done;
    }
    if (back) {
        rd_kafka_commit(consumer->handle, back, 1);
        rd_kafka_topic_partition_list_destroy(back);
    }
    if (forward) {
        rd_kafka_offsets_store(consumer->handle, forward); // a partition that is not ours any more: its new owner commits
        rd_kafka_topic_partition_list_destroy(forward);
    }
}

static void forget_assignment(struct ty_consumer *consumer)
{
    ty_consumer_hand_over(consumer); // so that no record comes behind the end of its assignment
    if (consumer->assigned)
        rd_kafka_topic_partition_list_destroy(consumer->assigned);
    consumer->assigned = NULL;
    for (size_t kind = 0; kind < TY_TOPIC_KINDS; kind++) {
        free(consumer->places[kind]);
        consumer->places[kind] = NULL;
        consumer->place_count[kind] = 0;
    }
    consumer->is_holding = consumer->has_paused = false;
    if (consumer->assignment)
        ty_consumer_tell(consumer, &(struct ty_notice){.kind = NOTICE_REVOKED, .assignment = consumer->assignment});
    consumer->assignment = NULL;
    consumer->epoch++;
}

void ty_consumer_on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
                              void *opaque)
{
    struct ty_consumer *consumer = opaque;
    ty_consumer_store_done(consumer);
    forget_assignment(consumer);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        // In the group with nothing to fetch: where to start is the store's to say.
        rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);
        rd_kafka_resp_err_t refused = rd_kafka_assign(handle, nothing);
        if (refused)
            ty_consumer_complain(consumer, "intake.assign_failed", refused, rd_kafka_err2str(refused));
        rd_kafka_topic_partition_list_destroy(nothing);
        consumer->assigned = rd_kafka_topic_partition_list_copy(partitions);
        consumer->announce_at_ms = 0;
        return;
    }
    if (code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        ty_consumer_complain(consumer, "intake.rebalance_failed", code, rd_kafka_err2str(code));
    rd_kafka_assign(handle, NULL);
}

// TY_TOPIC_KINDS for a topic that is not ours.
static size_t kind_of(const struct ty_consumer *consumer, const char *topic)
{
    size_t kind = 0;
    while (kind < TY_TOPIC_KINDS && strcmp(consumer->topics[kind], topic) != 0)
        kind++;
    return kind;
}

size_t ty_consumer_place(const struct ty_consumer *consumer, const char *topic, int32_t number)
{
    size_t kind = kind_of(consumer, topic);
    return consumer->assignment && kind < TY_TOPIC_KINDS && number >= 0 && number < consumer->place_count[kind]
               ? consumer->places[kind][number]
               : 0;
}

static void add_partition(struct ty_consumer *consumer, const rd_kafka_topic_partition_t *from)
{
    struct ty_assignment *assignment = consumer->assignment;
    size_t kind = kind_of(consumer, from->topic);
    if (kind == TY_TOPIC_KINDS)
        return;
    struct ty_claimed_partition *claimed = &assignment->partitions[assignment->count++];
    *claimed = (struct ty_claimed_partition){.consumer = consumer,
                                             .kind = (enum ty_topic_kind)kind,
                                             .number = from->partition,
                                             .committed = from->offset >= 0 ? from->offset : -1,
                                             .stored = -1};
    atomic_store(&claimed->done, -1);
    if (from->partition >= consumer->place_count[kind]) {
        size_t had = (size_t)consumer->place_count[kind], count = (size_t)from->partition + 1;
        consumer->places[kind] = ty_xrealloc(consumer->places[kind], count * sizeof(uint32_t));
        memset(consumer->places[kind] + had, 0, (count - had) * sizeof(uint32_t));
        consumer->place_count[kind] = from->partition + 1;
    }
    consumer->places[kind][from->partition] = (uint32_t)assignment->count;
}

// Asks Kafka for its cluster id and the group's offsets, and tells the loop. What fails is tried again.
void ty_consumer_announce(struct ty_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = consumer->assigned;
    char *cluster_id = rd_kafka_clusterid(consumer->handle, QUERY_MS);
    rd_kafka_resp_err_t code = cluster_id ? rd_kafka_committed(consumer->handle, list, QUERY_MS)
                                          : RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int i = 0; !code && i < list->cnt; i++)
        code = list->elems[i].err;
    if (code) {
        ty_consumer_complain(consumer, "intake.offsets_unknown", code, rd_kafka_err2str(code));
        rd_kafka_mem_free(consumer->handle, cluster_id);
        consumer->announce_at_ms = ty_clock_mono_ms() + RETRY_MS;
        return;
    }
    struct ty_assignment *assignment = ty_xcalloc(1, sizeof *assignment);
    assignment->epoch = consumer->epoch;
    assignment->cluster_id = ty_xstrdup(cluster_id);
    assignment->partitions = ty_xcalloc((size_t)list->cnt + 1, sizeof *assignment->partitions);
    rd_kafka_mem_free(consumer->handle, cluster_id);
    consumer->assignment = assignment;
    for (int i = 0; i < list->cnt; i++)
        add_partition(consumer, &list->elems[i]);
    consumer->assigned = NULL;
    rd_kafka_topic_partition_list_destroy(list);
    ty_consumer_tell(consumer, &(struct ty_notice){.kind = NOTICE_ASSIGNED, .assignment = assignment});
}

void ty_consumer_take_start(struct ty_consumer *consumer, const struct ty_order *order)
{
    struct ty_assignment *assignment = consumer->assignment;
    if (!assignment || order->epoch != consumer->epoch || order->count != assignment->count)
        return;
    rd_kafka_topic_partition_list_t *list = list_of(consumer);
    for (size_t i = 0; i < assignment->count; i++) {
        struct ty_claimed_partition *claimed = &assignment->partitions[i];
        claimed->turn = order->turn;
        claimed->is_paused = claimed->has_come = false;
        claimed->noted_ms = ty_clock_mono_ms();
        claimed->next = order->from[i];
        claimed->owed = 0;
        // 0 is as good as the earliest, which is where librdkafka goes from an offset that is not there, and is not asked for.
        list->elems[i].offset = order->from[i];
    }
    consumer->is_holding = consumer->has_paused = false;
    consumer->roads_at_ms = 0;
    // A pause outlives an assignment in some versions of librdkafka. The resume comes first: a partition that was fetched from
    // begins some time after rd_kafka_assign has returned, and a pause or a resume meanwhile can make librdkafka throw its order
    // to begin away, as older than they are; nothing would ever come from it (librdkafka #2190, #5591).
    rd_kafka_resume_partitions(consumer->handle, list);
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->handle, list);
    if (code)
        ty_consumer_complain(consumer, "intake.assign_failed", code, rd_kafka_err2str(code));
    rd_kafka_topic_partition_list_destroy(list);
}

void ty_consumer_take_hold(struct ty_consumer *consumer)
{
    if (!consumer->assignment || consumer->is_holding)
        return;
    consumer->is_holding = true;
    rd_kafka_topic_partition_list_t *list = list_of(consumer);
    rd_kafka_pause_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}
