// Any protobuf message as JSON and back, by the proto3 JSON mapping: one walk over protobuf-c's descriptors each way. Pure.
//
// Names are lowerCamelCase in what is printed; in what is read the names of the .proto file are as good. Enums by name (read:
// or by number), 64-bit numbers as strings (read: or as numbers), bytes in base64, Timestamp as RFC 3339, maps as objects. An
// Any of a type that we have carries its fields beside "@type"; one of another type is printed with its bytes as "value" and
// cannot be read.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

#include "core/buf.h"
#include "core/err.h"

// For people rather than for programs of the mapping: the names of the .proto file, bytes in hexadecimal, 64-bit numbers as
// numbers, as far as readers of JSON take them (2^63 - 1).
#define TY_MESSAGE_JSON_READABLE 1u

// A text that is longer is refused: it is read whole, and takes some 30 times its size while it is.
#define TY_MESSAGE_JSON_BYTES (2 * 1024 * 1024)
// Characters of a timestamp with its NUL: "2026-11-24T18:42:24.123456789Z".
#define TY_MESSAGE_JSON_TIME_BYTES 40

// Appends the message as one JSON text without line breaks. Fields at their default are left out, unless their presence says
// something. Strings that are not UTF-8 are repaired.
void ty_message_json_print(const ProtobufCMessage *message, unsigned flags, struct ty_buf *out);

// Reads a JSON text and appends the message's bytes on the wire. TY_EINVALID names the place ("arguments.num_epochs: is not a
// string"): a member that the message does not have or has twice (under both names), a value of the wrong type or out of its
// range, two members of a oneof, a NUL in a string, more than TY_LIMIT_WIRE_DEPTH messages inside each other; a text that is
// no JSON or too long. null is as good as nothing. After an error, out has what it had before.
int ty_message_json_read(const ProtobufCMessageDescriptor *descriptor, const char *text, size_t len, struct ty_buf *out,
                         struct ty_err *err) TY_MUST_USE;
