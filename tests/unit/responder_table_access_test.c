// responder/service: every RPC says what its callers need, and those that need nothing are the ones that are meant to.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "responder/service.h"

static void every_row_has_its_access(void **state)
{
    static const char *const open[] = {"/grpc.health.", "/grpc.reflection.", "/proto.rpc.v1.AuthService/"};
    (void)state;
    assert_true(ty_service_method_count > 0);
    for (size_t i = 0; i < ty_service_method_count; i++) {
        const struct ty_rpc_method *method = &ty_service_methods[i];
        bool is_open = false;
        for (size_t j = 0; j < sizeof open / sizeof *open; j++)
            is_open = is_open || !strncmp(method->path, open[j], strlen(open[j]));
        if (method->access == TY_NEEDS_UNSAID || is_open != (method->access == TY_NEEDS_NOTHING))
            fail_msg("%s: access %d", method->path, (int)method->access);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_has_its_access)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
