#include "worker/intake/consumer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"
#include "worker/intake/log_limit.h"
#include "worker/intake/mailbox.h"

#define POLL_MS 100
#define RETRY_MS 200
// How long the thread waits for the loop before it pauses what is full: a pause throws away what librdkafka has fetched, so it
// is for a partition that stands still, not for one that is only busy.
#define RELIEF_MS 50
#define HANDOVER_RECORDS 512
#define QUERY_MS 3000

enum order_kind { ORDER_START, ORDER_HOLD, ORDER_CLOSE, ORDER_QUIT };
struct order {
    struct order *next;
    enum order_kind kind;
    uint32_t epoch, turn;
    uint64_t deadline_ms;
    size_t count;
    int64_t from[];
};

enum letter_kind { MAIL_ASSIGNED, MAIL_REVOKED, MAIL_RECORDS, MAIL_CLOSED };
struct letter {
    struct ty_mail mail;
    enum letter_kind kind;
    struct ty_assignment *assignment;
    struct ty_intake_record *records;
};

struct ty_consumer {
    struct ty_consumer_events events;
    void *context;
    struct ty_consumer_options limits; // the numbers only
    char *topics[TY_TOPIC_KINDS];
    rd_kafka_t *handle;
    rd_kafka_queue_t *queue;
    struct ty_mailbox *mailbox;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t relief;
    struct order *orders, **last_order; // under lock
    atomic_bool is_waiting;
    atomic_size_t held_records, held_bytes;
    // The thread's own:
    rd_kafka_topic_partition_list_t *assigned; // NULL: nothing, or announced already
    uint64_t announce_at_ms;
    struct ty_assignment *assignment;          // what was announced
    uint32_t *places[TY_TOPIC_KINDS];          // index + 1 in the assignment, by number
    int32_t place_count[TY_TOPIC_KINDS];
    uint32_t epoch;
    bool is_holding, has_paused, quit;
    uint64_t close_by_ms;                      // 0: not asked
    struct ty_intake_record *gathered, **last_gathered; // polled, not yet handed over
    struct ty_log_limit errors;
};

static const char *const kind_names[TY_TOPIC_KINDS] = {
    [TY_TOPIC_SUBMIT] = "submit", [TY_TOPIC_CANCEL] = "cancel", [TY_TOPIC_DELETE] = "delete"};

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
    atomic_fetch_sub(&consumer->held_records, 1);
    atomic_fetch_sub(&consumer->held_bytes, bytes);
    rd_kafka_message_destroy(record->message);
    free(record);
    if (atomic_load(&consumer->is_waiting) && atomic_exchange(&consumer->is_waiting, false)) {
        pthread_mutex_lock(&consumer->lock);
        pthread_cond_signal(&consumer->relief);
        pthread_mutex_unlock(&consumer->lock);
    }
}

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

static void free_records(struct ty_intake_record *record)
{
    for (struct ty_intake_record *next; record; record = next) {
        next = record->next;
        ty_intake_record_free(record);
    }
}

// ---- the assignment ----

static void free_assignment(struct ty_assignment *assignment)
{
    if (!assignment)
        return;
    free(assignment->cluster_id);
    free(assignment->partitions);
    free(assignment);
}

static void tell(struct ty_consumer *consumer, enum letter_kind kind, struct ty_assignment *assignment,
                 struct ty_intake_record *records)
{
    struct letter *letter = ty_xcalloc(1, sizeof *letter);
    letter->kind = kind;
    letter->assignment = assignment;
    letter->records = records;
    if (ty_mailbox_put(consumer->mailbox, &letter->mail))
        return;
    free_records(records);
    free(letter);
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
        tell(consumer, MAIL_RECORDS, NULL, consumer->gathered);
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
        tell(consumer, MAIL_REVOKED, consumer->assignment, NULL);
    consumer->assignment = NULL;
    consumer->epoch++;
}

static void on_rebalance(rd_kafka_t *handle, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *partitions,
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
    tell(consumer, MAIL_ASSIGNED, assignment, NULL);
}

// ---- orders ----

static void start(struct ty_consumer *consumer, const struct order *order)
{
    struct ty_assignment *assignment = consumer->assignment;
    if (!assignment || order->epoch != consumer->epoch || order->count != assignment->count)
        return;
    rd_kafka_topic_partition_list_t *list = list_of(consumer);
    for (size_t i = 0; i < assignment->count; i++) {
        struct ty_claimed_partition *claimed = &assignment->partitions[i];
        claimed->turn = order->turn;
        claimed->is_paused = false;
        list->elems[i].offset = order->from[i] > 0 ? order->from[i] : RD_KAFKA_OFFSET_BEGINNING;
    }
    consumer->is_holding = consumer->has_paused = false;
    rd_kafka_resp_err_t code = rd_kafka_assign(consumer->handle, list);
    if (code)
        complain(consumer, "intake.assign_failed", code, rd_kafka_err2str(code));
    // A pause outlives an assignment in some versions of librdkafka.
    rd_kafka_resume_partitions(consumer->handle, list);
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
    struct order *order = consumer->orders;
    consumer->orders = NULL;
    consumer->last_order = &consumer->orders;
    pthread_mutex_unlock(&consumer->lock);
    for (struct order *next; order; order = next) {
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
    return atomic_load(&claimed->held_records) > consumer->limits.partition_records / share ||
           atomic_load(&claimed->held_bytes) > consumer->limits.partition_bytes / share;
}

static bool total_is_full(const struct ty_consumer *consumer, size_t share)
{
    return atomic_load(&consumer->held_records) > consumer->limits.total_records / share ||
           atomic_load(&consumer->held_bytes) > consumer->limits.total_bytes / share;
}

static bool needs_relief(const struct ty_consumer *consumer)
{
    const struct ty_assignment *assignment = consumer->assignment;
    bool all = total_is_full(consumer, 1);
    for (size_t i = 0; i < assignment->count; i++) {
        const struct ty_claimed_partition *claimed = &assignment->partitions[i];
        if (!claimed->is_paused && (is_full(consumer, claimed, 1) || (all && atomic_load(&claimed->held_records) > 0)))
            return true;
    }
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
        if (claimed->is_paused || !(is_full(consumer, claimed, 1) || (all && atomic_load(&claimed->held_records) > 0)))
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
        complain(consumer, "intake.kafka_error", message->err, rd_kafka_message_errstr(message));
        return NULL;
    }
    size_t kind = kind_of(consumer, rd_kafka_topic_name(message->rkt));
    if (!consumer->assignment || kind == TY_TOPIC_KINDS || message->partition >= consumer->place_count[kind] ||
        !consumer->places[kind][message->partition])
        return NULL;
    return make_record(consumer, consumer->places[kind][message->partition] - 1, message);
}

static void poll_records(struct ty_consumer *consumer)
{
    int timeout_ms = consumer->assigned || consumer->has_paused ? POLL_MS / 10 : POLL_MS;
    for (size_t count = 0; count < HANDOVER_RECORDS; count++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->handle, count ? 0 : timeout_ms);
        if (!message)
            break;
        struct ty_intake_record *record = take_message(consumer, message);
        if (record) {
            *consumer->last_gathered = record;
            consumer->last_gathered = &record->next;
        } else {
            rd_kafka_message_destroy(message);
        }
    }
    hand_over(consumer);
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
        rd_kafka_queue_poll_callback(queue, 20);
    }
    if (error) {
        complain(consumer, "intake.close_failed", rd_kafka_error_code(error), rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
    rd_kafka_queue_destroy(queue);
    tell(consumer, MAIL_CLOSED, NULL, NULL);
}

static void *serve(void *context)
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

// ---- the loop's side ----

static void on_mail(void *context, struct ty_mail *mail)
{
    struct ty_consumer *consumer = context;
    struct letter letter = *(struct letter *)mail;
    free(mail);
    switch (letter.kind) {
    case MAIL_ASSIGNED: consumer->events.on_assigned(consumer->context, letter.assignment); break;
    case MAIL_REVOKED:
        consumer->events.on_revoked(consumer->context);
        free_assignment(letter.assignment);
        break;
    case MAIL_RECORDS: consumer->events.on_records(consumer->context, letter.records); break;
    case MAIL_CLOSED: consumer->events.on_closed(consumer->context); break;
    }
}

static struct order *order_new(enum order_kind kind, size_t count)
{
    struct order *order = ty_xcalloc(1, sizeof *order + count * sizeof order->from[0]);
    order->kind = kind;
    order->count = count;
    return order;
}

static void give_order(struct ty_consumer *consumer, struct order *order)
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
    struct order *order = order_new(ORDER_START, count);
    order->epoch = epoch;
    order->turn = turn;
    memcpy(order->from, from, count * sizeof *from);
    give_order(consumer, order);
}

void ty_consumer_hold(struct ty_consumer *consumer)
{
    give_order(consumer, order_new(ORDER_HOLD, 0));
}

void ty_consumer_close(struct ty_consumer *consumer, uint64_t timeout_ms)
{
    struct order *order = order_new(ORDER_CLOSE, 0);
    order->deadline_ms = ty_clock_mono_ms() + timeout_ms;
    give_order(consumer, order);
}

static int make_handle(struct ty_consumer *consumer, const struct ty_consumer_options *options, struct ty_err *err)
{
    const char *const settings[][2] = {
        {"group.id", options->group_id},
        {"enable.auto.offset.store", "false"},
        {"enable.auto.commit", "true"},
        {"auto.commit.interval.ms", "1000"},
        {"auto.offset.reset", "earliest"},
        {"partition.assignment.strategy", "range"},
        {"session.timeout.ms", "10000"},
        {"heartbeat.interval.ms", "1000"},
        {"fetch.wait.max.ms", "10"},
        {"fetch.error.backoff.ms", "100"},
        {"queued.max.messages.kbytes", "16384"},
        // A topic that is made, and partitions that are added, are found within this time.
        {"topic.metadata.refresh.interval.ms", "5000"},
        {"socket.nagle.disable", "true"},
    };
    rd_kafka_conf_t *conf;
    char text[512];
    if (ty_kafka_conf(&options->kafka, &conf, err) < 0)
        return -(int)err->code;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) != RD_KAFKA_CONF_OK) {
            rd_kafka_conf_destroy(conf);
            return ty_err_set(err, TY_EINVALID, "Kafka property %s: %s", settings[i][0], text);
        }
    rd_kafka_conf_set_opaque(conf, consumer);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    consumer->handle = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (!consumer->handle) {
        rd_kafka_conf_destroy(conf);
        return ty_err_set(err, TY_EINVALID, "Kafka: %s", text);
    }
    rd_kafka_poll_set_consumer(consumer->handle);
    consumer->queue = rd_kafka_queue_get_consumer(consumer->handle);
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
        int failed = pthread_create(&consumer->thread, NULL, serve, consumer);
        consumer->has_thread = failed == 0;
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
        struct letter *letter = (struct letter *)mail;
        next = mail->next;
        free_records(letter->records);
        letter->records = NULL;
    }
}

static void free_mail(struct ty_mail *mail)
{
    for (struct ty_mail *next; mail; mail = next) {
        struct letter *letter = (struct letter *)mail;
        next = mail->next;
        if (letter->kind == MAIL_REVOKED)
            free_assignment(letter->assignment);
        free(letter);
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
    free_assignment(consumer->assignment);
    for (size_t kind = 0; kind < TY_TOPIC_KINDS; kind++) {
        free(consumer->places[kind]);
        free(consumer->topics[kind]);
    }
    if (consumer->queue)
        rd_kafka_queue_destroy(consumer->queue);
    if (consumer->handle)
        rd_kafka_destroy_flags(consumer->handle, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    for (struct order *next; consumer->orders; consumer->orders = next) {
        next = consumer->orders->next;
        free(consumer->orders);
    }
    ty_mailbox_unref(consumer->mailbox);
    pthread_cond_destroy(&consumer->relief);
    pthread_mutex_destroy(&consumer->lock);
    free(consumer);
}
