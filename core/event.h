// Between a job as the store keeps it and trainyard.v1.JobEvent, what the topic `events` carries of it. Pure.
//
// An event holds everything that the store needs to have the job again, but two things: the claim token (only its SHA-256 is in
// it; who still runs the attempt shows attempt and fence), and history beyond the newest TY_EVENT_HISTORY_MAX changes.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"
#include "core/id.h"
#include "core/record.h"

#define TY_EVENT_FORMAT 1
#define TY_EVENT_HISTORY_MAX 1000
#define TY_EVENT_BYTES_MAX (1000 * 1000) // of an event: the topic takes 1 MiB with key and framing

// Adds the serialized event of a job; a tombstone with TY_FLAG_DELETE is the event of a deletion. TY_EINVALID: a plain tombstone,
// which is no job, or more than TY_EVENT_BYTES_MAX; out is as it was then.
int ty_event_encode(const struct ty_record *record, uint64_t epoch, struct ty_buf *out, struct ty_err *err) TY_MUST_USE;

// What the store is to have of an event.
struct ty_event {
    uint64_t epoch, version;
    bool is_deleted;   // then nothing else is set
    struct ty_buf record; // as ty_record_decode reads it, the token zeros. Owned: ty_event_done
};
// key: of the Kafka record. TY_EDATALOSS: bytes that are no event of that job; TY_EPRECONDITION: of a newer format.
int ty_event_decode(const struct ty_id *key, const void *bytes, size_t len, struct ty_event *ret_event,
                    struct ty_err *err) TY_MUST_USE;
void ty_event_done(struct ty_event *event);
