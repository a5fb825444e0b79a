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
#include "tests/integration/intake_cases.h"

struct intake_broker intake_broker;

static struct intake_rig *new_rig(int partitions)
{
    return intake_rig_new(intake_broker.address, intake_broker.make_topics, intake_broker.broker, partitions);
}

static struct ty_intake_figures figures(const struct intake_rig *rig)
{
    return intake_node_figures(rig, 0);
}

// ---- bad input ----

#define BAD_MAX 16
struct bad {
    const char *topic;
    struct ty_buf value;
    bool is_null, has_key;
    const char *reason; // how it begins
    unsigned letters;   // seen
};
struct bads {
    struct bad items[BAD_MAX];
    size_t count;
    const char *prefix;
};

static struct bad *add_bad(struct bads *bads, const char *topic, const char *reason)
{
    assert_true(bads->count < BAD_MAX);
    struct bad *bad = &bads->items[bads->count++];
    *bad = (struct bad){.topic = topic, .reason = reason, .has_key = true};
    return bad;
}

static void make_bads(struct bads *bads, const struct ty_id *id, const struct ty_id *newer)
{
    struct bad *bad = add_bad(bads, "submit", "value: is empty");
    bad->is_null = true;
    bad->has_key = false;
    add_bad(bads, "submit", "value: is empty")->has_key = false;
    bad = add_bad(bads, "submit", "");
    bad->has_key = false;
    for (uint32_t i = 0, noise = 12345; i < 300; i++, noise = noise * 1664525 + 1013904223)
        ty_buf_add_byte(&bad->value, (uint8_t)(noise >> 24));
    bad = add_bad(bads, "submit", "");
    bad->has_key = false;
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, id, "digits", &bad->value);
    bad->value.len -= 7; // truncated
    bad = add_bad(bads, "submit", "format_version: ");
    bad->has_key = false;
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, newer, "digits", &bad->value);
    ty_buf_add_tag_varint(&bad->value, 1, 77); // the last one of a field counts
    bad = add_bad(bads, "submit", "command: of another kind");
    intake_encode(TY_COMMAND_CANCEL, id, "digits", &bad->value);
    bad = add_bad(bads, "cancel", "command: of another kind");
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, id, "digits", &bad->value);
    bad = add_bad(bads, "cancel", "key: not a job id");
    bad->has_key = false;
    intake_encode(TY_COMMAND_CANCEL, id, "digits", &bad->value);
    bad = add_bad(bads, "delete", "value: is empty");
    bad->is_null = true;
}

static void check_letter(void *context, const rd_kafka_message_t *message)
{
    struct bads *bads = context;
    char topic[128];
    long offset = atol(intake_header(message, "trainyard-origin-offset"));
    assert_int_equal(atol(intake_header(message, "trainyard-origin-partition")), 0);
    assert_int_equal(strlen(intake_header(message, "trainyard-origin-time")), strlen("2026-01-01T00:00:00.000Z"));
    snprintf(topic, sizeof topic, "%s", intake_header(message, "trainyard-origin-topic"));
    assert_string_equal(intake_header(message, "colour"), "blue"); // its own stays
    for (size_t i = 0; i < bads->count; i++) {
        struct bad *bad = &bads->items[i];
        if (strcmp(topic + strlen(bads->prefix), bad->topic) != 0)
            continue;
        // Bad and good ones alternate in each topic.
        long place = 0;
        for (size_t j = 0; j < i; j++)
            place += !strcmp(bads->items[j].topic, bad->topic) ? 2 : 0;
        if (offset != place)
            continue;
        bad->letters++;
        assert_int_equal(message->len, bad->value.len);
        assert_int_equal(message->payload == NULL, bad->is_null);
        assert_memory_equal(message->payload ? message->payload : "", bad->value.data ? (void *)bad->value.data : "",
                            message->len);
        assert_int_equal(message->key_len, bad->has_key ? 36 : 0);
        assert_memory_equal(intake_header(message, "trainyard-origin-reason"), bad->reason, strlen(bad->reason));
        return;
    }
    fail_msg("a letter from %s at %ld", topic, offset);
}

void intake_case_bad_input(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    struct bads bads = {.prefix = rig->prefix};
    struct ty_id id = ty_id_new(), newer = ty_id_new(), good[BAD_MAX];
    char key[TY_ID_TEXT_BYTES];
    make_bads(&bads, &id, &newer);
    for (size_t i = 0; i < bads.count; i++) {
        struct bad *bad = &bads.items[i];
        rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
        rd_kafka_header_add(headers, "colour", -1, "blue", -1);
        intake_produce(rig, bad->topic, 0, bad->has_key ? ty_id_format(&id, key) : NULL, bad->has_key ? 36 : 0,
                       bad->is_null ? NULL : bad->value.data ? (void *)bad->value.data : "", bad->value.len, headers);
        good[i] = ty_id_new();
        intake_send(rig, !strcmp(bad->topic, "cancel")   ? TY_COMMAND_CANCEL
                         : !strcmp(bad->topic, "delete") ? TY_COMMAND_DELETE
                                                         : TY_COMMAND_SUBMIT_CUSTOM, &good[i], 0);
    }
    intake_flush(rig);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).dead_lettered == bads.count && figures(rig).received == 2 * bads.count);
    for (size_t i = 0; i < bads.count; i++)
        if (!strcmp(bads.items[i].topic, "submit"))
            intake_await(rig, &good[i], TY_JOB_PENDING);
    RIG_UNTIL(rig, figures(rig).tombstones == 3);
    assert_int_equal(figures(rig).refused, bads.count);
    // What has no id, is no submit, or is for a newer program leaves no job.
    assert_false(intake_look(rig, &id).found);
    assert_false(intake_look(rig, &newer).found);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_read(rig, "dead-letter", check_letter, &bads), bads.count);
    for (size_t i = 0; i < bads.count; i++) {
        assert_int_equal(bads.items[i].letters, 1);
        ty_buf_done(&bads.items[i].value);
    }
    assert_int_equal(intake_committed(rig, "submit") + intake_committed(rig, "cancel") + intake_committed(rig, "delete"),
                     2 * bads.count);
    intake_rig_free(rig);
}

// A valid command whose key and value have `total` bytes: an unknown field of the envelope fills it up.
static void encode_sized(const struct ty_id *id, size_t total, struct ty_buf *out)
{
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, id, "digits", out);
    size_t left = total - 36 - out->len - 5; // tag of field 999: 2 bytes, length of that size: 3
    uint8_t *padding TY_FREE = ty_xcalloc(1, left);
    ty_buf_add_tag_bytes(out, 999, padding, left);
    assert_int_equal(out->len, total - 36);
}

struct seen {
    size_t count, bytes;
    char stub[8], digest[80], size[32], reason[256];
};

static void see(void *context, const rd_kafka_message_t *message)
{
    struct seen *seen = context;
    seen->count++;
    seen->bytes = message->len;
    snprintf(seen->stub, sizeof seen->stub, "%s", intake_header(message, "trainyard-stub"));
    snprintf(seen->digest, sizeof seen->digest, "%s", intake_header(message, "trainyard-origin-value-sha256"));
    snprintf(seen->size, sizeof seen->size, "%s", intake_header(message, "trainyard-origin-value-bytes"));
    snprintf(seen->reason, sizeof seen->reason, "%s", intake_header(message, "trainyard-origin-reason"));
}

void intake_case_limit(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    size_t limit = TY_LIMIT_COMMAND_BYTES - 128; // what Kafka itself puts around it counts, too
    struct ty_id at = ty_id_new(), over = ty_id_new(), large = ty_id_new(), after = ty_id_new();
    char key[TY_ID_TEXT_BYTES];
    TY_BUF(value);
    encode_sized(&at, intake_broker.takes_over_limit ? TY_LIMIT_COMMAND_BYTES : limit, &value);
    intake_produce(rig, "submit", 0, ty_id_format(&at, key), 36, value.data, value.len, NULL);
    if (intake_broker.takes_over_limit) {
        ty_buf_clear(&value);
        encode_sized(&over, TY_LIMIT_COMMAND_BYTES + 1, &value);
        intake_produce(rig, "submit", 0, ty_id_format(&over, key), 36, value.data, value.len, NULL);
        ty_buf_clear(&value);
        encode_sized(&large, 2 * TY_LIMIT_COMMAND_BYTES, &value);
        intake_produce(rig, "submit", 0, ty_id_format(&large, key), 36, value.data, value.len, NULL);
    }
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &after, 0);
    intake_flush(rig);
    intake_node_start(rig, 0);
    intake_await(rig, &at, TY_JOB_PENDING);
    intake_await(rig, &after, TY_JOB_PENDING);
    if (intake_broker.takes_over_limit) {
        intake_await(rig, &over, TY_JOB_FAILED);
        intake_await(rig, &large, TY_JOB_FAILED);
        assert_non_null(strstr(intake_look(rig, &over).error, "at most 1048576 are allowed"));
        intake_node_stop(rig, 0);
        struct seen seen = {0};
        assert_int_equal(intake_read(rig, "dead-letter", see, &seen), 2);
        assert_string_equal(seen.stub, "1"); // of the large one: it came last
        assert_int_equal(seen.bytes, 64 * 1024);
        assert_int_equal(atol(seen.size), 2 * TY_LIMIT_COMMAND_BYTES - 36);
        assert_int_equal(strlen(seen.digest), 64);
        assert_non_null(strstr(seen.reason, "at most 1048576 are allowed"));
    }
    intake_rig_free(rig);
}

// ---- commands ----

static uint64_t answered(struct ty_intake_figures had)
{
    return had.applied + had.duplicates + had.noops + had.tombstones + had.deleted + had.conflicts;
}

void intake_case_duplicates_and_order(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(2);
    struct ty_id twice = ty_id_new(), canceled = ty_id_new(), deleted = ty_id_new(), other = ty_id_new();
    char key[TY_ID_TEXT_BYTES];
    TY_BUF(value);
    intake_node_start(rig, 0);
    // Cancel and delete come first, and are seen first.
    intake_send(rig, TY_COMMAND_CANCEL, &canceled, -1);
    intake_send(rig, TY_COMMAND_DELETE, &deleted, -1);
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).tombstones == 2);
    for (int i = 0; i < 2; i++) {
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &canceled, -1);
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &deleted, -1);
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &twice, -1);
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &other, -1);
    }
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).received == 10);
    intake_await(rig, &twice, TY_JOB_PENDING);
    intake_await(rig, &canceled, TY_JOB_CANCELED);
    assert_false(intake_look(rig, &deleted).found);
    // Another body under the same id: the first stands, the second can be read in dead-letter.
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, &other, "letters", &value);
    intake_produce(rig, "submit", -1, ty_id_format(&other, key), 36, value.data, value.len, NULL);
    intake_flush(rig);
    RIG_UNTIL(rig, figures(rig).dead_lettered == 1);
    intake_await(rig, &other, TY_JOB_PENDING);
    assert_int_equal(figures(rig).conflicts, 1);
    RIG_UNTIL(rig, answered(figures(rig)) == 11); // what lies in the other partition, too
    assert_true(figures(rig).duplicates >= 3);
    intake_node_stop(rig, 0);
    struct seen seen = {0};
    assert_int_equal(intake_read(rig, "dead-letter", see, &seen), 1);
    assert_non_null(strstr(seen.reason, "the first one stands"));
    assert_int_equal(seen.bytes, value.len);
    assert_int_equal(intake_committed(rig, "submit"), 9);
    intake_rig_free(rig);
}

void intake_case_refused_submit(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(1);
    struct ty_id nameless = ty_id_new(), torn = ty_id_new(), after = ty_id_new();
    char key[TY_ID_TEXT_BYTES];
    TY_BUF(value);
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, &nameless, "", &value);
    intake_produce(rig, "submit", 0, ty_id_format(&nameless, key), 36, value.data, value.len, NULL);
    ty_buf_clear(&value);
    intake_encode(TY_COMMAND_SUBMIT_CUSTOM, &torn, "digits", &value);
    intake_produce(rig, "submit", 0, ty_id_format(&torn, key), 36, value.data, value.len - 3, NULL);
    intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &after, 0);
    intake_flush(rig);
    intake_node_start(rig, 0);
    intake_await(rig, &after, TY_JOB_PENDING);
    struct intake_job job = intake_look(rig, &nameless);
    assert_int_equal(job.state, TY_JOB_FAILED);
    assert_int_equal(job.reason, TY_REASON_REFUSED);
    assert_string_equal(job.error, "model_name is empty");
    job = intake_look(rig, &torn);
    assert_int_equal(job.state, TY_JOB_FAILED);
    assert_true(*job.error != 0);
    assert_int_equal(intake_read(rig, "dead-letter", NULL, NULL), 2);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

// ---- the store ----

#define JOBS 300

void intake_case_redis_emptied(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(4);
    static struct ty_id ids[2 * JOBS];
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    redis_server_kill(rig->redis); // nothing was saved
    intake_send_many(rig, ids + JOBS, JOBS);
    redis_server_start(rig->redis);
    intake_await_all(rig, ids, 2 * JOBS, TY_JOB_PENDING);
    assert_int_equal(figures(rig).conflicts, 0);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), 2 * JOBS);
    intake_rig_free(rig);
}

// The connection stays, nothing new comes: only the store itself can tell.
void intake_case_redis_flushed(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(4);
    static struct ty_id ids[JOBS];
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    assert_string_equal(redis_server_ask(rig->redis, "FLUSHALL"), "+OK\r\n");
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    assert_true(figures(rig).gaps > 0);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

void intake_case_redis_restored(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(4);
    static struct ty_id ids[3 * JOBS];
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    assert_string_equal(redis_server_ask(rig->redis, "SAVE"), "+OK\r\n");
    intake_send_many(rig, ids + JOBS, JOBS);
    intake_await_all(rig, ids + JOBS, JOBS, TY_JOB_PENDING);
    intake_send(rig, TY_COMMAND_CANCEL, &ids[0], -1);
    intake_flush(rig);
    intake_await(rig, &ids[0], TY_JOB_CANCELED);
    redis_server_kill(rig->redis);
    redis_server_start(rig->redis); // with what was saved
    uint64_t before = figures(rig).received;
    intake_await_all(rig, ids + 1, 2 * JOBS - 1, TY_JOB_PENDING);
    intake_await(rig, &ids[0], TY_JOB_CANCELED);
    // Only what is missing comes again.
    assert_true(figures(rig).received - before <= JOBS + 1);
    intake_send_many(rig, ids + 2 * JOBS, JOBS);
    intake_await_all(rig, ids + 2 * JOBS, JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    intake_rig_free(rig);
}

void intake_case_redis_away(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(4);
    static struct ty_id ids[3 * JOBS];
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await(rig, &ids[0], TY_JOB_PENDING);
    redis_server_stop(rig->redis); // in the middle; data are saved
    intake_send_many(rig, ids + JOBS, JOBS);
    redis_server_start(rig->redis);
    intake_await_all(rig, ids, 2 * JOBS, TY_JOB_PENDING);
    // It stands still, and answers after the calls were given up.
    redis_server_pause(rig->redis);
    intake_send_many(rig, ids + 2 * JOBS, JOBS);
    RIG_UNTIL(rig, !rig->nodes[0].is_up);
    redis_server_resume(rig->redis);
    intake_await_all(rig, ids, 3 * JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), 3 * JOBS);
    intake_rig_free(rig);
}

// ---- the intake itself ----

void intake_case_stop_and_start(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(2);
    static struct ty_id ids[3 * JOBS];
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    intake_await_all(rig, ids, JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), JOBS);
    intake_send_many(rig, ids + JOBS, JOBS);
    intake_node_start(rig, 0);
    intake_await_all(rig, ids + JOBS, JOBS, TY_JOB_PENDING);
    assert_int_equal(figures(rig).received, JOBS); // none of the first ones
    // In the middle of its work.
    intake_send_many(rig, ids + 2 * JOBS, JOBS);
    RIG_UNTIL(rig, figures(rig).applied > JOBS);
    struct ty_intake_figures first = figures(rig);
    intake_node_stop(rig, 0);
    assert_true(intake_committed(rig, "submit") >= (int64_t)(JOBS + first.applied));
    intake_node_start(rig, 0);
    intake_await_all(rig, ids, 3 * JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), 3 * JOBS);
    intake_rig_free(rig);
}

void intake_case_killed(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(2);
    static struct ty_id ids[2 * JOBS];
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    RIG_UNTIL(rig, figures(rig).applied > 0);
    intake_node_kill(rig, 0);
    intake_send_many(rig, ids + JOBS, JOBS);
    intake_node_start(rig, 0); // after the session timeout of the one before
    intake_await_all(rig, ids, 2 * JOBS, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), 2 * JOBS);
    intake_rig_free(rig);
}

void intake_case_two_share(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(4);
    static struct ty_id ids[100 * JOBS];
    size_t sent = 0;
    intake_node_start(rig, 0);
    intake_send_many(rig, ids, JOBS);
    sent += JOBS;
    intake_await_all(rig, ids, sent, TY_JOB_PENDING);
    // The second comes while commands flow, until both work: at a pace that leaves it a minute to join the group.
    intake_node_start(rig, 1);
    while (!intake_node_figures(rig, 1).applied) {
        assert_true(sent < 98 * JOBS);
        intake_send_many(rig, ids + sent, 10);
        sent += 10;
        intake_rig_turn_for(rig, 20);
    }
    uint64_t first = intake_node_figures(rig, 0).applied;
    intake_send_many(rig, ids + sent, JOBS);
    sent += JOBS;
    intake_await_all(rig, ids, sent, TY_JOB_PENDING);
    assert_true(intake_node_figures(rig, 0).applied > first);
    // The first goes while commands flow.
    intake_send_many(rig, ids + sent, JOBS);
    sent += JOBS;
    intake_node_stop(rig, 0);
    intake_send_many(rig, ids + sent, JOBS);
    sent += JOBS;
    intake_await_all(rig, ids, sent, TY_JOB_PENDING);
    assert_int_equal(intake_node_figures(rig, 1).conflicts, 0);
    intake_node_stop(rig, 1);
    assert_int_equal(intake_committed(rig, "submit"), sent);
    intake_rig_free(rig);
}

// Far more than the intake holds, from partitions of unequal length, while the store comes and goes.
void intake_case_back_pressure(void **state)
{
    (void)state;
    struct intake_rig *rig = new_rig(3);
    static struct ty_id ids[6000];
    size_t count = sizeof ids / sizeof *ids;
    for (size_t i = 0; i < count; i++) {
        ids[i] = ty_id_new();
        intake_send(rig, TY_COMMAND_SUBMIT_CUSTOM, &ids[i], i % 10 < 8 ? 0 : i % 10 == 8 ? 1 : 2);
    }
    intake_flush(rig);
    intake_node_start(rig, 0);
    RIG_UNTIL(rig, figures(rig).applied > 500);
    redis_server_pause(rig->redis);
    RIG_UNTIL(rig, !rig->nodes[0].is_up);
    redis_server_resume(rig->redis);
    RIG_UNTIL(rig, figures(rig).applied + figures(rig).duplicates >= count);
    intake_await_all(rig, ids, count, TY_JOB_PENDING);
    intake_node_stop(rig, 0);
    assert_int_equal(intake_committed(rig, "submit"), count);
    intake_rig_free(rig);
}
