// A call's life, the same for every transport.
#include "responder/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "core/wire.h"
#include "responder/access.h"
#include "responder/rpc_transport.h"

bool ty_rpc_is_stream(const struct ty_rpc *rpc)
{
    return rpc->method && rpc->method->is_stream;
}

bool ty_rpc_tells_closed(const struct ty_rpc *rpc)
{
    return rpc->method && (rpc->method->is_stream || rpc->method->tells_closed);
}

static void refuse(struct ty_rpc *rpc, enum ty_code code, const char *text)
{
    struct ty_err err;
    ty_err_set(&err, code, "%s", text);
    ty_rpc_fail(rpc, &err);
}

// ---- the open streams ----

static void add_stream(struct ty_rpc *rpc)
{
    struct ty_rpc_calls *calls = rpc->calls;
    rpc->stream_next = calls->streams;
    if (calls->streams)
        calls->streams->stream_at = &rpc->stream_next;
    rpc->stream_at = &calls->streams;
    calls->streams = rpc;
}

static void drop_stream(struct ty_rpc *rpc)
{
    if (!rpc->stream_at)
        return;
    *rpc->stream_at = rpc->stream_next;
    if (rpc->stream_next)
        rpc->stream_next->stream_at = rpc->stream_at;
    rpc->stream_at = NULL;
}

void ty_rpc_stop_calls(struct ty_rpc_calls *calls)
{
    struct ty_rpc *next;
    calls->stopping = true;
    for (struct ty_rpc *rpc = calls->streams; rpc; rpc = next) {
        next = rpc->stream_next;
        refuse(rpc, TY_EUNAVAILABLE, "the server is stopping");
    }
}

// ---- heavy calls ----

static bool has_room(struct ty_rpc *rpc)
{
    if (rpc->calls->unsent_bytes <= TY_RPC_UNSENT_BYTES)
        return true;
    refuse(rpc, TY_EEXHAUSTED, "too many answers wait for clients that do not take them; try again later");
    return false;
}

// Its turn, and the end of the hold of the queue.
static void begin_waiting(struct ty_rpc *rpc)
{
    ProtobufCMessage *message = rpc->request;
    rpc->request = NULL;
    if (!rpc->answered && !rpc->cancelled && has_room(rpc)) {
        rpc->has_turn = true;
        rpc->calls->heavy++;
        rpc->method->on_request(rpc, message);
    } else if (!rpc->answered) {
        refuse(rpc, TY_EUNAVAILABLE, "the client has left");
    }
    protobuf_c_message_free_unpacked(message, NULL);
    ty_rpc_release(rpc);
}

// What ends inside of its own turn gives no turns itself: a long queue is no deep stack.
static void give_turns(struct ty_rpc_calls *calls)
{
    if (calls->is_giving_turns)
        return;
    calls->is_giving_turns = true;
    while (calls->waiting && calls->heavy < TY_RPC_HEAVY_AT_ONCE) {
        struct ty_rpc *rpc = calls->waiting;
        calls->waiting = rpc->wait_next;
        begin_waiting(rpc);
    }
    calls->is_giving_turns = false;
}

static void end_turn(struct ty_rpc *rpc)
{
    if (!rpc->has_turn)
        return;
    rpc->has_turn = false;
    rpc->calls->heavy--;
    give_turns(rpc->calls);
}

// Takes the message.
static void wait_for_turn(struct ty_rpc *rpc, ProtobufCMessage *message)
{
    struct ty_rpc_calls *calls = rpc->calls;
    ty_rpc_hold(rpc);
    rpc->request = message;
    rpc->wait_next = NULL;
    if (calls->waiting)
        calls->last_waiting->wait_next = rpc;
    else
        calls->waiting = rpc;
    calls->last_waiting = rpc;
    give_turns(calls);
}

// ---- beginning and end ----

void ty_rpc_init(struct ty_rpc *rpc, struct ty_rpc_calls *calls, const struct ty_rpc_method *method)
{
    *rpc = (struct ty_rpc){.calls = calls, .method = method, .holds = 1};
}

static void on_timer(void *context)
{
    struct ty_rpc *rpc = context;
    struct ty_err err;
    ty_rpc_hold(rpc);
    if (rpc->method->on_timeout)
        rpc->method->on_timeout(rpc);
    if (!rpc->answered) {
        ty_err_set(&err, TY_EUNAVAILABLE, "no answer within %d ms", TY_RPC_TIMEOUT_MS);
        ty_rpc_fail(rpc, &err);
    }
    ty_rpc_release(rpc);
}

bool ty_rpc_start(struct ty_rpc *rpc, uint64_t timeout_ms)
{
    struct ty_rpc_calls *calls = rpc->calls;
    calls->count++;
    if (!rpc->method) {
        refuse(rpc, TY_EUNIMPLEMENTED, "there is no such method");
    } else if (calls->count > TY_RPC_MAX_CALLS) {
        refuse(rpc, TY_EEXHAUSTED, "too many calls are being worked on");
    } else if (!ty_rpc_is_stream(rpc)) {
        ty_loop_set_timer(calls->loop, &rpc->timer, timeout_ms < TY_RPC_TIMEOUT_MS ? timeout_ms : TY_RPC_TIMEOUT_MS,
                          on_timer, rpc);
        return true;
    } else if (calls->stopping) {
        refuse(rpc, TY_EUNAVAILABLE, "the server is stopping");
    } else {
        add_stream(rpc);
        return true;
    }
    return false;
}

void ty_rpc_hold(struct ty_rpc *rpc)
{
    rpc->holds++;
}

static void free_trailing(struct ty_rpc *rpc)
{
    for (size_t i = 0; i < rpc->trailing_count; i++)
        free(rpc->trailing[i].key);
    rpc->trailing_count = 0;
}

void ty_rpc_release(struct ty_rpc *rpc)
{
    if (--rpc->holds)
        return;
    struct ty_rpc_calls *calls = rpc->calls;
    drop_stream(rpc);
    if (rpc->method && rpc->method->on_done)
        rpc->method->on_done(rpc);
    free_trailing(rpc);
    free(rpc->end_err);
    calls->transport->done(rpc);
    if (!--calls->count && calls->on_idle)
        calls->on_idle(calls->transport_context);
}

void ty_rpc_answer(struct ty_rpc *rpc, struct ty_buf *message, const struct ty_err *err)
{
    if (rpc->answered)
        return;
    rpc->answered = true;
    ty_loop_clear_timer(rpc->calls->loop, &rpc->timer);
    if (rpc->sending) {
        rpc->ends_later = true;
        if (err) {
            rpc->end_err = ty_xmalloc(sizeof *rpc->end_err);
            *rpc->end_err = *err;
        }
    } else {
        rpc->calls->transport->end(rpc, message, err);
    }
    end_turn(rpc);
    ty_rpc_release(rpc);
}

// ---- what a transport tells ----

void ty_rpc_dispatch(struct ty_rpc *rpc, const uint8_t *bytes, size_t len)
{
    ProtobufCMessage *message;
    struct ty_err err;
    if (!rpc->admitted && ty_access_admit(rpc, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    rpc->admitted = true;
    if (ty_wire_unpack(rpc->method->request, bytes, len, &message, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    ty_rpc_hold(rpc);
    if (rpc->method->is_heavy) {
        wait_for_turn(rpc, message);
    } else {
        rpc->method->on_request(rpc, message);
        protobuf_c_message_free_unpacked(message, NULL);
    }
    ty_rpc_release(rpc);
}

bool ty_rpc_takes_more(const struct ty_rpc *rpc)
{
    return !rpc->answered && !rpc->sending && !rpc->method->takes_one;
}

void ty_rpc_on_half_close(struct ty_rpc *rpc)
{
    if (!rpc->method->takes_one)
        ty_rpc_answer(rpc, NULL, NULL);
}

bool ty_rpc_on_sent(struct ty_rpc *rpc, bool ok)
{
    bool goes_on = rpc->sending && ok && (!rpc->answered || rpc->ends_later);
    rpc->sending = false;
    // A handler that was waiting for its turn has it before the end: its last word is not lost.
    if (goes_on && rpc->method->on_sent)
        rpc->method->on_sent(rpc);
    if (rpc->sending)
        return false;
    if (rpc->ends_later) {
        rpc->ends_later = false;
        rpc->calls->transport->end(rpc, NULL, rpc->end_err);
        return false;
    }
    return goes_on && !rpc->method->on_sent;
}

void ty_rpc_on_closed(struct ty_rpc *rpc, bool cancelled)
{
    rpc->cancelled = cancelled;
    if (!ty_rpc_is_stream(rpc) || rpc->answered)
        return;
    // A stream that the client has left takes no status any more.
    rpc->answered = true;
    ty_rpc_release(rpc);
}

void ty_rpc_status_text(const struct ty_err *err, struct ty_buf *out)
{
    ty_utf8_repair(err->message, strlen(err->message), out);
    for (size_t i = 0; i < out->len; i++)
        if (out->data[i] == '%')
            out->data[i] = '?';
    if (!out->len)
        ty_buf_add_text(out, ty_code_name(err->code));
}

// ---- for the handlers ----

void *ty_rpc_context(const struct ty_rpc *rpc)
{
    return rpc->calls->context;
}

void *ty_rpc_scratch(struct ty_rpc *rpc)
{
    return rpc->scratch;
}

bool ty_rpc_is_answered(const struct ty_rpc *rpc)
{
    return rpc->answered;
}

bool ty_rpc_is_cancelled(const struct ty_rpc *rpc)
{
    return rpc->cancelled;
}

bool ty_rpc_metadata(const struct ty_rpc *rpc, size_t index, const char **ret_key, size_t *ret_key_len,
                     const char **ret_value, size_t *ret_value_len)
{
    return rpc->calls->transport->metadata(rpc, index, ret_key, ret_key_len, ret_value, ret_value_len);
}

const char *ty_rpc_peer(const struct ty_rpc *rpc, char *out, size_t size)
{
    *out = 0;
    return rpc->calls->transport->peer ? rpc->calls->transport->peer(rpc, out, size) : out;
}

enum ty_access_needed ty_rpc_access(const struct ty_rpc *rpc)
{
    return rpc->method->access;
}

const struct ty_principal *ty_rpc_principal(const struct ty_rpc *rpc)
{
    return &rpc->principal;
}

void ty_rpc_set_principal(struct ty_rpc *rpc, const struct ty_principal *principal)
{
    rpc->principal = *principal;
}

void ty_rpc_add_trailing_bytes(struct ty_rpc *rpc, const char *key, const void *bytes, size_t len)
{
    if (rpc->answered || rpc->trailing_count == TY_RPC_TRAILING_MAX)
        return;
    TY_BUF(entry);
    ty_buf_add(&entry, key, strlen(key) + 1);
    ty_buf_add(&entry, bytes, len);
    rpc->trailing[rpc->trailing_count++] = (struct ty_rpc_trailing){
        .key = (char *)entry.data, .value = entry.data + strlen(key) + 1, .value_len = len};
    entry = (struct ty_buf){0};
}

void ty_rpc_add_trailing(struct ty_rpc *rpc, const char *key, const char *value)
{
    ty_rpc_add_trailing_bytes(rpc, key, value, strlen(value));
}

void ty_rpc_reply(struct ty_rpc *rpc, const void *bytes, size_t len)
{
    TY_BUF(message);
    if (rpc->answered)
        return;
    ty_buf_add(&message, bytes, len);
    ty_rpc_answer(rpc, &message, NULL);
}

void ty_rpc_reply_take(struct ty_rpc *rpc, struct ty_buf *message)
{
    ty_rpc_answer(rpc, message, NULL);
}

void ty_rpc_fail(struct ty_rpc *rpc, const struct ty_err *err)
{
    ty_rpc_answer(rpc, NULL, err);
}

void ty_rpc_end(struct ty_rpc *rpc)
{
    ty_rpc_answer(rpc, NULL, NULL);
}

bool ty_rpc_send(struct ty_rpc *rpc, const void *bytes, size_t len)
{
    TY_BUF(message);
    if ((rpc->answered && !rpc->ends_later) || rpc->sending)
        return false;
    ty_buf_add(&message, bytes, len);
    if (!rpc->calls->transport->send(rpc, &message))
        return false;
    rpc->sending = true;
    return true;
}
