#include "worker/events/events.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/event.h"
#include "core/log.h"
#include "core/state_outbox.h"
#include "worker/events/feed.h"

#define TOPIC "events"
#define BATCH_JOBS 500u
#define IDLE_MS 100u    // between looks at an outbox that was empty
#define AGAIN_MS 1000u  // after something failed
#define LOG_EVERY_MS 30000u

// Where a shard's publisher is.
enum step {
    STEP_AWAY,    // another has the lease, or it is not known
    STEP_OPENING, // the lease is ours; the feed fences the one before and looks at the topic
    STEP_READY,
    STEP_SENDING, // Kafka writes
    STEP_TELLING, // the store is told
};

struct shard {
    struct ty_events *events;
    unsigned number;
    enum step step;
    struct ty_feed *feed;
    unsigned partitions;
    struct ty_timer timer;
    bool has_order; // the feed is at work
    bool is_asking; // a call of the outbox is on its way
    // What is being published:
    uint64_t stamp_us;
    struct ty_outbox_job *jobs; // id and change only
    struct ty_id *nulls;
    size_t job_count, null_count;
    int64_t expected[TY_FEED_PARTITIONS_MAX];
    bool is_full; // there may be more
    uint64_t logged_ms;
};

struct ty_events {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_kafka_options kafka;
    char *worker;
    uint32_t lease_ms;
    bool is_up, is_stopping, is_freed;
    unsigned calls; // answers of the store that are to come
    struct ty_events_figures figures;
    unsigned shard_count;
    struct shard shards[];
};

static void look(void *context);

// ---- life ----

static void hold(struct ty_events *events)
{
    events->calls++;
}

// False: it was freed meanwhile, and there is nothing to do.
static bool release(struct ty_events *events)
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

static void look_in(struct shard *shard, uint64_t ms)
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

static void give(struct shard *shard, struct ty_feed_order *order)
{
    shard->has_order = true;
    ty_feed_give(shard->feed, order);
}

// Kafka is let go; what was being written is in the outbox still. An order that is under way comes back and finds nobody.
static void let_go(struct shard *shard)
{
    if (shard->step == STEP_AWAY)
        return;
    shard->events->figures.shards--;
    shard->step = STEP_AWAY;
    forget_batch(shard);
    if (!shard->has_order)
        give(shard, ty_feed_order_new(TY_FEED_CLOSE));
}

static void log_trouble(struct shard *shard, const char *event, const struct ty_err *err)
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
    if (!release(events) || shard->step != STEP_TELLING)
        return;
    if (err || result != TY_PUBLISHED) {
        events->figures.gaps += !err && result == TY_PUBLISHED_GAP;
        let_go(shard); // it is opened again, and finds out where the store is
        look_in(shard, err ? AGAIN_MS : 0);
        return;
    }
    events->figures.published += shard->job_count;
    events->figures.nulls += shard->null_count;
    events->figures.batches++;
    forget_batch(shard);
    shard->step = STEP_READY;
    look_in(shard, shard->is_full ? 0 : IDLE_MS);
}

static void tell(struct shard *shard, const struct ty_feed_order *order)
{
    struct ty_events *events = shard->events;
    struct ty_event_mark marks[TY_FEED_PARTITIONS_MAX];
    for (size_t i = 0; i < order->sent_count; i++)
        marks[i] = (struct ty_event_mark){.partition = order->sent[i].partition,
                                          .expected = shard->expected[order->sent[i].partition],
                                          .next = order->sent[i].next};
    struct ty_published published = {
        .name = events->worker, .topic = TOPIC, .stamp_us = shard->stamp_us,
        .marks = marks, .mark_count = order->sent_count,
        .jobs = shard->jobs, .job_count = shard->job_count,
        .nulls = shard->nulls, .null_count = shard->null_count,
    };
    shard->step = STEP_TELLING;
    hold(events);
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
        log_trouble(shard, "events.trouble", &order->err);
    }
    let_go(shard);
    look_in(shard, AGAIN_MS);
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
        shard->step = STEP_READY;
        shard->logged_ms = 0;
        ty_log(TY_LOG_INFO, "events.open", TY_KV("shard", "%u", shard->number), TY_KV("partitions", "%u", order->partitions));
        look_in(shard, 0);
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
    char *id TY_FREE = ty_xasprintf("%s%s-%u", events->kafka.topic_prefix, TOPIC, shard->number);
    if (shard->has_order) { // it is still being closed
        look_in(shard, IDLE_MS);
        return;
    }
    if (!shard->feed && ty_feed_new(events->loop, &events->kafka, TOPIC, id, on_feed, shard, &shard->feed, &err) < 0) {
        log_trouble(shard, "events.trouble", &err);
        look_in(shard, AGAIN_MS);
        return;
    }
    shard->step = STEP_OPENING;
    events->figures.shards++;
    give(shard, ty_feed_order_new(TY_FEED_OPEN));
    look_in(shard, events->lease_ms / 3);
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
        give(shard, order);
    } else { // nothing but what is no event
        tell(shard, order);
        ty_feed_order_free(order);
    }
    look_in(shard, shard->events->lease_ms / 3);
}

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct shard *shard = context;
    struct ty_events *events = shard->events;
    if (!release(events))
        return;
    shard->is_asking = false;
    if (events->is_stopping)
        return;
    if (err) {
        if (err->code != TY_EUNAVAILABLE && err->code != TY_EDEADLINE)
            log_trouble(shard, "events.trouble", err);
        look_in(shard, AGAIN_MS);
    } else if (!outbox->is_ours) {
        if (shard->step == STEP_READY)
            let_go(shard);
        look_in(shard, events->lease_ms / 2);
    } else if (shard->step == STEP_AWAY) {
        open_feed(shard);
    } else if (shard->step == STEP_READY && outbox->mark_count == shard->partitions &&
               outbox->job_count + outbox->null_count > 0) {
        publish(shard, outbox);
    } else {
        look_in(shard, shard->step == STEP_READY ? IDLE_MS : events->lease_ms / 3);
    }
}

static void ask(struct shard *shard, uint32_t lease_ms)
{
    struct ty_events *events = shard->events;
    bool is_ready = shard->step == STEP_READY;
    shard->is_asking = true;
    hold(events);
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
    for (unsigned i = 0; up && i < events->shard_count; i++)
        look_in(&events->shards[i], 0);
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
        if (events->is_up && shard->step != STEP_AWAY)
            ask(shard, 0);
    }
}

void ty_events_free(struct ty_events *events)
{
    if (!events)
        return;
    hold(events);
    for (unsigned i = 0; i < events->shard_count; i++) {
        ty_loop_clear_timer(events->loop, &events->shards[i].timer);
        ty_feed_free(events->shards[i].feed);
        forget_batch(&events->shards[i]);
    }
    events->is_freed = true;
    release(events);
}
