#include "responder/log_feed.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/limits.h"

#define PAGE_ENTRIES TY_LIMIT_LOG_PAGE_ENTRIES
// A follower holds one page on its way to it, however slow it is.
#define PAGE_BYTES (256 * 1024)

struct ty_log_feeds {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_log_feed *feeds;
};

struct ty_log_feed {
    struct ty_log_feeds *owner;
    struct ty_id id;
    struct ty_log_watch *watch;
    struct ty_timer timer; // the earliest that one of the waiting asked for
    uint64_t due_ms;
    unsigned news; // rises with each word
    unsigned users; // open readers and reads on their way
    struct ty_log_reader *waiting;
    struct ty_log_read *reads;
    struct ty_log_feed *next, **at;
};

// A page on its way to those who stand at its place.
struct ty_log_read {
    struct ty_log_feed *feed;
    uint32_t attempt;
    uint64_t sequence;
    unsigned news;
    struct ty_log_job job;
    struct ty_buf organization;
    bool with_job, job_came, page_came, failed;
    struct ty_err err;
    struct ty_log_reader *readers;
    struct ty_log_read *next, **at;
};

#define LINK(list, item)                                                                                                   \
    do {                                                                                                                   \
        (item)->next = *(list);                                                                                            \
        if ((item)->next)                                                                                                  \
            (item)->next->at = &(item)->next;                                                                              \
        (item)->at = (list);                                                                                               \
        *(list) = (item);                                                                                                  \
    } while (0)
#define UNLINK(item)                                                                                                       \
    do {                                                                                                                   \
        *(item)->at = (item)->next;                                                                                        \
        if ((item)->next)                                                                                                  \
            (item)->next->at = (item)->at;                                                                                 \
    } while (0)

// ---- life ----

struct ty_log_feeds *ty_log_feeds_new(struct ty_loop *loop, struct ty_state *state)
{
    struct ty_log_feeds *feeds = ty_xcalloc(1, sizeof *feeds);
    feeds->loop = loop;
    feeds->state = state;
    return feeds;
}

void ty_log_feeds_free(struct ty_log_feeds *feeds)
{
    free(feeds);
}

static void release(struct ty_log_feed *feed)
{
    if (--feed->users)
        return;
    ty_loop_clear_timer(feed->owner->loop, &feed->timer);
    ty_state_log_unwatch(feed->watch);
    UNLINK(feed);
    free(feed);
}

// ---- reading ----

static void let_go(struct ty_log_reader *reader)
{
    if (reader->at)
        UNLINK(reader);
    reader->at = NULL;
    reader->read = NULL;
}

// Each reader may do what it likes in its callback, to itself and to others.
static void deliver(struct ty_log_read *read, const struct ty_log_page *page)
{
    struct ty_log_feed *feed = read->feed;
    UNLINK(read);
    while (read->readers) {
        struct ty_log_reader *reader = read->readers;
        let_go(reader);
        reader->news_seen = read->news;
        reader->fn(reader, read->failed ? &read->err : NULL, &read->job, page);
    }
    ty_buf_done(&read->organization);
    free(read);
    release(feed);
}

static void fail(struct ty_log_read *read, const struct ty_err *err)
{
    if (!read->failed)
        read->err = *err;
    read->failed = true;
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_log_read *read = context;
    read->job_came = true;
    if (err)
        fail(read, err);
    else if (!record)
        read->job = (struct ty_log_job){.is_known = true};
    else {
        ty_buf_clear(&read->organization);
        ty_buf_add(&read->organization, record->organization, record->organization_len);
        read->job = (struct ty_log_job){.is_known = true,
                                        .exists = true,
                                        .state = record->state,
                                        .is_terminal = ty_record_is_terminal(record),
                                        .attempt = record->attempt,
                                        .modified_us = record->modified_us,
                                        .organization = ty_buf_text(&read->organization),
                                        .organization_len = record->organization_len};
    }
    if (read->page_came)
        deliver(read, &(struct ty_log_page){.next_attempt = read->attempt, .next_sequence = read->sequence});
}

// A job that is there answers before its page. Where it answers later there is none, and the page is of no use.
static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct ty_log_read *read = context;
    read->page_came = true;
    if (err)
        fail(read, err);
    if (read->job_came || !read->with_job)
        deliver(read, page);
}

static struct ty_log_read *start_read(struct ty_log_feed *feed, const struct ty_log_reader *reader, bool with_job)
{
    struct ty_state *state = feed->owner->state;
    struct ty_log_read *read = ty_xcalloc(1, sizeof *read);
    *read = (struct ty_log_read){.feed = feed, .attempt = reader->attempt, .sequence = reader->sequence,
                                 .news = feed->news, .with_job = with_job};
    LINK(&feed->reads, read);
    feed->users++;
    if (with_job)
        ty_state_get(state, &feed->id, on_job, read);
    ty_state_log_page(state, &feed->id, read->attempt, read->sequence, PAGE_ENTRIES, PAGE_BYTES, on_page, read);
    return read;
}

void ty_log_reader_read(struct ty_log_reader *reader, bool with_job)
{
    struct ty_log_feed *feed = reader->feed;
    struct ty_log_read *read = feed->reads;
    let_go(reader);
    // One that was asked before the latest word may not have what the word was about.
    while (read && (read->attempt != reader->attempt || read->sequence != reader->sequence || read->news != feed->news ||
                    (with_job && (!read->with_job || read->job_came))))
        read = read->next;
    reader->read = read ? read : start_read(feed, reader, with_job);
    LINK(&reader->read->readers, reader);
}

// ---- waiting ----

static void wake(struct ty_log_feed *feed, bool with_job)
{
    ty_loop_clear_timer(feed->owner->loop, &feed->timer);
    while (feed->waiting)
        ty_log_reader_read(feed->waiting, with_job);
}

static void on_news(void *context)
{
    struct ty_log_feed *feed = context;
    feed->news++;
    wake(feed, false);
}

static void on_timer(void *context)
{
    wake(context, true);
}

void ty_log_reader_wait(struct ty_log_reader *reader, uint64_t within_ms)
{
    struct ty_log_feed *feed = reader->feed;
    struct ty_loop *loop = feed->owner->loop;
    uint64_t due_ms = ty_loop_now_ms(loop) + within_ms;
    if (reader->news_seen != feed->news) {
        ty_log_reader_read(reader, false);
        return;
    }
    let_go(reader);
    LINK(&feed->waiting, reader);
    if (feed->timer.index && feed->due_ms <= due_ms)
        return;
    feed->due_ms = due_ms;
    ty_loop_set_timer(loop, &feed->timer, within_ms, on_timer, feed);
}

// ---- readers ----

int ty_log_reader_open(struct ty_log_feeds *feeds, const struct ty_id *id, struct ty_log_reader *reader, struct ty_err *err)
{
    struct ty_log_feed *feed = feeds->feeds;
    while (feed && !ty_id_equal(&feed->id, id))
        feed = feed->next;
    if (!feed) {
        feed = ty_xcalloc(1, sizeof *feed);
        *feed = (struct ty_log_feed){.owner = feeds, .id = *id};
        if (ty_state_log_watch(feeds->state, id, on_news, feed, &feed->watch, err) < 0) {
            free(feed);
            return -(int)err->code;
        }
        LINK(&feeds->feeds, feed);
    }
    feed->users++;
    reader->feed = feed;
    return 0;
}

void ty_log_reader_close(struct ty_log_reader *reader)
{
    if (!reader->feed)
        return;
    let_go(reader);
    struct ty_log_feed *feed = reader->feed;
    reader->feed = NULL;
    release(feed);
}
