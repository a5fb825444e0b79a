// The outbox: every change stands in it until Kafka has it, and what became of an attempt stands when it does.
#include <inttypes.h>
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
#include "core/state_outbox.h"
#include "tests/integration/state_client.h"

#define TOPIC "events"
#define PARTITIONS 2
#define LEASE_MS 60000u

static struct redis_server *server;
static struct state_client client;

// ---- calls that wait ----

struct view {
    bool done, is_ours;
    enum ty_code code;
    uint64_t stamp_us;
    int64_t marks[PARTITIONS];
    size_t null_count, job_count;
    struct ty_id nulls[STATE_JOBS_MAX];
    struct ty_outbox_job jobs[STATE_JOBS_MAX]; // without what their records borrow
};

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct view *view = context;
    view->done = true;
    view->code = err ? err->code : TY_OK;
    if (err || !outbox->is_ours)
        return;
    view->is_ours = true;
    view->stamp_us = outbox->stamp_us;
    assert_int_equal(outbox->mark_count, PARTITIONS);
    memcpy(view->marks, outbox->marks, sizeof view->marks);
    assert_true(outbox->job_count <= STATE_JOBS_MAX && outbox->null_count <= STATE_JOBS_MAX);
    view->null_count = outbox->null_count;
    memcpy(view->nulls, outbox->nulls, outbox->null_count * sizeof *outbox->nulls);
    view->job_count = outbox->job_count;
    memcpy(view->jobs, outbox->jobs, outbox->job_count * sizeof *outbox->jobs);
}

static struct view outbox_of(const char *publisher, uint32_t lease_ms)
{
    struct view view = {0};
    ty_state_outbox(client.state, 0, publisher, lease_ms, STATE_JOBS_MAX, TOPIC, PARTITIONS, on_outbox, &view);
    STATE_UNTIL(&client, view.done);
    assert_int_equal(view.code, TY_OK);
    return view;
}

struct published {
    bool done;
    enum ty_published_result result;
};

static void on_published(void *context, const struct ty_err *err, enum ty_published_result result)
{
    struct published *published = context;
    assert_null(err);
    published->done = true;
    published->result = result;
}

// All of the view, into partition 0, of which `count` records make the next offset.
static enum ty_published_result publish_as(const char *publisher, const struct view *view, int64_t count)
{
    struct published published = {0};
    int64_t from = view->marks[0] < 0 ? 0 : view->marks[0];
    struct ty_event_mark mark = {.partition = 0, .expected = view->marks[0], .next = from + count};
    ty_state_published(client.state, 0,
                       &(struct ty_published){.name = publisher, .topic = TOPIC, .stamp_us = view->stamp_us, .marks = &mark,
                                              .mark_count = 1, .jobs = view->jobs, .job_count = view->job_count,
                                              .nulls = view->nulls, .null_count = view->null_count},
                       on_published, &published);
    STATE_UNTIL(&client, published.done);
    return published.result;
}

static void publish_all(void)
{
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(publish_as("p", &view, (int64_t)view.job_count), TY_PUBLISHED);
    assert_int_equal(outbox_of("p", LEASE_MS).job_count, 0);
}

struct settled {
    bool done;
    int result;
};

static void on_settled(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct settled *settled = context;
    assert_null(err);
    assert_int_equal(count, 1);
    settled->done = true;
    settled->result = results[0];
}

static int settled(const struct state_claim *claim, bool is_given_back)
{
    struct settled answer = {0};
    struct ty_settling attempt = {.id = claim->id, .token = claim->token, .attempt = claim->attempt, .fence = claim->fence,
                                  .is_given_back = is_given_back};
    ty_state_settled(client.state, 0, &attempt, 1, on_settled, &answer);
    STATE_UNTIL(&client, answer.done);
    return answer.result;
}

static struct ty_id submit(void)
{
    struct ty_id id = ty_id_new();
    assert_int_equal(state_submit(&client, &id, &(struct state_job){0}), TY_APPLIED);
    return id;
}

// ---- what stands in it ----

static void every_change_stands_in_it_once(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.job_count, 1);
    assert_true(ty_id_equal(&view.jobs[0].id, &id));
    assert_true(view.jobs[0].is_ok);
    assert_int_equal(view.jobs[0].record.state, TY_JOB_PENDING);
    assert_int_equal(view.marks[0], -1);
    publish_all();
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_renew(&client, &claim, TY_STAGE_TRAIN);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLIED);
    view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.job_count, 1); // three changes, one event with the whole history
    assert_int_equal(view.jobs[0].record.state, TY_JOB_CANCELING);
    assert_int_equal(view.marks[0], 1);
    state_finish(&client, &claim, TY_FINISH_CANCELED, TY_REASON_CANCELED);
    // It changed since it was read: Kafka has what was read, and the rest is still to come.
    assert_int_equal(publish_as("p", &view, 1), TY_PUBLISHED);
    view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.job_count, 1);
    assert_int_equal(view.jobs[0].record.state, TY_JOB_CANCELED);
    assert_int_equal(view.marks[0], 2);
    publish_all();
    // What changes nothing makes no event: a heartbeat, a cancel of what has ended, the same submit.
    state_renew(&client, &claim, TY_STAGE_TRAIN);
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &id), TY_APPLY_NOOP);
    assert_int_equal(state_submit(&client, &id, &(struct state_job){.created_us = 1}), TY_APPLY_DUPLICATE);
    assert_int_equal(outbox_of("p", LEASE_MS).job_count, 0);
}

static void submits_of_every_kind_are_in_it(void **state)
{
    struct ty_id canceled = ty_id_new(), deleted = ty_id_new(), refused = ty_id_new(), plain = ty_id_new();
    (void)state;
    assert_int_equal(state_control(&client, TY_COMMAND_CANCEL, &canceled), TY_APPLY_TOMBSTONE);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &deleted), TY_APPLY_TOMBSTONE);
    assert_int_equal(outbox_of("p", LEASE_MS).job_count, 0); // what was asked of nothing is in the commands
    state_submit(&client, &canceled, &(struct state_job){0});
    state_submit(&client, &deleted, &(struct state_job){0});
    state_submit(&client, &refused, &(struct state_job){.refused = true});
    state_submit(&client, &plain, &(struct state_job){0});
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.job_count, 3);
    unsigned states = 0;
    for (size_t i = 0; i < view.job_count; i++)
        states |= 1u << view.jobs[i].record.state;
    assert_int_equal(states, 1u << TY_JOB_CANCELED | 1u << TY_JOB_FAILED | 1u << TY_JOB_PENDING);
    publish_all();
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &plain), TY_APPLY_DELETED);
    publish_all();
}

static void a_deletion_is_an_event_above_all_before(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct view before = outbox_of("p", LEASE_MS);
    publish_all();
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.job_count, 1);
    assert_int_equal(view.jobs[0].record.state, TY_JOB_TOMBSTONE);
    assert_true(view.jobs[0].record.flags & TY_FLAG_DELETE);
    assert_true(view.jobs[0].record.version > before.jobs[0].record.version + 1); // canceled, then deleted
    assert_int_equal(view.null_count, 0);
    assert_int_equal(STATE_RAW(&client, &id, "PTTL", "{ty:0}:j:%").integer, -1);
    publish_all();
    // Its null record is due when the tombstone goes.
    assert_in_range(STATE_RAW(&client, &id, "PTTL", "{ty:0}:j:%").integer, 3500000, 3600000);
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:x", "XX", "1", "%");
    view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.null_count, 1);
    assert_true(ty_id_equal(&view.nulls[0], &id));
    assert_int_equal(publish_as("p", &view, 1), TY_PUBLISHED);
    assert_int_equal(outbox_of("p", LEASE_MS).null_count, 0);
}

// Kafka was away for longer than a tombstone lives.
static void a_deletion_waits_for_kafka_however_long(void **state)
{
    struct ty_id id = submit();
    (void)state;
    publish_all();
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:x", "XX", "1", "%");
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_NOOP);
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLY_NOOP);
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.null_count, 0); // not before the event
    assert_int_equal(view.job_count, 1);
    assert_true(view.jobs[0].record.version > 1);
    assert_int_equal(publish_as("p", &view, 1), TY_PUBLISHED);
    assert_int_equal(STATE_RAW(&client, &id, "EXISTS", "{ty:0}:j:%").integer, 0);
    view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.null_count, 1);
    assert_int_equal(view.job_count, 0);
    assert_int_equal(publish_as("p", &view, 1), TY_PUBLISHED);
    assert_int_equal(outbox_of("p", LEASE_MS).null_count, 0);
}

// A null record is on its way while the id is used anew and deleted again: that deletion has a null record of its own.
static void a_null_record_is_not_taken_for_the_next_one(void **state)
{
    struct ty_id id = submit();
    (void)state;
    state_control(&client, TY_COMMAND_DELETE, &id);
    publish_all();
    STATE_RAW(&client, &id, "DEL", "{ty:0}:j:%");
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:x", "XX", "1", "%");
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.null_count, 1);
    assert_int_equal(state_submit(&client, &id, NULL), TY_APPLIED);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    assert_int_equal(publish_as("p", &view, 1), TY_PUBLISHED);
    assert_int_equal(STATE_RAW(&client, &id, "ZSCORE", "{ty:0}:x", "%").type, TY_REDIS_BYTES);
    assert_int_equal(STATE_RAW(&client, &id, "EXISTS", "{ty:0}:j:%").integer, 1);
    publish_all();
}

// The tombstone has passed and somebody submits under the same idempotency key: what Kafka keeps last must be the new job.
static void an_id_that_comes_anew_has_its_event_after_the_null_record(void **state)
{
    struct ty_id id = submit();
    (void)state;
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    publish_all();
    STATE_RAW(&client, &id, "DEL", "{ty:0}:j:%");
    assert_int_equal(state_submit(&client, &id, &(struct state_job){0}), TY_APPLIED);
    publish_all(); // too early, below the versions before
    STATE_RAW(&client, &id, "ZADD", "{ty:0}:x", "XX", "1", "%");
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.null_count, 1);
    assert_int_equal(view.job_count, 1);
    assert_true(ty_id_equal(&view.jobs[0].id, &id));
    assert_int_equal(view.jobs[0].record.state, TY_JOB_PENDING);
    assert_int_equal(publish_as("p", &view, 2), TY_PUBLISHED);
    view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.null_count + view.job_count, 0);
    assert_int_equal(state_control(&client, TY_COMMAND_DELETE, &id), TY_APPLY_DELETED);
    publish_all();
}

// ---- who may publish, and to which store ----

static void one_publisher_at_a_time(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct view mine = outbox_of("p", LEASE_MS);
    assert_false(outbox_of("q", LEASE_MS).is_ours);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p");
    struct view other = outbox_of("q", LEASE_MS);
    assert_true(other.is_ours);
    assert_int_equal(publish_as("p", &mine, 1), TY_PUBLISHED_LOST);
    assert_int_equal(outbox_of("q", LEASE_MS).job_count, 1);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p");
    state_control(&client, TY_COMMAND_DELETE, &id);
    publish_all();
}

static void a_store_that_went_back_is_not_told(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct view first = outbox_of("p", LEASE_MS), second = outbox_of("p", LEASE_MS);
    // The stamp is not the last one: as after a restored snapshot.
    assert_int_equal(publish_as("p", &first, 1), TY_PUBLISHED_GAP);
    // The mark is not the one that was read.
    second.marks[0] += 5;
    assert_int_equal(publish_as("p", &second, 1), TY_PUBLISHED_GAP);
    // The same version, but another change: it stays in the outbox.
    second = outbox_of("p", LEASE_MS);
    second.jobs[0].change[15] ^= 1;
    assert_int_equal(publish_as("p", &second, 1), TY_PUBLISHED);
    struct view view = outbox_of("p", LEASE_MS);
    assert_int_equal(view.job_count, 1);
    assert_true(ty_id_equal(&view.jobs[0].id, &id));
    state_control(&client, TY_COMMAND_DELETE, &id);
    publish_all();
}

static void what_is_no_record_is_said_and_can_be_passed(void **state)
{
    struct ty_id id = submit(), gone = submit();
    (void)state;
    STATE_RAW(&client, &id, "SETRANGE", "{ty:0}:j:%", "0", "\xff");
    struct ty_id poisoned = ty_id_new();
    STATE_RAW(&client, &poisoned, "SET", "{ty:0}:j:%", "short");
    STATE_RAW(&client, &poisoned, "ZADD", "{ty:0}:o", "2", "%");
    STATE_RAW(&client, &gone, "DEL", "{ty:0}:j:%");
    struct view view = outbox_of("p", LEASE_MS);
    assert_true(view.job_count >= 1);
    for (size_t i = 0; i < view.job_count; i++)
        if (ty_id_equal(&view.jobs[i].id, &poisoned))
            assert_false(view.jobs[i].is_ok);
        else
            assert_false(ty_id_equal(&view.jobs[i].id, &gone));
    STATE_RAW(&client, &id, "SETRANGE", "{ty:0}:j:%", "0", "\x01");
    STATE_RAW(&client, &gone, "ZREM", "{ty:0}:o", "%");
    state_control(&client, TY_COMMAND_DELETE, &id);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:o");
}

// ---- the store made again ----

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    assert_null(err);
    assert_true(is_ours);
    assert_int_equal(changed, 1);
    *(bool *)context = true;
}

static void on_replayed(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing)
{
    (void)missing;
    assert_null(err);
    assert_int_equal(result, TY_REPLAYED);
    *(bool *)context = true;
}

static uint64_t fact(const char *name)
{
    struct state_raw raw = STATE_RAW(&client, NULL, "HGET", "{ty:0}:m", name);
    return raw.type == TY_REDIS_BYTES ? strtoull(raw.text, NULL, 10) : 0;
}

static void replayed(const char *publisher)
{
    bool done = false;
    ty_state_replayed(client.state, 0, publisher, LEASE_MS, TOPIC, NULL, 0, NULL, 0, on_replayed, &done);
    STATE_UNTIL(&client, done);
}

// An organization that may have no more jobs running is parked; that the events take one of them away puts it back, as an end does.
static void a_job_that_the_events_take_away_makes_room(void **state)
{
    struct ty_apply limit = {.kind = TY_APPLY_RULE, .organization_id = "limit/few", .record = "1", .record_len = 1};
    struct ty_id ids[2] = {ty_id_new(), ty_id_new()};
    struct ty_token tokens[3] = {ty_token_new(), ty_token_new(), ty_token_new()};
    struct state_claim claims[2];
    bool done = false;
    (void)state;
    outbox_of("p", LEASE_MS);
    state_apply(&client, &limit, 1, NULL);
    for (int i = 0; i < 2; i++)
        state_submit(&client, &ids[i], &(struct state_job){.organization = "few"});
    assert_int_equal(state_claim(&client, 0, &tokens[0], 2, STATE_LEASE_MS, claims), 1);
    assert_int_equal(state_claim(&client, 0, &tokens[1], 2, STATE_LEASE_MS, &claims[1]), 0);
    struct ty_restore deletion = {.id = claims[0].id, .is_deleted = true, .version = 100};
    ty_state_restore(client.state, 0, "p", TOPIC, 0, NULL, 0, &deletion, 1, on_restored, &done);
    STATE_UNTIL(&client, done);
    assert_int_equal(state_claim(&client, 0, &tokens[2], 2, STATE_LEASE_MS, &claims[1]), 1);
    assert_false(ty_id_equal(&claims[0].id, &claims[1].id));
    state_finish(&client, &claims[1], TY_FINISH_COMPLETED, TY_REASON_NONE);
    limit.record_len = 0;
    state_apply(&client, &limit, 1, NULL);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "changed");
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p", "{ty:0}:w", "{ty:0}:o", "{ty:0}:x");
}

// A publisher dies between the last piece that it has restored and the word that all is there: the next one has nothing to
// restore, and readers must see another epoch all the same.
static void a_replay_that_dies_before_its_end_is_ended_by_the_next(void **state)
{
    struct ty_id id = ty_id_new();
    struct ty_event_mark mark = {.partition = 0, .expected = -1, .next = 1000};
    struct ty_restore deletion = {.id = id, .is_deleted = true, .version = 7};
    uint64_t epoch = fact("epoch");
    bool done = false;
    (void)state;
    outbox_of("p", LEASE_MS);
    replayed("p"); // nothing was restored
    assert_int_equal(fact("epoch"), epoch);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "grace_until");
    ty_state_restore(client.state, 0, "p", TOPIC, 0, &mark, 1, &deletion, 1, on_restored, &done);
    STATE_UNTIL(&client, done);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p"); // its lease passes
    assert_int_equal(outbox_of("q", LEASE_MS).marks[0], 1000);
    replayed("q");
    assert_int_equal(fact("epoch"), epoch + 1);
    assert_true(fact("grace_until") > ty_clock_wall_us());
    replayed("q"); // once
    assert_int_equal(fact("epoch"), epoch + 1);
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p", "{ty:0}:w");
}

// The store was brought back, and only then a submit of before is read again: whoever has run the job has a lease to say so.
static void a_submit_that_comes_late_waits_for_who_may_have_run_it(void **state)
{
    struct ty_id late = ty_id_new(), later = ty_id_new();
    struct state_claim known = {.id = late, .attempt = 1};
    char back_at[24];
    (void)state;
    outbox_of("p", LEASE_MS);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:w", "events/0", "1");
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    replayed("p");
    uint64_t back_us = fact("back_at") - UINT64_C(2000) * LEASE_MS; // that was two leases ago
    snprintf(back_at, sizeof back_at, "%" PRIu64, back_us);
    STATE_RAW(&client, NULL, "HSET", "{ty:0}:m", "back_at", back_at);
    uint64_t before_us = ty_clock_wall_us();
    assert_int_equal(state_submit(&client, &late, &(struct state_job){.created_us = back_us - 1}), TY_APPLIED);
    uint64_t due_us = strtoull(STATE_RAW(&client, &late, "ZSCORE", "{ty:0}:d", "%").text, NULL, 10);
    assert_true(due_us >= before_us + UINT64_C(1000) * LEASE_MS);
    assert_int_equal(settled(&known, false), TY_SETTLED_TELL_AGAIN);
    assert_int_equal(state_submit(&client, &later, &(struct state_job){.created_us = back_us}), TY_APPLIED);
    state_claim_one(&client, &later, LEASE_MS); // and nothing else
    state_control(&client, TY_COMMAND_DELETE, &late);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "back_at", "back_lease");
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p", "{ty:0}:w", "{ty:0}:o", "{ty:0}:l", "{ty:0}:d");
}

// A lost store gets a cancel again before the events bring its job: it counts when it is of the job's organization, or of any.
static void what_was_asked_of_a_restored_job_counts_by_organization(void **state)
{
    static const char *const askers[] = {"acme", "rival", NULL};
    (void)state;
    outbox_of("p", LEASE_MS);
    for (size_t i = 0; i < 3; i++) {
        struct ty_id id = ty_id_new();
        TY_BUF(record);
        bool done = false;
        struct ty_apply cancel = {.kind = TY_COMMAND_CANCEL, .job_id = id, .organization_id = askers[i]};
        assert_int_equal(state_apply(&client, &cancel, 1, NULL).results[0], TY_APPLY_TOMBSTONE);
        state_record(&client, &id, &(struct state_job){.organization = NULL}, &record);
        struct ty_restore job = {.id = id, .version = 1, .record = record.data, .record_len = record.len};
        ty_state_restore(client.state, 0, "p", TOPIC, 0, NULL, 0, &job, 1, on_restored, &done);
        STATE_UNTIL(&client, done);
        assert_int_equal(state_get(&client, &id).state == TY_JOB_PENDING, i == 1);
        state_control(&client, TY_COMMAND_DELETE, &id);
    }
    replayed("p");
    STATE_RAW(&client, NULL, "DEL", "{ty:0}:p", "{ty:0}:w", "{ty:0}:o");
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "back_at"); // a lease has passed since
}

// ---- what stands ----

static void an_end_stands_when_kafka_has_it(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    assert_int_equal(settled(&claim, false), TY_SETTLED_TELL_AGAIN); // nothing was told yet
    state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE);
    assert_int_equal(settled(&claim, false), TY_SETTLED_NOT_YET);
    publish_all();
    assert_int_equal(settled(&claim, false), TY_SETTLED);
    state_control(&client, TY_COMMAND_DELETE, &id);
    assert_int_equal(settled(&claim, false), TY_SETTLED_NOT_YET);
    publish_all();
    assert_int_equal(settled(&claim, false), TY_SETTLED);
}

static void who_gave_back_waits_for_kafka_or_the_next(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_finish(&client, &claim, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK);
    assert_int_equal(settled(&claim, true), TY_SETTLED_NOT_YET);
    struct state_claim next = state_claim_one(&client, &id, STATE_LEASE_MS);
    assert_int_equal(settled(&claim, true), TY_SETTLED);
    state_finish(&client, &next, TY_FINISH_HAND_BACK, TY_REASON_HANDED_BACK);
    publish_all();
    assert_int_equal(settled(&next, true), TY_SETTLED);
    state_control(&client, TY_COMMAND_DELETE, &id);
    publish_all();
}

static void an_end_that_another_took_over_waits_for_that_one(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_lose(&client, &claim);
    struct state_claim next = state_claim_one(&client, &id, STATE_LEASE_MS);
    publish_all();
    assert_int_equal(settled(&claim, false), TY_SETTLED_NOT_YET);
    state_finish(&client, &next, TY_FINISH_FAILED, TY_REASON_SCRIPT_EXIT);
    assert_int_equal(settled(&claim, false), TY_SETTLED_NOT_YET);
    publish_all();
    assert_int_equal(settled(&claim, false), TY_SETTLED_OTHER);
    struct state_claim unknown = {.id = ty_id_new(), .attempt = 1};
    assert_int_equal(settled(&unknown, false), TY_SETTLED_NOT_YET); // its submit will be replayed
}

static void without_a_publisher_nobody_waits(void **state)
{
    struct ty_id id = submit();
    (void)state;
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE);
    assert_int_equal(settled(&claim, false), TY_SETTLED_NOT_YET);
    STATE_RAW(&client, NULL, "HDEL", "{ty:0}:m", "read");
    assert_int_equal(settled(&claim, false), TY_SETTLED);
    publish_all();
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
        cmocka_unit_test(every_change_stands_in_it_once),
        cmocka_unit_test(submits_of_every_kind_are_in_it),
        cmocka_unit_test(a_deletion_is_an_event_above_all_before),
        cmocka_unit_test(a_deletion_waits_for_kafka_however_long),
        cmocka_unit_test(a_null_record_is_not_taken_for_the_next_one),
        cmocka_unit_test(an_id_that_comes_anew_has_its_event_after_the_null_record),
        cmocka_unit_test(one_publisher_at_a_time),
        cmocka_unit_test(a_store_that_went_back_is_not_told),
        cmocka_unit_test(what_is_no_record_is_said_and_can_be_passed),
        cmocka_unit_test(a_job_that_the_events_take_away_makes_room),
        cmocka_unit_test(a_replay_that_dies_before_its_end_is_ended_by_the_next),
        cmocka_unit_test(a_submit_that_comes_late_waits_for_who_may_have_run_it),
        cmocka_unit_test(what_was_asked_of_a_restored_job_counts_by_organization),
        cmocka_unit_test(an_end_stands_when_kafka_has_it),
        cmocka_unit_test(who_gave_back_waits_for_kafka_or_the_next),
        cmocka_unit_test(an_end_that_another_took_over_waits_for_that_one),
        cmocka_unit_test(without_a_publisher_nobody_waits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
