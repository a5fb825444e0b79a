#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/id.h"
#include "tests/integration/intake_cases.h"

#define HOUR_MS 3600000u

static void see_reason(void *context, const rd_kafka_message_t *message)
{
    (void)context;
    assert_non_null(strstr(intake_header(message, "trainyard-origin-reason"), "older than horizon-hours"));
}

static struct ty_intake_figures figures(const struct intake_rig *rig)
{
    return intake_node_figures(rig, 0);
}

// Records that are older than the horizon: a job that nothing is known of is not made, everything else is as ever.
void intake_case_horizon(void **state)
{
    struct intake_rig *rig = intake_rig_new(intake_broker.address, intake_broker.make_topics, intake_broker.broker, 1);
    struct ty_id known = ty_id_new(), canceled = ty_id_new(), unknown = ty_id_new(), late = ty_id_new(), young = ty_id_new();
    (void)state;
    intake_horizon_ms = HOUR_MS;
    intake_node_start(rig, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &known, 0);
    intake_send(rig, TY_COMMAND_CANCEL, &canceled, 0);
    intake_flush(rig);
    intake_await(rig, &known, TY_JOB_PENDING);
    RIG_UNTIL(rig, figures(rig).tombstones == 1);
    intake_age_ms = 2 * HOUR_MS;
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &known, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &unknown, 0);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &canceled, 0);
    intake_send(rig, TY_COMMAND_CANCEL, &late, 0);
    intake_age_ms = 0;
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &young, 0);
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).received == 7 && figures(rig).dead_lettered == 1 && figures(rig).tombstones == 2);
    intake_await(rig, &young, TY_JOB_PENDING);
    intake_await(rig, &canceled, TY_JOB_CANCELED);
    intake_await(rig, &known, TY_JOB_PENDING);
    assert_false(intake_look(rig, &unknown).found);
    assert_int_equal(figures(rig).too_old, 1);
    assert_int_equal(figures(rig).duplicates, 1);
    intake_node_stop(rig, 0);
    intake_horizon_ms = 0;
    assert_int_equal(intake_read(rig, "dead-letter", see_reason, NULL), 1);
    assert_int_equal(intake_committed(rig, "submit"), 5); // it is done with
    intake_rig_free(rig);
}
