// What several verbs do with a job that runs: its changes of state and its log, to the end. Block; one thread.
#pragma once

#include "producer/cli/job.h"
#include "producer/cli/verb.h"

// Settings of every verb that waits, with the values they have in the rows of ty_follow_rows.
struct ty_follow_options {
    int64_t patience_s; // how long the responder may be away
    int64_t appear_s;   // how long the job may be unknown at first
    int64_t rest_s;     // how long a log's rest may take after its job has ended, counted from the last entry
};
// Three rows for a verb whose options have a struct ty_follow_options at `at` bytes.
#define TY_FOLLOW_ROWS(at)                                                                                                 \
    {.key = "patience-s", .type = TY_SETTING_INT, .offset = (at) + offsetof(struct ty_follow_options, patience_s),         \
     .min = 0, .max = 86400, .fallback = "60", .unit = "s",                                                                \
     .help = "How long a responder that has gone away is waited for."},                                                    \
    {.key = "appear-s", .type = TY_SETTING_INT, .offset = (at) + offsetof(struct ty_follow_options, appear_s), .min = 0,   \
     .max = 86400, .fallback = "10", .unit = "s",                                                                          \
     .help = "How long a job that is not there yet is waited for: a command takes a moment through Kafka."},               \
    {.key = "rest-s", .type = TY_SETTING_INT, .offset = (at) + offsetof(struct ty_follow_options, rest_s), .min = 0,       \
     .max = 86400, .fallback = "30", .unit = "s",                                                                          \
     .help = "How long the rest of a log is waited for when its job has ended."}

// Prints each change of status on `out` (with --json one object a line) until the job has ended; the last state is
// *ret_answer, the caller's. out NULL: nothing is printed. TY_ENOTFOUND: there is none, or it was deleted meanwhile.
int ty_follow_status(const struct ty_cli *cli, struct ty_rpc_client *client, const char *id,
                     const struct ty_follow_options *options, FILE *out, TyJobAnswer **ret_answer,
                     struct ty_err *err) TY_MUST_USE;

// Prints the log on `out` as it comes, each entry once, until the job has ended and its log with it; follow false: what is
// there now. Returns 0, TY_EXIT_LOG_CUT when the job has ended and the log's end has not come for a while, or an error.
struct ty_follow_log {
    FILE *out;
    bool json, color;
    bool follow;
    int64_t tail;      // the last so many entries first; -1: all
    uint64_t since_us; // entries of this time or later, since 1970; 0: all
    const char *level; // entries of this level or above ("warn"); NULL: all
    size_t printed;    // set: how many entries there were
};
int ty_follow_log(const struct ty_cli *cli, struct ty_rpc_client *client, const char *id,
                  const struct ty_follow_options *options, struct ty_follow_log *log, struct ty_err *err) TY_MUST_USE;
