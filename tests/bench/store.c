// What the job store of core/state does, without the programs around it: jobs put in, logs written.
#include "core/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log_chunk.h"
#include "core/log_entry.h"
#include "tests/bench/bench.h"

#define LINE_MAX_BYTES 16384

struct work {
    const struct bench_options *options;
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_catalog *catalog;
    int64_t sent, done;
    size_t under_way;
    bool up;
    struct ty_err err; // code TY_OK: none so far
    // One call's worth of input.
    struct ty_apply *commands;
    struct ty_buf *records;
};

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct work *work = context;
    work->up = up;
    if (!up && err && err->code == TY_EPRECONDITION)
        work->err = *err;
}

static int open_store(struct work *work, struct ty_err *err)
{
    struct ty_state_options options = {.redis_url = work->options->redis,
                                       .shards = 1,
                                       .command_ms = 10000,
                                       .tombstone_ms = 60000,
                                       .log_retention_ms = 7 * 24 * 3600 * UINT64_C(1000),
                                       .default_max_attempts = 3};
    work->loop = ty_loop_new(err);
    if (!work->loop || ty_state_new(work->loop, &options, on_up, work, &work->state, err) < 0 ||
        ty_catalog_load(NULL, &work->catalog, err) < 0)
        return -(int)err->code;
    size_t batch = (size_t)work->options->batch;
    work->commands = ty_xcalloc(batch, sizeof *work->commands);
    work->records = ty_xcalloc(batch, sizeof *work->records);
    return 0;
}

static void close_store(struct work *work)
{
    for (int64_t i = 0; work->records && i < work->options->batch; i++)
        ty_buf_done(&work->records[i]);
    free(work->records);
    free(work->commands);
    ty_state_free(work->state);
    ty_catalog_free(work->catalog);
    if (work->loop)
        ty_loop_free(work->loop);
}

static void ended(struct work *work, int64_t count, const struct ty_err *err)
{
    work->under_way--;
    work->done += count;
    if (err)
        work->err = *err;
}

// Calls step until all is sent, then waits for the answers.
static int run(struct work *work, void (*step)(struct work *work), struct ty_err *err)
{
    uint64_t deadline_ms = ty_clock_mono_ms() + (uint64_t)work->options->timeout_ms;
    while (work->err.code == TY_OK && work->done < work->options->count) {
        while (work->up && work->err.code == TY_OK && work->sent < work->options->count &&
               work->under_way < (size_t)work->options->in_flight)
            step(work);
        if (ty_loop_run_once(work->loop, 100, err) < 0)
            return -(int)err->code;
        if (ty_clock_mono_ms() > deadline_ms)
            return ty_err_set(err, TY_EDEADLINE, "the store took only %lld in time", (long long)work->done);
    }
    *err = work->err;
    return -(int)work->err.code;
}

static int run_and_print(const struct bench_options *options, void (*step)(struct work *work), struct ty_err *err)
{
    struct work work = {.options = options};
    uint64_t start_us = ty_clock_mono_us();
    int rc = open_store(&work, err);
    if (rc == 0)
        rc = run(&work, step, err);
    double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
    if (rc == 0)
        printf("{\"jobs\": %lld, \"seconds\": %.6f}\n", (long long)work.done, seconds);
    close_store(&work);
    return rc;
}

// ---- fill ----

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct work *work = context;
    (void)gap;
    (void)stored;
    ended(work, (int64_t)count, err);
    for (size_t i = 0; !err && i < count; i++)
        if (results[i] != TY_APPLIED)
            ty_err_set(&work->err, TY_EPRECONDITION, "a job was in the store before");
}

static void step_fill(struct work *work)
{
    size_t count = 0;
    for (; count < (size_t)work->options->batch && work->sent < work->options->count; count++, work->sent++) {
        int64_t index = work->options->first + work->sent;
        struct ty_buf *record = &work->records[count];
        ty_buf_clear(record);
        if (bench_job_record(work->options, work->catalog, index, record, &work->err) < 0)
            return;
        work->commands[count] = (struct ty_apply){.kind = TY_COMMAND_SUBMIT_CUSTOM,
                                                  .job_id = bench_job_id(work->options, index),
                                                  .record = record->data,
                                                  .record_len = record->len,
                                                  .organization_id = work->options->organization};
    }
    work->under_way++;
    ty_state_apply(work->state, work->commands, count, NULL, on_applied, work);
}

int bench_fill(const struct bench_options *options, struct ty_err *err)
{
    return run_and_print(options, step_fill, err);
}

// ---- logs ----

static void on_log(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    (void)place;
    ended(context, 0, err);
}

static void on_log_end(void *context, const struct ty_err *err, const struct ty_log_place *place)
{
    (void)place;
    ended(context, 1, err);
}

// A line as trainings print them, with numbers that differ, and as long as is wanted.
static void make_line(const struct bench_options *options, unsigned *seed, int64_t number, char line[LINE_MAX_BYTES])
{
    int len = snprintf(line, LINE_MAX_BYTES, "line %08lld epoch %d step %d", (long long)number, rand_r(seed) % 100,
                       rand_r(seed) % 10000);
    while (len < options->line_bytes && len < LINE_MAX_BYTES - 32)
        len += snprintf(line + len, 32, " metric_%d=%.5f", len % 7, (double)rand_r(seed) / RAND_MAX);
}

// What a worker makes of a job's whole log: chunks, the last with the end.
static void step_logs(struct work *work)
{
    static char line[LINE_MAX_BYTES];
    TY_BUF(entry);
    TY_BUF(blobs);
    struct ty_log_chunk chunk = {0};
    struct ty_token token = ty_token_new();
    unsigned seed = (unsigned)work->sent;
    struct ty_id id = bench_job_id(work->options, work->options->first + work->sent++);
    size_t count = (size_t)work->options->lines;
    work->under_way++;
    ty_state_log_open(work->state, &id, 1, ty_clock_wall_us(), &token, 0, on_log, work);
    for (size_t i = 0; i < count; i++) {
        make_line(work->options, &seed, (int64_t)i, line);
        ty_buf_clear(&entry);
        ty_log_entry_add(&entry, TY_LOG_STREAM_STDOUT, false, ty_clock_wall_us(), "info", line, (size_t)work->options->line_bytes);
        ty_log_chunk_add(&chunk, i, entry.data, entry.len);
        bool is_last = i + 1 == count;
        if (!is_last && !ty_log_chunk_is_full(&chunk))
            continue;
        ty_buf_clear(&blobs);
        ty_log_chunk_seal(&chunk, &blobs);
        struct ty_bytes blob = {blobs.data, blobs.len};
        struct ty_log_append append = {.id = id, .token = token, .attempt = 1, .first = i + 1, .chunks = &blob, .chunk_count = 1,
                                       .end = is_last};
        work->under_way++;
        ty_state_log_append(work->state, &append, is_last ? on_log_end : on_log, work);
    }
    ty_log_chunk_done(&chunk);
}

int bench_logs(const struct bench_options *options, struct ty_err *err)
{
    return run_and_print(options, step_logs, err);
}
