// The thread that owns the consumer: orders, polling, and leaving the group.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/buf.h"
#include "core/log.h"
#include "worker/intake/consumer_internal.h"

#define POLL_MS 100
#define ROADS_MS 50
#define HANDOVER_RECORDS 512
#define WAKE_RECORDS 20000
#define WAKE_QUERY_MS 50

void ty_consumer_tell(struct ty_consumer *consumer, const struct ty_notice *notice)
{
    struct ty_notice *mail = ty_xcalloc(1, sizeof *mail);
    *mail = *notice;
    if (ty_mailbox_put(consumer->mailbox, &mail->mail))
        return;
    ty_intake_records_free(mail->records);
    free(mail);
}

void ty_consumer_complain(struct ty_consumer *consumer, const char *event, rd_kafka_resp_err_t code, const char *text)
{
    if (ty_log_limit_take(&consumer->errors))
        ty_log(TY_LOG_WARN, event, TY_KV("error", "%s", rd_kafka_err2name(code)), TY_KV("message", "%s", text));
}

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
    size_t bytes = record->key_len + record->value_len;
    atomic_fetch_add(&claimed->held_records, 1);
    atomic_fetch_add(&claimed->held_bytes, bytes);
    atomic_fetch_add(&consumer->held_records, 1);
    atomic_fetch_add(&consumer->held_bytes, bytes);
    return record;
}

void ty_consumer_hand_over(struct ty_consumer *consumer)
{
    if (consumer->gathered)
        ty_consumer_tell(consumer, &(struct ty_notice){.kind = NOTICE_RECORDS, .records = consumer->gathered});
    consumer->gathered = NULL;
    consumer->last_gathered = &consumer->gathered;
}

// ---- orders ----

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
        case ORDER_START: ty_consumer_take_start(consumer, order); break;
        case ORDER_HOLD: ty_consumer_take_hold(consumer); break;
        case ORDER_CLOSE: consumer->close_by_ms = order->deadline_ms; break;
        case ORDER_QUIT: consumer->quit = true; break;
        }
        free(order);
    }
}

// ---- polling ----

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

// NULL: not a record that goes on; the message is the caller's then.
static struct ty_intake_record *take_message(struct ty_consumer *consumer, rd_kafka_message_t *message)
{
    size_t place = message->rkt ? ty_consumer_place(consumer, rd_kafka_topic_name(message->rkt), message->partition) : 0;
    struct ty_claimed_partition *claimed = place ? &consumer->assignment->partitions[place - 1] : NULL;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        if (claimed)
            ty_consumer_note(consumer, claimed, message->offset);
        return NULL;
    }
    if (message->err) {
        char text[256];
        if (rd_kafka_fatal_error(consumer->handle, text, sizeof text))
            ty_log(TY_LOG_ERROR, "intake.kafka_fatal", TY_KV("message", "%s; this worker takes no commands any more", text));
        ty_consumer_complain(consumer, "intake.kafka_error", message->err, rd_kafka_message_errstr(message));
        return NULL;
    }
    if (!claimed)
        return NULL;
    ty_consumer_note(consumer, claimed, message->offset + 1);
    return make_record(consumer, place - 1, message);
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
    consumer->polled_at_ms = ty_clock_mono_ms();
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
    ty_consumer_hand_over(consumer);
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
    ty_consumer_store_done(consumer);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->handle);
    rd_kafka_error_t *error = rd_kafka_consumer_close_queue(consumer->handle, queue);
    while (!error && !rd_kafka_consumer_closed(consumer->handle)) {
        uint64_t now_ms = ty_clock_mono_ms();
        atomic_store(&consumer->turned_at_ms, now_ms);
        take_orders(consumer);
        if (now_ms >= consumer->close_by_ms || consumer->quit) {
            ty_log(TY_LOG_WARN, "intake.close_timeout", TY_KV("message", "the group was not left in time"));
            break;
        }
        take_closing_event(consumer, queue);
    }
    if (error) {
        ty_consumer_complain(consumer, "intake.close_failed", rd_kafka_error_code(error), rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
    rd_kafka_queue_destroy(queue);
    ty_consumer_tell(consumer, &(struct ty_notice){.kind = NOTICE_CLOSED});
}

void *ty_consumer_serve(void *context)
{
    struct ty_consumer *consumer = context;
    for (;;) {
        atomic_store(&consumer->turned_at_ms, ty_clock_mono_ms());
        take_orders(consumer);
        if (consumer->quit || consumer->close_by_ms)
            break;
        if (consumer->assigned && ty_clock_mono_ms() >= consumer->announce_at_ms)
            ty_consumer_announce(consumer);
        ty_consumer_store_done(consumer);
        ty_consumer_balance(consumer);
        poll_records(consumer);
        ty_consumer_watch(consumer);
    }
    if (!consumer->quit)
        leave(consumer);
    return NULL;
}
