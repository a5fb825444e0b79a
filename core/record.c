#include "core/record.h"

#include <string.h>

#include "core/limits.h"
#include "core/wire.h"

// Offsets of the header's fields; schemas/redis/README.md is the table, prelude.lua.in the other user.
enum {
    AT_FORMAT = 0, AT_STATE = 1, AT_STAGE = 2, AT_REASON = 3, AT_FLAGS = 4, AT_PRIORITY = 5,
    AT_MAX_ATTEMPTS = 6, AT_ATTEMPT = 8, AT_LOSSES = 12, AT_ERRORS = 16, AT_METADATA_LEN = 20,
    AT_OPTIONS_LEN = 24, AT_LEASE_MS = 28, AT_VERSION = 32, AT_CREATED = 40, AT_MODIFIED = 48,
    AT_STARTED = 56, AT_ENDED = 64, AT_FENCE = 72, AT_TOKEN = 80, AT_DIGEST = 96, AT_ORG_OFF = 112,
    AT_POOL_LEN = 114, AT_ORG_LEN = 116, AT_READY = 120,
};

// Fields of TrainingJobMetadata that change during a job's life.
enum {
    META_STATUS = 2, META_LAST_MODIFIED = 4, META_SYNCED_MODEL_ID = 5, META_ERROR_STATUS = 8,
    META_STARTED = 9, META_ENDED = 10, META_ORGANIZATION = 12, META_SCRIPT_VERSION = 20,
};

// Ready order: priority first, then age. 2020-01-01 keeps the sum exact in a double for centuries.
#define READY_EPOCH_US UINT64_C(1577836800000000)
#define READY_BAND_US UINT64_C(1000000000000000)

static void put_le(uint8_t *bytes, size_t width, uint64_t value)
{
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

int ty_record_decode(const void *bytes, size_t len, struct ty_record *ret_record, struct ty_err *err)
{
    const uint8_t *at = bytes;
    if (len < TY_RECORD_HEADER_BYTES)
        return ty_err_set(err, TY_EDATALOSS, "job record: %zu bytes are shorter than its header", len);
    if (at[AT_FORMAT] != TY_RECORD_FORMAT)
        return ty_err_set(err, TY_EPRECONDITION, "job record: format %u, this program knows %u",
                          at[AT_FORMAT], TY_RECORD_FORMAT);
    struct ty_record r = {
        .state = at[AT_STATE],
        .stage = at[AT_STAGE],
        .reason = at[AT_REASON],
        .flags = at[AT_FLAGS],
        .priority = at[AT_PRIORITY],
        .max_attempts = (uint16_t)ty_get_le(at + AT_MAX_ATTEMPTS, 2),
        .attempt = (uint32_t)ty_get_le(at + AT_ATTEMPT, 4),
        .worker_losses = (uint32_t)ty_get_le(at + AT_LOSSES, 4),
        .errors = (uint32_t)ty_get_le(at + AT_ERRORS, 4),
        .lease_ms = (uint32_t)ty_get_le(at + AT_LEASE_MS, 4),
        .version = ty_get_le(at + AT_VERSION, 8),
        .created_us = ty_get_le(at + AT_CREATED, 8),
        .modified_us = ty_get_le(at + AT_MODIFIED, 8),
        .started_us = ty_get_le(at + AT_STARTED, 8),
        .ended_us = ty_get_le(at + AT_ENDED, 8),
        .fence = ty_get_le(at + AT_FENCE, 8),
        .ready = ty_get_le(at + AT_READY, 8),
        .pool_len = (size_t)ty_get_le(at + AT_POOL_LEN, 2),
        .metadata_len = (size_t)ty_get_le(at + AT_METADATA_LEN, 4),
        .options_len = (size_t)ty_get_le(at + AT_OPTIONS_LEN, 4),
    };
    memcpy(r.token.bytes, at + AT_TOKEN, sizeof r.token.bytes);
    memcpy(r.digest, at + AT_DIGEST, sizeof r.digest);
    size_t left = len - TY_RECORD_HEADER_BYTES;
    if (r.state > TY_JOB_CANCELING || r.pool_len > left || r.metadata_len > left - r.pool_len ||
        r.options_len > left - r.pool_len - r.metadata_len)
        return ty_err_set(err, TY_EDATALOSS, "job record: its lengths do not fit its %zu bytes", len);
    r.pool = (const char *)at + TY_RECORD_HEADER_BYTES;
    r.metadata = at + TY_RECORD_HEADER_BYTES + r.pool_len;
    size_t org_off = (size_t)ty_get_le(at + AT_ORG_OFF, 2), org_len = (size_t)ty_get_le(at + AT_ORG_LEN, 4);
    r.organization = (const char *)r.metadata;
    if (org_off <= r.metadata_len && org_len <= r.metadata_len - org_off) {
        r.organization += org_off;
        r.organization_len = org_len;
    }
    r.options = r.metadata + r.metadata_len;
    r.tail = r.options + r.options_len;
    r.tail_len = left - r.pool_len - r.metadata_len - r.options_len;
    *ret_record = r;
    return 0;
}

// Where the organization's name stands inside the metadata, so that the scripts need not parse protobuf.
static void find_organization(const struct ty_spec *spec, uint16_t *ret_off, uint32_t *ret_len)
{
    *ret_off = 0;
    *ret_len = 0;
    const char *name = spec->organization_id;
    size_t len = name ? strlen(name) : 0;
    if (!len)
        return;
    TY_BUF(needle);
    ty_buf_add_tag_bytes(&needle, META_ORGANIZATION, name, len);
    // The field could only be mimicked inside an earlier string field; any place that has the same bytes serves as well.
    const uint8_t *hit = memmem(spec->metadata.data, spec->metadata.len, needle.data, needle.len);
    if (!hit)
        return;
    size_t off = (size_t)(hit - spec->metadata.data) + needle.len - len;
    if (off > UINT16_MAX)
        return;
    *ret_off = (uint16_t)off;
    *ret_len = (uint32_t)len;
}

void ty_record_encode_new(const struct ty_spec *spec, uint64_t created_us, bool is_custom,
                          enum ty_job_reason reason, const char *message, struct ty_buf *out)
{
    uint8_t head[TY_RECORD_HEADER_BYTES] = {0};
    bool refused = reason != TY_REASON_NONE;
    const char *pool = spec->container && !refused ? spec->container : "";
    uint16_t org_off;
    uint32_t org_len;
    find_organization(spec, &org_off, &org_len);
    head[AT_FORMAT] = TY_RECORD_FORMAT;
    head[AT_STATE] = refused ? TY_JOB_FAILED : TY_JOB_PENDING;
    head[AT_REASON] = (uint8_t)reason;
    head[AT_FLAGS] = is_custom ? TY_FLAG_CUSTOM : 0;
    head[AT_PRIORITY] = spec->priority;
    put_le(head + AT_MAX_ATTEMPTS, 2, spec->max_attempts);
    put_le(head + AT_METADATA_LEN, 4, spec->metadata.len);
    put_le(head + AT_OPTIONS_LEN, 4, spec->options.len);
    put_le(head + AT_VERSION, 8, 1);
    put_le(head + AT_CREATED, 8, created_us);
    put_le(head + AT_MODIFIED, 8, created_us);
    put_le(head + AT_ENDED, 8, refused ? created_us : 0);
    memcpy(head + AT_DIGEST, spec->digest, sizeof spec->digest);
    put_le(head + AT_ORG_OFF, 2, org_off);
    put_le(head + AT_POOL_LEN, 2, strlen(pool));
    put_le(head + AT_ORG_LEN, 4, org_len);
    uint64_t age = created_us > READY_EPOCH_US ? created_us - READY_EPOCH_US : 0;
    put_le(head + AT_READY, 8, (TY_LIMIT_PRIORITY - (uint64_t)spec->priority) * READY_BAND_US + age);

    ty_buf_add(out, head, sizeof head);
    ty_buf_add(out, pool, strlen(pool));
    ty_buf_add(out, spec->metadata.data, spec->metadata.len);
    ty_buf_add(out, spec->options.data, spec->options.len);
    if (refused) {
        TY_BUF(patch);
        ty_patch_error(&patch, ty_code_grpc(TY_EINVALID), message);
        uint8_t entry[3] = {TY_TAIL_METADATA};
        put_le(entry + 1, 2, patch.len);
        ty_buf_add(out, entry, sizeof entry);
        ty_buf_add(out, patch.data, patch.len);
    } else if (spec->max_wait_s) {
        uint8_t entry[3 + 8] = {TY_TAIL_WAIT, 8};
        put_le(entry + 3, 8, created_us + spec->max_wait_s * UINT64_C(1000000));
        ty_buf_add(out, entry, sizeof entry);
    }
}

void ty_record_set_changes(uint8_t *bytes, const struct ty_record *record)
{
    bytes[AT_STATE] = (uint8_t)record->state;
    bytes[AT_STAGE] = record->stage;
    bytes[AT_REASON] = record->reason;
    bytes[AT_FLAGS] = record->flags;
    put_le(bytes + AT_ATTEMPT, 4, record->attempt);
    put_le(bytes + AT_LOSSES, 4, record->worker_losses);
    put_le(bytes + AT_ERRORS, 4, record->errors);
    put_le(bytes + AT_LEASE_MS, 4, record->lease_ms);
    put_le(bytes + AT_VERSION, 8, record->version);
    put_le(bytes + AT_MODIFIED, 8, record->modified_us);
    put_le(bytes + AT_STARTED, 8, record->started_us);
    put_le(bytes + AT_ENDED, 8, record->ended_us);
    put_le(bytes + AT_FENCE, 8, record->fence);
}

bool ty_record_tail_next(const struct ty_record *record, size_t *offset, uint8_t *ret_type,
                         const uint8_t **ret_bytes, size_t *ret_len)
{
    if (*offset + 3 > record->tail_len)
        return false;
    const uint8_t *entry = record->tail + *offset;
    size_t len = (size_t)ty_get_le(entry + 1, 2);
    if (len > record->tail_len - *offset - 3)
        return false;
    *ret_type = entry[0];
    *ret_bytes = entry + 3;
    *ret_len = len;
    *offset += 3 + len;
    return true;
}

void ty_record_metadata(const struct ty_record *record, struct ty_buf *out)
{
    ty_buf_add(out, record->metadata, record->metadata_len);
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *bytes;
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len))
        if (type == TY_TAIL_METADATA)
            ty_buf_add(out, bytes, len);
    ty_buf_add_tag_varint(out, META_STATUS, (uint64_t)record->state);
    ty_buf_add_tag_time(out, META_LAST_MODIFIED, record->modified_us);
    if (record->started_us)
        ty_buf_add_tag_time(out, META_STARTED, record->started_us);
    if (record->ended_us)
        ty_buf_add_tag_time(out, META_ENDED, record->ended_us);
}

bool ty_record_is_terminal(const struct ty_record *record)
{
    return record->state == TY_JOB_COMPLETED || record->state == TY_JOB_FAILED ||
           record->state == TY_JOB_CANCELED;
}

const char *ty_record_worker(const struct ty_record *record, size_t *ret_len)
{
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *bytes;
    const char *name = "";
    *ret_len = 0;
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len)) {
        if (type != TY_TAIL_WORKER)
            continue;
        name = (const char *)bytes;
        *ret_len = len;
    }
    return name;
}

uint64_t ty_record_due_us(const struct ty_record *record)
{
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *bytes;
    uint64_t due_us = 0;
    if (record->state != TY_JOB_PENDING)
        return 0;
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len))
        if (type == TY_TAIL_BACKOFF && len >= 8)
            due_us = ty_get_le(bytes, 8);
    return due_us;
}

uint64_t ty_record_wait_end_us(const struct ty_record *record)
{
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *bytes;
    uint64_t end_us = 0;
    if (record->state != TY_JOB_PENDING || record->attempt)
        return 0;
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len))
        if (type == TY_TAIL_WAIT && len >= 8)
            end_us = ty_get_le(bytes, 8);
    return end_us;
}

void ty_patch_error(struct ty_buf *out, int grpc_code, const char *message)
{
    TY_BUF(status);
    TY_BUF(clean);
    ty_utf8_repair(message, strlen(message), &clean);
    size_t len = ty_utf8_cut((const char *)clean.data, clean.len, TY_LIMIT_ERROR_MESSAGE_BYTES);
    ty_buf_add_tag_varint(&status, 1, (uint64_t)grpc_code);
    ty_buf_add_tag_bytes(&status, 2, clean.data, len);
    ty_buf_add_tag_bytes(out, META_ERROR_STATUS, status.data, status.len);
}

// A name comes by way of files that a job can write. One that is none would make the job unreadable, and every list that it is in.
static void patch_name(struct ty_buf *out, uint32_t field, const char *name, size_t max_bytes)
{
    size_t len = strlen(name);
    if (len <= max_bytes && ty_utf8_is_valid(name, len))
        ty_buf_add_tag_bytes(out, field, name, len);
}

void ty_patch_model(struct ty_buf *out, const char *synced_model_id)
{
    patch_name(out, META_SYNCED_MODEL_ID, synced_model_id, SIZE_MAX);
}

void ty_patch_script_version(struct ty_buf *out, const char *version)
{
    patch_name(out, META_SCRIPT_VERSION, version, TY_LIMIT_NAME_BYTES);
}

static const char *name_at(const char *const *names, size_t count, size_t index)
{
    return index < count && names[index] ? names[index] : "unknown";
}

const char *ty_state_name(enum ty_job_state state)
{
    static const char *const names[] = {"TOMBSTONE", "PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED", "CANCELING"};
    return name_at(names, sizeof names / sizeof *names, (size_t)state);
}

const char *ty_stage_name(unsigned stage)
{
    static const char *const names[] = {"none", "claimed", "prepare", "install", "train", "collect"};
    return name_at(names, sizeof names / sizeof *names, stage);
}

const char *ty_reason_name(unsigned reason)
{
    static const char *const names[TY_REASONS] = {
        [TY_REASON_NONE] = "none",
        [TY_REASON_SCRIPT_EXIT] = "script_exit",
        [TY_REASON_SIGNAL] = "signal",
        [TY_REASON_OUT_OF_MEMORY] = "out_of_memory",
        [TY_REASON_DEADLINE] = "deadline",
        [TY_REASON_WAIT_LIMIT] = "wait_limit",
        [TY_REASON_EMPTY_OUTPUT] = "empty_output",
        [TY_REASON_INSTALL_FAILED] = "install_failed",
        [TY_REASON_PREPARE_FAILED] = "prepare_failed",
        [TY_REASON_COLLECT_FAILED] = "collect_failed",
        [TY_REASON_NOT_EXECUTABLE] = "not_executable",
        [TY_REASON_WORKER_LOST] = "worker_lost",
        [TY_REASON_UNKILLABLE] = "unkillable",
        [TY_REASON_CANCELED] = "canceled",
        [TY_REASON_REFUSED] = "refused",
        [TY_REASON_INTERNAL] = "internal",
        [TY_REASON_HANDED_BACK] = "handed_back",
        [TY_REASON_QUARANTINED] = "quarantined",
        [TY_REASON_BACKOFF] = "backoff",
        [TY_REASON_NOT_STARTED] = "not_started",
    };
    return name_at(names, TY_REASONS, reason);
}
