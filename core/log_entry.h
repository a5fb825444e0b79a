// An entry of a job's log as the store keeps it: one byte that marks it, then a serialized TrainingJobLogEntry. The mark is
// 0x80 | stream - 1 | 4 where the entry continues the line of the one before it of its stream; its other bits are for later
// programs and are ignored. A message cannot begin with such a byte here (the tags of its fields are below 0x80): an entry
// without one is of a program before the mark, and whole as it is. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

// The numbers of trainyard.v1.LogStream.
enum ty_log_stream {
    TY_LOG_STREAM_UNSPECIFIED, // not written down
    TY_LOG_STREAM_WORKER,      // the worker's or the supervisor's own words
    TY_LOG_STREAM_STDOUT,
    TY_LOG_STREAM_STDERR,
};

struct ty_log_entry {
    enum ty_log_stream stream;
    bool continued;
    const uint8_t *message; // a serialized TrainingJobLogEntry, borrowed from what was read
    size_t len;
};

// What an entry has beside the bytes of its level and message, at most.
#define TY_LOG_ENTRY_EXTRA_BYTES 48u

// Appends an entry: stream is not UNSPECIFIED, time_us is since 1970, level and message are valid UTF-8 and borrowed.
void ty_log_entry_add(struct ty_buf *out, enum ty_log_stream stream, bool continued, uint64_t time_us, const char *level,
                      const char *message, size_t len);
// Takes the mark off. Whatever the bytes are, it finds an entry; none are an empty message.
void ty_log_entry_read(const void *bytes, size_t len, struct ty_log_entry *ret_entry);
