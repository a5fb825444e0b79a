// A record as it is read back from a topic, and its place. Pure. Internal to this room.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

// Where a record stands.
struct ty_place {
    int32_t partition;
    int64_t offset;
};
#define TY_PLACE_BYTES 40
// "0/17". TY_EINVALID.
int ty_place_parse(const char *text, struct ty_place *ret_place, struct ty_err *err) TY_MUST_USE;
// Returns out.
const char *ty_place_format(const struct ty_place *place, char out[TY_PLACE_BYTES]);
// A number of 0 to max that text begins with, and what is behind it; false: there is none.
bool ty_place_number(const char *text, int64_t max, int64_t *ret_number, const char **ret_end);

struct ty_topic_header {
    const char *name;
    const uint8_t *value; // NULL as in Kafka
    size_t len;
};

// Everything is borrowed; key and value NULL as in Kafka, which is not the same as empty.
struct ty_topic_record {
    struct ty_place place;
    uint64_t time_us; // when it was written; 0: not known
    const uint8_t *key, *value;
    size_t key_len, value_len;
    const struct ty_topic_header *headers;
    size_t header_count;
};
