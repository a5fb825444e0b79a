// Commands on the job store: any order gives the same end, watermarks find gaps, and a store that does not fit is refused.
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

static int run_command(char letter, const struct ty_id *id)
{
    static const struct state_job refused = {.refused = true};
    switch (letter) {
    case 'S': return state_submit(&client, id, NULL);
    case 'R': return state_submit(&client, id, &refused);
    case 'C': return state_control(&client, TY_COMMAND_CANCEL, id);
    default: return state_control(&client, TY_COMMAND_DELETE, id);
    }
}

// ---- orders ----

// What a set of commands comes to, in any order and any number of times.
static void check_end(const char *commands, const struct ty_id *id)
{
    struct state_view view = state_get(&client, id);
    bool submitted = strpbrk(commands, "SR");
    if (view.found != (submitted && !strchr(commands, 'D')))
        fail_msg("%s: the job is %s", commands, view.found ? "there" : "not there");
    enum ty_job_state wanted = strchr(commands, 'R') ? TY_JOB_FAILED : strchr(commands, 'C') ? TY_JOB_CANCELED : TY_JOB_PENDING;
    if (view.found && view.state != wanted)
        fail_msg("%s: the job is %s", commands, ty_state_name(view.state));
    state_check(&client, id, "acme");
}

static void try_all(char *commands, size_t len, size_t max, const char *letters)
{
    struct ty_id id = ty_id_new();
    commands[len] = 0;
    for (size_t i = 0; i < len; i++)
        run_command(commands[i], &id);
    check_end(commands, &id);
    state_control(&client, TY_COMMAND_DELETE, &id); // nothing is left to claim
    for (const char *letter = letters; len < max && *letter; letter++) {
        commands[len] = *letter;
        try_all(commands, len + 1, max, letters);
        commands[len] = 0;
    }
}

static void any_order_gives_the_same_end(void **state)
{
    char commands[8];
    (void)state;
    try_all(commands, 0, 5, "SCD");
    try_all(commands, 0, 4, "RCD");
}

// ---- commands that are for the jobs of one organization ----

// S: submit of acme; c, d: cancel and delete that acme may ask for; x, y: the same by another organization; C: cancel of any job.
static int run_asked(char letter, const struct ty_id *id)
{
    bool is_delete = letter == 'd' || letter == 'y';
    struct ty_apply command = {.kind = is_delete ? TY_COMMAND_DELETE : TY_COMMAND_CANCEL, .job_id = *id,
                               .organization_id = letter == 'C' ? NULL : letter == 'c' || letter == 'd' ? "acme" : "rival"};
    if (letter == 'S')
        return state_submit(&client, id, NULL);
    struct state_applied applied = state_apply(&client, &command, 1, NULL);
    assert_int_equal(applied.code, TY_OK);
    return applied.results[0];
}

static void try_asked(char *commands, size_t len, size_t max)
{
    struct ty_id id = ty_id_new();
    commands[len] = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_there = state_get(&client, &id).found;
        int result = run_asked(commands[i], &id);
        if (is_there && (commands[i] == 'x' || commands[i] == 'y') && result != TY_APPLY_FOREIGN)
            fail_msg("%s: command %zu of another organization is answered with %d", commands, i, result);
    }
    struct state_view view = state_get(&client, &id);
    bool wanted = strchr(commands, 'S') && !strchr(commands, 'd');
    if (view.found != wanted)
        fail_msg("%s: the job is %s", commands, view.found ? "there" : "not there");
    enum ty_job_state end = strpbrk(commands, "cC") ? TY_JOB_CANCELED : TY_JOB_PENDING;
    if (view.found && view.state != end)
        fail_msg("%s: the job is %s", commands, ty_state_name(view.state));
    state_check(&client, &id, "acme");
    state_control(&client, TY_COMMAND_DELETE, &id); // nothing is left to claim
    for (const char *letter = "ScdxyC"; len < max && *letter; letter++) {
        commands[len] = *letter;
        try_asked(commands, len + 1, max);
        commands[len] = 0;
    }
}

static void what_another_organization_asks_counts_in_no_order(void **state)
{
    char commands[8];
    (void)state;
    try_asked(commands, 0, 4);
}

static void a_tombstone_remembers_a_bounded_number_of_organizations(void **state)
{
    struct ty_id id = ty_id_new();
    char name[16];
    (void)state;
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof name, "org-%d", i);
        struct ty_apply cancel = {.kind = TY_COMMAND_CANCEL, .job_id = id, .organization_id = name};
        assert_int_equal(state_apply(&client, &cancel, 1, NULL).results[0], i < 8 ? TY_APPLY_TOMBSTONE : TY_APPLY_FOREIGN);
        if (i < 8)
            assert_int_equal(state_apply(&client, &cancel, 1, NULL).results[0], TY_APPLY_NOOP);
    }
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLY_TOMBSTONE); // of any job: there is always room
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_CANCELED);
    state_control(&client, TY_COMMAND_DELETE, &id);
}

// ---- answers ----

static void each_command_says_what_it_did(void **state)
{
    // Commands on a fresh id, as letters with the answer each should give. K: claim it, F: its attempt completes.
    static const char *const cases[] = {
        "S1 S2 C1 C4 S2 C4 D6 D4 S4 C4", // canceled while pending, deleted, and nothing brings it back
        "S1 D6 S4", "D5 D4 C4 S4",       // deleted while pending; before its submit
        "C5 C4 S1 C4 S2 D6",             // canceled before its submit
        "C5 D5 D4 S4",                   // more is asked of a tombstone
        "S1 K C1 C4 S2 D1 D4 F5 S4",     // canceled, then deleted, while it runs
        "S1 K D1 D4 C4 F5 D4",           // deleted while it runs: gone when it ends
        "S1 K F1 C4 S2 D6",              // ended
        "R1 R2 C4 D6 R4", "C5 R1 C4 D6", // refused submits
        "S1 R2 S2",                      // the same body, refused by somebody with other rules
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ty_id id = ty_id_new();
        struct state_claim claim = {0};
        for (const char *at = cases[i]; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
            if (*at == 'K') {
                claim = state_claim_one(&client, &id, STATE_LEASE_MS);
                continue;
            }
            int answer = *at == 'F' ? state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE) : run_command(*at, &id);
            if (answer != at[1] - '0')
                fail_msg("%s: at \"%.2s\" the answer was %d", cases[i], at, answer);
        }
        state_check(&client, &id, "acme");
        state_control(&client, TY_COMMAND_DELETE, &id); // nothing is left to claim
    }
}

static void another_body_under_an_id_changes_nothing(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    struct state_view before = state_get(&client, &id);
    assert_int_equal(state_submit(&client, &id, &(struct state_job){.model_name = "other"}), TY_APPLY_CONFLICT);
    struct state_view after = state_get(&client, &id);
    assert_memory_equal(&before, &after, sizeof before);
    state_control(&client, TY_COMMAND_DELETE, &id);
}

static void tombstones_do_not_stay_for_ever(void **state)
{
    struct ty_id early = ty_id_new(), deleted = ty_id_new();
    (void)state;
    state_control(&client, TY_COMMAND_CANCEL, &early);
    state_submit(&client, &deleted, NULL);
    state_control(&client, TY_COMMAND_DELETE, &deleted);
    assert_in_range(STATE_RAW(&client, &early, "PTTL", "{ty:0}:j:%").integer, 3500000, 3600000);
    // A deletion that Kafka does not know yet is known to nobody else (core_state_outbox_test has when it expires).
    assert_int_equal(STATE_RAW(&client, &deleted, "PTTL", "{ty:0}:j:%").integer, -1);
    // The submit of a canceled job stays.
    state_submit(&client, &early, NULL);
    assert_int_equal(STATE_RAW(&client, &early, "PTTL", "{ty:0}:j:%").integer, -1);
}

static void deletion_takes_the_logs_of_all_attempts_along(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    state_submit(&client, &id, NULL);
    for (int attempt = 1; attempt <= 3; attempt++) {
        struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
        assert_int_equal(state_log_open(&client, &claim, 0).code, TY_OK);
        assert_int_equal(state_log_append(&client, &claim, 0, 3, true).next, 3);
        assert_int_equal(state_finish(&client, &claim, attempt < 3 ? TY_FINISH_HAND_BACK : TY_FINISH_COMPLETED, TY_REASON_NONE),
                         TY_FINISHED);
    }
    assert_int_equal(state_page(&client, &id, 0, 0, 64, 1 << 20).count, 9);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    uint64_t until = ty_clock_mono_ms() + 60000; // nobody waits for it, but the same connection asks behind it
    struct state_page page = state_page(&client, &id, 0, 0, 64, 1 << 20);
    assert_true(ty_clock_mono_ms() < until);
    assert_int_equal(page.count, 0);
    assert_false(page.ended);
}

static void pushed_words_name_the_job(void **state)
{
    struct ty_id id = ty_id_new();
    (void)state;
    state_client_listen(&client);
    state_submit(&client, &id, NULL);
    STATE_UNTIL(&client, client.readies > 0);
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_control(&client, TY_COMMAND_CANCEL, &id);
    STATE_UNTIL(&client, client.cancels > 0);
    assert_true(ty_id_equal(&client.cancel, &id));
    unsigned readies = client.readies;
    state_submit(&client, &(struct ty_id){{9}}, NULL);
    state_control(&client, TY_COMMAND_DELETE, &(struct ty_id){{9}});
    STATE_UNTIL(&client, client.readies > readies);
    state_finish(&client, &claim, TY_FINISH_CANCELED, TY_REASON_CANCELED);
}

// ---- watermarks ----

static struct state_applied mark(const char *topic, int32_t partition, int64_t expected, int64_t next, const struct ty_id *id)
{
    struct ty_watermark watermark = {topic, partition, expected, next};
    struct ty_apply command = {.kind = TY_COMMAND_CANCEL};
    if (id)
        command.job_id = *id;
    struct state_applied applied = state_apply(&client, &command, id ? 1 : 0, &watermark);
    assert_int_equal(applied.code, TY_OK);
    return applied;
}

static void watermarks_find_gaps(void **state)
{
    struct ty_id id = ty_id_new();
    bool changed;
    (void)state;
    assert_true(mark("cancel", 3, 0, 5, NULL).gap); // nobody has taken the partition up: the incarnation is not known
    assert_int_equal(state_attach(&client, "cluster-1", "cancel", 3, &changed), 0);
    assert_false(changed);
    assert_false(mark("cancel", 3, 0, 5, NULL).gap); // records of no effect move it, too
    assert_int_equal(state_attach(&client, "cluster-1", "cancel", 3, &changed), 5);
    struct state_applied applied = mark("cancel", 3, 6, 7, &id);
    assert_true(applied.gap);
    assert_int_equal(applied.stored, 5);
    assert_int_equal(STATE_RAW(&client, &id, "EXISTS", "{ty:0}:j:%").integer, 0); // nothing was applied
    applied = mark("cancel", 3, 5, 7, &id);
    assert_false(applied.gap);
    assert_int_equal(applied.results[0], TY_APPLY_TOMBSTONE);
    // A replay is applied, and moves nothing back.
    applied = mark("cancel", 3, 0, 1, &id);
    assert_false(applied.gap);
    assert_int_equal(applied.results[0], TY_APPLY_NOOP);
    assert_int_equal(state_attach(&client, "cluster-1", "cancel", 3, NULL), 7);
    assert_int_equal(state_attach(&client, "cluster-1", "cancel", 2, NULL), 0); // each partition has its own
    assert_int_equal(state_attach(&client, "cluster-1", "delete", 3, NULL), 0);
}

static void another_kafka_drops_the_watermarks(void **state)
{
    bool changed;
    (void)state;
    state_attach(&client, "cluster-1", "submit", 0, NULL);
    mark("submit", 0, 0, 9, NULL);
    assert_int_equal(state_attach(&client, "cluster-2", "submit", 0, &changed), 0);
    assert_true(changed);
    assert_int_equal(state_attach(&client, "cluster-2", "submit", 0, &changed), 0);
    assert_false(changed);
    assert_false(mark("submit", 0, 0, 3, NULL).gap);
}

static void a_store_that_was_emptied_answers_gap(void **state)
{
    (void)state;
    assert_int_equal(state_attach(&client, "cluster-2", "delete", 1, NULL), 0);
    assert_false(mark("delete", 1, 0, 4, NULL).gap);
    STATE_RAW(&client, NULL, "FLUSHALL");
    struct state_applied applied = mark("delete", 1, 4, 5, NULL);
    assert_true(applied.gap);
    assert_int_equal(applied.stored, 0);
    // Another intake takes it up anew; ours still believes in the old store.
    struct state_client other;
    state_client_open(&other, server, 1);
    assert_int_equal(state_attach(&other, "cluster-2", "delete", 1, NULL), 0);
    state_client_close(&other);
    assert_true(mark("delete", 1, 0, 1, NULL).gap);
    assert_int_equal(state_attach(&client, "cluster-2", "delete", 1, NULL), 0);
    assert_false(mark("delete", 1, 0, 1, NULL).gap);
}

// ---- batches ----

// A batch is written at once where all is new. One that has an id twice, or one that is known, gives the same as one by one.
static void a_batch_of_submits_may_hold_anything(void **state)
{
    enum { OTHERS = 58, COUNT = 64 };
    struct ty_apply commands[COUNT];
    struct ty_buf records[COUNT] = {0};
    char organizations[COUNT][16];
    int wanted[COUNT];
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    struct ty_id known = ty_id_new(), twice = ty_id_new(), canceled = ty_id_new(), deleted = ty_id_new();
    assert_int_equal(state_submit(&client, &known, NULL), TY_APPLIED);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &canceled), TY_APPLY_TOMBSTONE);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &deleted), TY_APPLY_TOMBSTONE);
    const struct {
        struct ty_id id;
        const char *model_name;
        int result;
    } first[COUNT - OTHERS] = {{known, NULL, TY_APPLY_DUPLICATE},   {twice, NULL, TY_APPLIED},
                               {twice, NULL, TY_APPLY_DUPLICATE},   {twice, "other", TY_APPLY_CONFLICT},
                               {canceled, NULL, TY_APPLIED},        {deleted, NULL, TY_APPLY_NOOP}};
    for (size_t i = 0; i < COUNT; i++) {
        bool special = i < COUNT - OTHERS;
        // The others have an organization each: more indexes than one part of a call takes.
        snprintf(organizations[i], sizeof organizations[i], special ? "acme" : "org-%zu", i);
        struct ty_id id = special ? first[i].id : ty_id_new();
        struct state_job job = {.organization = organizations[i], .model_name = special ? first[i].model_name : NULL};
        state_record(&client, &id, &job, &records[i]);
        wanted[i] = special ? first[i].result : TY_APPLIED;
        commands[i] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = id, .record = records[i].data,
                                        .record_len = records[i].len, .organization_id = organizations[i]};
    }
    struct state_applied applied = state_apply(&client, commands, COUNT, NULL);
    assert_int_equal(applied.code, TY_OK);
    assert_int_equal(applied.count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        if (applied.results[i] != wanted[i])
            fail_msg("command %zu: %d, not %d", i, applied.results[i], wanted[i]);
        state_check(&client, &commands[i].job_id, organizations[i]);
        ty_buf_done(&records[i]);
    }
    assert_int_equal(state_get(&client, &canceled).state, TY_JOB_CANCELED);
    for (size_t i = COUNT - OTHERS; i < COUNT; i++)
        assert_int_equal(state_get(&client, &commands[i].job_id).version, 1);
}

// ---- shards ----

static void batches_cross_shards(void **state)
{
    struct state_client wide;
    struct ty_apply commands[32];
    unsigned shards[4] = {0};
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    state_client_open(&wide, server, 4);
    for (size_t i = 0; i < 32; i++) {
        commands[i] = (struct ty_apply){.kind = i % 3 ? TY_COMMAND_CANCEL : TY_COMMAND_DELETE, .job_id = ty_id_new()};
        commands[i].job_id.bytes[15] = (uint8_t)i;
        shards[ty_state_shard_of(wide.state, &commands[i].job_id)]++;
    }
    for (unsigned shard = 0; shard < 4; shard++)
        assert_int_equal(shards[shard], 8);
    assert_int_equal(state_attach(&wide, "c", "cancel", 0, NULL), 0);
    struct ty_watermark watermark = {"cancel", 0, 0, 32};
    struct state_applied applied = state_apply(&wide, commands, 32, &watermark);
    assert_false(applied.gap);
    assert_int_equal(applied.count, 32);
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(applied.results[i], TY_APPLY_TOMBSTONE);
    assert_int_equal(state_attach(&wide, "c", "cancel", 0, NULL), 32);
    // One shard that lags is where all go on from.
    STATE_RAW(&wide, NULL, "HSET", "{ty:2}:w", "cancel/0", "30");
    assert_int_equal(state_attach(&wide, "c", "cancel", 0, NULL), 30);
    watermark = (struct ty_watermark){"cancel", 0, 32, 33};
    applied = state_apply(&wide, NULL, 0, &watermark);
    assert_true(applied.gap);
    assert_int_equal(applied.stored, 30);
    // A shard that was taken up, or went back, gives no job away before its events were looked at. Then jobs live, are claimed
    // and end in their own shards.
    for (unsigned i = 0; i < 4; i++) {
        struct ty_id id = ty_id_new();
        struct ty_token token = ty_token_new();
        struct state_claim none;
        id.bytes[15] = (uint8_t)i;
        char *meta TY_FREE = ty_xasprintf("{ty:%u}:m", ty_state_shard_of(wide.state, &id));
        assert_string_equal(STATE_RAW(&wide, NULL, "HGET", meta, "replay").text, "needed");
        assert_int_equal(state_claim(&wide, ty_state_shard_of(wide.state, &id), &token, 1, STATE_LEASE_MS, &none), 0);
        STATE_RAW(&wide, NULL, "HSET", meta, "replay", "done");
        assert_int_equal(state_submit(&wide, &id, NULL), TY_APPLIED);
        state_check(&wide, &id, "acme");
        struct state_claim claim = state_claim_one(&wide, &id, STATE_LEASE_MS);
        assert_int_equal(state_list(&wide, ty_state_shard_of(wide.state, &id), "acme", 0, NULL, 10).count, 1);
        assert_int_equal(state_finish(&wide, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
        state_check(&wide, &id, "acme");
    }
    state_client_close(&wide);
}

static void a_store_of_another_shape_is_refused_once(void **state)
{
    static const unsigned cases[][2] = {{1, 4}, {4, 1}, {4, 2}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct state_client maker, other;
        STATE_RAW(&client, NULL, "FLUSHALL");
        state_client_open(&maker, server, cases[i][0]);
        state_client_open_only(&other, server, cases[i][1]);
        STATE_UNTIL(&other, other.reports > 0);
        // Whatever is still to be said has been said when these have been answered.
        STATE_UNTIL(&other, ty_redis_is_up(other.redis));
        for (int n = 0; n < 10; n++)
            STATE_RAW(&other, NULL, "PING");
        struct ty_id nobody = ty_id_new();
        state_get(&other, &nobody);
        assert_false(other.up);
        assert_int_equal(other.reports, 1);
        assert_int_equal(other.down.code, TY_EPRECONDITION);
        // The misfit leaves nothing behind that would make the store unfit for the right ones.
        if (cases[i][0] == 1)
            assert_int_equal(STATE_RAW(&other, NULL, "EXISTS", "{ty:3}:m").integer, 0);
        state_client_close(&other);
        state_client_close(&maker);
        state_client_open(&maker, server, cases[i][0]);
        state_client_close(&maker);
    }
}

// Jobs that are written into a replica are gone with its next word from the master.
static void a_replica_is_refused_at_the_start(void **state)
{
    struct state_client early, late;
    struct redis_server *replica = redis_server_new(NULL);
    (void)state;
    redis_server_start(replica);
    state_client_open(&late, replica, 1);
    assert_string_equal(redis_server_ask(replica, "REPLICAOF 127.0.0.1 1"), "+OK\r\n");
    for (int i = 0; i < 2; i++) { // one that takes no writes, and one that does
        state_client_open_only(&early, replica, 1);
        STATE_UNTIL(&early, early.reports > 0);
        assert_false(early.up);
        assert_int_equal(early.down.code, TY_EPRECONDITION);
        assert_non_null(strstr(early.down.message, "replica"));
        state_client_close(&early);
        STATE_RAW(&late, NULL, "CONFIG", "SET", "replica-read-only", "no");
    }
    // One that was up before waits: its Redis was taken over from, and may come back.
    STATE_RAW(&late, NULL, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no");
    STATE_UNTIL(&late, late.down.code != TY_OK && strstr(late.down.message, "replica"));
    assert_int_equal(late.down.code, TY_EUNAVAILABLE);
    assert_string_equal(redis_server_ask(replica, "REPLICAOF NO ONE"), "+OK\r\n");
    STATE_UNTIL(&late, late.up);
    state_client_close(&late);
    redis_server_free(replica);
}

static void a_store_that_may_not_write_for_a_while_is_asked_again(void **state)
{
    (void)state;
    for (unsigned shards = 1; shards <= 4; shards += 3) {
        struct state_client other;
        STATE_RAW(&client, NULL, "FLUSHALL");
        // As with a full disk: connections stand, and scripts that write are refused.
        assert_string_equal(STATE_RAW(&client, NULL, "CONFIG", "SET", "min-replicas-to-write", "1").text, "OK");
        state_client_open_only(&other, server, shards);
        STATE_UNTIL(&other, other.reports > 0);
        assert_false(other.up);
        assert_int_equal(other.down.code, TY_EUNAVAILABLE);
        assert_non_null(strstr(other.down.message, "NOREPLICAS"));
        STATE_RAW(&client, NULL, "CONFIG", "SET", "min-replicas-to-write", "0");
        STATE_UNTIL(&other, other.up);
        assert_int_equal(other.reports, 2);
        state_client_close(&other);
    }
}

static void a_full_store_still_cancels_and_ends_jobs(void **state)
{
    struct ty_id running = ty_id_new(), waiting = ty_id_new(), late = ty_id_new();
    TY_BUF(record);
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    state_submit(&client, &running, NULL);
    struct state_claim claim = state_claim_one(&client, &running, STATE_LEASE_MS);
    assert_int_equal(state_log_open(&client, &claim, 0).code, TY_OK);
    state_submit(&client, &waiting, NULL);
    assert_string_equal(STATE_RAW(&client, NULL, "CONFIG", "SET", "maxmemory", "1").text, "OK");
    state_record(&client, &late, &(struct state_job){0}, &record);
    struct ty_apply submit = {.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = late, .record = record.data, .record_len = record.len,
                              .organization_id = "acme"};
    assert_int_equal(state_apply(&client, &submit, 1, NULL).code, TY_EEXHAUSTED);
    assert_false(state_get(&client, &late).found);
    assert_int_equal(state_log_append(&client, &claim, 0, 1, false).code, TY_EEXHAUSTED);
    assert_int_equal(state_renew(&client, &claim, TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &waiting), TY_APPLIED);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &waiting), TY_APPLY_DELETED);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(state_reclaim(&client, 0, 1), 0);
    STATE_RAW(&client, NULL, "CONFIG", "SET", "maxmemory", "0");
    assert_int_equal(state_submit(&client, &late, NULL), TY_APPLIED);
    state_check(&client, &running, "acme");
    state_control(&client, TY_COMMAND_DELETE, &late);
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
        cmocka_unit_test(any_order_gives_the_same_end),
        cmocka_unit_test(what_another_organization_asks_counts_in_no_order),
        cmocka_unit_test(a_tombstone_remembers_a_bounded_number_of_organizations),
        cmocka_unit_test(each_command_says_what_it_did),
        cmocka_unit_test(another_body_under_an_id_changes_nothing),
        cmocka_unit_test(tombstones_do_not_stay_for_ever),
        cmocka_unit_test(deletion_takes_the_logs_of_all_attempts_along),
        cmocka_unit_test(watermarks_find_gaps),
        cmocka_unit_test(another_kafka_drops_the_watermarks),
        cmocka_unit_test(a_store_that_was_emptied_answers_gap),
        cmocka_unit_test(a_full_store_still_cancels_and_ends_jobs),
        cmocka_unit_test(a_batch_of_submits_may_hold_anything),
        cmocka_unit_test(batches_cross_shards),
        cmocka_unit_test(a_store_of_another_shape_is_refused_once),
        cmocka_unit_test(a_replica_is_refused_at_the_start),
        cmocka_unit_test(a_store_that_may_not_write_for_a_while_is_asked_again),
        cmocka_unit_test(pushed_words_name_the_job),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
