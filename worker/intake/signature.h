// Whether a command may do what it says: its signature (core/signature.h), the key behind that, and what the key may do. Inside this
// room only; loop thread.
#pragma once

#include "core/keyring.h"
#include "worker/intake/apply.h"
#include "worker/intake/consumer.h"

// A record younger than this whose key is not known may be about a key that is on its way to the store: it waits.
#define TY_SIGNATURE_YOUNG_MS 3000
// While the store is being made again from Kafka, a key that is not known is waited for at most this long: commands that nobody
// could have signed must not hold up the making.
#define TY_SIGNATURE_REBUILD_MS 60000
#define TY_SIGNATURE_RETRY_MS 200

enum ty_signature_verdict { TY_SIGNATURE_GOOD, TY_SIGNATURE_BAD, TY_SIGNATURE_WAIT };

// A record of a command topic and what was prepared of it. BAD: err says why (the reason of its dead letter). WAIT: it cannot be said
// yet; err says why. GOOD: a cancel or delete by a key of one organization is for its jobs only: the arena has that organization, and
// prepared knows where. waited_ms: since the first try.
enum ty_signature_verdict ty_signature_judge(const struct ty_keyring *keyring, const struct ty_intake_record *record,
                                             uint64_t waited_ms, struct ty_buf *arena, struct ty_prepared *prepared,
                                             struct ty_err *err);
