#include <stdlib.h>
#include <time.h>

#include "tests/bench/bench.h"

void bench_samples_add(struct bench_samples *samples, double value)
{
    if (samples->count == samples->cap) {
        samples->cap = samples->cap ? samples->cap * 2 : 256;
        samples->values = ty_xrealloc(samples->values, samples->cap * sizeof *samples->values);
    }
    samples->values[samples->count++] = value;
}

void bench_samples_done(struct bench_samples *samples)
{
    free(samples->values);
    *samples = (struct bench_samples){0};
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

double bench_samples_percentile(struct bench_samples *samples, double percent)
{
    if (!samples->count)
        return 0;
    qsort(samples->values, samples->count, sizeof *samples->values, by_value);
    size_t at = (size_t)((double)samples->count * percent / 100);
    return samples->values[at < samples->count ? at : samples->count - 1];
}

void bench_pause_us(unsigned us)
{
    struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};
    nanosleep(&time, NULL);
}
