// Dead letters as they are read back: what their headers say, what the record was, and whether it may be published again.
// Pure; reading is topic_reader.h's, and publishing letters_replay.h's. Internal to this room.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/command.h"
#include "core/err.h"
#include "producer/topic_record.h"

#define TY_LETTER_TOPIC_BYTES 250 // Kafka's limit for a topic's name, and the NUL
#define TY_LETTER_TEXT_BYTES 1024 // of a reason: what core/err.h has; longer ones are cut

// What a record of the topic dead-letter says. Texts are valid UTF-8, and "" where there is no such header.
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
void ty_dead_letter_read(const struct ty_topic_record *letter, const char *topic_prefix, struct ty_dead_letter_view *ret_view);
// "submit", "cancel", "delete": the topic's name without the prefix.
const char *ty_dead_letter_topic(enum ty_topic_kind kind);
// The last header of that name; NULL: none.
const struct ty_topic_header *ty_dead_letter_header(const struct ty_topic_record *letter, const char *name);
// 0: the record can be published again as it was. TY_EPRECONDITION says why not: a stub, an origin that is not known or not a topic of
// commands.
int ty_dead_letter_check(const struct ty_dead_letter_view *view, const char *topic_prefix, struct ty_err *err) TY_MUST_USE;
// Whether the header is the record's own, and not one that dead-lettering or replaying has added.
bool ty_dead_header_is_own(const char *name);
