// A partition: its records become batches. A batch grows as long as the one before it is on its way; on an idle partition it leaves
// with the record that began it. Its breaker is asked before a batch goes.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/log.h"
#include "worker/intake/batch.h"
#include "worker/intake/intake_internal.h"

// ---- the breaker ----

// What the group had passed before is applied again, and its letters are known: no outage of now.
static bool counts(const struct ty_partition *partition, const struct ty_intake_entry *entry)
{
    return entry->record->offset >= partition->committed;
}

// The batch in front of what waits, as if it had never been made.
static void put_back(struct ty_partition *partition, struct ty_intake_batch *batch)
{
    for (size_t i = batch->count; i-- > 0;) {
        struct ty_intake_record *record = batch->entries[i].record;
        batch->entries[i].record = NULL;
        if (!partition->waiting)
            partition->last_waiting = &record->next;
        record->next = partition->waiting;
        partition->waiting = record;
    }
    ty_intake_batch_free(batch);
}

static const struct ty_intake_entry *first_bad(const struct ty_intake_batch *batch)
{
    size_t i = 0;
    while (i < batch->count && !(batch->entries[i].prepared.is_undecoded && counts(batch->partition, &batch->entries[i])))
        i++;
    return i < batch->count ? &batch->entries[i] : &batch->entries[0];
}

// with_batch: it has not gone, and is held too.
static void hold(struct ty_partition *partition, struct ty_intake_batch *batch, bool with_batch)
{
    const struct ty_intake_entry *bad = first_bad(batch);
    char *reason TY_FREE = ty_xstrdup(bad->reason ? bad->reason : "");
    int64_t offset = bad->record->offset;
    if (with_batch)
        put_back(partition, batch);
    ty_partition_hold(partition, offset, reason);
}

// A batch of a closed breaker. False: it has opened, and the batch is not to go.
static bool may_fly(struct ty_partition *partition, const struct ty_intake_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (counts(partition, &batch->entries[i]) &&
            ty_breaker_add(&partition->breaker, batch->entries[i].prepared.is_undecoded))
            return false;
    return true;
}

// A batch of a trial, which goes in any case.
static void judge_trial(struct ty_partition *partition, struct ty_intake_batch *batch)
{
    size_t failed = 0;
    for (size_t i = 0; i < batch->count; i++)
        failed += batch->entries[i].prepared.is_undecoded;
    if (ty_breaker_judge(&partition->breaker, failed, batch->count))
        hold(partition, batch, false);
    else
        ty_partition_unhold(partition);
}

static void judge_and_fly(struct ty_partition *partition, struct ty_intake_batch *batch)
{
    if (partition->breaker.state == TY_BREAKER_TRIAL) {
        judge_trial(partition, batch);
    } else if (!may_fly(partition, batch)) {
        hold(partition, batch, true);
        return;
    }
    ty_intake_batch_fly(batch);
}

// ---- batches ----

static size_t batch_cap(const struct ty_partition *partition)
{
    size_t cap = partition->intake->batch_commands;
    return partition->breaker.state == TY_BREAKER_TRIAL && cap > TY_BREAKER_TRIAL_RECORDS ? TY_BREAKER_TRIAL_RECORDS : cap;
}

void ty_partition_pump(struct ty_partition *partition)
{
    struct ty_intake *intake = partition->intake;
    if (intake->holds_submits && partition->claimed->kind == TY_TOPIC_SUBMIT)
        return;
    while (partition->breaker.state != TY_BREAKER_OPEN) {
        while (partition->waiting && (!partition->filling || ty_intake_batch_has_room(partition->filling))) {
            struct ty_intake_record *record = partition->waiting;
            partition->waiting = record->next;
            if (!partition->waiting)
                partition->last_waiting = &partition->waiting;
            if (!partition->filling)
                partition->filling = ty_intake_batch_new(partition, batch_cap(partition));
            ty_intake_batch_add(partition->filling, record);
        }
        if (partition->flying || !partition->filling)
            return;
        struct ty_intake_batch *batch = partition->filling;
        partition->filling = NULL;
        judge_and_fly(partition, batch);
    }
}

void ty_partition_probe(struct ty_partition *partition)
{
    if (partition->flying || partition->filling)
        return;
    struct ty_intake_batch *batch = ty_intake_batch_new(partition, 0);
    batch->first = batch->next = partition->expected;
    ty_intake_batch_fly(batch);
}

// ---- what comes in ----

void ty_partition_init(struct ty_partition *partition, struct ty_intake *intake, struct ty_claimed_partition *claimed)
{
    *partition = (struct ty_partition){.intake = intake, .claimed = claimed, .committed = claimed->committed};
    partition->last_waiting = &partition->waiting;
    ty_breaker_init(&partition->breaker, intake->breaker_percent);
}

void ty_partition_drop_waiting(struct ty_partition *partition)
{
    for (struct ty_intake_record *record = partition->waiting, *next; record; record = next) {
        next = record->next;
        ty_intake_record_free(record);
    }
    partition->waiting = NULL;
    partition->last_waiting = &partition->waiting;
    ty_intake_batch_abandon(partition->filling);
    partition->filling = NULL;
    ty_partition_reset_breaker(partition);
}

void ty_partition_drop(struct ty_partition *partition)
{
    ty_partition_drop_waiting(partition);
    ty_intake_batch_abandon(partition->flying);
    partition->flying = NULL;
}

// Kafka's log is not what we have left: shorter (it was made anew, or lost its end), or begun later (retention took what was
// not applied yet). Either way all that there is gets applied.
static void complain_of_kafka(struct ty_partition *partition, const char *event, int64_t offset)
{
    if (ty_log_limit_take(&partition->intake->kafka_log))
        ty_log(TY_LOG_ERROR, event, TY_KV("topic", "%s", ty_topic_kind_name(partition->claimed->kind)),
               TY_KV("partition", "%" PRId32, partition->claimed->number),
               TY_KV("expected", "%" PRId64, partition->position), TY_KV("offset", "%" PRId64, offset));
}

void ty_partition_add(struct ty_partition *partition, struct ty_intake_record *record)
{
    if (record->offset < partition->position)
        complain_of_kafka(partition, "intake.kafka_went_back", record->offset);
    else if (partition->is_fresh && partition->position > 0 && record->offset > partition->position &&
             partition->claimed->kind != TY_TOPIC_SETTINGS) // which is compacted, and so has holes
        complain_of_kafka(partition, "intake.records_gone", record->offset);
    partition->is_fresh = false;
    partition->position = record->offset + 1;
    record->next = NULL;
    if (atomic_load(&partition->claimed->is_held))
        ty_intake_record_set_aside(record);
    *partition->last_waiting = record;
    partition->last_waiting = &record->next;
    partition->intake->figures.received++;
}
