#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/redis_client.h"

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

void redis_client_open(struct client *client, const struct ty_redis_options *options)
{
    struct ty_err err;
    *client = (struct client){.loop = ty_loop_new(&err)};
    assert_non_null(client->loop);
    client->redis = ty_redis_new(client->loop, options, on_state, client, &err);
    if (!client->redis)
        fail_msg("%s", err.message);
}

void redis_client_close(struct client *client)
{
    ty_redis_free(client->redis);
    ty_loop_free(client->loop);
}

void redis_client_turn(struct client *client, uint64_t until, const char *condition)
{
    struct ty_err err;
    uint64_t now = ty_clock_mono_ms();
    if (now >= until)
        fail_msg("waited in vain for: %s (last cause: %s)", condition, client->cause.message);
    assert_int_equal(ty_loop_run_once(client->loop, (int)(until - now), &err), 0);
}

void redis_client_on_answer(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
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

void redis_client_send(struct client *client, struct answer *answer, const char *const *words)
{
    const char *argv[16];
    size_t lens[16];
    int argc = 0;
    for (; words[argc]; argc++) {
        argv[argc] = words[argc];
        lens[argc] = strlen(words[argc]);
    }
    ty_redis_command(client->redis, argc, argv, lens, redis_client_on_answer, answer);
}

struct answer redis_client_ask(struct client *client, const char *const *words)
{
    struct answer answer = {0};
    redis_client_send(client, &answer, words);
    RUN_UNTIL(client, answer.calls > 0);
    assert_int_equal(answer.calls, 1);
    return answer;
}

void redis_client_open_to(struct client *client, const struct redis_server *server)
{
    redis_client_open(client, &(struct ty_redis_options){.url = redis_server_url(server)});
    RUN_UNTIL(client, client->ups == 1);
    assert_true(ty_redis_is_up(client->redis));
}

void redis_client_init_script(struct ty_redis_script *script)
{
    static const char source[] = "#!lua flags=no-writes\nreturn {KEYS[1], tonumber(ARGV[1]) + 1}";
    ty_redis_script_init(script, "probe", (const unsigned char *)source, sizeof source - 1);
    assert_int_equal(strlen(script->sha1), 40);
}

void redis_client_eval(struct client *client, const struct ty_redis_script *script, ty_redis_fn fn, void *context)
{
    ty_redis_eval(client->redis, script, 1, 2, (const char *const[]){"key", "5"}, (size_t[]){3, 1}, fn, context);
}
