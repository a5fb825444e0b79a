#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench.h"

struct bench_pipe {
    redisContext *connection;
    size_t depth, under_way;
    bench_reply_fn fn;
    void *context;
};

static int broken(const struct bench_pipe *pipe, struct ty_err *err)
{
    return ty_err_set(err, TY_EUNAVAILABLE, "Redis: %s", pipe->connection->errstr);
}

int bench_pipe_open(const char *redis_url, size_t depth, bench_reply_fn fn, void *context, struct bench_pipe **ret_pipe,
                    struct ty_err *err)
{
    char host[128];
    int port;
    if (sscanf(redis_url, "redis://%127[^:/]:%d", host, &port) != 2)
        return ty_err_set(err, TY_EINVALID, "--redis: \"%.128s\" is not redis://host:port", redis_url);
    redisContext *connection = redisConnect(host, port);
    if (!connection || connection->err) {
        ty_err_set(err, TY_EUNAVAILABLE, "Redis at %s: %s", redis_url, connection ? connection->errstr : "out of memory");
        if (connection)
            redisFree(connection);
        return -(int)err->code;
    }
    struct bench_pipe *pipe = ty_xcalloc(1, sizeof *pipe);
    *pipe = (struct bench_pipe){.connection = connection, .depth = depth, .fn = fn, .context = context};
    *ret_pipe = pipe;
    return 0;
}

void bench_pipe_free(struct bench_pipe *pipe)
{
    if (!pipe)
        return;
    redisFree(pipe->connection);
    free(pipe);
}

static int check(const redisReply *reply, struct ty_err *err)
{
    return reply->type == REDIS_REPLY_ERROR ? ty_err_set(err, TY_EINTERNAL, "Redis: %s", reply->str) : 0;
}

int bench_pipe_read(struct bench_pipe *pipe, struct ty_err *err)
{
    redisReply *reply;
    if (!pipe->under_way)
        return 0;
    if (redisGetReply(pipe->connection, (void **)&reply) != REDIS_OK)
        return broken(pipe, err);
    pipe->under_way--;
    int rc = check(reply, err);
    if (rc == 0 && pipe->fn)
        rc = pipe->fn(pipe->context, reply, err);
    freeReplyObject(reply);
    return rc;
}

int bench_pipe_drain(struct bench_pipe *pipe, struct ty_err *err)
{
    int rc = 0;
    while (rc == 0 && pipe->under_way)
        rc = bench_pipe_read(pipe, err);
    return rc;
}

size_t bench_pipe_under_way(const struct bench_pipe *pipe)
{
    return pipe->under_way;
}

int bench_pipe_send(struct bench_pipe *pipe, int argc, const char **argv, const size_t *lens, struct ty_err *err)
{
    int rc = 0;
    // Half of what is under way is read at once, so that the server has the other half to work on meanwhile.
    if (pipe->under_way >= pipe->depth)
        while (rc == 0 && pipe->under_way > pipe->depth / 2)
            rc = bench_pipe_read(pipe, err);
    if (rc == 0 && redisAppendCommandArgv(pipe->connection, argc, argv, lens) != REDIS_OK)
        rc = broken(pipe, err);
    pipe->under_way += rc == 0;
    return rc;
}

int bench_pipe_ask(struct bench_pipe *pipe, redisReply **ret_reply, struct ty_err *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(pipe->connection, format, args);
    va_end(args);
    if (!reply)
        return broken(pipe, err);
    int rc = check(reply, err);
    if (rc < 0)
        freeReplyObject(reply);
    else
        *ret_reply = reply;
    return rc;
}

int bench_pipe_load(struct bench_pipe *pipe, const char *source, char *sha1, struct ty_err *err)
{
    redisReply *reply;
    if (bench_pipe_ask(pipe, &reply, err, "SCRIPT LOAD %s", source) < 0)
        return -(int)err->code;
    snprintf(sha1, 41, "%s", reply->str);
    freeReplyObject(reply);
    return 0;
}
