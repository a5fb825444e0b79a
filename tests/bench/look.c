// Reading what the programs under test have done, from Redis itself: their pace, and what is there in the end.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "tests/bench/bench.h"

#define PREFIX "{ty:0}:"
#define LOOK_EVERY_US 1000

// ---- watch ----

// A number, or of a hash of watermarks those of the commands: the publisher of events keeps its own beside them.
static int64_t sum(const redisReply *reply)
{
    int64_t total = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    for (size_t i = 0; i + 1 < reply->elements; i += 2)
        if (strncmp(reply->element[i]->str, "events/", 7) != 0)
            total += strtoll(reply->element[i + 1]->str, NULL, 10);
    return total;
}

// The sequence number that the log of a job's attempt wants next, by its meta key and attempt 1.
static int look_at_log(struct bench_pipe *pipe, const char *key, int64_t *ret_value, struct ty_err *err)
{
    redisReply *sealed, *live;
    if (bench_pipe_ask(pipe, &sealed, err, "HGET %s b1", key) < 0)
        return -(int)err->code;
    *ret_value = sealed->type == REDIS_REPLY_STRING ? strtoll(sealed->str, NULL, 10) : 0;
    freeReplyObject(sealed);
    if (bench_pipe_ask(pipe, &live, err, "LLEN %s:1", key) < 0)
        return -(int)err->code;
    *ret_value += sum(live);
    freeReplyObject(live);
    return 0;
}

static int look(struct bench_pipe *pipe, const struct bench_options *options, int64_t *ret_value, struct ty_err *err)
{
    static const char *const ways[][2] = {{"watermarks", "HGETALL"}, {"zset", "ZCARD"}, {"list", "LLEN"}};
    size_t way = 0;
    redisReply *reply;
    if (!strcmp(options->way, "log"))
        return look_at_log(pipe, options->key, ret_value, err);
    while (way < 3 && strcmp(ways[way][0], options->way) != 0)
        way++;
    if (way == 3)
        return ty_err_set(err, TY_EINVALID, "--way: \"%s\" is none of watermarks, zset, list, log", options->way);
    if (bench_pipe_ask(pipe, &reply, err, "%s %s", ways[way][1], options->key) < 0)
        return -(int)err->code;
    *ret_value = sum(reply);
    freeReplyObject(reply);
    return 0;
}

struct look {
    int64_t value;
    uint64_t us;
};

static int follow(struct bench_pipe *pipe, const struct bench_options *options, struct look *start, struct look *first,
                  struct look *last, struct ty_err *err)
{
    uint64_t deadline_us = ty_clock_mono_us() + (uint64_t)options->timeout_ms * 1000;
    int rc = look(pipe, options, &start->value, err);
    *last = *first = (struct look){start->value, ty_clock_mono_us()};
    while (rc == 0 && last->value < options->count) {
        if (ty_clock_mono_us() > deadline_us)
            return ty_err_set(err, TY_EDEADLINE, "%s: %" PRId64 " after %" PRId64 " ms, not %" PRId64, options->key,
                              last->value, options->timeout_ms, options->count);
        bench_pause_us(LOOK_EVERY_US);
        rc = look(pipe, options, &last->value, err);
        last->us = ty_clock_mono_us();
        if (first->value == start->value || first->value < options->first)
            *first = *last; // the pace counts from the first change on, not from when the program was started
    }
    return rc;
}

int bench_watch(const struct bench_options *options, struct ty_err *err)
{
    struct bench_pipe *pipe;
    struct look start, first, last;
    if (bench_pipe_open(options->redis, 1, NULL, NULL, &pipe, err) < 0)
        return -(int)err->code;
    int rc = follow(pipe, options, &start, &first, &last, err);
    bench_pipe_free(pipe);
    if (rc < 0)
        return rc;
    double seconds = (double)(last.us - first.us) / 1e6;
    printf("{\"from\": %" PRId64 ", \"to\": %" PRId64 ", \"seconds\": %.6f, \"rate\": %.1f}\n", first.value, last.value,
           seconds, seconds > 0 ? (double)(last.value - first.value) / seconds : 0);
    return 0;
}

// ---- count ----

// Jobs by their keys. The whole key space is walked: no program of ours does that, so it is a check of another kind.
static int count_keys(struct bench_pipe *pipe, int64_t *ret_count, struct ty_err *err)
{
    char cursor[32] = "0";
    *ret_count = 0;
    do {
        redisReply *reply;
        if (bench_pipe_ask(pipe, &reply, err, "SCAN %s MATCH %s COUNT 10000", cursor, PREFIX "j:*") < 0)
            return -(int)err->code;
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        *ret_count += (int64_t)reply->element[1]->elements;
        freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0);
    return 0;
}

static int count_index(struct bench_pipe *pipe, const char *index, const char *name, int64_t *ret_count, struct ty_err *err)
{
    redisReply *reply;
    if (bench_pipe_ask(pipe, &reply, err, "ZCARD " PREFIX "%s%s", index, name) < 0)
        return -(int)err->code;
    *ret_count = reply->integer;
    freeReplyObject(reply);
    return 0;
}

// What is in the organization's queue, and in the one queue of all of a pool, which raw-submit fills.
static int count_ready(struct bench_pipe *pipe, const struct bench_options *options, int64_t *ret_count, struct ty_err *err)
{
    int64_t older = 0;
    char *name TY_FREE = ty_xasprintf("%s|%s", options->container, options->organization);
    if (count_index(pipe, "f:", name, ret_count, err) < 0 || count_index(pipe, "q:", options->container, &older, err) < 0)
        return -(int)err->code;
    *ret_count += older;
    return 0;
}

int bench_count(const struct bench_options *options, struct ty_err *err)
{
    static const struct {
        const char *name, *index;
    } rows[] = {{"pending", "s:1:"}, {"in_progress", "s:2:"}, {"completed", "s:3:"},
                {"failed", "s:4:"},  {"canceled", "s:5:"},    {"canceling", "s:6:"}};
    struct bench_pipe *pipe;
    int64_t keys = 0, ready = 0, counts[sizeof rows / sizeof *rows] = {0};
    if (bench_pipe_open(options->redis, 1, NULL, NULL, &pipe, err) < 0)
        return -(int)err->code;
    int rc = count_keys(pipe, &keys, err);
    for (size_t i = 0; rc == 0 && i < sizeof rows / sizeof *rows; i++)
        rc = count_index(pipe, rows[i].index, options->organization, &counts[i], err);
    if (rc == 0)
        rc = count_ready(pipe, options, &ready, err);
    bench_pipe_free(pipe);
    if (rc < 0)
        return rc;
    printf("{\"keys\": %" PRId64 ", \"ready\": %" PRId64, keys, ready);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf(", \"%s\": %" PRId64, rows[i].name, counts[i]);
    printf("}\n");
    return 0;
}
