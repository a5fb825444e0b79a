// Sealed chunks of a log: what goes in comes out, and what is none is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/log_chunk.h"

static void fill(struct ty_log_chunk *chunk, uint64_t first, size_t count, unsigned seed)
{
    char text[64];
    for (size_t i = 0; i < count; i++)
        ty_log_chunk_add(chunk, first + i, text, (size_t)snprintf(text, sizeof text, "line %zu of %u", i, seed));
}

static void entries_come_back(void **state)
{
    struct ty_log_chunk chunk = {0};
    struct ty_log_chunk_head head;
    TY_BUF(blob);
    TY_BUF(raw);
    struct ty_err err;
    (void)state;
    fill(&chunk, 70, 500, 1);
    ty_log_chunk_seal(&chunk, &blob);
    assert_int_equal(chunk.first, 570);
    assert_int_equal(chunk.count, 0);
    assert_true(blob.len < 5000);
    assert_int_equal(ty_log_chunk_open(blob.data, blob.len, &raw, &head, &err), 0);
    assert_int_equal(head.first, 70);
    assert_int_equal(head.count, 500);
    assert_int_equal(head.raw_bytes, raw.len);
    const uint8_t *entry;
    size_t at = 0, len, count = 0;
    char text[64];
    while (ty_log_chunk_next(raw.data, raw.len, &at, &entry, &len)) {
        assert_int_equal(len, snprintf(text, sizeof text, "line %zu of 1", count++));
        assert_memory_equal(entry, text, len);
    }
    assert_int_equal(count, 500);
    ty_log_chunk_done(&chunk);
}

static void what_does_not_shrink_stays_plain(void **state)
{
    struct ty_log_chunk chunk = {0};
    struct ty_log_chunk_head head;
    TY_BUF(blob);
    TY_BUF(raw);
    struct ty_err err;
    uint8_t noise[3000];
    (void)state;
    srand(7);
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)(rand() >> 7);
    ty_log_chunk_add(&chunk, 0, noise, sizeof noise);
    ty_log_chunk_add(&chunk, 1, "", 0);
    ty_log_chunk_seal(&chunk, &blob);
    assert_int_equal(blob.len, TY_LOG_CHUNK_HEAD_BYTES + 2 + sizeof noise + 1);
    assert_int_equal(ty_log_chunk_open(blob.data, blob.len, &raw, &head, &err), 0);
    assert_int_equal(head.count, 2);
    assert_memory_equal(raw.data + 2, noise, sizeof noise);
    ty_log_chunk_done(&chunk);
}

static void it_is_full_in_time(void **state)
{
    struct ty_log_chunk chunk = {0};
    uint8_t *entry = calloc(1, TY_LIMIT_LOG_ENTRY_BYTES);
    (void)state;
    ty_log_chunk_add(&chunk, 0, entry, TY_LIMIT_LOG_ENTRY_BYTES);
    assert_false(ty_log_chunk_is_full(&chunk));
    ty_log_chunk_add(&chunk, 1, entry, TY_LIMIT_LOG_ENTRY_BYTES);
    assert_true(ty_log_chunk_is_full(&chunk));
    assert_true(chunk.raw.len <= TY_LIMIT_LOG_CHUNK_BYTES);
    ty_log_chunk_done(&chunk);
    free(entry);
}

static void others_are_refused(void **state)
{
    struct ty_log_chunk chunk = {0};
    struct ty_log_chunk_head head;
    TY_BUF(blob);
    TY_BUF(raw);
    struct ty_err err;
    (void)state;
    fill(&chunk, 0, 100, 3);
    ty_log_chunk_seal(&chunk, &blob);
    for (size_t len = 0; len < blob.len; len++)
        assert_int_equal(ty_log_chunk_open(blob.data, len, &raw, &head, &err), -TY_EDATALOSS);
    // A header that lies about version, codec, count or size; the zeros and the first sequence are free.
    for (size_t at = 0; at < TY_LOG_CHUNK_HEAD_BYTES; at++) {
        if (at == 2 || at == 3 || (at >= 8 && at < 16))
            continue;
        blob.data[at] ^= 0x40;
        assert_int_equal(ty_log_chunk_open(blob.data, blob.len, &raw, &head, &err), -TY_EDATALOSS);
        blob.data[at] ^= 0x40;
    }
    assert_int_equal(raw.len, 0);
    assert_int_equal(ty_log_chunk_open(blob.data, blob.len, &raw, &head, &err), 0);
    ty_log_chunk_done(&chunk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back),
        cmocka_unit_test(what_does_not_shrink_stays_plain),
        cmocka_unit_test(it_is_full_in_time),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
