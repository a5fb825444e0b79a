// Batches: records in the order of their offsets, their dead letters, and the one call that applies them. A batch grows as
// long as the one before it is on its way; on an idle partition it leaves with the record that began it.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/defect.h"
#include "core/log.h"
#include "worker/intake/intake_internal.h"

#define FIRST_RETRY_MS 20
#define LAST_RETRY_MS 1000

// One record in a batch.
struct entry {
    struct ty_batch *batch;
    struct ty_intake_record *record;
    struct ty_prepared prepared;
    char *reason;             // why it is a dead letter; NULL: it is none
    struct ty_letter *letter; // on its way
};

struct ty_batch {
    struct ty_batch *previous, *next_of_all;
    struct ty_intake *intake;       // NULL: it is gone
    struct ty_partition *partition; // NULL: abandoned
    size_t count, bytes;
    int64_t first, next;            // offsets: of the first record, and behind the last
    struct ty_buf arena;
    struct ty_apply *commands;      // while the store is asked
    size_t letters_left;
    bool is_applied, is_asking;     // asking: the store has it
    struct ty_timer retry;
    uint64_t retry_ms;
    size_t cap;
    struct entry entries[];
};

// ---- life ----

static struct ty_batch *batch_new(struct ty_partition *partition, size_t cap)
{
    struct ty_intake *intake = partition->intake;
    struct ty_batch *batch = ty_xcalloc(1, sizeof *batch + cap * sizeof batch->entries[0]);
    batch->intake = intake;
    batch->partition = partition;
    batch->cap = cap;
    batch->retry_ms = FIRST_RETRY_MS;
    batch->next_of_all = intake->batches;
    if (intake->batches)
        intake->batches->previous = batch;
    intake->batches = batch;
    return batch;
}

static void let_records_go(struct ty_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct entry *entry = &batch->entries[i];
        if (entry->letter)
            ty_letter_abandon(entry->letter);
        ty_intake_record_free(entry->record);
        free(entry->reason);
    }
    batch->count = 0;
    if (batch->intake)
        ty_loop_clear_timer(batch->intake->loop, &batch->retry);
}

static void batch_free(struct ty_batch *batch)
{
    let_records_go(batch);
    if (batch->intake) {
        *(batch->previous ? &batch->previous->next_of_all : &batch->intake->batches) = batch->next_of_all;
        if (batch->next_of_all)
            batch->next_of_all->previous = batch->previous;
    }
    ty_buf_done(&batch->arena);
    free(batch->commands);
    free(batch);
}

static void abandon(struct ty_batch *batch)
{
    if (!batch)
        return;
    batch->partition = NULL;
    if (batch->is_asking)
        let_records_go(batch);
    else
        batch_free(batch);
}

void ty_batches_orphan(struct ty_intake *intake)
{
    while (intake->batches) {
        struct ty_batch *batch = intake->batches;
        intake->batches = batch->next_of_all;
        batch->intake = NULL;
    }
}

// ---- what comes back ----

static void apply(struct ty_batch *batch);
static void count_results(struct ty_batch *batch, const int *results);

static void finish(struct ty_batch *batch)
{
    struct ty_partition *partition = batch->partition;
    struct ty_intake *intake = partition->intake;
    if (batch->count) {
        partition->expected = partition->committed = batch->next;
        atomic_store(&partition->claimed->done, batch->next);
    }
    partition->flying = NULL;
    batch_free(batch);
    if (intake->is_stopping)
        ty_intake_check_stopped(intake);
    else
        ty_partition_pump(partition);
}

static void go_on(struct ty_batch *batch)
{
    if (batch->letters_left)
        return;
    if (batch->is_applied)
        finish(batch);
    else
        apply(batch);
}

static void on_letter(void *context)
{
    struct entry *entry = context;
    struct ty_batch *batch = entry->batch;
    entry->letter = NULL;
    batch->intake->figures.dead_lettered++;
    batch->letters_left--;
    go_on(batch);
}

static void write_letter(struct entry *entry)
{
    struct ty_batch *batch = entry->batch;
    struct ty_intake *intake = batch->intake;
    const struct ty_intake_record *record = entry->record;
    if (ty_log_limit_take(&intake->dead_letter_log))
        ty_log(TY_LOG_WARN, "intake.dead_letter", TY_KV("topic", "%s", ty_topic_kind_name(record->claimed->kind)),
               TY_KV("partition", "%" PRId32, record->claimed->number), TY_KV("offset", "%" PRId64, record->offset),
               TY_KV("reason", "%s", entry->reason),
               TY_KV("not_logged_before", "%" PRIu64, ty_log_limit_skipped(&intake->dead_letter_log)));
    batch->letters_left++;
    entry->letter = ty_letters_write(intake->letters, record, entry->reason, on_letter, entry);
}

static void on_retry(void *context)
{
    apply(context);
}

static void on_failed(struct ty_batch *batch, const struct ty_err *err)
{
    struct ty_intake *intake = batch->intake;
    // A probe that fails has nothing to lose, and all of them fail at once.
    if (batch->count && ty_log_limit_take(&intake->apply_log))
        ty_log(TY_LOG_WARN, "intake.apply_failed", TY_KV("topic", "%s", ty_topic_kind_name(batch->partition->claimed->kind)),
               TY_KV("partition", "%" PRId32, batch->partition->claimed->number),
               TY_KV("offset", "%" PRId64, batch->first), TY_KV("message", "%s", err->message));
    ty_loop_set_timer(intake->loop, &batch->retry, batch->retry_ms, on_retry, batch);
    batch->retry_ms = batch->retry_ms * 2 < LAST_RETRY_MS ? batch->retry_ms * 2 : LAST_RETRY_MS;
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct ty_batch *batch = context;
    (void)count;
    batch->is_asking = false;
    if (!batch->partition) {
        batch_free(batch);
        return;
    }
    struct ty_intake *intake = batch->intake;
    if (err && intake->is_stopping) {
        batch->partition->flying = NULL;
        batch_free(batch);
        ty_intake_check_stopped(intake);
    } else if (err) {
        on_failed(batch, err);
    } else if (gap) {
        intake->figures.gaps++;
        if (ty_log_limit_take(&intake->gap_log))
            ty_log(TY_LOG_WARN, "intake.gap", TY_KV("topic", "%s", ty_topic_kind_name(batch->partition->claimed->kind)),
                   TY_KV("partition", "%" PRId32, batch->partition->claimed->number),
                   TY_KV("expected", "%" PRId64, batch->partition->expected), TY_KV("stored", "%" PRId64, stored));
        ty_intake_restart(intake);
    } else {
        batch->is_applied = true;
        count_results(batch, results);
        go_on(batch);
    }
}

static void count_results(struct ty_batch *batch, const int *results)
{
    struct ty_intake_figures *figures = &batch->intake->figures;
    size_t at = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct entry *entry = &batch->entries[i];
        if (!entry->prepared.has_command)
            continue;
        int result = results[at++];
        if (entry->prepared.is_refused)
            continue;
        switch (result) {
        case TY_APPLIED: figures->applied++; break;
        case TY_APPLY_DUPLICATE: figures->duplicates++; break;
        case TY_APPLY_NOOP: figures->noops++; break;
        case TY_APPLY_TOMBSTONE: figures->tombstones++; break;
        case TY_APPLY_DELETED: figures->deleted++; break;
        case TY_APPLY_CONFLICT:
            figures->conflicts++;
            entry->reason = ty_xstrdup("job_id: there is another job under it, and the first one stands");
            write_letter(entry);
            break;
        case TY_APPLY_TOO_OLD:
            figures->too_old++;
            entry->reason = ty_xstrdup("time: the submit is older than horizon-hours and nothing is known of its job; it was not run");
            write_letter(entry);
            break;
        default: break;
        }
    }
}

// ---- what goes out ----

#ifdef TY_SEED_DEFECTS
// The defect "commit-before-apply": the offset first, and the effect a while later.
#define SEEDED_MS 300

static void on_committed(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct ty_batch *batch = context;
    if (err || gap || !batch->partition) {
        on_applied(batch, err, gap, stored, results, count);
        return;
    }
    batch->is_asking = false;
    batch->partition->expected = batch->partition->committed = batch->next;
    atomic_store(&batch->partition->claimed->done, batch->next);
    ty_loop_set_timer(batch->intake->loop, &batch->retry, SEEDED_MS, on_retry, batch);
}

static bool commit_first(struct ty_batch *batch)
{
    struct ty_partition *partition = batch->partition;
    if (!ty_defect("commit-before-apply") || partition->expected == batch->next)
        return false;
    struct ty_watermark mark = {.topic = ty_topic_kind_name(partition->claimed->kind), .partition = partition->claimed->number,
                                .expected = partition->expected, .next = batch->next};
    batch->is_asking = true;
    ty_state_apply(partition->intake->state, NULL, 0, &mark, on_committed, batch);
    return true;
}
#else
#define commit_first(batch) false
#endif

static void apply(struct ty_batch *batch)
{
    struct ty_partition *partition = batch->partition;
    if (commit_first(batch))
        return;
    struct ty_watermark mark = {.topic = ty_topic_kind_name(partition->claimed->kind),
                                .partition = partition->claimed->number,
                                .expected = partition->expected,
                                .next = batch->next};
    size_t count = 0;
    if (!batch->commands)
        batch->commands = ty_xcalloc(batch->count + 1, sizeof *batch->commands);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->entries[i].prepared.has_command) {
            batch->commands[count] = ty_prepared_command(&batch->entries[i].prepared, &batch->arena);
            batch->commands[count++].offset = batch->entries[i].record->offset;
        }
    batch->is_asking = true;
    ty_state_apply(partition->intake->state, batch->commands, count, &mark, on_applied, batch);
}

// The letters first: with the watermark the store forgets what it has not seen.
static void fly(struct ty_partition *partition, struct ty_batch *batch)
{
    partition->flying = batch;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->entries[i].reason) {
            partition->intake->figures.refused++;
            write_letter(&batch->entries[i]);
        }
    go_on(batch);
}

// ---- the breaker ----

// What the group had passed before is applied again, and its letters are known: no outage of now.
static bool counts(const struct ty_partition *partition, const struct entry *entry)
{
    return entry->record->offset >= partition->committed;
}

// The batch in front of what waits, as if it had never been made.
static void put_back(struct ty_partition *partition, struct ty_batch *batch)
{
    for (size_t i = batch->count; i-- > 0;) {
        struct ty_intake_record *record = batch->entries[i].record;
        batch->entries[i].record = NULL;
        if (!partition->waiting)
            partition->last_waiting = &record->next;
        record->next = partition->waiting;
        partition->waiting = record;
    }
    batch_free(batch);
}

static const struct entry *first_bad(const struct ty_batch *batch)
{
    size_t i = 0;
    while (i < batch->count && !(batch->entries[i].prepared.is_undecoded && counts(batch->partition, &batch->entries[i])))
        i++;
    return i < batch->count ? &batch->entries[i] : &batch->entries[0];
}

// with_batch: it has not gone, and is held too.
static void hold(struct ty_partition *partition, struct ty_batch *batch, bool with_batch)
{
    const struct entry *bad = first_bad(batch);
    char *reason TY_FREE = ty_xstrdup(bad->reason ? bad->reason : "");
    int64_t offset = bad->record->offset;
    if (with_batch)
        put_back(partition, batch);
    ty_partition_hold(partition, offset, reason);
}

// A batch of a closed breaker. False: it has opened, and the batch is not to go.
static bool may_fly(struct ty_partition *partition, const struct ty_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (counts(partition, &batch->entries[i]) &&
            ty_breaker_add(&partition->breaker, batch->entries[i].prepared.is_undecoded))
            return false;
    return true;
}

// A batch of a trial, which goes in any case.
static void judge_trial(struct ty_partition *partition, struct ty_batch *batch)
{
    size_t failed = 0;
    for (size_t i = 0; i < batch->count; i++)
        failed += batch->entries[i].prepared.is_undecoded;
    if (ty_breaker_judge(&partition->breaker, failed, batch->count))
        hold(partition, batch, false);
    else
        ty_partition_unhold(partition);
}

static void judge_and_fly(struct ty_partition *partition, struct ty_batch *batch)
{
    if (partition->breaker.state == TY_BREAKER_TRIAL) {
        judge_trial(partition, batch);
    } else if (!may_fly(partition, batch)) {
        hold(partition, batch, true);
        return;
    }
    fly(partition, batch);
}

static void prepare(struct ty_partition *partition, struct ty_batch *batch, struct ty_intake_record *record)
{
    struct ty_intake *intake = partition->intake;
    struct entry *entry = &batch->entries[batch->count++];
    struct ty_err err;
    *entry = (struct entry){.batch = batch, .record = record};
    ty_prepare(intake->catalog, partition->claimed->kind, record->key, record->key_len, record->value, record->value_len,
               record->time_us, &batch->arena, &entry->prepared, &err);
    if (entry->prepared.is_refused)
        entry->reason = ty_xstrdup(err.message);
    if (batch->count == 1)
        batch->first = record->offset;
    batch->next = record->offset + 1;
    batch->bytes += record->value_len;
}

static bool has_room(const struct ty_batch *batch)
{
    return batch->count < batch->cap && batch->bytes < batch->intake->batch_bytes;
}

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
        while (partition->waiting && (!partition->filling || has_room(partition->filling))) {
            struct ty_intake_record *record = partition->waiting;
            partition->waiting = record->next;
            if (!partition->waiting)
                partition->last_waiting = &partition->waiting;
            if (!partition->filling)
                partition->filling = batch_new(partition, batch_cap(partition));
            prepare(partition, partition->filling, record);
        }
        if (partition->flying || !partition->filling)
            return;
        struct ty_batch *batch = partition->filling;
        partition->filling = NULL;
        judge_and_fly(partition, batch);
    }
}

void ty_partition_probe(struct ty_partition *partition)
{
    if (partition->flying || partition->filling)
        return;
    struct ty_batch *batch = batch_new(partition, 0);
    batch->first = batch->next = partition->expected;
    partition->flying = batch;
    apply(batch);
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
    abandon(partition->filling);
    partition->filling = NULL;
    ty_partition_reset_breaker(partition);
}

void ty_partition_drop(struct ty_partition *partition)
{
    ty_partition_drop_waiting(partition);
    abandon(partition->flying);
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
