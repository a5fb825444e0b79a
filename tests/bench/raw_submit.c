// The limit of the intake: what submit.lua writes (record, index, ready queue, watermark), in three ways.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/state_args.h"
#include "tests/bench/bench.h"

#define PREFIX "{ty:0}:"

// ARGV: organization, pool, then for each job: id, record, score. One script call, three commands a job.
static const char *const script =
    "#!lua\n"
    "local s, q = '" PREFIX "s:1:' .. ARGV[1], '" PREFIX "f:' .. ARGV[2] .. '|' .. ARGV[1]\n"
    "for i = 3, #ARGV, 3 do\n"
    "  local id, score = ARGV[i], ARGV[i + 2]\n"
    "  redis.call('SET', '" PREFIX "j:' .. id, ARGV[i + 1])\n"
    "  redis.call('ZADD', s, score, id)\n"
    "  redis.call('ZADD', q, score, id)\n"
    "end\n"
    "redis.call('HSET', '" PREFIX "w', 'submit/0', #ARGV)\n";

struct job {
    char key[32]; // PREFIX "j:" and the id
    size_t key_len;
    struct ty_buf record;
    char score[24];
};

struct work {
    const struct bench_options *options;
    struct bench_pipe *pipe;
    struct job *jobs;
    char sha1[41];
};

static struct ty_id *id_of(struct job *job)
{
    return (struct ty_id *)(job->key + job->key_len - sizeof(struct ty_id));
}

static int make_jobs(struct work *work, struct ty_err *err)
{
    struct ty_catalog *catalog;
    if (ty_catalog_load(NULL, &catalog, err) < 0)
        return -(int)err->code;
    int rc = 0;
    work->jobs = ty_xcalloc((size_t)work->options->count, sizeof *work->jobs);
    for (int64_t i = 0; rc == 0 && i < work->options->count; i++) {
        struct job *job = &work->jobs[i];
        struct ty_id id = bench_job_id(work->options, work->options->first + i);
        memcpy(job->key, PREFIX "j:", sizeof PREFIX "j:" - 1);
        memcpy(job->key + sizeof PREFIX "j:" - 1, id.bytes, sizeof id.bytes);
        job->key_len = sizeof PREFIX "j:" - 1 + sizeof id.bytes;
        snprintf(job->score, sizeof job->score, "%llu", (unsigned long long)ty_clock_wall_us());
        rc = bench_job_record(work->options, catalog, work->options->first + i, &job->record, err);
    }
    ty_catalog_free(catalog);
    return rc;
}

static int send(struct work *work, struct ty_args *args, struct ty_err *err)
{
    int rc = bench_pipe_send(work->pipe, (int)args->count, args->argv, args->lens, err);
    ty_args_done(args);
    return rc;
}

static int send_lua(struct work *work, struct job *jobs, size_t count, struct ty_err *err)
{
    struct ty_args args = {0};
    ty_args_add_text(&args, "EVALSHA");
    ty_args_add_text(&args, work->sha1);
    ty_args_add_text(&args, "1");
    ty_args_add_text(&args, PREFIX "m");
    ty_args_add_text(&args, work->options->organization);
    ty_args_add_text(&args, work->options->container);
    for (size_t i = 0; i < count; i++) {
        ty_args_add(&args, id_of(&jobs[i])->bytes, sizeof(struct ty_id));
        ty_args_add(&args, jobs[i].record.data, jobs[i].record.len);
        ty_args_add_text(&args, jobs[i].score);
    }
    return send(work, &args, err);
}

// One ZADD of `count` members.
static int send_index(struct work *work, const char *index, const char *name, struct job *jobs, size_t count,
                      struct ty_err *err)
{
    char key[256];
    struct ty_args args = {0};
    snprintf(key, sizeof key, PREFIX "%s:%s", index, name);
    ty_args_add_text(&args, "ZADD");
    ty_args_add_text(&args, key);
    for (size_t i = 0; i < count; i++) {
        ty_args_add_text(&args, jobs[i].score);
        ty_args_add(&args, id_of(&jobs[i])->bytes, sizeof(struct ty_id));
    }
    return send(work, &args, err);
}

// SET and ZADDs of one job each, or MSET and ZADDs of all of them.
static int send_commands(struct work *work, struct job *jobs, size_t count, size_t step, struct ty_err *err)
{
    const char *organization = work->options->organization;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < count; at += step) {
        struct ty_args args = {0};
        ty_args_add_text(&args, "MSET");
        for (size_t i = at; i < at + step; i++) {
            ty_args_add(&args, jobs[i].key, jobs[i].key_len);
            ty_args_add(&args, jobs[i].record.data, jobs[i].record.len);
        }
        rc = send(work, &args, err);
        if (rc == 0)
            rc = send_index(work, "s:1", organization, jobs + at, step, err);
        if (rc == 0)
            rc = send_index(work, "q", work->options->container, jobs + at, step, err);
    }
    if (rc == 0)
        rc = bench_pipe_send(work->pipe, 4, (const char *[]){"HSET", PREFIX "w", "submit/0", jobs[count - 1].score},
                             (size_t[]){4, sizeof PREFIX, 8, strlen(jobs[count - 1].score)}, err);
    return rc;
}

static int send_batch(struct work *work, struct job *jobs, size_t count, struct ty_err *err)
{
    const char *way = work->options->way;
    if (!strcmp(way, "lua"))
        return send_lua(work, jobs, count, err);
    if (!strcmp(way, "plain"))
        return send_commands(work, jobs, count, 1, err);
    if (!strcmp(way, "variadic"))
        return send_commands(work, jobs, count, count, err);
    return ty_err_set(err, TY_EINVALID, "--way: \"%s\" is none of lua, plain, variadic", way);
}

static int run(struct work *work, struct ty_err *err)
{
    int64_t count = work->options->count, batch = work->options->batch;
    if (make_jobs(work, err) < 0 || bench_pipe_load(work->pipe, script, work->sha1, err) < 0)
        return -(int)err->code;
    uint64_t start_us = ty_clock_mono_us();
    int rc = 0;
    for (int64_t at = 0; rc == 0 && at < count; at += batch)
        rc = send_batch(work, work->jobs + at, (size_t)(count - at < batch ? count - at : batch), err);
    if (rc == 0)
        rc = bench_pipe_drain(work->pipe, err);
    double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
    if (rc == 0)
        printf("{\"jobs\": %lld, \"seconds\": %.6f, \"rate\": %.1f}\n", (long long)count, seconds, (double)count / seconds);
    return rc;
}

int bench_raw_submit(const struct bench_options *options, struct ty_err *err)
{
    struct work work = {.options = options};
    int rc = bench_pipe_open(options->redis, (size_t)options->in_flight, NULL, NULL, &work.pipe, err);
    if (rc == 0)
        rc = run(&work, err);
    for (int64_t i = 0; work.jobs && i < options->count; i++)
        ty_buf_done(&work.jobs[i].record);
    free(work.jobs);
    bench_pipe_free(work.pipe);
    return rc;
}
