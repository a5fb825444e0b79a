// A log by LogService.Follow: one stream after the other, each from where the last one was, until the log's end was said.
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "producer/cli/follow_internal.h"
#include "producer/cli/patience.h"
#include "trainyard/v1/log_service.pb-c.h"

typedef Trainyard__V1__FollowRequest Request;
typedef Trainyard__V1__FollowReply Reply;

#define FOLLOW "/trainyard.v1.LogService/Follow"
// The server says something every 10 s.
#define SILENCE_MS 25000
#define LOOK_MS 1000

struct follower {
    const struct ty_cli *cli;
    struct ty_rpc_client *client;
    const char *id;
    const struct ty_follow_options *options;
    struct ty_follow_log *log;
    struct ty_patience patience;
    char *position; // NULL: nothing was received yet
    bool is_done, progress;
    int exit_code;
};

static int open_stream(struct follower *follower, struct ty_rpc_stream **ret_stream, struct ty_err *err)
{
    const struct ty_follow_log *log = follower->log;
    Request request = TRAINYARD__V1__FOLLOW_REQUEST__INIT;
    Google__Protobuf__Timestamp since = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    int64_t rest_ms = follower->options->rest_s * 1000;
    request.id = (char *)follower->id;
    request.until_now = !log->follow;
    request.rest_ms = rest_ms ? (uint32_t)rest_ms : 1;
    if (log->level)
        request.minimum_level = (char *)log->level;
    if (log->since_us) {
        since.seconds = (int64_t)(log->since_us / 1000000);
        since.nanos = (int32_t)(log->since_us % 1000000 * 1000);
        request.since = &since;
    }
    if (follower->position) {
        request.start_case = TRAINYARD__V1__FOLLOW_REQUEST__START_POSITION;
        request.position = follower->position;
    } else if (log->tail >= 0) {
        request.start_case = TRAINYARD__V1__FOLLOW_REQUEST__START_TAIL;
        request.tail = (uint32_t)log->tail;
    }
    return ty_rpc_stream_open(follower->client, FOLLOW, &request.base, ret_stream, err);
}

static int take_reply(struct follower *follower, const Reply *reply, struct ty_err *err)
{
    bool was_away;
    ty_patience_on_answer(&follower->patience, &was_away);
    if (was_away)
        ty_cli_note(follower->cli, "the responder is back");
    for (size_t i = 0; i < reply->n_records; i++)
        if (reply->records[i]->entry)
            ty_follow_print(follower->log, reply->records[i]->entry, reply->records[i]);
    follower->progress = follower->progress || reply->n_records;
    if (*reply->position) {
        free(follower->position);
        follower->position = ty_xstrdup(reply->position);
    }
    if (reply->end) {
        follower->is_done = true;
        follower->exit_code = reply->end->complete || !follower->log->follow ? 0 : TY_EXIT_LOG_CUT;
    }
    return ty_follow_flush(follower->log, err);
}

// Waits for the next message; the reader of our output may go meanwhile.
static int next_event(struct follower *follower, struct ty_rpc_stream *stream, int limit_ms, Reply **ret_reply, struct ty_err *err)
{
    ProtobufCMessage *message;
    for (uint64_t start_ms = ty_clock_mono_ms();;) {
        int event = ty_rpc_stream_next(stream, &trainyard__v1__follow_reply__descriptor, LOOK_MS, &message, err);
        if (event == TY_RPC_STREAM_MESSAGE)
            *ret_reply = (Reply *)message;
        if (event != TY_RPC_STREAM_QUIET)
            return event;
        ty_patience_check_reader();
        if (ty_clock_mono_ms() - start_ms >= (uint64_t)limit_ms)
            return ty_err_set(err, TY_EUNAVAILABLE, "responder %s: no sign of life for %d s", ty_rpc_client_server(follower->client),
                              limit_ms / 1000);
    }
}

static int read_stream(struct follower *follower, struct ty_rpc_stream *stream, struct ty_err *err)
{
    int limit_ms = (int)follower->cli->common->timeout_ms; // for the first reply, which comes at once
    for (;; limit_ms = SILENCE_MS) {
        Reply *reply = NULL;
        int event = next_event(follower, stream, limit_ms, &reply, err);
        if (event < 0)
            return follower->is_done ? 0 : event; // all was said before the connection broke
        if (event == TY_RPC_STREAM_END) {
            follower->is_done = follower->is_done || !follower->log->follow;
            return follower->is_done ? 0 : ty_err_set(err, TY_EUNAVAILABLE, "responder %s: it ended the stream before the log's end",
                                                      ty_rpc_client_server(follower->client));
        }
        int rc = take_reply(follower, reply, err);
        protobuf_c_message_free_unpacked(&reply->base, NULL);
        if (rc < 0)
            return rc;
    }
}

static int follow_once(struct follower *follower, struct ty_err *err)
{
    struct ty_rpc_stream *stream;
    follower->progress = false;
    if (open_stream(follower, &stream, err) < 0)
        return -(int)err->code;
    int rc = read_stream(follower, stream, err);
    ty_rpc_stream_close(stream);
    return rc;
}

static int follow(struct follower *follower, struct ty_err *err)
{
    for (;;) {
        bool is_new = false;
        if (follow_once(follower, err) == 0)
            return follower->exit_code;
        if (!follower->log->follow || ty_patience_on_error(&follower->patience, ty_clock_mono_ms(), &is_new, err) < 0)
            return -(int)err->code;
        if (is_new)
            ty_cli_note(follower->cli, "%s; trying again for %d s", err->message, (int)follower->options->patience_s);
        ty_patience_pause(&follower->patience, follower->progress);
    }
}

int ty_follow_log(const struct ty_cli *cli, struct ty_rpc_client *client, const char *id,
                  const struct ty_follow_options *options, struct ty_follow_log *log, struct ty_err *err)
{
    struct follower follower = {.cli = cli, .client = client, .id = id, .options = options, .log = log};
    bool is_plain = log->tail < 0 && !log->since_us && !log->level;
    log->printed = 0;
    ty_patience_init(&follower.patience, options->patience_s * 1000, options->appear_s * 1000);
    int rc = follow(&follower, err);
    if (rc == -TY_EUNIMPLEMENTED && !follower.position && is_plain)
        rc = ty_follow_pages(cli, client, id, options, log, err);
    else if (rc == -TY_EUNIMPLEMENTED)
        ty_err_set(err, TY_EUNIMPLEMENTED, "responder %s: it is of a version without --tail, --since and --level",
                   ty_rpc_client_server(client));
    free(follower.position);
    if (rc == TY_EXIT_LOG_CUT)
        ty_cli_note(cli, "the job has ended, but the end of its log has not come: its last lines may be missing");
    return rc;
}
