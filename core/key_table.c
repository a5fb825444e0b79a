#include "core/key_table.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64 // a power of two

void ty_key_table_done(struct ty_key_table *table)
{
    for (size_t i = 0; i < table->cap; i++)
        free(table->entries[i].key);
    free(table->entries);
    *table = (struct ty_key_table){.max_keys = table->max_keys};
}

static bool is_used(const struct ty_key_entry *entry)
{
    return entry->is_revoked || entry->key;
}

// Where it is, or would be. Ids are random, and only who may write to Kafka chooses them.
static struct ty_key_entry *place(const struct ty_key_table *table, const struct ty_id *id)
{
    size_t at = ty_get_le(id->bytes + 8, 8) & (table->cap - 1);
    while (is_used(&table->entries[at]) && !ty_id_equal(&table->entries[at].id, id))
        at = (at + 1) & (table->cap - 1);
    return &table->entries[at];
}

// Moves everything into a new array; what forget_keys left empty goes.
static void rebuild(struct ty_key_table *table, size_t cap)
{
    struct ty_key_table old = *table;
    table->cap = cap;
    table->entries = ty_xcalloc(cap, sizeof *table->entries);
    for (size_t i = 0; i < old.cap; i++)
        if (is_used(&old.entries[i]))
            *place(table, &old.entries[i].id) = old.entries[i];
    free(old.entries);
}

bool ty_key_table_put(struct ty_key_table *table, const struct ty_key *key)
{
    if (2 * (table->count + 1) > table->cap)
        rebuild(table, table->cap ? 2 * table->cap : FIRST_CAP);
    struct ty_key_entry *entry = place(table, &key->id);
    if (entry->is_revoked)
        return true;
    if (!key->is_revocation && !entry->key && table->keys >= table->max_keys)
        return false;
    table->count += !is_used(entry);
    table->keys -= entry->key != NULL;
    free(entry->key);
    entry->key = NULL;
    entry->id = key->id;
    entry->is_revoked = key->is_revocation;
    if (key->is_revocation)
        return true;
    entry->key = ty_xmalloc(sizeof *entry->key);
    *entry->key = *key;
    table->keys++;
    return true;
}

const struct ty_key_entry *ty_key_table_get(const struct ty_key_table *table, const struct ty_id *id)
{
    const struct ty_key_entry *entry = table->cap ? place(table, id) : NULL;
    return entry && is_used(entry) ? entry : NULL;
}

void ty_key_table_forget_keys(struct ty_key_table *table)
{
    for (size_t i = 0; i < table->cap; i++) {
        if (!table->entries[i].key)
            continue;
        free(table->entries[i].key);
        table->entries[i] = (struct ty_key_entry){0};
        table->count--;
    }
    table->keys = 0;
    if (table->cap)
        rebuild(table, table->cap);
}
