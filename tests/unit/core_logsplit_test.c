// core/logsplit: each rule of its header as a line of input and the entries that come of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/logsplit.h"

#define SECOND 1000000u
#define START UINT64_C(1700000000000000)

// "<ms since the start> <level> <message>|" for each entry, with a "+" behind the level of one that continues a line.
static void on_entry(void *context, const struct ty_logsplit_line *line)
{
    struct ty_buf *out = context;
    ty_buf_add_format(out, "%llu %s%s ", (unsigned long long)(line->time_us - START) / 1000, line->level,
                      line->continued ? "+" : "");
    ty_buf_add(out, line->message, line->len);
    ty_buf_add_byte(out, '|');
}

// In one piece, byte by byte, and in two pieces cut everywhere: always the same.
static void check(const char *input, size_t len, const char *wanted)
{
    for (size_t cut = 0; cut <= len + 1; cut++) {
        TY_BUF(out);
        struct ty_logsplit *split = ty_logsplit_new("info", on_entry, &out);
        if (cut <= len) {
            ty_logsplit_feed(split, START, input, cut);
            ty_logsplit_feed(split, START, input + cut, len - cut);
        } else {
            for (size_t i = 0; i < len; i++)
                ty_logsplit_feed(split, START, input + i, 1);
        }
        ty_logsplit_flush(split, UINT64_MAX);
        ty_logsplit_free(split);
        if (strcmp(ty_buf_text(&out), wanted))
            fail_msg("cut at %zu, \"%s\" became\n%s, not\n%s", cut, input, ty_buf_text(&out), wanted);
    }
}
#define CHECK(input, wanted) check(input, sizeof(input) - 1, wanted)

static void lines_end_in_three_ways(void **state)
{
    (void)state;
    CHECK("", "");
    CHECK("one\ntwo\n", "0 info one|0 info two|");
    CHECK("one\r\ntwo\r\n", "0 info one|0 info two|");
    CHECK("one\r\r\ntwo", "0 info one|0 info two|");
    CHECK("no end", "0 info no end|");
    CHECK("\n\nx\n", "0 info |0 info |0 info x|"); // an empty line is an entry
    CHECK("\r\n", "0 info |");
    CHECK("a\rb\rc\n", "0 info a|0 info b|0 info c|"); // progress: the first, and the last before something else
    CHECK("1%\r2%\r3%\r4%\n", "0 info 1%|0 info 3%|0 info 4%|");
    CHECK("1%\r2%\r3%\r", "0 info 1%|0 info 3%|");
}

static void text_is_cleaned(void **state)
{
    (void)state;
    CHECK("a\xffz\n", "0 info a\xef\xbf\xbdz|");
    CHECK("\xc3\x28\n", "0 info \xef\xbf\xbd(|");
    CHECK("\xe2\x82\n", "0 info \xef\xbf\xbd|");         // begun and not ended: one
    CHECK("\xe2\x82\xac\n", "0 info \xe2\x82\xac|");
    CHECK("\xf0\x9f\x98\x80\n", "0 info \xf0\x9f\x98\x80|");
    CHECK("\xed\xa0\x80\n", "0 info \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"); // a surrogate: no piece of it begins a character
    CHECK("\xc0\xaf\n", "0 info \xef\xbf\xbd\xef\xbf\xbd|");                 // overlong
    CHECK("\xf4\x90\x80\x80\n", "0 info \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|");
    CHECK("a\0b\x01" "c\td\x7f\n", "0 info abc\td|");
    CHECK("\xc2\x85x\n", "0 info x|"); // a control character beyond ASCII
    CHECK("\x1b[31mred\x1b[0m\n", "0 info red|");
    CHECK("\x1b[38;5;196mred\x1b[K\n", "0 info red|");
    CHECK("\x1b]0;title\x07text\n", "0 info text|");
    CHECK("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "0 info link|");
    CHECK("\x1b(Bplain\n", "0 info plain|");
    CHECK("\x1b[1 q\x1b[?25lx\n", "0 info x|");
    // What only looks like a sequence is text.
    CHECK("\x1b[31\nnext\n", "0 info [31|0 info next|"); // nothing goes on behind a line's end
    CHECK("\x1b[12:30 - 1\n", "0 info [12:30 - 1|");
    CHECK("\x1b]no end\nx\x1b", "0 info ]no end|0 info x|");
    CHECK("\x1b]a\x1b[1mb\x1b\x1b[0mc\n", "0 info ]abc|");
    CHECK("\x1b]\xe2\x82\x1b[m\xac\n", "0 info ]\xef\xbf\xbd\xef\xbf\xbd|");
    CHECK("\x1b", "");
    CHECK("\x1b[0m\nx\n", "0 info x|");       // nothing but an escape sequence is no entry
    CHECK("\0\n", "");
}

static void levels_are_recognised(void **state)
{
    (void)state;
    CHECK("DEBUG:root:x\n", "0 debug DEBUG:root:x|");
    CHECK("WARNING:tensorflow:x\n", "0 warn WARNING:tensorflow:x|");
    CHECK("error: x\n", "0 error error: x|");
    CHECK("CRITICAL x\n", "0 critical CRITICAL x|");
    CHECK("FATAL\n", "0 critical FATAL|");
    CHECK("Errors are few\n", "0 info Errors are few|");
    CHECK("warnings: 3\n", "0 info warnings: 3|");
    CHECK("[ERROR] x\n", "0 error [ERROR] x|");
    CHECK("[W 2026-11-23 20:09:10] x\n", "0 warn [W 2026-11-23 20:09:10] x|");
    CHECK("E1123 20:09:10.123456 7 a.cc:1] x\n", "0 error E1123 20:09:10.123456 7 a.cc:1] x|");
    CHECK("2026-11-23 20:09:10,123 - app - ERROR - x\n", "0 error 2026-11-23 20:09:10,123 - app - ERROR - x|");
    CHECK("2026-11-23 20:09:10.123456: W a.cc:1] x\n", "0 warn 2026-11-23 20:09:10.123456: W a.cc:1] x|");
    CHECK("{\"message\": \"x\", \"level\": \"error\"}\n", "0 error {\"message\": \"x\", \"level\": \"error\"}|");
    CHECK("{\"severity\":\"WARNING\"}\n", "0 warn {\"severity\":\"WARNING\"}|");
    CHECK("{\"level\":30,\"msg\":\"x\"}\n", "0 info {\"level\":30,\"msg\":\"x\"}|");
    CHECK("{\"level\": 50}\n", "0 error {\"level\": 50}|");
    CHECK("{\"level\": 500}\n", "0 info {\"level\": 500}|");
    CHECK("level=error msg=x\n", "0 error level=error msg=x|");
    CHECK("time=20:09 level=warn msg=x\n", "0 warn time=20:09 level=warn msg=x|");
    CHECK("time of nolevel=warn\n", "0 info time of nolevel=warn|");
    CHECK("/a/b.py:12: UserWarning: x\n", "0 warn /a/b.py:12: UserWarning: x|");
    CHECK("/a/b: NoWarning: x\n", "0 info /a/b: NoWarning: x|");
    CHECK("[20:09:10] WARNING: src/a.cc:1: x\n", "0 warn [20:09:10] WARNING: src/a.cc:1: x|");
    CHECK("[2026-11-23T20:09:10Z ERROR app] x\n", "0 error [2026-11-23T20:09:10Z ERROR app] x|");
    CHECK("[LightGBM] [Warning] x\n", "0 warn [LightGBM] [Warning] x|");
    CHECK("2026-11-23 20:09:10 [error    ] x\n", "0 error 2026-11-23 20:09:10 [error    ] x|");
    CHECK("20:09:10.123 [main] WARN  a.b - x\n", "0 warn 20:09:10.123 [main] WARN  a.b - x|");
    CHECK("{\n", "0 info {|");
    CHECK("ERROR: x\n  more\n\tmore\nnew\n", "0 error ERROR: x|0 error   more|0 error \tmore|0 info new|");
    CHECK("Traceback (most recent call last):\n  File \"x\"\nValueError: no\nafter\n",
          "0 error Traceback (most recent call last):|0 error   File \"x\"|0 error ValueError: no|0 info after|");
}

static void a_stream_has_a_level_of_its_own(void **state)
{
    (void)state;
    TY_BUF(out);
    struct ty_logsplit *split = ty_logsplit_new("warn", on_entry, &out);
    const char text[] = "plain\nINFO: x\nplain\n";
    ty_logsplit_feed(split, START, text, sizeof text - 1);
    ty_logsplit_free(split);
    assert_string_equal(ty_buf_text(&out), "0 warn plain|0 info INFO: x|0 warn plain|");
}

static void sequences_that_are_too_long_are_text(void **state)
{
    (void)state;
    for (size_t len = 4095; len <= 4096; len++) {
        TY_BUF(input);
        TY_BUF(wanted);
        ty_buf_add_text(&input, "\x1b]");
        for (size_t i = 1; i < len; i++)
            ty_buf_add_byte(&input, 'x');
        ty_buf_add_text(&input, "\x07z\n");
        if (len < 4096)
            ty_buf_add_text(&wanted, "0 info z|");
        else
            ty_buf_add_format(&wanted, "0 info %.*sz|", (int)len, (char *)input.data + 1);
        check((char *)input.data, input.len, ty_buf_text(&wanted));
    }
}

// What was held back when a line was flushed is not forgotten when nothing follows.
static void a_flush_forgets_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *rest, *wanted;
    } cases[] = {
        {"a\xc3", "", "0 info a|0 info+ \xef\xbf\xbd|"},
        {"a\xc3", "\xa9", "0 info a|3000 info+ \xc3\xa9|"},
        {"a\x1b[3", "", "0 info a|0 info+ [3|"},
        {"a\x1b[3", "1mb\n", "0 info a|3000 info+ b|"},
        {"\x1b]", "x\n", "0 info ]x|"},
        {"\x01", "\n", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TY_BUF(out);
        struct ty_logsplit *split = ty_logsplit_new("info", on_entry, &out);
        ty_logsplit_feed(split, START, cases[i].begin, strlen(cases[i].begin));
        ty_logsplit_flush(split, START + 2 * SECOND);
        ty_logsplit_feed(split, START + 3 * SECOND, cases[i].rest, strlen(cases[i].rest));
        ty_logsplit_flush(split, UINT64_MAX);
        ty_logsplit_free(split);
        assert_string_equal(ty_buf_text(&out), cases[i].wanted);
    }
}

static void long_lines_go_on_in_the_next_entry(void **state)
{
    TY_BUF(input);
    TY_BUF(out);
    (void)state;
    // A character that would be cut moves to the next entry whole.
    for (size_t i = 0; i < TY_LIMIT_LOG_MESSAGE_BYTES - 1; i++)
        ty_buf_add_byte(&input, 'x');
    ty_buf_add_text(&input, "\xe2\x82\xac" "end\n");
    struct ty_logsplit *split = ty_logsplit_new("info", on_entry, &out);
    ty_logsplit_feed(split, START, input.data, input.len);
    ty_logsplit_free(split);
    const char *bar = strchr(ty_buf_text(&out), '|');
    assert_int_equal(bar - ty_buf_text(&out), 7 + TY_LIMIT_LOG_MESSAGE_BYTES - 1);
    assert_string_equal(bar + 1, "0 info+ \xe2\x82\xac" "end|");
    // A line of just the limit is one entry.
    ty_buf_clear(&input);
    ty_buf_clear(&out);
    for (size_t i = 0; i < TY_LIMIT_LOG_MESSAGE_BYTES; i++)
        ty_buf_add_byte(&input, 'x');
    ty_buf_add_byte(&input, '\n');
    split = ty_logsplit_new("info", on_entry, &out);
    ty_logsplit_feed(split, START, input.data, 5);
    ty_logsplit_feed(split, START, input.data + 5, input.len - 5);
    ty_logsplit_free(split);
    assert_int_equal(out.len, 7 + TY_LIMIT_LOG_MESSAGE_BYTES + 1);
}

static void feed(struct ty_logsplit *split, uint64_t after_us, const char *text)
{
    ty_logsplit_feed(split, START + after_us, text, strlen(text));
}

static void partial_lines_wait_a_second(void **state)
{
    TY_BUF(out);
    struct ty_logsplit *split = ty_logsplit_new("info", on_entry, &out);
    (void)state;
    feed(split, 0, "ERROR: beg");
    feed(split, SECOND / 2, "un");
    ty_logsplit_flush(split, START + SECOND); // half a second since its last byte
    assert_string_equal(ty_buf_text(&out), "");
    ty_logsplit_flush(split, START + SECOND + SECOND / 2);
    assert_string_equal(ty_buf_text(&out), "0 error ERROR: begun|"); // stamped with its first byte
    feed(split, 2 * SECOND, " and ended\n");
    assert_string_equal(ty_buf_text(&out), "0 error ERROR: begun|2000 error+  and ended|");
    ty_buf_clear(&out);
    // A line end alone, after a flush, is no entry.
    feed(split, 3 * SECOND, "prompt> ");
    ty_logsplit_flush(split, START + 5 * SECOND);
    feed(split, 6 * SECOND, "\nnext\n");
    assert_string_equal(ty_buf_text(&out), "3000 info prompt> |6000 info next|");
    ty_logsplit_free(split);
}

static void progress_is_shown_once_a_second(void **state)
{
    TY_BUF(out);
    struct ty_logsplit *split = ty_logsplit_new("info", on_entry, &out);
    (void)state;
    for (unsigned i = 0; i <= 25; i++) {
        char text[16];
        snprintf(text, sizeof text, "step %u\r", i);
        feed(split, i * SECOND / 10, text);
    }
    feed(split, 26 * SECOND / 10, "done\n");
    assert_string_equal(ty_buf_text(&out), "0 info step 0|1000 info step 10|2000 info step 20|2500 info step 25|2600 info done|");
    ty_buf_clear(&out);
    // The last one of a silence comes by a flush, when a second has passed since the one before.
    feed(split, 10 * SECOND, "a\r");
    feed(split, 10 * SECOND + 1000, "b\r");
    ty_logsplit_flush(split, START + 10 * SECOND + SECOND / 2);
    ty_logsplit_flush(split, START + 11 * SECOND + 2000);
    assert_string_equal(ty_buf_text(&out), "10000 info a|10001 info b|");
    ty_logsplit_flush(split, UINT64_MAX);
    assert_string_equal(ty_buf_text(&out), "10000 info a|10001 info b|");
    ty_logsplit_free(split);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_end_in_three_ways),
        cmocka_unit_test(text_is_cleaned),
        cmocka_unit_test(levels_are_recognised),
        cmocka_unit_test(a_stream_has_a_level_of_its_own),
        cmocka_unit_test(sequences_that_are_too_long_are_text),
        cmocka_unit_test(a_flush_forgets_nothing),
        cmocka_unit_test(long_lines_go_on_in_the_next_entry),
        cmocka_unit_test(partial_lines_wait_a_second),
        cmocka_unit_test(progress_is_shown_once_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
