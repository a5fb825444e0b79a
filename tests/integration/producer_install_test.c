// libtrainyard as others get it: installed into a prefix of its own, found by pkg-config, linked by the example program,
// which publishes to a mock Kafka.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/buf.h"
#include "producer/trainyard.h"
#include "tests/integration/responder_kafka.h"

// The example must be built as the library was, or the sanitizer's runtime is missing.
#ifdef __SANITIZE_ADDRESS__
#define EXAMPLE_FLAGS "-fsanitize=address,undefined"
#else
#define EXAMPLE_FLAGS ""
#endif

static char dir[] = "/tmp/trainyard-install-XXXXXX";

// Runs a shell command; returns its exit status and what it wrote.
static int run(struct ty_buf *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int run(struct ty_buf *out, const char *format, ...)
{
    char command[2048], chunk[4096];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_true(len > 0 && (size_t)len < sizeof command);
    ty_buf_clear(out);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, pipe)) > 0;)
        ty_buf_add(out, chunk, got);
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect_success(int status, struct ty_buf *out)
{
    if (status)
        fail_msg("exit %d: %s", status, ty_buf_text(out));
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int install(void **state)
{
    (void)state;
    TY_BUF(out);
    if (!mkdtemp(dir))
        return -1;
    expect_success(run(&out, "cmake --install " TY_BINARY_DIR " --component libtrainyard --prefix %s/prefix 2>&1", dir), &out);
    expect_success(run(&out, "find %s/prefix -name pkgconfig", dir), &out);
    *strchrnul(ty_buf_text(&out), '\n') = 0;
    return setenv("PKG_CONFIG_PATH", ty_buf_text(&out), 1);
}

static int uninstall(void **state)
{
    (void)state;
    return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void what_is_installed(void **state)
{
    (void)state;
    TY_BUF(out);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d\n", TRAINYARD_VERSION_MAJOR, TRAINYARD_VERSION_MINOR,
             TRAINYARD_VERSION_PATCH);
    expect_success(run(&out, "pkg-config --modversion trainyard 2>&1"), &out);
    assert_string_equal(ty_buf_text(&out), version);
    version[strlen(version) - 1] = 0;
    assert_string_equal(trainyard_version(), version);
    expect_success(run(&out, "cd %s/prefix/include && find . -type f", dir), &out);
    assert_string_equal(ty_buf_text(&out), "./trainyard.h\n");
    expect_success(run(&out, "readelf -d $(pkg-config --variable=libdir trainyard)/libtrainyard.so"), &out);
    assert_non_null(strstr(ty_buf_text(&out), "soname: [libtrainyard.so.0]"));
    assert_null(strstr(ty_buf_text(&out), "hiredis"));
}

static void the_header_stands_alone(void **state)
{
    (void)state;
    TY_BUF(out);
    expect_success(run(&out,
                       "cd %s && echo '#include <trainyard.h>' >h.c && cc -std=c99 -pedantic -Wall -Wextra -Werror "
                       "-fsyntax-only $(pkg-config --cflags trainyard) h.c 2>&1",
                       dir),
                   &out);
    // Debian's build needs no C++; where there is a compiler, the header must pass it.
    expect_success(run(&out,
                       "cd %s && cp h.c h.cc && { ! command -v c++ >/dev/null || c++ -pedantic -Wall -Wextra -Werror "
                       "-fsyntax-only $(pkg-config --cflags trainyard) h.cc; } 2>&1",
                       dir),
                   &out);
}

// Every function of the header is exported, and nothing else.
static void symbols(void **state)
{
    (void)state;
    TY_BUF(declared);
    TY_BUF(exported);
    expect_success(run(&declared, "sed -n 's/^TRAINYARD_API .*[ *]\\(trainyard_[a-z_]*\\)(.*/\\1/p' %s/prefix/include/trainyard.h | sort",
                       dir),
                   &declared);
    expect_success(run(&exported, "nm -D --defined-only $(pkg-config --variable=libdir trainyard)/libtrainyard.so | sed 's/.* //' | "
                                  "sort"),
                   &exported);
    assert_non_null(strstr(ty_buf_text(&declared), "trainyard_submit_custom_async\n"));
    assert_string_equal(ty_buf_text(&exported), ty_buf_text(&declared));
}

static void is_custom(void *context, const struct ty_command *command)
{
    char text[TY_ID_TEXT_BYTES];
    const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom = command->message->submit_custom;
    assert_int_equal(command->kind, TY_COMMAND_SUBMIT_CUSTOM);
    assert_string_equal(custom->organization_id, "org");
    assert_string_equal(custom->registry_item_id, "org:digits");
    assert_string_equal(custom->arguments[0]->value, "3");
    assert_string_equal(command->message->issuer, "submit example");
    assert_int_equal(command->message->options->max_attempts, 3);
    assert_string_equal(context, ty_id_format(&command->job_id, text));
}

static void the_example_program(void **state)
{
    (void)state;
    TY_BUF(out);
    struct mock_kafka *kafka = mock_kafka_new();
    expect_success(run(&out, "cmake -S " TY_SOURCE_DIR "/producer/example -B %s/example -DCMAKE_C_FLAGS='" EXAMPLE_FLAGS
                             "' 2>&1 && cmake --build %s/example 2>&1",
                       dir, dir),
                   &out);
    expect_success(run(&out, "ldd %s/example/submit", dir), &out);
    if (!strstr(ty_buf_text(&out), dir))
        fail_msg("not linked with the installed library: %s", ty_buf_text(&out));
    expect_success(run(&out, "%s/example/submit %s org digits digit org:digits epochs=3", dir, mock_kafka_brokers(kafka)), &out);
    ty_buf_text(&out)[TRAINYARD_ID_BYTES - 1] = 0;
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, is_custom, ty_buf_text(&out)), 1);
    assert_int_equal(run(&out, "%s/example/submit %s org digits digit digits 2>&1", dir, mock_kafka_brokers(kafka)), 1);
    assert_string_equal(ty_buf_text(&out), "submit: INVALID_ARGUMENT: registry_item_id is not of the form prefix:name\n");
    assert_int_equal(run(&out, "%s/example/submit 2>&1", dir), 2);
    assert_int_equal(run(&out, "%s/example/submit a b c d e f 2>&1", dir), 2);
    assert_string_equal(ty_buf_text(&out), "submit: f: expected KEY=VALUE\n");
    mock_kafka_free(kafka);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_installed),
        cmocka_unit_test(the_header_stands_alone),
        cmocka_unit_test(symbols),
        cmocka_unit_test(the_example_program),
    };
    return cmocka_run_group_tests(tests, install, uninstall);
}
