// core/err: one table of codes, and messages that are safe to pass on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "core/err.h"
#include "core/wire.h"

static void codes_have_their_statuses(void **state)
{
    (void)state;
    static const struct {
        enum ty_code code;
        const char *name;
        int grpc, http, exit_code;
        bool retriable;
    } cases[] = {
        {TY_OK, "OK", 0, 200, 0, false},
        {TY_EINVALID, "INVALID_ARGUMENT", 3, 400, 2, false},
        {TY_ENOTFOUND, "NOT_FOUND", 5, 404, 4, false},
        {TY_EEXISTS, "ALREADY_EXISTS", 6, 409, 5, false},
        {TY_EPRECONDITION, "FAILED_PRECONDITION", 9, 400, 6, false},
        {TY_EUNAUTHENTICATED, "UNAUTHENTICATED", 16, 401, 7, false},
        {TY_EPERMISSION, "PERMISSION_DENIED", 7, 403, 7, false},
        {TY_EEXHAUSTED, "RESOURCE_EXHAUSTED", 8, 429, 8, true},
        {TY_EUNAVAILABLE, "UNAVAILABLE", 14, 503, 3, true},
        {TY_EDEADLINE, "DEADLINE_EXCEEDED", 4, 504, 3, true},
        {TY_EABORTED, "ABORTED", 10, 409, 6, true},
        {TY_EUNIMPLEMENTED, "UNIMPLEMENTED", 12, 501, 9, false},
        {TY_EDATALOSS, "DATA_LOSS", 15, 500, 1, false},
        {TY_EINTERNAL, "INTERNAL", 13, 500, 1, false},
        {TY_ESYSTEM, "INTERNAL", 13, 500, 1, false},
    };
    assert_int_equal(sizeof cases / sizeof *cases, TY_CODES);
    for (size_t i = 0; i < TY_CODES; i++) {
        struct ty_err err;
        assert_string_equal(ty_code_name(cases[i].code), cases[i].name);
        assert_int_equal(ty_code_grpc(cases[i].code), cases[i].grpc);
        assert_int_equal(ty_code_http(cases[i].code), cases[i].http);
        assert_int_equal(ty_code_exit(cases[i].code), cases[i].exit_code);
        if (cases[i].code != TY_ESYSTEM)
            assert_int_equal(ty_code_from_grpc(cases[i].grpc), cases[i].code);
        assert_int_equal(ty_err_set(&err, cases[i].code, "x"), -(int)cases[i].code);
        assert_int_equal(err.retriable, cases[i].retriable);
        assert_false(err.fatal);
    }
    assert_int_equal(ty_code_from_grpc(2), TY_EINTERNAL);   // UNKNOWN
    assert_int_equal(ty_code_from_grpc(-1), TY_EINTERNAL);
    assert_int_equal(ty_code_from_grpc(4711), TY_EINTERNAL);
    assert_string_equal(ty_code_name((enum ty_code)99), "INTERNAL");
}

static void messages_name_the_place(void **state)
{
    (void)state;
    struct ty_err err;
    assert_int_equal(ty_err_errno(&err, ENOENT, "open %s", "a.json"), -TY_ESYSTEM);
    assert_string_equal(err.message, "open a.json: No such file or directory");
    assert_int_equal(ty_err_prefix(&err, "catalogue %d", 3), -TY_ESYSTEM);
    assert_string_equal(err.message, "catalogue 3: open a.json: No such file or directory");
    assert_int_equal(err.code, TY_ESYSTEM);
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    struct ty_err err;
    char text[3000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    ty_err_set(&err, TY_EINVALID, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    ty_err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    ty_err_errno(&err, ENOENT, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    // Two-byte characters at an odd place: the cut goes through one of them.
    for (size_t i = 1; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    ty_err_set(&err, TY_EINVALID, "%s", text);
    assert_true(ty_utf8_is_valid(err.message, strlen(err.message)));
    ty_err_set(&err, TY_EINVALID, "y%s", text);
    assert_true(ty_utf8_is_valid(err.message, strlen(err.message)));
}

static void quoted_bytes_do_no_harm(void **state)
{
    (void)state;
    struct ty_err err;
    ty_err_set(&err, TY_EINVALID, "\"%s\"", "a\xff\x1b[31m\r\n\xc3\xa9\x7f");
    assert_string_equal(err.message, "\"a??[31m?\n\xc3\xa9?\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_have_their_statuses),
        cmocka_unit_test(messages_name_the_place),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(quoted_bytes_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
