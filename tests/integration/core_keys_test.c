// Access keys in the store, and what a keyring knows of them: revocations stand, whatever becomes of the store.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/keyring.h"
#include "tests/integration/apart.h"
#include "tests/integration/state_client.h"

static struct redis_server *server;
static struct state_client client;
static struct ty_keyring *keyring;

#define META "{ty:0}:m"

// ---- what an intake does ----

static void put_at(const struct ty_key *key, const struct ty_watermark *mark)
{
    char name[TY_KEY_NAME_BYTES];
    TY_BUF(value);
    ty_key_encode(key, "test", &value);
    struct ty_apply apply = {.kind = TY_APPLY_KEY, .organization_id = ty_key_name(&key->id, key->is_revocation, name),
                             .record = value.data, .record_len = value.len, .offset = mark ? mark->expected : 0};
    struct state_applied applied = state_apply(&client, &apply, 1, mark);
    assert_int_equal(applied.code, TY_OK);
    assert_false(applied.gap);
    assert_int_equal(applied.results[0], TY_APPLIED);
}

static void put(const struct ty_key *key)
{
    put_at(key, NULL);
}

static struct ty_key a_key(void)
{
    struct ty_key key = {.id = ty_id_new(), .issued_at_us = 1, .role = TY_ROLE_READ, .organization = "acme"};
    return key;
}

static struct ty_key revocation_of(const struct ty_key *key)
{
    return (struct ty_key){.id = key->id, .is_revocation = true, .issued_at_us = 2};
}

static void be_whole(void)
{
    STATE_RAW(&client, NULL, "HSET", META, "replay", "done");
}

static void save(void)
{
    assert_string_equal(redis_server_ask(server, "SAVE"), "+OK\r\n");
}

// Nothing was saved since `save`: the server comes back as it was then.
static void restore(void)
{
    redis_server_kill(server);
    STATE_UNTIL(&client, !client.up && !ty_redis_is_up(client.redis));
    redis_server_start(server);
    STATE_UNTIL(&client, client.up && ty_redis_is_up(client.redis));
}

// ---- what a keyring says ----

static int find(const struct ty_key *key)
{
    const struct ty_key *found;
    struct ty_err err;
    int rc = ty_keyring_find(keyring, &key->id, &found, &err);
    if (rc == 0) {
        assert_string_equal(found->organization, key->organization);
        assert_int_equal(found->role, key->role);
    }
    return -rc;
}

static void a_key_is_known_and_its_revocation(void **state)
{
    struct ty_key key = a_key(), other = a_key(), gone = revocation_of(&key);
    (void)state;
    assert_int_equal(find(&key), TY_EUNAVAILABLE); // nothing was read yet
    put(&key);
    be_whole();
    STATE_UNTIL(&client, find(&key) == TY_OK);
    assert_int_equal(find(&other), TY_ENOTFOUND);
    put(&gone);
    STATE_UNTIL(&client, find(&key) == TY_EPERMISSION);
    put(&key); // a create that comes late, or again
    put(&other);
    STATE_UNTIL(&client, find(&other) == TY_OK);
    assert_int_equal(find(&key), TY_EPERMISSION);
    assert_int_equal(ty_keyring_count(keyring), 1);
}

static void a_revocation_comes_before_its_key(void **state)
{
    struct ty_key key = a_key(), gone = revocation_of(&key), last = a_key();
    (void)state;
    put(&gone);
    put(&key);
    put(&last);
    be_whole();
    STATE_UNTIL(&client, find(&last) == TY_OK);
    assert_int_equal(find(&key), TY_EPERMISSION);
}

// A store that goes back to before the revocation: the key stays refused, also before Kafka's records are read again.
static void a_revocation_stands_when_the_store_goes_back(void **state)
{
    struct ty_key key = a_key(), gone = revocation_of(&key), later = a_key();
    (void)state;
    put(&key);
    be_whole();
    save();
    put(&gone);
    STATE_UNTIL(&client, find(&key) == TY_EPERMISSION);
    restore();
    assert_int_equal(STATE_RAW(&client, NULL, "HLEN", "{ty:0}:a").integer, 1); // it did forget
    put(&later);
    STATE_UNTIL(&client, find(&later) == TY_OK);
    assert_int_equal(find(&key), TY_EPERMISSION);
    // And one that is revoked only now, while what the store gives out may lie before what was read of it.
    struct ty_key gone_too = revocation_of(&later);
    save();
    STATE_RAW(&client, NULL, "HSET", META, "keys_at", "1");
    put(&gone_too);
    STATE_UNTIL(&client, find(&later) == TY_EPERMISSION);
}

// An empty store: keys are not known until it is whole again; what was revoked stays so.
static void an_emptied_store_makes_no_key_good(void **state)
{
    struct ty_key key = a_key(), kept = a_key(), gone = revocation_of(&key);
    bool changed;
    (void)state;
    state_attach(&client, "cluster", "settings", 0, &changed);
    put(&key);
    put(&kept);
    put(&gone);
    be_whole();
    STATE_UNTIL(&client, find(&kept) == TY_OK && find(&key) == TY_EPERMISSION);
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_UNTIL(&client, find(&kept) == TY_EUNAVAILABLE);
    state_attach(&client, "cluster", "settings", 0, &changed); // a new incarnation
    put(&key);
    STATE_UNTIL(&client, find(&kept) == TY_EUNAVAILABLE);
    be_whole();
    STATE_UNTIL(&client, find(&kept) == TY_ENOTFOUND); // this Kafka does not have it
    assert_int_equal(find(&key), TY_EPERMISSION);
    put(&kept);
    STATE_UNTIL(&client, find(&kept) == TY_OK);
}

static struct ty_timer tick; // so that the loop turns while nothing comes from Redis

static void on_tick(void *context)
{
    ty_loop_set_timer(client.loop, &tick, 50, on_tick, context);
}

static void what_is_known_grows_old(void **state)
{
    struct ty_key key = a_key();
    (void)state;
    on_tick(NULL);
    put(&key);
    be_whole();
    STATE_UNTIL(&client, find(&key) == TY_OK);
    redis_server_pause(server);
    STATE_UNTIL(&client, find(&key) == TY_EUNAVAILABLE);
    redis_server_resume(server);
    STATE_UNTIL(&client, find(&key) == TY_OK);
    ty_loop_clear_timer(client.loop, &tick);
}

// A feed beside the store: nothing counts until it has read everything, and then its word is enough.
static void a_feed_is_waited_for_and_enough(void **state)
{
    struct ty_key key = a_key(), fed = a_key(), gone = revocation_of(&fed);
    char name[TY_KEY_NAME_BYTES];
    TY_BUF(value);
    (void)state;
    ty_keyring_expect_feed(keyring);
    put(&key);
    be_whole();
    uint64_t begun = ty_clock_mono_ms();
    STATE_UNTIL(&client, ty_keyring_count(keyring) == 1);
    assert_int_equal(find(&key), TY_EUNAVAILABLE);
    ty_key_encode(&fed, "test", &value);
    ty_key_name(&fed.id, false, name);
    ty_keyring_put(keyring, name, strlen(name), value.data, value.len);
    ty_keyring_fed(keyring, ty_clock_mono_ms());
    assert_int_equal(find(&fed), TY_OK);
    assert_int_equal(find(&key), TY_OK);
    assert_true(ty_clock_mono_ms() - begun < TY_KEYRING_FEED_MS);
    STATE_RAW(&client, NULL, "FLUSHALL");
    bool changed;
    state_attach(&client, "cluster", "settings", 0, &changed); // another store, and not whole
    for (uint64_t end = ty_clock_mono_ms() + 2500; ty_clock_mono_ms() < end;) {
        ty_keyring_fed(keyring, ty_clock_mono_ms());
        assert_int_equal(find(&fed), TY_OK);
        STATE_RAW(&client, NULL, "PING"); // the loop turns
    }
    ty_buf_clear(&value);
    ty_key_encode(&gone, "test", &value);
    ty_key_name(&fed.id, true, name);
    ty_keyring_put(keyring, name, strlen(name), value.data, value.len);
    assert_int_equal(find(&fed), TY_EPERMISSION);
    ty_keyring_forget_keys(keyring);
    ty_keyring_fed(keyring, ty_clock_mono_ms());
    assert_int_equal(find(&key), TY_ENOTFOUND);
    assert_int_equal(find(&fed), TY_EPERMISSION);
    put(&key);
    be_whole();
    STATE_UNTIL(&client, find(&key) == TY_OK);
}

static void more_keys_than_a_page_are_read(void **state)
{
    enum { MANY = 2500, STEP = 50 };
    struct ty_key *keys = ty_xcalloc(MANY, sizeof *keys);
    (void)state;
    for (size_t i = 0; i < MANY; i += STEP) {
        struct ty_apply applies[STEP];
        struct ty_buf values[STEP];
        char names[STEP][TY_KEY_NAME_BYTES];
        for (size_t j = 0; j < STEP; j++) {
            keys[i + j] = a_key();
            values[j] = (struct ty_buf){0};
            ty_key_encode(&keys[i + j], "test", &values[j]);
            applies[j] = (struct ty_apply){.kind = TY_APPLY_KEY, .record = values[j].data, .record_len = values[j].len,
                                           .organization_id = ty_key_name(&keys[i + j].id, false, names[j])};
        }
        assert_int_equal(state_apply(&client, applies, STEP, NULL).code, TY_OK);
        for (size_t j = 0; j < STEP; j++)
            ty_buf_done(&values[j]);
    }
    be_whole();
    STATE_UNTIL(&client, ty_keyring_count(keyring) == MANY && ty_keyring_is_fresh(keyring));
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(find(&keys[i]), TY_OK);
    free(keys);
}

// Keys lie on one shard, and the watermark of their topic on all of them.
static void keys_lie_on_one_shard(void **state)
{
    struct state_client many;
    struct ty_watermark mark = {.topic = "settings", .expected = 0, .next = 1};
    struct ty_key key = a_key(), gone = revocation_of(&key);
    bool changed;
    (void)state;
    ty_keyring_free(keyring);
    keyring = NULL;
    STATE_RAW(&client, NULL, "FLUSHALL");
    state_client_close(&client);
    state_client_open(&many, server, 4);
    client = many;
    state_attach(&client, "cluster", "settings", 0, &changed);
    keyring = ty_keyring_new(client.loop, client.state);
    put_at(&key, &mark);
    mark = (struct ty_watermark){.topic = "settings", .expected = 1, .next = 2};
    put_at(&gone, &mark);
    for (int shard = 0; shard < 4; shard++) {
        char w[16], a[16];
        snprintf(w, sizeof w, "{ty:%d}:w", shard);
        snprintf(a, sizeof a, "{ty:%d}:a", shard);
        assert_string_equal(STATE_RAW(&client, NULL, "HGET", w, "settings/0").text, "2");
        assert_int_equal(STATE_RAW(&client, NULL, "HLEN", a).integer, shard ? 0 : 2);
    }
    be_whole();
    STATE_UNTIL(&client, find(&key) == TY_EPERMISSION);
    // Rules and keys of one batch go by one call, so that none is lost between two.
    struct ty_apply both[] = {{.kind = TY_APPLY_RULE, .organization_id = "pause/acme", .record = "1", .record_len = 1, .offset = 2},
                              {.kind = TY_APPLY_KEY, .organization_id = "revoked/x", .record = "v", .record_len = 1, .offset = 3}};
    mark = (struct ty_watermark){.topic = "settings", .expected = 2, .next = 4};
    assert_int_equal(state_apply(&client, both, 2, &mark).code, TY_OK);
    assert_int_equal(STATE_RAW(&client, NULL, "HLEN", "{ty:0}:a").integer, 3);
    assert_int_equal(STATE_RAW(&client, NULL, "HLEN", "{ty:3}:g").integer, 1);
    assert_int_equal(STATE_RAW(&client, NULL, "HLEN", "{ty:3}:a").integer, 0);
}

static int open_all(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open(&client, server, 1);
    keyring = ty_keyring_new(client.loop, client.state);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    ty_keyring_free(keyring);
    state_client_close(&client);
    redis_server_free(server);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_key_is_known_and_its_revocation),
        CASE(a_revocation_comes_before_its_key),
        CASE(a_revocation_stands_when_the_store_goes_back),
        CASE(an_emptied_store_makes_no_key_good),
        CASE(what_is_known_grows_old),
        CASE(a_feed_is_waited_for_and_enough),
        CASE(more_keys_than_a_page_are_read),
        CASE(keys_lie_on_one_shard),
    };
    return apart_run("keys and keyrings", tests, NULL, NULL);
}
