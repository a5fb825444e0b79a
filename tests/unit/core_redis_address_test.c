// core/redis_address: Redis URLs, and that no error gives a password away.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/redis_internal.h"

#define SAME(a, b) ((a) ? (b) && !strcmp(a, b) : !(b))

static void urls_are_taken_apart(void **state)
{
    static const struct {
        const char *text, *host, *path, *user, *password, *shown;
        int port, database;
    } cases[] = {
        {"redis://127.0.0.1:6380/3", "127.0.0.1", NULL, NULL, NULL, "127.0.0.1:6380", 6380, 3},
        {"redis://cache", "cache", NULL, NULL, NULL, "cache:6379", 6379, 0},
        {"redis://cache/", "cache", NULL, NULL, NULL, "cache:6379", 6379, 0},
        {"redis://[::1]:7000/1", "::1", NULL, NULL, NULL, "::1:7000", 7000, 1},
        {"redis://user:secret@h:1", "h", NULL, "user", "secret", "h:1", 1, 0},
        {"redis://:secret@h", "h", NULL, NULL, "secret", "h:6379", 6379, 0},
        {"redis://a%3Ab:p%40%2f@h", "h", NULL, "a:b", "p@/", "h:6379", 6379, 0},
        {"redis://u:p@ss@h", "h", NULL, "u", "p@ss", "h:6379", 6379, 0},
        {"unix:///run/redis.sock", NULL, "/run/redis.sock", NULL, NULL, "/run/redis.sock", 0, 0},
        {"unix://u:p@/run/redis.sock", NULL, "/run/redis.sock", "u", "p", "/run/redis.sock", 0, 0},
        {"unix:///run/with@sign", NULL, "/run/with@sign", NULL, NULL, "/run/with@sign", 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_redis_url url;
        struct ty_err err;
        if (ty_redis_url_parse(cases[i].text, &url, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.message);
        if (!SAME(url.host, cases[i].host) || !SAME(url.path, cases[i].path) || !SAME(url.user, cases[i].user) ||
            !SAME(url.password, cases[i].password) || !SAME(url.shown, cases[i].shown) || url.port != cases[i].port ||
            url.database != cases[i].database)
            fail_msg("%s is taken apart wrongly", cases[i].text);
        ty_redis_url_done(&url);
    }
}

static void a_file_gives_the_password(void **state)
{
    static const struct {
        const char *text, *user, *shown;
    } cases[] = {
        {"redis://h:1/2", NULL, "h:1"}, {"redis://user@h", "user", "h:6379"}, {"redis://a%3Ab:old@[::1]:2", "a:b", "::1:2"},
        {"unix:///run/redis.sock", NULL, "/run/redis.sock"}, {"unix://u@/run/r", "u", "/run/r"},
    };
    char path[] = "/tmp/trainyard-password-XXXXXX";
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0 && write(fd, "p@:/%41 \xc3\xa9\r\n", 12) == 12);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_redis_url url;
        struct ty_err err;
        char *text = NULL;
        assert_int_equal(ty_redis_url_with_password(cases[i].text, path, &text, &err), 0);
        if (ty_redis_url_parse(text, &url, &err) < 0)
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_string_equal(url.password, "p@:/%41 \xc3\xa9");
        assert_true(SAME(url.user, cases[i].user));
        assert_string_equal(url.shown, cases[i].shown);
        ty_redis_url_done(&url);
        ty_redis_url_forget(&text);
    }
    struct ty_err err;
    char *text = NULL;
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(ty_redis_url_with_password("redis://h", path, &text, &err), -TY_EINVALID);
    close(fd);
    unlink(path);
    assert_int_equal(ty_redis_url_with_password("redis://h", path, &text, &err), -TY_ENOTFOUND);
    assert_int_equal(ty_redis_url_with_password("h", path, &text, &err), -TY_EINVALID);
    assert_null(text);
}

static void tls_is_understood_where_there_is_any(void **state)
{
    struct ty_redis_url url;
    struct ty_err err;
    (void)state;
    int rc = ty_redis_url_parse("rediss://u:p@h:1/2", &url, &err);
    assert_int_equal(rc, ty_redis_has_tls() ? 0 : -TY_EINVALID);
    if (rc == 0)
        assert_true(url.tls && url.port == 1 && url.database == 2 && !strcmp(url.user, "u"));
    else
        assert_non_null(strstr(err.message, "rediss:// is TLS"));
    ty_redis_url_done(&url);
}

static void errors_say_what_is_wrong_and_no_secret(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "starts with neither"},
        {"hunter2", "starts with neither"},
        {"redis://", "host is missing"},
        {"redis://:6379", "host is missing"},
        {"redis://h:0", "port from 1 to 65535"},
        {"redis://h:65536", "port from 1 to 65535"},
        {"redis://h:", "port from 1 to 65535"},
        {"redis://h:99999999999999", "port from 1 to 65535"},
        {"redis://user:hunter2", "port from 1 to 65535"},
        {"redis://user:1234/hunter2", "database number"},
        {"redis://h/-1", "database number"},
        {"redis://[hunter2", "has no ]"},
        {"redis://[::1]hunter2", "port from 1 to 65535"},
        {"redis://hunter2@h", "no user:password"},
        {"redis://u:hunter2%4@h", "escape"},
        {"redis://u:hunter2%00@h", "escape"},
        {"redis://u%zz:hunter2@h", "escape"},
        {"unix://run/hunter2", "not absolute"},
        {"unix://u:hunter2@run", "not absolute"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_redis_url url;
        struct ty_err err;
        assert_int_equal(ty_redis_url_parse(cases[i].text, &url, &err), -TY_EINVALID);
        ty_redis_url_done(&url);
        if (!strstr(err.message, cases[i].says) || strstr(err.message, "hunter2"))
            fail_msg("%s: %s", cases[i].text, err.message);
    }
}

static void numeric_addresses_need_no_resolver(void **state)
{
    (void)state;
    assert_true(ty_redis_is_numeric("127.0.0.1"));
    assert_true(ty_redis_is_numeric("::1"));
    assert_false(ty_redis_is_numeric("localhost"));
    assert_false(ty_redis_is_numeric(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(a_file_gives_the_password),
        cmocka_unit_test(tls_is_understood_where_there_is_any),
        cmocka_unit_test(errors_say_what_is_wrong_and_no_secret),
        cmocka_unit_test(numeric_addresses_need_no_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
