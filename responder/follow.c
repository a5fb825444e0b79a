// LogService.Follow: a job's log as it comes. One message is on its way to a follower at a time and the next page is read when
// it has left, so a slow client costs one page, and its own time only.
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log_entry.h"
#include "responder/access.h"
#include "responder/follow_start.h"
#include "responder/log_feed.h"
#include "responder/log_filter.h"
#include "responder/page_token.h"
#include "responder/service_internal.h"
#include "trainyard/v1/log_service.pb-c.h"

#define HEARTBEAT_MS 10000
// How often a quiet log and its job are looked at: the log may have been deleted, its worker lost or of a program that tells nobody.
#define LOOK_MS 1000
// The log has ended and its job will any moment.
#define LOOK_SOON_MS 20
#define REST_MS 30000
// A log whose end mark has not come by then will not get one.
#define LATEST_END_US (UINT64_C(3600) * 1000000)

enum { REPLY_RECORDS = 1, REPLY_POSITION = 2, REPLY_END = 3, END_STATUS = 1, END_COMPLETE = 2 };
enum { RECORD_ENTRY = 1, RECORD_STREAM = 2, RECORD_ATTEMPT = 3, RECORD_SEQUENCE = 4, RECORD_CONTINUED = 5, RECORD_MISSING = 6 };

// What is done when the message on its way has left.
enum next { NOTHING, READ, READ_WITH_JOB, WAIT, END };

struct ty_follower {
    struct ty_rpc *rpc;
    struct ty_id id;
    struct ty_log_reader reader;
    struct ty_log_filter filter;
    bool until_now;
    uint64_t rest_ms, rest_since_ms; // since: the job has ended and no entry has come; 0: it has not
    uint64_t soon_ms;                // the pause before the next look; 0: the log has not ended
    bool was_there, greeted;         // greeted: the first reply was made
    enum next next;
    struct ty_buf message; // waits for the one before it to leave
    struct ty_timer heartbeat;
};

// ---- sending ----

static void on_heartbeat(void *context);

static void add_position(const struct ty_follower *follower, struct ty_buf *out)
{
    char token[TY_PAGE_TOKEN_BYTES];
    ty_page_token_encode(&follower->id, follower->reader.attempt, follower->reader.sequence, token);
    ty_buf_add_tag_bytes(out, REPLY_POSITION, token, strlen(token));
}

static bool send_message(struct ty_follower *follower, const struct ty_buf *message)
{
    struct ty_service *service = ty_rpc_context(follower->rpc);
    if (!ty_rpc_send(follower->rpc, message->data, message->len))
        return false;
    ty_loop_set_timer(service->loop, &follower->heartbeat, HEARTBEAT_MS, on_heartbeat, follower);
    return true;
}

static void go_on(struct ty_follower *follower)
{
    enum next next = follower->next;
    if (ty_rpc_is_answered(follower->rpc))
        return;
    if (follower->message.len) {
        if (send_message(follower, &follower->message))
            ty_buf_clear(&follower->message);
        return;
    }
    follower->next = NOTHING;
    switch (next) {
    case NOTHING: break;
    case READ: ty_log_reader_read(&follower->reader, false); break;
    case READ_WITH_JOB: ty_log_reader_read(&follower->reader, true); break;
    case WAIT: ty_log_reader_wait(&follower->reader, follower->soon_ms ? follower->soon_ms : LOOK_MS); break;
    case END: ty_rpc_end(follower->rpc); break;
    }
}

static void on_heartbeat(void *context)
{
    struct ty_follower *follower = context;
    struct ty_service *service = ty_rpc_context(follower->rpc);
    TY_BUF(message);
    add_position(follower, &message);
    // The client that has not even taken the last message gets another one when it has.
    if (!send_message(follower, &message))
        ty_loop_set_timer(service->loop, &follower->heartbeat, HEARTBEAT_MS, on_heartbeat, follower);
}

// ---- pages ----

static void add_record(const struct ty_bytes *stored, const struct ty_log_run *run, uint64_t sequence,
                       const struct ty_log_filter *filter, struct ty_buf *out)
{
    struct ty_log_entry entry;
    TY_BUF(record);
    ty_log_entry_read(stored->data, stored->len, &entry);
    // That something is missing is of no level.
    struct ty_log_filter by_time = {.since_us = filter->since_us};
    if (!ty_log_filter_passes(run->missing ? &by_time : filter, entry.message, entry.len))
        return;
    ty_buf_add_tag_bytes(&record, RECORD_ENTRY, entry.message, entry.len);
    ty_buf_add_tag_varint(&record, RECORD_STREAM, (uint64_t)entry.stream);
    ty_buf_add_tag_varint(&record, RECORD_ATTEMPT, run->attempt);
    ty_buf_add_tag_varint(&record, RECORD_SEQUENCE, sequence);
    if (entry.continued)
        ty_buf_add_tag_varint(&record, RECORD_CONTINUED, 1);
    if (run->missing)
        ty_buf_add_tag_varint(&record, RECORD_MISSING, run->missing);
    ty_buf_add_tag_bytes(out, REPLY_RECORDS, record.data, record.len);
}

static bool is_before(uint32_t attempt, uint64_t sequence, const struct ty_log_reader *place)
{
    return attempt < place->attempt || (attempt == place->attempt && sequence < place->sequence);
}

// Adds what the follower has not had, and moves its place. A store that went back has less than was read of it: the place stays,
// and what is written again under the same numbers is not sent again. Returns whether the page had anything new.
static bool take_page(struct ty_follower *follower, const struct ty_log_page *page)
{
    struct ty_log_reader *place = &follower->reader;
    bool is_new = false;
    size_t at = 0;
    for (size_t i = 0; i < page->run_count; i++) {
        const struct ty_log_run *run = &page->runs[i];
        for (size_t n = 0; n < run->count; n++, at++) {
            if (is_before(run->attempt, run->sequence + n, place))
                continue;
            is_new = true;
            add_record(&page->entries[at], run, run->sequence + n, &follower->filter, &follower->message);
        }
    }
    if (!is_before(page->next_attempt, page->next_sequence, place)) {
        place->attempt = page->next_attempt;
        place->sequence = page->next_sequence;
    }
    return is_new;
}

// ---- the end ----

static void end(struct ty_follower *follower, const struct ty_log_job *job, bool is_complete)
{
    TY_BUF(last);
    ty_buf_add_tag_varint(&last, END_STATUS, (uint64_t)job->state);
    if (is_complete)
        ty_buf_add_tag_varint(&last, END_COMPLETE, 1);
    ty_buf_add_tag_bytes(&follower->message, REPLY_END, last.data, last.len);
    follower->next = END;
}

// The end mark may be an earlier attempt's; only that of the latest counts.
static bool has_ended(const struct ty_log_job *job, const struct ty_log_page *page)
{
    return job->is_terminal && (!job->attempt || (page->ended && page->next_attempt >= job->attempt));
}

// The job has ended and its log has not: its end is waited for, but not for ever.
static bool is_cut(struct ty_follower *follower, const struct ty_log_job *job, bool is_new)
{
    uint64_t now_ms = ty_clock_mono_ms();
    if (!job->is_terminal)
        return false;
    if (!follower->rest_since_ms || is_new)
        follower->rest_since_ms = now_ms;
    return job->modified_us + LATEST_END_US < ty_clock_wall_us() || now_ms - follower->rest_since_ms >= follower->rest_ms;
}

// The log's last page of the moment was taken.
static void decide(struct ty_follower *follower, const struct ty_log_job *job, const struct ty_log_page *page, bool is_new)
{
    follower->next = WAIT;
    if (!page->ended)
        follower->soon_ms = 0;
    if (!job->is_known) {
        if (page->ended || follower->until_now)
            follower->next = READ_WITH_JOB;
        return;
    }
    if (page->ended) // of this attempt: its job ends now, or goes on later
        follower->soon_ms = !follower->soon_ms || is_new ? LOOK_SOON_MS : follower->soon_ms * 2;
    if (follower->soon_ms > LOOK_MS)
        follower->soon_ms = LOOK_MS;
    if (has_ended(job, page))
        end(follower, job, true);
    else if (follower->until_now)
        follower->next = END;
    else if (is_cut(follower, job, is_new))
        end(follower, job, false);
}

static void no_job(struct ty_follower *follower)
{
    struct ty_err err;
    if (!follower->was_there) {
        ty_service_no_such_job(follower->rpc);
        return;
    }
    ty_err_set(&err, TY_ENOTFOUND, "the job is not there any more: it was deleted while its log was followed");
    ty_rpc_fail(follower->rpc, &err);
}

// A job keeps its organization; a follower that has not read the job sees nothing of its log.
static bool may_see(const struct ty_follower *follower, const struct ty_log_job *job)
{
    return job->is_known ? ty_access_may_see(follower->rpc, job->organization, job->organization_len) : follower->was_there;
}

static void on_page(struct ty_log_reader *reader, const struct ty_err *err, const struct ty_log_job *job,
                    const struct ty_log_page *page)
{
    struct ty_follower *follower = reader->context;
    struct ty_err refusal;
    if (ty_rpc_is_answered(follower->rpc))
        return;
    if (err) {
        ty_service_store_failed(follower->rpc, err);
        return;
    }
    if ((job->is_known && !job->exists) || !may_see(follower, job)) {
        no_job(follower);
        return;
    }
    if (ty_access_check_again(follower->rpc, &refusal) < 0) {
        ty_rpc_fail(follower->rpc, &refusal);
        return;
    }
    follower->was_there = follower->was_there || job->is_known;
    bool is_new = take_page(follower, page);
    if (page->more)
        follower->next = READ;
    else
        decide(follower, job, page, is_new);
    // The first reply comes at once, so that the client knows that there is a job and that it is followed.
    if (follower->message.len || !follower->greeted)
        add_position(follower, &follower->message);
    follower->greeted = true;
    go_on(follower);
}

// ---- the call ----

static void on_start(void *context, const struct ty_err *err, uint32_t attempt, uint64_t sequence)
{
    struct ty_follower *follower = context;
    struct ty_rpc *rpc = follower->rpc;
    if (err && !ty_rpc_is_answered(rpc))
        ty_service_store_failed(rpc, err);
    follower->reader.attempt = attempt;
    follower->reader.sequence = sequence;
    follower->next = READ_WITH_JOB;
    go_on(follower);
    ty_rpc_release(rpc);
}

static int read_request(struct ty_follower *follower, const Trainyard__V1__FollowRequest *request, struct ty_err *err)
{
    follower->until_now = request->until_now;
    follower->rest_ms = request->rest_ms ? request->rest_ms : REST_MS;
    if (request->since && request->since->seconds > 0 && request->since->seconds < INT64_MAX / 2000000)
        follower->filter.since_us = (uint64_t)request->since->seconds * 1000000 + (uint64_t)(request->since->nanos / 1000);
    if (ty_log_rank_parse(request->minimum_level, &follower->filter.rank, err) < 0)
        return -(int)err->code;
    if (request->start_case != TRAINYARD__V1__FOLLOW_REQUEST__START_POSITION || !*request->position)
        return 0;
    return ty_page_token_decode(request->position, &follower->id, &follower->reader.attempt, &follower->reader.sequence, err);
}

static void start(struct ty_follower *follower, const Trainyard__V1__FollowRequest *request)
{
    struct ty_service *service = ty_rpc_context(follower->rpc);
    struct ty_follow_start how = {.has_tail = request->start_case == TRAINYARD__V1__FOLLOW_REQUEST__START_TAIL,
                                  .tail = request->tail,
                                  .since_us = follower->filter.since_us};
    ty_loop_set_timer(service->loop, &follower->heartbeat, HEARTBEAT_MS, on_heartbeat, follower);
    if (follower->reader.attempt || (!how.has_tail && !how.since_us)) {
        ty_log_reader_read(&follower->reader, true);
        return;
    }
    ty_rpc_hold(follower->rpc);
    ty_follow_start_find(service->state, &follower->id, &how, on_start, follower);
}

static bool has_room(struct ty_rpc *rpc)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_err err;
    if (service->followers < service->max_followers)
        return true;
    ty_err_set(&err, TY_EEXHAUSTED, "%u logs are being followed here, and more than --max-followers are not", service->followers);
    ty_rpc_fail(rpc, &err);
    return false;
}

void ty_follow_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Trainyard__V1__FollowRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_follower **kept = ty_rpc_scratch(rpc);
    struct ty_id id;
    struct ty_err err;
    if (!ty_service_job_id(rpc, request->id, &id) || !ty_service_needs_store(rpc) || !has_room(rpc))
        return;
    struct ty_follower *follower = ty_xcalloc(1, sizeof *follower);
    *follower = (struct ty_follower){.rpc = rpc, .id = id, .reader = {.fn = on_page, .context = follower}};
    *kept = follower;
    service->followers++;
    if (read_request(follower, request, &err) < 0 || ty_log_reader_open(service->feeds, &id, &follower->reader, &err) < 0)
        ty_rpc_fail(rpc, &err);
    else
        start(follower, request);
}

void ty_follow_on_sent(struct ty_rpc *rpc)
{
    struct ty_follower **kept = ty_rpc_scratch(rpc);
    go_on(*kept);
}

void ty_follow_on_done(struct ty_rpc *rpc)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_follower **kept = ty_rpc_scratch(rpc), *follower = *kept;
    if (!follower)
        return;
    service->followers--;
    ty_log_reader_close(&follower->reader);
    ty_loop_clear_timer(service->loop, &follower->heartbeat);
    ty_buf_done(&follower->message);
    free(follower);
}
