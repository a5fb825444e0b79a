// A program that prints at a steady pace, and how long it stood in write(): what a job's output costs the job. Each write is of
// --batch lines of --line-bytes. The pace is by the clock: one that is late writes at once until it has caught up.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "tests/bench/bench.h"

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void wait_until(double when_us)
{
    struct timespec at = {.tv_sec = (time_t)(when_us / 1e6)};
    at.tv_nsec = (long)((when_us - (double)at.tv_sec * 1e6) * 1e3);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static int report(const struct bench_options *options, struct bench_samples *samples, double sum_us, double ran_us,
                  struct ty_err *err)
{
    FILE *out = fopen(options->out, "w");
    if (!out)
        return ty_err_errno(err, errno, "%s", options->out);
    fprintf(out,
            "{\"writes\": %zu, \"seconds\": %.3f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, "
            "\"share\": %.5f}\n",
            samples->count, ran_us / 1e6, bench_samples_percentile(samples, 50), bench_samples_percentile(samples, 99),
            bench_samples_percentile(samples, 99.9), bench_samples_percentile(samples, 100), sum_us / ran_us);
    return fclose(out) ? ty_err_errno(err, errno, "%s", options->out) : 0;
}

int bench_write(const struct bench_options *options, struct ty_err *err)
{
    struct bench_samples samples = {0};
    TY_BUF(text);
    if (!options->out)
        return ty_err_set(err, TY_EINVALID, "write: --out is needed");
    for (int64_t i = 0; i < options->batch; i++) {
        for (int64_t at = 1; at < options->line_bytes; at++)
            ty_buf_add_byte(&text, 'x');
        ty_buf_add_byte(&text, '\n');
    }
    double start = now_us(), sum = 0, period = (double)text.len * 1e6 / (double)options->bytes_per_s;
    double end = start + (double)options->run_ms * 1e3;
    for (uint64_t i = 0; now_us() < end; i++) {
        wait_until(start + (double)i * period);
        double before = now_us();
        for (size_t at = 0; at < text.len;) {
            ssize_t put = write(STDOUT_FILENO, text.data + at, text.len - at);
            if (put < 0)
                return ty_err_errno(err, errno, "stdout");
            at += (size_t)put;
        }
        double spent = now_us() - before;
        bench_samples_add(&samples, spent);
        sum += spent;
    }
    int rc = report(options, &samples, sum, now_us() - start, err);
    bench_samples_done(&samples);
    return rc;
}
