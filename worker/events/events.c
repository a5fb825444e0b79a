#include "worker/events/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/defect.h"
#include "core/event.h"
#include "core/log.h"
#include "core/state_outbox.h"
#include "worker/events/events_internal.h"

#define BATCH_JOBS 1000u
#define IDLE_MS 100u    // between looks at an outbox that was empty
#define AGAIN_MS 500u   // after something failed
#define HELD_MS 200u    // between looks at the jobs that are held
#define PATIENCE_MS 60000u
#define LOG_EVERY_MS 30000u

static void look(void *context);

// ---- life ----

void ty_events_hold(struct ty_events *events)
{
    events->calls++;
}

bool ty_events_release(struct ty_events *events)
{
    events->calls--;
    if (!events->is_freed)
        return true;
    if (!events->calls) {
        free(events->worker);
        free(events);
    }
    return false;
}

void ty_events_look_in(struct shard *shard, uint64_t ms)
{
    struct ty_events *events = shard->events;
    if (!events->is_stopping)
        ty_loop_set_timer(events->loop, &shard->timer, ms, look, shard);
}

static void forget_batch(struct shard *shard)
{
    free(shard->jobs);
    free(shard->nulls);
    shard->jobs = NULL;
    shard->nulls = NULL;
    shard->job_count = shard->null_count = 0;
}

void ty_events_give(struct shard *shard, struct ty_feed_order *order)
{
    shard->has_order = true;
    ty_feed_give(shard->feed, order);
}

// Kafka is let go; what was being written is in the outbox still. An order that is under way comes back and finds nobody.
void ty_events_let_go(struct shard *shard)
{
    if (shard->step == STEP_AWAY)
        return;
    shard->events->figures.shards--;
    shard->step = STEP_AWAY;
    ty_loop_clear_timer(shard->events->loop, &shard->commands.timer);
    forget_batch(shard);
    ty_replay_forget(shard);
    if (!shard->has_order)
        ty_events_give(shard, ty_feed_order_new(TY_FEED_CLOSE));
}

void ty_events_log_trouble(struct shard *shard, const char *event, const struct ty_err *err)
{
    uint64_t now_ms = ty_loop_now_ms(shard->events->loop);
    if (shard->logged_ms && now_ms - shard->logged_ms < LOG_EVERY_MS)
        return;
    shard->logged_ms = now_ms;
    ty_log(TY_LOG_WARN, event, TY_KV("shard", "%u", shard->number), TY_KV("error", "%s", err->message));
}

// ---- the store is told ----

static void on_told(void *context, const struct ty_err *err, enum ty_published_result result)
{
    struct shard *shard = context;
    struct ty_events *events = shard->events;
    if (!ty_events_release(events) || shard->step != STEP_TELLING)
        return;
    if (err || result != TY_PUBLISHED) {
        if (!err && result == TY_PUBLISHED_GAP) {
            events->figures.gaps++;
            ty_state_need_replay(events->state, shard->number);
        }
        ty_events_let_go(shard); // it is opened again, and finds out where the store is
        ty_events_look_in(shard, err ? AGAIN_MS : 0);
        return;
    }
    for (size_t i = 0; i < TY_FEED_PARTITIONS_MAX; i++)
        if (shard->sent[i] > shard->known[i])
            shard->known[i] = shard->sent[i];
    events->figures.published += shard->job_count;
    events->figures.nulls += shard->null_count;
    events->figures.batches++;
    forget_batch(shard);
    shard->step = STEP_READY;
    ty_events_look_in(shard, shard->is_full ? 0 : IDLE_MS);
}

static void tell(struct shard *shard, const struct ty_feed_order *order)
{
    struct ty_events *events = shard->events;
    struct ty_event_mark marks[TY_FEED_PARTITIONS_MAX];
    for (size_t i = 0; i < order->sent_count; i++)
        marks[i] = (struct ty_event_mark){.partition = order->sent[i].partition,
                                          .expected = shard->expected[order->sent[i].partition],
                                          .next = order->sent[i].next};
    memcpy(shard->sent, shard->known, sizeof shard->sent);
    for (size_t i = 0; i < order->sent_count; i++)
        shard->sent[order->sent[i].partition] = order->sent[i].next;
    struct ty_published published = {
        .name = events->worker, .topic = TOPIC, .stamp_us = shard->stamp_us,
        .marks = marks, .mark_count = order->sent_count,
        .jobs = shard->jobs, .job_count = shard->job_count,
        .nulls = shard->nulls, .null_count = shard->null_count,
    };
    shard->step = STEP_TELLING;
    ty_events_hold(events);
    ty_state_published(events->state, shard->number, &published, on_told, shard);
}

// ---- Kafka's answers ----

static void on_failed(struct shard *shard, const struct ty_feed_order *order)
{
    struct ty_events *events = shard->events;
    if (order->outcome == TY_FEED_FENCED) {
        events->figures.fenced++;
        ty_log(TY_LOG_WARN, "events.fenced", TY_KV("shard", "%u", shard->number), TY_KV("error", "%s", order->err.message));
        ty_state_count_fenced(events->state, shard->number);
    } else {
        ty_events_log_trouble(shard, "events.trouble", &order->err);
    }
    ty_events_let_go(shard);
    ty_events_look_in(shard, AGAIN_MS);
}

static void on_feed(void *context, struct ty_feed_order *order)
{
    struct shard *shard = context;
    shard->has_order = false;
    if (order->kind == TY_FEED_CLOSE || shard->step == STEP_AWAY) {
        // nobody waits for it
    } else if (order->outcome != TY_FEED_DONE) {
        on_failed(shard, order);
    } else if (order->kind == TY_FEED_OPEN) {
        shard->partitions = order->partitions;
        memcpy(shard->ends, order->ends, sizeof shard->ends);
        shard->is_level = false;
        shard->step = STEP_READY;
        shard->logged_ms = 0;
        ty_log(TY_LOG_INFO, "events.open", TY_KV("shard", "%u", shard->number), TY_KV("partitions", "%u", order->partitions));
        ty_events_look_in(shard, 0);
    } else if (order->kind == TY_FEED_READ) {
        ty_replay_on_read(shard, order);
        return;
    } else if (order->kind == TY_FEED_SEND) {
        tell(shard, order);
    }
    ty_feed_order_free(order);
}

// ---- the outbox ----

static void open_feed(struct shard *shard)
{
    struct ty_events *events = shard->events;
    struct ty_err err;
    char *id TY_FREE = ty_defect("outbox-not-fenced")
        ? ty_xasprintf("%s%s-%u-%s", events->kafka.topic_prefix, TOPIC, shard->number, events->worker)
        : ty_xasprintf("%s%s-%u", events->kafka.topic_prefix, TOPIC, shard->number);
    if (shard->has_order) { // it is still being closed
        ty_events_look_in(shard, IDLE_MS);
        return;
    }
    if (!shard->feed && ty_feed_new(events->loop, &events->kafka, TOPIC, id, on_feed, shard, &shard->feed, &err) < 0) {
        ty_events_log_trouble(shard, "events.trouble", &err);
        ty_events_look_in(shard, AGAIN_MS);
        return;
    }
    shard->step = STEP_OPENING;
    events->figures.shards++;
    ty_events_give(shard, ty_feed_order_new(TY_FEED_OPEN));
    ty_events_look_in(shard, events->lease_ms / 3);
}

static void add_event(struct shard *shard, const struct ty_outbox_job *job, uint64_t epoch, struct ty_feed_order *order)
{
    TY_BUF(bytes);
    struct ty_err err;
    if (!job->is_ok)
        ty_err_set(&err, TY_EDATALOSS, "its record cannot be read");
    if (job->is_ok && ty_event_encode(&job->record, epoch, &bytes, &err) == 0) {
        ty_feed_order_add(order, &job->id, bytes.data, bytes.len);
        return;
    }
    char id[TY_ID_TEXT_BYTES];
    shard->events->figures.poisoned++;
    ty_log(TY_LOG_ERROR, "events.poisoned", TY_KV("job", "%s", ty_id_format(&job->id, id)), TY_KV("error", "%s", err.message));
}

static void publish(struct shard *shard, const struct ty_outbox *outbox)
{
    struct ty_feed_order *order = ty_feed_order_new(TY_FEED_SEND);
    forget_batch(shard);
    shard->stamp_us = outbox->stamp_us;
    memcpy(shard->expected, outbox->marks, outbox->mark_count * sizeof *outbox->marks);
    shard->jobs = ty_xcalloc(outbox->job_count + 1, sizeof *shard->jobs);
    shard->nulls = ty_xcalloc(outbox->null_count + 1, sizeof *shard->nulls);
    shard->job_count = outbox->job_count;
    shard->null_count = outbox->null_count;
    shard->is_full = outbox->job_count >= BATCH_JOBS;
    for (size_t i = 0; i < outbox->null_count; i++) { // before the events: one may be of a job that has the id anew
        shard->nulls[i] = outbox->nulls[i];
        ty_feed_order_add(order, &outbox->nulls[i], NULL, 0);
    }
    for (size_t i = 0; i < outbox->job_count; i++) {
        shard->jobs[i].id = outbox->jobs[i].id;
        memcpy(shard->jobs[i].change, outbox->jobs[i].change, sizeof shard->jobs[i].change);
        add_event(shard, &outbox->jobs[i], outbox->epoch, order);
    }
    shard->step = STEP_SENDING;
    if (order->count) {
        ty_events_give(shard, order);
    } else { // nothing but what is no event
        tell(shard, order);
        ty_feed_order_free(order);
    }
    ty_events_look_in(shard, shard->events->lease_ms / 3);
}

static void on_held_ended(void *context, const struct ty_err *err, unsigned ended)
{
    struct shard *shard = context;
    if (!ty_events_release(shard->events))
        return;
    shard->is_ending_held = false;
    if (!err && ended)
        ty_log(TY_LOG_INFO, "events.held_ended", TY_KV("shard", "%u", shard->number), TY_KV("jobs", "%u", ended));
}

// What was canceled while the store came back, and nobody says that he has it.
static void end_held(struct shard *shard)
{
    struct ty_events *events = shard->events;
    uint64_t now_ms = ty_loop_now_ms(events->loop);
    if (shard->step != STEP_READY || !shard->is_level || shard->is_ending_held || now_ms < shard->held_ms)
        return;
    shard->held_ms = now_ms + HELD_MS;
    shard->is_ending_held = true;
    ty_events_hold(events);
    ty_state_end_held(events->state, shard->number, events->worker, on_held_ended, shard);
}

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct shard *shard = context;
    struct ty_events *events = shard->events;
    if (!ty_events_release(events))
        return;
    shard->is_asking = false;
    if (events->is_stopping)
        return;
    if (!err && outbox->is_ours)
        end_held(shard);
    if (err) {
        if (err->code != TY_EUNAVAILABLE && err->code != TY_EDEADLINE)
            ty_events_log_trouble(shard, "events.trouble", err);
        ty_events_look_in(shard, AGAIN_MS);
    } else if (!outbox->is_ours) {
        if (shard->step == STEP_READY)
            ty_events_let_go(shard);
        ty_events_look_in(shard, events->lease_ms / 2);
    } else if (shard->step == STEP_AWAY) {
        open_feed(shard);
    } else if (shard->step == STEP_READY && outbox->mark_count == shard->partitions && ty_replay_start(shard, outbox)) {
        ty_events_look_in(shard, events->lease_ms / 3);
    } else if (shard->step == STEP_READY && outbox->mark_count == shard->partitions &&
               outbox->job_count + outbox->null_count > 0) {
        publish(shard, outbox);
    } else {
        ty_events_look_in(shard, shard->step == STEP_READY ? IDLE_MS : events->lease_ms / 3);
    }
}

static void ask(struct shard *shard, uint32_t lease_ms)
{
    struct ty_events *events = shard->events;
    bool is_ready = shard->step == STEP_READY;
    shard->is_asking = true;
    ty_events_hold(events);
    ty_state_outbox(events->state, shard->number, events->worker, lease_ms, is_ready ? BATCH_JOBS : 0, TOPIC,
                    is_ready ? shard->partitions : 0, on_outbox, shard);
}

// The lease is prolonged whatever is under way; what there is to publish is taken when nothing is.
static void look(void *context)
{
    struct shard *shard = context;
    if (shard->events->is_up && !shard->is_asking)
        ask(shard, shard->events->lease_ms);
}

// ---- outside ----

int ty_events_new(struct ty_loop *loop, struct ty_state *state, const struct ty_events_options *options,
                  struct ty_events **ret_events, struct ty_err *err)
{
    unsigned count = ty_state_shards(state);
    if (options->lease_ms < 500 || options->lease_ms > 60000)
        return ty_err_set(err, TY_EINVALID, "events: a lease of %" PRIu32 " ms", options->lease_ms);
    struct ty_events *events = ty_xcalloc(1, sizeof *events + count * sizeof events->shards[0]);
    events->loop = loop;
    events->state = state;
    events->kafka = options->kafka;
    events->worker = ty_xstrdup(options->worker);
    events->lease_ms = options->lease_ms;
    events->job_lease_ms = options->job_lease_ms;
    events->patience_ms = options->patience_ms ? options->patience_ms : PATIENCE_MS;
    events->is_manual = options->is_manual;
    events->shard_count = count;
    for (unsigned i = 0; i < count; i++) {
        events->shards[i].events = events;
        events->shards[i].number = i;
    }
    *ret_events = events;
    return 0;
}

void ty_events_on_store(struct ty_events *events, bool up)
{
    events->is_up = up;
    for (unsigned i = 0; i < events->shard_count; i++) {
        struct shard *shard = &events->shards[i];
        // It may come back as it was earlier, when less was asked for than now: where the commands end is looked for anew.
        if (shard->step == STEP_READING || shard->step == STEP_RESTORING)
            ty_events_let_go(shard);
        if (up)
            ty_events_look_in(shard, 0);
    }
}

struct ty_events_figures ty_events_figures(const struct ty_events *events)
{
    return events->figures;
}

void ty_events_stop(struct ty_events *events)
{
    events->is_stopping = true;
    for (unsigned i = 0; i < events->shard_count; i++) {
        struct shard *shard = &events->shards[i];
        ty_loop_clear_timer(events->loop, &shard->timer);
        ty_loop_clear_timer(events->loop, &shard->commands.timer);
        if (events->is_up && shard->step != STEP_AWAY)
            ask(shard, 0);
    }
}

void ty_events_free(struct ty_events *events)
{
    if (!events)
        return;
    ty_events_hold(events);
    for (unsigned i = 0; i < events->shard_count; i++) {
        ty_loop_clear_timer(events->loop, &events->shards[i].timer);
        ty_loop_clear_timer(events->loop, &events->shards[i].commands.timer);
        free(events->shards[i].commands.ends);
        ty_feed_free(events->shards[i].feed);
        forget_batch(&events->shards[i]);
        ty_replay_forget(&events->shards[i]);
    }
    events->is_freed = true;
    ty_events_release(events);
}
