// core/log: lines that a machine can read whatever is put into them, never torn between threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/log.h"
#include "core/wire.h"

// Standard error goes into a file while a test runs.
static int saved_fd = -1;
static FILE *capture;

static void capture_start(void)
{
    capture = tmpfile();
    assert_non_null(capture);
    fflush(stderr);
    saved_fd = dup(STDERR_FILENO);
    dup2(fileno(capture), STDERR_FILENO);
}

static char *capture_end(void)
{
    dup2(saved_fd, STDERR_FILENO);
    close(saved_fd);
    off_t len = lseek(fileno(capture), 0, SEEK_END);
    char *text = calloc(1, (size_t)len + 1);
    assert_non_null(text);
    assert_int_equal(pread(fileno(capture), text, (size_t)len, 0), len);
    fclose(capture);
    return text;
}

static void text_lines(void **state)
{
    (void)state;
    ty_log_setup("trainyard-test", TY_LOG_INFO, TY_LOG_TEXT);
    capture_start();
    ty_log(TY_LOG_DEBUG, "not.shown", TY_KV("x", "%d", 1));
    ty_log(TY_LOG_INFO, "job.claimed", TY_KV("job", "%s", "abc"), TY_KV("attempt", "%u", 3u));
    ty_log(TY_LOG_ERROR, "bare");
    ty_log(TY_LOG_WARN, "odd", TY_KV("empty", "%s", ""), TY_KV("text", "%s", "a \"b\"\nc\x1b[31m\r=\\"));
    char *text = capture_end(), *line = strtok(text, "\n");
    assert_int_equal(strncmp(line, "time=20", 7), 0);
    assert_non_null(strstr(line, "Z level=info program=trainyard-test event=job.claimed job=abc attempt=3"));
    line = strtok(NULL, "\n");
    assert_string_equal(strstr(line, "level="), "level=error program=trainyard-test event=bare");
    line = strtok(NULL, "\n");
    assert_string_equal(strstr(line, "empty="), "empty=\"\" text=\"a \\\"b\\\"\\nc\\u001b[31m\\u000d=\\\\\"");
    assert_null(strtok(NULL, "\n"));
    free(text);
}

static void json_lines(void **state)
{
    (void)state;
    static const char nasty[] = "q\" b\\ n\n t\t e\x1b del\x7f \xc3\xa9 \xf0\x9f\x9a\x82 bad\xff";
    json_error_t error;
    ty_log_setup("trainyard-test", TY_LOG_DEBUG, TY_LOG_JSON);
    capture_start();
    ty_log(TY_LOG_DEBUG, "nasty", TY_KV("text", "%s", nasty));
    char *text = capture_end();
    json_t *line = json_loads(text, 0, &error);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "debug");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "nasty");
    assert_string_equal(json_string_value(json_object_get(line, "text")),
                        "q\" b\\ n\n t\t e\x1b del\x7f \xc3\xa9 \xf0\x9f\x9a\x82 bad\xef\xbf\xbd");
    json_decref(line);
    free(text);
}

// Lines that are too long lose fields or ends of values, never their form.
static void long_lines_stay_whole(void **state)
{
    (void)state;
    static const char *const pieces[] = {"x", "\"", "\n", "\x01", "\xc3\xa9", "\xff"};
    for (size_t piece = 0; piece < sizeof pieces / sizeof *pieces; piece++)
        for (int fields = 1; fields < 40; fields += 3)
            for (int format = TY_LOG_TEXT; format <= TY_LOG_JSON; format++) {
                char value[1500];
                json_error_t error;
                *value = 0;
                for (size_t at = 0; at + 4 < sizeof value; at += strlen(pieces[piece]))
                    strcpy(value + at, pieces[piece]);
                value[(size_t)fields * 37 % 1400] = 0;
                ty_log_setup("trainyard-test", TY_LOG_INFO, (enum ty_log_format)format);
                capture_start();
                ty_log_begin(TY_LOG_INFO, "long");
                for (int i = 0; i < fields; i++)
                    ty_log_field("some-key", "%s", value);
                ty_log_end();
                char *text = capture_end();
                size_t len = strlen(text);
                assert_true(len > 60 && len <= 4096);
                assert_ptr_equal(strchr(text, '\n'), text + len - 1);
                assert_true(ty_utf8_is_valid(text, len));
                if (format == TY_LOG_JSON) {
                    json_t *line = json_loads(text, 0, &error);
                    if (!line)
                        fail_msg("%s: %s", error.text, text);
                    json_decref(line);
                }
                free(text);
            }
}

#define LINES 500

static void *write_lines(void *context)
{
    for (int i = 0; i < LINES; i++)
        ty_log(TY_LOG_INFO, "thread", TY_KV("who", "%s", (const char *)context), TY_KV("n", "%d", i));
    return NULL;
}

static void threads_do_not_mix(void **state)
{
    (void)state;
    static char names[4][8] = {"one", "two", "three", "four"};
    pthread_t threads[4];
    int lines = 0;
    ty_log_setup("trainyard-test", TY_LOG_INFO, TY_LOG_JSON);
    capture_start();
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *text = capture_end();
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"), lines++) {
        json_t *parsed = json_loads(line, 0, NULL);
        assert_non_null(parsed);
        json_decref(parsed);
    }
    assert_int_equal(lines, 4 * LINES);
    free(text);
}

struct seen {
    unsigned count;
    enum ty_log_level level;
    char line[256];
};

static void see(void *context, enum ty_log_level level, const char *line, size_t len)
{
    struct seen *seen = context;
    seen->count++;
    seen->level = level;
    assert_int_equal(strlen(line), len);
    assert_true(len < sizeof seen->line);
    strcpy(seen->line, line);
}

static void lines_to_a_function(void **state)
{
    (void)state;
    struct seen seen = {0};
    ty_log_setup("trainyard-test", TY_LOG_WARN, TY_LOG_TEXT);
    capture_start();
    ty_log_to(see, &seen);
    ty_log(TY_LOG_INFO, "not.shown");
    ty_log(TY_LOG_ERROR, "shown", TY_KV("n", "%d", 1));
    ty_log_to(NULL, NULL);
    char *text = capture_end();
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.level, TY_LOG_ERROR);
    assert_string_equal(strstr(seen.line, "level="), "level=error program=trainyard-test event=shown n=1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines),
        cmocka_unit_test(json_lines),
        cmocka_unit_test(long_lines_stay_whole),
        cmocka_unit_test(threads_do_not_mix),
        cmocka_unit_test(lines_to_a_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
