// The cursor of a log's reader, over every way a log can be paged while it grows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "producer/cli/log_cursor.h"

#define PAGE 4

// A server whose log has `length` entries; tokens are numbers. Without positions it is any server of the API.
struct server {
    size_t length;
    bool has_positions;
};

// One call. Returns how many entries the page has; next and position as the server says them.
static size_t serve(const struct server *server, const char *token, size_t *ret_first, char next[24], char position[24])
{
    size_t first = token ? strtoul(token, NULL, 10) : 0;
    size_t count = server->length - first;
    *next = *position = 0;
    if (count > PAGE) {
        count = PAGE;
        snprintf(next, 24, "%zu", first + count);
    } else if (server->has_positions) {
        snprintf(position, 24, "%zu", first + count);
    }
    *ret_first = first;
    return count;
}

// Reads what there is; what is new goes into seen, which must stay 0, 1, 2, ...
static void read_all(const struct server *server, struct ty_log_cursor *cursor, size_t *seen)
{
    bool more = true;
    while (more) {
        char next[24], position[24];
        size_t first;
        size_t count = serve(server, cursor->token, &first, next, position);
        size_t at = ty_log_cursor_take(cursor, count, next, *position ? position : NULL, &more);
        for (; at < count; at++)
            assert_int_equal(first + at, (*seen)++);
    }
    assert_int_equal(*seen, server->length);
}

static void follow(bool has_positions)
{
    for (unsigned seed = 0; seed < 200; seed++) {
        struct server server = {.has_positions = has_positions};
        struct ty_log_cursor cursor = {0};
        size_t seen = 0;
        for (unsigned step = 0; step < 30; step++) {
            server.length += (seed * 7 + step * step) % 11;
            read_all(&server, &cursor, &seen);
        }
        ty_log_cursor_done(&cursor);
    }
}

static void test_with_positions(void **state)
{
    (void)state;
    follow(true);
}

static void test_without_positions(void **state)
{
    (void)state;
    follow(false);
}

// A server that is replaced by one of the other kind, or pages otherwise than before.
static void test_the_server_may_change(void **state)
{
    struct server server = {.length = 3};
    struct ty_log_cursor cursor = {0};
    size_t seen = 0;
    (void)state;
    read_all(&server, &cursor, &seen);
    server.has_positions = true;
    read_all(&server, &cursor, &seen);
    server.length = 9;
    read_all(&server, &cursor, &seen);
    server.has_positions = false;
    server.length = 11;
    read_all(&server, &cursor, &seen);
    ty_log_cursor_done(&cursor);

    bool more;
    assert_int_equal(ty_log_cursor_take(&cursor, 3, "", NULL, &more), 0); // three were printed
    assert_false(more);
    assert_int_equal(ty_log_cursor_take(&cursor, 2, "two", NULL, &more), 2); // the same page, shorter now
    assert_true(more);
    assert_int_equal(ty_log_cursor_take(&cursor, 2, NULL, NULL, &more), 1); // the third stands on the next one
    assert_string_equal(cursor.token, "two");
    ty_log_cursor_done(&cursor);
}

static void test_an_empty_log(void **state)
{
    struct ty_log_cursor cursor = {0};
    bool more;
    (void)state;
    assert_int_equal(ty_log_cursor_take(&cursor, 0, NULL, NULL, &more), 0);
    assert_false(more);
    assert_null(cursor.token);
    assert_int_equal(ty_log_cursor_take(&cursor, 0, "", "here", &more), 0);
    assert_string_equal(cursor.token, "here");
    ty_log_cursor_done(&cursor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_positions),
        cmocka_unit_test(test_without_positions),
        cmocka_unit_test(test_the_server_may_change),
        cmocka_unit_test(test_an_empty_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
