#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "responder/settings.h"

static int listen_on(const char *listen, bool insecure, char **ret_host, unsigned *ret_port, struct ty_err *err)
{
    struct ty_responder_settings settings = {.listen = (char *)listen, .insecure = insecure};
    return ty_responder_listen_address(&settings, ret_host, ret_port, err);
}

static void assert_listens(const char *listen, bool insecure, const char *host, unsigned port)
{
    char *got_host;
    unsigned got_port;
    struct ty_err err;
    if (listen_on(listen, insecure, &got_host, &got_port, &err) < 0)
        fail_msg("%s: %s", listen, err.message);
    assert_string_equal(got_host, host);
    assert_int_equal(got_port, port);
    free(got_host);
}

static void assert_refused(const char *listen, bool insecure)
{
    char *host;
    unsigned port;
    struct ty_err err;
    if (listen_on(listen, insecure, &host, &port, &err) != -TY_EINVALID)
        fail_msg("%s is taken", listen);
    assert_non_null(strstr(err.message, "--listen"));
}

static void test_addresses(void **state)
{
    (void)state;
    assert_listens("127.0.0.1:0", false, "127.0.0.1", 0);
    assert_listens("127.9.8.7:65535", false, "127.9.8.7", 65535);
    assert_listens("localhost:8480", false, "localhost", 8480);
    assert_listens("[::1]:80", false, "::1", 80);
    assert_listens("0.0.0.0:1", true, "0.0.0.0", 1);
    assert_listens("[::]:1", true, "::", 1);
}

static void test_only_loopback_unless_insecure(void **state)
{
    (void)state;
    assert_refused("0.0.0.0:1", false);
    assert_refused("[::]:1", false);
    assert_refused("10.0.0.1:1", false);
    assert_refused("example.com:1", false);
}

static void test_http_is_off_or_under_the_same_rule(void **state)
{
    struct ty_responder_settings settings = {.http_listen = "off"};
    char *host = "";
    unsigned port;
    struct ty_err err;
    (void)state;
    assert_int_equal(ty_responder_http_address(&settings, &host, &port, &err), 0);
    assert_null(host);
    settings.http_listen = "[::1]:8481";
    assert_int_equal(ty_responder_http_address(&settings, &host, &port, &err), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 8481);
    free(host);
    settings.http_listen = "0.0.0.0:8481";
    assert_int_equal(ty_responder_http_address(&settings, &host, &port, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "--http-listen"));
    settings.insecure = true;
    assert_int_equal(ty_responder_http_address(&settings, &host, &port, &err), 0);
    free(host);
}

static void assert_tls(const char *listen, const char *cert, const char *key, const char *client_ca, const char *refusal)
{
    struct ty_responder_settings settings = {
        .listen = (char *)listen, .tls_cert = (char *)cert, .tls_key = (char *)key, .tls_client_ca = (char *)client_ca};
    char *host = NULL;
    unsigned port;
    struct ty_err err;
    int rc = ty_responder_listen_address(&settings, &host, &port, &err);
    assert_int_equal(rc, refusal ? -TY_EINVALID : 0);
    if (refusal && !strstr(err.message, refusal))
        fail_msg("\"%s\" lacks \"%s\"", err.message, refusal);
    if (!refusal)
        free(host);
}

// Keys are asked for: with TLS that is enough for any address, without it it is not.
static void test_keys_and_tls(void **state)
{
    struct ty_responder_settings settings = {.listen = (char *)"0.0.0.0:1", .http_listen = (char *)"0.0.0.0:2", .auth = TY_AUTH_KEYS};
    char *host = NULL;
    unsigned port;
    struct ty_err err;
    (void)state;
    assert_int_equal(ty_responder_listen_address(&settings, &host, &port, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "there is no TLS"));
    assert_int_equal(ty_responder_http_address(&settings, &host, &port, &err), -TY_EINVALID);
    settings.tls_cert = (char *)"c";
    settings.tls_key = (char *)"k";
    assert_int_equal(ty_responder_listen_address(&settings, &host, &port, &err), 0);
    free(host);
    settings.auth = TY_AUTH_NONE;
    assert_int_equal(ty_responder_listen_address(&settings, &host, &port, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "nobody is asked"));
    settings.auth = TY_AUTH_KEYS;
    settings.tls_cert = settings.tls_key = NULL;
    settings.insecure = true;
    assert_int_equal(ty_responder_listen_address(&settings, &host, &port, &err), 0);
    free(host);
}

static void test_tls_and_clients_that_are_asked(void **state)
{
    (void)state;
    assert_tls("127.0.0.1:0", "c", "k", NULL, NULL);
    assert_tls("127.0.0.1:0", "c", NULL, NULL, "--tls-key is not");
    assert_tls("127.0.0.1:0", "", "k", NULL, "--tls-cert is not");
    assert_tls("127.0.0.1:0", NULL, NULL, "a", "there is no TLS");
    assert_tls("0.0.0.0:1", "c", "k", "a", NULL);
    assert_tls("0.0.0.0:1", "c", "k", NULL, "nobody is asked who they are");
    assert_tls("0.0.0.0:1", NULL, NULL, NULL, "neither TLS");
}

static void test_malformed_addresses(void **state)
{
    static const char *const wrong[] = {"", "8480", ":8480", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:1x",
                                        "127.0.0.1:65536", "127.0.0.1:-1", "::1:80", "127.0.0.1: 1"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_refused(wrong[i], true);
}

static void test_flags_and_defaults(void **state)
{
    struct ty_responder_settings settings = {0};
    struct ty_err err;
    char *argv[] = {"x", "--shards", "4", "--kafka-property", "a=b,c", "--kafka-property=d=e", NULL};
    (void)state;
    assert_int_equal(ty_settings_load(&ty_responder_settings_table, &settings, 6, argv, NULL, NULL, &err), 0);
    assert_string_equal(settings.listen, "127.0.0.1:8480");
    assert_string_equal(settings.http_listen, "off");
    assert_int_equal(settings.shards, 4);
    assert_string_equal(settings.kafka_properties[0], "a=b,c");
    assert_string_equal(settings.kafka_properties[1], "d=e");
    assert_false(settings.insecure);
    ty_settings_done(&ty_responder_settings_table, &settings);
    settings = (struct ty_responder_settings){0};
    argv[2] = "65";
    assert_int_equal(ty_settings_load(&ty_responder_settings_table, &settings, 6, argv, NULL, NULL, &err), -TY_EINVALID);
    assert_non_null(strstr(err.message, "--shards"));
    ty_settings_done(&ty_responder_settings_table, &settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_only_loopback_unless_insecure),
        cmocka_unit_test(test_http_is_off_or_under_the_same_rule),
        cmocka_unit_test(test_tls_and_clients_that_are_asked),
        cmocka_unit_test(test_keys_and_tls),
        cmocka_unit_test(test_malformed_addresses),
        cmocka_unit_test(test_flags_and_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
