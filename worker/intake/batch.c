// The letters first: with the watermark the store forgets what it has not seen.
#include "worker/intake/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/defect.h"
#include "core/clock.h"
#include "core/log.h"
#include "worker/intake/signature.h"

#define FIRST_RETRY_MS 20
#define LAST_RETRY_MS 1000

// ---- life ----

struct ty_intake_batch *ty_intake_batch_new(struct ty_partition *partition, size_t cap)
{
    struct ty_intake *intake = partition->intake;
    struct ty_intake_batch *batch = ty_xcalloc(1, sizeof *batch + cap * sizeof batch->entries[0]);
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

static void let_records_go(struct ty_intake_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct ty_intake_entry *entry = &batch->entries[i];
        if (entry->letter)
            ty_letter_abandon(entry->letter);
        ty_intake_record_free(entry->record);
        free(entry->reason);
    }
    batch->count = 0;
    if (batch->intake)
        ty_loop_clear_timer(batch->intake->loop, &batch->retry);
}

void ty_intake_batch_free(struct ty_intake_batch *batch)
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

void ty_intake_batch_abandon(struct ty_intake_batch *batch)
{
    if (!batch)
        return;
    batch->partition = NULL;
    if (batch->is_asking)
        let_records_go(batch);
    else
        ty_intake_batch_free(batch);
}

void ty_intake_batches_orphan(struct ty_intake *intake)
{
    while (intake->batches) {
        struct ty_intake_batch *batch = intake->batches;
        intake->batches = batch->next_of_all;
        batch->intake = NULL;
    }
}

void ty_intake_batch_add(struct ty_intake_batch *batch, struct ty_intake_record *record)
{
    struct ty_partition *partition = batch->partition;
    struct ty_intake *intake = partition->intake;
    struct ty_intake_entry *entry = &batch->entries[batch->count++];
    struct ty_err err;
    *entry = (struct ty_intake_entry){.batch = batch, .record = record};
    ty_prepare(intake->catalog, partition->claimed->kind, record->key, record->key_len, record->value, record->value_len,
               record->time_us, &batch->arena, &entry->prepared, &err);
    if (entry->prepared.is_refused)
        entry->reason = ty_xstrdup(err.message);
    if (batch->count == 1)
        batch->first = record->offset;
    batch->next = record->offset + 1;
    batch->bytes += record->value_len;
}

bool ty_intake_batch_has_room(const struct ty_intake_batch *batch)
{
    return batch->count < batch->cap && batch->bytes < batch->intake->batch_bytes;
}

// ---- what comes back ----

static void apply(struct ty_intake_batch *batch);
static void count_results(struct ty_intake_batch *batch, const int *results);

static void finish(struct ty_intake_batch *batch)
{
    struct ty_partition *partition = batch->partition;
    struct ty_intake *intake = partition->intake;
    if (batch->count) {
        partition->expected = partition->committed = batch->next;
        atomic_store(&partition->claimed->done, batch->next);
    }
    partition->flying = NULL;
    ty_intake_batch_free(batch);
    if (intake->is_stopping)
        ty_intake_check_stopped(intake);
    else
        ty_partition_pump(partition);
}

static void go_on(struct ty_intake_batch *batch)
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
    struct ty_intake_entry *entry = context;
    struct ty_intake_batch *batch = entry->batch;
    entry->letter = NULL;
    batch->intake->figures.dead_lettered++;
    batch->letters_left--;
    go_on(batch);
}

static void write_letter(struct ty_intake_entry *entry)
{
    struct ty_intake_batch *batch = entry->batch;
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

static void on_failed(struct ty_intake_batch *batch, const struct ty_err *err)
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
    struct ty_intake_batch *batch = context;
    (void)count;
    batch->is_asking = false;
    if (!batch->partition) {
        ty_intake_batch_free(batch);
        return;
    }
    struct ty_intake *intake = batch->intake;
    if (err && intake->is_stopping) {
        batch->partition->flying = NULL;
        ty_intake_batch_free(batch);
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

static void count_results(struct ty_intake_batch *batch, const int *results)
{
    struct ty_intake_figures *figures = &batch->intake->figures;
    size_t at = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct ty_intake_entry *entry = &batch->entries[i];
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
        case TY_APPLY_FOREIGN:
            figures->unsigned_refused++;
            entry->reason = ty_xstrdup("signature: the key is of another organization than the job");
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
    struct ty_intake_batch *batch = context;
    if (err || gap || !batch->partition) {
        on_applied(batch, err, gap, stored, results, count);
        return;
    }
    batch->is_asking = false;
    batch->partition->expected = batch->partition->committed = batch->next;
    atomic_store(&batch->partition->claimed->done, batch->next);
    ty_loop_set_timer(batch->intake->loop, &batch->retry, SEEDED_MS, on_retry, batch);
}

static bool commit_first(struct ty_intake_batch *batch)
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

static void apply(struct ty_intake_batch *batch)
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

// ---- who has signed ----

static void on_judge_again(void *context);

// What may not be asked for has no effect at all: not even the FAILED job of a refused submit.
static void refuse_unsigned(struct ty_intake_entry *entry, const struct ty_err *err)
{
    entry->prepared.has_command = false;
    entry->prepared.is_refused = true;
    free(entry->reason);
    entry->reason = ty_xstrdup(err->message);
}

static void judge_later(struct ty_intake_batch *batch, const struct ty_err *err)
{
    struct ty_intake *intake = batch->intake;
    if (ty_log_limit_take(&intake->apply_log))
        ty_log(TY_LOG_WARN, "intake.signature_waits", TY_KV("topic", "%s", ty_topic_kind_name(batch->partition->claimed->kind)),
               TY_KV("partition", "%" PRId32, batch->partition->claimed->number),
               TY_KV("offset", "%" PRId64, batch->entries[batch->judged].record->offset), TY_KV("message", "%s", err->message));
    ty_loop_set_timer(intake->loop, &batch->retry, TY_SIGNATURE_RETRY_MS, on_judge_again, batch);
}

// True when all are judged; else it goes on later.
static bool judge(struct ty_intake_batch *batch)
{
    struct ty_intake *intake = batch->intake;
    struct ty_err err;
    if (!intake->keyring || batch->partition->claimed->kind == TY_TOPIC_SETTINGS)
        return true;
    for (; batch->judged < batch->count; batch->judged++) {
        struct ty_intake_entry *entry = &batch->entries[batch->judged];
        uint64_t now_ms = ty_clock_mono_ms();
        if (!batch->judged_since_ms)
            batch->judged_since_ms = now_ms;
        enum ty_signature_verdict verdict = ty_signature_judge(intake->keyring, entry->record, now_ms - batch->judged_since_ms,
                                                               &batch->arena, &entry->prepared, &err);
        if (verdict == TY_SIGNATURE_WAIT) {
            judge_later(batch, &err);
            return false;
        }
        if (verdict == TY_SIGNATURE_BAD) {
            intake->figures.unsigned_refused++;
            refuse_unsigned(entry, &err);
        }
    }
    return true;
}

static void begin(struct ty_intake_batch *batch);

static void on_judge_again(void *context)
{
    struct ty_intake_batch *batch = context;
    struct ty_intake *intake = batch->intake;
    if (intake->is_stopping) {
        batch->partition->flying = NULL;
        ty_intake_batch_free(batch);
        ty_intake_check_stopped(intake);
    } else if (judge(batch)) {
        begin(batch);
    }
}

static void begin(struct ty_intake_batch *batch)
{
    struct ty_partition *partition = batch->partition;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->entries[i].reason) {
            partition->intake->figures.refused++;
            write_letter(&batch->entries[i]);
        }
    go_on(batch);
}

void ty_intake_batch_fly(struct ty_intake_batch *batch)
{
    batch->partition->flying = batch;
    if (judge(batch))
        begin(batch);
}

