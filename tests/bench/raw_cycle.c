// The limit of the run role: two minimal scripts that make the writes of claim.lua and finish.lua on what `fill` made.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/state_args.h"
#include "tests/bench/bench.h"

#define PREFIX "{ty:0}:"
#define TAIL_BYTES 16 // a history entry

// ARGV: organization, pool, how many, a tail, a score. Pops, marks and indexes; answers with the ids.
static const char *const claim =
    "#!lua\n"
    "local out, popped = {}, redis.call('ZPOPMIN', '" PREFIX "f:' .. ARGV[2] .. '|' .. ARGV[1], ARGV[3])\n"
    "for i = 1, #popped, 2 do\n"
    "  local id = popped[i]\n"
    "  local key = '" PREFIX "j:' .. id\n"
    "  local raw = redis.call('GET', key)\n"
    "  redis.call('SET', key, string.sub(raw, 1, 1) .. '\\2' .. string.sub(raw, 3) .. ARGV[4])\n"
    "  redis.call('ZREM', '" PREFIX "s:1:' .. ARGV[1], id)\n"
    "  redis.call('ZADD', '" PREFIX "s:2:' .. ARGV[1], ARGV[5], id)\n"
    "  redis.call('ZADD', '" PREFIX "l', ARGV[5], id)\n"
    "  out[#out + 1] = id\n"
    "end\n"
    "return out\n";

// ARGV: organization, a tail, a score, id...
static const char *const complete =
    "#!lua\n"
    "for i = 4, #ARGV do\n"
    "  local id = ARGV[i]\n"
    "  local key = '" PREFIX "j:' .. id\n"
    "  local raw = redis.call('GET', key)\n"
    "  redis.call('SET', key, string.sub(raw, 1, 1) .. '\\3' .. string.sub(raw, 3) .. ARGV[2])\n"
    "  redis.call('ZREM', '" PREFIX "l', id)\n"
    "  redis.call('ZREM', '" PREFIX "s:2:' .. ARGV[1], id)\n"
    "  redis.call('ZADD', '" PREFIX "s:3:' .. ARGV[1], ARGV[3], id)\n"
    "end\n"
    "return #ARGV - 3\n";

struct work {
    const struct bench_options *options;
    struct bench_pipe *pipe;
    char claim_sha1[41], complete_sha1[41], tail[TAIL_BYTES], score[24];
    size_t step;         // jobs of one call
    struct ty_id *ids;   // claimed, in order
    size_t claimed, asked, finishing, finished;
};

static int on_reply(void *context, const redisReply *reply, struct ty_err *err)
{
    struct work *work = context;
    if (reply->type == REDIS_REPLY_INTEGER) {
        work->finished += (size_t)reply->integer;
        return 0;
    }
    if (!reply->elements)
        return ty_err_set(err, TY_EPRECONDITION, "there are fewer jobs in the queue than --count");
    for (size_t i = 0; i < reply->elements && work->claimed < (size_t)work->options->count; i++)
        memcpy(&work->ids[work->claimed++], reply->element[i]->str, sizeof *work->ids);
    return 0;
}

static int send(struct work *work, struct ty_args *args, struct ty_err *err)
{
    int rc = bench_pipe_send(work->pipe, (int)args->count, args->argv, args->lens, err);
    ty_args_done(args);
    return rc;
}

static void begin(const struct work *work, const char *sha1, struct ty_args *args)
{
    *args = (struct ty_args){0};
    ty_args_add_text(args, "EVALSHA");
    ty_args_add_text(args, sha1);
    ty_args_add_text(args, "1");
    ty_args_add_text(args, PREFIX "m");
    ty_args_add_text(args, work->options->organization);
}

static int send_claim(struct work *work, struct ty_err *err)
{
    struct ty_args args;
    size_t left = (size_t)work->options->count - work->asked, count = left < work->step ? left : work->step;
    begin(work, work->claim_sha1, &args);
    ty_args_add_text(&args, work->options->container);
    ty_args_add_u64(&args, count);
    ty_args_add(&args, work->tail, sizeof work->tail);
    ty_args_add_text(&args, work->score);
    work->asked += count;
    return send(work, &args, err);
}

static int send_complete(struct work *work, struct ty_err *err)
{
    struct ty_args args;
    begin(work, work->complete_sha1, &args);
    ty_args_add(&args, work->tail, sizeof work->tail);
    ty_args_add_text(&args, work->score);
    for (size_t i = 0; i < work->step && work->finishing < work->claimed; i++)
        ty_args_add(&args, work->ids[work->finishing++].bytes, sizeof *work->ids);
    return send(work, &args, err);
}

static int run(struct work *work, struct ty_err *err)
{
    size_t count = (size_t)work->options->count;
    if (bench_pipe_load(work->pipe, claim, work->claim_sha1, err) < 0 ||
        bench_pipe_load(work->pipe, complete, work->complete_sha1, err) < 0)
        return -(int)err->code;
    uint64_t start_us = ty_clock_mono_us();
    int rc = 0;
    while (rc == 0 && work->finished < count) {
        if (work->finishing < work->claimed)
            rc = send_complete(work, err);
        else if (work->asked < count)
            rc = send_claim(work, err);
        else
            rc = bench_pipe_read(work->pipe, err);
    }
    double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
    if (rc == 0)
        printf("{\"jobs\": %zu, \"seconds\": %.6f, \"rate\": %.1f}\n", count, seconds, (double)count / seconds);
    return rc;
}

int bench_raw_cycle(const struct bench_options *options, struct ty_err *err)
{
    struct work work = {.options = options, .step = 1};
    if (!strcmp(options->way, "batched"))
        work.step = (size_t)options->batch;
    else if (strcmp(options->way, "single") != 0)
        return ty_err_set(err, TY_EINVALID, "--way: \"%s\" is neither single nor batched", options->way);
    snprintf(work.score, sizeof work.score, "%llu", (unsigned long long)ty_clock_wall_us());
    work.ids = ty_xcalloc((size_t)options->count, sizeof *work.ids);
    int rc = bench_pipe_open(options->redis, (size_t)options->in_flight, on_reply, &work, &work.pipe, err);
    if (rc == 0)
        rc = run(&work, err);
    bench_pipe_free(work.pipe);
    free(work.ids);
    return rc;
}
