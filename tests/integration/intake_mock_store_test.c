// The intake with the mock cluster: the store comes and goes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "core/log.h"
#include "tests/integration/apart.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"

// The lowest watermark of all shards counts.
static void test_four_shards(void **state)
{
    intake_shards = 4;
    intake_case_redis_emptied(state);
    intake_case_redis_restored(state);
    intake_shards = 1;
}

// Two passes over the partitions, one of librdkafka's thread and one of the consumer's, meet when both are slow.
static void log_slowly(void *context, enum ty_log_level level, const char *line, size_t len)
{
    (void)context;
    (void)level;
    (void)len;
    struct timespec ms = {.tv_nsec = 1000000};
    if (strstr(line, "Start consuming"))
        ms.tv_nsec *= 10;
    else if (!strstr(line, ": Resume ") && !strstr(line, ": Pause "))
        return;
    nanosleep(&ms, NULL);
}

// A partition begins some time after librdkafka was told to start it, and it must hear nothing meanwhile that it takes for newer.
static void test_every_partition_starts_again(void **state)
{
    enum { PARTITIONS = 4, ROUNDS = 6 };
    (void)state;
    char *properties[] = {(char *)"debug=topic,consumer", NULL};
    struct intake_rig *rig = intake_rig_new(intake_broker.address, intake_broker.make_topics, intake_broker.broker, PARTITIONS);
    struct ty_id ids[PARTITIONS];
    for (int32_t i = 0; i < PARTITIONS; i++) {
        ids[i] = ty_id_new();
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &ids[i], i);
    }
    intake_flush(rig);
    ty_log_to(log_slowly, NULL);
    ty_log_setup("trainyard", TY_LOG_DEBUG, TY_LOG_TEXT);
    rig->properties = properties;
    intake_node_start(rig, 0);
    intake_await_all(rig, ids, PARTITIONS, TY_JOB_PENDING);
    for (unsigned round = 0; round < ROUNDS; round++) {
        ty_intake_on_store(rig->nodes[0].intake, false);
        assert_string_equal(redis_server_ask(rig->redis, "FLUSHALL"), "+OK\r\n");
        ty_intake_on_store(rig->nodes[0].intake, true);
        intake_await_all(rig, ids, PARTITIONS, TY_JOB_PENDING);
    }
    intake_node_stop(rig, 0);
    ty_log_setup("trainyard", TY_LOG_INFO, TY_LOG_TEXT);
    ty_log_to(NULL, NULL);
    intake_rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_case_redis_emptied),  cmocka_unit_test(intake_case_redis_flushed),
        cmocka_unit_test(intake_case_redis_restored), cmocka_unit_test(intake_case_redis_away),
        cmocka_unit_test(intake_case_back_pressure),  cmocka_unit_test(test_four_shards),
        cmocka_unit_test(test_every_partition_starts_again),
    };
    return apart_run("intake and store, mock cluster", tests, intake_mock_set_up, intake_mock_tear_down);
}
