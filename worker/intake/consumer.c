// The loop's side: starting, orders to the thread, what comes back from it.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "worker/intake/consumer_internal.h"

static const char *const kind_names[TY_TOPIC_KINDS] = {
    [TY_TOPIC_SUBMIT] = "submit", [TY_TOPIC_CANCEL] = "cancel", [TY_TOPIC_DELETE] = "delete",
    [TY_TOPIC_SETTINGS] = "settings"};

const char *ty_topic_kind_name(enum ty_topic_kind kind)
{
    return kind_names[kind];
}

// ---- records ----

void ty_intake_record_free(struct ty_intake_record *record)
{
    if (!record)
        return;
    struct ty_claimed_partition *claimed = record->claimed;
    struct ty_consumer *consumer = claimed->consumer;
    size_t bytes = record->key_len + record->value_len;
    atomic_fetch_sub(&claimed->held_records, 1);
    atomic_fetch_sub(&claimed->held_bytes, bytes);
    if (!record->is_aside) {
        atomic_fetch_sub(&consumer->held_records, 1);
        atomic_fetch_sub(&consumer->held_bytes, bytes);
    }
    rd_kafka_message_destroy(record->message);
    free(record);
    if (atomic_load(&consumer->is_waiting) && atomic_exchange(&consumer->is_waiting, false)) {
        pthread_mutex_lock(&consumer->lock);
        pthread_cond_signal(&consumer->relief);
        pthread_mutex_unlock(&consumer->lock);
    }
}

void ty_intake_record_set_aside(struct ty_intake_record *record)
{
    struct ty_consumer *consumer = record->claimed->consumer;
    if (record->is_aside)
        return;
    record->is_aside = true;
    atomic_fetch_sub(&consumer->held_records, 1);
    atomic_fetch_sub(&consumer->held_bytes, record->key_len + record->value_len);
}

void ty_intake_records_free(struct ty_intake_record *record)
{
    for (struct ty_intake_record *next; record; record = next) {
        next = record->next;
        ty_intake_record_free(record);
    }
}

void ty_assignment_free(struct ty_assignment *assignment)
{
    if (!assignment)
        return;
    free(assignment->cluster_id);
    free(assignment->partitions);
    free(assignment);
}

// ---- orders and notices ----

static void on_mail(void *context, struct ty_mail *mail)
{
    struct ty_consumer *consumer = context;
    struct ty_notice notice = *(struct ty_notice *)mail;
    free(mail);
    switch (notice.kind) {
    case NOTICE_ASSIGNED: consumer->events.on_assigned(consumer->context, notice.assignment); break;
    case NOTICE_REVOKED:
        consumer->events.on_revoked(consumer->context);
        ty_assignment_free(notice.assignment);
        break;
    case NOTICE_STALLED: consumer->events.on_stalled(consumer->context, notice.place, &notice.stall); break;
    case NOTICE_RECORDS: consumer->events.on_records(consumer->context, notice.records); break;
    case NOTICE_CLOSED: consumer->events.on_closed(consumer->context); break;
    }
}

static struct ty_order *order_new(enum ty_order_kind kind, size_t count)
{
    struct ty_order *order = ty_xcalloc(1, sizeof *order + count * sizeof order->from[0]);
    order->kind = kind;
    order->count = count;
    return order;
}

static void give_order(struct ty_consumer *consumer, struct ty_order *order)
{
    pthread_mutex_lock(&consumer->lock);
    *consumer->last_order = order;
    consumer->last_order = &order->next;
    pthread_cond_signal(&consumer->relief);
    pthread_mutex_unlock(&consumer->lock);
    rd_kafka_queue_yield(consumer->queue);
}

void ty_consumer_start(struct ty_consumer *consumer, uint32_t epoch, uint32_t turn, const int64_t *from, size_t count)
{
    struct ty_order *order = order_new(ORDER_START, count);
    order->epoch = epoch;
    order->turn = turn;
    memcpy(order->from, from, count * sizeof *from);
    give_order(consumer, order);
}

void ty_consumer_hold(struct ty_consumer *consumer)
{
    give_order(consumer, order_new(ORDER_HOLD, 0));
}

void ty_consumer_set_patience(struct ty_consumer *consumer, uint64_t patience_ms)
{
    atomic_store(&consumer->patience_ms, patience_ms);
}

uint64_t ty_consumer_silent_ms(const struct ty_consumer *consumer)
{
    uint64_t turned_at_ms = atomic_load(&consumer->turned_at_ms), now_ms = ty_clock_mono_ms();
    return now_ms > turned_at_ms ? now_ms - turned_at_ms : 0;
}

void ty_consumer_close(struct ty_consumer *consumer, uint64_t timeout_ms)
{
    struct ty_order *order = order_new(ORDER_CLOSE, 0);
    order->deadline_ms = ty_clock_mono_ms() + timeout_ms;
    give_order(consumer, order);
}

// On a thread of librdkafka. The consumer's thread may be waiting for submits, of which there are none.
static void on_urgent(rd_kafka_t *handle, void *context)
{
    struct ty_consumer *consumer = context;
    (void)handle;
    rd_kafka_queue_yield(consumer->queue);
}

static int make_handle(struct ty_consumer *consumer, const struct ty_consumer_options *options, struct ty_err *err)
{
    // What the intake stands on; and what a site may tune.
    ty_kafka_setting fixed[] = {
        {"group.id", options->group_id},
        {"enable.auto.offset.store", "false"},
        {"enable.auto.commit", "true"},
        {"enable.partition.eof", "true"}, // see consumer_watch.c
        {"auto.offset.reset", "earliest"},
        {"partition.assignment.strategy", "range"},
        {NULL, NULL},
    };
    static ty_kafka_setting tunable[] = {
        {"auto.commit.interval.ms", "1000"},
        {"session.timeout.ms", "10000"},
        {"heartbeat.interval.ms", "1000"},
        {"fetch.wait.max.ms", "10"},
        {"fetch.error.backoff.ms", "100"},
        {"queued.max.messages.kbytes", "16384"},
        // A topic that is made, and partitions that are added, are found within this time.
        {"topic.metadata.refresh.interval.ms", "5000"},
        {"socket.nagle.disable", "true"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf;
    if (ty_kafka_conf(&options->kafka, tunable, fixed, &conf, err) < 0)
        return -(int)err->code;
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_rebalance_cb(conf, ty_consumer_on_rebalance);
    if (ty_kafka_handle(RD_KAFKA_CONSUMER, conf, &consumer->handle, err) < 0)
        return -(int)err->code;
    rd_kafka_poll_set_consumer(consumer->handle);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->handle);
    consumer->urgent = rd_kafka_queue_new(consumer->handle);
    rd_kafka_queue_cb_event_enable(consumer->urgent, on_urgent, consumer);
    return 0;
}

static int subscribe(struct ty_consumer *consumer, struct ty_err *err)
{
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(TY_TOPIC_KINDS);
    for (size_t kind = 0; kind < TY_TOPIC_KINDS; kind++)
        rd_kafka_topic_partition_list_add(topics, consumer->topics[kind], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(consumer->handle, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return code ? ty_kafka_err(err, code, "Kafka: cannot subscribe") : 0;
}

int ty_consumer_new(struct ty_loop *loop, const struct ty_consumer_options *options,
                    const struct ty_consumer_events *events, void *context, struct ty_consumer **ret_consumer,
                    struct ty_err *err)
{
    struct ty_consumer *consumer = ty_xcalloc(1, sizeof *consumer);
    pthread_condattr_t monotonic;
    consumer->events = *events;
    consumer->context = context;
    consumer->limits = *options;
    consumer->patience_ms = options->patience_ms;
    consumer->turned_at_ms = ty_clock_mono_ms();
    consumer->last_order = &consumer->orders;
    consumer->last_gathered = &consumer->gathered;
    for (size_t kind = 0; kind < TY_TOPIC_KINDS; kind++)
        consumer->topics[kind] = ty_xasprintf("%s%s", options->kafka.topic_prefix, kind_names[kind]);
    pthread_mutex_init(&consumer->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&consumer->relief, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int rc = ty_mailbox_new(loop, on_mail, consumer, &consumer->mailbox, err);
    if (rc == 0)
        rc = make_handle(consumer, options, err);
    if (rc == 0)
        rc = subscribe(consumer, err);
    if (rc == 0) {
        int failed = pthread_create(&consumer->thread, NULL, ty_consumer_serve, consumer);
        consumer->has_thread = failed == 0;
        if (!failed)
            pthread_setname_np(consumer->thread, TY_CONSUMER_THREAD);
        if (failed)
            rc = ty_err_errno(err, failed, "cannot start the consumer's thread");
    }
    if (rc < 0) {
        ty_consumer_free(consumer);
        return rc;
    }
    *ret_consumer = consumer;
    return 0;
}

static void drop_mail(struct ty_mail *mail)
{
    for (struct ty_mail *next; mail; mail = next) {
        struct ty_notice *notice = (struct ty_notice *)mail;
        next = mail->next;
        ty_intake_records_free(notice->records);
        notice->records = NULL;
    }
}

static void free_mail(struct ty_mail *mail)
{
    for (struct ty_mail *next; mail; mail = next) {
        struct ty_notice *notice = (struct ty_notice *)mail;
        next = mail->next;
        if (notice->kind == NOTICE_REVOKED)
            ty_assignment_free(notice->assignment);
        free(notice);
    }
}

void ty_consumer_free(struct ty_consumer *consumer)
{
    if (!consumer)
        return;
    if (consumer->has_thread) {
        give_order(consumer, order_new(ORDER_QUIT, 0));
        pthread_join(consumer->thread, NULL);
    }
    if (consumer->mailbox) {
        struct ty_mail *left = ty_mailbox_shut(consumer->mailbox);
        drop_mail(left);
        free_mail(left);
    }
    if (consumer->assigned)
        rd_kafka_topic_partition_list_destroy(consumer->assigned);
    ty_assignment_free(consumer->assignment);
    for (size_t kind = 0; kind < TY_TOPIC_KINDS; kind++) {
        free(consumer->places[kind]);
        free(consumer->topics[kind]);
    }
    if (consumer->urgent) {
        rd_kafka_queue_cb_event_enable(consumer->urgent, NULL, NULL);
        rd_kafka_queue_destroy(consumer->urgent);
    }
    if (consumer->queue)
        rd_kafka_queue_destroy(consumer->queue);
    if (consumer->handle)
        rd_kafka_destroy_flags(consumer->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    for (struct ty_order *next; consumer->orders; consumer->orders = next) {
        next = consumer->orders->next;
        free(consumer->orders);
    }
    ty_mailbox_unref(consumer->mailbox);
    pthread_cond_destroy(&consumer->relief);
    pthread_mutex_destroy(&consumer->lock);
    free(consumer);
}
