// What a verb is made of, and what a running one has. One file a verb; cli.c has their table. One thread.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/settings.h"
#include "producer/cli/rpc.h"
#include "producer/cli/table.h"

// Exit codes beside those of core/err.h.
#define TY_EXIT_FAILED 10     // the job ended FAILED
#define TY_EXIT_CANCELED 11   // the job ended CANCELED
#define TY_EXIT_LOG_CUT 12    // the job has ended, and the end of its log did not come

// The settings that every verb takes, so that one file and one environment serve them all; it stands first in each
// verb's options.
struct ty_cli_common {
    char *server;
    char *token, *api_key_id, *api_key;
    bool tls;
    char *tls_ca, *tls_cert, *tls_key;
    int64_t timeout_ms;
    char *kafka_brokers;
    char *topic_prefix;
    char **kafka_properties;
    char *signing_key_file;
    int color; // enum ty_cli_color
    bool json;
};

enum ty_cli_color { TY_CLI_COLOR_AUTO, TY_CLI_COLOR_ALWAYS, TY_CLI_COLOR_NEVER };

struct ty_cli {
    const struct ty_cli_verb *verb;
    const struct ty_cli_common *common;
    char **arguments; // positional
    int count;
    FILE *out;        // stdout
    FILE *notes;      // stderr
    bool color;       // on out
    bool notes_color; // on notes
};

enum ty_cli_need {
    TY_CLI_NEEDS_SERVER = 1,
    TY_CLI_NEEDS_KAFKA = 2,
    TY_CLI_TAKES_TIME = 4,  // --timeout-ms
    TY_CLI_NEEDS_STATE = 8,   // a job in a certain state
    TY_CLI_NEEDS_TOPICS = 16, // as they must be
    TY_CLI_NEEDS_LETTERS = 32, // dead letters
    TY_CLI_NEEDS_RULES = 64,   // of the queues
    TY_CLI_NEEDS_KEYS = 128,
};

struct ty_cli_verb {
    const char *name;      // "get"
    const char *summary;   // "prints all that is known of a job"
    const char *arguments; // "JOB_ID"; "" for none
    int min_arguments, max_arguments;
    unsigned needs;        // enum ty_cli_need: which of the common settings its help shows
    const struct ty_setting *rows;
    size_t row_count;
    size_t options_bytes;
    const char *details;   // paragraphs for --help: what is printed, the fields of --json
    const char *examples;  // lines for --help
    bool ends_by_job;      // its exit code may be TY_EXIT_FAILED or TY_EXIT_CANCELED
    bool has_log;          // its exit code may be TY_EXIT_LOG_CUT
    // options: the verb's own struct, ty_cli_common first. The exit code, or a negative error.
    int (*run)(struct ty_cli *cli, const void *options, struct ty_err *err);
};

extern const struct ty_cli_verb ty_cli_submit, ty_cli_submit_custom, ty_cli_retry, ty_cli_cancel, ty_cli_delete;
extern const struct ty_cli_verb ty_cli_get, ty_cli_list, ty_cli_history, ty_cli_logs, ty_cli_containers, ty_cli_watch, ty_cli_topics, ty_cli_rebuild, ty_cli_pause, ty_cli_resume, ty_cli_limit,
    ty_cli_rules, ty_cli_dead_letters, ty_cli_keys;

// ---- for the verbs ----

// A client for --server with --token, or --api-key-id and --api-key.
int ty_cli_connect(const struct ty_cli *cli, struct ty_rpc_client **ret_client, struct ty_err *err) TY_MUST_USE;
// One JSON document and a newline on out; takes the reference. compact: on one line.
void ty_cli_put_json(const struct ty_cli *cli, json_t *document, bool compact);
// A line for people on stderr ("trainyard watch: ..."), made safe.
void ty_cli_note(const struct ty_cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
// TY_EINVALID that names the flag when text is unset or empty.
int ty_cli_require(const char *flag, const char *text, struct ty_err *err) TY_MUST_USE;
