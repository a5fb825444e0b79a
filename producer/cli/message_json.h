// Any protobuf message as JSON for people: core/message_json as a value of jansson. Pure.
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

// A new reference. Fields at their default are left out; enums by name, timestamps as RFC 3339, bytes in hexadecimal, maps as objects.
json_t *ty_message_json(const ProtobufCMessage *message);
// Bytes in hexadecimal; "" for none. A new reference.
json_t *ty_hex_json(const void *bytes, size_t len);
