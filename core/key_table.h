// Keys and revocations by id. Only ever grows, but for what `forget_keys` says; in any order of puts the same is known. Pure.
// One thread.
#pragma once

#include "core/key.h"

struct ty_key_entry {
    struct ty_id id;
    bool is_revoked;
    struct ty_key *key; // owned; NULL: none, or it is revoked
};
struct ty_key_table {
    struct ty_key_entry *entries; // open addressing; an empty one is all zeros
    size_t cap, count;            // count: used entries
    size_t keys, max_keys;        // in force; keys above max_keys are not taken
};

void ty_key_table_done(struct ty_key_table *table);
// False: the table has max_keys.
bool ty_key_table_put(struct ty_key_table *table, const struct ty_key *key);
// NULL: nothing is known of it.
const struct ty_key_entry *ty_key_table_get(const struct ty_key_table *table, const struct ty_id *id);
// Drops all keys, and no revocation.
void ty_key_table_forget_keys(struct ty_key_table *table);
