// The topic back to the store: after a publisher died between Kafka and the store (nothing changes then), after the store went
// back to a snapshot, and after it was lost. Read and applied piece by piece; the marks move with each piece, so that whoever
// comes next goes on from there.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/log.h"
#include "worker/events/events_internal.h"

#define AGAIN_MS 1000u
#define COMMANDS_AGAIN_MS 100u
#define COMMANDS_PATIENCE_MS 15000u

// What is taken of a piece: the store's arguments, and what they borrow from.
struct piece {
    struct ty_restore *jobs;
    struct ty_event *events;
    size_t count;
    uint64_t epoch; // the highest of them
};

static void free_piece(struct piece *piece)
{
    for (size_t i = 0; i < piece->count; i++)
        ty_event_done(&piece->events[i]);
    free(piece->events);
    free(piece->jobs);
}

void ty_replay_forget(struct shard *shard)
{
    ty_feed_order_free(shard->read);
    shard->read = NULL;
}

static void fail(struct shard *shard, const struct ty_err *err)
{
    if (err)
        ty_events_log_trouble(shard, "events.replay_trouble", err);
    ty_events_let_go(shard); // opened again, it reads on from where the store is
    ty_events_look_in(shard, AGAIN_MS);
}

// ---- the end ----

static void tell_replayed(void *context);

void ty_replay_take_ends(struct shard *shard, struct ty_feed_order *order)
{
    free(shard->command_ends);
    shard->command_ends = order->command_ends;
    shard->command_end_count = order->command_end_count;
    order->command_ends = NULL;
    order->command_end_count = 0;
}

// A pause, a cancel or a delete that the store has lost is there again before anything is claimed. Without an intake that reads
// them nobody waits for ever.
static void wait_for_commands(struct shard *shard)
{
    uint64_t now_ms = ty_clock_mono_ms();
    if (!shard->commands_by_ms)
        shard->commands_by_ms = now_ms + COMMANDS_PATIENCE_MS;
    if (now_ms >= shard->commands_by_ms) {
        ty_log(TY_LOG_WARN, "events.commands_missing", TY_KV("shard", "%u", shard->number),
               TY_KV("error", "in %u s no intake has read the topics settings, delete and cancel to where they ended; jobs start without",
                     COMMANDS_PATIENCE_MS / 1000));
        shard->command_end_count = 0;
    }
    ty_loop_set_timer(shard->events->loop, &shard->commands_timer, COMMANDS_AGAIN_MS, tell_replayed, shard);
}

static void on_replayed(void *context, const struct ty_err *err, enum ty_replayed result)
{
    struct shard *shard = context;
    struct ty_events *events = shard->events;
    if (!ty_events_release(events) || shard->step != STEP_RESTORING)
        return;
    if (err || result == TY_REPLAYED_NOT_OURS) {
        fail(shard, err);
        return;
    }
    if (result == TY_REPLAYED_COMMANDS_MISSING) {
        wait_for_commands(shard);
        return;
    }
    ty_log(shard->restored ? TY_LOG_WARN : TY_LOG_INFO, "events.replayed", TY_KV("shard", "%u", shard->number),
           TY_KV("events", "%" PRIu64, shard->events_read), TY_KV("restored", "%" PRIu64, shard->restored));
    events->figures.replays++;
    shard->is_level = true;
    shard->step = STEP_READY;
    ty_events_look_in(shard, 0);
}

static void tell_replayed(void *context)
{
    struct shard *shard = context;
    struct ty_events *events = shard->events;
    if (shard->step != STEP_RESTORING)
        return;
    ty_events_hold(events);
    ty_state_replayed(events->state, shard->number, events->worker, events->job_lease_ms, shard->command_ends,
                      shard->command_end_count, on_replayed, shard);
}

static void finish(struct shard *shard)
{
    shard->step = STEP_RESTORING;
    shard->commands_by_ms = 0;
    tell_replayed(shard);
}

// ---- piece by piece ----

static void read_on(struct shard *shard, const int64_t *from)
{
    struct ty_feed_order *order = ty_feed_order_new(TY_FEED_READ);
    order->begins = from != NULL;
    memcpy(order->marks, from ? from : shard->read->marks, sizeof order->marks);
    ty_replay_forget(shard);
    shard->step = STEP_READING;
    ty_events_give(shard, order);
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    struct shard *shard = context;
    struct ty_events *events = shard->events;
    if (!ty_events_release(events) || shard->step != STEP_RESTORING)
        return;
    if (err || !is_ours) {
        fail(shard, err);
        return;
    }
    shard->restored += changed;
    events->figures.restored += changed;
    memcpy(shard->known, shard->read->marks, sizeof shard->known);
    if (shard->read->is_at_end) {
        ty_replay_forget(shard);
        finish(shard);
    } else {
        read_on(shard, NULL);
    }
}

// One that cannot be read is passed over: what it said is in a later event, or nobody can know.
static void take(struct shard *shard, const struct ty_feed_order *order, const struct ty_feed_record *record, struct piece *piece)
{
    struct ty_err err;
    struct ty_event event;
    struct ty_events *events = shard->events;
    if (record->is_ours && ty_state_shard_of(events->state, &record->id) != shard->number)
        return;
    if (record->is_null) {
        piece->events[piece->count] = (struct ty_event){0};
        piece->jobs[piece->count] = (struct ty_restore){.id = record->id, .is_null = true};
        piece->count += record->is_ours;
        return;
    }
    if (!record->is_ours)
        ty_err_set(&err, TY_EDATALOSS, "the key is no job's id");
    if (!record->is_ours ||
        ty_event_decode(&record->id, order->bytes.data + record->value_at, record->value_len, &event, &err) < 0) {
        events->figures.poisoned++;
        ty_events_log_trouble(shard, "events.unreadable", &err);
        return;
    }
    if (event.epoch > piece->epoch)
        piece->epoch = event.epoch;
    piece->events[piece->count] = event;
    piece->jobs[piece->count++] = (struct ty_restore){
        .id = record->id, .is_deleted = event.is_deleted, .version = event.version,
        .record = event.record.data, .record_len = event.record.len,
    };
}

void ty_replay_on_read(struct shard *shard, struct ty_feed_order *order)
{
    struct ty_events *events = shard->events;
    struct ty_event_mark marks[TY_FEED_PARTITIONS_MAX];
    size_t mark_count = 0;
    struct piece piece = {.jobs = ty_xcalloc(order->count + 1, sizeof *piece.jobs),
                          .events = ty_xcalloc(order->count + 1, sizeof *piece.events)};
    for (size_t i = 0; i < order->count; i++)
        take(shard, order, &order->records[i], &piece);
    for (unsigned i = 0; i < shard->partitions; i++)
        if (order->marks[i] >= 0)
            marks[mark_count++] = (struct ty_event_mark){.partition = i, .next = order->marks[i]};
    if (order->is_at_end)
        ty_replay_take_ends(shard, order);
    shard->events_read += piece.count;
    events->figures.events_read += piece.count;
    shard->read = order;
    shard->step = STEP_RESTORING;
    ty_events_hold(events);
    ty_state_restore(events->state, shard->number, events->worker, TOPIC, piece.epoch, marks, mark_count, piece.jobs, piece.count,
                     on_restored, shard);
    free_piece(&piece);
}

// ---- the start ----

// Lower than what this publisher knows that the store had.
static bool went_back(const struct shard *shard, const struct ty_outbox *outbox)
{
    for (unsigned i = 0; shard->is_level && i < outbox->mark_count; i++)
        if (outbox->marks[i] < shard->known[i])
            return true;
    return false;
}

static bool is_behind(const struct shard *shard, const struct ty_outbox *outbox)
{
    for (unsigned i = 0; i < outbox->mark_count; i++)
        if ((outbox->marks[i] < 0 ? 0 : outbox->marks[i]) < shard->ends[i])
            return true;
    return false;
}

static bool has_nothing(const struct ty_outbox *outbox)
{
    for (unsigned i = 0; i < outbox->mark_count; i++)
        if (outbox->marks[i] >= 0)
            return false;
    return true;
}

bool ty_replay_start(struct shard *shard, const struct ty_outbox *outbox)
{
    struct ty_events *events = shard->events;
    bool back = went_back(shard, outbox);
    if (!back && shard->is_level && outbox->replay == TY_REPLAY_NONE)
        return false;
    if (back) {
        ty_log(TY_LOG_ERROR, "events.store_went_back", TY_KV("shard", "%u", shard->number));
        events->figures.gaps++;
    }
    // An empty store beside a topic that is not was lost.
    if (back || (outbox->replay == TY_REPLAY_NONE && has_nothing(outbox) && is_behind(shard, outbox)))
        ty_state_need_replay(events->state, shard->number);
    shard->events_read = shard->restored = 0;
    memset(shard->known, 0xff, sizeof shard->known); // -1
    memcpy(shard->known, outbox->marks, outbox->mark_count * sizeof *outbox->marks);
    if (!back && !is_behind(shard, outbox)) {
        // Of an installation that is new, or a publisher that stopped in order, there is nothing to read.
        finish(shard);
    } else if (events->is_manual && outbox->replay != TY_REPLAY_ASKED && has_nothing(outbox)) {
        struct ty_err err;
        ty_err_set(&err, TY_EPRECONDITION, "the store is empty and there are events: \"trainyard rebuild\" makes it again from them");
        ty_events_log_trouble(shard, "events.rebuild_needed", &err);
    } else {
        ty_log(TY_LOG_INFO, "events.replay", TY_KV("shard", "%u", shard->number));
        read_on(shard, shard->known);
    }
    return true;
}
