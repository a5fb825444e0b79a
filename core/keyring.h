// The access keys as one program knows them: read from the store every second, revocations for as long as the program runs. A
// store that goes back in time, or is emptied, takes none of them away. Loop thread only; no call blocks.
//
// What it knows counts as long as the store was read within TY_KEYRING_FRESH_MS and was whole then, that is, not being made again from
// Kafka. So a revocation that a worker has put into the store is in force here after at most that time, in any case. Where a feed
// reads the keys from Kafka itself (ty_keyring_expect_feed), it counts as long as either does; and at first, for TY_KEYRING_FEED_MS at
// most, only when the feed has read everything, since a store may have gone back just now and nobody has found out yet.
#pragma once

#include "core/key.h"
#include "core/loop.h"
#include "core/state.h"

#define TY_KEYRING_LOOK_MS 1000
#define TY_KEYRING_FRESH_MS 4000
#define TY_KEYRING_FEED_MS 5000
// Keys that one program knows, revoked ones and signing keys included: more are not known, which is logged, and are refused. Their
// revocations are known.
#define TY_KEYRING_KEYS_MAX 100000

struct ty_keyring;

// Begins to look at once. state is borrowed, and is freed only after the keyring.
struct ty_keyring *ty_keyring_new(struct ty_loop *loop, struct ty_state *state);
void ty_keyring_free(struct ty_keyring *keyring);

// One record as on Kafka, from another source than the store; what is none is passed over.
void ty_keyring_put(struct ty_keyring *keyring, const void *name, size_t name_len, const void *value, size_t value_len);

// A feed calls put, and this when everything is here that Kafka had at that time (ty_clock_mono_ms).
void ty_keyring_expect_feed(struct ty_keyring *keyring);
void ty_keyring_fed(struct ty_keyring *keyring, uint64_t then_ms);
// The topic is another one. Revocations stay, and what the store has is read again.
void ty_keyring_forget_keys(struct ty_keyring *keyring);

// A key in force; borrowed until the next turn of the loop. TY_EPERMISSION: it is revoked. TY_EUNAVAILABLE: whether it is in force
// cannot be said, since what is known is too old, or the store is not whole. TY_ENOTFOUND: there is no such key.
int ty_keyring_find(const struct ty_keyring *keyring, const struct ty_id *id, const struct ty_key **ret_key,
                    struct ty_err *err) TY_MUST_USE;
bool ty_keyring_is_fresh(const struct ty_keyring *keyring);
// The same while the store is being made again, for the intake, which makes it: *ret_is_whole says whether it is whole. While it is not,
// TY_ENOTFOUND may mean that the key has not come yet, and a revocation may still be missing.
int ty_keyring_find_early(const struct ty_keyring *keyring, const struct ty_id *id, const struct ty_key **ret_key, bool *ret_is_whole,
                          struct ty_err *err) TY_MUST_USE;
size_t ty_keyring_count(const struct ty_keyring *keyring); // keys in force
