// What submit and submit-custom have in common: the options of any job, the id on stdout, and waiting for the job's end.
#pragma once

#include <stddef.h>

#include "core/limits.h"
#include "producer/cli/publish.h"

struct ty_submitting {
    char *job_id;
    int64_t priority, max_runtime_s, max_wait_s, max_attempts;
    int on_lost_lease; // enum trainyard_on_lost_lease
    char **labels;
    char *idempotency_key;
    int64_t cpu_millis, gpus, memory_bytes;
    bool retry_on_error;
    char **retry_exit_codes, **no_retry_exit_codes;
    int64_t retry_base_ms, retry_max_ms;
    bool wait, follow;
    struct ty_follow_options waiting;
};

#define TY_SUBMITTING_TEXT(at, name, member, env, text)                                                                    \
    {.key = name, .environment = env, .type = TY_SETTING_TEXT, .offset = (at) + offsetof(struct ty_submitting, member),    \
     .unit = "", .help = text}
#define TY_SUBMITTING_INT(at, name, member, most, of, text)                                                                \
    {.key = name, .type = TY_SETTING_INT, .offset = (at) + offsetof(struct ty_submitting, member), .min = 0,               \
     .max = most, .fallback = "0", .unit = of, .help = text}
#define TY_SUBMITTING_LIST(at, name, member, text)                                                                         \
    {.key = name, .type = TY_SETTING_LIST, .offset = (at) + offsetof(struct ty_submitting, member), .unit = "",            \
     .help = text}
#define TY_SUBMITTING_BOOL(at, name, member, text)                                                                         \
    {.key = name, .type = TY_SETTING_BOOL, .offset = (at) + offsetof(struct ty_submitting, member), .fallback = "false",   \
     .unit = "", .help = text}

// Rows for a verb whose options have a struct ty_submitting at `at` bytes.
#define TY_SUBMITTING_ROWS(at)                                                                                             \
    TY_SUBMITTING_TEXT(at, "idempotency-key", idempotency_key, NULL,                                                       \
                       "The same key of the same organization is the same job, however often it is submitted."),           \
    TY_SUBMITTING_TEXT(at, "job-id", job_id, NULL,                                                                         \
                       "The id (a UUID) of a submit whose outcome is not known, to publish it again; else a new one."),    \
    TY_SUBMITTING_INT(at, "priority", priority, 7, "", "0 is normal, 7 comes first."),                                     \
    TY_SUBMITTING_INT(at, "max-runtime", max_runtime_s, UINT32_MAX, "s",                                                   \
                      "Seconds an attempt may run; 0: the site's default."),                                               \
    TY_SUBMITTING_INT(at, "max-wait", max_wait_s, UINT32_MAX, "s",                                                         \
                      "Seconds the job may wait until a worker first takes it, or it fails; 0: as long as it takes."),     \
    TY_SUBMITTING_INT(at, "max-attempts", max_attempts, 100, "", "Attempts at most; 0: the site's default."),              \
    TY_SUBMITTING_BOOL(at, "retry-on-error", retry_on_error,                                                               \
                       "Tries again after a failure of the job's own, too, as often as --max-attempts allows."),           \
    TY_SUBMITTING_LIST(at, "retry-exit-code", retry_exit_codes,                                                            \
                       "An exit code of the script that is worth another attempt also without --retry-on-error; repeated."),\
    TY_SUBMITTING_LIST(at, "no-retry-exit-code", no_retry_exit_codes,                                                      \
                       "One that is not, in spite of --retry-on-error; may be repeated."),                                 \
    TY_SUBMITTING_INT(at, "retry-base-ms", retry_base_ms, TY_LIMIT_BACKOFF_MS, "ms",                                       \
                      "After the nth failure it waits a random time up to this times 2^(n-1); 0: the site's default."),    \
    TY_SUBMITTING_INT(at, "retry-max-ms", retry_max_ms, TY_LIMIT_BACKOFF_MS, "ms",                                         \
                      "And at most this; 0: the site's default."),                                                         \
    {.key = "on-lost-lease", .type = TY_SETTING_CHOICE, .offset = (at) + offsetof(struct ty_submitting, on_lost_lease),    \
     .choices = "default|continue|stop", .fallback = "default", .unit = "",                                                \
     .help = "What an attempt does that has lost contact with the store."},                                                \
    {.key = "label", .type = TY_SETTING_LIST, .offset = (at) + offsetof(struct ty_submitting, labels), .unit = "",         \
     .help = "A free label key=value of yours; may be repeated."},                                                         \
    TY_SUBMITTING_INT(at, "cpu-millis", cpu_millis, UINT32_MAX, "", "Thousandths of a processor; recorded, not enforced."), \
    TY_SUBMITTING_INT(at, "memory-bytes", memory_bytes, INT64_MAX, "bytes", "Memory; recorded, not enforced."),            \
    TY_SUBMITTING_INT(at, "gpus", gpus, 1024, "",                                                                          \
                      "GPUs; recorded, not enforced: a worker looks at none of these three."),                             \
    TY_SUBMITTING_BOOL(at, "wait", wait, "Waits until the job has ended; the exit code tells how."),                       \
    TY_SUBMITTING_BOOL(at, "follow", follow, "As --wait, and prints the job's log on stderr meanwhile."),                  \
    TY_FOLLOW_ROWS((at) + offsetof(struct ty_submitting, waiting))

#define TY_SUBMITTING_HELP                                                                                                 \
    "The job id, alone on a line, is all that goes to stdout, as soon as Kafka has the command; the rest goes to stderr.\n"\
    "With --json: {\"id\", \"partition\", \"offset\", \"job\"}: where the command stands in Kafka, and with --wait or\n"   \
    "--follow the job as it ended (the object of trainyard get --json), otherwise null.\n"

// Splits "key=value" texts at the first "=". *ret_pairs is one allocation, freed with free; *ret_count as many as texts.
// TY_EINVALID names the flag.
int ty_submitting_pairs(const char *flag, char *const *texts, struct trainyard_pair **ret_pairs, size_t *ret_count,
                        struct ty_err *err) TY_MUST_USE;
// options borrows from submitting; free it with ty_submitting_options_done, which takes NULL members.
int ty_submitting_options(const struct ty_submitting *submitting, struct trainyard_job_options *ret_options,
                          struct ty_err *err) TY_MUST_USE;
void ty_submitting_options_done(struct trainyard_job_options *options);
// model_version, or when it is unset the time of now; *ret_made is to free.
const char *ty_submitting_version(const char *model_version, char **ret_made);

// Publishes by fn(client, job), prints, and waits as asked. The exit code or a negative error.
typedef int (*ty_submitting_fn)(struct trainyard_client *client, const void *job, struct trainyard_receipt *ret_receipt,
                                struct trainyard_error *error);
int ty_submitting_run(struct ty_cli *cli, const struct ty_submitting *submitting, ty_submitting_fn fn, const void *job,
                      struct ty_err *err) TY_MUST_USE;
