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
#define COMMANDS_HIDDEN_MS 1000u    // between looks at an end that is not known for certain

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
static void read_on(struct shard *shard, const int64_t *from);

static void take_ends(struct command_wait *commands, struct ty_feed_order *order)
{
    free(commands->ends);
    commands->ends = order->command_ends;
    commands->count = order->command_end_count;
    commands->has_hidden = order->has_hidden_ends;
    commands->is_known = true;
    commands->looked_ms = ty_clock_mono_ms();
    order->command_ends = NULL;
    order->command_end_count = 0;
}

static void forget_ends(struct command_wait *commands)
{
    free(commands->ends);
    commands->ends = NULL;
    commands->count = 0;
    commands->is_known = commands->has_hidden = false;
    commands->passed = -1;
}

// True: where the topics end is to be looked for again. An intake may have been waited for in vain because retention has taken
// what it was to read.
static bool lose_patience(struct shard *shard, const struct ty_commands_missing *missing)
{
    struct command_wait *commands = &shard->commands;
    uint64_t now_ms = ty_clock_mono_ms();
    bool is_first = commands->passed < 0, is_late = false;
    bool is_moving = missing->passed > commands->passed;
    commands->passed = missing->passed;
    if (is_moving) {
        commands->moved_ms = now_ms;
    } else if (now_ms - commands->moved_ms >= shard->events->patience_ms) {
        commands->moved_ms = now_ms;
        is_late = true;
    }
    if (is_first || is_late)
        ty_log(is_late ? TY_LOG_WARN : TY_LOG_INFO, is_late ? "events.commands_missing" : "events.commands_awaited",
               TY_KV("shard", "%u", shard->number), TY_KV("partition", "%s", missing->partition),
               TY_KV("mark", "%" PRId64, missing->mark), TY_KV("end", "%" PRId64, missing->end),
               TY_KV("message", "%s", is_late ? "no job is started before the intakes have read this partition to its end, and they do not come further"
                                              : "no job is started before the intakes have read these topics to their ends"));
    return is_late || (commands->has_hidden && now_ms - commands->looked_ms >= COMMANDS_HIDDEN_MS);
}

// A pause, a cancel or a delete that the store has lost is there again before anything is claimed, however long that takes.
static void wait_for_commands(struct shard *shard, const struct ty_commands_missing *missing)
{
    shard->events->figures.commands_missing++;
    if (!shard->commands.is_known || lose_patience(shard, missing))
        read_on(shard, shard->known);
    else
        ty_loop_set_timer(shard->events->loop, &shard->commands.timer, COMMANDS_AGAIN_MS, tell_replayed, shard);
}

static void on_replayed(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing)
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
        wait_for_commands(shard, missing);
        return;
    }
    if (result == TY_REPLAYED_WITHOUT_COMMANDS)
        ty_log(TY_LOG_WARN, "events.commands_waived", TY_KV("shard", "%u", shard->number),
               TY_KV("message", "%s", "the operator has jobs start without commands that are missing"));
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
    struct ty_event_mark marks[TY_FEED_PARTITIONS_MAX];
    for (unsigned i = 0; i < shard->partitions; i++)
        marks[i] = (struct ty_event_mark){.partition = i, .expected = shard->known[i], .next = shard->known[i]};
    ty_state_replayed(events->state, shard->number, events->worker, events->job_lease_ms, TOPIC, marks, shard->partitions,
                      shard->commands.ends, shard->commands.is_known ? shard->commands.count : TY_ENDS_UNKNOWN, on_replayed, shard);
}

static void finish(struct shard *shard)
{
    shard->step = STEP_RESTORING;
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
            marks[mark_count++] = (struct ty_event_mark){.partition = i, .expected = shard->known[i], .next = order->marks[i]};
    if (order->is_at_end)
        take_ends(&shard->commands, order);
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
    forget_ends(&shard->commands); // what was asked for since is not before them
    memset(shard->known, 0xff, sizeof shard->known); // -1
    memcpy(shard->known, outbox->marks, outbox->mark_count * sizeof *outbox->marks);
    if (!back && !is_behind(shard, outbox)) {
        // Of an installation that is new, or a publisher that stopped in order, there is nothing to read, unless the store says
        // that claims wait: for where the commands end now.
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
