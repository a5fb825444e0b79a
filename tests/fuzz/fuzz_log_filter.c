// responder/log_filter: reads nothing outside an entry, drops nothing that it cannot read, and finds in an entry of ours what was put in.
#include "core/log_entry.h"
#include "responder/log_filter.h"
#include "tests/fuzz/fuzz.h"

static void check_ours(const char *level, uint64_t time_us, const uint8_t *message, size_t len)
{
    struct ty_log_entry entry;
    struct ty_log_facts facts;
    TY_BUF(stored);
    ty_log_entry_add(&stored, TY_LOG_STREAM_STDERR, true, time_us, level, (const char *)message, len);
    ty_log_entry_read(stored.data, stored.len, &entry);
    REQUIRE(ty_log_facts_read(entry.message, entry.len, &facts));
    REQUIRE(facts.rank == ty_log_rank(level, strlen(level)));
    REQUIRE(facts.time_us == time_us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct ty_log_filter filter = {.rank = input_byte(&input) % 6};
    uint64_t time_us = 0;
    for (unsigned i = 0; i < 7; i++)
        time_us = time_us << 8 | input_byte(&input);
    filter.since_us = time_us;
    uint8_t *bytes = malloc(input.len + 1); // of its own, so that a byte too far is seen
    REQUIRE(bytes);
    memcpy(bytes, input.bytes, input.len);
    struct ty_log_facts facts;
    bool is_read = ty_log_facts_read(bytes, input.len, &facts);
    REQUIRE(facts.rank >= 1 && facts.rank <= 5);
    REQUIRE(is_read || ty_log_filter_passes(&filter, bytes, input.len));
    char *level = input_text(&input, 8);
    check_ours(level, time_us, input.bytes, input.len);
    free(level);
    free(bytes);
    return 0;
}
