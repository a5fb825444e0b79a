// What opaque tokens of this service have in common: base64url without padding over a few bytes, the last four of which are the
// CRC-32 of those before them (little-endian). The check finds mangled tokens; it is no secret. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TY_SEALED_CHECK_BYTES 4
// Of a token of raw bytes, the check and a NUL included; raw is a multiple of 3.
#define TY_SEALED_TEXT_BYTES(raw) ((raw) / 3 * 4 + 1)

// Fills in the check at the end of raw. Returns out, which has TY_SEALED_TEXT_BYTES(len).
const char *ty_sealed_encode(uint8_t *raw, size_t len, char *out);
// False: not a text of so many bytes, or the check does not fit.
bool ty_sealed_decode(const char *text, uint8_t *ret_raw, size_t len);

// Little-endian numbers.
void ty_sealed_put(uint8_t *bytes, size_t width, uint64_t value);
