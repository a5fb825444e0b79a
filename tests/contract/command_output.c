#include "tests/contract/command_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/wait.h>

static void read_all(FILE *file, struct ty_buf *out)
{
    char chunk[4096];
    ty_buf_clear(out);
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
        ty_buf_add(out, chunk, got);
    ty_buf_text(out);
}

static int run(struct ty_buf *out, const char *format, va_list args)
{
    char command[4096];
    int len = vsnprintf(command, sizeof command - 16, format, args);
    assert_true(len > 0 && (size_t)len < sizeof command - 16);
    char *whole TY_FREE = ty_xasprintf("{ %s; } 2>&1", command);
    FILE *pipe = popen(whole, "re");
    assert_non_null(pipe);
    read_all(pipe, out);
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int command_output(struct ty_buf *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int status = run(out, format, args);
    va_end(args);
    return status;
}

void command_succeeds(struct ty_buf *out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int status = run(out, format, args);
    va_end(args);
    if (status)
        fail_msg("exit %d: %s", status, ty_buf_text(out));
}

void read_text(const char *path, struct ty_buf *out)
{
    FILE *file = fopen(path, "re");
    if (!file)
        fail_msg("%s cannot be read", path);
    read_all(file, out);
    fclose(file);
}
