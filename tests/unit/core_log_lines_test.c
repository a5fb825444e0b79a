// core/logsplit: the cases of schemas/log_lines.json, in whatever pieces their bytes come. tests/e2e/log_lines_test.py runs the
// same ones as jobs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <string.h>

#include "core/buf.h"
#include "core/limits.h"
#include "core/logsplit.h"

#define START UINT64_C(1700000000000000)

// "<level><+> <message>\n" for each entry.
static void add_entry(struct ty_buf *out, const char *level, bool continued, const char *message, size_t len)
{
    ty_buf_add_format(out, "%s%s ", level, continued ? "+" : "");
    ty_buf_add(out, message, len);
    ty_buf_add_byte(out, '\n');
}

static void on_entry(void *context, const struct ty_logsplit_line *line)
{
    assert_true(line->len <= TY_LIMIT_LOG_MESSAGE_BYTES);
    add_entry(context, line->level, line->continued, line->message, line->len);
}

static size_t number(const json_t *object, const char *key, size_t standard)
{
    const json_t *value = json_object_get(object, key);
    return value ? (size_t)json_integer_value(value) : standard;
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    assert_non_null(value);
    return value;
}

// The characters of the string, which are below 256, are bytes.
static void add_bytes(const json_t *print, struct ty_buf *out)
{
    const json_t *string = json_object_get(print, "bytes");
    const uint8_t *at = (const uint8_t *)json_string_value(string), *end = at + json_string_length(string);
    size_t start = out->len, len;
    for (; at < end; at++) {
        uint8_t byte = *at;
        if (byte >= 0x80) {
            assert_true(byte == 0xc2 || byte == 0xc3);
            byte = (uint8_t)((byte & 3) << 6 | (*++at & 0x3f));
        }
        ty_buf_add_byte(out, byte);
    }
    len = out->len - start;
    for (size_t times = number(print, "times", 1); times > 1; times--) {
        ty_buf_reserve(out, len);
        memcpy(out->data + out->len, out->data + start, len);
        out->len += len;
    }
}

static void expect(const json_t *one, const char *stream, struct ty_buf *out)
{
    size_t i;
    const json_t *entry;
    json_array_foreach(json_object_get(one, "entries"), i, entry) {
        TY_BUF(message);
        if (strcmp(text(entry, "stream"), stream) != 0)
            continue;
        for (size_t times = number(entry, "times", 1); times > 0; times--)
            ty_buf_add_text(&message, text(entry, "text"));
        for (size_t repeated = number(entry, "repeated", 1); repeated > 0; repeated--)
            add_entry(out, text(entry, "level"), json_is_true(json_object_get(entry, "continued")),
                      message.len ? (char *)message.data : "", message.len);
    }
}

// piece: the longest piece, 0: all at once.
static void print(const json_t *one, const char *stream, size_t piece, struct ty_buf *out)
{
    size_t i;
    const json_t *part;
    uint64_t now_us = START;
    struct ty_logsplit *split = ty_logsplit_new("info", on_entry, out);
    json_array_foreach(json_object_get(one, "prints"), i, part) {
        TY_BUF(bytes);
        now_us += number(part, "after_ms", 0) * 1000;
        ty_logsplit_flush(split, now_us);
        if (strcmp(text(part, "stream"), stream) != 0)
            continue;
        add_bytes(part, &bytes);
        for (size_t at = 0, len; at < bytes.len; at += len) {
            len = piece && piece < bytes.len - at ? piece : bytes.len - at;
            ty_logsplit_feed(split, now_us, bytes.data + at, len);
        }
    }
    ty_logsplit_flush(split, UINT64_MAX);
    ty_logsplit_free(split);
}

static void every_case(void **state)
{
    static const size_t pieces[] = {0, 1, 2, 3, 7, 4096, 65536};
    json_error_t error;
    (void)state;
    json_t *cases = json_load_file(TY_SOURCE_DIR "/schemas/log_lines.json", JSON_ALLOW_NUL, &error);
    const json_t *list = json_object_get(cases, "cases"), *one;
    size_t i;
    assert_true(json_array_size(list) >= 20);
    json_array_foreach(list, i, one) {
        static const char *const streams[] = {"stdout", "stderr"};
        for (size_t s = 0; s < 2; s++) {
            TY_BUF(wanted);
            expect(one, streams[s], &wanted);
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
                TY_BUF(out);
                print(one, streams[s], pieces[p], &out);
                if (out.len != wanted.len || strcmp(ty_buf_text(&out), ty_buf_text(&wanted)) != 0)
                    fail_msg("%s, pieces of %zu, %s:\n%.2000s\nnot\n%.2000s", text(one, "name"), pieces[p], streams[s],
                             ty_buf_text(&out), ty_buf_text(&wanted));
            }
        }
    }
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
