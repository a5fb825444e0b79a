// core/redis and servers that come, go, load, stand still and die: every command is answered exactly once whatever happens to
// the server, the connection or the client, and the client finds its way back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "tests/integration/redis_client.h"

static void a_password_for_everybody(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(
        &(struct redis_server_options){.extra = (const char *const[]){"--requirepass", "sesame", NULL}});
    struct client client;
    redis_server_start(server);
    struct ty_redis_options options = {.url = redis_server_url(server)};
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "NOAUTH"));
    redis_client_close(&client);
    char *url TY_FREE = ty_xasprintf("redis://:sesame@127.0.0.1:%d", redis_server_port(server));
    options.url = url;
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "SET", "a", "1").code, TY_OK);
    redis_client_close(&client);
    redis_server_free(server);
}

static void up_when_the_server_comes(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = {.url = redis_server_url(server)};
    struct client client;
    redis_client_open(&client, &options);
    struct answer early = ASK(&client, "PING"); // before anything was tried
    assert_int_equal(early.code, TY_EUNAVAILABLE);
    RUN_UNTIL(&client, client.downs > 0);
    assert_non_null(strstr(client.cause.message, "refused"));
    assert_int_equal(ASK(&client, "PING").code, TY_EUNAVAILABLE);
    redis_server_start(server);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(client.downs, 1); // the same reason is told once
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    redis_client_close(&client);
    redis_server_free(server);
}

static void not_up_while_it_loads(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = {.url = redis_server_url(server)};
    struct client client;
    redis_server_start(server);
    for (int i = 0; i < 1000; i++) {
        char line[128];
        // It answers between blocks of 1024 bytes, so there must be some of them.
        snprintf(line, sizeof line, "SETRANGE key%d 60 x", i);
        redis_server_ask(server, line);
    }
    redis_server_stop(server);
    redis_server_launch(server, (const char *const[]){"--key-load-delay", "10000", "--loading-process-events-interval-bytes",
                                                      "1024", NULL});
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.downs > 0 && strstr(client.cause.message, "LOADING"));
    assert_int_equal(client.ups, 0);
    redis_server_tell(server, "CONFIG SET key-load-delay 0"); // it would take ten seconds, which it has until it was asked
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "STRLEN", "key999").integer, 61);
    redis_client_close(&client);
    redis_server_free(server);
}

#define COMMANDS 1000

// Commands of which each asks once more from inside its callback; `again` has the answers to that.
struct flight {
    struct client *client;
    size_t again_count;
    struct answer again[COMMANDS];
};

static void on_answer_ask_again(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    struct flight *flight = context;
    assert_null(reply);
    assert_int_equal(err->code, TY_EUNAVAILABLE);
    assert_false(ty_redis_is_up(flight->client->redis));
    SEND(flight->client, &flight->again[flight->again_count++], "PING");
}

static void put_in_flight(struct client *client, struct flight *flight)
{
    *flight = (struct flight){.client = client};
    for (int i = 0; i < COMMANDS; i++)
        ty_redis_command(client->redis, 2, (const char *const[]){"INCR", "n"}, (size_t[]){4, 1}, on_answer_ask_again, flight);
    struct ty_err err;
    assert_int_equal(ty_loop_run_once(client->loop, 0, &err), 0); // they are written now
    assert_int_equal(ty_redis_pending(client->redis), COMMANDS);
}

static void each_answered_once(const struct flight *flight)
{
    assert_int_equal(flight->again_count, COMMANDS);
    for (int i = 0; i < COMMANDS; i++) {
        assert_int_equal(flight->again[i].calls, 1);
        assert_int_equal(flight->again[i].code, TY_EUNAVAILABLE);
    }
}

static void killed_with_commands_in_flight(void **state)
{
    static struct flight flight;
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_options){.appendonly = true});
    struct client client;
    redis_server_start(server);
    redis_client_open_to(&client, server);
    assert_int_equal(ASK(&client, "SET", "kept", "yes").code, TY_OK);
    struct ty_redis_script script;
    struct answer before = {0}, after = {0};
    redis_client_init_script(&script);
    redis_client_eval(&client, &script, redis_client_on_answer, &before);
    RUN_UNTIL(&client, before.calls > 0);
    assert_int_equal(before.code, TY_OK);
    redis_server_pause(server);
    put_in_flight(&client, &flight);
    redis_server_kill(server);
    RUN_UNTIL(&client, client.downs > 0);
    RUN_UNTIL(&client, flight.again_count == COMMANDS && flight.again[COMMANDS - 1].calls > 0);
    each_answered_once(&flight);
    assert_int_equal(client.downs, 1);
    redis_server_start(server);
    RUN_UNTIL(&client, client.ups == 2);
    assert_string_equal(ASK(&client, "GET", "kept").text, "yes");
    each_answered_once(&flight);
    // The new server does not know the script: it is loaded before its first call there.
    redis_client_eval(&client, &script, redis_client_on_answer, &after);
    RUN_UNTIL(&client, after.calls > 0);
    assert_int_equal(after.code, TY_OK);
    redis_client_close(&client);
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
    static struct flight flight;
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct client client;
    redis_server_start(server);
    redis_client_open_to(&client, server);
    redis_server_pause(server);
    put_in_flight(&client, &flight);
    struct chain chain = {.client = &client, .left = 3};
    ty_redis_command(client.redis, 1, (const char *const[]){"PING"}, (size_t[]){4}, on_chain, &chain);
    ty_redis_free(client.redis);
    client.redis = NULL;
    each_answered_once(&flight);
    assert_int_equal(chain.left, 0);
    assert_int_equal(client.downs, 0);
    redis_client_close(&client);
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
    struct ty_redis_options options = {.url = redis_server_url(server)};
    struct client client;
    options.command_ms = 2000;
    options.connect_ms = 200;
    redis_server_start(server);
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.ups == 1);
    redis_server_pause(server);
    struct answer first = {0}, second = {0};
    struct ty_timer pause = {0};
    bool paused = false;
    uint64_t start = ty_clock_mono_ms();
    SEND(&client, &first, "PING");
    ty_loop_set_timer(client.loop, &pause, 100, on_pause, &paused);
    RUN_UNTIL(&client, paused);
    SEND(&client, &second, "PING");
    RUN_UNTIL(&client, first.calls > 0);
    uint64_t took = ty_clock_mono_ms() - start;
    assert_int_equal(first.code, TY_EDEADLINE);
    assert_int_equal(second.calls, 1); // the connection is given up as a whole
    assert_int_equal(second.code, TY_EDEADLINE);
    assert_true(took >= 2000);
    // The kernel still accepts connections for it; none of them counts as up.
    RUN_UNTIL(&client, strstr(client.cause.message, "no connection within 200 ms"));
    assert_int_equal(ASK(&client, "PING").code, TY_EUNAVAILABLE);
    assert_int_equal(client.ups, 1);
    redis_server_resume(server);
    RUN_UNTIL(&client, client.ups == 2);
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    assert_int_equal(first.calls + second.calls, 2);
    redis_client_close(&client);
    redis_server_free(server);
}

// What it had to send lay with it: the server is not to blame.
static void a_process_that_stood_still(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(NULL);
    struct ty_redis_options options = {.url = redis_server_url(server), .command_ms = 300};
    struct client client;
    struct answer answer = {0};
    redis_server_start(server);
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.ups == 1);
    SEND(&client, &answer, "PING");
    poll(NULL, 0, 1000); // no turn of the loop
    RUN_UNTIL(&client, answer.calls > 0);
    assert_int_equal(answer.code, TY_OK);
    assert_int_equal(client.downs, 0);
    redis_client_close(&client);
    redis_server_free(server);
}

static void unix_socket(void **state)
{
    (void)state;
    struct redis_server *server = redis_server_new(&(struct redis_server_options){.unix_socket = true});
    struct ty_redis_options options = {.url = redis_server_url(server)};
    struct client client;
    redis_client_open(&client, &options);
    RUN_UNTIL(&client, client.downs > 0);
    redis_server_start(server);
    RUN_UNTIL(&client, client.ups == 1);
    assert_int_equal(ASK(&client, "PING").code, TY_OK);
    redis_client_close(&client);
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
    struct ty_redis_options options = {.url = redis_server_url(server)};
    struct client client, speaker;
    struct heard one = {0}, two = {0};
    redis_server_start(server);
    redis_client_open(&client, &options);
    ty_redis_subscribe(client.redis, "one", on_message, &one);
    ty_redis_subscribe(client.redis, "{ty:0}:n", on_message, &two);
    RUN_UNTIL(&client, client.ups == 1);
    for (unsigned run = 1; run <= 2; run++) {
        // Up means subscribed: nothing said from now on is missed.
        redis_client_open_to(&speaker, server);
        static const char *const argv[] = {"PUBLISH", "{ty:0}:n", "c\0d"};
        struct answer said = {0};
        ty_redis_command(speaker.redis, 3, argv, (size_t[]){7, 8, 3}, redis_client_on_answer, &said);
        RUN_UNTIL(&speaker, said.calls > 0);
        assert_int_equal(said.integer, 1);
        redis_client_close(&speaker);
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
    redis_client_close(&client);
    redis_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_for_everybody),
        cmocka_unit_test(up_when_the_server_comes),
        cmocka_unit_test(not_up_while_it_loads),
        cmocka_unit_test(killed_with_commands_in_flight),
        cmocka_unit_test(freed_with_commands_in_flight),
        cmocka_unit_test(a_server_that_stands_still),
        cmocka_unit_test(a_process_that_stood_still),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(subscriptions_survive_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
