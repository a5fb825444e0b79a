// The intake as a worker has it (loop, store, publisher), some of them side by side on one loop, with a real redis-server and
// any broker: what it is fed and what came of it. What does not come in time fails the running cmocka test. Include
// cmocka.h first. One thread.
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/command.h"
#include "core/record.h"
#include "core/state.h"
#include "tests/integration/redis_server.h"
#include "worker/intake/intake.h"

// Makes submit, cancel, delete with `partitions` each, and dead-letter with one, under this prefix.
typedef void (*intake_topics_fn)(void *broker, const char *prefix, int partitions);

struct intake_node {
    struct intake_rig *rig;
    struct ty_state *state;
    struct ty_publisher *publisher;
    struct ty_intake *intake;
    bool is_up, is_stopped, is_ill;
};

struct intake_rig {
    const char *brokers;
    char prefix[64], group[64];
    int partitions;
    unsigned breaker_percent; // of nodes that start from now on; 50 at first
    uint64_t stall_ms;        // of nodes that start from now on; 30000 at first
    char **properties;        // for librdkafka, of nodes that start from now on; NULL at first
    struct redis_server *redis, *own_redis;
    struct ty_loop *loop;
    struct ty_catalog *catalog;
    struct intake_node nodes[2], eye; // the eye has no intake: it looks at jobs
    rd_kafka_t *producer;
};

// How many shards the stores of the rigs made from now on have; 1 at first.
extern unsigned intake_shards;
// How many records of a partition the nodes started from now on apply in one call; 64 at first.
extern unsigned intake_batch_commands;
// Of the nodes started from now on; 0 at first: none.
extern uint64_t intake_horizon_ms;
// How long ago the records that are produced from now on were made; 0 at first. Not in a topic with LogAppendTime.
extern uint64_t intake_age_ms;
// Topics and group of its own; Redis runs, no intake does.
struct intake_rig *intake_rig_new(const char *brokers, intake_topics_fn make_topics, void *broker, int partitions);
void intake_rig_free(struct intake_rig *rig);
// From now on `rig` uses the Redis of `from`, which is freed after it. Before any node starts.
void intake_rig_share_redis(struct intake_rig *rig, struct intake_rig *from);
// A topic was made anew: a producer that knew the old one would mistake the sequence of its records.
void intake_reopen_producer(struct intake_rig *rig);

void intake_rig_turn(struct intake_rig *rig, uint64_t until_ms, const char *condition);
// The loop turns for this long, whatever comes: where a test is about nothing happening.
void intake_rig_turn_for(struct intake_rig *rig, uint64_t ms);
#define RIG_UNTIL(rig, condition)                                                                  \
    do {                                                                                           \
        uint64_t until_ = ty_clock_mono_ms() + 60000;                                              \
        while (!(condition))                                                                       \
            intake_rig_turn((rig), until_, #condition);                                            \
    } while (0)

void intake_node_start(struct intake_rig *rig, size_t node);
// What a node has for its stop, whatever Kafka does.
#define INTAKE_STOP_MS 10000
// The orderly way, and as if the process had been killed.
void intake_node_stop(struct intake_rig *rig, size_t node);
void intake_node_kill(struct intake_rig *rig, size_t node);
// librdkafka fetches nothing from this partition any more, and node 0 does not know: it stands still.
void intake_pause_behind(struct intake_rig *rig, const char *topic, int32_t partition);
struct ty_intake_figures intake_node_figures(const struct intake_rig *rig, size_t node);

// ---- in ----

// The value of a valid command; model_name counts for submits only.
void intake_encode(enum ty_command_kind kind, const struct ty_id *id, const char *model_name, struct ty_buf *out);
// One record; partition -1: by key. Returned at once; intake_flush waits until all are acknowledged.
void intake_produce(struct intake_rig *rig, const char *topic, int32_t partition, const void *key, size_t key_len,
                    const void *value, size_t value_len, rd_kafka_headers_t *headers);
// A valid command.
void intake_send(struct intake_rig *rig, enum ty_command_kind kind, const struct ty_id *id, int32_t partition);
void intake_flush(struct intake_rig *rig);
// Custom submits under new ids.
void intake_send_many(struct intake_rig *rig, struct ty_id *ret_ids, size_t count);

// ---- out ----

struct intake_job {
    bool found;
    enum ty_job_state state;
    unsigned reason;
    char error[512];
};
struct intake_job intake_look(struct intake_rig *rig, const struct ty_id *id);
// Waits until the job is in this state.
void intake_await(struct intake_rig *rig, const struct ty_id *id, enum ty_job_state state);
void intake_await_all(struct intake_rig *rig, const struct ty_id *ids, size_t count, enum ty_job_state state);
// How many of these jobs are there.
size_t intake_count(struct intake_rig *rig, const struct ty_id *ids, size_t count);

// All records of a topic, partition by partition; returns how many.
typedef void (*intake_record_fn)(void *context, const rd_kafka_message_t *message);
size_t intake_read(struct intake_rig *rig, const char *topic, intake_record_fn fn, void *context);
// The last header of this name, or "" when there is none; in static memory.
const char *intake_header(const rd_kafka_message_t *message, const char *name);
// The sum of the group's committed offsets over all partitions of a topic; none counts as 0.
int64_t intake_committed(struct intake_rig *rig, const char *topic);
