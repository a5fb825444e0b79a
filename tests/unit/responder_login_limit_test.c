// responder/login_limit: failures are counted by address and by key, leak away, and are bounded whatever comes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "responder/login_limit.h"

static struct ty_login_limit limit;

static void addresses_are_told_apart(void **state)
{
    static const struct {
        const char *peer, *address;
    } cases[] = {{"ipv4:10.0.0.1:4711", "ipv4:10.0.0.1"}, {"ipv6:%5B2001:db8:1:2:3:4:5:6%5D:80", "ipv6:2001:db8:1:2::/64"},
                 {"ipv6:[2001:db8:1:2::9]:80", "ipv6:2001:db8:1:2::/64"}, {"ipv6:%5B::1%5D:80", "ipv6:::/64"}, {"unix:", "unix:"},
                 {"", ""}, {"ipv4:", "ipv4:"}, {"ipv6:[x]:1", "ipv6:[x]:1"}, {"ipv6:", "ipv6:"}, {"ipv6:%5B", "ipv6:%5B"}};
    char out[TY_LOGIN_NAME_BYTES], huge[2 * TY_LOGIN_NAME_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(ty_login_limit_address(cases[i].peer, out), cases[i].address);
    memset(huge, 'a', sizeof huge - 1);
    huge[sizeof huge - 1] = 0;
    assert_int_equal(strlen(ty_login_limit_address(huge, out)), TY_LOGIN_NAME_BYTES - 1);
}

static void failures_are_counted_and_leak_away(void **state)
{
    const uint64_t now = 1000000;
    (void)state;
    ty_login_limit_init(&limit, 6);
    for (int i = 0; i < 6; i++) {
        assert_true(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:1", now));
        assert_true(ty_login_limit_key_may(&limit, "k", now));
        ty_login_limit_failed(&limit, "ipv4:10.0.0.1:1", "k", now);
    }
    assert_false(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:2", now)); // another port is the same address
    assert_false(ty_login_limit_key_may(&limit, "k", now));
    assert_true(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.2:1", now));
    assert_true(ty_login_limit_key_may(&limit, "l", now));
    for (int i = 0; i < 1000; i++) // what is over the limit does not make it longer
        ty_login_limit_failed(&limit, "ipv4:10.0.0.1:1", "k", now);
    assert_false(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:1", now + 9900));
    assert_true(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:1", now + 10100)); // six a minute
    ty_login_limit_failed(&limit, "ipv4:10.0.0.1:1", "k", now + 10100);
    assert_false(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:1", now + 10100));
    assert_true(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:1", now + 70200));
}

// Looking often does not keep it from leaking.
static void small_steps_leak_as_much(void **state)
{
    (void)state;
    ty_login_limit_init(&limit, 1);
    ty_login_limit_failed(&limit, "p", "k", 0);
    uint64_t ms = 0;
    while (!ty_login_limit_key_may(&limit, "k", ms))
        ms++;
    assert_in_range(ms, 59000, 61000);
}

// A flood from many addresses forgets nobody.
static void a_flood_makes_no_one_forgotten(void **state)
{
    char peer[32];
    unsigned refused = 0;
    (void)state;
    ty_login_limit_init(&limit, 3);
    for (int i = 0; i < 3; i++)
        ty_login_limit_failed(&limit, "ipv4:10.0.0.1:1", "k", 5);
    for (int i = 0; i < 1000; i++) {
        snprintf(peer, sizeof peer, "ipv4:11.%d.%d.1:1", i >> 8, i & 255);
        refused += !ty_login_limit_peer_may(&limit, peer, 5);
        ty_login_limit_failed(&limit, peer, peer, 5);
    }
    assert_true(refused < 20); // who shares a bucket
    assert_false(ty_login_limit_peer_may(&limit, "ipv4:10.0.0.1:1", 5));
    assert_false(ty_login_limit_key_may(&limit, "k", 5));
}

static void zero_is_no_limit(void **state)
{
    (void)state;
    ty_login_limit_init(&limit, 0);
    for (int i = 0; i < 1000; i++)
        ty_login_limit_failed(&limit, "p", "k", 1);
    assert_true(ty_login_limit_peer_may(&limit, "p", 1) && ty_login_limit_key_may(&limit, "k", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_told_apart),
        cmocka_unit_test(failures_are_counted_and_leak_away),
        cmocka_unit_test(small_steps_leak_as_much),
        cmocka_unit_test(a_flood_makes_no_one_forgotten),
        cmocka_unit_test(zero_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
