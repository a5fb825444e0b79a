// The calls of a walk and their answers.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/event.h"
#include "tests/integration/state_walk.h"

// ---- answers ----

static void remember(unsigned job, const struct ty_token *token, uint32_t attempt, uint64_t fence)
{
    walk.attempts[job][walk.attempt_counts[job]++ % ATTEMPTS] = (struct attempt){*token, attempt, fence};
}

static void answered(struct call *call)
{
    unsigned count = call->kind == CLAIM ? 1 : call->count; // a claim of some jobs is one event
    walk.answers[call->kind] += count;
    walk.events_done += count;
    walk.on_way--;
    free(call->reading);
    free(call);
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct call *call = context;
    walk_check_no(err);
    bool may = !call->is_marked || model_advance(&walk.model, call->expected, call->expected + (int64_t)count);
    walk_check(call->jobs[0], "gap", gap, !may);
    if (gap) {
        walk_check(call->jobs[0], "where the store is", (uint64_t)stored, (uint64_t)walk.model.watermark);
        walk.gap_at = (size_t)stored;
        walk.has_gap = true;
    }
    for (size_t i = 0; may && i < count; i++) {
        const struct command *command = &call->commands[i];
        bool is_submit = command->kind == TY_COMMAND_SUBMIT_CUSTOM;
        if (command->kind == TY_APPLY_RULE) {
            model_set_rule(&walk.model, &command->rule);
            walk_check(0, "a rule", (uint64_t)results[i], TY_APPLIED);
            continue;
        }
        enum ty_applied must = is_submit ? model_submit(&walk.model, &walk.site, &command->submit)
                                         : model_control(&walk.model, &walk.site, command->job, command->kind == TY_COMMAND_DELETE,
                                                         command->organization);
        walk_note(command->job, "%s of %s body %u: %d, model %d",
                  is_submit ? "submit" : command->kind == TY_COMMAND_DELETE ? "delete" : "cancel",
                  walk_organization(is_submit ? command->submit.organization : command->organization), command->submit.body,
                  results[i], (int)must);
        walk_check(command->job, "a command", (uint64_t)results[i], must);
    }
    answered(call);
}

static void on_claimed(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct call *call = context;
    unsigned must[MODEL_CLAIM_JOBS], taken[MODEL_CLAIM_JOBS];
    bool repeated;
    walk_check_no(err);
    walk_check(0, "jobs of one claim", count > MODEL_CLAIM_JOBS, 0);
    for (size_t i = 0; i < count; i++)
        taken[i] = walk_job_of(&jobs[i].id);
    memcpy(walk.site.pools, call->pools, sizeof walk.site.pools);
    walk.site.pool_count = call->pool_count;
    unsigned n = model_claim(&walk.model, &walk.site, &call->token, call->count, LEASE_MS, taken, (unsigned)count, must, &repeated);
    for (unsigned i = 0; i < n; i++)
        walk_note(must[i], "claim%s, model attempt %u", repeated ? " again" : "", walk.model.jobs[must[i]].attempt);
    walk.claimed = count;
    walk_check(n ? must[0] : count ? taken[0] : 0, "jobs claimed", count, n);
    for (unsigned i = 0; i < n; i++) {
        struct model_job *job = &walk.model.jobs[must[i]];
        walk_check(must[i], "which job is claimed", taken[i], must[i]);
        walk_check(must[i], "attempt", jobs[i].record.attempt, job->attempt);
        walk_check(must[i], "the token", (uint64_t)memcmp(&jobs[i].record.token, &call->token, 16), 0);
        if (repeated)
            walk_check(must[i], "fence", jobs[i].record.fence, job->fence);
        else if (jobs[i].record.fence <= job->fence)
            walk_wrong(must[i], "the fence does not rise");
        job->fence = jobs[i].record.fence;
        remember(must[i], &call->token, job->attempt, job->fence);
    }
    answered(call);
}

static void on_renewed(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    walk_check_no(err);
    for (size_t i = 0; i < count; i++) {
        enum ty_renewed must = model_renew(&walk.model, &walk.site, call->jobs[i], &call->renewals[i], &call->patches[i]);
        walk_note(call->jobs[i], "renew attempt %u stage %u: %d, model %d", call->renewals[i].attempt, call->renewals[i].stage,
             results[i], (int)must);
        walk_check(call->jobs[i], "a renewal", (uint64_t)results[i], must);
    }
    answered(call);
}

static void on_finished(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    walk_check_no(err);
    for (size_t i = 0; i < count; i++) {
        enum ty_finished must = model_finish(&walk.model, &walk.site, call->jobs[i], &call->finishes[i], &call->patches[i]);
        walk_note(call->jobs[i], "finish %c attempt %u reason %d: %d, model %d", (char)call->finishes[i].action,
             call->finishes[i].attempt, (int)call->finishes[i].reason, results[i], (int)must);
        walk_check(call->jobs[i], "an end", (uint64_t)results[i], must);
    }
    answered(call);
}

static void on_settled(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct call *call = context;
    walk_check_no(err);
    for (size_t i = 0; i < count; i++)
        walk_check(call->jobs[i], "what stands", (uint64_t)results[i], model_settled(&walk.model, &walk.site, call->jobs[i], &call->settlings[i]));
    answered(call);
}

// ---- the events ----

static struct event *append_event(unsigned job, enum model_event_kind kind)
{
    if (walk.event_count == walk.event_cap) {
        walk.event_cap = walk.event_cap ? 2 * walk.event_cap : 1024;
        walk.events = ty_xrealloc(walk.events, walk.event_cap * sizeof *walk.events);
    }
    struct event *event = &walk.events[walk.event_count++];
    *event = (struct event){.job = job, .kind = kind, .image = walk.model.jobs[job]};
    return event;
}

static void write_event(unsigned job, const struct ty_outbox_job *from)
{
    TY_BUF(bytes);
    struct ty_event decoded = {0};
    struct ty_err err;
    assert_true(from->is_ok);
    if (ty_event_encode(&from->record, 1, &bytes, &err) < 0 ||
        ty_event_decode(&walk.ids[job], bytes.data, bytes.len, &decoded, &err) < 0)
        walk_wrong(job, "event: %s", err.message);
    walk_check(job, "version of the event", decoded.version, walk.model.jobs[job].version);
    struct event *event = append_event(job, decoded.is_deleted ? MODEL_EVENT_DELETED : MODEL_EVENT_JOB);
    if (!decoded.is_deleted)
        ty_buf_add(&event->record, decoded.record.data, decoded.record.len);
    ty_event_done(&decoded);
}

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    struct call *call = context;
    bool is_null[MODEL_JOBS] = {0}, is_there[MODEL_JOBS] = {0};
    walk_check_no(err);
    walk.is_reading = false;
    walk_check(0, "who publishes", outbox->is_ours, model_outbox(&walk.model, call->publisher));
    if (!outbox->is_ours) {
        answered(call);
        return;
    }
    walk_check(0, "mark of the events", (uint64_t)outbox->marks[0], (uint64_t)walk.model.mark);
    walk_check(0, "why to read the events", outbox->replay != TY_REPLAY_NONE, walk.model.must_replay);
    walk.reading = (struct reading){.publisher = call->publisher, .stamp_us = outbox->stamp_us, .mark = outbox->marks[0]};
    for (size_t i = 0; i < outbox->null_count; i++) {
        unsigned job = walk_job_of(&outbox->nulls[i]);
        walk_check(job, "a null record", 1, walk.model.jobs[job].in_nulls);
        is_null[job] = true;
        walk.reading.nulls[walk.reading.null_count] = job;
        walk.reading.null_ids[walk.reading.null_count++] = walk.ids[job];
    }
    model_outbox_read(&walk.model, &walk.site, outbox->stamp_us, is_null);
    for (size_t i = 0; i < outbox->job_count; i++) {
        unsigned job = walk_job_of(&outbox->jobs[i].id);
        is_there[job] = true;
        walk.reading.jobs[i] = outbox->jobs[i];
        walk.reading.changes[i] = (struct model_change){job, walk.model.jobs[job].version, walk.model.jobs[job].stamp};
    }
    walk.reading.count = outbox->job_count;
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        walk_check(i, "in the outbox", is_there[i], walk.model.jobs[i].in_outbox);
    // A publisher that finds Kafka ahead of the store has the events read first.
    int64_t mark = walk.reading.mark < 0 ? 0 : walk.reading.mark;
    if (walk.model.must_replay || (size_t)mark != walk.event_count) {
        walk.needs_replay = true;
    } else {
        for (size_t i = 0; i < walk.reading.null_count; i++)
            append_event(walk.reading.nulls[i], MODEL_EVENT_NULL);
        for (size_t i = 0; i < walk.reading.count; i++)
            write_event(walk.reading.changes[i].job, &outbox->jobs[i]);
        walk.reading.next = (int64_t)walk.event_count;
        walk.has_reading = true;
    }
    answered(call);
}

static void on_published(void *context, const struct ty_err *err, enum ty_published_result result)
{
    struct call *call = context;
    const struct reading *r = call->reading;
    walk_check_no(err);
    walk_check(0, "published", result,
          model_published(&walk.model, r->publisher, r->stamp_us, r->mark, r->next, r->changes, r->count, r->nulls, r->null_count));
    answered(call);
}

// ---- calls ----

const char *walk_organization(unsigned organization)
{
    static const char *const names[] = {"acme", "b", "c|d", "*"};
    return names[organization];
}

const char *walk_pool(unsigned pool)
{
    return pool ? "null:1" : state_pool(walk.client);
}

const char *walk_publisher_name(int publisher)
{
    return publisher ? "q" : "p";
}

// The value of a limit is its number as text, as the intake stores it; of a pause anything.
static void rule_of(const struct model_rule *rule, char name[32], struct ty_buf *value, struct ty_apply *ret_apply)
{
    snprintf(name, 32, "%s/%s", rule->is_pause ? "pause" : "limit", walk_organization(rule->organization));
    if (!rule->is_lifted) {
        char text[16];
        int n = snprintf(text, sizeof text, "%u", rule->is_pause ? 1 : rule->limit);
        ty_buf_add(value, text, (size_t)n);
    }
    ret_apply->organization_id = name;
    ret_apply->record = value->data;
    ret_apply->record_len = value->len;
}

static void send_commands(struct call *call)
{
    struct ty_apply applies[BATCH];
    struct ty_buf records[BATCH] = {{0}};
    char names[BATCH][32];
    struct ty_watermark mark = {.topic = TOPIC, .expected = call->expected, .next = call->expected + call->count};
    for (unsigned i = 0; i < call->count; i++) {
        const struct command *command = &call->commands[i];
        call->jobs[i] = command->job;
        applies[i] = (struct ty_apply){.kind = command->kind, .job_id = walk.ids[command->job]};
        if (command->kind == TY_APPLY_RULE) {
            rule_of(&command->rule, names[i], &records[i], &applies[i]);
            continue;
        }
        if (command->kind != TY_COMMAND_SUBMIT_CUSTOM) {
            applies[i].organization_id = command->organization == MODEL_ANY ? NULL : walk_organization(command->organization);
            continue;
        }
        char model_name[24];
        snprintf(model_name, sizeof model_name, "m%u", command->submit.body);
        Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
        options.max_wait_s = command->submit.wait == MODEL_WAIT_LONG ? UINT32_MAX : command->submit.wait == MODEL_WAIT_OVER;
        struct state_job job = {.organization = walk_organization(command->submit.organization), .created_us = command->created_us, .priority = command->priority, .model_name = model_name, .container = walk_pool(command->submit.pool),
                                .max_attempts = command->submit.max_attempts, .refused = command->submit.is_refused, .options = &options};
        state_record(walk.client, &walk.ids[command->job], &job, &records[i]);
        applies[i].record = records[i].data;
        applies[i].record_len = records[i].len;
        applies[i].organization_id = job.organization;
    }
    ty_state_apply(walk.client->state, applies, call->count, call->is_marked ? &mark : NULL, on_applied, call);
    for (unsigned i = 0; i < call->count; i++)
        ty_buf_done(&records[i]);
}

static void send_published(struct call *call)
{
    const struct reading *r = call->reading;
    struct ty_event_mark mark = {.partition = 0, .expected = r->mark, .next = r->next};
    struct ty_published published = {.name = walk_publisher_name(r->publisher), .topic = EVENTS_TOPIC, .stamp_us = r->stamp_us,
                                     .marks = &mark, .mark_count = 1, .jobs = r->jobs, .job_count = r->count,
                                     .nulls = r->null_ids, .null_count = r->null_count};
    ty_state_published(walk.client->state, walk.shard, &published, on_published, call);
}

static void send_attempts(struct call *call)
{
    struct ty_buf patches[BATCH] = {{0}};
    for (unsigned i = 0; i < call->count; i++) {
        walk_add_patch(&call->patches[i], &patches[i]);
        call->renewals[i].patch = call->finishes[i].patch = patches[i].data;
        call->renewals[i].patch_len = call->finishes[i].patch_len = patches[i].len;
    }
    if (call->kind == RENEW)
        ty_state_renew(walk.client->state, walk.shard, call->renewals, call->count, on_renewed, call);
    else
        ty_state_finish(walk.client->state, walk.shard, call->finishes, call->count, on_finished, call);
    for (unsigned i = 0; i < call->count; i++)
        ty_buf_done(&patches[i]);
}

// Makes the call; the copy is freed with its answer.
void walk_send(const struct call *like)
{
    struct call *call = ty_xmalloc(sizeof *call);
    *call = *like;
    walk.on_way++;
    const char *pools[1 + MODEL_POOLS] = {"no such pool"};
    for (unsigned i = 0; i < call->pool_count; i++)
        pools[1 + i] = walk_pool(call->pools[i]);
    switch (call->kind) {
    case APPLY: send_commands(call); break;
    case CLAIM: ty_state_claim(walk.client->state, walk.shard, &call->token, "w", call->count, LEASE_MS, pools, 1 + call->pool_count, on_claimed, call); break;
    case RENEW:
    case FINISH: send_attempts(call); break;
    case SETTLED: ty_state_settled(walk.client->state, walk.shard, call->settlings, call->count, on_settled, call); break;
    case OUTBOX:
        ty_state_outbox(walk.client->state, walk.shard, walk_publisher_name(call->publisher), LEASE_MS, TY_OUTBOX_JOBS_MAX, EVENTS_TOPIC, 1, on_outbox, call);
        break;
    case PUBLISHED: send_published(call); break;
    }
}

void walk_wait_all(void)
{
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    while (walk.on_way)
        state_client_turn(walk.client, until, "answers");
}
