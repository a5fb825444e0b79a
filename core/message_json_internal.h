// What both directions of message_json share.
#pragma once

#include <stdbool.h>

#include "core/message_json.h"

#define TY_ANY_TYPE "@type"

// A map travels as repeated messages of key (1) and value (2), whose type lies in the message and has the field's name.
bool ty_message_json_is_map(const ProtobufCMessageDescriptor *descriptor, const ProtobufCFieldDescriptor *field);
// The name in JSON of the field "page_token": "pageToken".
void ty_message_json_name(const char *field_name, struct ty_buf *out);
// Types whose JSON is not an object of their fields stand in an Any as the member "value".
bool ty_message_json_is_special(const ProtobufCMessageDescriptor *descriptor);
// The message type that an Any's URL names; NULL: none of ours.
const ProtobufCMessageDescriptor *ty_message_json_type(const char *url);

// Times of the years 1 to 9999; what lies outside is printed as the nearest of them.
void ty_message_json_time_print(int64_t seconds, int32_t nanos, char out[TY_MESSAGE_JSON_TIME_BYTES]);
bool ty_message_json_time_read(const char *text, int64_t *ret_seconds, int32_t *ret_nanos);
