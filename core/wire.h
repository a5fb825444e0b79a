// The one check of protobuf bytes before protobuf-c unpacks them, which would cut strings at a NUL and accept invalid
// UTF-8. Walks the bytes by the message's own descriptor. Pure.
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

// TY_EINVALID names the field path ("submit.tags[3]") and what is wrong: malformed or truncated bytes, a wire type that
// does not fit, a group, invalid UTF-8, a NUL in a string, more than TY_LIMIT_WIRE_DEPTH messages inside each other.
// Unknown fields must be well-formed and are otherwise left alone.
int ty_wire_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                  struct ty_err *err) TY_MUST_USE;
// Checks, then unpacks; *ret_message is the caller's, freed with protobuf_c_message_free_unpacked.
int ty_wire_unpack(const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t len,
                   ProtobufCMessage **ret_message, struct ty_err *err) TY_MUST_USE;
// The fields of a message's bytes, one after the other, without a descriptor: *at is 0 at the start; false at the end, and where
// the bytes are malformed. ret_bytes is NULL for a number, which goes to *ret_len; of fixed-width values neither is told.
bool ty_wire_next(const uint8_t *bytes, size_t len, size_t *at, uint32_t *ret_field, const uint8_t **ret_bytes, size_t *ret_len);
// UTF-8 here is strict: no surrogates, no overlong forms, nothing above U+10FFFF.
// How many bytes the character at the start has; 0 when there is no whole valid one.
size_t ty_utf8_char(const char *bytes, size_t len);
bool ty_utf8_is_valid(const char *bytes, size_t len);
// Copies `len` bytes into out with every invalid sequence as U+FFFD, every NUL dropped.
struct ty_buf;
void ty_utf8_repair(const char *bytes, size_t len, struct ty_buf *out);
// The longest prefix of at most max bytes that ends on a character boundary. Bytes that are not UTF-8 are cut anywhere,
// so that the result is 0 only where max is less than one character.
size_t ty_utf8_cut(const char *bytes, size_t len, size_t max);
