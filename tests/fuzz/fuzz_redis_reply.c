// core/state: whatever Redis answers to a call of the job store, its callback comes once, with an error or with what can be read to
// its last byte. The client (core/redis.h) is replaced by one that takes its answers from the input, as a tree of hiredis' own.
#include "core/buf.h"
#include "core/redis_internal.h"
#include "core/state.h"
#include "core/state_outbox.h"
#include "core/store_memory.h"
#include "tests/fuzz/fuzz.h"

#define CALLS_MAX 256
#define DEPTH_MAX 4

// ---- the client ----

struct call {
    ty_redis_fn fn;
    void *context;
};
static struct call calls[CALLS_MAX];
static size_t call_count;
static ty_redis_state_fn on_client_up;
static void *up_context;
static ty_redis_message_fn on_message;
static void *message_context;

static void add_call(ty_redis_fn fn, void *context)
{
    REQUIRE(call_count < CALLS_MAX);
    calls[call_count++] = (struct call){fn, context};
}

struct ty_redis *ty_redis_new(struct ty_loop *loop, const struct ty_redis_options *options, ty_redis_state_fn on_state,
                              void *context, struct ty_err *err)
{
    (void)loop;
    (void)options;
    (void)err;
    on_client_up = on_state;
    up_context = context;
    return malloc(1);
}

void ty_redis_free(struct ty_redis *redis)
{
    free(redis);
}

bool ty_redis_is_up(const struct ty_redis *redis)
{
    (void)redis;
    return true;
}

void ty_redis_command(struct ty_redis *redis, int argc, const char *const *argv, const size_t *lens, ty_redis_fn fn,
                      void *context)
{
    (void)redis;
    size_t sum = 0;
    for (int i = 0; i < argc; i++)
        for (size_t at = 0; at < lens[i]; at++)
            sum += (unsigned char)argv[i][at];
    REQUIRE(argc > 0 && sum);
    add_call(fn, context);
}

void ty_redis_eval(struct ty_redis *redis, const struct ty_redis_script *script, int key_count, int argc,
                   const char *const *argv, const size_t *lens, ty_redis_fn fn, void *context)
{
    (void)script;
    REQUIRE(key_count == 1);
    ty_redis_command(redis, argc, argv, lens, fn, context);
}

void ty_redis_script_init(struct ty_redis_script *script, const char *name, const unsigned char *source, size_t source_len)
{
    *script = (struct ty_redis_script){.name = name, .source = source, .source_len = source_len};
}

void ty_redis_subscribe(struct ty_redis *redis, const char *channel, ty_redis_message_fn fn, void *context)
{
    (void)redis;
    (void)channel;
    on_message = fn;
    message_context = context;
}

void ty_redis_unsubscribe(struct ty_redis *redis, const char *channel)
{
    (void)redis;
    (void)channel;
}

// ---- answers ----

// Each text is memory of its own, so that a sanitizer sees the first byte read too far.
static redisReply *new_text(struct input *input, int type, size_t len)
{
    redisReply *reply = calloc(1, sizeof *reply);
    REQUIRE(reply);
    reply->type = type;
    reply->len = len < input->len ? len : input->len;
    reply->str = input_text(input, len);
    return reply;
}

static redisReply *new_number(struct input *input, size_t bytes)
{
    redisReply *reply = calloc(1, sizeof *reply);
    uint64_t value = 0;
    REQUIRE(reply);
    reply->type = REDIS_REPLY_INTEGER;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | input_byte(input);
    reply->integer = bytes == 1 ? (int8_t)value : (long long)value;
    return reply;
}

static redisReply *new_reply(struct input *input, unsigned depth)
{
    enum { SMALL, LARGE, NIL, TEXT, ID, LONG_TEXT, STATUS, ERROR, LIST };
    unsigned kind = input_byte(input) % (depth < DEPTH_MAX ? LIST + 1u : LIST);
    size_t len;
    redisReply *reply;
    switch (kind) {
    case SMALL: return new_number(input, 1);
    case LARGE: return new_number(input, 8);
    case TEXT: len = input_byte(input); return new_text(input, REDIS_REPLY_STRING, len);
    case ID: return new_text(input, REDIS_REPLY_STRING, 16);
    case LONG_TEXT:
        len = (size_t)input_byte(input) << 8;
        len |= input_byte(input);
        return new_text(input, REDIS_REPLY_STRING, len);
    case STATUS: len = input_byte(input); return new_text(input, REDIS_REPLY_STATUS, len);
    case ERROR: len = input_byte(input); return new_text(input, REDIS_REPLY_ERROR, len);
    default: break;
    }
    reply = calloc(1, sizeof *reply);
    REQUIRE(reply);
    reply->type = kind == LIST ? REDIS_REPLY_ARRAY : REDIS_REPLY_NIL;
    reply->elements = kind == LIST ? input_byte(input) % 64 : 0;
    reply->element = calloc(reply->elements + 1, sizeof *reply->element);
    REQUIRE(reply->element);
    for (size_t i = 0; i < reply->elements; i++)
        reply->element[i] = new_reply(input, depth + 1);
    return reply;
}

static void free_reply(redisReply *reply)
{
    for (size_t i = 0; i < reply->elements; i++)
        free_reply(reply->element[i]);
    free(reply->element);
    free(reply->str);
    free(reply);
}

// As core/redis.c delivers. With the input at its end the connection breaks.
static void answer(struct call call, struct input *input)
{
    struct ty_redis_nodes nodes = {0};
    struct ty_redis_reply reply;
    struct ty_err err;
    if (!input->len) {
        ty_err_set(&err, TY_EUNAVAILABLE, "Redis has gone");
        call.fn(call.context, NULL, &err);
        return;
    }
    redisReply *raw = new_reply(input, 0);
    ty_redis_reply_convert(raw, &reply, &nodes);
    bool refused = reply.type == TY_REDIS_ERROR && ty_redis_reply_refused(&reply, &err);
    call.fn(call.context, refused ? NULL : &reply, refused ? &err : NULL);
    free(nodes.items);
    free_reply(raw);
}

static void answer_all(struct input *input)
{
    for (size_t at = 0; at < call_count; at++) // an answer may lead to more calls
        answer(calls[at], input);
    call_count = 0;
}

// ---- what the callers get ----

static unsigned told; // callbacks
static size_t sum;

static void read_bytes(const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        sum += ((const uint8_t *)bytes)[i];
}

static void on_end(const struct ty_err *err)
{
    told++;
    if (err)
        REQUIRE(err->code != TY_OK && *err->message && memchr(err->message, 0, sizeof err->message));
}

static void read_record(const struct ty_record *record)
{
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *bytes;
    read_bytes(record->pool, record->pool_len);
    read_bytes(record->organization, record->organization_len);
    read_bytes(record->metadata, record->metadata_len);
    read_bytes(record->options, record->options_len);
    while (ty_record_tail_next(record, &offset, &type, &bytes, &len))
        read_bytes(bytes, len);
}

static void on_up(void *context, bool up, const struct ty_err *err)
{
    (void)context;
    REQUIRE(!up || !err);
}

static void on_notice(void *context, bool ready, const struct ty_id *cancel_id)
{
    (void)context;
    REQUIRE(ready != !!cancel_id);
    if (cancel_id)
        read_bytes(cancel_id->bytes, sizeof cancel_id->bytes);
}

static void on_get(void *context, const struct ty_err *err, const struct ty_record *record)
{
    (void)context;
    on_end(err);
    REQUIRE(!err || !record);
    if (record)
        read_record(record);
}

static void on_wait(void *context, const struct ty_err *err, const struct ty_wait *wait)
{
    (void)context;
    on_end(err);
    REQUIRE(!err == !!wait);
    if (wait && wait->is_waiting)
        read_bytes(wait->why, strlen(wait->why));
}

static void on_jobs(void *context, const struct ty_err *err, const struct ty_claimed *jobs, size_t count)
{
    (void)context;
    on_end(err);
    REQUIRE(!err || !count);
    for (size_t i = 0; i < count; i++)
        read_record(&jobs[i].record);
}

static void on_list(void *context, const struct ty_err *err, const struct ty_list_page *page)
{
    (void)context;
    on_end(err);
    REQUIRE(!err == !!page);
    for (size_t i = 0; page && i < page->count; i++)
        read_record(&page->jobs[i].record);
    if (page)
        read_bytes(page->last.id.bytes, sizeof page->last.id.bytes);
}

static void on_keys(void *context, const struct ty_err *err, const struct ty_key_page *page)
{
    (void)context;
    on_end(err);
    REQUIRE(!err == !!page);
    if (!page)
        return;
    read_bytes(page->incarnation, strlen(page->incarnation));
    for (size_t i = 0; i < page->count; i++) {
        REQUIRE(page->keys[i].name && page->keys[i].value);
        read_bytes(page->keys[i].name, page->keys[i].name_len);
        read_bytes(page->keys[i].value, page->keys[i].value_len);
    }
}

static void on_log_page(void *context, const struct ty_err *err, const struct ty_log_page *page)
{
    size_t in_runs = 0;
    (void)context;
    on_end(err);
    REQUIRE(!err == !!page);
    for (size_t i = 0; page && i < page->count; i++)
        read_bytes(page->entries[i].data, page->entries[i].len);
    for (size_t i = 0; page && i < page->run_count; i++) {
        REQUIRE(page->runs[i].count && (!page->runs[i].missing || page->runs[i].count == 1));
        in_runs += page->runs[i].count;
    }
    REQUIRE(!page || in_runs == page->count);
}

static void on_spans(void *context, const struct ty_err *err, const struct ty_log_span *spans, size_t count)
{
    (void)context;
    on_end(err);
    read_bytes(spans, count * sizeof *spans);
}

static void on_sums(void *context, const struct ty_err *err, uint64_t total, const uint64_t *organizations, size_t count)
{
    (void)context;
    (void)total;
    on_end(err);
    read_bytes(organizations, err ? 0 : count * sizeof *organizations);
}

static void on_log(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    (void)context;
    on_end(err);
    read_bytes(place, sizeof *place);
}

static void on_results(void *context, const struct ty_err *err, const int *results, size_t count)
{
    (void)context;
    on_end(err);
    read_bytes(results, results ? count * sizeof *results : 0);
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    (void)context;
    (void)stored;
    on_end(err);
    read_bytes(results, err || gap ? 0 : count * sizeof *results);
}

static void on_attached(void *context, const struct ty_err *err, int64_t stored, bool cluster_changed)
{
    (void)context;
    (void)stored;
    (void)cluster_changed;
    on_end(err);
}

static void on_reclaimed(void *context, const struct ty_err *err, unsigned count)
{
    (void)context;
    (void)count;
    on_end(err);
}

static void on_retired(void *context, const struct ty_err *err, unsigned removed, unsigned passed)
{
    (void)context;
    (void)removed;
    (void)passed;
    on_end(err);
}

static void on_done(void *context, const struct ty_err *err)
{
    (void)context;
    on_end(err);
}

static void on_progress(void *context, const struct ty_err *err, const void *bytes, size_t len)
{
    (void)context;
    on_end(err);
    REQUIRE(!err || !bytes);
    read_bytes(bytes, len);
}

static void on_outbox(void *context, const struct ty_err *err, const struct ty_outbox *outbox)
{
    (void)context;
    on_end(err);
    REQUIRE(!err == !!outbox);
    if (!outbox)
        return;
    read_bytes(outbox->marks, outbox->mark_count * sizeof *outbox->marks);
    read_bytes(outbox->nulls, outbox->null_count * sizeof *outbox->nulls);
    for (size_t i = 0; i < outbox->job_count; i++) {
        read_bytes(outbox->jobs[i].change, sizeof outbox->jobs[i].change);
        if (outbox->jobs[i].is_ok)
            read_record(&outbox->jobs[i].record);
    }
}

static void on_published(void *context, const struct ty_err *err, enum ty_published_result result)
{
    (void)context;
    (void)result;
    on_end(err);
}

static void on_restored(void *context, const struct ty_err *err, bool is_ours, unsigned changed)
{
    (void)context;
    (void)is_ours;
    (void)changed;
    on_end(err);
}

static void on_replayed(void *context, const struct ty_err *err, enum ty_replayed result, const struct ty_commands_missing *missing)
{
    (void)context;
    if (err ? missing != NULL : (missing != NULL) != (result == TY_REPLAYED_COMMANDS_MISSING))
        abort();
    if (missing && strnlen(missing->partition, sizeof missing->partition) == sizeof missing->partition)
        abort();
    on_end(err);
}

static void on_rebuild(void *context, const struct ty_err *err, const struct ty_rebuild *rebuild)
{
    (void)context;
    on_end(err);
    REQUIRE(!err == !!rebuild);
}

static void on_info(void *context, const struct ty_err *err, const char *text)
{
    struct ty_memory_info info;
    struct ty_err bad;
    (void)context;
    on_end(err);
    REQUIRE(!err == !!text);
    if (text && ty_memory_info_parse(text, &info, &bad) == 0)
        REQUIRE(memchr(info.policy, 0, sizeof info.policy) && (!info.evicts || strcmp(info.policy, "noeviction") != 0));
}

// ---- the calls ----

static const struct ty_id id = {.bytes = {7}};
static const struct ty_token token = {.bytes = {9}};
static const char *const pools[] = {"default"};

static void ask_get(struct ty_state *state) { ty_state_get(state, &id, on_get, NULL); }
static void ask_wait(struct ty_state *state) { ty_state_wait(state, &id, on_wait, NULL); }
static void ask_claim(struct ty_state *state) { ty_state_claim(state, 0, &token, "worker", 3, 10000, pools, 1, on_jobs, NULL); }
static void ask_keys(struct ty_state *state) { ty_state_keys(state, 0, 10, on_keys, NULL); }
static void ask_log_spans(struct ty_state *state) { ty_state_log_spans(state, &id, 10, on_spans, NULL); }
static void ask_log_page(struct ty_state *state) { ty_state_log_page(state, &id, 1, 0, 100, 65536, on_log_page, NULL); }
static void ask_small_log_page(struct ty_state *state) { ty_state_log_page(state, &id, 0, 3, 2, 64, on_log_page, NULL); }
static void ask_log_open(struct ty_state *state) { ty_state_log_open(state, &id, 1, 5, &token, 0, on_log, NULL); }
static void ask_reclaim(struct ty_state *state) { ty_state_reclaim(state, 0, 10000, on_reclaimed, NULL); }
static void ask_retire(struct ty_state *state) { ty_state_retire(state, 0, 1000, on_retired, NULL); }
static void ask_unlinked(struct ty_state *state) { ty_state_unlinked(state, 0, 1000, 10, on_jobs, NULL); }
static void ask_progress_put(struct ty_state *state) { ty_state_progress_put(state, &id, &token, "x", 1, on_done, NULL); }
static void ask_progress(struct ty_state *state) { ty_state_progress_get(state, &id, on_progress, NULL); }
static void ask_info(struct ty_state *state) { ty_state_info(state, "memory", on_info, NULL); }
static void ask_held(struct ty_state *state) { ty_state_end_held(state, 0, "publisher", on_reclaimed, NULL); }
static void ask_rebuild(struct ty_state *state) { ty_state_rebuild(state, 0, TY_REBUILD_ASK, on_rebuild, NULL); }
static void ask_attach(struct ty_state *state) { ty_state_attach(state, "cluster", "submit", 0, on_attached, NULL); }
static void ask_replayed(struct ty_state *state) { ty_state_replayed(state, 0, "publisher", 10000, "events", NULL, 0, NULL, 0, on_replayed, NULL); }
static void ask_outbox(struct ty_state *state) { ty_state_outbox(state, 0, "publisher", 10000, 10, "events", 2, on_outbox, NULL); }

static void ask_restore(struct ty_state *state)
{
    ty_state_restore(state, 0, "publisher", "events", 0, NULL, 0, NULL, 0, on_restored, NULL);
}

static void ask_published(struct ty_state *state)
{
    struct ty_published published = {.name = "publisher", .topic = "events"};
    ty_state_published(state, 0, &published, on_published, NULL);
}

static void ask_list(struct ty_state *state)
{
    struct ty_list_query query = {.organization_id = "org", .limit = 10, .max_bytes = 65536};
    ty_state_list(state, 0, &query, on_list, NULL);
}

static void ask_log_append(struct ty_state *state)
{
    struct ty_bytes entry = {"entry", 5};
    struct ty_log_append append = {.id = id, .token = token, .attempt = 1, .entries = &entry, .count = 1};
    ty_state_log_append(state, &append, on_log, NULL);
}

static void ask_log_sums(struct ty_state *state)
{
    struct ty_log_usage usages[] = {{.id = id, .organization = "org", .bytes = 5}, {.id = id}};
    ty_state_log_sums(state, 0, usages, 2, on_sums, NULL);
}

static void ask_log_look(struct ty_state *state)
{
    ty_state_log_look(state, 0, 1000);
    told++; // nobody waits for it
}

static void ask_renew(struct ty_state *state)
{
    struct ty_renewal renewals[] = {{.id = id, .token = token, .attempt = 1, .patch = "", .worker = "worker"},
                                    {.id = id, .token = token, .attempt = 2, .patch = "", .worker = "worker"}};
    ty_state_renew(state, 0, renewals, 2, on_results, NULL);
}

static void ask_finish(struct ty_state *state)
{
    struct ty_finish finishes[] = {{.id = id, .token = token, .attempt = 1, .action = TY_FINISH_FAILED, .patch = ""},
                                   {.id = id, .token = token, .attempt = 2, .action = TY_FINISH_RETRY, .patch = ""}};
    ty_state_finish(state, 0, finishes, 2, on_results, NULL);
}

static void ask_settled(struct ty_state *state)
{
    struct ty_settling attempts[] = {{.id = id, .token = token}, {.id = id, .token = token}};
    ty_state_settled(state, 0, attempts, 2, on_results, NULL);
}

static void ask_control(struct ty_state *state)
{
    struct ty_apply commands[] = {{.kind = TY_COMMAND_CANCEL, .job_id = id}, {.kind = TY_COMMAND_DELETE, .job_id = id}};
    struct ty_watermark mark = {"cancel", 0, 5, 7};
    ty_state_apply(state, commands, 2, &mark, on_applied, NULL);
}

static void ask_rules(struct ty_state *state)
{
    struct ty_apply commands[] = {{.kind = TY_APPLY_RULE, .organization_id = "org"}};
    ty_state_apply(state, commands, 1, NULL, on_applied, NULL);
}

static void ask_submit(struct ty_state *state)
{
    // A header, state PENDING; the rest is empty.
    uint8_t record[TY_RECORD_HEADER_BYTES] = {TY_RECORD_FORMAT, TY_JOB_PENDING};
    struct ty_apply commands[] = {{.kind = TY_COMMAND_SUBMIT, .job_id = id, .record = record, .record_len = sizeof record},
                                  {.kind = TY_COMMAND_CANCEL, .job_id = id}};
    ty_state_apply(state, commands, 2, NULL, on_applied, NULL);
}

static void (*const asks[])(struct ty_state *state) = {
    ask_get,      ask_wait,     ask_list,         ask_claim,    ask_keys,    ask_log_spans, ask_log_page, ask_small_log_page,
    ask_log_open, ask_log_append, ask_log_sums,   ask_log_look, ask_reclaim, ask_retire,    ask_unlinked, ask_progress_put,
    ask_progress, ask_info,     ask_held,         ask_rebuild,  ask_attach,  ask_replayed,  ask_outbox,   ask_restore,
    ask_published, ask_renew,   ask_finish,       ask_settled,  ask_control, ask_rules,     ask_submit,
};
#define HELLO (sizeof asks / sizeof *asks)
#define NOTICE (HELLO + 1)

static void run(struct ty_state *state, struct input *input)
{
    unsigned which = input_byte(input) % (NOTICE + 1);
    told = 0;
    if (which == HELLO) {
        on_client_up(up_context, true, NULL);
        answer_all(input);
        on_client_up(up_context, false, NULL);
    } else if (which == NOTICE) {
        size_t len = input_byte(input);
        len = len < input->len ? len : input->len;
        char *text = input_text(input, len);
        on_message(message_context, "{ty:0}:n", text, len);
        free(text);
    } else {
        asks[which](state);
        answer_all(input);
        REQUIRE(told == 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ty_loop *loop;
    struct ty_state_options options = {.redis_url = "redis://localhost", .shards = 1, .log_retention_ms = 1000, .horizon_ms = 1000};
    struct input input = {data, size};
    struct ty_state *state;
    struct ty_err err;
    if (!loop)
        loop = ty_loop_new(&err);
    REQUIRE(loop && ty_state_new(loop, &options, on_up, NULL, &state, &err) == 0);
    // The listener's own coming and going says nothing of the store.
    ty_redis_state_fn state_up = on_client_up;
    void *state_context = up_context;
    REQUIRE(ty_state_listen(state, on_notice, NULL, &err) == 0);
    on_client_up = state_up;
    up_context = state_context;
    while (input.len)
        run(state, &input);
    ty_state_free(state);
    return 0;
}
