// A client of core/redis as the tests use it: its loop, what it was told, and commands whose answers are kept and counted.
// Whatever does not come in time fails the running cmocka test. Include cmocka.h first.
#pragma once

#include <stdint.h>

#include "core/clock.h"
#include "core/loop.h"
#include "core/redis.h"
#include "tests/integration/redis_server.h"

#define WAIT_MS 60000

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
};

// The loop and the client are new; redis_client_open_to waits until it is up.
void redis_client_open(struct client *client, const struct ty_redis_options *options);
void redis_client_open_to(struct client *client, const struct redis_server *server);
void redis_client_close(struct client *client);

// One turn of the loop; fails when `until` (mono ms) is over, saying what was waited for.
void redis_client_turn(struct client *client, uint64_t until, const char *condition);
#define RUN_UNTIL(client, condition)                                                               \
    do {                                                                                           \
        uint64_t until_ = ty_clock_mono_ms() + WAIT_MS;                                            \
        while (!(condition))                                                                       \
            redis_client_turn((client), until_, #condition);                                       \
    } while (0)

// A ty_redis_fn; context is the struct answer.
void redis_client_on_answer(void *context, const struct ty_redis_reply *reply, const struct ty_err *err);
void redis_client_send(struct client *client, struct answer *answer, const char *const *words);
struct answer redis_client_ask(struct client *client, const char *const *words);
#define SEND(client, answer, ...) redis_client_send((client), (answer), (const char *const[]){__VA_ARGS__, NULL})
#define ASK(client, ...) redis_client_ask((client), (const char *const[]){__VA_ARGS__, NULL})

// A script that answers {KEYS[1], ARGV[1] + 1}, and one call of it.
void redis_client_init_script(struct ty_redis_script *script);
void redis_client_eval(struct client *client, const struct ty_redis_script *script, ty_redis_fn fn, void *context);
