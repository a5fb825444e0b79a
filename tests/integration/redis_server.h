// A real redis-server for one test program: on a loopback port that was free or on a Unix socket, in a temporary directory of
// its own, with nothing of the machine's configuration. It dies with the test program, however that ends. Whatever goes
// wrong in here fails the running cmocka test with the server's log. One thread.
#pragma once

#include <stdbool.h>

struct redis_server;

struct redis_server_options {
    bool unix_socket;            // no TCP port at all
    bool appendonly;             // kill -9 loses nothing that was answered
    const char *const *extra;    // more arguments of redis-server, NULL-terminated; or NULL
};

// Finds the place; starts nothing. Owner frees with redis_server_free, which kills and removes the directory.
// options NULL: TCP, nothing kept over kill -9.
struct redis_server *redis_server_new(const struct redis_server_options *options);
void redis_server_free(struct redis_server *server);

// Starts it with the data that the last run left, on the same port, and returns when it answers PING.
void redis_server_start(struct redis_server *server);
// As redis_server_start but returns at once; extra arguments of this run as in the options.
void redis_server_launch(struct redis_server *server, const char *const *extra);
// Returns when it answers PING.
void redis_server_wait_ready(struct redis_server *server);
// SIGTERM (data are saved), and SIGKILL; both wait for the end. Nothing happens when it does not run.
void redis_server_stop(struct redis_server *server);
void redis_server_kill(struct redis_server *server);
// SIGSTOP and SIGCONT. redis_server_pause returns when the process stands still.
void redis_server_pause(struct redis_server *server);
void redis_server_resume(struct redis_server *server);

// "redis://127.0.0.1:12345" or "unix:///tmp/.../redis.sock". Borrowed.
const char *redis_server_url(const struct redis_server *server);
int redis_server_port(const struct redis_server *server);
const char *redis_server_dir(const struct redis_server *server);

// Sends one command line ("SET key value": no quoting) on a connection of its own and returns the raw reply, at most
// 64 KiB of it, in static memory.
const char *redis_server_ask(struct redis_server *server, const char *line);
// The job store in it is taken for one that lacks nothing, as a publisher of events says of a new installation.
void redis_server_trust(struct redis_server *server, unsigned shards);
// Everything goes, and what is left is taken for such a store.
void redis_server_empty(struct redis_server *server, unsigned shards);
// As redis_server_ask, without waiting for the reply.
void redis_server_tell(struct redis_server *server, const char *line);
