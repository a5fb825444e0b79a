// producer/letters: what a dead letter says of itself, and which may be replayed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/letter.h"
#include "producer/letters.h"

#define PREFIX "mltraining."
#define H(name, text) {name, (const uint8_t *)(text), sizeof(text) - 1}
#define ID "6f0c1c1e-7a51-4a6e-9f0e-0a3f3a0a7a11"

static struct ty_dead_letter_view view_of(const struct ty_topic_header *headers, size_t count, const char *key)
{
    struct ty_topic_record letter = {.key = (const uint8_t *)key, .key_len = key ? strlen(key) : 0, .headers = headers,
                                    .header_count = count};
    struct ty_dead_letter_view view;
    ty_dead_letter_read(&letter, PREFIX, &view);
    return view;
}
#define VIEW(key, ...)                                                                                                     \
    ({                                                                                                                     \
        const struct ty_topic_header headers_[] = {__VA_ARGS__};                                                            \
        view_of(headers_, sizeof headers_ / sizeof *headers_, key);                                                        \
    })

static void test_places(void **state)
{
    static const char *const wrong[] = {"", "0", "/", "0/", "/1", "-1/2", "0/-1", " 0/1", "0/ 1", "0/1 ", "0/1/2", "0x1/2", "+0/1",
                                        "2147483648/0", "0/9223372036854775807", "0/99999999999999999999"};
    struct ty_place place;
    struct ty_err err;
    char text[TY_PLACE_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (ty_place_parse(wrong[i], &place, &err) != -TY_EINVALID)
            fail_msg("\"%s\" was taken", wrong[i]);
    assert_int_equal(ty_place_parse("2147483647/9223372036854775806", &place, &err), 0);
    assert_string_equal(ty_place_format(&place, text), "2147483647/9223372036854775806");
    assert_int_equal(ty_place_parse("0/17", &place, &err), 0);
    assert_int_equal(place.partition, 0);
    assert_int_equal(place.offset, 17);
}

static void test_the_last_header_counts(void **state)
{
    (void)state;
    struct ty_dead_letter_view view =
        VIEW(ID, H(TY_LETTER_TOPIC, PREFIX "submit"), H(TY_LETTER_OFFSET, "1"), H(TY_LETTER_PARTITION, "2"), H(TY_LETTER_REASON, "old"),
             H(TY_LETTER_TOPIC, PREFIX "cancel"), H(TY_LETTER_OFFSET, "9007199254740993"), H(TY_LETTER_REASON, "value: is empty"));
    assert_string_equal(view.topic, PREFIX "cancel");
    assert_true(view.is_ours);
    assert_int_equal(view.kind, TY_TOPIC_CANCEL);
    assert_int_equal(view.origin.partition, 2);
    assert_int_equal(view.origin.offset, 9007199254740993);
    assert_string_equal(view.reason, "value: is empty");
    assert_string_equal(view.command, "none");
    assert_true(view.has_job);
}

static void test_headers_are_foreign_bytes(void **state)
{
    char large[3000];
    (void)state;
    memset(large, 'x', sizeof large);
    memcpy(large + TY_LETTER_TEXT_BYTES - 2, "\xe2\x82\xac", 3); // where it is cut
    struct ty_dead_letter_view view =
        VIEW(NULL, H(TY_LETTER_TOPIC, "a\0\xff\x1b"), H(TY_LETTER_OFFSET, "-1"), H(TY_LETTER_PARTITION, "1x"),
             {TY_LETTER_REASON, (const uint8_t *)large, sizeof large}, {TY_LETTER_TIME, NULL, 0});
    assert_string_equal(view.topic, "a\xef\xbf\xbd\x1b");
    assert_false(view.is_ours);
    assert_int_equal(view.origin.partition, -1);
    assert_int_equal(view.origin.offset, -1);
    assert_int_equal(strlen(view.reason), TY_LETTER_TEXT_BYTES - 2);
    assert_string_equal(view.time, "");
    assert_false(view.has_job);
    view = view_of(NULL, 0, NULL);
    assert_string_equal(view.topic, "");
    assert_int_equal(view.origin.offset, -1);
}

static void expect_refused(const struct ty_dead_letter_view *view, const char *text)
{
    struct ty_err err;
    assert_int_equal(ty_dead_letter_check(view, PREFIX, &err), -TY_EPRECONDITION);
    if (!strstr(err.message, text))
        fail_msg("%s", err.message);
}

static void test_what_may_be_replayed(void **state)
{
    struct ty_err err;
    (void)state;
    struct ty_dead_letter_view view = VIEW(ID, H(TY_LETTER_TOPIC, PREFIX "delete"));
    assert_int_equal(ty_dead_letter_check(&view, PREFIX, &err), 0);
    view = VIEW(ID, H(TY_LETTER_TOPIC, PREFIX "delete"), H(TY_LETTER_STUB, "1"));
    expect_refused(&view, "stub");
    view = VIEW(ID, H("trainyard", "1"));
    expect_refused(&view, "does not say");
    static const char *const foreign[] = {PREFIX "events", PREFIX "dead-letter", "submit", "other.submit", PREFIX "submit.x", PREFIX};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        view = VIEW(ID, {TY_LETTER_TOPIC, (const uint8_t *)foreign[i], strlen(foreign[i])});
        expect_refused(&view, foreign[i]);
    }
}

static void test_own_headers(void **state)
{
    (void)state;
    assert_true(ty_dead_header_is_own("traceparent"));
    assert_true(ty_dead_header_is_own("trainyard-other"));
    assert_true(ty_dead_header_is_own(""));
    assert_false(ty_dead_header_is_own(TY_LETTER_REASON));
    assert_false(ty_dead_header_is_own(TY_LETTER_VALUE_SHA256));
    assert_false(ty_dead_header_is_own(TY_LETTER_STUB));
    assert_false(ty_dead_header_is_own(TY_LETTER_REPLAY_OF));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),           cmocka_unit_test(test_the_last_header_counts),
        cmocka_unit_test(test_headers_are_foreign_bytes), cmocka_unit_test(test_what_may_be_replayed),
        cmocka_unit_test(test_own_headers),
    };
    return cmocka_run_group_tests_name("producer/letters", tests, NULL, NULL);
}
