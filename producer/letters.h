// Dead letters as they are read back: what their headers say, what the record was, and whether it may be published again.
// Pure; reading and publishing is letters_kafka.h's. Internal to this room.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/command.h"
#include "core/err.h"

#define TY_LETTER_TOPIC_BYTES 250 // Kafka's limit for a topic's name, and the NUL
#define TY_LETTER_TEXT_BYTES 1024 // of a reason: what core/err.h has; longer ones are cut

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

struct ty_dead_header {
    const char *name;
    const uint8_t *value; // NULL as in Kafka
    size_t len;
};

// A record of the topic dead-letter. Everything is borrowed; key and value NULL as in Kafka, which is not the same as empty.
struct ty_dead_letter {
    struct ty_place place;
    uint64_t time_us; // when it was written; 0: not known
    const uint8_t *key, *value;
    size_t key_len, value_len;
    const struct ty_dead_header *headers;
    size_t header_count;
};

// What it says. Texts are valid UTF-8, and "" where there is no such header.
struct ty_dead_letter_view {
    char topic[TY_LETTER_TOPIC_BYTES]; // of the origin
    struct ty_place origin;            // -1: not known
    char time[40], reason[TY_LETTER_TEXT_BYTES], replay_of[TY_PLACE_BYTES];
    bool is_stub;
    bool is_ours;                      // topic is one of those that carry commands, under the prefix:
    enum ty_topic_kind kind;
    const char *command;               // "submit", "submit-custom", "cancel", "delete"; "none": it does not decode
    bool has_job;                      // its id could be read all the same
    struct ty_id job;
};
void ty_dead_letter_read(const struct ty_dead_letter *letter, const char *topic_prefix, struct ty_dead_letter_view *ret_view);
// "submit", "cancel", "delete": the topic's name without the prefix.
const char *ty_dead_letter_topic(enum ty_topic_kind kind);
// The last header of that name; NULL: none.
const struct ty_dead_header *ty_dead_letter_header(const struct ty_dead_letter *letter, const char *name);
// 0: the record can be published again as it was. TY_EPRECONDITION says why not: a stub, an origin that is not known or not a topic of
// commands.
int ty_dead_letter_check(const struct ty_dead_letter_view *view, const char *topic_prefix, struct ty_err *err) TY_MUST_USE;
// Whether the header is the record's own, and not one that dead-lettering or replaying has added.
bool ty_dead_header_is_own(const char *name);
