#include "core/keyring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/key_table.h"
#include "core/log.h"

#define PAGE 1000 // keys a look

struct ty_keyring {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_timer timer;
    struct ty_key_table table;
    struct look *look; // on its way
    uint64_t after;    // the order of the latest record that was read
    uint64_t known_ms; // what is known is no older than this; 0: nothing is known
    char incarnation[TY_ID_TEXT_BYTES];
    bool is_whole, was_full, has_feed, is_anew; // is_anew: from the first key on, whatever is on its way
    uint64_t begun_ms, fed_ms; // fed_ms: as known_ms, of the feed
};

// All pages of one look. It outlives the keyring where the answer is late.
struct look {
    struct ty_keyring *keyring; // NULL: it is gone
    uint64_t begun_ms;
};

void ty_keyring_put(struct ty_keyring *keyring, const void *name, size_t name_len, const void *value, size_t value_len)
{
    struct ty_key key;
    struct ty_err err;
    if (ty_key_decode(name, name_len, value, value_len, &key, &err) < 0) {
        // Of a later version, perhaps: the intake has checked what it put there.
        ty_log(TY_LOG_WARN, "keys.unreadable", TY_KV("name", "%.*s", (int)(name_len < 64 ? name_len : 64), (const char *)name),
               TY_KV("message", "%s", err.message));
        return;
    }
    bool is_full = !ty_key_table_put(&keyring->table, &key);
    if (is_full && !keyring->was_full)
        ty_log(TY_LOG_ERROR, "keys.too_many", TY_KV("limit", "%d", TY_KEYRING_KEYS_MAX),
               TY_KV("message", "%s", "there are more access keys than a program knows; those above it are refused"));
    keyring->was_full = keyring->was_full || is_full;
}

// ---- looking ----

static void look(void *context);

static void look_later(struct ty_keyring *keyring)
{
    free(keyring->look);
    keyring->look = NULL;
    ty_loop_set_timer(keyring->loop, &keyring->timer, TY_KEYRING_LOOK_MS, look, keyring);
}

static void on_page(void *context, const struct ty_err *err, const struct ty_key_page *page);

static void ask(struct ty_keyring *keyring)
{
    ty_state_keys(keyring->state, keyring->after, PAGE, on_page, keyring->look);
}

// Another incarnation: the store was emptied, and has its keys from Kafka again, or of another Kafka. Everything is read anew.
static bool is_another(struct ty_keyring *keyring, const struct ty_key_page *page)
{
    if (!strcmp(keyring->incarnation, page->incarnation))
        return false;
    snprintf(keyring->incarnation, sizeof keyring->incarnation, "%s", page->incarnation);
    if (!keyring->has_feed)
        ty_key_table_forget_keys(&keyring->table);
    keyring->after = keyring->known_ms = 0;
    return true;
}

static void on_page(void *context, const struct ty_err *err, const struct ty_key_page *page)
{
    struct look *answered = context;
    struct ty_keyring *keyring = answered->keyring;
    if (!keyring) {
        free(answered);
        return;
    }
    if (err) {
        look_later(keyring); // what is known grows old
        return;
    }
    if (is_another(keyring, page) || keyring->is_anew) {
        keyring->is_anew = false;
        keyring->after = 0;
        answered->begun_ms = ty_clock_mono_ms();
        ask(keyring);
        return;
    }
    if (page->latest < keyring->after) { // the store went back, and what it gets now may come before what it had
        keyring->after = 0;
        ask(keyring);
        return;
    }
    for (size_t i = 0; i < page->count; i++) {
        const struct ty_stored_key *key = &page->keys[i];
        ty_keyring_put(keyring, key->name, key->name_len, key->value, key->value_len);
        keyring->after = key->order;
    }
    if (page->more) {
        ask(keyring);
        return;
    }
    keyring->is_whole = page->is_whole;
    keyring->known_ms = answered->begun_ms;
    look_later(keyring);
}

static void look(void *context)
{
    struct ty_keyring *keyring = context;
    keyring->look = ty_xcalloc(1, sizeof *keyring->look);
    *keyring->look = (struct look){.keyring = keyring, .begun_ms = ty_clock_mono_ms()};
    ask(keyring);
}

// ---- life ----

struct ty_keyring *ty_keyring_new(struct ty_loop *loop, struct ty_state *state)
{
    struct ty_keyring *keyring = ty_xcalloc(1, sizeof *keyring);
    keyring->loop = loop;
    keyring->state = state;
    keyring->table.max_keys = TY_KEYRING_KEYS_MAX;
    keyring->begun_ms = ty_clock_mono_ms();
    look(keyring);
    return keyring;
}

void ty_keyring_free(struct ty_keyring *keyring)
{
    if (!keyring)
        return;
    ty_loop_clear_timer(keyring->loop, &keyring->timer);
    if (keyring->look)
        keyring->look->keyring = NULL;
    ty_key_table_done(&keyring->table);
    free(keyring);
}

// ---- a feed ----

void ty_keyring_expect_feed(struct ty_keyring *keyring)
{
    keyring->has_feed = true;
}

void ty_keyring_fed(struct ty_keyring *keyring, uint64_t then_ms)
{
    keyring->fed_ms = then_ms;
}

void ty_keyring_forget_keys(struct ty_keyring *keyring)
{
    ty_key_table_forget_keys(&keyring->table);
    keyring->is_anew = true;
    keyring->known_ms = 0;
}

// ---- answers ----

static bool is_recent(uint64_t then_ms)
{
    return then_ms && ty_clock_mono_ms() - then_ms <= TY_KEYRING_FRESH_MS;
}

static bool was_read_lately(const struct ty_keyring *keyring)
{
    return is_recent(keyring->known_ms);
}

// Kafka is what revocations are confirmed by. While it is away for everybody none can be, and the store's word is enough.
bool ty_keyring_is_fresh(const struct ty_keyring *keyring)
{
    if (keyring->has_feed && is_recent(keyring->fed_ms))
        return true;
    if (keyring->has_feed && !keyring->fed_ms && ty_clock_mono_ms() - keyring->begun_ms <= TY_KEYRING_FEED_MS)
        return false;
    return keyring->is_whole && was_read_lately(keyring);
}

static int find(const struct ty_keyring *keyring, const struct ty_id *id, bool may_answer, const struct ty_key **ret_key, struct ty_err *err)
{
    const struct ty_key_entry *entry = ty_key_table_get(&keyring->table, id);
    if (entry && entry->is_revoked)
        return ty_err_set(err, TY_EPERMISSION, "the key was revoked");
    if (!may_answer)
        return ty_err_set(err, TY_EUNAVAILABLE, "the access keys cannot be read now: the job store is away, or is being made again from Kafka");
    if (!entry)
        return ty_err_set(err, TY_ENOTFOUND, "there is no such key");
    *ret_key = entry->key;
    return 0;
}

int ty_keyring_find(const struct ty_keyring *keyring, const struct ty_id *id, const struct ty_key **ret_key, struct ty_err *err)
{
    return find(keyring, id, ty_keyring_is_fresh(keyring), ret_key, err);
}

int ty_keyring_find_early(const struct ty_keyring *keyring, const struct ty_id *id, const struct ty_key **ret_key, bool *ret_is_whole,
                          struct ty_err *err)
{
    *ret_is_whole = keyring->is_whole;
    return find(keyring, id, was_read_lately(keyring), ret_key, err);
}

size_t ty_keyring_count(const struct ty_keyring *keyring)
{
    return keyring->table.keys;
}
