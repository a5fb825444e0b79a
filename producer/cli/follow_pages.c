// A log by pages of GetTrainingJobLogs, from a responder without LogService.
#include <string.h>

#include "core/clock.h"
#include "producer/cli/follow_internal.h"
#include "producer/cli/log_cursor.h"
#include "producer/cli/patience.h"

typedef Viam__App__Mltraining__V1__GetTrainingJobLogsRequest Request;
typedef Viam__App__Mltraining__V1__GetTrainingJobLogsResponse Response;

// How long the rest of a log is waited for, at most, where the server does not say whether it has ended.
#define REST_UNSAID_MS 3000

struct reader {
    const struct ty_cli *cli;
    struct ty_rpc_client *client;
    const char *id;
    struct ty_follow_log *log;
    struct ty_log_cursor cursor;
};

// What a page said beside its entries.
struct page {
    bool more;
    bool is_said;  // the server says whether the log has ended
    bool has_ended;
    size_t printed;
};

// ---- pages ----

static int read_page(struct reader *reader, struct page *page, struct ty_err *err)
{
    Request request = VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST__INIT;
    ProtobufCMessage *message;
    request.id = (char *)reader->id;
    if (reader->cursor.token) {
        request._page_token_case = VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST___PAGE_TOKEN_PAGE_TOKEN;
        request.page_token = reader->cursor.token;
    }
    if (ty_rpc_client_call(reader->client, "GetTrainingJobLogs", &request.base,
                           &viam__app__mltraining__v1__get_training_job_logs_response__descriptor, &message, err) < 0)
        return -(int)err->code;
    const Response *response = (const Response *)message;
    const char *ended = ty_rpc_client_trailing(reader->client, "trainyard-log-ended");
    *page = (struct page){.is_said = ended != NULL, .has_ended = ended && !strcmp(ended, "true")};
    size_t first = ty_log_cursor_take(&reader->cursor, response->n_logs, response->next_page_token,
                                      ty_rpc_client_trailing(reader->client, "trainyard-log-position"), &page->more);
    for (size_t i = first; i < response->n_logs; i++)
        ty_follow_print(reader->log, response->logs[i], NULL);
    page->printed = response->n_logs - first;
    protobuf_c_message_free_unpacked(message, NULL);
    return ty_follow_flush(reader->log, err);
}

static int job_has_ended(struct reader *reader, bool *ret_has_ended, struct ty_err *err)
{
    TyJobAnswer *answer;
    if (ty_job_fetch(reader->client, reader->id, &answer, err) < 0)
        return -(int)err->code;
    *ret_has_ended = ty_job_is_terminal(answer->metadata);
    ty_job_free(answer);
    return 0;
}

// ---- following ----

struct follower {
    struct reader *reader;
    struct ty_patience patience;
    const struct ty_follow_options *options;
    uint64_t rest_since_ms; // the job has ended, and since then no entry has come; 0: it has not
    bool is_done;
    int exit_code;
};

// The last page of the moment was read and the log has not been said to have ended.
static int look_at_job(struct follower *follower, const struct page *page, struct ty_err *err)
{
    bool has_ended = follower->rest_since_ms != 0;
    uint64_t now_ms = ty_clock_mono_ms();
    if (!has_ended && job_has_ended(follower->reader, &has_ended, err) < 0)
        return -(int)err->code;
    if (!has_ended)
        return 0;
    if (!follower->rest_since_ms || page->printed)
        follower->rest_since_ms = now_ms;
    uint64_t limit_ms = (uint64_t)follower->options->rest_s * 1000;
    if (!page->is_said && limit_ms > REST_UNSAID_MS)
        limit_ms = REST_UNSAID_MS;
    if (now_ms - follower->rest_since_ms < limit_ms)
        return 0;
    follower->is_done = true;
    follower->exit_code = page->is_said ? TY_EXIT_LOG_CUT : 0;
    return 0;
}

static int step(struct follower *follower, bool *ret_progress, struct ty_err *err)
{
    struct page page;
    bool was_away;
    *ret_progress = false;
    do {
        if (read_page(follower->reader, &page, err) < 0)
            return -(int)err->code;
        ty_patience_on_answer(&follower->patience, &was_away);
        if (was_away)
            ty_cli_note(follower->reader->cli, "the responder is back");
        *ret_progress |= page.printed > 0;
    } while (page.more);
    if (page.has_ended) {
        follower->is_done = true;
        return 0;
    }
    return look_at_job(follower, &page, err);
}

static int follow(struct reader *reader, const struct ty_follow_options *options, struct ty_err *err)
{
    struct follower follower = {.reader = reader, .options = options};
    ty_patience_init(&follower.patience, options->patience_s * 1000, options->appear_s * 1000);
    for (;;) {
        bool progress, is_new;
        if (step(&follower, &progress, err) < 0) {
            if (ty_patience_on_error(&follower.patience, ty_clock_mono_ms(), &is_new, err) < 0)
                return -(int)err->code;
            if (is_new)
                ty_cli_note(reader->cli, "%s; trying again for %d s", err->message, (int)options->patience_s);
        }
        if (follower.is_done)
            return follower.exit_code;
        ty_patience_pause(&follower.patience, progress);
    }
}

int ty_follow_pages(const struct ty_cli *cli, struct ty_rpc_client *client, const char *id,
                    const struct ty_follow_options *options, struct ty_follow_log *log, struct ty_err *err)
{
    struct reader reader = {.cli = cli, .client = client, .id = id, .log = log};
    struct page page;
    int rc;
    if (log->follow) {
        rc = follow(&reader, options, err);
    } else {
        do
            rc = read_page(&reader, &page, err);
        while (rc == 0 && page.more);
    }
    ty_log_cursor_done(&reader.cursor);
    return rc;
}
