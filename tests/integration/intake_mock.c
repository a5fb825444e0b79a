#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/buf.h"
#include "tests/integration/intake_cases.h"
#include "tests/integration/intake_mock.h"

struct intake_mock intake_mock;

void intake_mock_start(struct intake_mock *mock)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    assert_int_equal(rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", text, sizeof text), RD_KAFKA_CONF_OK);
    mock->owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    assert_non_null(mock->owner);
    mock->cluster = rd_kafka_handle_mock_cluster(mock->owner);
}

void intake_mock_stop(struct intake_mock *mock)
{
    rd_kafka_destroy(mock->owner);
}

void intake_mock_make_topics(void *broker, const char *prefix, int partitions)
{
    static const char *const names[] = {"submit", "cancel", "delete", "dead-letter"};
    struct intake_mock *mock = broker;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name TY_FREE = ty_xasprintf("%s%s", prefix, names[i]);
        assert_int_equal(rd_kafka_mock_topic_create(mock->cluster, name, i == 3 ? 1 : partitions, 1), 0);
    }
}

int intake_mock_set_up(void **state)
{
    (void)state;
    intake_mock_start(&intake_mock);
    intake_broker = (struct intake_broker){.address = rd_kafka_mock_cluster_bootstraps(intake_mock.cluster),
                                           .make_topics = intake_mock_make_topics,
                                           .broker = &intake_mock,
                                           .takes_over_limit = true};
    return 0;
}

int intake_mock_tear_down(void **state)
{
    (void)state;
    intake_mock_stop(&intake_mock);
    return 0;
}
