// The thread that owns the consumer: assignments, polling, what it holds back, offsets.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"
#include "worker/intake/consumer_internal.h"

#define POLL_MS 100
#define RETRY_MS 200
#define ROADS_MS 50
// How long the thread waits for the loop before it pauses what is full: a pause throws away what librdkafka has fetched, so it
// is for a partition that stands still, not for one that is only busy.
#define RELIEF_MS 50
#define HANDOVER_RECORDS 512
#define QUERY_MS 3000
#define WAKE_RECORDS 20000
#define WAKE_QUERY_MS 50

// ---- records ----

// A client may have set the time (CreateTime): it is not believed when it lies ahead.
static uint64_t record_time_us(const rd_kafka_message_t *message)
{
    rd_kafka_timestamp_type_t type;
    int64_t time_ms = rd_kafka_message_timestamp(message, &type);
    uint64_t now_us = ty_clock_wall_us();
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || time_ms <= 0)
        return now_us;
    uint64_t time_us = (uint64_t)time_ms * 1000;
    return type == RD_KAFKA_TIMESTAMP_CREATE_TIME && time_us > now_us ? now_us : time_us;
}

static struct ty_intake_record *make_record(struct ty_consumer *consumer, size_t place, rd_kafka_message_t *message)
{
    struct ty_claimed_partition *claimed = &consumer->assignment->partitions[place];
    struct ty_intake_record *record = ty_xmalloc(sizeof *record);
    *record = (struct ty_intake_record){
        .partition = place,
        .epoch = consumer->epoch,
        .turn = claimed->turn,
        .offset = message->offset,
        .time_us = record_time_us(message),
        .key = message->key,
        .key_len = message->key_len,
        .value = message->payload,
        .value_len = message->len,
        .message = message,
        .claimed = claimed,
    };
    claimed->has_come = true;
    size_t bytes = record->key_len + record->value_len;
    atomic_fetch_add(&claimed->held_records, 1);
    atomic_fetch_add(&claimed->held_bytes, bytes);
    atomic_fetch_add(&consumer->held_records, 1);
    atomic_fetch_add(&consumer->held_bytes, bytes);
    return record;
}

// ---- the assignment ----

static void tell(struct ty_consumer *consumer, enum ty_notice_kind kind, struct ty_assignment *assignment,
                 struct ty_intake_record *records)
{
    struct ty_notice *notice = ty_xcalloc(1, sizeof *notice);
    notice->kind = kind;
    notice->assignment = assignment;
    notice->records = records;
    if (ty_mailbox_put(consumer->mailbox, &notice->mail))
        return;
    ty_intake_records_free(records);
    free(notice);
}

static void complain(struct ty_consumer *consumer, const char *event, rd_kafka_resp_err_t code, const char *text)
{
    if (ty_log_limit_take(&consumer->errors))
        ty_log(TY_LOG_WARN, event, TY_KV("error", "%s", rd_kafka_err2name(code)), TY_KV("message", "%s", text));
}

static rd_kafka_topic_partition_list_t *list_of(const struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)assignment->count);
    for (size_t i = 0; i < assignment->count; i++)
        rd_kafka_topic_partition_list_add(list, consumer->topics[assignment->partitions[i].kind],
                                          assignment->partitions[i].number);
    return list;
}

// Tells librdkafka what may be committed.
static void store_done(struct ty_consumer *consumer)
{
    struct ty_assignment *assignment = consumer->assignment;
    rd_kafka_topic_partition_list_t *forward = NULL, *back = NULL;
    for (size_t i = 0; assignment && i < assignment->count; i++) {
        struct ty_claimed_partition *claimed = &assignment->partitions[i];
        int64_t done = atomic_load(&claimed->done);
        if (done < 0 || done == claimed->stored)
            continue;
        // A lower offset is never committed by itself; it is meant when Kafka went back.
        rd_kafka_topic_partition_list_t **list = done < claimed->stored ? &back : &forward;
        if (!*list)
            *list = rd_kafka_topic_partition_list_new(8);
        rd_kafka_topic_partition_list_add(*list, consumer->topics[claimed->kind], claimed->number)->offset = done;
        claimed->stored = done;
    }
    if (back) {
        rd_kafka_commit(consumer->handle, back, 1);
        rd_kafka_topic_partition_list_destroy(back);
    }
    if (forward) {
        rd_kafka_offsets_store(consumer->handle, forward); // a partition that is not ours any more: its new owner commits
        rd_kafka_topic_partition_list_destroy(forward);
    }
}

static void hand_over(struct ty_consumer *consumer)
{
    if (consumer->gathered)
        tell(consumer, NOTICE_RECORDS, NULL, consumer->gathered);
    consumer->gathered = NULL;
    consumer->last_gathered = &consumer->gathered;
}

static void forget_assignment(struct ty_consumer *consumer)
{
    hand_over(consumer); // so that no record comes behind the end of its assignment
    if (consumer->assigned)
        rd_kafka_topic_partition_list_destroy(consumer->assigned);
    consumer->assigned = NULL;
    for (size_t kind = 0; kind < TY_TOPIC_KINDS; kind++) {
        free(consumer->places[kind]);
        consumer->places[kind] = NULL;
        consumer->place_count[kind] = 0;
    }
    consumer->is_holding = consumer->has_paused = false;
    if (consumer->assignment)
        tell(consumer, NOTICE_REVOKED, consumer->assignment, NULL);
    consumer->assignment = NULL;
    consumer->epoch++;
}

void ty_consumer_on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
                              void *opaque)
{
    struct ty_consumer *consumer = opaque;
    store_done(consumer);
    forget_assignment(consumer);
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        // In the group with nothing to fetch: where to start is the store's to say.
        rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);
        rd_kafka_resp_err_t refused = rd_kafka_assign(handle, nothing);
        if (refused)
            complain(consumer, "intake.assign_failed", refused, rd_kafka_err2str(refused));
        rd_kafka_topic_partition_list_destroy(nothing);
        consumer->assigned = rd_kafka_topic_partition_list_copy(partitions);
        consumer->announce_at_ms = 0;
        return;
    }
    if (code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS)
        complain(consumer, "intake.rebalance_failed", code, rd_kafka_err2str(code));
    rd_kafka_assign(handle, NULL);
}

// TY_TOPIC_KINDS for a topic that is not ours.
static size_t kind_of(const struct ty_consumer *consumer, const char *topic)
{
    size_t kind = 0;
    while (kind < TY_TOPIC_KINDS && strcmp(consumer->topics[kind], topic) != 0)
        kind++;
    return kind;
}

static void add_partition(struct ty_consumer *consumer, const rd_kafka_topic_partition_t *from)
{
    struct ty_assignment *assignment = consumer->assignment;
    size_t kind = kind_of(consumer, from->topic);
    if (kind == TY_TOPIC_KINDS)
        return;
    struct ty_claimed_partition *claimed = &assignment->partitions[assignment->count++];
    *claimed = (struct ty_claimed_partition){.consumer = consumer,
                                             .kind = (enum ty_topic_kind)kind,
                                             .number = from->partition,
                                             .committed = from->offset >= 0 ? from->offset : -1,
                                             .stored = -1};
    atomic_store(&claimed->done, -1);
    if (from->partition >= consumer->place_count[kind]) {
        size_t had = (size_t)consumer->place_count[kind], count = (size_t)from->partition + 1;
        consumer->places[kind] = ty_xrealloc(consumer->places[kind], count * sizeof(uint32_t));
        memset(consumer->places[kind] + had, 0, (count - had) * sizeof(uint32_t));
        consumer->place_count[kind] = from->partition + 1;
    }
    consumer->places[kind][from->partition] = (uint32_t)assignment->count;
}

// Asks Kafka for its cluster id and the group's offsets, and tells the loop. What fails is tried again.
static void announce(struct ty_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = consumer->assigned;
    char *cluster_id = rd_kafka_clusterid(consumer->handle, QUERY_MS);
    rd_kafka_resp_err_t code = cluster_id ? rd_kafka_committed(consumer->handle, list, QUERY_MS)
                                          : RD_KAFKA_RESP_ERR__TIMED_OUT;
    for (int i = 0; !code && i < list->cnt; i++)
        code = list->elems[i].err;
    if (code) {
        complain(consumer, "intake.offsets_unknown", code, rd_kafka_err2str(code));
        rd_kafka_mem_free(consumer->handle, cluster_id);
        consumer->announce_at_ms = ty_clock_mono_ms() + RETRY_MS;
        return;
    }
    struct ty_assignment *assignment = ty_xcalloc(1, sizeof *assignment);
    assignment->epoch = consumer->epoch;
    assignment->cluster_id = ty_xstrdup(cluster_id);
    assignment->partitions = ty_xcalloc((size_t)list->cnt + 1, sizeof *assignment->partitions);
    rd_kafka_mem_free(consumer->handle, cluster_id);
    consumer->assignment = assignment;
    for (int i = 0; i < list->cnt; i++)
        add_partition(consumer, &list->elems[i]);
    consumer->assigned = NULL;
    rd_kafka_topic_partition_list_destroy(list);
    tell(consumer, NOTICE_ASSIGNED, assignment, NULL);
}

// ---- orders ----

static void start(struct ty_consumer *consumer, const struct ty_order *order)
{
    struct ty_assignment *assignment = consumer->assignment;
    if (!assignment || order->epoch != consumer->epoch || order->count != assignment->count)
        return;
    rd_kafka_topic_partition_list_t *list = list_of(consumer);
    for (size_t i = 0; i < assignment->count; i++) {
        struct ty_claimed_partition *claimed = &assignment->partitions[i];
        claimed->turn = order->turn;
        claimed->is_paused = claimed->has_come = false;
        // 0 is as good as the earliest, which is where librdkafka goes from an offset that is not there, and is not asked for.
        list->elems[i].offset = order->from[i];
    }
    consumer->is_holding = consumer->has_paused = false;
    consumer->roads_at_ms = 0;
    // A pause outlives an assignment in some versions of librdkafka. The resume comes first: a partition that was fetched from
    // begins some time after rd_kafka_assign has returned, and a pause or a resume meanwhile can make librdkafka throw its order
    // to begin away, as older than they are; nothing would ever come from it (librdkafka #2190, #5591).
    rd_kafka_resume_partitions(consumer->handle, list);
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->handle, list);
    if (code)
        complain(consumer, "intake.assign_failed", code, rd_kafka_err2str(code));
    rd_kafka_topic_partition_list_destroy(list);
}

static void hold(struct ty_consumer *consumer)
{
    if (!consumer->assignment || consumer->is_holding)
        return;
    consumer->is_holding = true;
    rd_kafka_topic_partition_list_t *list = list_of(consumer);
    rd_kafka_pause_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void take_orders(struct ty_consumer *consumer)
{
    pthread_mutex_lock(&consumer->lock);
    struct ty_order *order = consumer->orders;
    consumer->orders = NULL;
    consumer->last_order = &consumer->orders;
    pthread_mutex_unlock(&consumer->lock);
    for (struct ty_order *next; order; order = next) {
        next = order->next;
        switch (order->kind) {
        case ORDER_START: start(consumer, order); break;
        case ORDER_HOLD: hold(consumer); break;
        case ORDER_CLOSE: consumer->close_by_ms = order->deadline_ms; break;
        case ORDER_QUIT: consumer->quit = true; break;
        }
        free(order);
    }
}

// ---- how much the loop holds ----

static bool is_full(const struct ty_consumer *consumer, const struct ty_claimed_partition *claimed, size_t share)
{
    return atomic_load(&claimed->is_held) || atomic_load(&claimed->held_records) > consumer->limits.partition_records / share ||
           atomic_load(&claimed->held_bytes) > consumer->limits.partition_bytes / share;
}

static bool total_is_full(const struct ty_consumer *consumer, size_t share)
{
    return atomic_load(&consumer->held_records) > consumer->limits.total_records / share ||
           atomic_load(&consumer->held_bytes) > consumer->limits.total_bytes / share;
}

// What it holds may be left over from before a start: until something has come since, it must not be paused (see start).
static bool is_to_pause(const struct ty_consumer *consumer, const struct ty_claimed_partition *claimed, bool total_is_full)
{
    return claimed->has_come && !claimed->is_paused &&
           (is_full(consumer, claimed, 1) || (total_is_full && atomic_load(&claimed->held_records) > 0));
}

static bool needs_relief(const struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment;
    bool all = total_is_full(consumer, 1);
    for (size_t i = 0; i < assignment->count; i++)
        if (is_to_pause(consumer, &assignment->partitions[i], all))
            return true;
    return false;
}

static void wait_for_relief(struct ty_consumer *consumer)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += RELIEF_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&consumer->lock);
    bool in_time = true;
    while (in_time && !consumer->orders) {
        // The flag goes up before the look, so that what is let go after the look is heard of.
        atomic_store(&consumer->is_waiting, true);
        if (!needs_relief(consumer))
            break;
        in_time = pthread_cond_timedwait(&consumer->relief, &consumer->lock, &until) == 0;
    }
    atomic_store(&consumer->is_waiting, false);
    pthread_mutex_unlock(&consumer->lock);
}

static void pause_full_ones(struct ty_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    bool all = total_is_full(consumer, 1);
    for (size_t i = 0; i < consumer->assignment->count; i++) {
        struct ty_claimed_partition *claimed = &consumer->assignment->partitions[i];
        if (!is_to_pause(consumer, claimed, all))
            continue;
        claimed->is_paused = consumer->has_paused = true;
        rd_kafka_topic_partition_list_add(list, consumer->topics[claimed->kind], claimed->number);
    }
    if (list->cnt)
        rd_kafka_pause_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void resume_empty_ones(struct ty_consumer *consumer)
{
    if (total_is_full(consumer, 2))
        return;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    consumer->has_paused = false;
    for (size_t i = 0; i < consumer->assignment->count; i++) {
        struct ty_claimed_partition *claimed = &consumer->assignment->partitions[i];
        if (!claimed->is_paused)
            continue;
        if (is_full(consumer, claimed, 2)) {
            consumer->has_paused = true;
            continue;
        }
        claimed->is_paused = false;
        rd_kafka_topic_partition_list_add(list, consumer->topics[claimed->kind], claimed->number);
    }
    if (list->cnt)
        rd_kafka_resume_partitions(consumer->handle, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void balance(struct ty_consumer *consumer)
{
    if (!consumer->assignment || consumer->is_holding)
        return;
    if (needs_relief(consumer)) {
        wait_for_relief(consumer);
        pause_full_ones(consumer);
    }
    if (consumer->has_paused)
        resume_empty_ones(consumer);
}

// ---- polling ----

// NULL: not a record that goes on; the message is the caller's then.
static struct ty_intake_record *take_message(struct ty_consumer *consumer, rd_kafka_message_t *message)
{
    if (message->err) {
        char text[256];
        if (rd_kafka_fatal_error(consumer->handle, text, sizeof text))
            ty_log(TY_LOG_ERROR, "intake.kafka_fatal", TY_KV("message", "%s; this worker takes no commands any more", text));
        complain(consumer, "intake.kafka_error", message->err, rd_kafka_message_errstr(message));
        return NULL;
    }
    size_t kind = kind_of(consumer, rd_kafka_topic_name(message->rkt));
    if (!consumer->assignment || kind == TY_TOPIC_KINDS || message->partition >= consumer->place_count[kind] ||
        !consumer->places[kind][message->partition])
        return NULL;
    return make_record(consumer, consumer->places[kind][message->partition] - 1, message);
}

// When librdkafka's fetching thread has found its queue full, it sleeps for a second, whatever is taken out meanwhile; a worker
// that takes 100,000 commands a second would stand still for half of it. Any request to that broker wakes it, so one for the
// end of the partition that the latest record came from is made when the queue has lost half of what it had. The answer, for
// which this thread must wait, does not matter.
static void wake_fetcher(struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment; // of now: a poll may have ended the one before
    size_t queued = rd_kafka_queue_length(consumer->queue);
    int64_t low, high;
    if (queued > consumer->queued_peak)
        consumer->queued_peak = queued;
    if (consumer->queued_peak < WAKE_RECORDS || queued > consumer->queued_peak / 2)
        return;
    if (assignment && consumer->latest_place < assignment->count) {
        const struct ty_claimed_partition *latest = &assignment->partitions[consumer->latest_place];
        rd_kafka_query_watermark_offsets(consumer->handle, consumer->topics[latest->kind], latest->number, &low, &high, WAKE_QUERY_MS);
    }
    consumer->queued_peak = queued;
}

// A backlog of submits may be a hundred thousand records that were fetched already; a cancel does not wait behind it: all
// partitions but theirs go to a queue of their own. librdkafka forgets that when a partition is stopped, some time after it was
// assigned anew, and what it fetches then comes to no queue at all until it is told again; so it is told time and again.
static void set_roads(struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment;
    uint64_t now_ms = ty_clock_mono_ms();
    if (!assignment || now_ms < consumer->roads_at_ms)
        return;
    consumer->roads_at_ms = now_ms + ROADS_MS;
    for (size_t i = 0; i < assignment->count; i++) {
        const struct ty_claimed_partition *claimed = &assignment->partitions[i];
        rd_kafka_queue_t *queue = claimed->kind == TY_TOPIC_SUBMIT ? NULL :
            rd_kafka_queue_get_partition(consumer->handle, consumer->topics[claimed->kind], claimed->number);
        if (!queue)
            continue;
        rd_kafka_queue_forward(queue, consumer->urgent);
        rd_kafka_queue_destroy(queue);
    }
}

static void gather(struct ty_consumer *consumer, rd_kafka_message_t *message)
{
    struct ty_intake_record *record = take_message(consumer, message);
    if (!record) {
        rd_kafka_message_destroy(message);
        return;
    }
    *consumer->last_gathered = record;
    consumer->last_gathered = &record->next;
    consumer->latest_place = record->partition;
}

static void poll_records(struct ty_consumer *consumer)
{
    rd_kafka_message_t *message;
    int timeout_ms = consumer->assigned || consumer->has_paused ? POLL_MS / 10 : POLL_MS;
    size_t urgent = 0, count = 0;
    set_roads(consumer);
    while (urgent < HANDOVER_RECORDS && (message = rd_kafka_consume_queue(consumer->urgent, 0))) {
        gather(consumer, message);
        urgent++;
    }
    // Also when there was enough: this is what keeps the member in its group.
    for (; count < HANDOVER_RECORDS; count++) {
        message = rd_kafka_consumer_poll(consumer->handle, urgent || count ? 0 : timeout_ms);
        if (!message)
            break;
        gather(consumer, message);
    }
    hand_over(consumer);
    if (count)
        wake_fetcher(consumer);
}

// Events, and not callbacks: librdkafka aborts when it comes upon a record, of what was fetched already, among those.
static void take_closing_event(struct ty_consumer *consumer, rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 20);
    if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE)
        ty_consumer_on_rebalance(consumer->handle, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event), consumer);
    if (event)
        rd_kafka_event_destroy(event);
}

static void leave(struct ty_consumer *consumer)
{
    store_done(consumer);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->handle);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer->handle, queue);
    while (!error && !rd_kafka_consumer_closed(consumer->handle)) {
        uint64_t now_ms = ty_clock_mono_ms();
        take_orders(consumer);
        if (now_ms >= consumer->close_by_ms || consumer->quit) {
            ty_log(TY_LOG_WARN, "intake.close_timeout", TY_KV("message", "the group was not left in time"));
            break;
        }
        take_closing_event(consumer, queue);
    }
    if (error) {
        complain(consumer, "intake.close_failed", rd_kafka_error_code(error), rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
    rd_kafka_queue_destroy(queue);
    tell(consumer, NOTICE_CLOSED, NULL, NULL);
}

void *ty_consumer_serve(void *context)
{
    struct ty_consumer *consumer = context;
    for (;;) {
        take_orders(consumer);
        if (consumer->quit || consumer->close_by_ms)
            break;
        if (consumer->assigned && ty_clock_mono_ms() >= consumer->announce_at_ms)
            announce(consumer);
        store_done(consumer);
        balance(consumer);
        poll_records(consumer);
    }
    if (!consumer->quit)
        leave(consumer);
    return NULL;
}
