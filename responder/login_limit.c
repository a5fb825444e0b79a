#include "responder/login_limit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "core/crypto.h"

#define MILLI 1000u

void ty_login_limit_init(struct ty_login_limit *limit, unsigned per_minute)
{
    *limit = (struct ty_login_limit){.per_minute = per_minute};
    ty_crypto_random(limit->secret, sizeof limit->secret);
}

// "ipv6:%5B2001:db8::1%5D:4711" or "ipv6:[2001:db8::1]:4711": its network.
static bool read_network(const char *text, char *out)
{
    static const char *const opens[] = {"[", "%5B"};
    char address[INET6_ADDRSTRLEN] = "";
    struct in6_addr bytes;
    for (size_t i = 0; i < sizeof opens / sizeof *opens; i++)
        if (!strncmp(text, opens[i], strlen(opens[i])))
            snprintf(address, sizeof address, "%.*s", (int)strcspn(text + strlen(opens[i]), "]%"), text + strlen(opens[i]));
    if (inet_pton(AF_INET6, address, &bytes) != 1)
        return false;
    memset(bytes.s6_addr + 8, 0, 8);
    inet_ntop(AF_INET6, &bytes, address, sizeof address);
    snprintf(out, TY_LOGIN_NAME_BYTES, "ipv6:%s/64", address);
    return true;
}

const char *ty_login_limit_address(const char *peer, char *out)
{
    const char *colon = strrchr(peer, ':');
    if (!strncmp(peer, "ipv6:", 5) && read_network(peer + 5, out))
        return out;
    size_t len = !strncmp(peer, "ipv4:", 5) && colon > peer + 5 ? (size_t)(colon - peer) : strlen(peer);
    snprintf(out, TY_LOGIN_NAME_BYTES, "%.*s", (int)(len < TY_LOGIN_NAME_BYTES ? len : TY_LOGIN_NAME_BYTES - 1), peer);
    return out;
}

static struct ty_login_bucket *bucket(struct ty_login_limit *limit, struct ty_login_bucket *table, const char *name)
{
    uint8_t hash[TY_SHA256_BYTES];
    ty_crypto_hmac_sha256(limit->secret, sizeof limit->secret, name, strnlen(name, TY_LOGIN_NAME_BYTES), hash);
    return &table[ty_get_le(hash, 4) % TY_LOGIN_BUCKETS];
}

// What has leaked out since.
static void leak(const struct ty_login_limit *limit, struct ty_login_bucket *bucket, uint64_t now_ms)
{
    uint32_t passed_ms = (uint32_t)now_ms - bucket->seen_ms;
    uint64_t leaked = (uint64_t)passed_ms * limit->per_minute * MILLI / 60000;
    if (!leaked && bucket->level_milli)
        return; // too little to count: the time goes on
    bucket->level_milli = leaked < bucket->level_milli ? bucket->level_milli - (uint32_t)leaked : 0;
    bucket->seen_ms = (uint32_t)now_ms;
}

static bool may(struct ty_login_limit *limit, struct ty_login_bucket *table, const char *name, uint64_t now_ms)
{
    if (!limit->per_minute)
        return true;
    struct ty_login_bucket *found = bucket(limit, table, name);
    leak(limit, found, now_ms);
    return found->level_milli + MILLI <= limit->per_minute * MILLI;
}

static void count(struct ty_login_limit *limit, struct ty_login_bucket *table, const char *name, uint64_t now_ms)
{
    if (may(limit, table, name, now_ms))
        bucket(limit, table, name)->level_milli += MILLI;
}

bool ty_login_limit_peer_may(struct ty_login_limit *limit, const char *peer, uint64_t now_ms)
{
    char address[TY_LOGIN_NAME_BYTES];
    return may(limit, limit->peers, ty_login_limit_address(peer, address), now_ms);
}

bool ty_login_limit_key_may(struct ty_login_limit *limit, const char *key_id, uint64_t now_ms)
{
    return may(limit, limit->keys, key_id, now_ms);
}

void ty_login_limit_failed(struct ty_login_limit *limit, const char *peer, const char *key_id, uint64_t now_ms)
{
    char address[TY_LOGIN_NAME_BYTES];
    if (!limit->per_minute)
        return;
    count(limit, limit->peers, ty_login_limit_address(peer, address), now_ms);
    count(limit, limit->keys, key_id, now_ms);
}
