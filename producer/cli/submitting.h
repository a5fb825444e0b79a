// What submit and submit-custom have in common: the options of any job, the id on stdout, and waiting for the job's end.
#pragma once

#include <stddef.h>

#include "producer/cli/publish.h"

struct ty_submitting {
    char *job_id;
    int64_t priority, max_runtime_s, max_wait_s, max_attempts;
    int on_lost_lease; // enum trainyard_on_lost_lease
    char **labels;
    char *idempotency_key;
    int64_t cpu_millis, gpus, memory_bytes;
    bool wait, follow;
    struct ty_follow_options waiting;
};

#define TY_SUBMITTING_TEXT(at, name, member, env, text)                                                                    \
    {.key = name, .environment = env, .type = TY_SETTING_TEXT, .offset = (at) + offsetof(struct ty_submitting, member),    \
     .unit = "", .help = text}
#define TY_SUBMITTING_INT(at, name, member, most, of, text)                                                                \
    {.key = name, .type = TY_SETTING_INT, .offset = (at) + offsetof(struct ty_submitting, member), .min = 0,               \
     .max = most, .fallback = "0", .unit = of, .help = text}
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
                      "Seconds the job may wait for a worker; 0: the site's default."),                                    \
    TY_SUBMITTING_INT(at, "max-attempts", max_attempts, 100, "", "Attempts at most; 0: the site's default."),              \
    {.key = "on-lost-lease", .type = TY_SETTING_CHOICE, .offset = (at) + offsetof(struct ty_submitting, on_lost_lease),    \
     .choices = "default|continue|stop", .fallback = "default", .unit = "",                                                \
     .help = "What an attempt does that has lost contact with the store."},                                                \
    {.key = "label", .type = TY_SETTING_LIST, .offset = (at) + offsetof(struct ty_submitting, labels), .unit = "",         \
     .help = "A free label key=value of yours; may be repeated."},                                                         \
    TY_SUBMITTING_INT(at, "cpu-millis", cpu_millis, UINT32_MAX, "", "Thousandths of a processor; 0: the site's default."), \
    TY_SUBMITTING_INT(at, "memory-bytes", memory_bytes, INT64_MAX, "bytes", "Memory; 0: the site's default."),             \
    TY_SUBMITTING_INT(at, "gpus", gpus, 1024, "", "GPUs."),                                                                \
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
// options borrows from submitting; its labels are freed with free.
int ty_submitting_options(const struct ty_submitting *submitting, struct trainyard_job_options *ret_options,
                          struct ty_err *err) TY_MUST_USE;
// model_version, or when it is unset the time of now; *ret_made is to free.
const char *ty_submitting_version(const char *model_version, char **ret_made);

// Publishes by fn(client, job), prints, and waits as asked. The exit code or a negative error.
typedef int (*ty_submitting_fn)(struct trainyard_client *client, const void *job, struct trainyard_receipt *ret_receipt,
                                struct trainyard_error *error);
int ty_submitting_run(struct ty_cli *cli, const struct ty_submitting *submitting, ty_submitting_fn fn, const void *job,
                      struct ty_err *err) TY_MUST_USE;
