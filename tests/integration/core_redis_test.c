// core/redis against a real server that is well: what comes back, and who is let in. Servers that are not: core_redis_outage_test.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/redis_client.h"

// ---- one server for all tests that do not ill-treat it ----

static struct redis_server *shared;

static int start_shared(void **state)
{
    (void)state;
    shared = redis_server_new(NULL);
    redis_server_launch(shared, (const char *const[]){"--enable-debug-command", "yes", NULL});
    redis_server_wait_ready(shared);
    return 0;
}

static int stop_shared(void **state)
{
    (void)state;
    redis_server_free(shared);
    return 0;
}

static void on_tree(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    unsigned *calls = context;
    (*calls)++;
    assert_null(err);
    assert_int_equal(reply->type, TY_REDIS_ARRAY);
    assert_int_equal(reply->count, 4);
    assert_int_equal(reply->items[0].type, TY_REDIS_INT);
    assert_int_equal(reply->items[0].integer, -7);
    const struct ty_redis_reply *inner = &reply->items[1];
    assert_int_equal(inner->type, TY_REDIS_ARRAY);
    assert_int_equal(inner->count, 2);
    assert_int_equal(inner->items[0].len, 3);
    assert_memory_equal(inner->items[0].bytes, "a\0b", 4);
    assert_int_equal(inner->items[1].type, TY_REDIS_ARRAY);
    assert_int_equal(inner->items[1].count, 1);
    assert_int_equal(inner->items[1].items[0].integer, 9);
    assert_int_equal(reply->items[2].type, TY_REDIS_NIL);
    assert_int_equal(reply->items[3].type, TY_REDIS_STATUS);
    assert_string_equal(reply->items[3].bytes, "fine");
}

static void replies_come_as_trees(void **state)
{
    (void)state;
    struct client client;
    unsigned calls = 0;
    redis_client_open_to(&client, shared);
    assert_int_equal(ASK(&client, "SET", "a", "1").type, TY_REDIS_STATUS);
    assert_int_equal(ASK(&client, "GET", "none").type, TY_REDIS_NIL);
    struct answer answer = ASK(&client, "INCR", "a");
    assert_int_equal(answer.type, TY_REDIS_INT);
    assert_int_equal(answer.integer, 2);
    answer = ASK(&client, "LPUSH", "a", "x");
    assert_int_equal(answer.type, TY_REDIS_ERROR);
    assert_int_equal(strncmp(answer.text, "WRONGTYPE", 9), 0);
    static const char *const argv[] = {"EVAL", "return {-7, {'a\\0b', {9}}, false, {ok = 'fine'}}", "0"};
    ty_redis_command(client.redis, 3, argv, (size_t[]){4, strlen(argv[1]), 1}, on_tree, &calls);
    RUN_UNTIL(&client, calls > 0);
    assert_int_equal(calls, 1);
    redis_client_close(&client);
}

static long reads_processed(void)
{
    const char *text = strstr(redis_server_ask(shared, "INFO stats"), "total_reads_processed:");
    assert_non_null(text);
    return atol(strchr(text, ':') + 1);
}

static void a_turn_leaves_in_one_write(void **state)
{
    (void)state;
    struct client client;
    struct answer answers[100] = {0};
    redis_client_open_to(&client, shared);
    long before = reads_processed();
    for (size_t i = 0; i < 100; i++)
        SEND(&client, &answers[i], "INCR", "turn");
    assert_int_equal(ty_redis_pending(client.redis), 100);
    RUN_UNTIL(&client, ty_redis_pending(client.redis) == 0);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].integer, i + 1);
    }
    // The end of the first question about the reads, the second question, and all hundred commands in one.
    assert_int_equal(reads_processed() - before, 3);
    redis_client_close(&client);
}

static void waiting_commands_are_bounded(void **state)
{
    (void)state;
    struct client client;
    struct answer answers[15] = {0};
    struct ty_redis_options options = {.url = redis_server_url(shared), .max_pending = 10};
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.ups == 1);
    for (size_t i = 0; i < 15; i++) {
        SEND(&client, &answers[i], "PING");
        assert_int_equal(answers[i].calls, 0); // never from inside the call
    }
    for (size_t i = 0; i < 15; i++)
        RUN_UNTIL(&client, answers[i].calls > 0);
    for (size_t i = 0; i < 15; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].code, i < 10 ? TY_OK : TY_EEXHAUSTED);
    }
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    redis_client_close(&client);
}

static long scripts_loaded(void)
{
    const char *text = strstr(redis_server_ask(shared, "INFO commandstats"), "cmdstat_script|load:calls=");
    return text ? atol(strchr(text, '=') + 1) : 0;
}

// A call that is made again from inside its callback when the first one failed.
struct retry {
    struct client *client;
    const struct ty_redis_script *script;
    unsigned calls;
    struct answer second;
};

static void on_retry(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct retry *retry = context;
    retry->calls++;
    assert_null(reply);
    assert_int_equal(err->code, TY_EUNAVAILABLE);
    redis_client_eval(retry->client, retry->script, redis_client_on_answer, &retry->second);
}

static void scripts_survive_a_flush(void **state)
{
    (void)state;
    struct ty_redis_script script;
    struct client client;
    struct answer answers[3] = {0};
    redis_client_init_script(&script);
    redis_client_open_to(&client, shared);
    long before = scripts_loaded();
    for (size_t i = 0; i < 3; i++)
        redis_client_eval(&client, &script, redis_client_on_answer, &answers[i]);
    RUN_UNTIL(&client, answers[2].calls > 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(answers[i].calls, 1);
        assert_int_equal(answers[i].code, TY_OK);
        assert_int_equal(answers[i].type, TY_REDIS_ARRAY);
    }
    assert_int_equal(scripts_loaded() - before, 1);

    redis_server_ask(shared, "SCRIPT FLUSH SYNC");
    struct retry retries[3];
    for (size_t i = 0; i < 3; i++) {
        retries[i] = (struct retry){.client = &client, .script = &script};
        redis_client_eval(&client, &script, on_retry, &retries[i]);
    }
    RUN_UNTIL(&client, retries[2].second.calls > 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(retries[i].calls, 1);
        assert_int_equal(retries[i].second.calls, 1);
        assert_int_equal(retries[i].second.code, TY_OK);
    }
    // One load serves all of them.
    assert_int_equal(scripts_loaded() - before, 2);
    redis_client_close(&client);
}

static void a_script_that_does_not_compile_says_so(void **state)
{
    (void)state;
    static const char source[] = "#!lua\nreturn oh no";
    struct ty_redis_script script;
    struct client client;
    struct answer answer = {0};
    ty_redis_script_init(&script, "broken", (const unsigned char *)source, sizeof source - 1);
    redis_client_open_to(&client, shared);
    redis_client_eval(&client, &script, redis_client_on_answer, &answer);
    RUN_UNTIL(&client, answer.calls > 0);
    assert_int_equal(answer.code, TY_EINTERNAL);
    assert_non_null(strstr(answer.text, "compiling script"));
    redis_client_close(&client);
}

static void error_replies_are_told_apart(void **state)
{
    (void)state;
    struct client client;
    redis_client_open_to(&client, shared);
    redis_server_ask(shared, "CONFIG SET maxmemory 1");
    assert_int_equal(ASK(&client, "SET", "big", "x").code, TY_EEXHAUSTED);
    redis_server_ask(shared, "CONFIG SET maxmemory 0");
    redis_server_ask(shared, "REPLICAOF 127.0.0.1 1");
    struct answer answer = ASK(&client, "SET", "a", "x");
    assert_int_equal(answer.code, TY_EUNAVAILABLE);
    assert_non_null(strstr(answer.text, "READONLY"));
    redis_server_ask(shared, "REPLICAOF NO ONE");
    assert_int_equal(ASK(&client, "SET", "a", "x").code, TY_OK);
    redis_client_close(&client);
}

static void loading_is_not_an_answer(void **state)
{
    (void)state;
    struct client client;
    char key[16];
    redis_client_open_to(&client, shared);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "load%d", i);
        assert_int_equal(ASK(&client, "SET", key, "x").code, TY_OK);
    }
    redis_server_ask(shared, "CONFIG SET key-load-delay 10000");
    redis_server_ask(shared, "CONFIG SET loading-process-events-interval-bytes 1024");
    redis_server_tell(shared, "DEBUG RELOAD");
    // The reload is on its way; answers before it starts are good ones.
    struct answer answer = {0};
    uint64_t until = ty_clock_mono_ms() + WAIT_MS;
    do
        answer = ASK(&client, "GET", "load1");
    while (answer.code == TY_OK && ty_clock_mono_ms() < until);
    assert_int_equal(answer.code, TY_EUNAVAILABLE);
    assert_non_null(strstr(answer.text, "LOADING"));
    redis_server_tell(shared, "CONFIG SET key-load-delay 0");
    do
        answer = ASK(&client, "GET", "load1");
    while (answer.code != TY_OK && ty_clock_mono_ms() < until);
    assert_string_equal(answer.text, "x");
    assert_int_equal(client.downs, 0);
    redis_client_close(&client);
}

static void a_closed_connection_comes_back(void **state)
{
    (void)state;
    struct client client;
    redis_client_open_to(&client, shared);
    redis_server_ask(shared, "CLIENT KILL TYPE normal SKIPME yes");
    RUN_UNTIL(&client, client.ups == 2);
    assert_int_equal(client.downs, 1);
    assert_int_equal(client.cause.code, TY_EUNAVAILABLE);
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    redis_client_close(&client);
}

static void names_are_resolved(void **state)
{
    (void)state;
    struct client client;
    char *url TY_FREE = ty_xasprintf("redis://localhost:%d/3", redis_server_port(shared));
    redis_client_open(&client, &(struct ty_redis_options){.url = url});
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "SET", "third", "x").code, TY_OK);
    assert_int_equal(strncmp(redis_server_ask(shared, "EXISTS third"), ":0", 2), 0);
    redis_client_close(&client);
    redis_client_open(&client, &(struct ty_redis_options){.url = "redis://no-such-host.invalid:6379"});
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "no-such-host.invalid"));
    redis_client_close(&client);
    // Freed while the name is being resolved.
    redis_client_open(&client, &(struct ty_redis_options){.url = url});
    struct ty_err err;
    assert_int_equal(ty_loop_run_once(client.loop, 0, &err), 0);
    redis_client_close(&client);
}

static void a_database_out_of_range_is_never_up(void **state)
{
    (void)state;
    struct client client;
    char *url TY_FREE = ty_xasprintf("redis://127.0.0.1:%d/99", redis_server_port(shared));
    redis_client_open(&client, &(struct ty_redis_options){.url = url});
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "DB index is out of range"));
    assert_int_equal(client.ups, 0);
    assert_int_equal(ASK(&client, "SET", "a", "1").code, TY_EUNAVAILABLE);
    redis_client_close(&client);
}

static void credentials(void **state)
{
    (void)state;
    static const struct {
        const char *credentials, *wrong; // wrong: what the cause says, NULL: it gets up
    } cases[] = {
        {"runner:p%40ss:w@rd", NULL},
        {"runner:secret-but-wrong", "WRONGPASS"},
        {":secret-but-wrong", "AUTH"},
        {"nobody:secret-but-wrong", "WRONGPASS"},
    };
    redis_server_ask(shared, "ACL SETUSER runner on >p@ss:w@rd ~* &* +@all");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client client;
        char *url TY_FREE = ty_xasprintf("redis://%s@127.0.0.1:%d", cases[i].credentials, redis_server_port(shared));
        redis_client_open(&client, &(struct ty_redis_options){.url = url});
        RUN_UNTIL(&client, client.ups + client.downs > 0);
        if (cases[i].wrong) {
            assert_int_equal(client.ups, 0);
            assert_non_null(strstr(client.cause.message, cases[i].wrong));
            assert_null(strstr(client.cause.message, "secret"));
        } else {
            assert_string_equal(ASK(&client, "ACL", "WHOAMI").text, "runner");
        }
        redis_client_close(&client);
    }
}

static void on_no_message(void *context, const char *channel, const char *bytes, size_t len)
{
    (void)context;
    (void)bytes;
    (void)len;
    fail_msg("a message on %s", channel);
}

static void a_channel_that_is_not_allowed(void **state)
{
    (void)state;
    struct client client;
    redis_server_ask(shared, "ACL SETUSER deaf on >deaf ~* resetchannels +@all");
    char *url TY_FREE = ty_xasprintf("redis://deaf:deaf@127.0.0.1:%d", redis_server_port(shared));
    redis_client_open(&client, &(struct ty_redis_options){.url = url});
    ty_redis_subscribe(client.redis, "one", on_no_message, NULL);
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "NOPERM"));
    assert_int_equal(client.ups, 0);
    redis_client_close(&client);
}

// ---- load ----

#define LOAD 200000
#define WINDOW 1000

struct load {
    struct client *client;
    unsigned sent, answered;
};

static void on_loaded(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct load *load = context;
    assert_null(err);
    assert_int_equal(reply->integer, ++load->answered); // in order, none twice
    if (load->sent < LOAD) {
        load->sent++;
        ty_redis_command(load->client->redis, 2, (const char *const[]){"INCR", "load"}, (size_t[]){4, 4}, on_loaded, load);
    }
}

static void many_commands(void **state)
{
    (void)state;
    struct client client;
    struct load load = {.client = &client};
    redis_server_ask(shared, "DEL load");
    redis_client_open_to(&client, shared);
    uint64_t start = ty_clock_mono_us();
    for (; load.sent < WINDOW; load.sent++)
        ty_redis_command(client.redis, 2, (const char *const[]){"INCR", "load"}, (size_t[]){4, 4}, on_loaded, &load);
    RUN_UNTIL(&client, load.answered == LOAD);
    print_message("%u commands, %u under way: %.0f/s\n", LOAD, WINDOW,
                  LOAD * 1e6 / (double)(ty_clock_mono_us() - start));
    redis_client_close(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_as_trees),
        cmocka_unit_test(a_turn_leaves_in_one_write),
        cmocka_unit_test(waiting_commands_are_bounded),
        cmocka_unit_test(scripts_survive_a_flush),
        cmocka_unit_test(a_script_that_does_not_compile_says_so),
        cmocka_unit_test(error_replies_are_told_apart),
        cmocka_unit_test(loading_is_not_an_answer),
        cmocka_unit_test(a_closed_connection_comes_back),
        cmocka_unit_test(names_are_resolved),
        cmocka_unit_test(a_database_out_of_range_is_never_up),
        cmocka_unit_test(credentials),
        cmocka_unit_test(a_channel_that_is_not_allowed),
        cmocka_unit_test(many_commands),
    };
    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
