// What the actions of trainyard keys share. Internal to this verb.
#pragma once

#include "core/key.h"
#include "producer/cli/verb.h"

#define TY_KEYS_TOPIC "settings"
#define TY_KEYS_ISSUER "trainyard " TY_VERSION

struct ty_keys_options {
    struct ty_cli_common common;
    char *org, *comment, *out;
    int role; // enum ty_key_role, less one
    bool signing, all;
};

// The keys that the topic has, by organization and then by time, each with its revocation.
struct ty_listed_key {
    struct ty_key key;
    bool is_made, is_revoked; // a revocation may stand alone
    uint64_t revoked_us;
};
struct ty_key_list {
    struct ty_listed_key *keys;
    size_t count, cap;
    uint64_t ignored; // records under such names that are none
};
// Reads the topic. Blocks, within --timeout-ms a wait. The caller frees list->keys, also after an error.
int ty_keys_read(struct ty_cli *cli, struct ty_key_list *ret_list, struct ty_err *err) TY_MUST_USE;
struct ty_listed_key *ty_keys_find(const struct ty_key_list *list, const struct ty_id *id);

// One record to the topic, and Kafka's word that it is kept. TY_EUNAVAILABLE also when nobody can say whether it is.
int ty_keys_publish(struct ty_cli *cli, const struct ty_key *key, struct ty_err *err) TY_MUST_USE;

int ty_keys_list(struct ty_cli *cli, const struct ty_keys_options *options, struct ty_err *err) TY_MUST_USE;
