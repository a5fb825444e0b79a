// trainyard-bench VERB: see --help.
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/settings.h"
#include "tests/bench/bench.h"

#define AT(member) offsetof(struct bench_options, member)
#define TEXT(k, member, standard, words)                                                                               \
    {.key = k, .type = TY_SETTING_TEXT, .offset = AT(member), .fallback = standard, .unit = "", .help = words}
#define INT(k, member, low, high, standard, measure, words)                                                            \
    {.key = k, .type = TY_SETTING_INT, .offset = AT(member), .min = low, .max = high, .fallback = standard,            \
     .unit = measure, .help = words}

static const struct ty_setting rows[] = {
    TEXT("redis", redis, "redis://127.0.0.1:6379", "The store, redis://host:port."),
    TEXT("kafka-brokers", kafka_brokers, "127.0.0.1:9092", "Kafka bootstrap servers."),
    TEXT("topic-prefix", topic_prefix, "mltraining.", "Prefix of every topic's name."),
    {.key = "kafka-property", .type = TY_SETTING_LIST, .offset = AT(kafka_properties), .unit = "",
     .help = "A librdkafka property as key=value; may be repeated."},
    TEXT("address", address, "127.0.0.1:8480", "The gRPC server to load."),
    TEXT("port-file", port_file, NULL, "File that grpc-serve writes its address to."),
    TEXT("organization", organization, "0d9c5d3e-5b1c-4c6e-9d55-0b6f7a1c2e3d", "Organization of the jobs."),
    TEXT("container", container, "null:1", "Container of the jobs."),
    TEXT("method", method, "/viam.app.mltraining.v1.MLTrainingService/GetTrainingJob", "Method that grpc-load calls."),
    TEXT("way", way, "", "What watch looks at (watermarks, zset, list, log); how raw-submit writes (lua, plain, variadic), and "
                         "raw-cycle (single, batched); what split reads (plain, logging, json, utf8, ansi)."),
    TEXT("key", key, "", "Key that watch looks at."),
    INT("count", count, 1, 100000000, "1000", "", "Jobs, records, calls or log lines."),
    INT("first", first, 0, 100000000, "0", "", "Number of the first job; where the pace that watch takes begins."),
    INT("in-flight", in_flight, 1, 10000, "64", "", "Commands or calls under way at a time."),
    INT("batch", batch, 1, 4096, "256", "", "Jobs or log lines of one command."),
    INT("lines", lines, 1, 100000, "20", "", "Log lines of each job."),
    INT("line-bytes", line_bytes, 1, 16384, "100", "bytes", "Length of a log line."),
    INT("bytes-per-s", bytes_per_s, 1, 1000000000, "10000000", "bytes", "What write prints."),
    INT("run-ms", run_ms, 1, 3600000, "10000", "ms", "For how long."),
    TEXT("out", out, NULL, "The file of write's figures."),
    INT("spec-bytes", spec_bytes, 0, 65536, "200", "bytes", "Length of a job's serialized request."),
    INT("timeout-ms", timeout_ms, 1, 3600000, "60000", "ms", "Longest time to wait for anything."),
};

static const struct ty_settings_table table = {
    .program = "trainyard-bench",
    .summary = "one load or one raw limit, for tests/bench/run; the first argument is a verb",
    .rows = rows,
    .count = sizeof rows / sizeof *rows,
};

static const struct verb {
    const char *name;
    bench_verb_fn fn;
    const char *help;
} verbs[] = {
    {"publish", bench_publish, "publish submit commands, wait for all delivery reports"},
    {"echo", bench_echo, "publish one at a time; how long until a consumer of our own has it"},
    {"latency", bench_latency, "publish one at a time; how long until the job has started, by the store"},
    {"fill", bench_fill, "put jobs into the store through core/state"},
    {"logs", bench_logs, "write the logs of jobs that are there through core/state"},
    {"write", bench_write, "print --bytes-per-s to stdout for --run-ms; how long each write() took, into --out"},
    {"split", bench_split, "the processor time that a line takes from the spool to the worker's batch"},
    {"watch", bench_watch, "follow a number in Redis until it is --count; its rate"},
    {"read-log", bench_read_log, "read the log of job --first to its end by GetTrainingJobLogs, then --count of its pages at random"},
    {"count", bench_count, "count the jobs in Redis, by key and by index"},
    {"raw-submit", bench_raw_submit, "limit: the Redis writes of a submit"},
    {"raw-cycle", bench_raw_cycle, "limit: the Redis writes of claiming and completing what fill made"},
    {"raw-push", bench_raw_push, "limit: RPUSH of log lines"},
    {"grpc-serve", bench_grpc_serve, "limit: a gRPC server that answers everything with an empty message, until SIGTERM"},
    {"grpc-load", bench_grpc_load, "calls of one method with job ids as requests"},
};

static void help(void)
{
    ty_settings_help(&table, stdout);
    printf("\nVerbs:\n");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        printf("  %-12s %s\n", verbs[i].name, verbs[i].help);
}

static int run(int count, char **words, const struct bench_options *options, struct ty_err *err)
{
    for (size_t i = 0; count == 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i].name, words[0]))
            return verbs[i].fn(options, err);
    return ty_err_set(err, TY_EINVALID, "%s: one verb is needed; --help lists them", count ? words[count - 1] : "verb");
}

int main(int argc, char **argv)
{
    struct bench_options options = {0};
    struct ty_err err;
    char **words = NULL;
    int count = 0;
    signal(SIGPIPE, SIG_IGN);
    if (ty_settings_has_flag(argc, argv, "--help")) {
        help();
        return 0;
    }
    ty_log_setup("trainyard-bench", TY_LOG_WARN, TY_LOG_TEXT);
    int rc = ty_settings_load(&table, &options, argc, argv, &words, &count, &err);
    if (rc == 0)
        rc = run(count, words, &options, &err);
    if (rc < 0)
        fprintf(stderr, "trainyard-bench: %s\n", err.message);
    free(words);
    ty_settings_done(&table, &options);
    return rc < 0 ? ty_code_exit(err.code) : 0;
}
