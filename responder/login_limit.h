// How many failed log-ins are answered, by peer address and by key id. Leaky buckets in two tables of a fixed size: what is counted is
// found by a keyed hash, so others may share a bucket by chance, but nobody chooses with whom, and no flood of addresses makes
// one forgotten. Pure; one thread.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TY_LOGIN_BUCKETS 8192
#define TY_LOGIN_NAME_BYTES 256 // of an address or a key id; what is behind them does not count

struct ty_login_bucket {
    uint32_t level_milli; // failures in thousandths
    uint32_t seen_ms;     // when that was; wraps
};
struct ty_login_limit {
    unsigned per_minute; // so many at once, and so many a minute; 0: no limit
    uint8_t secret[32];
    struct ty_login_bucket peers[TY_LOGIN_BUCKETS], keys[TY_LOGIN_BUCKETS];
};

void ty_login_limit_init(struct ty_login_limit *limit, unsigned per_minute);
// peer: as gRPC writes one ("ipv4:10.0.0.1:4711", "ipv6:%5B2001:db8::1%5D:4711"); the port does not count, and of an IPv6 address
// only the first 64 bits.
bool ty_login_limit_peer_may(struct ty_login_limit *limit, const char *peer, uint64_t now_ms);
bool ty_login_limit_key_may(struct ty_login_limit *limit, const char *key_id, uint64_t now_ms);
// One failed log-in of both.
void ty_login_limit_failed(struct ty_login_limit *limit, const char *peer, const char *key_id, uint64_t now_ms);

// What is counted of a peer. Returns out, of TY_LOGIN_NAME_BYTES.
const char *ty_login_limit_address(const char *peer, char *out);
