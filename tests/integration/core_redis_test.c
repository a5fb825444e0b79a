// core/redis against real servers: what comes back, and that every command is answered exactly once whatever happens to the
// server, the connection or the client.
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
#include "core/loop.h"
#include "core/redis.h"
#include "tests/integration/redis_server.h"

#define WAIT_MS 20000
#define COMMANDS 1000

// What became of one command.
struct answer {
    unsigned calls;
    enum ty_code code; // TY_OK: a reply
    enum ty_redis_type type;
    int64_t integer;
    char text[256]; // cut
};

struct client {
    struct ty_loop *loop;
    struct ty_redis *redis;
    unsigned ups, downs;
    struct ty_err cause;
    struct answer *again; // when set, every failed command is asked once more, and this is its answer
    size_t again_count;
};

static void on_state(void *context, bool up, const struct ty_err *err)
{
    struct client *client = context;
    if (up) {
        assert_null(err);
        client->ups++;
        return;
    }
    assert_non_null(err);
    client->downs++;
    client->cause = *err;
}

static void open_client(struct client *client, const struct ty_redis_options *options)
{
    struct ty_err err;
    *client = (struct client){.loop = ty_loop_new(&err)};
    assert_non_null(client->loop);
    client->redis = ty_redis_new(client->loop, options, on_state, client, &err);
    if (!client->redis)
        fail_msg("%s", err.message);
}

static void close_client(struct client *client)
{
    ty_redis_free(client->redis);
    ty_loop_free(client->loop);
    free(client->again);
}

// Runs the loop until the condition holds; a test that waits in vain fails.
#define RUN_UNTIL(client, condition)                                                               \
    do {                                                                                           \
        uint64_t until_ = ty_clock_mono_ms() + WAIT_MS;                                            \
        while (!(condition))                                                                       \
            turn((client), until_, #condition);                                                    \
    } while (0)

static void turn(struct client *client, uint64_t until, const char *condition)
{
    struct ty_err err;
    uint64_t now = ty_clock_mono_ms();
    if (now >= until)
        fail_msg("waited in vain for: %s (last cause: %s)", condition, client->cause.message);
    assert_int_equal(ty_loop_run_once(client->loop, (int)(until - now), &err), 0);
}

static void on_answer(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct answer *answer = context;
    answer->calls++;
    assert_true(!reply != !err);
    answer->code = err ? err->code : TY_OK;
    if (err) {
        snprintf(answer->text, sizeof answer->text, "%.255s", err->message);
        return;
    }
    answer->type = reply->type;
    answer->integer = reply->integer;
    if (reply->bytes) {
        assert_int_equal(reply->bytes[reply->len], 0);
        snprintf(answer->text, sizeof answer->text, "%s", reply->bytes);
    }
}

static void send_words(struct client *client, struct answer *answer, const char *const *words)
{
    const char *argv[16];
    size_t lens[16];
    int argc = 0;
    for (; words[argc]; argc++) {
        argv[argc] = words[argc];
        lens[argc] = strlen(words[argc]);
    }
    ty_redis_command(client->redis, argc, argv, lens, on_answer, answer);
}

#define SEND(client, answer, ...) send_words((client), (answer), (const char *const[]){__VA_ARGS__, NULL})

static struct answer ask_words(struct client *client, const char *const *words)
{
    struct answer answer = {0};
    send_words(client, &answer, words);
    RUN_UNTIL(client, answer.calls > 0);
    assert_int_equal(answer.calls, 1);
    return answer;
}

#define ASK(client, ...) ask_words((client), (const char *const[]){__VA_ARGS__, NULL})

static struct ty_redis_options options_of(const struct redis_server *server)
{
    return (struct ty_redis_options){.url = redis_server_url(server)};
}

static void open_to(struct client *client, const struct redis_server *server)
{
    struct ty_redis_options options = options_of(server);
    open_client(client, &options);
    RUN_UNTIL(client, client->ups == 1);
    assert_true(ty_redis_is_up(client->redis));
}

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
    open_to(&client, shared);
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
    close_client(&client);
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
    open_to(&client, shared);
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
    close_client(&client);
}

static void waiting_commands_are_bounded(void **state)
{
    (void)state;
    struct client client;
    struct answer answers[15] = {0};
    struct ty_redis_options options = options_of(shared);
    options.max_pending = 10;
    open_client(&client, &options);
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
    close_client(&client);
}

static void eval(struct client *client, const struct ty_redis_script *script, struct answer *answer)
{
    ty_redis_eval(client->redis, script, 1, 2, (const char *const[]){"key", "5"}, (size_t[]){3, 1}, on_answer, answer);
}

static long scripts_loaded(void)
{
    const char *text = strstr(redis_server_ask(shared, "INFO commandstats"), "cmdstat_script|load:calls=");
    return text ? atol(strchr(text, '=') + 1) : 0;
}

static void init_script(struct ty_redis_script *script)
{
    static const char source[] = "#!lua flags=no-writes\nreturn {KEYS[1], tonumber(ARGV[1]) + 1}";
    ty_redis_script_init(script, "probe", (const unsigned char *)source, sizeof source - 1);
    assert_int_equal(strlen(script->sha1), 40);
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
    eval(retry->client, retry->script, &retry->second);
}

static void scripts_survive_a_flush(void **state)
{
    (void)state;
    struct ty_redis_script script;
    struct client client;
    struct answer answers[3] = {0};
    init_script(&script);
    open_to(&client, shared);
    long before = scripts_loaded();
    for (size_t i = 0; i < 3; i++)
        eval(&client, &script, &answers[i]);
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
        ty_redis_eval(client.redis, &script, 1, 2, (const char *const[]){"key", "5"}, (size_t[]){3, 1}, on_retry, &retries[i]);
    }
    RUN_UNTIL(&client, retries[2].second.calls > 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(retries[i].calls, 1);
        assert_int_equal(retries[i].second.calls, 1);
        assert_int_equal(retries[i].second.code, TY_OK);
    }
    // One load serves all of them.
    assert_int_equal(scripts_loaded() - before, 2);
    close_client(&client);
}

static void a_script_that_does_not_compile_says_so(void **state)
{
    (void)state;
    static const char source[] = "#!lua\nreturn oh no";
    struct ty_redis_script script;
    struct client client;
    struct answer answer = {0};
    ty_redis_script_init(&script, "broken", (const unsigned char *)source, sizeof source - 1);
    open_to(&client, shared);
    eval(&client, &script, &answer);
    RUN_UNTIL(&client, answer.calls > 0);
    assert_int_equal(answer.code, TY_EINTERNAL);
    assert_non_null(strstr(answer.text, "compiling script"));
    close_client(&client);
}

static void error_replies_are_told_apart(void **state)
{
    (void)state;
    struct client client;
    open_to(&client, shared);
    redis_server_ask(shared, "CONFIG SET maxmemory 1");
    assert_int_equal(ASK(&client, "SET", "big", "x").code, TY_EEXHAUSTED);
    redis_server_ask(shared, "CONFIG SET maxmemory 0");
    redis_server_ask(shared, "REPLICAOF 127.0.0.1 1");
    struct answer answer = ASK(&client, "SET", "a", "x");
    assert_int_equal(answer.code, TY_EUNAVAILABLE);
    assert_non_null(strstr(answer.text, "READONLY"));
    redis_server_ask(shared, "REPLICAOF NO ONE");
    assert_int_equal(ASK(&client, "SET", "a", "x").code, TY_OK);
    close_client(&client);
}

static void loading_is_not_an_answer(void **state)
{
    (void)state;
    struct client client;
    char key[16];
    open_to(&client, shared);
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
    close_client(&client);
}

static void a_closed_connection_comes_back(void **state)
{
    (void)state;
    struct client client;
    open_to(&client, shared);
    redis_server_ask(shared, "CLIENT KILL TYPE normal SKIPME yes");
    RUN_UNTIL(&client, client.ups == 2);
    assert_int_equal(client.downs, 1);
    assert_int_equal(client.cause.code, TY_EUNAVAILABLE);
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    close_client(&client);
}

static void names_are_resolved(void **state)
{
    (void)state;
    struct client client;
    char *url TY_FREE = ty_xasprintf("redis://localhost:%d/3", redis_server_port(shared));
    open_client(&client, &(struct ty_redis_options){.url = url});
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "SET", "third", "x").code, TY_OK);
    assert_int_equal(strncmp(redis_server_ask(shared, "EXISTS third"), ":0", 2), 0);
    close_client(&client);
    open_client(&client, &(struct ty_redis_options){.url = "redis://no-such-host.invalid:6379"});
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "no-such-host.invalid"));
    close_client(&client);
    // Freed while the name is being resolved.
    open_client(&client, &(struct ty_redis_options){.url = url});
    struct ty_err err;
    assert_int_equal(ty_loop_run_once(client.loop, 0, &err), 0);
    close_client(&client);
}

static void a_database_out_of_range_is_never_up(void **state)
{
    (void)state;
    struct client client;
    char *url TY_FREE = ty_xasprintf("redis://127.0.0.1:%d/99", redis_server_port(shared));
    open_client(&client, &(struct ty_redis_options){.url = url});
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "DB index is out of range"));
    assert_int_equal(client.ups, 0);
    assert_int_equal(ASK(&client, "SET", "a", "1").code, TY_EUNAVAILABLE);
    close_client(&client);
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
        open_client(&client, &(struct ty_redis_options){.url = url});
        RUN_UNTIL(&client, client.ups + client.downs > 0);
        if (cases[i].wrong) {
            assert_int_equal(client.ups, 0);
            assert_non_null(strstr(client.cause.message, cases[i].wrong));
            assert_null(strstr(client.cause.message, "secret"));
        } else {
            assert_string_equal(ASK(&client, "ACL", "WHOAMI").text, "runner");
        }
        close_client(&client);
    }
}

static void a_password_for_everybody(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(
        &(struct redis_server_options){.extra = (const char *const[]){"--requirepass", "sesame", NULL}});
    struct client client;
    redis_server_start(server);
    struct ty_redis_options options = options_of(server);
    open_client(&client, &options);
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "NOAUTH"));
    close_client(&client);
    char *url TY_FREE = ty_xasprintf("redis://:sesame@127.0.0.1:%d", redis_server_port(server));
    options.url = url;
    open_client(&client, &options);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "SET", "a", "1").code, TY_OK);
    close_client(&client);
    redis_server_free(server);
}

// ---- servers that come and go ----

static void up_when_the_server_comes(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = options_of(server);
    struct client client;
    open_client(&client, &options);
    struct answer early = ASK(&client, "PING"); // before anything was tried
    assert_int_equal(early.code, TY_EUNAVAILABLE);
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "refused"));
    assert_int_equal(ASK(&client, "PING").code, TY_EUNAVAILABLE);
    redis_server_start(server);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(client.downs, 1); // the same reason is told once
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    close_client(&client);
    redis_server_free(server);
}

static void not_up_while_it_loads(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = options_of(server);
    struct client client;
    redis_server_start(server);
    for (int i = 0; i < 100; i++) {
        char line[128];
        // It answers between blocks of 1024 bytes, so there must be some of them.
        snprintf(line, sizeof line, "SETRANGE key%d 60 x", i);
        redis_server_ask(server, line);
    }
    redis_server_stop(server);
    redis_server_launch(server, (const char *const[]){"--key-load-delay", "10000", "--loading-process-events-interval-bytes",
                                                      "1024", NULL});
    open_client(&client, &options);
    RUN_UNTIL(&client, client.downs > 0 && strstr(client.cause.message, "LOADING"));
    assert_int_equal(client.ups, 0);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "STRLEN", "key99").integer, 61);
    close_client(&client);
    redis_server_free(server);
}

static void on_answer_ask_again(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct client *client = context;
    assert_null(reply);
    assert_int_equal(err->code, TY_EUNAVAILABLE);
    assert_false(ty_redis_is_up(client->redis));
    SEND(client, &client->again[client->again_count++], "PING");
}

// Commands are under way when the connection ends, and each asks once more from inside its callback.
static void put_in_flight(struct client *client)
{
    client->again = ty_xcalloc(COMMANDS, sizeof *client->again);
    for (int i = 0; i < COMMANDS; i++)
        ty_redis_command(client->redis, 2, (const char *const[]){"INCR", "n"}, (size_t[]){4, 1}, on_answer_ask_again, client);
    struct ty_err err;
    assert_int_equal(ty_loop_run_once(client->loop, 0, &err), 0); // they are written now
    assert_int_equal(ty_redis_pending(client->redis), COMMANDS);
}

static void each_answered_once(const struct client *client)
{
    assert_int_equal(client->again_count, COMMANDS);
    for (int i = 0; i < COMMANDS; i++) {
        assert_int_equal(client->again[i].calls, 1);
        assert_int_equal(client->again[i].code, TY_EUNAVAILABLE);
    }
}

static void killed_with_commands_in_flight(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_options){.appendonly = true});
    struct client client;
    redis_server_start(server);
    open_to(&client, server);
    assert_int_equal(ASK(&client, "SET", "kept", "yes").code, TY_OK);
    struct ty_redis_script script;
    struct answer before = {0}, after = {0};
    init_script(&script);
    eval(&client, &script, &before);
    RUN_UNTIL(&client, before.calls > 0);
    assert_int_equal(before.code, TY_OK);
    redis_server_pause(server);
    put_in_flight(&client);
    redis_server_kill(server);
    RUN_UNTIL(&client, client.downs > 0);
    RUN_UNTIL(&client, client.again_count == COMMANDS && client.again[COMMANDS - 1].calls > 0);
    each_answered_once(&client);
    assert_int_equal(client.downs, 1);
    redis_server_start(server);
    RUN_UNTIL(&client, client.ups == 2);
    assert_string_equal(ASK(&client, "GET", "kept").text, "yes");
    each_answered_once(&client);
    // The new server does not know the script: it is loaded before its first call there.
    eval(&client, &script, &after);
    RUN_UNTIL(&client, after.calls > 0);
    assert_int_equal(after.code, TY_OK);
    close_client(&client);
    redis_server_free(server);
}

struct chain {
    struct client *client;
    unsigned left;
};

// Asks again from each callback, a few times.
static void on_chain(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct chain *chain = context;
    assert_null(reply);
    assert_int_equal(err->code, TY_EUNAVAILABLE);
    if (--chain->left)
        ty_redis_command(chain->client->redis, 1, (const char *const[]){"PING"}, (size_t[]){4}, on_chain, chain);
}

static void freed_with_commands_in_flight(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct client client;
    redis_server_start(server);
    open_to(&client, server);
    redis_server_pause(server);
    put_in_flight(&client);
    struct chain chain = {.client = &client, .left = 3};
    ty_redis_command(client.redis, 1, (const char *const[]){"PING"}, (size_t[]){4}, on_chain, &chain);
    ty_redis_free(client.redis);
    client.redis = NULL;
    each_answered_once(&client);
    assert_int_equal(chain.left, 0);
    assert_int_equal(client.downs, 0);
    close_client(&client);
    redis_server_free(server);
}

static void on_pause(void *context)
{
    *(bool *)context = true;
}

static void a_server_that_stands_still(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = options_of(server);
    struct client client;
    options.command_ms = 300;
    options.connect_ms = 200;
    redis_server_start(server);
    open_client(&client, &options);
    RUN_UNTIL(&client, client.ups == 1);
    redis_server_pause(server);
    struct answer first = {0}, second = {0};
    struct ty_timer pause = {0};
    bool paused = false;
    uint64_t start = ty_clock_mono_ms();
    SEND(&client, &first, "PING");
    ty_loop_set_timer(client.loop, &pause, 150, on_pause, &paused);
    RUN_UNTIL(&client, paused);
    SEND(&client, &second, "PING");
    RUN_UNTIL(&client, first.calls > 0);
    uint64_t took = ty_clock_mono_ms() - start;
    assert_int_equal(first.code, TY_EDEADLINE);
    assert_int_equal(second.calls, 1); // the connection is given up as a whole
    assert_int_equal(second.code, TY_EDEADLINE);
    assert_true(took >= 300 && took < 2000);
    // The kernel still accepts connections for it; none of them counts as up.
    RUN_UNTIL(&client, strstr(client.cause.message, "no connection within 200 ms"));
    assert_int_equal(ASK(&client, "PING").code, TY_EUNAVAILABLE);
    assert_int_equal(client.ups, 1);
    redis_server_resume(server);
    RUN_UNTIL(&client, client.ups == 2);
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    assert_int_equal(first.calls + second.calls, 2);
    close_client(&client);
    redis_server_free(server);
}

static void unix_socket(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_options){.unix_socket = true});
    struct ty_redis_options options = options_of(server);
    struct client client;
    open_client(&client, &options);
    RUN_UNTIL(&client, client.downs > 0);
    redis_server_start(server);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    close_client(&client);
    redis_server_free(server);
}

// ---- publish and subscribe ----

struct heard {
    unsigned count;
    char text[64];
    size_t len;
    const char *channel;
};

static void on_message(void *context, const char *channel, const char *bytes, size_t len)
{
    struct heard *heard = context;
    heard->count++;
    heard->channel = channel;
    heard->len = len;
    memcpy(heard->text, bytes, len < sizeof heard->text ? len : sizeof heard->text);
}

static void subscriptions_survive_a_restart(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = options_of(server);
    struct client client, speaker;
    struct heard one = {0}, two = {0};
    redis_server_start(server);
    open_client(&client, &options);
    ty_redis_subscribe(client.redis, "one", on_message, &one);
    ty_redis_subscribe(client.redis, "{ty:0}:n", on_message, &two);
    RUN_UNTIL(&client, client.ups == 1);
    for (unsigned run = 1; run <= 2; run++) {
        // Up means subscribed: nothing said from now on is missed.
        open_to(&speaker, server);
        static const char *const argv[] = {"PUBLISH", "{ty:0}:n", "c\0d"};
        struct answer said = {0};
        ty_redis_command(speaker.redis, 3, argv, (size_t[]){7, 8, 3}, on_answer, &said);
        RUN_UNTIL(&speaker, said.calls > 0);
        assert_int_equal(said.integer, 1);
        close_client(&speaker);
        redis_server_ask(server, "PUBLISH one word");
        RUN_UNTIL(&client, one.count == run && two.count == run);
        assert_int_equal(two.len, 3);
        assert_memory_equal(two.text, "c\0d", 3);
        assert_string_equal(one.channel, "one");
        if (run == 1) {
            redis_server_kill(server);
            RUN_UNTIL(&client, client.downs > 0);
            redis_server_start(server);
            RUN_UNTIL(&client, client.ups == 2);
        }
    }
    close_client(&client);
    redis_server_free(server);
}

static void a_channel_that_is_not_allowed(void **state)
{
    (void)state;
    struct client client;
    struct heard heard = {0};
    redis_server_ask(shared, "ACL SETUSER deaf on >deaf ~* resetchannels +@all");
    char *url TY_FREE = ty_xasprintf("redis://deaf:deaf@127.0.0.1:%d", redis_server_port(shared));
    open_client(&client, &(struct ty_redis_options){.url = url});
    ty_redis_subscribe(client.redis, "one", on_message, &heard);
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "NOPERM"));
    assert_int_equal(client.ups, 0);
    close_client(&client);
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
    open_to(&client, shared);
    uint64_t start = ty_clock_mono_us();
    for (; load.sent < WINDOW; load.sent++)
        ty_redis_command(client.redis, 2, (const char *const[]){"INCR", "load"}, (size_t[]){4, 4}, on_loaded, &load);
    RUN_UNTIL(&client, load.answered == LOAD);
    print_message("%u commands, %u under way: %.0f/s\n", LOAD, WINDOW,
                  LOAD * 1e6 / (double)(ty_clock_mono_us() - start));
    close_client(&client);
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
        cmocka_unit_test(a_password_for_everybody),
        cmocka_unit_test(up_when_the_server_comes),
        cmocka_unit_test(not_up_while_it_loads),
        cmocka_unit_test(killed_with_commands_in_flight),
        cmocka_unit_test(freed_with_commands_in_flight),
        cmocka_unit_test(a_server_that_stands_still),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(subscriptions_survive_a_restart),
        cmocka_unit_test(a_channel_that_is_not_allowed),
        cmocka_unit_test(many_commands),
    };
    return cmocka_run_group_tests(tests, start_shared, stop_shared);
}
