// proto/golden.py, which the build runs: every change that breaks the wire is refused by name, what is new is asked for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/contract/command_output.h"

#define COMMAND "trainyard/v1/command.proto"
#define OPTIONS "trainyard.v1.JobOptions"

static char dir[] = "/tmp/trainyard-golden-XXXXXX";

static int copy_protos(void **state)
{
    (void)state;
    TY_BUF(out);
    if (!mkdtemp(dir))
        return -1;
    command_succeeds(&out, "cp -r %s/proto %s/kept", TY_SOURCE_DIR, dir);
    return 0;
}

static int remove_protos(void **state)
{
    (void)state;
    TY_BUF(out);
    return command_output(&out, "rm -r %s", dir);
}

// Changes command.proto by a sed script, compiles, and runs golden.py's verb; returns its exit status.
static int change(const char *script, const char *verb, struct ty_buf *out)
{
    command_succeeds(out, "cd %s && rm -rf now && cp -r kept now && sed -i '%s' now/" COMMAND " && ! cmp -s kept/" COMMAND
                          " now/" COMMAND " && %s -Inow --include_imports --descriptor_set_out=now/set.binpb now/" COMMAND
                          " now/trainyard/v1/event.proto now/trainyard/v1/job_service.proto now/trainyard/v1/log.proto now/trainyard/v1/log_service.proto now/trainyard/v1/rule.proto now/trainyard/v1/key.proto now/proto/rpc/v1/auth.proto now/viam/app/v1/app.proto",
                     dir, script, TY_PROTOC);
    // The other packages are not compiled here, so the golden file is cut down to those that are.
    command_succeeds(out, "cd %s/now && grep -v '\tgrpc\\.' golden.txt >cut.txt && mv cut.txt golden.txt", dir);
    return command_output(out, "cd %s/now && %s golden.py %s set.binpb golden.txt", dir, TY_PYTHON, verb);
}

static void refused(const char *script, const char *line)
{
    static const char *const verbs[] = {"check", "add"};
    TY_BUF(out);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(change(script, verbs[i], &out), 1);
        if (!strstr(ty_buf_text(&out), line))
            fail_msg("%s", ty_buf_text(&out));
    }
}

static void what_breaks_is_refused(void **state)
{
    (void)state;
    refused("s/uint32 priority = 1;/uint32 priority = 21;/", "gone: field " OPTIONS " 1 priority uint32 single\n");
    refused("s/uint32 priority = 1;/uint32 priority = 21;/", "name taken: field " OPTIONS " 21 priority uint32 single\n");
    refused("s/uint32 priority = 1;/uint32 urgency = 1;/", "changed: field " OPTIONS " 1 priority uint32 single  ->  ");
    refused("s/uint32 priority = 1;/uint64 priority = 1;/", "->  field " OPTIONS " 1 priority uint64 single\n");
    refused("s/uint32 priority = 1;/repeated uint32 priority = 1;/", "->  field " OPTIONS " 1 priority uint32 repeated\n");
    refused("s/uint32 priority = 1;/oneof p { uint32 priority = 1; }/", "->  field " OPTIONS " 1 priority uint32 oneof p\n");
    refused("s/map<string, string> labels/map<string, bytes> labels/", "->  field " OPTIONS " 6 labels map<string, bytes> map\n");
    refused("s/uint32 priority = 1;/reserved 1;/", "gone: field " OPTIONS " 1 priority uint32 single\n");
    refused("s/ON_LOST_LEASE_STOP = 2/ON_LOST_LEASE_STOP = 3/", "gone: value trainyard.v1.OnLostLease 2 ON_LOST_LEASE_STOP\n");
    refused("s/Resources/Needs/", "gone: message trainyard.v1.Resources\n");
}

static void what_is_new_is_asked_for(void **state)
{
    (void)state;
    static const char script[] = "s/uint32 priority = 1;/uint32 priority = 1; string queue = 31; reserved 32;/";
    TY_BUF(out);
    assert_int_equal(change(script, "check", &out), 1);
    assert_string_equal(ty_buf_text(&out), "golden.txt: new: field " OPTIONS " 31 queue string single\n"
                                           "golden.txt: new: reserved " OPTIONS " 32\n"
                                           "golden.txt: add what is new with --target proto_golden, and commit it\n");
    assert_int_equal(change(script, "add", &out), 0);
    assert_string_equal(ty_buf_text(&out), "golden.txt: 2 lines added\n");
    command_succeeds(&out, "cd %s/now && %s golden.py check set.binpb golden.txt && head -1 golden.txt", dir, TY_PYTHON);
    assert_int_equal(strncmp(ty_buf_text(&out), "# What the protos mean", 22), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_breaks_is_refused),
        cmocka_unit_test(what_is_new_is_asked_for),
    };
    return cmocka_run_group_tests(tests, copy_protos, remove_protos);
}
