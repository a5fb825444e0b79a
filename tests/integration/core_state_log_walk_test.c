// A random walk of logs: opens, appends of entries and chunks, repeats, holes, other attempts, deletes and restarts of a real store,
// beside a small model. Each answer, and what is read by pages of any size from any place, must be what the model says.
// TRAINYARD_WALK_EVENTS: how many; TRAINYARD_WALK_SEED: the seed, which is printed.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/log_chunk.h"
#include "tests/integration/state_client.h"

#define EVENTS 3000
#define LOG_EVENTS 150 // of one log
#define ATTEMPTS 8
#define CHUNKS 2000
#define DROPS 64       // that one append makes at most
#define ENTRY_EXTRA 24 // of an entry, does not count for the limit

static struct redis_server *server;
static struct state_client client;
static unsigned seed;

static unsigned below(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

static bool by_chance(unsigned percent)
{
    return below(100) < percent;
}

// ---- the model ----

struct chunk {
    uint64_t first, count, bytes;
    bool dropped;
};

struct attempt {
    unsigned serial; // what it was opened as: tells its entries from those of another under the same number
    struct ty_token token;
    uint64_t fence;
    struct chunk chunks[CHUNKS];
    size_t chunk_count;
    uint64_t sealed, next, live_bytes, late;
    size_t sent_live; // entries that were sent one by one and not sealed
};

static struct log {
    struct ty_id id;
    uint64_t limit, short_bytes, fence, head;
    struct attempt attempts[ATTEMPTS + 1];
    uint32_t last; // 0: never opened
    bool has_tail, ended, deleted;
    uint32_t tail;
    uint64_t tail_first;
    struct attempt stale; // one that has lost the log
    uint32_t stale_number;
} log_;

static uint64_t lines(uint64_t count, uint64_t bytes)
{
    return bytes > ENTRY_EXTRA * count + count ? bytes - ENTRY_EXTRA * count : count;
}

// An entry's text follows from its place.
static size_t text_of(unsigned serial, uint64_t sequence, char out[128])
{
    unsigned pad = (unsigned)((sequence * 2654435761u ^ serial) % 60);
    int len = snprintf(out, 64, "%u/%" PRIu64 " ", serial, sequence);
    memset(out + len, 'a' + (int)(sequence % 26), pad);
    out[len + (int)pad] = 0;
    return (size_t)len + pad;
}

static uint64_t bytes_of(unsigned serial, uint64_t from, uint64_t to, uint64_t extra)
{
    char text[128];
    uint64_t sum = 0;
    for (uint64_t n = from; n < to; n++)
        sum += text_of(serial, n, text) + extra;
    return sum;
}

static uint64_t kept(void)
{
    uint64_t sum = 0;
    for (uint32_t a = 1; a <= log_.last; a++) {
        const struct attempt *attempt = &log_.attempts[a];
        for (size_t i = 0; i < attempt->chunk_count; i++)
            if (!attempt->chunks[i].dropped)
                sum += lines(attempt->chunks[i].count, attempt->chunks[i].bytes);
        sum += lines(attempt->next - attempt->sealed, attempt->live_bytes);
    }
    return sum;
}

static bool drop_chunk(struct attempt *attempt)
{
    for (size_t i = 0; i < attempt->chunk_count; i++) {
        struct chunk *chunk = &attempt->chunks[i];
        if (chunk->dropped || chunk->first < log_.tail_first)
            continue;
        chunk->dropped = true;
        return true;
    }
    return false;
}

// The log's limit now, from the head as it was before the append.
static uint64_t limit_now(void)
{
    uint64_t most = log_.head + log_.short_bytes;
    return log_.short_bytes && (!log_.limit || most < log_.limit) ? most : log_.limit;
}

static void keep_to_limit(uint64_t limit)
{
    for (unsigned drops = 0; limit && log_.has_tail && kept() > limit && drops < DROPS; drops++) {
        struct attempt *attempt = &log_.attempts[log_.tail];
        if (drop_chunk(attempt))
            continue;
        if (log_.tail >= log_.last)
            return;
        if (attempt->next > attempt->sealed) { // what it has left unsealed goes as one
            attempt->chunks[attempt->chunk_count++] =
                (struct chunk){attempt->sealed, attempt->next - attempt->sealed, attempt->live_bytes, true};
            attempt->sealed = attempt->next;
            attempt->live_bytes = 0;
        }
        log_.tail++;
        log_.tail_first = 0;
    }
}

static void add_to_head(uint32_t number, uint64_t first, uint64_t size, uint64_t limit, uint64_t short_bytes)
{
    if (log_.has_tail)
        return;
    if ((!limit || 4 * (log_.head + size) <= limit) && (!short_bytes || log_.head + size <= short_bytes)) {
        log_.head += size;
    } else {
        log_.has_tail = true;
        log_.tail = number;
        log_.tail_first = first;
    }
}

static void model_open(uint32_t number, uint64_t fence, const struct ty_token *token)
{
    static unsigned serial;
    struct attempt *before = &log_.attempts[log_.last];
    if (log_.last) {
        log_.stale = *before;
        log_.stale_number = log_.last;
    }
    if (log_.last && log_.last < number && before->live_bytes)
        add_to_head(log_.last, before->sealed, lines(before->next - before->sealed, before->live_bytes), 0, 0); // the site's
    if (log_.has_tail && log_.tail >= number) {
        log_.tail = number;
        log_.tail_first = 0;
    }
    memset(&log_.attempts[number], 0, sizeof log_.attempts[number]);
    log_.attempts[number].serial = ++serial;
    log_.attempts[number].token = *token;
    log_.attempts[number].fence = log_.fence = fence;
    log_.last = number;
    log_.ended = false;
}

// ---- calls ----

struct answer {
    bool done;
    enum ty_code code;
    struct ty_log_place place;
};

static void on_answer(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    *(struct answer *)context = (struct answer){true, err ? err->code : TY_OK, *place};
}

static struct answer open_log(uint32_t number, uint64_t fence, const struct ty_token *token)
{
    struct answer answer = {0};
    ty_state_log_open(client.state, &log_.id, number, fence, token, 0, on_answer, &answer);
    STATE_UNTIL(&client, answer.done);
    return answer;
}

// Entries from `first` to `to`, those from `live` on one by one, the ones before it in chunks.
static struct answer append(const struct attempt *attempt, uint32_t number, uint64_t first, uint64_t live, uint64_t to, unsigned per_chunk,
                            bool end)
{
    struct ty_buf blobs[32] = {0};
    struct ty_bytes chunks[32], entries[256];
    static char texts[256][128];
    struct ty_log_append append = {.id = log_.id, .token = attempt->token, .attempt = number, .chunks = chunks, .first = live,
                                   .entries = entries, .end = end, .limit_bytes = log_.limit, .short_bytes = log_.short_bytes};
    struct ty_log_chunk chunk = {0};
    char text[128];
    for (uint64_t n = first; n < live; n++) {
        ty_log_chunk_add(&chunk, n, text, text_of(attempt->serial, n, text));
        if (chunk.count < per_chunk && n + 1 < live)
            continue;
        ty_log_chunk_seal(&chunk, &blobs[append.chunk_count]);
        chunks[append.chunk_count] = (struct ty_bytes){blobs[append.chunk_count].data, blobs[append.chunk_count].len};
        append.chunk_count++;
    }
    for (uint64_t n = live; n < to; n++, append.count++)
        entries[append.count] = (struct ty_bytes){texts[append.count], text_of(attempt->serial, n, texts[append.count])};
    struct answer answer = {0};
    ty_state_log_append(client.state, &append, on_answer, &answer);
    STATE_UNTIL(&client, answer.done);
    ty_log_chunk_done(&chunk);
    for (size_t i = 0; i < append.chunk_count; i++)
        ty_buf_done(&blobs[i]);
    return answer;
}

static void expect(const struct answer *answer, enum ty_code code)
{
    if (answer->code != code)
        fail_msg("seed: the store says %d, the model %d", answer->code, code);
    if (code != TY_OK && code != TY_EPRECONDITION)
        return;
    const struct attempt *attempt = &log_.attempts[log_.last];
    if (answer->place.next != attempt->next || answer->place.sealed != attempt->sealed)
        fail_msg("the store has %" PRIu64 " to %" PRIu64 ", the model %" PRIu64 " to %" PRIu64, answer->place.sealed,
                 answer->place.next, attempt->sealed, attempt->next);
}

// ---- events ----

static void do_open(void)
{
    struct ty_token token = ty_token_new();
    unsigned what = below(10);
    if (log_.deleted) {
        struct answer answer = open_log(log_.last + 1, log_.fence + 1, &token);
        assert_int_equal(answer.code, TY_EABORTED);
    } else if (log_.last && what < 4) { // again
        const struct attempt *attempt = &log_.attempts[log_.last];
        struct answer answer = open_log(log_.last, attempt->fence, &attempt->token);
        expect(&answer, TY_OK);
        assert_false(answer.place.fresh);
    } else if (log_.last && what < 6) { // one that is late
        struct answer answer = open_log(log_.last, log_.fence - 1, &token);
        expect(&answer, TY_EABORTED);
    } else {
        uint32_t number = log_.last && (what == 6 || log_.last == ATTEMPTS) ? 1 + below(log_.last) : log_.last + 1;
        struct answer answer = open_log(number, log_.fence + 1, &token);
        model_open(number, log_.fence + 1, &token);
        expect(&answer, TY_OK);
        assert_true(answer.place.fresh);
    }
}

static void do_stale(void)
{
    if (!log_.stale_number || log_.deleted)
        return;
    uint64_t to = log_.stale.next + below(4);
    struct answer answer = append(&log_.stale, log_.stale_number, log_.stale.next, log_.stale.next, to, 1, false);
    expect(&answer, TY_EABORTED);
    struct attempt *attempt = &log_.attempts[log_.stale_number];
    if (log_.stale_number < log_.last && to > attempt->late)
        attempt->late = to;
}

static void do_entries(bool end)
{
    struct attempt *attempt = &log_.attempts[log_.last];
    uint64_t back = by_chance(30) ? below(5) : 0, ahead = by_chance(5) ? 1 + below(3) : 0;
    uint64_t first = attempt->next > back ? attempt->next - back + ahead : attempt->next + ahead, to = first + below(40);
    uint64_t limit = limit_now();
    struct answer answer = append(attempt, log_.last, first, first, to, 1, end);
    if (log_.deleted || !log_.last) {
        assert_int_equal(answer.code, TY_ENOTFOUND);
        return;
    }
    if (first <= attempt->next) {
        if (to > attempt->next) {
            attempt->live_bytes += bytes_of(attempt->serial, attempt->next, to, 0);
            attempt->next = to;
        }
        log_.ended = log_.ended || end;
        keep_to_limit(limit);
    }
    expect(&answer, first <= attempt->next ? TY_OK : TY_EPRECONDITION);
}

// The chunks are taken from where the live entries begin, some of them may be there already.
static void do_chunks(bool end)
{
    struct attempt *attempt = &log_.attempts[log_.last];
    unsigned per_chunk = 1 + below(30), wrong = by_chance(10) ? 1 + below(2) : 0;
    const struct chunk *latest = attempt->chunk_count ? &attempt->chunks[attempt->chunk_count - 1] : NULL;
    bool again = latest && latest->first + latest->count == attempt->sealed && by_chance(20);
    uint64_t first = again ? latest->first : attempt->sealed + wrong, have = attempt->sealed;
    if (again) {
        per_chunk = (unsigned)latest->count;
        wrong = 0;
    }
    uint64_t live = first + 1 + below(6 * per_chunk), to = by_chance(20) ? live + below(10) : live;
    if (again && live < have)
        live = to = have;
    uint64_t limit = limit_now();
    struct answer answer = append(attempt, log_.last, first, live, to, per_chunk, end);
    if (log_.deleted || !log_.last) {
        assert_int_equal(answer.code, TY_ENOTFOUND);
        return;
    }
    bool fits = !wrong || live <= have;
    for (uint64_t at = first; fits && at < live; at += per_chunk) {
        uint64_t stop = at + per_chunk < live ? at + per_chunk : live;
        if (stop <= attempt->sealed)
            continue;
        uint64_t replaced = stop < attempt->next ? bytes_of(attempt->serial, attempt->sealed, stop, 0) : attempt->live_bytes;
        attempt->live_bytes -= replaced;
        struct chunk chunk = {at, stop - at, bytes_of(attempt->serial, at, stop, 1), false};
        attempt->chunks[attempt->chunk_count++] = chunk;
        attempt->sealed = stop;
        attempt->next = attempt->next > stop ? attempt->next : stop;
        add_to_head(log_.last, at, lines(chunk.count, chunk.bytes), log_.limit, log_.short_bytes);
    }
    if (fits && to > attempt->next) {
        attempt->live_bytes += bytes_of(attempt->serial, attempt->next, to, 0);
        attempt->next = to;
    }
    if (fits) {
        log_.ended = log_.ended || end;
        keep_to_limit(limit);
    }
    expect(&answer, fits ? TY_OK : TY_EPRECONDITION);
}

static void do_delete(void)
{
    char key[64], *at = key;
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &log_.id), TY_APPLY_DELETED);
    log_.deleted = true;
    at += sprintf(at, "{");
    for (size_t i = 0; i < sizeof log_.id.bytes; i++)
        at += sprintf(at, "%02x", log_.id.bytes[i]);
    sprintf(at, "}:l");
    STATE_UNTIL(&client, !strcmp(STATE_RAW(&client, NULL, "HGET", key, "x").text, "deleted"));
}

static void do_restart(void)
{
    redis_server_kill(server);
    STATE_UNTIL(&client, !client.up);
    redis_server_start(server);
    STATE_UNTIL(&client, client.up && ty_redis_is_up(client.redis));
}

// ---- reading ----

struct item {
    uint32_t attempt;
    uint64_t sequence, missing;
};

static struct item items[200000];
static size_t item_count;

static void add_item(uint32_t attempt, uint64_t sequence, uint64_t missing)
{
    assert_true(item_count < sizeof items / sizeof *items);
    items[item_count++] = (struct item){attempt, sequence, missing};
}

// What there is to read from this place on, by the model.
static void list_items(uint32_t from, uint64_t sequence)
{
    item_count = 0;
    for (uint32_t a = from ? from : 1; a <= log_.last && !log_.deleted; a++) {
        const struct attempt *attempt = &log_.attempts[a];
        uint64_t at = a == from ? sequence : 0, gap = at;
        for (size_t i = 0; i < attempt->chunk_count; i++) {
            const struct chunk *chunk = &attempt->chunks[i];
            uint64_t stop = chunk->first + chunk->count;
            if (chunk->dropped || stop <= at)
                continue;
            if (gap < chunk->first)
                add_item(a, gap, chunk->first - gap);
            for (uint64_t n = at > chunk->first ? at : chunk->first; n < stop; n++)
                add_item(a, n, 0);
            gap = stop;
        }
        if (gap < attempt->sealed)
            add_item(a, gap, attempt->sealed - gap);
        for (uint64_t n = at > attempt->sealed ? at : attempt->sealed; n < attempt->next; n++)
            add_item(a, n, 0);
        if (a < log_.last && attempt->late > attempt->next && (a != from || sequence <= attempt->next))
            add_item(a, attempt->next, attempt->late - attempt->next);
    }
}

struct reading {
    bool done, more;
    unsigned max_entries;
    size_t max_bytes, at;
    uint32_t attempt;
    uint64_t sequence;
};

static void check_entry(const struct reading *reading, const struct ty_log_run *run, size_t place, const struct ty_bytes *entry)
{
    const struct item *item = &items[reading->at];
    char text[128];
    if (reading->at >= item_count || item->attempt != run->attempt || item->sequence != run->sequence + place ||
        item->missing != run->missing)
        fail_msg("read %u/%" PRIu64 " (%" PRIu64 " missing), the model has %u/%" PRIu64 " (%" PRIu64 ")", run->attempt,
                 run->sequence + place, run->missing, item->attempt, item->sequence, item->missing);
    if (run->missing)
        return;
    size_t len = text_of(log_.attempts[item->attempt].serial, item->sequence, text);
    assert_int_equal(entry->len, len);
    assert_memory_equal(entry->data, text, len);
}

static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct reading *reading = context;
    if (err)
        fail_msg("%s", err->message);
    size_t bytes = 0, n = 0;
    for (size_t i = 0; i < page->run_count; i++)
        for (size_t j = 0; j < page->runs[i].count; j++, n++, reading->at++) {
            check_entry(reading, &page->runs[i], j, &page->entries[n]);
            bytes += page->entries[n].len;
        }
    assert_int_equal(n, page->count);
    assert_true(page->count <= reading->max_entries);
    assert_true(page->count <= 1 || bytes <= reading->max_bytes);
    assert_true(page->count > 0 || !page->more);
    assert_true(page->ended == (log_.ended && !log_.deleted));
    reading->more = page->more;
    reading->attempt = page->next_attempt;
    reading->sequence = page->next_sequence;
    reading->done = true;
}

static void compare(void)
{
    struct reading reading = {.more = true, .max_entries = 1 + below(300), .max_bytes = 1 + below(by_chance(50) ? 300 : 30000)};
    if (by_chance(60) && log_.last && !log_.deleted) {
        reading.attempt = 1 + below(log_.last);
        reading.sequence = below((unsigned)log_.attempts[reading.attempt].next + 1);
    }
    list_items(reading.attempt, reading.sequence);
    while (reading.more) {
        reading.done = false;
        ty_state_log_page(client.state, &log_.id, reading.attempt, reading.sequence, reading.max_entries, reading.max_bytes, on_page,
                          &reading);
        STATE_UNTIL(&client, reading.done);
    }
    if (reading.at != item_count)
        fail_msg("%zu were read, the model has %zu", reading.at, item_count);
}

// ---- the walk ----

static void begin_log(void)
{
    memset(&log_, 0, sizeof log_);
    log_.id = ty_id_new();
    log_.fence = 1000;
    log_.limit = by_chance(25) ? 0 : 400 + below(20000);
    state_submit(&client, &log_.id, NULL);
}

static void step(void)
{
    unsigned what = below(1000);
    if (what < 80 || !log_.last)
        do_open();
    else if (what < 120)
        do_stale();
    else if (what < 480)
        do_entries(by_chance(3));
    else if (what < 960)
        do_chunks(by_chance(3));
    else if (what < 962 && !log_.deleted)
        do_delete();
    else if (what < 964)
        do_restart();
    if (by_chance(2)) // the organization's logs take too much, or no longer
        log_.short_bytes = log_.short_bytes ? 0 : 300 + below(2000);
    if (by_chance(12))
        compare();
}

static void logs_are_what_the_model_says(void **state)
{
    const char *events = getenv("TRAINYARD_WALK_EVENTS"), *wanted = getenv("TRAINYARD_WALK_SEED");
    size_t count = events ? strtoul(events, NULL, 10) : EVENTS;
    (void)state;
    seed = wanted ? (unsigned)strtoul(wanted, NULL, 10) : (unsigned)ty_clock_wall_us();
    print_message("seed %u\n", seed);
    for (size_t i = 0; i < count; i++) {
        if (i % LOG_EVENTS == 0)
            begin_log();
        step();
        if (i % LOG_EVENTS == LOG_EVENTS - 1)
            compare();
    }
}

static int set_up(void **state)
{
    (void)state;
    server = redis_server_new(&(struct redis_server_options){.appendonly = true});
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(logs_are_what_the_model_says)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
