// The headers of a dead letter: written by the worker's intake (worker/intake/dead_letter.h says how), read by trainyard dead-letters.
#pragma once

// All that the intake adds begins so. Of a header that is there twice the last one counts.
#define TY_LETTER_ORIGIN "trainyard-origin-"
#define TY_LETTER_TOPIC TY_LETTER_ORIGIN "topic"         // its whole name
#define TY_LETTER_PARTITION TY_LETTER_ORIGIN "partition" // decimal
#define TY_LETTER_OFFSET TY_LETTER_ORIGIN "offset"       // decimal
#define TY_LETTER_TIME TY_LETTER_ORIGIN "time"           // of the record: RFC 3339, milliseconds
#define TY_LETTER_REASON TY_LETTER_ORIGIN "reason"       // for people; UTF-8
// Of a stub only: what the whole value was.
#define TY_LETTER_STUB "trainyard-stub" // "1"
#define TY_LETTER_VALUE_BYTES TY_LETTER_ORIGIN "value-bytes"
#define TY_LETTER_VALUE_SHA256 TY_LETTER_ORIGIN "value-sha256"
// Of a record that was published again from a letter: where that letter stands, "partition/offset".
#define TY_LETTER_REPLAY_OF "trainyard-replay-of"
