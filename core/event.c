#include "core/event.h"

#include <openssl/evp.h>
#include <string.h>

#include "core/limits.h"
#include "core/wire.h"
#include "trainyard/v1/event.pb-c.h"

typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;
typedef Google__Protobuf__Timestamp Timestamp;

// Fields of JobEvent.
enum {
    EVENT_FORMAT = 1, EVENT_EPOCH = 2, EVENT_VERSION = 3, EVENT_METADATA = 4, EVENT_OPTIONS = 5, EVENT_ATTEMPT = 6,
    EVENT_FENCE = 7, EVENT_TOKEN_HASH = 8, EVENT_WORKER = 9, EVENT_STAGE = 10, EVENT_REASON = 11, EVENT_HISTORY = 12,
    EVENT_DELETED = 13, EVENT_DIGEST = 14, EVENT_LOSSES = 15, EVENT_ERRORS = 16, EVENT_CANCEL = 17, EVENT_DELETE = 18,
    EVENT_POOL = 19, EVENT_LEASE = 20, EVENT_OTHER = 21,
};
enum { MOVE_TIME = 1, MOVE_STATUS = 2, MOVE_STAGE = 3, MOVE_REASON = 4, MOVE_ATTEMPT = 5, MOVE_WORKER = 6 };
enum { OTHER_TYPE = 1, OTHER_VALUE = 2 };

#define MOVE_BYTES 13 // of a history entry in the tail
#define TAIL_MAX UINT16_MAX

// ---- record to event ----

static void add_number(struct ty_buf *out, uint32_t field, uint64_t value)
{
    if (value)
        ty_buf_add_tag_varint(out, field, value);
}

static void add_token_hash(const struct ty_token *token, struct ty_buf *out)
{
    static const struct ty_token none;
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned len;
    if (memcmp(token, &none, sizeof none) && EVP_Digest(token->bytes, sizeof token->bytes, hash, &len, EVP_sha256(), NULL) == 1)
        ty_buf_add_tag_bytes(out, EVENT_TOKEN_HASH, hash, len);
}

static void start_move(const uint8_t *bytes, struct ty_buf *move)
{
    ty_buf_clear(move);
    ty_buf_add_tag_time(move, MOVE_TIME, ty_get_le(bytes + 5, 8));
    add_number(move, MOVE_STATUS, bytes[0]);
    add_number(move, MOVE_STAGE, bytes[1]);
    add_number(move, MOVE_REASON, bytes[2]);
    add_number(move, MOVE_ATTEMPT, ty_get_le(bytes + 3, 2));
}

// What start_move began, if anything: a move is never empty.
static void end_move(struct ty_buf *move, struct ty_buf *out)
{
    if (move->len)
        ty_buf_add_tag_bytes(out, EVENT_HISTORY, move->data, move->len);
    ty_buf_clear(move);
}

static void add_other(uint8_t type, const uint8_t *bytes, size_t len, struct ty_buf *out)
{
    TY_BUF(other);
    ty_buf_add_tag_varint(&other, OTHER_TYPE, type);
    ty_buf_add_tag_bytes(&other, OTHER_VALUE, bytes, len);
    ty_buf_add_tag_bytes(out, EVENT_OTHER, other.data, other.len);
}

static bool is_move(uint8_t type, size_t len)
{
    return type == TY_TAIL_HISTORY && len >= MOVE_BYTES;
}

static void add_tail(const struct ty_record *record, struct ty_buf *out)
{
    TY_BUF(move);
    size_t offset = 0, len, moves = 0, seen = 0;
    uint8_t type;
    const uint8_t *bytes;
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len))
        moves += is_move(type, len);
    offset = 0;
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len)) {
        if (is_move(type, len)) {
            end_move(&move, out);
            if (moves - seen++ <= TY_EVENT_HISTORY_MAX)
                start_move(bytes, &move);
        } else if (type == TY_TAIL_WORKER) { // behind the move with which it took the attempt
            if (move.len)
                ty_buf_add_tag_bytes(&move, MOVE_WORKER, bytes, len);
        } else if (type != TY_TAIL_HISTORY && type != TY_TAIL_METADATA) {
            add_other(type, bytes, len, out);
        }
    }
    end_move(&move, out);
}

static void add_job(const struct ty_record *record, struct ty_buf *out)
{
    TY_BUF(metadata);
    size_t worker_len;
    const char *worker = ty_record_worker(record, &worker_len);
    ty_record_metadata(record, &metadata);
    ty_buf_add_tag_bytes(out, EVENT_METADATA, metadata.data, metadata.len);
    ty_buf_add_tag_bytes(out, EVENT_OPTIONS, record->options, record->options_len);
    add_number(out, EVENT_ATTEMPT, record->attempt);
    add_number(out, EVENT_FENCE, record->fence);
    add_token_hash(&record->token, out);
    if (worker_len)
        ty_buf_add_tag_bytes(out, EVENT_WORKER, worker, worker_len);
    add_number(out, EVENT_STAGE, record->stage);
    add_number(out, EVENT_REASON, record->reason);
    ty_buf_add_tag_bytes(out, EVENT_DIGEST, record->digest, sizeof record->digest);
    add_number(out, EVENT_LOSSES, record->worker_losses);
    add_number(out, EVENT_ERRORS, record->errors);
    add_number(out, EVENT_CANCEL, (record->flags & TY_FLAG_CANCEL) != 0);
    add_number(out, EVENT_DELETE, (record->flags & TY_FLAG_DELETE) != 0);
    if (record->pool_len)
        ty_buf_add_tag_bytes(out, EVENT_POOL, record->pool, record->pool_len);
    add_number(out, EVENT_LEASE, record->lease_ms);
    add_tail(record, out);
}

int ty_event_encode(const struct ty_record *record, uint64_t epoch, struct ty_buf *out, struct ty_err *err)
{
    size_t before = out->len;
    bool is_tombstone = record->state == TY_JOB_TOMBSTONE;
    if (is_tombstone && !(record->flags & TY_FLAG_DELETE))
        return ty_err_set(err, TY_EINVALID, "event: there is no job yet");
    ty_buf_add_tag_varint(out, EVENT_FORMAT, TY_EVENT_FORMAT);
    add_number(out, EVENT_EPOCH, epoch);
    add_number(out, EVENT_VERSION, record->version);
    if (is_tombstone)
        add_number(out, EVENT_DELETED, 1);
    else
        add_job(record, out);
    size_t len = out->len - before;
    if (len > TY_EVENT_BYTES_MAX) {
        out->len = before;
        return ty_err_set(err, TY_EINVALID, "event: %zu bytes; at most %d are allowed", len, TY_EVENT_BYTES_MAX);
    }
    return 0;
}

// ---- event to record ----

static uint64_t time_us(const Timestamp *time)
{
    if (!time || time->seconds < 0 || time->nanos < 0)
        return 0;
    return (uint64_t)time->seconds * 1000000 + (uint64_t)time->nanos / 1000;
}

static void add_tail_entry(uint8_t type, const void *bytes, size_t len, struct ty_buf *out)
{
    uint8_t head[3] = {type, (uint8_t)(len & 0xff), (uint8_t)(len >> 8)};
    if (!len || len > TAIL_MAX)
        return;
    ty_buf_add(out, head, sizeof head);
    ty_buf_add(out, bytes, len);
}

// Each worker behind the move with which it took the attempt. Where no move has one (an older event, or the move is too long ago) it
// stands before them all, as that of none.
static void add_history(const Trainyard__V1__JobEvent *event, struct ty_buf *out)
{
    bool has_worker = false;
    for (size_t i = 0; i < event->n_history; i++)
        has_worker = has_worker || *event->history[i]->worker;
    if (!has_worker)
        add_tail_entry(TY_TAIL_WORKER, event->worker, strlen(event->worker), out);
    for (size_t i = 0; i < event->n_history; i++) {
        const Trainyard__V1__Transition *move = event->history[i];
        uint64_t at_us = time_us(move->time);
        uint8_t bytes[MOVE_BYTES] = {(uint8_t)move->status, (uint8_t)move->stage, (uint8_t)move->reason,
                                     (uint8_t)(move->attempt & 0xff), (uint8_t)(move->attempt >> 8 & 0xff)};
        for (size_t b = 0; b < 8; b++)
            bytes[5 + b] = (uint8_t)(at_us >> (8 * b));
        add_tail_entry(TY_TAIL_HISTORY, bytes, sizeof bytes, out);
        add_tail_entry(TY_TAIL_WORKER, move->worker, strlen(move->worker), out);
    }
}

// What changes during a job's life stands in the tail and the header; what is left of the metadata never changes.
static void take_changes(Metadata *metadata, struct ty_buf *patch)
{
    if (metadata->error_status)
        ty_patch_error(patch, metadata->error_status->code, metadata->error_status->message);
    if (*metadata->synced_model_id)
        ty_patch_model(patch, metadata->synced_model_id);
}

static void add_metadata(const Metadata *metadata, struct ty_buf *out)
{
    Metadata same = *metadata; // a view: nothing of it is freed
    same.status = 0;
    same.last_modified = same.training_started = same.training_ended = NULL;
    same.synced_model_id = (char *)protobuf_c_empty_string;
    same.error_status = NULL;
    protobuf_c_message_pack(&same.base, ty_buf_reserve(out, protobuf_c_message_get_packed_size(&same.base)));
    out->len += protobuf_c_message_get_packed_size(&same.base);
}

static uint8_t flags_of(const Trainyard__V1__JobEvent *event)
{
    return (uint8_t)((event->cancel_requested ? TY_FLAG_CANCEL : 0) | (event->delete_requested ? TY_FLAG_DELETE : 0) |
                     (event->metadata->is_custom_job ? TY_FLAG_CUSTOM : 0));
}

static void build_record(const Trainyard__V1__JobEvent *event, struct ty_buf *out)
{
    const Metadata *metadata = event->metadata;
    TY_BUF(patch);
    struct ty_spec spec = {
        .organization_id = metadata->organization_id,
        .container = event->pool,
        .priority = (uint8_t)(event->options ? event->options->priority : 0),
        .max_attempts = event->options ? event->options->max_attempts : 0,
    };
    if (event->digest.len == sizeof spec.digest)
        memcpy(spec.digest, event->digest.data, sizeof spec.digest);
    add_metadata(metadata, &spec.metadata);
    if (event->options) {
        size_t len = protobuf_c_message_get_packed_size(&event->options->base);
        protobuf_c_message_pack(&event->options->base, ty_buf_reserve(&spec.options, len));
        spec.options.len = len;
    }
    ty_record_encode_new(&spec, time_us(metadata->created_on), metadata->is_custom_job, TY_REASON_NONE, NULL, out);
    struct ty_record now = {
        .state = (enum ty_job_state)metadata->status,
        .stage = (uint8_t)event->stage,
        .reason = (uint8_t)event->reason,
        .flags = flags_of(event),
        .attempt = event->attempt,
        .worker_losses = event->losses,
        .errors = event->errors,
        .lease_ms = event->lease_ms,
        .version = event->version,
        .modified_us = time_us(metadata->last_modified),
        .started_us = time_us(metadata->training_started),
        .ended_us = time_us(metadata->training_ended),
        .fence = event->fence,
    };
    ty_record_set_changes(out->data, &now);
    take_changes(event->metadata, &patch);
    add_history(event, out);
    add_tail_entry(TY_TAIL_METADATA, patch.data, patch.len, out);
    for (size_t i = 0; i < event->n_other; i++)
        if (event->other[i]->type <= UINT8_MAX)
            add_tail_entry((uint8_t)event->other[i]->type, event->other[i]->value.data, event->other[i]->value.len, out);
    ty_buf_done(&spec.metadata);
    ty_buf_done(&spec.options);
}

// Of the job that the key names, in a state that there is.
static int check(const struct ty_id *key, const Trainyard__V1__JobEvent *event, struct ty_err *err)
{
    struct ty_id id;
    if (event->format_version > TY_EVENT_FORMAT)
        return ty_err_set(err, TY_EPRECONDITION, "event: format %u, this program knows %d", event->format_version, TY_EVENT_FORMAT);
    if (event->format_version == 0 || !event->version)
        return ty_err_set(err, TY_EDATALOSS, "event: it has no format or no version");
    if (event->deleted)
        return 0;
    if (!event->metadata || ty_id_parse(event->metadata->id, &id, err) < 0 || !ty_id_equal(&id, key))
        return ty_err_set(err, TY_EDATALOSS, "event: metadata.id is not the job of its key");
    if ((int)event->metadata->status < TY_JOB_PENDING || (int)event->metadata->status > TY_JOB_CANCELING)
        return ty_err_set(err, TY_EDATALOSS, "event: metadata.status %d is no state of a job", (int)event->metadata->status);
    if (strlen(event->pool) > TY_LIMIT_NAME_BYTES)
        return ty_err_set(err, TY_EDATALOSS, "event: pool has %zu bytes; at most %d are allowed", strlen(event->pool),
                          TY_LIMIT_NAME_BYTES);
    if (event->options && (event->options->priority > TY_LIMIT_PRIORITY || event->options->max_attempts > TY_LIMIT_ATTEMPTS))
        return ty_err_set(err, TY_EDATALOSS, "event: options are not those of a job");
    return 0;
}

int ty_event_decode(const struct ty_id *key, const void *bytes, size_t len, struct ty_event *ret_event, struct ty_err *err)
{
    ProtobufCMessage *message;
    if (ty_wire_unpack(&trainyard__v1__job_event__descriptor, bytes, len, &message, err) < 0) {
        err->code = TY_EDATALOSS;
        return -TY_EDATALOSS;
    }
    const Trainyard__V1__JobEvent *event = (const Trainyard__V1__JobEvent *)message;
    int rc = check(key, event, err);
    if (rc == 0) {
        *ret_event = (struct ty_event){.epoch = event->epoch, .version = event->version, .is_deleted = event->deleted};
        if (!event->deleted)
            build_record(event, &ret_event->record);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return rc;
}

void ty_event_done(struct ty_event *event)
{
    ty_buf_done(&event->record);
}
