// Job ids: 16 raw bytes inside, lower-case UUID text outside. Pure but for ty_id_new (libuuid). Thread-safe.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

#define TY_ID_TEXT_BYTES 37 // 36 characters and the NUL

struct ty_id {
    uint8_t bytes[16];
};

// Claim tokens have the same shape and are never shown.
struct ty_token {
    uint8_t bytes[16];
};

struct ty_id ty_id_new(void);          // random (version 4)
struct ty_token ty_token_new(void);    // 128 random bits
// UUIDv5 with our own fixed namespace over organization, a zero byte, and key: same inputs, same id, for ever.
struct ty_id ty_id_from_key(const char *organization, const char *key);
// Accepts the 36-character form in any case; TY_EINVALID otherwise.
int ty_id_parse(const char *text, struct ty_id *ret_id, struct ty_err *err) TY_MUST_USE;
// Returns out.
const char *ty_id_format(const struct ty_id *id, char out[TY_ID_TEXT_BYTES]);
bool ty_id_equal(const struct ty_id *a, const struct ty_id *b);
