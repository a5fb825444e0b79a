// The limit of the logs: RPUSH of --batch lines a command.
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/state_args.h"
#include "tests/bench/bench.h"

static int push(struct bench_pipe *pipe, const struct bench_options *options, const char *line, int64_t count,
                struct ty_err *err)
{
    struct ty_args args = {0};
    ty_args_add_text(&args, "RPUSH");
    ty_args_add_text(&args, "{bench}:lines");
    for (int64_t i = 0; i < count; i++)
        ty_args_add(&args, line, (size_t)options->line_bytes);
    int rc = bench_pipe_send(pipe, (int)args.count, args.argv, args.lens, err);
    ty_args_done(&args);
    return rc;
}

int bench_raw_push(const struct bench_options *options, struct ty_err *err)
{
    struct bench_pipe *pipe;
    char line[16384];
    memset(line, 'x', sizeof line);
    if (bench_pipe_open(options->redis, (size_t)options->in_flight, NULL, NULL, &pipe, err) < 0)
        return -(int)err->code;
    uint64_t start_us = ty_clock_mono_us();
    int rc = 0;
    for (int64_t left = options->count; rc == 0 && left > 0; left -= options->batch)
        rc = push(pipe, options, line, left < options->batch ? left : options->batch, err);
    if (rc == 0)
        rc = bench_pipe_drain(pipe, err);
    double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
    if (rc == 0)
        printf("{\"lines\": %lld, \"seconds\": %.6f, \"rate\": %.1f}\n", (long long)options->count, seconds,
               (double)options->count / seconds);
    bench_pipe_free(pipe);
    return rc;
}
