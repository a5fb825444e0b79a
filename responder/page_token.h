// The page token of GetTrainingJobLogs: opaque to clients, base64url without padding over
//   version u8 = 1 | job id 16 bytes | attempt u32 | sequence u64 | CRC-32 of what stands before u32   (little-endian)
// The check finds mangled tokens; it is no secret, and a forged token only reads another place of the same job's log.
// Rule for changes: a new layout takes a new version; a responder refuses versions it does not know. Pure.
#pragma once

#include <stdint.h>

#include "core/err.h"
#include "core/id.h"

#define TY_PAGE_TOKEN_BYTES 45 // 33 bytes as base64url, and the NUL

// Returns out.
const char *ty_page_token_encode(const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                                 char out[TY_PAGE_TOKEN_BYTES]);
// TY_EINVALID: not a token of ours, or one of another job.
int ty_page_token_decode(const char *text, const struct ty_id *id, uint32_t *ret_attempt, uint64_t *ret_sequence,
                         struct ty_err *err) TY_MUST_USE;
