// The page token of a list of jobs, of ListJobs and of a ListTrainingJobs that was cut: opaque to clients, sealed (sealed_token.h)
// over
//   version u8 = 2 | digest of the list 10 bytes | time of the last job, in the list's order, u64 | its id 16 bytes
// It names a place between jobs, not a job: it is good for ever, whatever becomes of that one. The digest is of what the list is
// of (job_filter.h), so that no token leads on in another list. A forged one only reads another place of the same list.
// Rule for changes: a new layout takes a new version; a responder refuses versions it does not know. Pure.
#pragma once

#include <stdint.h>

#include "core/err.h"
#include "core/state.h"

#define TY_LIST_DIGEST_BYTES 10
#define TY_LIST_TOKEN_BYTES 53 // 39 bytes as base64url, and the NUL

// Returns out.
const char *ty_list_token_encode(const uint8_t digest[TY_LIST_DIGEST_BYTES], const struct ty_list_cursor *last,
                                 char out[TY_LIST_TOKEN_BYTES]);
// name: of the field or key that it came in, for the error. TY_EINVALID: not a token of ours, or one of another list.
int ty_list_token_decode(const char *name, const char *text, const uint8_t digest[TY_LIST_DIGEST_BYTES],
                         struct ty_list_cursor *ret_last, struct ty_err *err) TY_MUST_USE;
