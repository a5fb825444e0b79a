// Where the topics end whose commands must be in a store that was brought back before it starts a job again.
#include <stdio.h>
#include <stdlib.h>

#include "core/buf.h"
#include "worker/events/feed_internal.h"

static void add(struct ty_feed_order *order, const char *topic, int partition, int64_t next)
{
    order->command_ends = ty_xrealloc(order->command_ends, (order->command_end_count + 1) * sizeof *order->command_ends);
    struct ty_topic_end *end = &order->command_ends[order->command_end_count++];
    snprintf(end->partition, sizeof end->partition, "%s/%d", topic, partition);
    end->next = next;
}

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

rd_kafka_resp_err_t ty_feed_find_command_ends(struct ty_feed *feed, rd_kafka_t *handle, struct ty_feed_order *order)
{
    static const char *const topics[] = {"settings", "delete", "cancel"};
    order->command_end_count = 0;
    for (size_t i = 0; i < sizeof topics / sizeof *topics; i++) {
        char *topic TY_FREE = ty_xasprintf("%s%s", feed->topic_prefix, topics[i]);
        int partitions;
        rd_kafka_resp_err_t code = ty_feed_find_partitions(handle, topic, &partitions);
        if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            continue; // it is not there, and has nothing
        for (int p = 0; p < partitions && !code; p++) {
            int64_t low = 0, high = 0;
            code = rd_kafka_query_watermark_offsets(handle, topic, p, &low, &high, TY_FEED_STEP_MS);
            if (!code && high > low)
                add(order, topics[i], p, high);
        }
        if (code)
            return code;
    }
    return 0;
}
