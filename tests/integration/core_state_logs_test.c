// Logs and lists on the job store: what is stored once, in which order it comes back, and where pages end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "tests/integration/state_client.h"

static struct redis_server *server;
static struct state_client client;

static struct state_claim attempt_of(const struct ty_id *id, uint32_t attempt)
{
    return (struct state_claim){*id, ty_token_new(), attempt, 1000000 + attempt};
}

static const char *log_key(const struct ty_id *id, const char *suffix, char out[64])
{
    char *at = out;
    at += sprintf(at, "{");
    for (size_t i = 0; i < sizeof id->bytes; i++)
        at += sprintf(at, "%02x", id->bytes[i]);
    sprintf(at, "}:l%s", suffix);
    return out;
}

// ---- logs ----

static void entries_are_stored_once_and_in_order(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim claim = attempt_of(&id, 1);
    (void)state;
    assert_int_equal(state_log_append(&client, &claim, 0, 1, false).code, TY_ENOTFOUND);
    struct state_log log = state_log_open(&client, &claim, 0);
    assert_int_equal(log.code, TY_OK);
    assert_true(log.fresh);
    assert_int_equal(log.next, 0);
    assert_int_equal(state_log_append(&client, &claim, 0, 3, false).next, 3);
    assert_int_equal(state_log_append(&client, &claim, 0, 3, false).next, 3);  // again
    assert_int_equal(state_log_append(&client, &claim, 1, 4, false).next, 5);  // two of them are new
    assert_int_equal(state_log_append(&client, &claim, 5, 0, false).next, 5);  // nothing
    log = state_log_append(&client, &claim, 7, 1, false);                      // a hole
    assert_int_equal(log.code, TY_EPRECONDITION);
    assert_int_equal(log.next, 5);
    log = state_log_open(&client, &claim, 0);
    assert_false(log.fresh);
    assert_int_equal(log.next, 5);
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_int_equal(page.count, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(atoi(page.entries[i]), i);
    assert_false(page.more);
    assert_false(page.ended);
}

static void a_stale_attempt_cannot_write(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim first = attempt_of(&id, 1), second = attempt_of(&id, 2);
    (void)state;
    state_log_open(&client, &first, 0);
    state_log_append(&client, &first, 0, 2, false);
    assert_true(state_log_open(&client, &second, 0).fresh);
    assert_int_equal(state_log_append(&client, &first, 2, 1, false).code, TY_EABORTED);
    assert_int_equal(state_log_open(&client, &first, 0).code, TY_EABORTED);
    assert_int_equal(state_log_append(&client, &second, 0, 1, true).code, TY_OK);
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_int_equal(page.count, 4);
    assert_int_equal(page.lines[2].attempt, 1); // in its place: one that came too late
    assert_int_equal(page.lines[2].sequence, 2);
    assert_int_equal(page.lines[2].missing, 1);
    assert_int_equal(page.lines[3].attempt, 2);
}

// What a lease clock has taken is sealed: its lines count as late until the attempt has the job again.
static void a_taken_lease_seals_the_log(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    state_submit(&client, &id, NULL);
    struct state_claim claim = state_claim_one(&client, &id, 1);
    assert_int_equal(state_log_open(&client, &claim, 0).code, TY_OK);
    assert_int_equal(state_log_append(&client, &claim, 0, 3, false).next, 3);
    state_expire(&client, 0, 1);
    STATE_UNTIL(&client, state_log_append(&client, &claim, 3, 0, false).code == TY_EABORTED);
    assert_int_equal(state_log_append(&client, &claim, 3, 4, false).code, TY_EABORTED);
    assert_int_equal(state_page(&client, &id, 0, 0, 64, 1 << 20).count, 3); // it may come back yet: nothing is said
    struct state_claim next = claim;
    next.attempt++;
    next.fence++;
    next.token = ty_token_new();
    assert_int_equal(state_log_open(&client, &claim, 0).next, 3); // it has: all of them are taken now
    assert_int_equal(state_log_append(&client, &claim, 3, 4, false).next, 7);
    assert_int_equal(state_log_open(&client, &next, 0).code, TY_OK);
    assert_int_equal(state_log_append(&client, &next, 0, 1, true).code, TY_OK);
    assert_int_equal(state_page(&client, &id, 0, 0, 64, 1 << 20).count, 8);
}

static void the_last_lease_ends_the_log(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    state_submit(&client, &id, &(struct state_job){.max_attempts = 1});
    struct state_claim claim = state_claim_one(&client, &id, 1);
    state_log_open(&client, &claim, 0);
    state_log_append(&client, &claim, 0, 3, false);
    state_lose(&client, &claim);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_FAILED);
    STATE_UNTIL(&client, state_page(&client, &id, 0, 0, 64, 1 << 20).ended);
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_int_equal(page.count, 4);
    assert_true(page.lines[3].missing > 0);
    assert_non_null(strstr(page.entries[3], "attempt 1 was taken from its worker here, and no other attempt follows"));
    page = state_page(&client, &id, page.next_attempt, page.next_sequence, 64, 1 << 20);
    assert_int_equal(page.count, 0); // said once
    assert_true(page.ended);
    char key[64];
    assert_in_range(STATE_RAW(&client, NULL, "PTTL", log_key(&id, "", key)).integer, 3500000, 3600000);
    assert_in_range(STATE_RAW(&client, NULL, "PTTL", log_key(&id, ":1", key)).integer, 3500000, 3600000);
}

// It is in the queue for its next attempt, which does not come: the log of the one before has an end all the same.
static void a_cancel_after_a_loss_ends_the_log(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    state_submit(&client, &id, NULL);
    struct state_claim claim = state_claim_one(&client, &id, 1);
    state_log_open(&client, &claim, 0);
    state_log_append(&client, &claim, 0, 3, false);
    state_lose(&client, &claim);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_PENDING);
    assert_false(state_page(&client, &id, 0, 0, 64, 1 << 20).ended);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_CANCELED);
    STATE_UNTIL(&client, state_page(&client, &id, 0, 0, 64, 1 << 20).ended);
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_int_equal(page.count, 4);
    assert_non_null(strstr(page.entries[3], "and no other attempt follows"));
}

// A job that is deleted while its worker writes: the log cannot be made again by who does not know.
static void a_removed_log_stays_away(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    state_submit(&client, &id, NULL);
    struct state_claim claim = state_claim_one(&client, &id, 1);
    state_log_open(&client, &claim, 0);
    state_log_append_sealed(&client, &claim, 0, 30, false, 0);
    state_log_append(&client, &claim, 30, 3, false);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLIED);
    assert_int_equal(state_log_append(&client, &claim, 33, 3, false).code, TY_OK); // it runs on until it hears of it
    state_expire(&client, 0, 1);
    assert_false(state_get(&client, &id).found);
    STATE_UNTIL(&client, state_log_append(&client, &claim, 36, 3, false).code == TY_ENOTFOUND);
    assert_int_equal(state_log_open(&client, &claim, 0).code, TY_EABORTED);
    assert_int_equal(state_log_append(&client, &claim, 36, 3, true).code, TY_ENOTFOUND);
    char hex[64], pattern[80];
    log_key(&id, "", hex);
    snprintf(pattern, sizeof pattern, "%s*", hex);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", log_key(&id, ":1", hex), log_key(&id, ":1:c", pattern)).integer, 0);
    assert_in_range(STATE_RAW(&client, NULL, "PTTL", log_key(&id, "", hex)).integer, 1, 3600000);
}

// ---- chunks ----

static void chunks_replace_live_entries(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim claim = attempt_of(&id, 1);
    char key[64];
    (void)state;
    state_log_open(&client, &claim, 0);
    assert_int_equal(state_log_append(&client, &claim, 0, 20, false).next, 20);
    struct state_log log = state_log_append_sealed(&client, &claim, 0, 12, false, 0); // of them the first
    assert_int_equal(log.next, 20);
    assert_int_equal(log.sealed, 12);
    assert_int_equal(STATE_RAW(&client, NULL, "LLEN", log_key(&id, ":1", key)).integer, 8);
    log = state_log_append_sealed(&client, &claim, 0, 12, false, 0); // again
    assert_int_equal(log.code, TY_OK);
    assert_int_equal(log.sealed, 12);
    assert_int_equal(state_log_append_sealed(&client, &claim, 10, 5, false, 0).code, TY_EPRECONDITION);
    assert_int_equal(state_log_append_sealed(&client, &claim, 13, 5, false, 0).code, TY_EPRECONDITION);
    assert_int_equal(state_log_append_sealed(&client, &claim, 21, 5, false, 0).code, TY_EPRECONDITION);
    log = state_log_append_sealed(&client, &claim, 12, 18, false, 0); // the rest of them and ten more
    assert_int_equal(log.next, 30);
    assert_int_equal(log.sealed, 30);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", log_key(&id, ":1", key)).integer, 0);
    assert_int_equal(state_log_append(&client, &claim, 30, 10, true).next, 40);
    for (unsigned max = 1; max <= 33; max++) {
        struct state_page page = {.more = true};
        size_t count = 0;
        while (page.more) {
            page = state_page(&client, &id, page.next_attempt, page.next_sequence, max, 1 << 20);
            assert_in_range(page.count, 1, max);
            for (size_t i = 0; i < page.count; i++, count++)
                assert_int_equal(atoi(page.entries[i]), count);
        }
        assert_int_equal(count, 40);
    }
}

static void a_small_log_is_one_string(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim first = attempt_of(&id, 1), second = attempt_of(&id, 2);
    char key[64];
    (void)state;
    state_log_open(&client, &first, 0);
    state_log_append(&client, &first, 0, 5, false);
    assert_int_equal(state_log_append_sealed(&client, &first, 0, 20, true, 0).sealed, 20);
    assert_string_equal(STATE_RAW(&client, NULL, "TYPE", log_key(&id, ":1:c", key)).text, "string");
    assert_int_equal(state_page(&client, &id, 1, 7, 64, 1 << 20).count, 13);
    assert_int_equal(state_page(&client, &id, 1, 20, 64, 1 << 20).count, 0);
    state_log_open(&client, &second, 0);
    state_log_append(&client, &second, 0, 5, false);
    assert_int_equal(state_page(&client, &id, 1, 19, 64, 1 << 20).count, 6);
    assert_int_equal(state_log_append(&client, &first, 20, 1, false).code, TY_EABORTED);
    // Its worker tells it again: it goes on behind.
    struct ty_id other = ty_id_new();
    struct state_claim again = attempt_of(&other, 1);
    state_log_open(&client, &again, 0);
    state_log_append_sealed(&client, &again, 0, 20, true, 0);
    assert_int_equal(state_log_append_sealed(&client, &again, 20, 20, true, 0).sealed, 40);
    assert_int_equal(state_page(&client, &other, 1, 0, 64, 1 << 20).count, 40);
}

// The middle goes, and a mark says how much; the places in it stay places.
static void over_the_limit_the_middle_goes(void **state)
{
    enum { CHUNK = 100, CHUNKS = 40, LIMIT = 2000 }; // so short a line counts as one byte
    struct ty_id id = ty_id_new();
    struct state_claim claim = attempt_of(&id, 1);
    (void)state;
    state_log_open(&client, &claim, 0);
    for (size_t i = 0; i < CHUNKS; i++)
        assert_int_equal(state_log_append_sealed(&client, &claim, i * CHUNK, CHUNK, false, LIMIT).code, TY_OK);
    state_log_append(&client, &claim, CHUNK * CHUNKS, 3, true);
    uint64_t expected = 0, missing = 0, kept = 0;
    struct state_page page = {.more = true};
    while (page.more) {
        page = state_page(&client, &id, page.next_attempt, page.next_sequence, 64, 1 << 20);
        for (size_t i = 0; i < page.count; i++) {
            assert_int_equal(page.lines[i].sequence, expected);
            if (page.lines[i].missing)
                missing += page.lines[i].missing;
            else
                assert_int_equal(atoi(page.entries[i]), expected);
            kept += page.lines[i].missing == 0;
            expected += page.lines[i].missing ? page.lines[i].missing : 1;
        }
    }
    assert_int_equal(expected, CHUNK * CHUNKS + 3);
    assert_true(missing > 0);
    assert_in_range(kept, LIMIT - CHUNK, LIMIT + 3);
    page = state_page(&client, &id, 1, CHUNK * 9 + 50, 64, 1 << 20);
    assert_int_equal(page.lines[0].sequence, CHUNK * 9 + 50);
    assert_true(page.lines[0].missing > 0);
    assert_int_equal(page.lines[1].sequence, CHUNK * 9 + 50 + page.lines[0].missing);
}

// The control shard went back to before a claim, the log's node did not: the same attempt number comes again, for another run.
static void an_attempt_that_comes_again_begins_its_log_anew(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim first = attempt_of(&id, 1), undone = attempt_of(&id, 2), again = attempt_of(&id, 2);
    (void)state;
    again.fence++;
    state_log_open(&client, &first, 0);
    state_log_append(&client, &first, 0, 2, false);
    state_log_open(&client, &undone, 0);
    state_log_append(&client, &undone, 0, 5, true);
    struct state_log log = state_log_open(&client, &again, 0);
    assert_int_equal(log.code, TY_OK);
    assert_true(log.fresh);
    assert_int_equal(log.next, 0);
    assert_int_equal(state_log_append(&client, &again, 0, 3, false).next, 3);
    assert_int_equal(state_page(&client, &id, 1, 0, 64, 1 << 20).count, 2 + 3);
}

static void a_log_that_was_lost_goes_on_where_its_worker_is(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim claim = attempt_of(&id, 1);
    (void)state;
    struct state_log log = state_log_open(&client, &claim, 40);
    assert_true(log.fresh);
    assert_int_equal(log.next, 40);
    assert_int_equal(state_log_append(&client, &claim, 38, 4, false).next, 42); // 38 and 39 are older than the log
    struct state_page page = state_page(&client, &id, 1, 0, 64, 1 << 20);
    assert_int_equal(page.count, 2);
    assert_string_equal(page.entries[0], "40");
    assert_int_equal(page.next_sequence, 42);
}

// Collects the whole log by pages of this size; every entry comes once and in order.
static void read_pages(const struct ty_id *id, unsigned max_entries, size_t max_bytes, size_t wanted)
{
    uint32_t attempt = 0;
    uint64_t sequence = 0;
    size_t count = 0;
    struct state_page page;
    do {
        page = state_page(&client, id, attempt, sequence, max_entries, max_bytes);
        assert_true(page.count <= max_entries);
        assert_true(page.count > 0 || !page.more);
        for (size_t i = 0; i < page.count; i++, count++)
            assert_int_equal(atoi(page.entries[i]), count % 10);
        attempt = page.next_attempt;
        sequence = page.next_sequence;
    } while (page.more && count < 1000);
    if (count != wanted)
        fail_msg("%zu of %zu entries by pages of %u entries and %zu bytes", count, wanted, max_entries, max_bytes);
    assert_true(page.ended);
    // The place after the end stays a place.
    page = state_page(&client, id, attempt, sequence, max_entries, max_bytes);
    assert_int_equal(page.count, 0);
    assert_int_equal(page.next_attempt, attempt);
    assert_int_equal(page.next_sequence, sequence);
}

static void pages_go_through_all_attempts(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    for (uint32_t attempt = 1; attempt <= 4; attempt++) {
        struct state_claim claim = attempt_of(&id, attempt);
        state_log_open(&client, &claim, 0);
        if (attempt != 3) // one that wrote nothing
            assert_int_equal(state_log_append(&client, &claim, 0, 10, false).next, 10);
        assert_int_equal(state_log_append(&client, &claim, attempt != 3 ? 10 : 0, 0, true).code, TY_OK);
    }
    for (unsigned max = 1; max <= 33; max += max < 12 ? 1 : 10)
        read_pages(&id, max, 1 << 20, 30);
    for (size_t bytes = 1; bytes <= 40; bytes += 3)
        read_pages(&id, 64, bytes, 30);
    assert_int_equal(state_page(&client, &id, 2, 7, 64, 1 << 20).count, 13);
    assert_int_equal(state_page(&client, &id, 9, 0, 64, 1 << 20).count, 0);
}

static void a_reader_goes_on_when_the_next_attempt_comes(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim first = attempt_of(&id, 1), second = attempt_of(&id, 2);
    (void)state;
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_int_equal(page.count, 0); // there is no log yet
    assert_false(page.ended);
    state_log_open(&client, &first, 0);
    state_log_append(&client, &first, 0, 3, true);
    page = state_page(&client, &id, page.next_attempt, page.next_sequence, 64, 1 << 20);
    assert_int_equal(page.count, 3);
    assert_true(page.ended);
    state_log_open(&client, &second, 0);
    page = state_page(&client, &id, page.next_attempt, page.next_sequence, 64, 1 << 20);
    assert_int_equal(page.count, 0);
    assert_false(page.ended); // another attempt has begun
    state_log_append(&client, &second, 0, 2, true);
    page = state_page(&client, &id, page.next_attempt, page.next_sequence, 64, 1 << 20);
    assert_int_equal(page.count, 2);
    assert_true(page.ended);
}

static int64_t ttl_ms(const struct ty_id *id, const char *suffix)
{
    char key[64];
    return STATE_RAW(&client, NULL, "PTTL", log_key(id, suffix, key)).integer;
}

static void the_end_starts_the_retention_and_a_new_attempt_stops_it(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim first = attempt_of(&id, 1), second = attempt_of(&id, 2);
    (void)state;
    state_log_open(&client, &first, 0);
    state_log_append(&client, &first, 0, 3, false);
    assert_int_equal(ttl_ms(&id, ""), -1);
    assert_int_equal(ttl_ms(&id, ":1"), -1);
    state_log_append(&client, &first, 3, 0, true);
    assert_in_range(ttl_ms(&id, ""), 3500000, 3600000);
    assert_in_range(ttl_ms(&id, ":1"), 3500000, 3600000);
    state_log_open(&client, &second, 0);
    assert_int_equal(ttl_ms(&id, ""), -1);
    assert_int_equal(ttl_ms(&id, ":1"), -1);
    state_log_append(&client, &second, 0, 1, true);
    assert_in_range(ttl_ms(&id, ""), 3500000, 3600000);
    assert_in_range(ttl_ms(&id, ":1"), 3500000, 3600000);
    assert_in_range(ttl_ms(&id, ":2"), 3500000, 3600000);
}

// ---- for those who follow ----

struct places {
    bool done;
    size_t run_count, span_count;
    struct ty_log_run runs[8];
    struct ty_log_span spans[8];
};

static void on_places(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct places *places = context;
    assert_null(err);
    places->done = true;
    places->run_count = page->run_count;
    for (size_t i = 0; i < page->run_count && i < 8; i++)
        places->runs[i] = page->runs[i];
}

static void expect_runs(const struct ty_id *id, uint32_t attempt, uint64_t sequence, unsigned max, const struct ty_log_run *runs,
                        size_t count)
{
    struct places places = {0};
    ty_state_log_page(client.state, id, attempt, sequence, max, 1 << 20, on_places, &places);
    STATE_UNTIL(&client, places.done);
    assert_int_equal(places.run_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(places.runs[i].attempt, runs[i].attempt);
        assert_int_equal(places.runs[i].sequence, runs[i].sequence);
        assert_int_equal(places.runs[i].count, runs[i].count);
    }
}

static void on_spans(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count)
{
    struct places *places = context;
    assert_null(err);
    places->done = true;
    places->span_count = count;
    for (size_t i = 0; i < count && i < 8; i++)
        places->spans[i] = spans[i];
}

static struct places ask_spans(const struct ty_id *id, unsigned max)
{
    struct places places = {0};
    ty_state_log_spans(client.state, id, max, on_spans, &places);
    STATE_UNTIL(&client, places.done);
    return places;
}

static void pages_and_spans_say_where_entries_are(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim first = attempt_of(&id, 1), second = attempt_of(&id, 2), third = attempt_of(&id, 3);
    (void)state;
    assert_int_equal(ask_spans(&id, 8).span_count, 0);
    state_log_open(&client, &first, 40);
    state_log_append(&client, &first, 40, 3, true);
    state_log_open(&client, &second, 0);
    state_log_open(&client, &third, 0);
    state_log_append(&client, &third, 0, 50, false);
    expect_runs(&id, 0, 0, 64, (const struct ty_log_run[]){{1, 40, 3, 0}, {3, 0, 50, 0}}, 2);
    expect_runs(&id, 1, 41, 2, (const struct ty_log_run[]){{1, 41, 2, 0}}, 1);
    expect_runs(&id, 1, 42, 2, (const struct ty_log_run[]){{1, 42, 1, 0}, {3, 0, 1, 0}}, 2);
    expect_runs(&id, 3, 49, 9, (const struct ty_log_run[]){{3, 49, 1, 0}}, 1);
    expect_runs(&id, 3, 50, 9, NULL, 0);
    static const struct ty_log_span all[] = {{3, 0, 50}, {2, 0, 0}, {1, 40, 43}};
    for (unsigned max = 1; max <= 4; max++) {
        struct places places = ask_spans(&id, max);
        assert_int_equal(places.span_count, max < 3 ? max : 3);
        for (size_t i = 0; i < places.span_count; i++) {
            assert_int_equal(places.spans[i].attempt, all[i].attempt);
            assert_int_equal(places.spans[i].first, all[i].first);
            assert_int_equal(places.spans[i].next, all[i].next);
        }
    }
}

static void on_news(void *context)
{
    ++*(unsigned *)context;
}

static struct ty_log_watch *watch(const struct ty_id *id, unsigned *news)
{
    struct ty_log_watch *made;
    struct ty_err err;
    if (ty_state_log_watch(client.state, id, on_news, news, &made, &err) < 0)
        fail_msg("%s", err.message);
    return made;
}

static void appends_are_told_to_those_who_watch(void **state)
{
    struct ty_id id = ty_id_new(), other = ty_id_new();
    struct state_claim claim = attempt_of(&id, 1), others = attempt_of(&other, 1);
    unsigned news = 0, of_other = 0;
    (void)state;
    struct ty_log_watch *one = watch(&id, &news), *two = watch(&other, &of_other);
    STATE_UNTIL(&client, news == 1 && of_other == 1); // the line is up
    state_log_open(&client, &claim, 0);
    state_log_open(&client, &others, 0);
    for (unsigned i = 0; i < 3; i++) {
        state_log_append(&client, &claim, i, 1, false);
        STATE_UNTIL(&client, news == 2 + i);
    }
    assert_int_equal(of_other, 1);
    state_log_append(&client, &others, 0, 0, true); // the end is news
    STATE_UNTIL(&client, of_other == 2);
    // Left, and watched again before the server has said that it let go.
    for (unsigned i = 0; i < 5; i++) {
        ty_state_log_unwatch(one);
        one = watch(&id, &news);
    }
    ty_state_log_unwatch(two);
    STATE_UNTIL(&client, STATE_RAW(&client, NULL, "PUBLISH", "{ty:0}:l", "").integer == 1);
    news = 0;
    for (unsigned i = 3; !news; i++) // until the last watch holds
        state_log_append(&client, &claim, i, 1, false);
    unsigned seen = news;
    state_log_append(&client, &others, 0, 1, false);
    state_log_append(&client, &claim, 0, 1, false);
    STATE_UNTIL(&client, news > seen);
    assert_int_equal(of_other, 2);
    // A line that was cut says so when it is back.
    seen = news;
    STATE_RAW(&client, NULL, "CLIENT", "KILL", "TYPE", "pubsub");
    STATE_UNTIL(&client, news > seen); // told from here on
    seen = news;
    state_log_append(&client, &claim, 0, 1, false);
    STATE_UNTIL(&client, news > seen);
    ty_state_log_unwatch(one);
}

static void large_appends_go_in_one_call(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim claim = attempt_of(&id, 1);
    (void)state;
    state_log_open(&client, &claim, 0);
    assert_int_equal(state_log_append(&client, &claim, 0, 9000, false).next, 9000); // more than Lua unpacks at once
    assert_int_equal(state_page(&client, &id, 1, 8995, 64, 1 << 20).count, 5);
}

// ---- what logs take ----

struct sums {
    bool done;
    uint64_t total, organizations[4];
};

static void on_sums(void *context, const struct ty_err *err, uint64_t total, const uint64_t *organizations, size_t count)
{
    struct sums *sums = context;
    assert_null(err);
    sums->done = true;
    sums->total = total;
    for (size_t i = 0; i < count && i < 4; i++)
        sums->organizations[i] = organizations[i];
}

static struct sums tell(const struct ty_log_usage *usages, size_t count)
{
    struct sums sums = {0};
    ty_state_log_sums(client.state, 0, usages, count, on_sums, &sums);
    STATE_UNTIL(&client, sums.done);
    return sums;
}

static void what_logs_take_is_summed(void **state)
{
    struct ty_id a = ty_id_new(), b = ty_id_new(), c = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    struct sums sums = tell((struct ty_log_usage[]){{a, "acme", 100}, {b, "acme", 50}, {c, "other", 7}}, 3);
    assert_int_equal(sums.total, 157);
    assert_int_equal(sums.organizations[0], 100);
    assert_int_equal(sums.organizations[1], 150);
    assert_int_equal(sums.organizations[2], 7);
    for (unsigned i = 0; i < 2; i++) { // the same again
        sums = tell((struct ty_log_usage[]){{a, "acme", 120}, {b, NULL, 0}, {b, NULL, 0}}, 3);
        assert_int_equal(sums.total, 127);
        assert_int_equal(sums.organizations[0], i ? 120 : 170);
        assert_int_equal(sums.organizations[1], i ? 0 : 120); // of what is gone nothing is known
    }
    tell((struct ty_log_usage[]){{a, NULL, 0}, {c, NULL, 0}}, 2);
    assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", "{ty:0}:b", "{ty:0}:k").integer, 0);
}

static uint64_t told_total(void)
{
    return (uint64_t)atoll(STATE_RAW(&client, NULL, "HGET", "{ty:0}:b", "*").text);
}

static void what_logs_take_is_put_right(void **state)
{
    struct ty_id deleted = ty_id_new(), expired = ty_id_new(), wrong = ty_id_new();
    struct ty_id *ids[] = {&deleted, &expired, &wrong};
    uint64_t bytes = 0;
    char key[64];
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "done");
    for (size_t i = 0; i < 3; i++) {
        struct state_claim claim = attempt_of(ids[i], 1);
        state_submit(&client, ids[i], NULL);
        state_log_open(&client, &claim, 0);
        state_log_append(&client, &claim, 0, 100, false);
        bytes = state_log_append_sealed(&client, &claim, 0, 150, true, 0).bytes;
        assert_true(bytes > 0 && bytes < 2000);
        tell(&(struct ty_log_usage){*ids[i], "acme", i == 2 ? 99999 : bytes}, 1);
    }
    assert_int_equal(told_total(), 99999 + 2 * bytes);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &deleted), TY_APPLY_DELETED);
    STATE_UNTIL(&client, told_total() == 99999 + bytes);
    STATE_RAW(&client, NULL, "DEL", log_key(&expired, "", key));
    ty_state_log_look(client.state, 0, 60000);
    STATE_UNTIL(&client, told_total() == bytes);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:b", "*", "5");
    ty_state_log_look(client.state, 0, 60000); // another program has looked just now
    assert_int_equal(told_total(), 5);
}

static void on_up(void *context, bool up, const struct ty_err *err)
{
    (void)err;
    *(bool *)context = up;
}

static struct ty_state *state_with(uint64_t log_retention_ms, bool *up)
{
    struct ty_state_options options = {.redis_url = redis_server_url(server), .shards = 1, .command_ms = 10000,
                                       .tombstone_ms = 3600000, .log_retention_ms = log_retention_ms, .default_max_attempts = 3};
    struct ty_state *state;
    struct ty_err err;
    assert_int_equal(ty_state_new(client.loop, &options, on_up, up, &state, &err), 0);
    STATE_UNTIL(&client, *up);
    return state;
}

// The store itself removes what has ended: soon, after none at all, and never.
static void logs_go_when_their_time_is_over(void **state)
{
    static const uint64_t times_ms[] = {200, UINT64_MAX, 0};
    struct ty_state *own = client.state;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct ty_id id = ty_id_new();
        struct state_claim first = attempt_of(&id, 1), second = attempt_of(&id, 2);
        bool up = false;
        char keys[5][64];
        client.state = state_with(times_ms[i], &up);
        state_log_open(&client, &first, 0);
        state_log_append_sealed(&client, &first, 0, 50, false, 0);
        state_log_append(&client, &first, 50, 5, false);
        state_log_open(&client, &second, 0);
        state_log_append(&client, &second, 0, 5, false);
        STATE_RAW(&client, NULL, "PING");
        for (size_t k = 0; k < 5; k++)
            log_key(&id, (const char *const[]){"", ":1", ":1:c", ":2", ":2:c"}[k], keys[k]);
        assert_int_equal(STATE_RAW(&client, NULL, "EXISTS", keys[0], keys[1], keys[2], keys[3], keys[4]).integer, 4);
        state_log_append_sealed(&client, &second, 0, 30, true, 0);
        if (times_ms[i])
            STATE_UNTIL(&client, STATE_RAW(&client, NULL, "EXISTS", keys[0], keys[1], keys[2], keys[3], keys[4]).integer == 0);
        else
            for (size_t k = 0; k < 5; k++)
                assert_true(k == 3 || STATE_RAW(&client, NULL, "PTTL", keys[k]).integer == -1);
        ty_state_free(client.state);
    }
    client.state = own;
}

// ---- lists ----

static int newer_first(const void *a, const void *b)
{
    return -memcmp(a, b, sizeof(struct ty_id));
}

static void lists_page_through_ties(void **state)
{
    enum { TIED = 13, OLDER = 6 };
    struct ty_id tied[TIED], older[OLDER], wanted[TIED + OLDER];
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    for (size_t i = 0; i < TIED; i++) {
        tied[i] = ty_id_new();
        state_submit(&client, &tied[i], &(struct state_job){.created_us = 1700000000000007, .organization = "ties"});
    }
    for (size_t i = 0; i < OLDER; i++) {
        older[i] = ty_id_new();
        state_submit(&client, &older[i], &(struct state_job){.created_us = 1700000000000006 - i, .organization = "ties"});
    }
    state_submit(&client, &(struct ty_id){{1}}, &(struct state_job){.organization = "tie"});
    // What became of them does not change the order: a list of all is made of one for each state.
    struct state_claim claims[6];
    struct ty_token token = ty_token_new();
    for (size_t i = 0; i < TIED; i += 4)
        assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &tied[i]), TY_APPLIED);
    assert_int_equal(state_claim(&client, 0, &token, 6, STATE_LEASE_MS, claims), 6);
    for (size_t i = 0; i < 4; i++)
        state_finish(&client, &claims[i], i % 2 ? TY_FINISH_FAILED : TY_FINISH_COMPLETED, TY_REASON_NONE);
    memcpy(wanted, tied, sizeof tied);
    qsort(wanted, TIED, sizeof *wanted, newer_first);
    memcpy(wanted + TIED, older, sizeof older);
    for (unsigned limit = 1; limit <= 20; limit++) {
        struct ty_list_cursor cursor;
        size_t count = 0;
        struct state_list list = {.more = true};
        while (list.more) {
            list = state_list(&client, 0, "ties", 0, count ? &cursor : NULL, limit);
            assert_true(list.count <= limit);
            for (size_t i = 0; i < list.count; i++, count++) {
                assert_true(count < TIED + OLDER);
                assert_true(ty_id_equal(&list.ids[i], &wanted[count]));
                cursor = (struct ty_list_cursor){list.created_us[i], list.ids[i]};
            }
        }
        assert_int_equal(count, TIED + OLDER);
    }
    assert_int_equal(state_list(&client, 0, "nobody", 0, NULL, 5).count, 0);
    assert_int_equal(state_list(&client, 0, "tie", 0, NULL, 5).count, 1);
}

static void lists_by_status_follow_the_jobs(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    state_submit(&client, &id, NULL);
    assert_int_equal(state_list(&client, 0, "acme", TY_JOB_PENDING, NULL, 5).count, 1);
    assert_int_equal(state_list(&client, 0, "acme", TY_JOB_IN_PROGRESS, NULL, 5).count, 0);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    assert_int_equal(state_list(&client, 0, "acme", TY_JOB_PENDING, NULL, 5).count, 0);
    assert_int_equal(state_list(&client, 0, "acme", TY_JOB_IN_PROGRESS, NULL, 5).count, 1);
    state_finish(&client, &claim, TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT);
    assert_int_equal(state_list(&client, 0, "acme", TY_JOB_FAILED, NULL, 5).count, 1);
    assert_int_equal(state_list(&client, 0, "acme", 0, NULL, 5).count, 1);
    state_control(&client, TY_COMMAND_DELETE, &id);
    assert_int_equal(state_list(&client, 0, "acme", TY_JOB_FAILED, NULL, 5).count, 0);
    assert_int_equal(state_list(&client, 0, "acme", 0, NULL, 5).count, 0);
}

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open(&client, server, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    state_client_close(&client);
    redis_server_free(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_stored_once_and_in_order),
        cmocka_unit_test(a_stale_attempt_cannot_write),
        cmocka_unit_test(a_taken_lease_seals_the_log),
        cmocka_unit_test(the_last_lease_ends_the_log),
        cmocka_unit_test(a_cancel_after_a_loss_ends_the_log),
        cmocka_unit_test(a_removed_log_stays_away),
        cmocka_unit_test(chunks_replace_live_entries),
        cmocka_unit_test(a_small_log_is_one_string),
        cmocka_unit_test(over_the_limit_the_middle_goes),
        cmocka_unit_test(an_attempt_that_comes_again_begins_its_log_anew),
        cmocka_unit_test(a_log_that_was_lost_goes_on_where_its_worker_is),
        cmocka_unit_test(pages_go_through_all_attempts),
        cmocka_unit_test(a_reader_goes_on_when_the_next_attempt_comes),
        cmocka_unit_test(the_end_starts_the_retention_and_a_new_attempt_stops_it),
        cmocka_unit_test(large_appends_go_in_one_call),
        cmocka_unit_test(pages_and_spans_say_where_entries_are),
        cmocka_unit_test(appends_are_told_to_those_who_watch),
        cmocka_unit_test(what_logs_take_is_summed),
        cmocka_unit_test(what_logs_take_is_put_right),
        cmocka_unit_test(logs_go_when_their_time_is_over),
        cmocka_unit_test(lists_page_through_ties),
        cmocka_unit_test(lists_by_status_follow_the_jobs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
