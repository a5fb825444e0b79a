// A partition whose breaker is open: its records wait, its offset stands, and Kafka is not asked for more.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"
#include "worker/intake/intake_internal.h"

static void report(struct ty_partition *partition, bool held)
{
    struct ty_intake *intake = partition->intake;
    if (partition->is_held != held)
        intake->figures.held_partitions += held ? 1 : (size_t)-1;
    ty_intake_set_ill(intake, &partition->is_held, held);
}

static void on_try(void *context)
{
    struct ty_partition *partition = context;
    ty_breaker_try(&partition->breaker);
    if (!partition->waiting) { // nothing is left of what was held: the next that comes is tried
        atomic_store(&partition->claimed->is_held, false);
        report(partition, false);
    }
    ty_partition_pump(partition);
}

void ty_partition_hold(struct ty_partition *partition, int64_t offset, const char *reason)
{
    struct ty_intake *intake = partition->intake;
    uint64_t hold_ms = ty_breaker_take_hold_ms(&partition->breaker);
    intake->figures.breaker_opened++;
    for (struct ty_intake_record *record = partition->waiting; record; record = record->next)
        ty_intake_record_set_aside(record);
    atomic_store(&partition->claimed->is_held, true);
    ty_loop_set_timer(intake->loop, &partition->hold, hold_ms, on_try, partition);
    if (ty_log_limit_take(&intake->breaker_log))
        ty_log(TY_LOG_ERROR, "intake.breaker_open", TY_KV("topic", "%s", ty_topic_kind_name(partition->claimed->kind)),
               TY_KV("partition", "%" PRId32, partition->claimed->number), TY_KV("offset", "%" PRId64, offset),
               TY_KV("reason", "%s", reason), TY_KV("hold_ms", "%" PRIu64, hold_ms),
               TY_KV("message", "%s", "most records are no commands: the partition is held, as in an outage"));
    report(partition, true);
}

void ty_partition_unhold(struct ty_partition *partition)
{
    ty_loop_clear_timer(partition->intake->loop, &partition->hold);
    atomic_store(&partition->claimed->is_held, false);
    if (partition->is_held)
        ty_log(TY_LOG_INFO, "intake.breaker_closed", TY_KV("topic", "%s", ty_topic_kind_name(partition->claimed->kind)),
               TY_KV("partition", "%" PRId32, partition->claimed->number),
               TY_KV("offset", "%" PRId64, partition->expected));
    report(partition, false);
}

void ty_partition_reset_breaker(struct ty_partition *partition)
{
    ty_loop_clear_timer(partition->intake->loop, &partition->hold);
    atomic_store(&partition->claimed->is_held, false);
    report(partition, false);
    ty_breaker_init(&partition->breaker, partition->intake->breaker_percent);
}
