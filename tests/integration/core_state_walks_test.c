// Random walks: events of every kind, late, repeated and out of order, on many jobs of a real store that now and then goes back in
// time. Each answer, and every so often the whole state, must be what the small model of tests/integration/job_model.h says; and
// when jobs are claimed until there is no more, none that may run is left.
// TRAINYARD_WALK_EVENTS: how many; TRAINYARD_WALK_SEED: the seed, which is printed; TRAINYARD_WALK_SHARDS: of the store, of which the
// last one is walked on; TRAINYARD_WALK_BREAK=token: the model ignores tokens, so that the test must fail.
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
#include "tests/integration/state_walk.h"

#define EVENTS 100000
#define ROUND 240          // events on their way at once
#define COMPARE_ROUNDS 8
#define KEPT 128
#define CLAIMS_KEPT 64
#define RESTORE_BATCH 100

static struct redis_server *server;
static struct state_client clients[2];
static struct model snapshot;
static bool has_snapshot;
static struct command latest[MODEL_JOBS]; // submit of each job
static unsigned generations[MODEL_JOBS];
static struct call kept[KEPT];
static unsigned kept_count;
static struct command *commands; // the topic
static size_t command_count, command_cap, position;
static size_t event_first;    // what is before it was freed
static struct reading older;  // one that is told late
static uint64_t restores, rollbacks_made, replays, replays_cut, expiries, held, retired, drains, drained, rules, waits_ended;

// ---- what comes next ----

// That of the job, mostly.
static unsigned some_organization(unsigned job)
{
    return walk_by_chance(80) ? job % MODEL_ORGANIZATIONS : walk_below(MODEL_ORGANIZATIONS);
}

static void append_command(void)
{
    static uint64_t clock_us = UINT64_C(1700000000000000);
    unsigned job = walk_below(MODEL_JOBS);
    const struct model_job *m = &walk.model.jobs[job];
    struct command command = {.job = job, .kind = TY_COMMAND_SUBMIT_CUSTOM, .organization = MODEL_ANY};
    bool is_new = !m->exists || (m->state == TY_JOB_TOMBSTONE && !(m->flags & TY_FLAG_DELETE));
    if (!walk_by_chance(is_new ? 90 : 12))
        command.kind = walk_by_chance(model_is_terminal(m) ? 70 : 25) ? TY_COMMAND_DELETE : TY_COMMAND_CANCEL;
    if (command.kind != TY_COMMAND_SUBMIT_CUSTOM && walk_by_chance(50))
        command.organization = some_organization(job);
    if (command.kind == TY_COMMAND_SUBMIT_CUSTOM && !is_new && latest[job].created_us && walk_by_chance(70)) {
        command = latest[job]; // the same again
    } else {
        command.created_us = clock_us += 1 + walk_below(1000);
        command.priority = walk_by_chance(20) ? walk_below(8) : 0;
        command.submit = (struct model_submit){
            .job = job, .body = ++generations[job], .organization = some_organization(job), .pool = walk_below(MODEL_POOLS),
            .max_attempts = walk_below(5), .is_refused = walk_by_chance(2),
            .wait = walk_by_chance(10) ? MODEL_WAIT_OVER : walk_by_chance(20) ? MODEL_WAIT_LONG : MODEL_WAIT_ANY,
            .ready = (7 - command.priority) * UINT64_C(1000000000000000) + command.created_us - UINT64_C(1577836800000000)};
        if (command.kind == TY_COMMAND_SUBMIT_CUSTOM)
            latest[job] = command;
    }
    if (command_count == command_cap) {
        command_cap = command_cap ? 2 * command_cap : 4096;
        commands = ty_xrealloc(commands, command_cap * sizeof *commands);
    }
    commands[command_count++] = command;
}

static void send_and_keep(const struct call *call)
{
    kept[kept_count++ % KEPT] = *call;
    walk_send(call);
}

// From an offset on, of one kind, as the intake sends them.
static unsigned send_from(size_t from, size_t to)
{
    struct call call = {.kind = APPLY, .is_marked = true, .expected = (int64_t)from};
    for (size_t i = from; i < to && call.count < BATCH; i++) {
        bool is_submit = commands[i].kind == TY_COMMAND_SUBMIT_CUSTOM;
        if (call.count && is_submit != (call.commands[0].kind == TY_COMMAND_SUBMIT_CUSTOM))
            break;
        call.commands[call.count++] = commands[i];
    }
    if (call.count)
        send_and_keep(&call);
    return call.count;
}

static unsigned go_commands(void)
{
    if (walk_by_chance(10) && position > 20) {
        size_t back = position - 1 - walk_below(20);
        return send_from(back, position); // read twice
    }
    if (walk_by_chance(5) && position) { // one more, not from a partition
        struct call call = {.kind = APPLY, .count = 1, .commands = {commands[walk_below((unsigned)position)]}};
        bool is_old = call.commands[0].kind == TY_COMMAND_SUBMIT_CUSTOM &&
                      call.commands[0].submit.body != latest[call.commands[0].job].submit.body;
        if (!is_old)
            send_and_keep(&call);
        return !is_old;
    }
    while (command_count < position + BATCH)
        append_command();
    unsigned count = send_from(position, command_count);
    position += count;
    return count;
}

// A pause or a limit is set, or lifted.
static unsigned go_rule(void)
{
    struct model_rule rule = {.organization = walk_below(MODEL_ORGANIZATIONS + 1), .is_pause = walk_by_chance(40), .limit = walk_below(7)};
    rule.is_lifted = walk_by_chance(!rule.is_pause ? 30 : rule.organization == MODEL_ANY ? 90 : 70);
    struct call call = {.kind = APPLY, .count = 1, .commands = {{.kind = TY_APPLY_RULE, .rule = rule}}};
    send_and_keep(&call);
    rules++;
    return 1;
}

// Of each kind a number of its own, so that a patch that is lost or comes twice is seen.
static struct model_patch some_patch(void)
{
    static uint32_t number;
    struct model_patch patch = {0};
    if (walk_by_chance(60))
        return patch;
    if (walk_by_chance(50)) {
        patch.error = MODEL_ERROR_TOLD;
        patch.error_number = ++number;
    }
    patch.model = walk_by_chance(50) ? ++number : 0;
    patch.version = walk_by_chance(30) ? ++number : 0;
    return patch;
}

static const struct attempt *some_attempt(unsigned *ret_job)
{
    for (int tries = 0; tries < 20; tries++) {
        unsigned job = walk_below(MODEL_JOBS), n = walk.attempt_counts[job];
        if (!n)
            continue;
        unsigned back = walk_by_chance(80) ? 1 : 1 + walk_below(n < ATTEMPTS ? n : ATTEMPTS);
        *ret_job = job;
        return &walk.attempts[job][(n - back) % ATTEMPTS];
    }
    return NULL;
}

static unsigned go_attempts(enum walk_kind kind)
{
    static const char actions[] = {'C', 'C', 'M', 'F', 'X', 'H', 'H', 'R', 'R', 'R'};
    static const enum ty_job_reason reasons[] = {TY_REASON_SCRIPT_EXIT, TY_REASON_WORKER_LOST, TY_REASON_INTERNAL};
    struct call call = {.kind = kind};
    for (unsigned n = 1 + walk_below(BATCH); call.count < n; call.count++) {
        unsigned job = 0;
        const struct attempt *attempt = some_attempt(&job);
        if (!attempt)
            break;
        struct attempt a = *attempt;
        if (walk_by_chance(3))
            walk_draw_bytes(a.token.bytes);
        if (walk_by_chance(2))
            a.attempt += 1 + walk_below(2);
        if (walk_by_chance(2))
            a.fence += walk_below(3) - 1u;
        call.jobs[call.count] = job;
        call.patches[call.count] = some_patch();
        call.renewals[call.count] = (struct ty_renewal){.id = walk.ids[job], .token = a.token, .attempt = a.attempt, .fence = a.fence,
                                                        .lease_ms = LEASE_MS, .stage = (uint8_t)walk_below(6), .worker = "v"};
        enum ty_finish_action action = (enum ty_finish_action)actions[walk_below(sizeof actions)];
        enum ty_job_reason reason = action == TY_FINISH_RETRY || action == TY_FINISH_FAILED ? reasons[walk_below(3)]
                                    : action == TY_FINISH_HAND_BACK                        ? TY_REASON_HANDED_BACK
                                                                                           : TY_REASON_NONE;
        call.finishes[call.count] =
            (struct ty_finish){.id = walk.ids[job], .token = a.token, .attempt = a.attempt, .action = action, .reason = reason};
        call.settlings[call.count] = (struct ty_settling){.id = walk.ids[job], .token = a.token, .attempt = a.attempt, .fence = a.fence,
                                                          .is_given_back = walk_by_chance(50)};
    }
    if (call.count)
        send_and_keep(&call);
    return call.count;
}

static unsigned go_publish(void)
{
    struct call call = {.kind = PUBLISHED, .count = 1};
    bool is_late = walk_by_chance(10) && older.stamp_us;
    if (walk.has_reading || is_late) {
        call.reading = ty_xmalloc(sizeof *call.reading);
        *call.reading = is_late ? older : walk.reading;
        if (!is_late) {
            walk.has_reading = false;
            older = walk.reading;
        }
    } else if (!walk.is_reading) {
        call.kind = OUTBOX;
        call.publisher = walk_by_chance(4) && walk.model.publisher == 0;
        walk.is_reading = true;
    } else {
        return 0;
    }
    walk_send(&call);
    return 1;
}

static unsigned go_claim(bool of_all_pools)
{
    unsigned first = walk_below(MODEL_POOLS);
    struct call call = {.kind = CLAIM, .count = 1 + walk_below(MODEL_CLAIM_JOBS), .pools = {first, 1 - first},
                        .pool_count = of_all_pools || walk_by_chance(50) ? MODEL_POOLS : 1};
    walk_draw_bytes(call.token.bytes);
    send_and_keep(&call);
    if (walk_by_chance(10))
        walk_send(&call);
    return 1;
}

static unsigned go_again(void)
{
    if (!kept_count)
        return 0;
    const struct call *call = &kept[walk_below(kept_count < KEPT ? kept_count : KEPT)];
    if (call->kind == APPLY && call->is_marked && (size_t)call->expected + call->count > position)
        return 0;
    walk_send(call);
    return call->kind == CLAIM ? 1 : call->count;
}

static unsigned go(void)
{
    unsigned chance = walk_below(100);
    return chance < 2 ? go_rule() : chance < 22 ? go_commands() : chance < 40 ? go_claim(false) : chance < 58 ? go_attempts(RENEW)
           : chance < 76 ? go_attempts(FINISH) : chance < 82 ? go_attempts(SETTLED) : chance < 88 ? go_publish() : go_again();
}

// ---- between the rounds ----

static void on_reclaimed(void *context, const struct ty_err *err, unsigned count)
{
    walk_check_no(err);
    *(unsigned *)context = count;
    walk.on_way--;
}

// Ticks until so many leases are taken; where the store waits for its events, one tick that takes none.
static void tick(const unsigned *expired, unsigned count)
{
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    for (;;) {
        unsigned taken = 0;
        walk.on_way++;
        ty_state_reclaim(walk.client->state, walk.shard, 1, on_reclaimed, &taken);
        walk_wait_all();
        bool expires = model_tick(&walk.model, &walk.site);
        if (taken || !count) {
            walk_check(count ? expired[0] : 0, "leases taken", taken, expires ? count : 0);
            break;
        }
        if (ty_clock_mono_ms() > until)
            walk_wrong(expired[0], "its lease is not taken");
    }
    for (unsigned i = 0; i < count; i++) {
        model_expire(&walk.model, &walk.site, expired[i]);
        walk_note(expired[i], "expired");
        expiries++;
    }
}

static bool waits_for_events(void)
{
    return walk.model.must_replay || walk.site.seen_tick[walk.site.client] > walk.model.tick;
}

static void on_retired(void *context, const struct ty_err *err, unsigned removed, unsigned passed)
{
    unsigned *counts = context;
    walk_check_no(err);
    counts[0] = removed;
    counts[1] = passed;
    walk.on_way--;
}

// Some jobs have ended long ago, and the others not.
static void go_sweep(void)
{
    unsigned chosen[8], count = 0, must[2] = {0}, counts[2] = {0};
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    STATE_RAW(walk.client, NULL, "EVAL",
              "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 9e15, m) end return 1", "1",
              walk_key("e"));
    for (unsigned i = 0; i < MODEL_JOBS && count < 8; i++)
        if (model_is_terminal(&walk.model.jobs[i]) && walk_by_chance(10)) {
            STATE_RAW(walk.client, &walk.ids[i], "ZADD", walk_key("e"), "XX", "1", "%");
            chosen[count++] = i;
        }
    bool waits = waits_for_events();
    for (unsigned i = 0; i < count && !waits; i++) {
        bool goes = model_retire(&walk.model, chosen[i]);
        walk_note(chosen[i], "ended long ago: %d", goes);
        must[goes ? 0 : 1]++;
    }
    for (unsigned removed = 0, passed = 0; count;) { // what has ended in this very millisecond is taken in the next
        walk.on_way++;
        ty_state_retire(walk.client->state, walk.shard, 0, on_retired, counts);
        walk_wait_all();
        removed += counts[0];
        passed += counts[1];
        if (removed == must[0] && passed == must[1])
            break;
        if (removed > must[0] || passed > must[1] || ty_clock_mono_ms() > until)
            walk_wrong(chosen[0], "of those that ended long ago %u were removed, %u passed over; the model: %u, %u", removed, passed,
                       must[0], must[1]);
    }
    retired += must[0];
}

#define OVERDUE "return #redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', redis.call('TIME')[1] .. '999999')"

// Ticks until nobody is left that has waited too long.
static void end_waits(void)
{
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    while (!waits_for_events() && STATE_RAW(walk.client, NULL, "EVAL", OVERDUE, "1", walk_key("i")).integer) {
        tick(NULL, 0);
        if (ty_clock_mono_ms() > until)
            fail_msg("seed %" PRIu64 ": jobs wait too long", walk.seed);
    }
    for (unsigned i = 0; i < MODEL_JOBS && !waits_for_events(); i++)
        if (model_is_overdue(&walk.model.jobs[i])) {
            model_end_wait(&walk.model, &walk.site, i);
            walk_note(i, "waited too long");
            waits_ended++;
        }
}

static void go_clock(void)
{
    unsigned expired[16], count = 0;
    // What is in back-off for days is never due by itself, in whatever days those are.
    STATE_RAW(walk.client, NULL, "EVAL",
              "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 9e15, m) end return 1", "1",
              walk_key("d"));
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *job = &walk.model.jobs[i];
        bool has_lease = job->state == TY_JOB_IN_PROGRESS || job->state == TY_JOB_CANCELING;
        if (has_lease && !job->is_held && count < 16 && walk_by_chance(10) && !waits_for_events()) {
            STATE_RAW(walk.client, &walk.ids[i], "ZADD", walk_key("l"), "XX", "1", "%");
            expired[count++] = i;
        } else if (job->in_backoff && walk_by_chance(50)) {
            STATE_RAW(walk.client, &walk.ids[i], "ZADD", walk_key("d"), "XX", "1", "%");
            model_back_off_ends(&walk.model, i);
            walk_note(i, "back-off ends");
        } else if (job->exists && job->state == TY_JOB_TOMBSTONE && !job->in_outbox && walk_by_chance(50)) {
            STATE_RAW(walk.client, &walk.ids[i], "DEL", walk_key("j:%%"));
            STATE_RAW(walk.client, &walk.ids[i], "ZADD", walk_key("x"), "XX", "1", "%");
            model_forget(&walk.model, i);
            walk_note(i, "tombstone expires");
        }
    }
    tick(expired, count);
    end_waits();
}

static void on_held(void *context, const struct ty_err *err, unsigned ended)
{
    walk_check_no(err);
    *(unsigned *)context = ended;
    walk.on_way--;
}

// Of some held jobs the time is over.
static void go_held(void)
{
    unsigned ended = 0, must = 0, first = 0;
    bool waits = waits_for_events() || walk.model.publisher < 0;
    STATE_RAW(walk.client, NULL, "EVAL",
              "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 9e15, m) end return 1", "1",
              walk_key("h"));
    for (unsigned i = 0; i < MODEL_JOBS && !waits; i++)
        if (model_is_disowned(&walk.model.jobs[i])) {
            bool ends = model_end_held(&walk.model, &walk.site, i);
            walk_note(i, "nobody has it: %d", ends);
            first = must ? first : i;
            must += ends;
        } else if (walk.model.jobs[i].is_held && walk_by_chance(50)) {
            STATE_RAW(walk.client, &walk.ids[i], "ZADD", walk_key("h"), "XX", "1", "%");
            model_end_held(&walk.model, &walk.site, i);
            walk_note(i, "nobody had it");
        }
    walk.on_way++;
    ty_state_end_held(walk.client->state, walk.shard, walk_publisher_name(walk.model.publisher == 1), on_held, &ended);
    walk_wait_all();
    walk_check(first, "held jobs ended", ended, must);
    held += must;
}

static void forget_claims(void)
{
    if (walk.model.claim_count <= CLAIMS_KEPT)
        return;
    unsigned old = walk.model.claim_count - CLAIMS_KEPT;
    for (unsigned i = 0; i < old; i++) {
        struct ty_id id;
        memcpy(&id, &walk.model.claims[i].token, sizeof id);
        STATE_RAW(walk.client, &id, "DEL", walk_key("c:%%"));
    }
    memmove(walk.model.claims, walk.model.claims + old, CLAIMS_KEPT * sizeof *walk.model.claims);
    walk.model.claim_count = CLAIMS_KEPT;
}

#define COPY "redis.call('SELECT', KEYS[2]) redis.call('FLUSHDB') redis.call('SELECT', KEYS[1]) " \
    "for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', k, k, 'DB', KEYS[2]) end return 1"

static void take_snapshot(void)
{
    assert_int_equal(STATE_RAW(walk.client, NULL, "EVAL", COPY, "2", "0", "1").integer, 1);
    snapshot = walk.model;
    has_snapshot = true;
    size_t first = walk.model.mark < 0 ? 0 : (size_t)walk.model.mark;
    for (; event_first < first; event_first++)
        ty_buf_done(&walk.events[event_first].record);
}

static void roll_back(void)
{
    assert_int_equal(STATE_RAW(walk.client, NULL, "EVAL", COPY, "2", "1", "0").integer, 1);
    walk.model = snapshot;
    rollbacks_made++;
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        walk_note(i, "the store goes back");
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    walk_check_no(err);
    assert_true(is_ours);
    *(unsigned *)context = changed;
    walk.on_way--;
}

// One reading of the events from the store's mark.
static void restore_from(size_t first)
{
    while (first < walk.event_count) {
        struct ty_restore jobs[RESTORE_BATCH];
        unsigned count = 0, changed = 0, must = 0;
        for (; count < RESTORE_BATCH && first + count < walk.event_count; count++) {
            const struct event *event = &walk.events[first + count];
            jobs[count] = (struct ty_restore){.id = walk.ids[event->job], .is_deleted = event->kind == MODEL_EVENT_DELETED,
                                              .is_null = event->kind == MODEL_EVENT_NULL, .version = event->image.version,
                                              .record = event->record.data, .record_len = event->record.len};
            bool one = model_restore(&walk.model, &walk.site, event->job, event->kind, &event->image);
            walk_note(event->job, "restore %d version %" PRIu64 ": %d", (int)event->kind, event->image.version, one);
            must += one;
        }
        struct ty_event_mark mark = {.partition = 0, .expected = walk.model.mark, .next = (int64_t)(first + count)};
        walk.on_way++;
        ty_state_restore(walk.client->state, walk.shard, walk_publisher_name(walk.model.publisher), EVENTS_TOPIC, 0, &mark, 1, jobs, count, on_restored, &changed);
        walk_wait_all();
        walk_check(walk.events[first].job, "jobs restored", changed, must);
        if (mark.next > walk.model.mark)
            walk.model.mark = mark.next;
        first += count;
        restores += count;
    }
}

static void on_asked(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing)
{
    (void)missing;
    walk_check_no(err);
    *(bool *)context = result == TY_REPLAYED;
    walk.on_way--;
}

static void replay(void)
{
    struct call call = {.kind = OUTBOX, .count = 1, .publisher = walk.model.publisher < 0 ? 0 : walk.model.publisher};
    size_t first = walk.model.mark < 0 ? 0 : (size_t)walk.model.mark;
    bool is_done = false;
    walk.has_reading = false;
    if (walk.model.publisher < 0) { // takes the lease
        walk_send(&call);
        walk_wait_all();
        walk.has_reading = false;
    }
    restore_from(first);
    if (walk_by_chance(30))
        restore_from(first); // read twice
    if (walk_by_chance(20)) { // the publisher dies over it
        replays_cut++;
        return;
    }
    walk.on_way++;
    ty_state_replayed(walk.client->state, walk.shard, walk_publisher_name(walk.model.publisher), 0, EVENTS_TOPIC, NULL, 0, NULL, 0, on_asked, &is_done);
    walk_wait_all();
    assert_true(is_done);
    model_replayed(&walk.model);
    walk.needs_replay = false;
    replays++;
}

// ---- nothing is stuck ----

// Claims until there is no more: then the model, too, says that no job may be taken.
static void drain(void)
{
    do {
        go_claim(true);
        walk_wait_all();
        drained += walk.claimed;
    } while (walk.claimed);
    drains++;
}

static void lift_all_rules(void)
{
    for (unsigned o = 0; o <= MODEL_ORGANIZATIONS; o++)
        for (int is_pause = 0; is_pause < 2; is_pause++) {
            struct model_rule rule = {.organization = o, .is_pause = is_pause, .is_lifted = true};
            walk_send(&(struct call){.kind = APPLY, .count = 1, .commands = {{.kind = TY_APPLY_RULE, .rule = rule}}});
        }
    walk_wait_all();
}

// Every job that is ready and belongs to nobody is claimed in the end.
static void end_well(void)
{
    do { // a claim finds out that the store went back
        if (walk.model.must_replay)
            replay();
        go_claim(true);
        walk_wait_all();
    } while (walk.model.must_replay);
    end_waits();
    lift_all_rules();
    drain();
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        if (walk.model.jobs[i].state == TY_JOB_PENDING && !walk.model.jobs[i].in_backoff && !walk.model.jobs[i].is_held)
            walk_wrong(i, "it is still in its queue");
}

// ---- the walk ----

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

// The other program takes its turn: one makes no back-off, one makes it last days.
static void change_client(void)
{
    walk.site.client = walk_below(2);
    walk.site.backs_off = walk.site.client == 1;
    walk.client = &clients[walk.site.client];
}

static void go_back(void)
{
    roll_back();
    if (walk_by_chance(50)) { // it is noticed before anything else happens
        replay();
        drain();
    }
}

static void one_round(uint64_t number)
{
    change_client();
    for (unsigned sent = 0; sent < ROUND;)
        sent += go();
    walk_wait_all();
    if (walk.has_gap)
        position = walk.gap_at;
    walk.has_gap = false;
    go_clock();
    go_held();
    go_sweep();
    forget_claims();
    if ((walk.model.must_replay || walk.needs_replay) && walk_by_chance(50))
        replay();
    if (walk_by_chance(5))
        drain();
    if (walk_by_chance(12))
        take_snapshot();
    else if (has_snapshot && walk_by_chance(4))
        go_back();
    if (number % COMPARE_ROUNDS == 0)
        walk_compare();
}

static void the_store_does_what_the_model_says(void **state)
{
    uint64_t wanted = number_of("TRAINYARD_WALK_EVENTS", EVENTS), start = ty_clock_mono_ms();
    const char *breaks = getenv("TRAINYARD_WALK_BREAK");
    (void)state;
    walk.seed = number_of("TRAINYARD_WALK_SEED", ty_clock_wall_us());
    walk.random_state = walk.seed;
    walk.site.ignores_tokens = breaks && !strcmp(breaks, "token");
    print_message("TRAINYARD_WALK_SEED=%" PRIu64 " TRAINYARD_WALK_EVENTS=%" PRIu64 "\n", walk.seed, wanted);
    model_init(&walk.model);
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        do
            walk_draw_bytes(walk.ids[i].bytes);
        while (ty_state_shard_of(clients[0].state, &walk.ids[i]) != walk.shard);
    walk.model.must_replay = true; // a new store may be one that was lost
    for (uint64_t number = 1; walk.events_done < wanted; number++)
        one_round(number);
    end_well();
    walk_compare();
    uint64_t ms = ty_clock_mono_ms() - start;
    print_message("%" PRIu64 " events in %" PRIu64 " ms: commands %" PRIu64 ", claims %" PRIu64 ", renewals %" PRIu64 ", ends %" PRIu64
                  ", settled %" PRIu64 ", readings %" PRIu64 ", published %" PRIu64 "\n", walk.events_done, ms, walk.answers[APPLY],
                  walk.answers[CLAIM], walk.answers[RENEW], walk.answers[FINISH], walk.answers[SETTLED], walk.answers[OUTBOX], walk.answers[PUBLISHED]);
    print_message("rollbacks %" PRIu64 ", replays %" PRIu64 " and %" PRIu64 " cut off, of %" PRIu64 " events, leases expired %" PRIu64
                  ", held %" PRIu64 ", retired %" PRIu64 ", waited too long %" PRIu64 "\n", rollbacks_made, replays, replays_cut, restores, expiries, held, retired,
                  waits_ended);
    print_message("rules %" PRIu64 ", drained %" PRIu64 " times, of %" PRIu64 " jobs\n", rules, drains, drained);
    for (int s = TY_JOB_PENDING; s <= TY_JOB_CANCELING; s++)
        if (wanted >= EVENTS && !walk.states[s])
            fail_msg("no job was ever seen in state %d", s);
}

static int set_up(void **state)
{
    uint32_t shards = (uint32_t)number_of("TRAINYARD_WALK_SHARDS", 1);
    struct ty_state_options sites[] = {{.shards = shards, .max_losses = 2, .job_retention_ms = 1},
                                       {.shards = shards, .max_losses = 2, .job_retention_ms = 1, .retry_base_ms = UINT32_MAX, .retry_max_ms = UINT32_MAX}};
    (void)state;
    walk.shard = shards - 1;
    walk.site.max_attempts = 3;
    walk.site.max_losses = 2;
    server = redis_server_new(NULL);
    redis_server_start(server);
    for (int i = 0; i < 2; i++) {
        state_client_open_site(&clients[i], server, &sites[i]);
        state_attach(&clients[i], "kafka", TOPIC, 0, NULL);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        state_client_close(&clients[i]);
    redis_server_free(server);
    for (; event_first < walk.event_count; event_first++)
        ty_buf_done(&walk.events[event_first].record);
    free(walk.events);
    free(commands);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_store_does_what_the_model_says)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
