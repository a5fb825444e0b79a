// Server reflection over the descriptor set that the program carries: which file defines a symbol, and the files
// themselves as bytes. The index is pure and immutable.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/err.h"

// A serialized google.protobuf.FileDescriptorSet of proto/, imports included.
extern const unsigned char ty_proto_descriptors[];
extern const size_t ty_proto_descriptors_len;

struct ty_reflection;

// bytes are borrowed for the life of the index. TY_EDATALOSS when they are no descriptor set. Free with
// ty_reflection_free.
struct ty_reflection *ty_reflection_new(const uint8_t *bytes, size_t len, struct ty_err *err);
void ty_reflection_free(struct ty_reflection *reflection);

// The place of the file of this name, or of the file that defines this fully qualified symbol (message, field, enum,
// enum value, service, method); -1 when there is none.
int ty_reflection_file(const struct ty_reflection *reflection, const char *name);
int ty_reflection_symbol(const struct ty_reflection *reflection, const char *symbol);
bool ty_reflection_is_message(const struct ty_reflection *reflection, const char *symbol);
// The services of all files, in their order; NULL behind the last.
const char *ty_reflection_service(const struct ty_reflection *reflection, size_t index);
// Appends a FileDescriptorResponse: the file, then everything it imports, directly or not, each once.
void ty_reflection_add_file(const struct ty_reflection *reflection, int file, struct ty_buf *out);
