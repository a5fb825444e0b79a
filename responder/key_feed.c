#include "responder/key_feed.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/log.h"

#define TOPIC "settings"
#define PARTITIONS_MAX 64 // more are not followed
#define ASK_MS 1000       // how often, and for how long at most, Kafka is asked where the topic ends
#define POLL_MS 100
#define TAKE_MS 100       // how often the loop takes what the thread has read
#define RECORDS_MAX 10000 // that wait to be taken; the thread waits then

struct record {
    struct record *next;
    size_t name_len, value_len;
    bool has_value;
    char bytes[]; // name, value
};

struct ty_key_feed {
    struct ty_loop *loop;
    struct ty_keyring *keyring;
    struct ty_timer timer;
    char *topic_name;
    pthread_t thread;
    atomic_bool quits;
    // What the thread has for the loop.
    pthread_mutex_t lock;
    struct record *first, **last;
    size_t waiting;
    uint64_t known_ms; // everything that was in Kafka then is among the records; 0: not so
    bool is_anew;      // the topic is another one, from its beginning on
    // Of the thread alone.
    rd_kafka_t *handle;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int64_t next[PARTITIONS_MAX];
    int32_t count; // partitions that are followed; 0: none yet
    bool is_ill;   // was said
};

// ---- the loop's side ----

static void take(void *context)
{
    struct ty_key_feed *feed = context;
    pthread_mutex_lock(&feed->lock);
    struct record *records = feed->first;
    uint64_t known_ms = feed->known_ms;
    bool is_anew = feed->is_anew;
    feed->first = NULL;
    feed->last = &feed->first;
    feed->waiting = 0;
    feed->known_ms = 0;
    feed->is_anew = false;
    pthread_mutex_unlock(&feed->lock);
    if (is_anew)
        ty_keyring_forget_keys(feed->keyring);
    while (records) {
        struct record *record = records;
        records = record->next;
        ty_keyring_put(feed->keyring, record->bytes, record->name_len, record->has_value ? record->bytes + record->name_len : NULL,
                       record->value_len);
        free(record);
    }
    if (known_ms)
        ty_keyring_fed(feed->keyring, known_ms);
    ty_loop_set_timer(feed->loop, &feed->timer, TAKE_MS, take, feed);
}

// ---- the thread's ----

static void say(struct ty_key_feed *feed, rd_kafka_resp_err_t code, const char *what)
{
    struct ty_err err;
    if (!feed->is_ill) {
        ty_kafka_err(&err, code, "Kafka topic %s: %s", feed->topic_name, what);
        ty_log(TY_LOG_WARN, "keys.feed_ill", TY_KV("error", "%s", err.message),
               TY_KV("message", "%s", "access keys come by the store alone until it is well again"));
    }
    feed->is_ill = true;
}

static void keep(struct ty_key_feed *feed, const rd_kafka_message_t *message)
{
    if (!message->key || !ty_key_is_name(message->key, message->key_len))
        return; // a rule
    struct record *record = ty_xcalloc(1, sizeof *record + message->key_len + message->len);
    record->name_len = message->key_len;
    record->value_len = message->len;
    record->has_value = message->payload != NULL;
    memcpy(record->bytes, message->key, message->key_len);
    if (message->payload)
        memcpy(record->bytes + message->key_len, message->payload, message->len);
    pthread_mutex_lock(&feed->lock);
    *feed->last = record;
    feed->last = &record->next;
    feed->waiting++;
    pthread_mutex_unlock(&feed->lock);
}

static bool is_full(struct ty_key_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    bool full = feed->waiting >= RECORDS_MAX;
    pthread_mutex_unlock(&feed->lock);
    return full;
}

static void poll_records(struct ty_key_feed *feed)
{
    rd_kafka_message_t *message = rd_kafka_consume_queue(feed->queue, POLL_MS);
    for (; message; message = is_full(feed) ? NULL : rd_kafka_consume_queue(feed->queue, 0)) {
        if (!message->err)
            keep(feed, message);
        if ((!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) && message->partition < feed->count)
            feed->next[message->partition] = message->offset + (message->err ? 0 : 1);
        else if (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            say(feed, message->err, "cannot be read");
        rd_kafka_message_destroy(message);
    }
}

static void stop_following(struct ty_key_feed *feed)
{
    for (int32_t i = 0; i < feed->count; i++)
        rd_kafka_consume_stop(feed->topic, i);
    feed->count = 0;
}

// All topics are asked for: asking for one by its name makes some brokers create it, and so does a handle of it.
static int32_t find_partitions(struct ty_key_feed *feed)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(feed->handle, 1, NULL, &metadata, ASK_MS);
    int32_t count = 0;
    if (code) {
        say(feed, code, "Kafka does not answer");
        return 0;
    }
    code = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    for (int i = 0; i < metadata->topic_cnt; i++)
        if (!strcmp(metadata->topics[i].topic, feed->topic_name)) {
            code = metadata->topics[i].err;
            count = metadata->topics[i].partition_cnt;
        }
    rd_kafka_metadata_destroy(metadata);
    if (code)
        say(feed, code, "cannot be followed");
    else if (count > PARTITIONS_MAX)
        say(feed, RD_KAFKA_RESP_ERR_INVALID_PARTITIONS, "has too many partitions to be followed");
    return code || count > PARTITIONS_MAX ? 0 : count;
}

static void start_following(struct ty_key_feed *feed)
{
    int32_t count = find_partitions(feed);
    if (count && !feed->topic)
        feed->topic = rd_kafka_topic_new(feed->handle, feed->topic_name, NULL);
    for (int32_t i = 0; i < count; i++) {
        feed->next[i] = 0;
        if (!feed->topic || rd_kafka_consume_start_queue(feed->topic, i, RD_KAFKA_OFFSET_BEGINNING, feed->queue) < 0) {
            say(feed, rd_kafka_last_error(), "cannot be followed");
            stop_following(feed);
            return;
        }
        feed->count = i + 1;
    }
}

// Asks where the topic ends. What Kafka has now is known here when that has been read.
static void look_at_ends(struct ty_key_feed *feed)
{
    uint64_t begun_ms = ty_clock_mono_ms();
    bool is_known = true;
    for (int32_t i = 0; i < feed->count && !atomic_load(&feed->quits); i++) {
        int64_t low, high;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(feed->handle, feed->topic_name, i, &low, &high, ASK_MS);
        if (code) {
            say(feed, code, "where it ends is not known");
            return;
        }
        if (high < feed->next[i]) { // another topic of this name, or of a Kafka that went back
            stop_following(feed);
            pthread_mutex_lock(&feed->lock);
            feed->is_anew = true;
            pthread_mutex_unlock(&feed->lock);
            return;
        }
        is_known = is_known && feed->next[i] >= high;
    }
    if (!is_known)
        return;
    if (feed->is_ill)
        ty_log(TY_LOG_INFO, "keys.feed_well", TY_KV("topic", "%s", feed->topic_name));
    feed->is_ill = false;
    pthread_mutex_lock(&feed->lock);
    feed->known_ms = begun_ms;
    pthread_mutex_unlock(&feed->lock);
}

static void *follow(void *context)
{
    struct ty_key_feed *feed = context;
    uint64_t looked_ms = 0, tried_ms = 0;
    while (!atomic_load(&feed->quits)) {
        if (!feed->count && (!tried_ms || ty_clock_mono_ms() - tried_ms >= ASK_MS)) {
            start_following(feed);
            tried_ms = ty_clock_mono_ms();
        }
        poll_records(feed); // waits a little also while nothing is followed
        if (feed->count && ty_clock_mono_ms() - looked_ms >= ASK_MS) {
            look_at_ends(feed);
            looked_ms = ty_clock_mono_ms();
        }
    }
    stop_following(feed);
    return NULL;
}

// ---- life ----

static int make_handle(struct ty_key_feed *feed, const struct ty_kafka_options *kafka, struct ty_err *err)
{
    static ty_kafka_setting settings[] = {
        {"enable.auto.commit", "false"}, {"enable.partition.eof", "true"}, {"auto.offset.reset", "earliest"},
        {"queued.max.messages.kbytes", "8192"}, {"allow.auto.create.topics", "false"}, {"topic.metadata.refresh.interval.ms", "5000"},
        {NULL, NULL}};
    rd_kafka_conf_t *conf;
    if (ty_kafka_conf(kafka, NULL, settings, &conf, err) < 0 ||
        ty_kafka_handle(RD_KAFKA_CONSUMER, conf, &feed->handle, err) < 0)
        return -(int)err->code;
    feed->queue = rd_kafka_queue_new(feed->handle);
    return 0;
}

static void drop(struct ty_key_feed *feed)
{
    ty_loop_clear_timer(feed->loop, &feed->timer);
    if (feed->topic)
        rd_kafka_topic_destroy(feed->topic);
    if (feed->queue)
        rd_kafka_queue_destroy(feed->queue);
    if (feed->handle)
        rd_kafka_destroy(feed->handle);
    while (feed->first) {
        struct record *record = feed->first;
        feed->first = record->next;
        free(record);
    }
    pthread_mutex_destroy(&feed->lock);
    free(feed->topic_name);
    free(feed);
}

int ty_key_feed_new(struct ty_loop *loop, const struct ty_kafka_options *kafka, struct ty_keyring *keyring, struct ty_key_feed **ret_feed,
                    struct ty_err *err)
{
    struct ty_key_feed *feed = ty_xcalloc(1, sizeof *feed);
    feed->loop = loop;
    feed->keyring = keyring;
    feed->last = &feed->first;
    feed->topic_name = ty_xasprintf("%s%s", kafka->topic_prefix, TOPIC);
    pthread_mutex_init(&feed->lock, NULL);
    int rc = make_handle(feed, kafka, err);
    if (rc == 0 && pthread_create(&feed->thread, NULL, follow, feed) != 0)
        rc = ty_err_set(err, TY_ESYSTEM, "cannot start the thread that follows the access keys");
    if (rc < 0) {
        drop(feed);
        return rc;
    }
    ty_keyring_expect_feed(keyring);
    take(feed);
    *ret_feed = feed;
    return 0;
}

void ty_key_feed_free(struct ty_key_feed *feed)
{
    if (!feed)
        return;
    atomic_store(&feed->quits, true);
    pthread_join(feed->thread, NULL);
    drop(feed);
}
