// producer/letters: any headers, key and value of the topic dead-letter can be shown, and are either replayed or refused with a reason.
#include <string.h>

#include "core/letter.h"
#include "core/wire.h"
#include "producer/letters.h"
#include "tests/fuzz/fuzz.h"

#define HEADERS 8

static void require_text(const char *text, size_t bytes)
{
    size_t len = strnlen(text, bytes);
    REQUIRE(len < bytes && ty_utf8_is_valid(text, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {TY_LETTER_TOPIC, TY_LETTER_PARTITION, TY_LETTER_OFFSET, TY_LETTER_TIME,
                                        TY_LETTER_REASON, TY_LETTER_STUB, TY_LETTER_REPLAY_OF, "traceparent"};
    struct input input = {data, size};
    struct ty_topic_header headers[HEADERS];
    struct ty_topic_record letter = {.headers = headers, .place = {0, 17}};
    letter.header_count = input_byte(&input) % (HEADERS + 1);
    for (size_t i = 0; i < letter.header_count; i++) {
        headers[i].name = names[input_byte(&input) % (sizeof names / sizeof *names)];
        headers[i].len = input_byte(&input);
        headers[i].len = headers[i].len < input.len ? headers[i].len : input.len;
        headers[i].value = headers[i].len ? input.bytes : NULL;
        input.bytes += headers[i].len;
        input.len -= headers[i].len;
    }
    letter.key_len = input_byte(&input) % 64;
    letter.key_len = letter.key_len < input.len ? letter.key_len : input.len;
    letter.key = letter.key_len ? input.bytes : NULL;
    letter.value_len = input.len - letter.key_len;
    letter.value = letter.value_len ? input.bytes + letter.key_len : NULL;
    struct ty_dead_letter_view view;
    struct ty_err err = {0};
    ty_dead_letter_read(&letter, "mltraining.", &view);
    require_text(view.topic, sizeof view.topic);
    require_text(view.time, sizeof view.time);
    require_text(view.reason, sizeof view.reason);
    require_text(view.replay_of, sizeof view.replay_of);
    int rc = ty_dead_letter_check(&view, "mltraining.", &err);
    REQUIRE(rc == 0 || (rc == -TY_EPRECONDITION && *err.message && ty_utf8_is_valid(err.message, strlen(err.message))));
    REQUIRE(rc < 0 || (view.is_ours && !view.is_stub));
    return 0;
}
