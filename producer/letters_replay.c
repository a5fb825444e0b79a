// Publishing letters again.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/letter.h"
#include "producer/letters_replay.h"

// On their way at one time: few enough that an end in the middle leaves little that must be named.
#define WINDOW 256
#define CLOSE_MS 5000

struct ty_replayer {
    struct ty_publisher *publisher;
    ty_replayed_fn fn;
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t landed;
    size_t flying; // under lock
};

struct flight {
    struct ty_replayer *replayer;
    struct ty_place letter;
    char topic[TY_LETTER_TOPIC_BYTES];
};

int ty_replayer_new(const struct ty_kafka_options *kafka, ty_replayed_fn fn, void *context, struct ty_replayer **ret_replayer,
                    struct ty_err *err)
{
    struct ty_replayer *replayer = ty_xcalloc(1, sizeof *replayer);
    *replayer = (struct ty_replayer){.fn = fn, .context = context, .lock = PTHREAD_MUTEX_INITIALIZER,
                                     .landed = PTHREAD_COND_INITIALIZER};
    int rc = ty_publisher_new(kafka, &replayer->publisher, err);
    if (rc < 0)
        free(replayer);
    else
        *ret_replayer = replayer;
    return rc;
}

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct flight *flight = context;
    struct ty_replayer *replayer = flight->replayer;
    struct ty_place where = {partition, offset};
    replayer->fn(replayer->context, &flight->letter, flight->topic, &where, unknown, err);
    pthread_mutex_lock(&replayer->lock);
    replayer->flying--;
    pthread_cond_signal(&replayer->landed);
    pthread_mutex_unlock(&replayer->lock);
    free(flight);
}

// The publisher reports each record within its message.timeout, whatever happens.
static void wait_below(struct ty_replayer *replayer, size_t count)
{
    pthread_mutex_lock(&replayer->lock);
    while (replayer->flying >= count)
        pthread_cond_wait(&replayer->landed, &replayer->lock);
    pthread_mutex_unlock(&replayer->lock);
}

static rd_kafka_headers_t *own_headers(const struct ty_topic_record *letter)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(letter->header_count + 1);
    char place[TY_PLACE_BYTES];
    for (size_t i = 0; i < letter->header_count; i++)
        if (ty_dead_header_is_own(letter->headers[i].name))
            rd_kafka_header_add(headers, letter->headers[i].name, -1, letter->headers[i].value, (ssize_t)letter->headers[i].len);
    rd_kafka_header_add(headers, TY_LETTER_REPLAY_OF, -1, ty_place_format(&letter->place, place), -1);
    return headers;
}

int ty_replayer_send(struct ty_replayer *replayer, const struct ty_topic_record *letter, const struct ty_dead_letter_view *view,
                     struct ty_err *err)
{
    struct flight *flight = ty_xmalloc(sizeof *flight);
    *flight = (struct flight){.replayer = replayer, .letter = letter->place};
    memcpy(flight->topic, view->topic, sizeof flight->topic);
    wait_below(replayer, WINDOW);
    pthread_mutex_lock(&replayer->lock);
    replayer->flying++;
    pthread_mutex_unlock(&replayer->lock);
    rd_kafka_headers_t *headers = own_headers(letter);
    // The publisher puts the prefix back that the origin's name had.
    int rc = ty_publisher_send_raw(replayer->publisher, ty_dead_letter_topic(view->kind), letter->key, letter->key_len, letter->value,
                                   letter->value_len, headers, on_published, flight, err);
    if (rc == 0)
        return 0;
    rd_kafka_headers_destroy(headers);
    free(flight);
    pthread_mutex_lock(&replayer->lock);
    replayer->flying--;
    pthread_mutex_unlock(&replayer->lock);
    return rc;
}

void ty_replayer_flush(struct ty_replayer *replayer)
{
    wait_below(replayer, 1);
}

void ty_replayer_free(struct ty_replayer *replayer)
{
    if (!replayer)
        return;
    ty_publisher_free(replayer->publisher, CLOSE_MS);
    pthread_mutex_destroy(&replayer->lock);
    pthread_cond_destroy(&replayer->landed);
    free(replayer);
}
