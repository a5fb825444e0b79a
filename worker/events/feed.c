// The loop's side of a feed, and its thread's life. What the thread does with Kafka stands in feed_kafka.c.
#include "worker/events/feed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "worker/events/feed_internal.h"

// ---- orders ----

struct ty_feed_order *ty_feed_order_new(enum ty_feed_kind kind)
{
    struct ty_feed_order *order = ty_xcalloc(1, sizeof *order);
    order->kind = kind;
    return order;
}

void ty_feed_order_free(struct ty_feed_order *order)
{
    if (!order)
        return;
    ty_buf_done(&order->bytes);
    free(order->records);
    free(order->command_ends);
    free(order);
}

struct ty_feed_record *ty_feed_order_append(struct ty_feed_order *order, const void *value, size_t value_len)
{
    if (order->count == order->cap) {
        order->cap = order->cap ? 2 * order->cap : 64;
        order->records = ty_xrealloc(order->records, order->cap * sizeof *order->records);
    }
    struct ty_feed_record *record = &order->records[order->count++];
    *record = (struct ty_feed_record){.is_null = !value, .value_at = order->bytes.len, .value_len = value ? value_len : 0};
    if (value)
        ty_buf_add(&order->bytes, value, value_len);
    return record;
}

void ty_feed_order_add(struct ty_feed_order *order, const struct ty_id *id, const void *value, size_t value_len)
{
    struct ty_feed_record *record = ty_feed_order_append(order, value, value_len);
    record->id = *id;
    record->is_ours = true;
}

// ---- the thread ----

static struct ty_feed_order *next_order(struct ty_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    while (!feed->order && !atomic_load(&feed->quit))
        pthread_cond_wait(&feed->given, &feed->lock);
    struct ty_feed_order *order = NULL; // one that comes too late is freed with the feed
    if (!atomic_load(&feed->quit)) {
        order = feed->order;
        feed->order = NULL;
    }
    pthread_mutex_unlock(&feed->lock);
    return order;
}

static void *serve(void *context)
{
    struct ty_feed *feed = context;
    struct ty_feed_order *order;
    while ((order = next_order(feed))) {
        ty_feed_do(feed, order);
        if (!ty_mailbox_put(feed->mailbox, &order->mail))
            ty_feed_order_free(order);
    }
    ty_feed_close(feed);
    ty_mailbox_unref(feed->mailbox);
    return NULL;
}

// ---- the loop's side ----

static void on_mail(void *context, struct ty_mail *mail)
{
    struct ty_feed *feed = context;
    feed->fn(feed->context, (struct ty_feed_order *)mail);
}

int ty_feed_new(struct ty_loop *loop, const struct ty_kafka_options *kafka, const char *topic, const char *transactional_id,
                ty_feed_fn fn, void *context, struct ty_feed **ret_feed, struct ty_err *err)
{
    struct ty_feed *feed = ty_xcalloc(1, sizeof *feed);
    feed->fn = fn;
    feed->context = context;
    feed->kafka = kafka; // outlives it, as the header of events.h says
    feed->topic = ty_xasprintf("%s%s", kafka->topic_prefix, topic);
    feed->topic_prefix = ty_xstrdup(kafka->topic_prefix);
    feed->transactional_id = ty_xstrdup(transactional_id);
    pthread_mutex_init(&feed->lock, NULL);
    pthread_cond_init(&feed->given, NULL);
    int rc = ty_mailbox_new(loop, on_mail, feed, &feed->mailbox, err);
    if (rc == 0) {
        ty_mailbox_ref(feed->mailbox);
        feed->has_thread = pthread_create(&feed->thread, NULL, serve, feed) == 0;
        if (!feed->has_thread) {
            ty_mailbox_unref(feed->mailbox);
            rc = ty_err_set(err, TY_ESYSTEM, "cannot start the thread of the events");
        }
    }
    if (rc < 0) {
        ty_feed_free(feed);
        return rc;
    }
    *ret_feed = feed;
    return 0;
}

void ty_feed_give(struct ty_feed *feed, struct ty_feed_order *order)
{
    pthread_mutex_lock(&feed->lock);
    feed->order = order;
    pthread_cond_signal(&feed->given);
    pthread_mutex_unlock(&feed->lock);
}

void ty_feed_free(struct ty_feed *feed)
{
    if (!feed)
        return;
    if (feed->has_thread) {
        pthread_mutex_lock(&feed->lock);
        atomic_store(&feed->quit, true);
        pthread_cond_signal(&feed->given);
        pthread_mutex_unlock(&feed->lock);
    }
    struct ty_mail *mail = feed->mailbox ? ty_mailbox_shut(feed->mailbox) : NULL;
    while (mail) {
        struct ty_mail *next = mail->next;
        ty_feed_order_free((struct ty_feed_order *)mail);
        mail = next;
    }
    if (feed->has_thread)
        pthread_join(feed->thread, NULL);
    if (feed->mailbox)
        ty_mailbox_unref(feed->mailbox);
    ty_feed_order_free(feed->order);
    pthread_cond_destroy(&feed->given);
    pthread_mutex_destroy(&feed->lock);
    free(feed->topic);
    free(feed->topic_prefix);
    free(feed->transactional_id);
    free(feed);
}
