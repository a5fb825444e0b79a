// Base64 (RFC 4648). Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/buf.h"

// Appends the text, in the standard alphabet, with or without the padding at its end.
void ty_base64_add(struct ty_buf *out, const void *bytes, size_t len, bool padded);
// Appends the bytes. Takes both alphabets (standard and URL-safe), with or without padding. False: it is none; out has then
// what was read up to there.
bool ty_base64_decode(const char *text, size_t len, struct ty_buf *out);
