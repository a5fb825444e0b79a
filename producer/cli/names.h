// The API's enums as words: "SINGLE_LABEL_CLASSIFICATION" in JSON, "single-label-classification" for people, and either of
// them, in any case and with the API's prefix or without, as input. Pure.
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "core/buf.h"
#include "core/err.h"

// The value's name without the enum's prefix; NULL for 0 (unspecified) and for values this program does not know.
const char *ty_names_of(const ProtobufCEnumDescriptor *descriptor, int value);
// Appends the name in lower case with dashes; "7" for a value without a name; "-" for 0.
void ty_names_add_words(struct ty_buf *out, const ProtobufCEnumDescriptor *descriptor, int value);
// TY_EINVALID names the flag and lists what is allowed. "unspecified" is not.
int ty_names_parse(const ProtobufCEnumDescriptor *descriptor, const char *flag, const char *text, int *ret_value,
                   struct ty_err *err) TY_MUST_USE;
