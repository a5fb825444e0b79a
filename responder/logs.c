// GetTrainingJobLogs: one page a call. The job and the page are asked for in one turn, so a page costs one round trip.
//
// The API's token is empty on the last page, also while the job runs, and however much it prints: the pages of one reading end
// where the log ended when its first page was asked for. For those who follow a log the last page says more in trailing metadata:
//   trainyard-log-position   a token to go on from: it leads to what is appended after this page
//   trainyard-log-ended      true: the job has ended and no entry will follow; false: not so, or not yet
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/log_entry.h"
#include "responder/access.h"
#include "responder/page_token.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define FIELD_LOGS 1
#define FIELD_NEXT_PAGE_TOKEN 2
// A log whose end mark has not come by then will not get one: its worker was lost, or the log has expired.
#define LATEST_END_US (UINT64_C(3600) * 1000000)

struct logs {
    struct ty_id id;
    struct ty_buf answer;
    unsigned answers_missing;
    bool job_ended, ended_long_ago;
    uint32_t attempt; // the job's latest; 0: it never ran
    uint32_t end_attempt; // where this reading of a job that runs ends
    uint64_t end_sequence;
};

// A page token is the place to go on from, and behind it the end of the reading; a position has no end yet.
#define PLACE_CHARS (TY_PAGE_TOKEN_BYTES - 1)
#define NEXT_TOKEN_BYTES (2 * PLACE_CHARS + 1)

_Static_assert(sizeof(struct logs) <= TY_RPC_SCRATCH_BYTES, "logs fits a call");

// The job is asked for first and answers first, so an unknown job has ended the call before its empty page comes.
static void one_answered(struct ty_rpc *rpc)
{
    struct logs *logs = ty_rpc_scratch(rpc);
    if (--logs->answers_missing == 0)
        ty_rpc_reply_take(rpc, &logs->answer);
    ty_rpc_release(rpc);
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    struct logs *logs = ty_rpc_scratch(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!record || !ty_access_may_see_job(rpc, record)) {
        ty_service_no_such_job(rpc);
    } else {
        logs->job_ended = ty_record_is_terminal(record);
        logs->ended_long_ago = logs->job_ended && record->modified_us + LATEST_END_US < ty_clock_wall_us();
        logs->attempt = record->attempt;
    }
    one_answered(rpc);
}

// The job was read before the page: what it had logged when it ended is in the page. The end mark may be an earlier
// attempt's; only that of the latest counts.
static void say_position(struct ty_rpc *rpc, const struct ty_log_page *page)
{
    const struct logs *logs = ty_rpc_scratch(rpc);
    char token[TY_PAGE_TOKEN_BYTES];
    bool log_ended =
        !logs->attempt || logs->ended_long_ago || (page->ended && page->next_attempt >= logs->attempt);
    ty_page_token_encode(&logs->id, page->next_attempt, page->next_sequence, token);
    ty_rpc_add_trailing(rpc, "trainyard-log-position", token);
    ty_rpc_add_trailing(rpc, "trainyard-log-ended", logs->job_ended && log_ended ? "true" : "false");
}

static void on_end(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count)
{
    struct ty_rpc *rpc = context;
    struct logs *logs = ty_rpc_scratch(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (count) {
        logs->end_attempt = spans[0].attempt;
        logs->end_sequence = spans[0].next;
    }
    one_answered(rpc);
}

// A job that prints faster than the client reads would else have no last page. The log of a job that has ended grows no more.
static bool is_last(const struct logs *logs, const struct ty_log_page *page)
{
    bool at_end = page->next_attempt > logs->end_attempt ||
                  (page->next_attempt == logs->end_attempt && page->next_sequence >= logs->end_sequence);
    return !page->more || (at_end && !logs->job_ended);
}

static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct ty_rpc *rpc = context;
    struct logs *logs = ty_rpc_scratch(rpc);
    if (err) {
        ty_service_store_failed(rpc, err);
    } else if (!ty_rpc_is_answered(rpc)) {
        char token[NEXT_TOKEN_BYTES];
        for (size_t i = 0; i < page->count; i++) {
            struct ty_log_entry entry;
            ty_log_entry_read(page->entries[i].data, page->entries[i].len, &entry);
            ty_buf_add_tag_bytes(&logs->answer, FIELD_LOGS, entry.message, entry.len);
        }
        if (!is_last(logs, page)) {
            ty_page_token_encode(&logs->id, page->next_attempt, page->next_sequence, token);
            ty_page_token_encode(&logs->id, logs->end_attempt, logs->end_sequence, token + PLACE_CHARS);
            ty_buf_add_tag_bytes(&logs->answer, FIELD_NEXT_PAGE_TOKEN, token, sizeof token - 1);
        } else {
            say_position(rpc, page);
        }
    }
    one_answered(rpc);
}

// The place to read from, and where the reading ends if the token says so.
static int read_token(struct logs *logs, const char *text, uint32_t *ret_attempt, uint64_t *ret_sequence, bool *ret_has_end,
                      struct ty_err *err)
{
    char place[TY_PAGE_TOKEN_BYTES] = "";
    *ret_has_end = strlen(text) == 2 * PLACE_CHARS;
    if (!*ret_has_end)
        return ty_page_token_decode(text, &logs->id, ret_attempt, ret_sequence, err);
    memcpy(place, text, PLACE_CHARS);
    int rc = ty_page_token_decode(place, &logs->id, ret_attempt, ret_sequence, err);
    return rc < 0 ? rc : ty_page_token_decode(text + PLACE_CHARS, &logs->id, &logs->end_attempt, &logs->end_sequence, err);
}

void ty_logs_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Viam__App__Mltraining__V1__GetTrainingJobLogsRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    struct logs *logs = ty_rpc_scratch(rpc);
    uint32_t attempt = 0;
    uint64_t sequence = 0;
    bool has_end = false;
    struct ty_err err;
    bool has_token =
        request->_page_token_case == VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST___PAGE_TOKEN_PAGE_TOKEN &&
        *request->page_token;
    if (!ty_service_job_id(rpc, request->id, &logs->id))
        return;
    if (has_token && read_token(logs, request->page_token, &attempt, &sequence, &has_end, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!ty_service_needs_store(rpc))
        return;
    logs->answers_missing = has_end ? 2 : 3;
    for (unsigned i = 0; i < logs->answers_missing; i++)
        ty_rpc_hold(rpc);
    ty_state_get(service->state, &logs->id, on_job, rpc);
    if (!has_end)
        ty_state_log_spans(service->state, &logs->id, 1, on_end, rpc);
    ty_state_log_page(service->state, &logs->id, attempt, sequence, TY_LIMIT_LOG_PAGE_ENTRIES, TY_LIMIT_LOG_PAGE_BYTES,
                      on_page, rpc);
}

void ty_logs_on_done(struct ty_rpc *rpc)
{
    struct logs *logs = ty_rpc_scratch(rpc);
    ty_buf_done(&logs->answer);
}
