#include "tests/integration/state_client.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log_chunk.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/state_outbox.h"
#include "core/wire.h"

// ---- connection ----

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct state_client *client = context;
    client->up = up;
    client->reports++;
    if (err)
        client->down = *err;
}

static void on_redis(void *context, bool up, const struct ty_err *err)
{
    (void)context;
    (void)up;
    (void)err;
}

void state_client_turn(struct state_client *client, uint64_t until_ms, const char *condition)
{
    struct ty_err err;
    uint64_t now = ty_clock_mono_ms();
    if (now >= until_ms)
        fail_msg("waited in vain for: %s (%s)", condition, client->down.message);
    if (ty_loop_run_once(client->loop, (int)(until_ms - now), &err) < 0)
        fail_msg("%s", err.message);
}

static void open_site(struct state_client *client, const struct redis_server *server, unsigned shards,
                      const struct ty_state_options *site)
{
    struct ty_err err;
    struct ty_state_options options = {.redis_url = redis_server_url(server), .shards = shards ? shards : 1, .command_ms = 10000,
                                       .tombstone_ms = 3600000, .log_retention_ms = 3600000, .default_max_attempts = 3};
    struct ty_redis_options redis = {.url = redis_server_url(server)};
    if (site) {
        options.shards = site->shards ? site->shards : options.shards;
        options.max_losses = site->max_losses;
        options.retry_base_ms = site->retry_base_ms;
        options.retry_max_ms = site->retry_max_ms;
        options.job_retention_ms = site->job_retention_ms;
        options.horizon_ms = site->horizon_ms;
        options.has_events = site->has_events;
    }
    *client = (struct state_client){.loop = ty_loop_new(&err)};
    assert_non_null(client->loop);
    if (ty_catalog_load(NULL, &client->catalog, &err) < 0 ||
        ty_state_new(client->loop, &options, on_up, client, &client->state, &err) < 0)
        fail_msg("%s", err.message);
    client->redis = ty_redis_new(client->loop, &redis, on_redis, client, &err);
    assert_non_null(client->redis);
}

void state_client_open_only(struct state_client *client, const struct redis_server *server, unsigned shards)
{
    open_site(client, server, shards, NULL);
}

void state_client_open_site(struct state_client *client, const struct redis_server *server, const struct ty_state_options *site)
{
    open_site(client, server, 1, site);
    STATE_UNTIL(client, client->up && ty_redis_is_up(client->redis));
}

void state_client_open(struct state_client *client, const struct redis_server *server, unsigned shards)
{
    state_client_open_only(client, server, shards);
    STATE_UNTIL(client, client->up && ty_redis_is_up(client->redis));
}

void state_client_close(struct state_client *client)
{
    ty_state_free(client->state);
    ty_redis_free(client->redis);
    ty_loop_free(client->loop);
    ty_catalog_free(client->catalog);
    *client = (struct state_client){0};
}

static void on_notice(void *context, bool ready, const struct ty_id *cancel_id)
{
    struct state_client *client = context;
    if (ready)
        client->readies++;
    if (cancel_id) {
        client->cancel = *cancel_id;
        client->cancels++;
    }
}

void state_client_listen(struct state_client *client)
{
    struct ty_err err;
    if (ty_state_listen(client->state, on_notice, client, &err) < 0)
        fail_msg("%s", err.message);
    STATE_UNTIL(client, client->readies); // said once the line is up
    client->readies = 0;
}

// ---- commands ----

void state_record(struct state_client *client, const struct ty_id *id, const struct state_job *job, struct ty_buf *out)
{
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    struct ty_spec spec;
    struct ty_err err;
    uint64_t created_us = job->created_us ? job->created_us : ty_clock_wall_us();
    request.organization_id = (char *)(uintptr_t)(job->organization ? job->organization : "acme");
    request.dataset_id = (char *)(uintptr_t) "digits";
    request.model_name = (char *)(uintptr_t)(job->model_name ? job->model_name : "digits");
    request.model_version = (char *)(uintptr_t) "1";
    request.container_version = (char *)(uintptr_t)(job->container ? job->container : "");
    request.registry_item_id = (char *)(uintptr_t) "acme:digits";
    if (job->options)
        options = *job->options;
    options.max_attempts = job->max_attempts;
    options.priority = job->priority;
    if (ty_spec_build(client->catalog, id, created_us, NULL, &request, &options, &spec, &err) < 0)
        fail_msg("%s", err.message);
    ty_record_encode_new(&spec, created_us, true, job->refused ? TY_REASON_REFUSED : TY_REASON_NONE,
                         job->refused ? "refused by the test" : NULL, out);
    ty_spec_done(&spec);
}

struct applied_call {
    bool done;
    struct state_applied applied;
};

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct applied_call *call = context;
    assert_false(call->done);
    call->done = true;
    call->applied = (struct state_applied){.code = err ? err->code : TY_OK, .gap = gap, .stored = stored, .count = count};
    for (size_t i = 0; i < count && i < STATE_JOBS_MAX; i++)
        call->applied.results[i] = results[i];
}

struct state_applied state_apply(struct state_client *client, const struct ty_apply *commands, size_t count,
                                 const struct ty_watermark *mark)
{
    struct applied_call call = {0};
    ty_state_apply(client->state, commands, count, mark, on_applied, &call);
    STATE_UNTIL(client, call.done);
    return call.applied;
}

int state_submit(struct state_client *client, const struct ty_id *id, const struct state_job *job)
{
    static const struct state_job plain;
    TY_BUF(record);
    job = job ? job : &plain;
    state_record(client, id, job, &record);
    struct ty_apply command = {.kind = TY_COMMAND_SUBMIT_CUSTOM, .job_id = *id, .record = record.data, .record_len = record.len,
                               .organization_id = job->organization ? job->organization : "acme"};
    struct state_applied applied = state_apply(client, &command, 1, NULL);
    assert_int_equal(applied.code, TY_OK);
    return applied.results[0];
}

int state_control(struct state_client *client, enum ty_command_kind kind, const struct ty_id *id)
{
    struct ty_apply command = {.kind = kind, .job_id = *id};
    struct state_applied applied = state_apply(client, &command, 1, NULL);
    assert_int_equal(applied.code, TY_OK);
    return applied.results[0];
}

struct attach_call {
    bool done, cluster_changed;
    int64_t stored;
};

static void on_attached(void *context, const struct ty_err *err, int64_t stored, bool cluster_changed)
{
    struct attach_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    *call = (struct attach_call){true, cluster_changed, stored};
}

int64_t state_attach(struct state_client *client, const char *cluster, const char *topic, int32_t partition,
                     bool *ret_cluster_changed)
{
    struct attach_call call = {0};
    ty_state_attach(client->state, cluster, topic, partition, on_attached, &call);
    STATE_UNTIL(client, call.done);
    if (ret_cluster_changed)
        *ret_cluster_changed = call.cluster_changed;
    return call.stored;
}

// ---- attempts ----

struct claim_call {
    bool done;
    size_t count;
    struct state_claim *claims;
    const struct ty_token *token;
};

static void on_claimed(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct claim_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    call->done = true;
    call->count = count;
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(&jobs[i].record.token, call->token, sizeof *call->token);
        call->claims[i] =
            (struct state_claim){jobs[i].id, jobs[i].record.token, jobs[i].record.attempt, jobs[i].record.fence};
    }
}

const char *state_pool(const struct state_client *client)
{
    return ty_catalog_container(client->catalog, "")->key;
}

size_t state_claim(struct state_client *client, unsigned shard, const struct ty_token *token, unsigned max, uint32_t lease_ms,
                   struct state_claim *ret_claims)
{
    const char *pools[] = {"no such pool", state_pool(client)};
    struct claim_call call = {.claims = ret_claims, .token = token};
    assert_true(max <= STATE_JOBS_MAX);
    ty_state_claim(client->state, shard, token, "worker-1", max, lease_ms, pools, 2, on_claimed, &call);
    STATE_UNTIL(client, call.done);
    return call.count;
}

struct state_claim state_claim_one(struct state_client *client, const struct ty_id *id, uint32_t lease_ms)
{
    struct state_claim claims[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    assert_int_equal(state_claim(client, ty_state_shard_of(client->state, id), &token, STATE_JOBS_MAX, lease_ms, claims), 1);
    assert_true(ty_id_equal(&claims[0].id, id));
    return claims[0];
}

struct result_call {
    bool done;
    int result;
};

static void on_result(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct result_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    assert_int_equal(count, 1);
    *call = (struct result_call){true, results[0]};
}

int state_renew(struct state_client *client, const struct state_claim *claim, unsigned stage)
{
    struct result_call call = {0};
    struct ty_renewal renewal = {.id = claim->id, .token = claim->token, .attempt = claim->attempt, .fence = claim->fence,
                                 .lease_ms = STATE_LEASE_MS, .stage = (uint8_t)stage, .worker = "worker-2"};
    ty_state_renew(client->state, ty_state_shard_of(client->state, &claim->id), &renewal, 1, on_result, &call);
    STATE_UNTIL(client, call.done);
    return call.result;
}

int state_finish_with(struct state_client *client, const struct state_claim *claim, enum ty_finish_action action,
                      enum ty_job_reason reason, const struct ty_buf *patch)
{
    struct result_call call = {0};
    struct ty_finish finish = {.id = claim->id, .token = claim->token, .attempt = claim->attempt, .action = action,
                               .reason = reason, .patch = patch ? patch->data : NULL, .patch_len = patch ? patch->len : 0};
    ty_state_finish(client->state, ty_state_shard_of(client->state, &claim->id), &finish, 1, on_result, &call);
    STATE_UNTIL(client, call.done);
    return call.result;
}

int state_finish(struct state_client *client, const struct state_claim *claim, enum ty_finish_action action,
                 enum ty_job_reason reason)
{
    return state_finish_with(client, claim, action, reason, NULL);
}

struct unlinked_call {
    bool done;
    size_t count;
    struct ty_id *ids;
};

static void on_unlinked(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    struct unlinked_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    call->done = true;
    call->count = count;
    for (size_t i = 0; i < count; i++)
        call->ids[i] = jobs[i].id;
}

size_t state_unlinked(struct state_client *client, uint64_t age_ms, unsigned max, struct ty_id *ret_ids)
{
    struct unlinked_call call = {.ids = ret_ids};
    ty_state_unlinked(client->state, 0, age_ms, max, on_unlinked, &call);
    STATE_UNTIL(client, call.done);
    return call.count;
}

static void on_reclaimed(void *context, const struct ty_err *err, unsigned count)
{
    struct result_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    *call = (struct result_call){true, (int)count};
}

unsigned state_reclaim(struct state_client *client, unsigned shard, uint32_t lease_ms)
{
    struct result_call call = {0};
    ty_state_reclaim(client->state, shard, lease_ms, on_reclaimed, &call);
    STATE_UNTIL(client, call.done);
    return (unsigned)call.result;
}

static void on_held(void *context, const struct ty_err *err, unsigned ended)
{
    assert_null(err);
    *(struct result_call *)context = (struct result_call){.done = true, .result = (int)ended};
}

unsigned state_end_held(struct state_client *client, const char *publisher)
{
    struct result_call call = {0};
    ty_state_end_held(client->state, 0, publisher, on_held, &call);
    STATE_UNTIL(client, call.done);
    return (unsigned)call.result;
}

void state_expire(struct state_client *client, unsigned shard, unsigned count)
{
    uint64_t until = ty_clock_mono_ms() + 20000;
    for (unsigned taken = 0; taken < count; taken += state_reclaim(client, shard, 1))
        if (ty_clock_mono_ms() > until)
            fail_msg("%u of %u leases were taken", taken, count);
}

void state_lose(struct state_client *client, const struct state_claim *claim)
{
    unsigned shard = ty_state_shard_of(client->state, &claim->id);
    char key[24];
    assert_in_range(state_renew(client, claim, TY_STAGE_PREPARE), TY_RENEWED, TY_RENEW_CANCEL);
    snprintf(key, sizeof key, "{ty:%u}:l", shard);
    STATE_RAW(client, &claim->id, "ZADD", key, "1", "%");
    state_expire(client, shard, 1);
}

// ---- answers ----

struct get_call {
    bool done;
    struct state_view view;
};

static void read_metadata(const struct ty_record *record, struct state_view *view)
{
    TY_BUF(bytes);
    ProtobufCMessage *message;
    struct ty_err err;
    ty_record_metadata(record, &bytes);
    if (ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, bytes.data, bytes.len, &message, &err) < 0)
        fail_msg("metadata: %s", err.message);
    const Viam__App__Mltraining__V1__TrainingJobMetadata *metadata =
        (const Viam__App__Mltraining__V1__TrainingJobMetadata *)message;
    assert_int_equal(metadata->status, record->state);
    snprintf(view->synced_model, sizeof view->synced_model, "%s", metadata->synced_model_id);
    if (metadata->error_status) {
        snprintf(view->error, sizeof view->error, "%s", metadata->error_status->message);
        view->error_code = metadata->error_status->code;
    }
    protobuf_c_message_free_unpacked(message, NULL);
}

static void on_got(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct get_call *call = context;
    size_t len;
    if (err)
        fail_msg("%s", err->message);
    call->done = true;
    if (!record)
        return;
    const char *worker = ty_record_worker(record, &len);
    call->view = (struct state_view){
        .found = true, .state = record->state, .stage = record->stage, .reason = record->reason, .flags = record->flags,
        .attempt = record->attempt, .losses = record->worker_losses, .errors = record->errors, .version = record->version,
        .created_us = record->created_us, .modified_us = record->modified_us, .started_us = record->started_us,
        .ended_us = record->ended_us, .fence = record->fence, .due_us = ty_record_due_us(record),
        .wait_end_us = ty_record_wait_end_us(record),
    };
    snprintf(call->view.worker, sizeof call->view.worker, "%.*s", (int)len, worker);
    read_metadata(record, &call->view);
}

struct state_view state_get(struct state_client *client, const struct ty_id *id)
{
    struct get_call call = {0};
    ty_state_get(client->state, id, on_got, &call);
    STATE_UNTIL(client, call.done);
    return call.view;
}

static bool is_member(struct state_client *client, const struct ty_id *id, const char *name)
{
    char key[192];
    snprintf(key, sizeof key, "{ty:%u}:%s", ty_state_shard_of(client->state, id), name);
    return STATE_RAW(client, id, "ZSCORE", key, "%").type != TY_REDIS_NIL;
}

// Where it is there, at the time of its end, which a list's tokens are made of; an older program does not put it there. ended_us 0: it
// has not ended.
static void check_place_among_ended(struct state_client *client, const struct ty_id *id, const char *organization, uint64_t ended_us)
{
    char key[192];
    snprintf(key, sizeof key, "{ty:%u}:t:%s", ty_state_shard_of(client->state, id), organization);
    struct state_raw raw = STATE_RAW(client, id, "ZSCORE", key, "%");
    if (raw.type == TY_REDIS_BYTES)
        assert_true(ended_us && (uint64_t)strtod(raw.text, NULL) == ended_us);
}

void state_check(struct state_client *client, const struct ty_id *id, const char *organization)
{
    struct state_view view = state_get(client, id);
    char name[160], older[96];
    bool is_disowned = view.found && ((view.state == TY_JOB_PENDING && (view.reason == TY_REASON_NO_ATTEMPT_LEFT ||
                                                                        view.reason == TY_REASON_QUARANTINED ||
                                                                        view.reason == TY_REASON_WAIT_LIMIT)) ||
                                      (view.state == TY_JOB_CANCELING && view.reason == TY_REASON_NO_ATTEMPT_LEFT));
    bool is_held = view.found && view.state == TY_JOB_CANCELING && !is_disowned && is_member(client, id, "h");
    bool has_lease = view.found && (view.state == TY_JOB_IN_PROGRESS || view.state == TY_JOB_CANCELING) && !is_held && !is_disowned;
    snprintf(name, sizeof name, "f:%s|%s", state_pool(client), organization);
    snprintf(older, sizeof older, "q:%s", state_pool(client));
    bool is_pending = view.found && view.state == TY_JOB_PENDING && !is_disowned;
    bool is_overdue = view.wait_end_us && view.wait_end_us < ty_clock_wall_us(); // a claim may have come upon it
    int queues = is_member(client, id, name) + is_member(client, id, older) + is_member(client, id, "d");
    assert_true(queues == is_pending || (is_overdue && queues == 0));
    assert_int_equal(is_member(client, id, "i"), view.wait_end_us != 0 && !is_disowned);
    assert_int_equal(is_member(client, id, "h"), is_held);
    assert_int_equal(is_member(client, id, "z"), is_disowned);
    if (!view.due_us)
        assert_false(is_member(client, id, "d"));
    assert_int_equal(is_member(client, id, "l"), has_lease);
    for (int state = 0; state <= 6; state++) {
        snprintf(name, sizeof name, "s:%d:%s", state, organization);
        assert_int_equal(is_member(client, id, name), view.found && (int)view.state == state);
    }
    bool terminal = view.state == TY_JOB_COMPLETED || view.state == TY_JOB_FAILED || view.state == TY_JOB_CANCELED;
    if (view.found)
        assert_int_equal(view.ended_us != 0, terminal);
    check_place_among_ended(client, id, organization, view.found && terminal ? view.ended_us : 0);
}

struct list_call {
    bool done;
    struct state_list list;
};

static void on_listed(void *context, const struct ty_err *err, const struct ty_list_page *page)
{
    struct list_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    assert_true(page->count <= STATE_JOBS_MAX);
    call->done = true;
    call->list.more = page->more;
    call->list.count = page->count;
    call->list.last = page->last;
    for (size_t i = 0; i < page->count; i++) {
        call->list.ids[i] = page->jobs[i].id;
        call->list.created_us[i] = page->jobs[i].record.created_us;
    }
}

struct state_list state_query(struct state_client *client, unsigned shard, const struct ty_list_query *query)
{
    struct list_call call = {0};
    ty_state_list(client->state, shard, query, on_listed, &call);
    STATE_UNTIL(client, call.done);
    return call.list;
}

struct state_list state_list(struct state_client *client, unsigned shard, const char *organization, int status,
                             const struct ty_list_cursor *cursor, unsigned limit)
{
    struct ty_list_query query = {.organization_id = organization, .states = status ? 1u << status : 0, .after = cursor,
                                  .limit = limit, .max_bytes = SIZE_MAX};
    return state_query(client, shard, &query);
}

// ---- logs ----

struct log_call {
    bool done;
    struct state_log log;
};

static void on_log(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    struct log_call *call = context;
    *call = (struct log_call){true, {err ? err->code : TY_OK, place->next, place->sealed, place->bytes, place->fresh}};
}

struct state_log state_log_open(struct state_client *client, const struct state_claim *claim, uint64_t first)
{
    struct log_call call = {0};
    ty_state_log_open(client->state, &claim->id, claim->attempt, claim->fence, &claim->token, first, on_log, &call);
    STATE_UNTIL(client, call.done);
    return call.log;
}

struct state_log state_log_append(struct state_client *client, const struct state_claim *claim, uint64_t first, size_t count,
                                  bool end)
{
    struct log_call call = {0};
    struct ty_bytes *entries = ty_xcalloc(count + 1, sizeof *entries);
    char(*texts)[24] = ty_xcalloc(count + 1, sizeof *texts);
    for (size_t i = 0; i < count; i++)
        entries[i] = (struct ty_bytes){texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "%zu", (size_t)first + i)};
    struct ty_log_append append = {.id = claim->id, .token = claim->token, .attempt = claim->attempt, .first = first,
                                   .entries = entries, .count = count, .end = end};
    ty_state_log_append(client->state, &append, on_log, &call);
    free(entries);
    free(texts);
    STATE_UNTIL(client, call.done);
    return call.log;
}

struct state_log state_log_append_sealed(struct state_client *client, const struct state_claim *claim, uint64_t first,
                                         size_t count, bool end, uint64_t limit_bytes)
{
    struct log_call call = {0};
    struct ty_log_chunk chunk = {.first = first};
    TY_BUF(blob);
    char text[24];
    for (size_t i = 0; i < count; i++)
        ty_log_chunk_add(&chunk, first + i, text, (size_t)snprintf(text, sizeof text, "%zu", (size_t)first + i));
    ty_log_chunk_seal(&chunk, &blob);
    ty_log_chunk_done(&chunk);
    struct ty_bytes bytes = {blob.data, blob.len};
    struct ty_log_append append = {.id = claim->id, .token = claim->token, .attempt = claim->attempt, .first = first + count,
                                   .chunks = &bytes, .chunk_count = 1, .end = end, .limit_bytes = limit_bytes};
    ty_state_log_append(client->state, &append, on_log, &call);
    STATE_UNTIL(client, call.done);
    return call.log;
}

struct page_call {
    bool done;
    struct state_page page;
};

static void on_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    struct page_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    call->done = true;
    call->page = (struct state_page){.count = page->count, .more = page->more, .ended = page->ended,
                                     .next_attempt = page->next_attempt, .next_sequence = page->next_sequence};
    for (size_t i = 0; i < page->count && i < STATE_JOBS_MAX; i++) {
        const char *stored = page->entries[i].data;
        for (size_t at = 0; at < page->entries[i].len && at < sizeof call->page.entries[i] - 1; at++)
            call->page.entries[i][at] = stored[at] ? stored[at] : '.';
    }
    size_t n = 0;
    for (size_t i = 0; i < page->run_count; i++)
        for (size_t j = 0; j < page->runs[i].count && n < STATE_JOBS_MAX; j++)
            call->page.lines[n++] = (struct state_line){page->runs[i].attempt, page->runs[i].sequence + j, page->runs[i].missing};
}

struct state_page state_page(struct state_client *client, const struct ty_id *id, uint32_t attempt, uint64_t sequence,
                             unsigned max_entries, size_t max_bytes)
{
    struct page_call call = {0};
    ty_state_log_page(client->state, id, attempt, sequence, max_entries, max_bytes, on_page, &call);
    STATE_UNTIL(client, call.done);
    return call.page;
}

// ---- the keys themselves ----

struct raw_call {
    bool done;
    struct state_raw raw;
};

static void on_raw(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct raw_call *call = context;
    if (err)
        fail_msg("%s", err->message);
    call->done = true;
    call->raw = (struct state_raw){.type = reply->type, .integer = reply->integer};
    if (reply->bytes) // zeros may stand in it
        memcpy(call->raw.text, reply->bytes, reply->len < sizeof call->raw.text ? reply->len : sizeof call->raw.text - 1);
}

struct state_raw state_raw(struct state_client *client, const struct ty_id *id, const char *const *words)
{
    char texts[16][192];
    const char *argv[16];
    size_t lens[16];
    int argc = 0;
    for (; words[argc]; argc++) {
        assert_true(argc < 16);
        size_t len = strlen(words[argc]);
        memcpy(texts[argc], words[argc], len);
        if (len && words[argc][len - 1] == '%') {
            memcpy(texts[argc] + len - 1, id->bytes, sizeof id->bytes);
            len += sizeof id->bytes - 1;
        }
        argv[argc] = texts[argc];
        lens[argc] = len;
    }
    struct raw_call call = {0};
    ty_redis_command(client->redis, argc, argv, lens, on_raw, &call);
    STATE_UNTIL(client, call.done);
    return call.raw;
}
