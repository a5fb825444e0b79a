// librdkafka's mock cluster as the broker of the intake's tests: it takes any record and can be told to fail. It waits 3 s on a
// first group join, and longer when a member comes back.
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

struct intake_mock {
    rd_kafka_t *owner;
    rd_kafka_mock_cluster_t *cluster;
};

void intake_mock_start(struct intake_mock *mock);
void intake_mock_stop(struct intake_mock *mock);
// An intake_topics_fn; broker is the struct intake_mock.
void intake_mock_make_topics(void *broker, const char *prefix, int partitions);

// Group set-up and tear-down: intake_broker is this mock.
extern struct intake_mock intake_mock;
int intake_mock_set_up(void **state);
int intake_mock_tear_down(void **state);
