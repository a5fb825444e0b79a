// Where to start is the lower of two offsets: what the store has applied (its watermark), and what the group has committed. The
// watermark alone would do for the store; but the committed offset is behind it as long as a dead letter is not acknowledged,
// and where Kafka itself went back. With no committed offset everything that Kafka has is applied again: commands are
// idempotent, and Kafka forgets the offsets of a group that was away for long.
//
// There is one way to set things right, whatever happened (a new assignment, the store back after an outage, a gap): let go of
// everything, ask the store for the watermarks, start from there.
#include "worker/intake/intake.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/keyring.h"
#include "core/log.h"
#include "worker/intake/intake_internal.h"

#define FIRST_RETRY_MS 100
#define LAST_RETRY_MS 2000
// A store that went back is also noticed on a partition that nothing comes from.
#define PROBE_MS 2000
#define PARTITION_BATCHES 4
#define TOTAL_RECORDS 16384
#define TOTAL_BYTES (64u * 1024 * 1024)
// Of the time for a stop, what is kept for leaving the group.
#define LEAVE_SHARE 3

// One question to the store. It outlives the intake when it has to.
struct ty_attach_call {
    struct ty_attach_call *previous, *next;
    struct ty_intake *intake; // NULL: nobody asks any more
    uint32_t round;
    size_t place;
};

// ---- where to start ----

static void attach_all(struct ty_intake *intake);

static void on_retry(void *context)
{
    attach_all(context);
}

static void stop_taking(struct ty_intake *intake)
{
    intake->turn = 0;
    for (size_t i = 0; i < intake->count; i++) {
        ty_partition_drop(&intake->partitions[i]);
        atomic_store(&intake->partitions[i].claimed->done, -1);
    }
}

static void start_all(struct ty_intake *intake)
{
    intake->retry_ms = FIRST_RETRY_MS;
    if (++intake->last_turn == 0)
        intake->last_turn = 1;
    intake->turn = intake->last_turn;
    uint64_t behind = 0;
    for (size_t i = 0; i < intake->count; i++) {
        struct ty_partition *partition = &intake->partitions[i];
        partition->expected = partition->position = intake->from[i];
        partition->is_fresh = true;
        if (partition->committed > intake->from[i])
            behind += (uint64_t)(partition->committed - intake->from[i]);
    }
    if (intake->cluster_changed)
        ty_log(TY_LOG_ERROR, "intake.kafka_changed", TY_KV("cluster", "%s", intake->assignment->cluster_id),
               TY_KV("message", "%s", "the store has known another Kafka cluster; everything is applied again"));
    intake->cluster_changed = false;
    ty_log(behind ? TY_LOG_WARN : TY_LOG_INFO, "intake.started", TY_KV("partitions", "%zu", intake->count),
           TY_KV("store_behind", "%" PRIu64, behind));
    ty_intake_await_calm(intake);
    ty_consumer_start(intake->consumer, intake->assignment->epoch, intake->turn, intake->from, intake->count);
}

static void on_all_attached(struct ty_intake *intake)
{
    if (!intake->attach_failed) {
        start_all(intake);
        return;
    }
    if (!intake->store_is_up)
        return; // ty_intake_on_store goes on
    ty_loop_set_timer(intake->loop, &intake->retry, intake->retry_ms, on_retry, intake);
    intake->retry_ms = intake->retry_ms * 2 < LAST_RETRY_MS ? intake->retry_ms * 2 : LAST_RETRY_MS;
}

static void unlink_call(struct ty_attach_call *call)
{
    *(call->previous ? &call->previous->next : &call->intake->attach_calls) = call->next;
    if (call->next)
        call->next->previous = call->previous;
}

static void on_attached(void *context, const struct ty_err *err, int64_t stored, bool cluster_changed)
{
    struct ty_attach_call call = *(struct ty_attach_call *)context;
    struct ty_intake *intake = call.intake;
    if (intake)
        unlink_call(context);
    free(context);
    if (!intake || call.round != intake->round)
        return;
    if (err) {
        intake->attach_failed = true;
        if (ty_log_limit_take(&intake->attach_log))
            ty_log(TY_LOG_WARN, "intake.attach_failed", TY_KV("message", "%s", err->message));
    } else {
        int64_t committed = intake->partitions[call.place].committed;
        intake->from[call.place] = committed < 0 ? 0 : stored < committed ? stored : committed;
        intake->cluster_changed = intake->cluster_changed || cluster_changed;
    }
    if (--intake->attaches_left == 0)
        on_all_attached(intake);
}

static void attach_all(struct ty_intake *intake)
{
    ty_loop_clear_timer(intake->loop, &intake->retry);
    intake->round++;
    if (!intake->assignment || !intake->store_is_up || intake->is_stopping || intake->is_reopening)
        return;
    intake->attaches_left = intake->count;
    intake->attach_failed = false;
    for (size_t i = 0; i < intake->count; i++) {
        const struct ty_claimed_partition *claimed = intake->partitions[i].claimed;
        struct ty_attach_call *call = ty_xcalloc(1, sizeof *call);
        *call = (struct ty_attach_call){.intake = intake, .round = intake->round, .place = i, .next = intake->attach_calls};
        if (call->next)
            call->next->previous = call;
        intake->attach_calls = call;
        ty_state_attach(intake->state, intake->assignment->cluster_id, ty_topic_kind_name(claimed->kind), claimed->number,
                        on_attached, call);
    }
}

void ty_intake_restart(struct ty_intake *intake)
{
    stop_taking(intake);
    if (intake->is_stopping) {
        ty_intake_check_stopped(intake);
        return;
    }
    if (intake->assignment)
        ty_consumer_hold(intake->consumer);
    attach_all(intake);
}

void ty_intake_on_store(struct ty_intake *intake, bool up)
{
    if (intake->store_is_up == up)
        return;
    intake->store_is_up = up;
    ty_intake_restart(intake);
}

void ty_intake_hold_submits(struct ty_intake *intake, bool hold)
{
    if (intake->holds_submits == hold)
        return;
    intake->holds_submits = hold;
    ty_log(hold ? TY_LOG_WARN : TY_LOG_INFO, "intake.submits", TY_KV("state", "%s", hold ? "held" : "taken"));
    for (size_t i = 0; !hold && !intake->is_stopping && i < intake->count; i++)
        ty_partition_pump(&intake->partitions[i]);
}

// ---- what the consumer says ----

void ty_intake_let_assignment_go(struct ty_intake *intake)
{
    for (size_t i = 0; i < intake->count; i++)
        ty_partition_drop(&intake->partitions[i]);
    free(intake->partitions);
    free(intake->from);
    intake->partitions = NULL;
    intake->from = NULL;
    intake->assignment = NULL;
    intake->count = 0;
    intake->turn = 0;
    intake->round++;
    ty_loop_clear_timer(intake->loop, &intake->retry);
}

static void on_assigned(void *context, struct ty_assignment *assignment)
{
    struct ty_intake *intake = context;
    intake->assignment = assignment;
    intake->count = assignment->count;
    intake->partitions = ty_xcalloc(assignment->count + 1, sizeof *intake->partitions);
    intake->from = ty_xcalloc(assignment->count + 1, sizeof *intake->from);
    intake->retry_ms = FIRST_RETRY_MS;
    for (size_t i = 0; i < assignment->count; i++)
        ty_partition_init(&intake->partitions[i], intake, &assignment->partitions[i]);
    ty_log(TY_LOG_INFO, "intake.assigned", TY_KV("partitions", "%zu", assignment->count),
           TY_KV("cluster", "%s", assignment->cluster_id));
    attach_all(intake);
}

static void on_revoked(void *context)
{
    struct ty_intake *intake = context;
    ty_log(TY_LOG_INFO, "intake.revoked", TY_KV("partitions", "%zu", intake->count));
    ty_intake_let_assignment_go(intake);
    if (intake->is_stopping)
        ty_intake_check_stopped(intake);
}

static void on_records(void *context, struct ty_intake_record *record)
{
    struct ty_intake *intake = context;
    for (struct ty_intake_record *next; record; record = next) {
        next = record->next;
        if (!intake->turn || record->turn != intake->turn || intake->is_stopping) {
            intake->figures.dropped_stale++;
            ty_intake_record_free(record);
            continue;
        }
        struct ty_partition *partition = &intake->partitions[record->partition];
        partition->is_touched = true;
        ty_partition_add(partition, record);
    }
    for (size_t i = 0; i < intake->count; i++) {
        if (intake->partitions[i].is_touched)
            ty_partition_pump(&intake->partitions[i]);
        intake->partitions[i].is_touched = false;
    }
}

static void on_probe(void *context)
{
    struct ty_intake *intake = context;
    for (size_t i = 0; intake->turn && !intake->is_stopping && i < intake->count; i++)
        ty_partition_probe(&intake->partitions[i]);
    ty_intake_listen(intake);
    ty_loop_set_timer(intake->loop, &intake->probe, PROBE_MS, on_probe, intake);
}

// ---- life ----

static void end_stop(struct ty_intake *intake)
{
    ty_intake_stopped_fn fn = intake->stopped_fn;
    ty_loop_clear_timer(intake->loop, &intake->flying_limit);
    ty_loop_clear_timer(intake->loop, &intake->stop_limit);
    intake->stopped_fn = NULL;
    if (fn)
        fn(intake->stopped_context);
}

static void on_closed(void *context)
{
    struct ty_intake *intake = context;
    intake->is_left = true;
    if (!ty_intake_renew(intake))
        end_stop(intake);
}

static void on_left_before(void *context)
{
    end_stop(context);
}

static void on_stop_limit(void *context)
{
    ty_log(TY_LOG_WARN, "intake.stop_timeout");
    end_stop(context);
}

static void close_consumer(struct ty_intake *intake)
{
    if (intake->is_closing)
        return;
    intake->is_closing = true;
    uint64_t now_ms = ty_clock_mono_ms();
    if (intake->is_left)
        ty_loop_set_timer(intake->loop, &intake->stop_limit, 0, on_left_before, intake);
    else
        ty_consumer_close(intake->consumer, intake->stop_by_ms > now_ms ? intake->stop_by_ms - now_ms : 0);
}

void ty_intake_check_stopped(struct ty_intake *intake)
{
    for (size_t i = 0; i < intake->count; i++)
        if (intake->partitions[i].flying)
            return;
    close_consumer(intake);
}

static void on_flying_limit(void *context)
{
    struct ty_intake *intake = context;
    for (size_t i = 0; i < intake->count; i++)
        ty_partition_drop(&intake->partitions[i]);
    close_consumer(intake);
}

void ty_intake_stop(struct ty_intake *intake, uint64_t timeout_ms, ty_intake_stopped_fn fn, void *context)
{
    intake->is_stopping = true;
    intake->stopped_fn = fn;
    intake->stopped_context = context;
    intake->stop_by_ms = ty_clock_mono_ms() + timeout_ms;
    ty_loop_clear_timer(intake->loop, &intake->retry);
    ty_loop_clear_timer(intake->loop, &intake->probe);
    ty_intake_watch_done(intake);
    ty_loop_set_timer(intake->loop, &intake->flying_limit, timeout_ms - timeout_ms / LEAVE_SHARE, on_flying_limit, intake);
    ty_loop_set_timer(intake->loop, &intake->stop_limit, timeout_ms, on_stop_limit, intake);
    for (size_t i = 0; i < intake->count; i++)
        ty_partition_drop_waiting(&intake->partitions[i]);
    ty_intake_check_stopped(intake);
}

struct ty_intake_figures ty_intake_figures(const struct ty_intake *intake)
{
    return intake->figures;
}

int ty_intake_open_consumer(struct ty_intake *intake, struct ty_err *err)
{
    static const struct ty_consumer_events events = {.on_assigned = on_assigned,
                                                     .on_revoked = on_revoked,
                                                     .on_records = on_records,
                                                     .on_stalled = ty_intake_on_stalled,
                                                     .on_closed = on_closed};
    return ty_consumer_new(intake->loop, &intake->consumer_options, &events, intake, &intake->consumer, err);
}

int ty_intake_new(struct ty_loop *loop, struct ty_state *state, const struct ty_catalog *catalog,
                  struct ty_publisher *publisher, const struct ty_intake_options *options, struct ty_intake **ret_intake,
                  struct ty_err *err)
{
    if (options->batch_commands < 1 || options->batch_bytes < 1)
        return ty_err_set(err, TY_EINVALID, "the intake's batches: at least one command and one byte");
    if (options->stall_ms < 1)
        return ty_err_set(err, TY_EINVALID, "the intake's patience with a partition: at least a millisecond");
    struct ty_intake *intake = ty_xcalloc(1, sizeof *intake);
    *intake = (struct ty_intake){.loop = loop, .state = state, .catalog = catalog,
                                 .batch_commands = options->batch_commands, .batch_bytes = options->batch_bytes,
                                 .breaker_percent = options->breaker_percent, .stall_ms = options->stall_ms,
                                 .health_fn = options->health_fn, .health_context = options->health_context, .retry_ms = FIRST_RETRY_MS,
                                 .store_is_up = ty_state_is_up(state)};
    intake->consumer_options = (struct ty_consumer_options){
        .kafka = options->kafka,
        .group_id = options->group_id,
        .partition_records = (size_t)PARTITION_BATCHES * options->batch_commands,
        .partition_bytes = PARTITION_BATCHES * options->batch_bytes,
        .total_records = TOTAL_RECORDS,
        .total_bytes = TOTAL_BYTES,
        .patience_ms = options->stall_ms,
    };
    intake->keyring = options->requires_signatures ? ty_keyring_new(loop, state) : NULL;
    int rc = ty_letters_new(loop, publisher, options->kafka.topic_prefix, &intake->letters, err);
    if (rc == 0)
        rc = ty_intake_open_consumer(intake, err);
    if (rc < 0) {
        ty_intake_free(intake);
        return rc;
    }
    ty_loop_set_timer(loop, &intake->probe, PROBE_MS, on_probe, intake);
    *ret_intake = intake;
    return 0;
}

void ty_intake_free(struct ty_intake *intake)
{
    if (!intake)
        return;
    intake->health_fn = NULL;
    ty_intake_let_assignment_go(intake);
    while (intake->attach_calls) {
        struct ty_attach_call *call = intake->attach_calls;
        intake->attach_calls = call->next;
        call->intake = NULL;
    }
    ty_intake_batches_orphan(intake);
    ty_consumer_free(intake->consumer);
    ty_letters_free(intake->letters);
    ty_keyring_free(intake->keyring);
    ty_intake_watch_done(intake);
    ty_loop_clear_timer(intake->loop, &intake->retry);
    ty_loop_clear_timer(intake->loop, &intake->probe);
    ty_loop_clear_timer(intake->loop, &intake->flying_limit);
    ty_loop_clear_timer(intake->loop, &intake->stop_limit);
    free(intake);
}
