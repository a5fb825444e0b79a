// Two versions of the programs side by side on one store: the scripts of this one, and those of the version before there was a
// back-off (tests/integration/older). Whatever one of them leaves, the other goes on from.
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

#define ARGS_MAX 24

static struct redis_server *server;
static struct state_client client; // of this version, with a long back-off
static struct ty_buf sources[5];
enum older { CLAIM, CONTROL, FINISH, RECLAIM, RENEW };

// ---- the older version ----

static void read_file(const char *name, struct ty_buf *out)
{
    char *path TY_FREE = ty_xasprintf("%s/tests/integration/older/%s.lua", TY_SOURCE_DIR, name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s cannot be read", path);
    for (size_t got = 1; got;) {
        got = fread(ty_buf_reserve(out, 4096), 1, 4096, file);
        out->len += got;
    }
    fclose(file);
}

static void load_older(void)
{
    static const char *const names[] = {"claim", "control", "finish", "reclaim", "renew"};
    TY_BUF(prelude);
    read_file("prelude", &prelude);
    for (size_t i = 0; i < 5; i++) {
        TY_BUF(body);
        read_file(names[i], &body);
        size_t first = (size_t)((uint8_t *)memchr(body.data, '\n', body.len) - body.data) + 1;
        ty_buf_add(&sources[i], body.data, first);
        ty_buf_add(&sources[i], prelude.data, prelude.len);
        ty_buf_add(&sources[i], body.data + first, body.len - first);
    }
}

struct answer {
    bool done;
    size_t count;
    int64_t numbers[8];
};

static void on_answer(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct answer *answer = context;
    if (err)
        fail_msg("%s", err->message);
    if (reply->type != TY_REDIS_ARRAY)
        fail_msg("%.*s", (int)reply->len, reply->bytes);
    answer->done = true;
    answer->count = reply->count;
    for (size_t i = 0; i < reply->count && i < 8; i++)
        answer->numbers[i] = reply->items[i].integer;
}

struct arg {
    const void *bytes;
    size_t len;
};
#define TEXT(text) ((struct arg){(text), strlen(text)})
#define ID(id) ((struct arg){(id)->bytes, sizeof(id)->bytes})
#define NUMBER(value) TEXT(number(value))

static const char *number(uint64_t value)
{
    static char texts[8][24];
    static unsigned next;
    char *text = texts[next++ % 8];
    snprintf(text, sizeof texts[0], "%llu", (unsigned long long)value);
    return text;
}

static struct answer run_older(enum older script, const struct arg *args, size_t count)
{
    const char *argv[ARGS_MAX] = {"EVAL", (char *)sources[script].data, "1", "{ty:0}:m", "{ty:0}:"};
    size_t lens[ARGS_MAX] = {4, sources[script].len, 1, 8, 7};
    struct answer answer = {0};
    assert_true(count + 5 <= ARGS_MAX);
    for (size_t i = 0; i < count; i++) {
        argv[5 + i] = args[i].len ? args[i].bytes : "";
        lens[5 + i] = args[i].len;
    }
    ty_redis_command(client.redis, (int)count + 5, argv, lens, on_answer, &answer);
    STATE_UNTIL(&client, answer.done);
    return answer;
}
#define OLDER(script, ...)                                                                                                 \
    run_older(script, (const struct arg[]){__VA_ARGS__}, sizeof((const struct arg[]){__VA_ARGS__}) / sizeof(struct arg))

static size_t older_claim(void)
{
    struct ty_token token = ty_token_new();
    return OLDER(CLAIM, ID(&token), TEXT("older"), TEXT("10"), TEXT("60000"), TEXT(state_pool(&client))).count / 2;
}

static int64_t older_control(const struct ty_id *id, const char *kind)
{
    return OLDER(CONTROL, TEXT("3600000"), TEXT(""), TEXT(""), TEXT(""), TEXT(""), ID(id), TEXT(kind)).numbers[2];
}

static int64_t older_finish(const struct state_claim *claim, const char *action, enum ty_job_reason reason)
{
    return OLDER(FINISH, TEXT("3600000"), TEXT("3"), ID(&claim->id), ID(&claim->token), NUMBER(claim->attempt), TEXT(action),
                 NUMBER((uint64_t)reason), TEXT("")).numbers[0];
}

static int64_t older_renew(const struct state_claim *claim, unsigned stage)
{
    return OLDER(RENEW, ID(&claim->id), ID(&claim->token), NUMBER(claim->attempt), NUMBER(claim->fence), TEXT("60000"),
                 NUMBER(stage), TEXT(""), TEXT("older")).numbers[0];
}

// Until it has taken a lease, if it is to take one.
static void older_tick(bool takes)
{
    uint64_t until = ty_clock_mono_ms() + 60000;
    do {
        if (OLDER(RECLAIM, TEXT("3600000"), TEXT("3"), TEXT("1"), TEXT("256"), TEXT("1000")).numbers[0])
            return;
    } while (takes && ty_clock_mono_ms() < until);
    assert_false(takes);
}

// ---- this version ----

static bool is_in(const struct ty_id *id, const char *key)
{
    return STATE_RAW(&client, id, "ZSCORE", key, "%").type != TY_REDIS_NIL;
}

static struct ty_id submit(void)
{
    struct ty_id id = ty_id_new();
    assert_int_equal(state_submit(&client, &id, &(struct state_job){0}), TY_APPLIED);
    return id;
}

// A job in back-off: 'R' after an error, 'L' after the loss of the attempt that ret_claim still has.
static struct ty_id in_back_off(char how, struct state_claim *ret_claim)
{
    struct ty_id id = submit();
    *ret_claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    if (how == 'L')
        state_lose(&client, ret_claim);
    else
        state_finish(&client, ret_claim, TY_FINISH_RETRY, TY_REASON_PREPARE_FAILED);
    assert_true(is_in(&id, "{ty:0}:d"));
    return id;
}

// What is left in the set goes with the tick at which it is due.
static void tick_when_due(const struct ty_id *id)
{
    STATE_RAW(&client, id, "ZADD", "{ty:0}:d", "XX", "1", "%");
    state_reclaim(&client, 0, STATE_LEASE_MS);
    assert_false(is_in(id, "{ty:0}:d"));
}

static void an_older_worker_neither_claims_nor_moves_what_waits(void **state)
{
    struct state_claim claim;
    struct ty_id id = in_back_off('R', &claim);
    (void)state;
    older_tick(false);
    assert_int_equal(older_claim(), 0);
    assert_true(is_in(&id, "{ty:0}:d"));
    state_check(&client, &id, "acme");
    state_control(&client, TY_COMMAND_DELETE, &id);
}

static void an_older_cancel_or_delete_stands(void **state)
{
    struct state_claim claim;
    struct ty_id id = in_back_off('R', &claim);
    (void)state;
    assert_int_equal(older_control(&id, "c"), TY_APPLIED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_CANCELED);
    tick_when_due(&id);
    state_check(&client, &id, "acme");
    id = in_back_off('R', &claim);
    assert_int_equal(older_control(&id, "d"), TY_APPLY_DELETED);
    tick_when_due(&id);
    assert_false(state_get(&client, &id).found);
    state_check(&client, &id, "acme");
}

static void an_older_worker_takes_up_its_attempt_from_back_off(void **state)
{
    struct state_claim claim;
    struct ty_id id = in_back_off('L', &claim);
    (void)state;
    assert_int_equal(older_renew(&claim, TY_STAGE_TRAIN), TY_RENEWED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_IN_PROGRESS);
    tick_when_due(&id);
    state_check(&client, &id, "acme");
    assert_int_equal(older_claim(), 0);
    assert_int_equal(older_finish(&claim, "C", TY_REASON_NONE), TY_FINISHED);
    assert_int_equal(state_get(&client, &id).state, TY_JOB_COMPLETED);
    state_check(&client, &id, "acme");
}

static void an_older_end_of_an_attempt_is_gone_on_from(void **state)
{
    struct ty_id id = submit();
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    (void)state;
    // It knows no back-off: the job is ready at once, also when an entry of an earlier failure lies ahead.
    assert_int_equal(older_finish(&claim, "R", TY_REASON_PREPARE_FAILED), TY_FINISHED);
    assert_int_equal(state_get(&client, &id).errors, 1);
    state_check(&client, &id, "acme");
    claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    state_lose(&client, &claim);
    assert_int_equal(older_renew(&claim, 0), TY_RENEWED);
    assert_int_equal(older_finish(&claim, "H", TY_REASON_HANDED_BACK), TY_FINISHED);
    tick_when_due(&id); // what it left in the set makes no second member of the job
    state_check(&client, &id, "acme");
    struct state_claim again[STATE_JOBS_MAX];
    struct ty_token token = ty_token_new();
    assert_int_equal(state_claim(&client, 0, &token, 1, STATE_LEASE_MS, again), 1);
    assert_int_equal(state_finish(&client, &again[0], TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
}

static void an_older_lease_clock_is_gone_on_from(void **state)
{
    struct ty_id id = submit();
    (void)state;
    state_claim_one(&client, &id, 1);
    older_tick(true);
    struct state_view view = state_get(&client, &id);
    assert_int_equal(view.state, TY_JOB_PENDING);
    assert_int_equal(view.losses, 1); // as it counts
    state_check(&client, &id, "acme");
    struct state_claim claim = state_claim_one(&client, &id, STATE_LEASE_MS);
    assert_int_equal(state_finish(&client, &claim, TY_FINISH_COMPLETED, TY_REASON_NONE), TY_FINISHED);
}

static void a_quarantined_job_has_ended_for_an_older_worker(void **state)
{
    struct ty_id id = ty_id_new();
    struct state_claim claim = {0};
    (void)state;
    assert_int_equal(state_submit(&client, &id, &(struct state_job){.max_attempts = 100}), TY_APPLIED);
    for (int i = 0; i < 3; i++) {
        char *queue TY_FREE = ty_xasprintf("{ty:0}:q:%s", state_pool(&client));
        STATE_RAW(&client, &id, "ZREM", "{ty:0}:d", "%");
        STATE_RAW(&client, &id, "ZADD", queue, "0", "%");
        claim = state_claim_one(&client, &id, STATE_LEASE_MS);
        state_lose(&client, &claim);
    }
    assert_int_equal(state_get(&client, &id).reason, TY_REASON_QUARANTINED);
    assert_int_equal(older_renew(&claim, 0), TY_RENEW_LOST);
    assert_int_equal(older_finish(&claim, "C", TY_REASON_NONE), TY_FINISH_ALREADY);
    assert_int_equal(older_claim(), 0);
    assert_int_equal(older_control(&id, "d"), TY_APPLY_DELETED);
}

static int set_up(void **state)
{
    (void)state;
    load_older();
    server = redis_server_new(NULL);
    redis_server_start(server);
    state_client_open_site(&client, server,
                           &(struct ty_state_options){.max_losses = 3, .retry_base_ms = 600000, .retry_max_ms = 600000});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    state_client_close(&client);
    redis_server_free(server);
    for (size_t i = 0; i < 5; i++)
        ty_buf_done(&sources[i]);
    return 0;
}

static int empty(void **state)
{
    (void)state;
    STATE_RAW(&client, NULL, "FLUSHALL");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_older_worker_neither_claims_nor_moves_what_waits, empty),
        cmocka_unit_test_setup(an_older_cancel_or_delete_stands, empty),
        cmocka_unit_test_setup(an_older_worker_takes_up_its_attempt_from_back_off, empty),
        cmocka_unit_test_setup(an_older_end_of_an_attempt_is_gone_on_from, empty),
        cmocka_unit_test_setup(an_older_lease_clock_is_gone_on_from, empty),
        cmocka_unit_test_setup(a_quarantined_job_has_ended_for_an_older_worker, empty),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
