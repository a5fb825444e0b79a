// trainyard-bench: the load generators and the raw limits behind tests/bench/run, one verb a file. Each verb does one thing
// against servers that are there already and prints one JSON object on stdout. Job number i of an organization has
// always the same id, so that one verb can ask for what another one made.
#pragma once

#include <hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/catalog.h"
#include "core/command.h"
#include "core/err.h"
#include "core/id.h"

struct bench_options {
    char *redis, *kafka_brokers, *topic_prefix, *address, *port_file, *organization, *container, *method, *way, *key, *out;
    char **kafka_properties;
    int64_t count, first, in_flight, batch, lines, line_bytes, spec_bytes, timeout_ms, bytes_per_s, run_ms;
};

// A verb prints its result. Errors are printed by main.
typedef int (*bench_verb_fn)(const struct bench_options *options, struct ty_err *err);
int bench_publish(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_echo(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_latency(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_fill(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_logs(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_write(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_split(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_watch(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_read_log(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_count(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_raw_submit(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_raw_cycle(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_raw_push(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_grpc_serve(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;
int bench_grpc_load(const struct bench_options *options, struct ty_err *err) TY_MUST_USE;

// ---- jobs (job.c) ----

struct ty_id bench_job_id(const struct bench_options *options, int64_t index);
// The command of submitting job `index`, as it stands on Kafka. The request in it has spec_bytes bytes.
void bench_job_command(const struct bench_options *options, int64_t index, struct ty_buf *out);
// The record that the store gets for it.
int bench_job_record(const struct bench_options *options, const struct ty_catalog *catalog, int64_t index,
                     struct ty_buf *out, struct ty_err *err) TY_MUST_USE;

// ---- times (sample.c) ----

struct bench_samples {
    double *values;
    size_t count, cap;
};
void bench_samples_add(struct bench_samples *samples, double value);
void bench_samples_done(struct bench_samples *samples);
// 0 when there are none. Sorts.
double bench_samples_percentile(struct bench_samples *samples, double percent);
// Stands still for so long: between two looks at something that cannot tell of itself.
void bench_pause_us(unsigned us);

// ---- raw Redis (raw.c) ----

// A blocking connection with many commands under way: a reply is read only when `depth` of them are.
struct bench_pipe;
typedef int (*bench_reply_fn)(void *context, const redisReply *reply, struct ty_err *err);
// redis_url: redis://host:port only. fn, which may be NULL, sees each reply in order; an error reply ends the run before.
int bench_pipe_open(const char *redis_url, size_t depth, bench_reply_fn fn, void *context, struct bench_pipe **ret_pipe,
                    struct ty_err *err) TY_MUST_USE;
void bench_pipe_free(struct bench_pipe *pipe);
int bench_pipe_send(struct bench_pipe *pipe, int argc, const char **argv, const size_t *lens, struct ty_err *err)
    TY_MUST_USE;
// Reads one reply, when one is due.
int bench_pipe_read(struct bench_pipe *pipe, struct ty_err *err) TY_MUST_USE;
size_t bench_pipe_under_way(const struct bench_pipe *pipe);
// Reads all replies that are due.
int bench_pipe_drain(struct bench_pipe *pipe, struct ty_err *err) TY_MUST_USE;
// Loads a script; sha1 has room for 41 bytes. Nothing else may be under way.
int bench_pipe_load(struct bench_pipe *pipe, const char *source, char *sha1, struct ty_err *err) TY_MUST_USE;
// One command of words without spaces, and its reply, the caller's to free.
int bench_pipe_ask(struct bench_pipe *pipe, redisReply **ret_reply, struct ty_err *err, const char *format, ...)
    TY_MUST_USE;
