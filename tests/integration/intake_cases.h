// What must hold for the intake with any broker: the test programs name the broker.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "tests/integration/intake_fixture.h"

struct intake_broker {
    const char *address;
    intake_topics_fn make_topics;
    void *broker;
    bool takes_over_limit; // records over a topic's max.message.bytes
};
// Set before the tests run.
extern struct intake_broker intake_broker;

void intake_case_bad_input(void **state);
void intake_case_limit(void **state);
void intake_case_duplicates_and_order(void **state);
void intake_case_refused_submit(void **state);
void intake_case_redis_emptied(void **state);
void intake_case_redis_flushed(void **state);
void intake_case_redis_restored(void **state);
void intake_case_redis_away(void **state);
void intake_case_stop_and_start(void **state);
void intake_case_killed(void **state);
void intake_case_two_share(void **state);
void intake_case_back_pressure(void **state);
void intake_case_horizon(void **state);
