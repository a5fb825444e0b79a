// Random walks: events of every kind, late, repeated and out of order, on many jobs of a real store that now and then goes back in
// time. Each answer, and every so often the whole state, must be what the small model of tests/integration/job_model.h says.
// TRAINYARD_WALK_EVENTS: how many; TRAINYARD_WALK_SEED: the seed, which is printed; TRAINYARD_WALK_BREAK=token: the model
// ignores tokens, so that the test must fail.
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
#include "core/event.h"
#include "tests/integration/job_model.h"
#include "tests/integration/state_client.h"

#define EVENTS 100000
#define ROUND 240          // events on their way at once
#define COMPARE_ROUNDS 8
#define LEASE_MS 3600000u  // no lease passes by itself
#define ATTEMPTS 4         // remembered of each job
#define HISTORY 30         // events of a job that are told when it is not as it must be
#define LINE 112
#define BATCH 4
#define KEPT 128
#define CLAIMS_KEPT 64
#define RESTORE_BATCH 100
#define TOPIC "commands"
#define EVENTS_TOPIC "events"
#define WAIT_MS 60000

enum kind { APPLY, CLAIM, RENEW, FINISH, SETTLED, OUTBOX, PUBLISHED };

struct command {
    unsigned job;
    enum ty_command_kind kind;
    struct model_submit submit;
    uint64_t created_us;
    uint32_t priority;
};

struct attempt {
    struct ty_token token;
    uint32_t attempt;
    uint64_t fence;
};

// What a publisher read, and told Kafka.
struct reading {
    int publisher;
    uint64_t stamp_us;
    int64_t mark, next;
    size_t count, null_count;
    struct ty_outbox_job jobs[MODEL_JOBS];
    struct model_change changes[MODEL_JOBS];
    struct ty_id null_ids[MODEL_JOBS];
    unsigned nulls[MODEL_JOBS];
};

// One call to the store, with all that makes it, so that it can be made again.
struct call {
    enum kind kind;
    unsigned count;
    unsigned jobs[BATCH];
    struct command commands[BATCH];
    bool is_marked;
    int64_t expected;
    struct ty_token token;
    struct ty_renewal renewals[BATCH];
    struct ty_finish finishes[BATCH];
    struct ty_settling settlings[BATCH];
    int publisher;
    struct reading *reading;
};

struct event {
    unsigned job;
    enum model_event_kind kind;
    struct model_job image;
    struct ty_buf record;
};

static struct redis_server *server;
static struct state_client clients[2];
static struct state_client *client;
static struct model model, snapshot;
static struct model_site site;
static bool has_snapshot, needs_replay;
static struct ty_id ids[MODEL_JOBS];
static struct attempt attempts[MODEL_JOBS][ATTEMPTS];
static unsigned attempt_counts[MODEL_JOBS];
static struct command latest[MODEL_JOBS]; // submit of each job
static unsigned generations[MODEL_JOBS];
static char history[MODEL_JOBS][HISTORY][LINE];
static unsigned told[MODEL_JOBS];
static struct call kept[KEPT];
static unsigned kept_count;
static struct command *commands; // the topic
static size_t command_count, command_cap, position, gap_at;
static bool has_gap;
static struct event *events; // the other topic
static size_t event_count, event_cap, event_first;
static struct reading reading, older; // the latest, and one that is told late
static bool has_reading, is_reading;
static uint64_t seed, random_state, events_done, answers[8], states[8];
static size_t on_way;
static uint64_t restores, rollbacks_made, replays, expiries;

// ---- chance ----

static uint64_t draw(void)
{
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
    return (unsigned)(draw() % n);
}

static bool by_chance(unsigned percent)
{
    return below(100) < percent;
}

static void draw_bytes(uint8_t bytes[16])
{
    uint64_t parts[2] = {draw(), draw() | 1};
    memcpy(bytes, parts, 16);
}

// ---- what is told when something is wrong ----

static void note(unsigned job, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(unsigned job, const char *format, ...)
{
    char *line = history[job][told[job]++ % HISTORY];
    int n = snprintf(line, LINE, "%" PRIu64 " ", events_done);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + n, (size_t)(LINE - n), format, arguments);
    va_end(arguments);
}

static void wrong(unsigned job, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
static void wrong(unsigned job, const char *format, ...)
{
    const struct model_job *m = &model.jobs[job];
    unsigned first = told[job] > HISTORY ? told[job] - HISTORY : 0;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (unsigned i = first; i < told[job]; i++)
        print_message("  %s\n", history[job][i % HISTORY]);
    print_message("  model: exists %d state %d stage %u reason %u flags %u attempt %u losses %u errors %u lease %u version %" PRIu64 "\n",
                  m->exists, (int)m->state, m->stage, m->reason, m->flags, m->attempt, m->losses, m->errors, m->lease_ms, m->version);
    fail_msg("seed %" PRIu64 ", event %" PRIu64 ", job %u: %s", seed, events_done, job, text);
    abort();
}

static void check(unsigned job, const char *what, uint64_t is, uint64_t must)
{
    if (is != must)
        wrong(job, "%s: the store says %" PRIu64 ", the model %" PRIu64, what, is, must);
}

static void check_no(const struct ty_err *err)
{
    if (err)
        fail_msg("seed %" PRIu64 ": %s", seed, err->message);
}

// ---- answers ----

static unsigned job_of(const struct ty_id *id)
{
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        if (ty_id_equal(&ids[i], id))
            return i;
    fail_msg("seed %" PRIu64 ": a job that nobody submitted", seed);
    return 0;
}

static void remember(unsigned job, const struct ty_token *token, uint32_t attempt, uint64_t fence)
{
    attempts[job][attempt_counts[job]++ % ATTEMPTS] = (struct attempt){*token, attempt, fence};
}

static void answered(struct call *call)
{
    unsigned count = call->kind == CLAIM ? 1 : call->count; // a claim of some jobs is one event
    answers[call->kind] += count;
    events_done += count;
    on_way--;
    free(call->reading);
    free(call);
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct call *call = context;
    check_no(err);
    bool may = !call->is_marked || model_advance(&model, call->expected, call->expected + (int64_t)count);
    check(call->jobs[0], "gap", gap, !may);
    if (gap) {
        check(call->jobs[0], "where the store is", (uint64_t)stored, (uint64_t)model.watermark);
        gap_at = (size_t)stored;
        has_gap = true;
    }
    for (size_t i = 0; may && i < count; i++) {
        const struct command *command = &call->commands[i];
        bool is_submit = command->kind == TY_COMMAND_SUBMIT_CUSTOM;
        enum ty_applied must = is_submit ? model_submit(&model, &site, &command->submit)
                                         : model_control(&model, &site, command->job, command->kind == TY_COMMAND_DELETE);
        note(command->job, "%s body %u: %d, model %d", is_submit ? "submit" : command->kind == TY_COMMAND_DELETE ? "delete" : "cancel",
             command->submit.body, results[i], (int)must);
        check(command->job, "a command", (uint64_t)results[i], must);
    }
    answered(call);
}

static void on_claimed(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct call *call = context;
    unsigned must[MODEL_CLAIM_JOBS];
    bool repeated;
    check_no(err);
    unsigned n = model_claim(&model, &site, &call->token, call->count, LEASE_MS, must, &repeated);
    for (unsigned i = 0; i < n; i++)
        note(must[i], "claim%s, model attempt %u", repeated ? " again" : "", model.jobs[must[i]].attempt);
    check(n ? must[0] : count ? job_of(&jobs[0].id) : 0, "jobs claimed", count, n);
    for (unsigned i = 0; i < n; i++) {
        struct model_job *job = &model.jobs[must[i]];
        check(must[i], "which job is claimed", job_of(&jobs[i].id), must[i]);
        check(must[i], "attempt", jobs[i].record.attempt, job->attempt);
        check(must[i], "the token", (uint64_t)memcmp(&jobs[i].record.token, &call->token, 16), 0);
        if (repeated)
            check(must[i], "fence", jobs[i].record.fence, job->fence);
        else if (jobs[i].record.fence <= job->fence)
            wrong(must[i], "the fence does not rise");
        job->fence = jobs[i].record.fence;
        remember(must[i], &call->token, job->attempt, job->fence);
    }
    answered(call);
}

static void on_renewed(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    check_no(err);
    for (size_t i = 0; i < count; i++) {
        enum ty_renewed must = model_renew(&model, &site, call->jobs[i], &call->renewals[i]);
        note(call->jobs[i], "renew attempt %u stage %u: %d, model %d", call->renewals[i].attempt, call->renewals[i].stage,
             results[i], (int)must);
        check(call->jobs[i], "a renewal", (uint64_t)results[i], must);
    }
    answered(call);
}

static void on_finished(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    check_no(err);
    for (size_t i = 0; i < count; i++) {
        enum ty_finished must = model_finish(&model, &site, call->jobs[i], &call->finishes[i]);
        note(call->jobs[i], "finish %c attempt %u reason %d: %d, model %d", (char)call->finishes[i].action,
             call->finishes[i].attempt, (int)call->finishes[i].reason, results[i], (int)must);
        check(call->jobs[i], "an end", (uint64_t)results[i], must);
    }
    answered(call);
}

static void on_settled(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    check_no(err);
    for (size_t i = 0; i < count; i++)
        check(call->jobs[i], "what stands", (uint64_t)results[i], model_settled(&model, &site, call->jobs[i], &call->settlings[i]));
    answered(call);
}

// ---- the events ----

static struct event *append_event(unsigned job, enum model_event_kind kind)
{
    if (event_count == event_cap) {
        event_cap = event_cap ? 2 * event_cap : 1024;
        events = ty_xrealloc(events, event_cap * sizeof *events);
    }
    struct event *event = &events[event_count++];
    *event = (struct event){.job = job, .kind = kind, .image = model.jobs[job]};
    return event;
}

static void write_event(unsigned job, const struct ty_outbox_job *from)
{
    TY_BUF(bytes);
    struct ty_event decoded = {0};
    struct ty_err err;
    assert_true(from->is_ok);
    if (ty_event_encode(&from->record, 1, &bytes, &err) < 0 ||
        ty_event_decode(&ids[job], bytes.data, bytes.len, &decoded, &err) < 0)
        wrong(job, "event: %s", err.message);
    check(job, "version of the event", decoded.version, model.jobs[job].version);
    struct event *event = append_event(job, decoded.is_deleted ? MODEL_EVENT_DELETED : MODEL_EVENT_JOB);
    if (!decoded.is_deleted)
        ty_buf_add(&event->record, decoded.record.data, decoded.record.len);
    ty_event_done(&decoded);
}

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct call *call = context;
    bool is_null[MODEL_JOBS] = {0}, is_there[MODEL_JOBS] = {0};
    check_no(err);
    is_reading = false;
    check(0, "who publishes", outbox->is_ours, model_outbox(&model, call->publisher));
    if (!outbox->is_ours) {
        answered(call);
        return;
    }
    check(0, "mark of the events", (uint64_t)outbox->marks[0], (uint64_t)model.mark);
    check(0, "why to read the events", outbox->replay != TY_REPLAY_NONE, model.must_replay);
    reading = (struct reading){.publisher = call->publisher, .stamp_us = outbox->stamp_us, .mark = outbox->marks[0]};
    for (size_t i = 0; i < outbox->null_count; i++) {
        unsigned job = job_of(&outbox->nulls[i]);
        check(job, "a null record", 1, model.jobs[job].in_nulls);
        is_null[job] = true;
        reading.nulls[reading.null_count] = job;
        reading.null_ids[reading.null_count++] = ids[job];
    }
    model_outbox_read(&model, &site, outbox->stamp_us, is_null);
    for (size_t i = 0; i < outbox->job_count; i++) {
        unsigned job = job_of(&outbox->jobs[i].id);
        is_there[job] = true;
        reading.jobs[i] = outbox->jobs[i];
        reading.changes[i] = (struct model_change){job, model.jobs[job].version, model.jobs[job].stamp};
    }
    reading.count = outbox->job_count;
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        check(i, "in the outbox", is_there[i], model.jobs[i].in_outbox);
    // A publisher that finds Kafka ahead of the store has the events read first.
    int64_t mark = reading.mark < 0 ? 0 : reading.mark;
    if (model.must_replay || (size_t)mark != event_count) {
        needs_replay = true;
    } else {
        for (size_t i = 0; i < reading.null_count; i++)
            append_event(reading.nulls[i], MODEL_EVENT_NULL);
        for (size_t i = 0; i < reading.count; i++)
            write_event(reading.changes[i].job, &outbox->jobs[i]);
        reading.next = (int64_t)event_count;
        has_reading = true;
    }
    answered(call);
}

static void on_published(void *context, const struct ty_err *err, enum ty_published_result result)
{
    struct call *call = context;
    const struct reading *r = call->reading;
    check_no(err);
    check(0, "published", result,
          model_published(&model, r->publisher, r->stamp_us, r->mark, r->next, r->changes, r->count, r->nulls, r->null_count));
    answered(call);
}

// ---- calls ----

static const char *publisher_name(int publisher)
{
    return publisher ? "q" : "p";
}

static void send_commands(struct call *call)
{
    struct ty_apply applies[BATCH];
    struct ty_buf records[BATCH] = {{0}};
    struct ty_watermark mark = {.topic = TOPIC, .expected = call->expected, .next = call->expected + call->count};
    for (unsigned i = 0; i < call->count; i++) {
        const struct command *command = &call->commands[i];
        call->jobs[i] = command->job;
        applies[i] = (struct ty_apply){.kind = command->kind, .job_id = ids[command->job]};
        if (command->kind != TY_COMMAND_SUBMIT_CUSTOM)
            continue;
        char model_name[24];
        snprintf(model_name, sizeof model_name, "m%u", command->submit.body);
        struct state_job job = {.created_us = command->created_us, .priority = command->priority, .model_name = model_name,
                                .max_attempts = command->submit.max_attempts, .refused = command->submit.is_refused};
        state_record(client, &ids[command->job], &job, &records[i]);
        applies[i].record = records[i].data;
        applies[i].record_len = records[i].len;
        applies[i].organization_id = "acme";
    }
    ty_state_apply(client->state, applies, call->count, call->is_marked ? &mark : NULL, on_applied, call);
    for (unsigned i = 0; i < call->count; i++)
        ty_buf_done(&records[i]);
}

static void send_published(struct call *call)
{
    const struct reading *r = call->reading;
    struct ty_event_mark mark = {.partition = 0, .expected = r->mark, .next = r->next};
    struct ty_published published = {.name = publisher_name(r->publisher), .topic = EVENTS_TOPIC, .stamp_us = r->stamp_us,
                                     .marks = &mark, .mark_count = 1, .jobs = r->jobs, .job_count = r->count,
                                     .nulls = r->null_ids, .null_count = r->null_count};
    ty_state_published(client->state, 0, &published, on_published, call);
}

// Makes the call; the copy is freed with its answer.
static void send(const struct call *like)
{
    struct call *call = ty_xmalloc(sizeof *call);
    *call = *like;
    on_way++;
    const char *pools[] = {"no such pool", state_pool(client)};
    switch (call->kind) {
    case APPLY: send_commands(call); break;
    case CLAIM: ty_state_claim(client->state, 0, &call->token, "w", call->count, LEASE_MS, pools, 2, on_claimed, call); break;
    case RENEW: ty_state_renew(client->state, 0, call->renewals, call->count, on_renewed, call); break;
    case FINISH: ty_state_finish(client->state, 0, call->finishes, call->count, on_finished, call); break;
    case SETTLED: ty_state_settled(client->state, 0, call->settlings, call->count, on_settled, call); break;
    case OUTBOX:
        ty_state_outbox(client->state, 0, publisher_name(call->publisher), LEASE_MS, TY_OUTBOX_JOBS_MAX, EVENTS_TOPIC, 1, on_outbox, call);
        break;
    case PUBLISHED: send_published(call); break;
    }
}

static void send_and_keep(const struct call *call)
{
    kept[kept_count++ % KEPT] = *call;
    send(call);
}

static void wait_all(void)
{
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    while (on_way)
        state_client_turn(client, until, "answers");
}

// ---- what comes next ----

static void append_command(void)
{
    static uint64_t clock_us = UINT64_C(1700000000000000);
    unsigned job = below(MODEL_JOBS);
    const struct model_job *m = &model.jobs[job];
    struct command command = {.job = job, .kind = TY_COMMAND_SUBMIT_CUSTOM};
    bool is_new = !m->exists || (m->state == TY_JOB_TOMBSTONE && !(m->flags & TY_FLAG_DELETE));
    if (!by_chance(is_new ? 90 : 12))
        command.kind = by_chance(model_is_terminal(m) ? 70 : 25) ? TY_COMMAND_DELETE : TY_COMMAND_CANCEL;
    if (command.kind == TY_COMMAND_SUBMIT_CUSTOM && !is_new && latest[job].created_us && by_chance(70)) {
        command = latest[job]; // the same again
    } else {
        command.created_us = clock_us += 1 + below(1000);
        command.priority = by_chance(20) ? below(8) : 0;
        command.submit = (struct model_submit){
            .job = job, .body = ++generations[job], .max_attempts = below(5), .is_refused = by_chance(2),
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
    if (by_chance(10) && position > 20) {
        size_t back = position - 1 - below(20);
        return send_from(back, position); // read twice
    }
    if (by_chance(5) && position) { // one more, not from a partition
        struct call call = {.kind = APPLY, .count = 1, .commands = {commands[below((unsigned)position)]}};
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

static const struct attempt *some_attempt(unsigned *ret_job)
{
    for (int tries = 0; tries < 20; tries++) {
        unsigned job = below(MODEL_JOBS), n = attempt_counts[job];
        if (!n)
            continue;
        unsigned back = by_chance(80) ? 1 : 1 + below(n < ATTEMPTS ? n : ATTEMPTS);
        *ret_job = job;
        return &attempts[job][(n - back) % ATTEMPTS];
    }
    return NULL;
}

static unsigned go_attempts(enum kind kind)
{
    static const char actions[] = {'C', 'C', 'M', 'F', 'X', 'H', 'H', 'R', 'R', 'R'};
    static const enum ty_job_reason reasons[] = {TY_REASON_SCRIPT_EXIT, TY_REASON_WORKER_LOST, TY_REASON_INTERNAL};
    struct call call = {.kind = kind};
    for (unsigned n = 1 + below(BATCH); call.count < n; call.count++) {
        unsigned job = 0;
        const struct attempt *attempt = some_attempt(&job);
        if (!attempt)
            break;
        struct attempt a = *attempt;
        if (by_chance(3))
            draw_bytes(a.token.bytes);
        if (by_chance(2))
            a.attempt += 1 + below(2);
        if (by_chance(2))
            a.fence += below(3) - 1u;
        call.jobs[call.count] = job;
        call.renewals[call.count] = (struct ty_renewal){.id = ids[job], .token = a.token, .attempt = a.attempt, .fence = a.fence,
                                                        .lease_ms = LEASE_MS, .stage = (uint8_t)below(6), .worker = "v"};
        enum ty_finish_action action = (enum ty_finish_action)actions[below(sizeof actions)];
        enum ty_job_reason reason = action == TY_FINISH_RETRY || action == TY_FINISH_FAILED ? reasons[below(3)]
                                    : action == TY_FINISH_HAND_BACK                        ? TY_REASON_HANDED_BACK
                                                                                           : TY_REASON_NONE;
        call.finishes[call.count] =
            (struct ty_finish){.id = ids[job], .token = a.token, .attempt = a.attempt, .action = action, .reason = reason};
        call.settlings[call.count] = (struct ty_settling){.id = ids[job], .token = a.token, .attempt = a.attempt, .fence = a.fence,
                                                          .is_given_back = by_chance(50)};
    }
    if (call.count)
        send_and_keep(&call);
    return call.count;
}

static unsigned go_publish(void)
{
    struct call call = {.kind = PUBLISHED, .count = 1};
    bool is_late = by_chance(10) && older.stamp_us;
    if (has_reading || is_late) {
        call.reading = ty_xmalloc(sizeof *call.reading);
        *call.reading = is_late ? older : reading;
        if (!is_late) {
            has_reading = false;
            older = reading;
        }
    } else if (!is_reading) {
        call.kind = OUTBOX;
        call.publisher = by_chance(4) && model.publisher == 0;
        is_reading = true;
    } else {
        return 0;
    }
    send(&call);
    return 1;
}

static unsigned go_claim(void)
{
    struct call call = {.kind = CLAIM, .count = 1 + below(MODEL_CLAIM_JOBS)};
    draw_bytes(call.token.bytes);
    send_and_keep(&call);
    if (by_chance(10))
        send(&call);
    return 1;
}

static unsigned go_again(void)
{
    const struct call *call = &kept[below(kept_count < KEPT ? kept_count : KEPT)];
    if (!kept_count || (call->kind == APPLY && call->is_marked && (size_t)call->expected + call->count > position))
        return 0;
    send(call);
    return call->kind == CLAIM ? 1 : call->count;
}

static unsigned go(void)
{
    unsigned chance = below(100);
    return chance < 22 ? go_commands() : chance < 40 ? go_claim() : chance < 58 ? go_attempts(RENEW)
           : chance < 76 ? go_attempts(FINISH) : chance < 82 ? go_attempts(SETTLED) : chance < 88 ? go_publish() : go_again();
}

// ---- between the rounds ----

static void on_reclaimed(void *context, const struct ty_err *err, unsigned count)
{
    check_no(err);
    *(unsigned *)context = count;
    on_way--;
}

// Ticks until so many leases are taken; where the store waits for its events, one tick that takes none.
static void tick(const unsigned *expired, unsigned count)
{
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    for (;;) {
        unsigned taken = 0;
        on_way++;
        ty_state_reclaim(client->state, 0, 1, on_reclaimed, &taken);
        wait_all();
        bool expires = model_tick(&model, &site);
        if (taken || !count) {
            check(count ? expired[0] : 0, "leases taken", taken, expires ? count : 0);
            break;
        }
        if (ty_clock_mono_ms() > until)
            wrong(expired[0], "its lease is not taken");
    }
    for (unsigned i = 0; i < count; i++) {
        model_expire(&model, &site, expired[i]);
        note(expired[i], "expired");
        expiries++;
    }
}

static bool waits_for_events(void)
{
    return model.must_replay || site.seen_tick[site.client] > model.tick;
}

static void go_clock(void)
{
    unsigned expired[16], count = 0;
    // What is in back-off for days is never due by itself, in whatever days those are.
    STATE_RAW(client, NULL, "EVAL",
              "for _, m in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], 9e15, m) end return 1", "1",
              "{ty:0}:d");
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *job = &model.jobs[i];
        bool has_lease = job->state == TY_JOB_IN_PROGRESS || job->state == TY_JOB_CANCELING;
        if (has_lease && count < 16 && by_chance(10) && !waits_for_events()) {
            STATE_RAW(client, &ids[i], "ZADD", "{ty:0}:l", "XX", "1", "%");
            expired[count++] = i;
        } else if (job->in_backoff && by_chance(50)) {
            STATE_RAW(client, &ids[i], "ZADD", "{ty:0}:d", "XX", "1", "%");
            model_back_off_ends(&model, i);
            note(i, "back-off ends");
        } else if (job->exists && job->state == TY_JOB_TOMBSTONE && !job->in_outbox && by_chance(50)) {
            STATE_RAW(client, &ids[i], "DEL", "{ty:0}:j:%");
            STATE_RAW(client, &ids[i], "ZADD", "{ty:0}:x", "XX", "1", "%");
            model_forget(&model, i);
            note(i, "tombstone expires");
        }
    }
    tick(expired, count);
}

static void forget_claims(void)
{
    if (model.claim_count <= CLAIMS_KEPT)
        return;
    unsigned old = model.claim_count - CLAIMS_KEPT;
    for (unsigned i = 0; i < old; i++) {
        struct ty_id id;
        memcpy(&id, &model.claims[i].token, sizeof id);
        STATE_RAW(client, &id, "DEL", "{ty:0}:c:%");
    }
    memmove(model.claims, model.claims + old, CLAIMS_KEPT * sizeof *model.claims);
    model.claim_count = CLAIMS_KEPT;
}

#define COPY "redis.call('SELECT', KEYS[2]) redis.call('FLUSHDB') redis.call('SELECT', KEYS[1]) " \
    "for _, k in ipairs(redis.call('KEYS', '*')) do redis.call('COPY', k, k, 'DB', KEYS[2]) end return 1"

static void take_snapshot(void)
{
    assert_int_equal(STATE_RAW(client, NULL, "EVAL", COPY, "2", "0", "1").integer, 1);
    snapshot = model;
    has_snapshot = true;
    size_t first = model.mark < 0 ? 0 : (size_t)model.mark;
    for (; event_first < first; event_first++)
        ty_buf_done(&events[event_first].record);
}

static void roll_back(void)
{
    assert_int_equal(STATE_RAW(client, NULL, "EVAL", COPY, "2", "1", "0").integer, 1);
    model = snapshot;
    rollbacks_made++;
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        note(i, "the store goes back");
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    check_no(err);
    assert_true(is_ours);
    *(unsigned *)context = changed;
    on_way--;
}

// One reading of the events from the store's mark; returns whether something was not like that before.
static bool restore_from(size_t first)
{
    bool has_changed = false;
    while (first < event_count) {
        struct ty_restore jobs[RESTORE_BATCH];
        unsigned count = 0, changed = 0, must = 0;
        for (; count < RESTORE_BATCH && first + count < event_count; count++) {
            const struct event *event = &events[first + count];
            jobs[count] = (struct ty_restore){.id = ids[event->job], .is_deleted = event->kind == MODEL_EVENT_DELETED,
                                              .is_null = event->kind == MODEL_EVENT_NULL, .version = event->image.version,
                                              .record = event->record.data, .record_len = event->record.len};
            bool one = model_restore(&model, &site, event->job, event->kind, &event->image);
            note(event->job, "restore %d version %" PRIu64 ": %d", (int)event->kind, event->image.version, one);
            must += one;
        }
        struct ty_event_mark mark = {.partition = 0, .next = (int64_t)(first + count)};
        on_way++;
        ty_state_restore(client->state, 0, publisher_name(model.publisher), EVENTS_TOPIC, &mark, 1, jobs, count, on_restored, &changed);
        wait_all();
        check(events[first].job, "jobs restored", changed, must);
        if (mark.next > model.mark)
            model.mark = mark.next;
        has_changed = has_changed || changed;
        first += count;
        restores += count;
    }
    return has_changed;
}

static void on_asked(void *context, const struct ty_err *err, bool is_done)
{
    check_no(err);
    *(bool *)context = is_done;
    on_way--;
}

static void replay(void)
{
    struct call call = {.kind = OUTBOX, .count = 1, .publisher = model.publisher < 0 ? 0 : model.publisher};
    size_t first = model.mark < 0 ? 0 : (size_t)model.mark;
    bool is_done = false;
    has_reading = false;
    if (model.publisher < 0) { // takes the lease
        send(&call);
        wait_all();
        has_reading = false;
    }
    bool has_changed = restore_from(first);
    if (by_chance(30) && restore_from(first))
        has_changed = true; // read twice
    on_way++;
    ty_state_replayed(client->state, 0, publisher_name(model.publisher), 1, has_changed, on_asked, &is_done);
    wait_all();
    assert_true(is_done);
    model_replayed(&model, has_changed);
    needs_replay = false;
    replays++;
}

// ---- the whole state ----

enum place { QUEUE, BACKOFF, LEASES, OUT, NULLS, UNLINKED, INDEX, PLACES = INDEX + 7 };

static bool places[PLACES][MODEL_JOBS];
static bool is_record[MODEL_JOBS];

static void on_members(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    bool *place = context;
    check_no(err);
    for (size_t i = 0; i < reply->count; i++) {
        struct ty_id id;
        assert_int_equal(reply->items[i].len, sizeof id);
        memcpy(&id, reply->items[i].bytes, sizeof id);
        place[job_of(&id)] = true;
    }
    on_way--;
}

static void check_record(unsigned i, const struct ty_record *r)
{
    const struct model_job *job = &model.jobs[i];
    check(i, "state", r->state, job->state);
    check(i, "stage", r->stage, job->stage);
    check(i, "reason", r->reason, job->reason);
    check(i, "flags", r->flags & ~TY_FLAG_CUSTOM, job->flags & ~TY_FLAG_CUSTOM);
    check(i, "attempt", r->attempt, job->attempt);
    check(i, "losses", r->worker_losses, job->losses);
    check(i, "errors", r->errors, job->errors);
    check(i, "version", r->version, job->version);
    check(i, "has ended", r->ended_us != 0, job->has_ended);
    check(i, "has started", r->started_us != 0, job->has_started);
    if (job->state == TY_JOB_TOMBSTONE)
        return;
    check(i, "lease_ms", r->lease_ms, job->lease_ms);
    check(i, "ready", r->ready, job->ready);
    check(i, "max_attempts", r->max_attempts, job->max_attempts);
    check(i, "fence", r->fence, job->fence);
    check(i, "the token", (uint64_t)memcmp(&r->token, &job->token, 16), 0);
}

static void on_record(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    unsigned i = (unsigned)((bool *)context - is_record);
    struct ty_record record;
    struct ty_err bad;
    check_no(err);
    check(i, "whether it is there", reply->type == TY_REDIS_BYTES, model.jobs[i].exists);
    if (reply->type == TY_REDIS_BYTES) {
        if (ty_record_decode(reply->bytes, reply->len, &record, &bad) < 0)
            wrong(i, "%s", bad.message);
        check_record(i, &record);
    }
    on_way--;
}

static void ask_members(const char *key, bool *place)
{
    const char *words[] = {"ZRANGE", key, "0", "-1"};
    size_t lens[] = {6, strlen(key), 1, 2};
    memset(place, 0, sizeof places[0]);
    on_way++;
    ty_redis_command(client->redis, 4, words, lens, on_members, place);
}

static void check_places(void)
{
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *job = &model.jobs[i];
        bool is_pending = job->state == TY_JOB_PENDING;
        check(i, "in the queue", places[QUEUE][i], is_pending && !job->in_backoff);
        check(i, "in back-off", places[BACKOFF][i], is_pending && job->in_backoff);
        check(i, "among the leases", places[LEASES][i], job->state == TY_JOB_IN_PROGRESS || job->state == TY_JOB_CANCELING);
        check(i, "in the outbox", places[OUT][i], job->in_outbox);
        check(i, "among the null records", places[NULLS][i], job->in_nulls);
        check(i, "among the unlinked", places[UNLINKED][i], job->in_unlinked);
        for (int s = TY_JOB_PENDING; s <= TY_JOB_CANCELING; s++)
            check(i, "in the index of a state", places[INDEX + s][i], job->state == (enum ty_job_state)s);
        states[job->state]++;
    }
}

static void check_fact(const char *field, uint64_t must)
{
    struct state_raw raw = STATE_RAW(client, NULL, "HGET", "{ty:0}:m", field);
    uint64_t is = raw.type == TY_REDIS_BYTES ? strtoull(raw.text, NULL, 10) : 0;
    check(0, field, is, must);
}

static void compare(void)
{
    static const char *const names[] = {"d", "l", "o", "x", "u"};
    char key[128];
    snprintf(key, sizeof key, "{ty:0}:q:%s", state_pool(client));
    ask_members(key, places[QUEUE]);
    for (int i = 0; i < 5; i++) {
        snprintf(key, sizeof key, "{ty:0}:%s", names[i]);
        ask_members(key, places[BACKOFF + i]);
    }
    for (int s = TY_JOB_PENDING; s <= TY_JOB_CANCELING; s++) {
        snprintf(key, sizeof key, "{ty:0}:s:%d:acme", s);
        ask_members(key, places[INDEX + s]);
    }
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const char *words[] = {"GET", key};
        size_t lens[] = {3, 9 + sizeof ids[i]};
        memcpy(key, "{ty:0}:j:", 9);
        memcpy(key + 9, &ids[i], sizeof ids[i]);
        on_way++;
        ty_redis_command(client->redis, 2, words, lens, on_record, &is_record[i]);
    }
    wait_all();
    check_places();
    check_fact("gaps", model.gaps);
    check_fact("stale_refused", model.stale_refused);
    check_fact("leases_taken", model.leases_taken);
    check_fact("quarantined", model.quarantined);
    check_fact("rollbacks", model.rollbacks);
    check_fact("epoch", model.epoch);
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
    site.client = below(2);
    site.backs_off = site.client == 1;
    client = &clients[site.client];
}

static void one_round(uint64_t number)
{
    change_client();
    for (unsigned sent = 0; sent < ROUND;)
        sent += go();
    wait_all();
    if (has_gap)
        position = gap_at;
    has_gap = false;
    go_clock();
    forget_claims();
    if ((model.must_replay || needs_replay) && by_chance(50))
        replay();
    if (by_chance(12))
        take_snapshot();
    else if (has_snapshot && by_chance(4))
        roll_back();
    if (number % COMPARE_ROUNDS == 0)
        compare();
}

static void the_store_does_what_the_model_says(void **state)
{
    uint64_t wanted = number_of("TRAINYARD_WALK_EVENTS", EVENTS), start = ty_clock_mono_ms();
    const char *breaks = getenv("TRAINYARD_WALK_BREAK");
    (void)state;
    seed = number_of("TRAINYARD_WALK_SEED", ty_clock_wall_us());
    random_state = seed;
    site.ignores_tokens = breaks && !strcmp(breaks, "token");
    print_message("TRAINYARD_WALK_SEED=%" PRIu64 " TRAINYARD_WALK_EVENTS=%" PRIu64 "\n", seed, wanted);
    model_init(&model);
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        draw_bytes(ids[i].bytes);
    model.must_replay = true; // a new store may be one that was lost
    for (uint64_t number = 1; events_done < wanted; number++)
        one_round(number);
    compare();
    uint64_t ms = ty_clock_mono_ms() - start;
    print_message("%" PRIu64 " events in %" PRIu64 " ms: commands %" PRIu64 ", claims %" PRIu64 ", renewals %" PRIu64 ", ends %" PRIu64
                  ", settled %" PRIu64 ", readings %" PRIu64 ", published %" PRIu64 "\n", events_done, ms, answers[APPLY],
                  answers[CLAIM], answers[RENEW], answers[FINISH], answers[SETTLED], answers[OUTBOX], answers[PUBLISHED]);
    print_message("rollbacks %" PRIu64 ", replays %" PRIu64 " of %" PRIu64 " events, leases expired %" PRIu64 "\n", rollbacks_made, replays,
                  restores, expiries);
    for (int s = TY_JOB_PENDING; s <= TY_JOB_CANCELING; s++)
        if (wanted >= EVENTS && !states[s])
            fail_msg("no job was ever seen in state %d", s);
}

static int set_up(void **state)
{
    static const struct ty_state_options sites[] = {{.max_losses = 2},
                                                    {.max_losses = 2, .retry_base_ms = UINT32_MAX, .retry_max_ms = UINT32_MAX}};
    (void)state;
    site.max_attempts = 3;
    site.max_losses = 2;
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
    for (; event_first < event_count; event_first++)
        ty_buf_done(&events[event_first].record);
    free(events);
    free(commands);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_store_does_what_the_model_says)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
