// trainyard topics: makes and checks the Kafka topics.
#include "producer/topics.h"

#include <stddef.h>
#include <string.h>

#include "producer/cli/kafka_trouble.h"
#include "producer/cli/verb.h"

// Exit code of check when something is missing or differs; as a state that does not allow the use.
#define EXIT_DIFFERS 6

struct options {
    struct ty_cli_common common;
    char *file;
    int64_t replication_factor;
};

static const struct ty_setting rows[] = {
    {.key = "file", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, file), .unit = "",
     .help = "A topics.json in place of the built-in description."},
    {.key = "replication-factor", .type = TY_SETTING_INT, .offset = offsetof(struct options, replication_factor), .min = 0,
     .max = 100, .fallback = "0", .unit = "", .help = "Copies of each partition; 0: the cluster's default, not compared."},
};

static const struct {
    const char *word;
    enum ty_color color;
} findings[] = {
    [TY_TOPICS_CREATED] = {"created", TY_COLOR_GREEN},
    [TY_TOPICS_MATCHES] = {"ok", TY_COLOR_GREEN},
    [TY_TOPICS_DIFFERS] = {"differs", TY_COLOR_YELLOW},
    [TY_TOPICS_MISSING] = {"missing", TY_COLOR_RED},
};

struct report {
    struct ty_table *table;
    json_t *json;
};

static void on_line(void *context, enum ty_topics_finding finding, const char *topic, const char *text)
{
    struct report *report = context;
    ty_table_add(report->table, TY_COLOR_NONE, topic);
    ty_table_add(report->table, findings[finding].color, findings[finding].word);
    ty_table_add(report->table, TY_COLOR_NONE, text);
    json_array_append_new(report->json, json_pack("{s:s, s:s, s:s}", "topic", topic, "finding", findings[finding].word,
                                                  "difference", text));
}

static void put_report(const struct ty_cli *cli, const struct report *report)
{
    if (cli->common->json)
        ty_cli_put_json(cli, json_pack("{s:O}", "topics", report->json), false);
    else if (json_array_size(report->json))
        ty_table_print(report->table, cli->out, cli->color);
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    static const char *const headers[] = {"TOPIC", "", "DIFFERENCE"};
    const struct options *topics_options = options;
    const char *action = cli->arguments[0];
    bool is_create = !strcmp(action, "create");
    struct ty_topics *topics;
    size_t differences = 0;
    if (!is_create && strcmp(action, "check") != 0)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": neither create nor check", action);
    if (ty_topics_load(topics_options->file, &topics, err) < 0) {
        if (err->code == TY_ENOTFOUND)
            err->code = TY_EINVALID; // of the command line, not of a job
        return topics_options->file ? ty_err_prefix(err, "--file") : -(int)err->code;
    }
    struct ty_kafka_options kafka = {.brokers = cli->common->kafka_brokers, .client_id = "trainyard-cli",
                                     .topic_prefix = cli->common->topic_prefix,
                                     .properties = cli->common->kafka_properties};
    struct report report = {.table = ty_table_new(headers, 3), .json = json_array()};
    struct ty_topics_run topics_run = {.kafka = &kafka, .replication_factor = (int)topics_options->replication_factor,
                                       .timeout_ms = (int)cli->common->timeout_ms, .fn = on_line, .context = &report};
    int rc = is_create ? ty_topics_create(topics, &topics_run, &differences, err)
                       : ty_topics_check(topics, &topics_run, &differences, err);
    if (rc < 0 && err->code != TY_EINVALID)
        ty_kafka_trouble_explain(cli->common->kafka_brokers, err);
    if (rc == 0 || json_array_size(report.json))
        put_report(cli, &report);
    ty_table_free(report.table);
    json_decref(report.json);
    ty_topics_free(topics);
    if (rc == 0 && differences && is_create)
        ty_cli_note(cli, "topics that exist are left as they are; what differs can be changed by Kafka's own tools");
    return rc < 0 ? rc : differences ? EXIT_DIFFERS : 0;
}

const struct ty_cli_verb ty_cli_topics = {
    .name = "topics",
    .summary = "makes the Kafka topics, or checks that they are as they must be",
    .arguments = "create|check",
    .min_arguments = 1,
    .max_arguments = 1,
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_TAKES_TIME | TY_CLI_NEEDS_TOPICS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "create makes the topics that are missing and changes none; check compares partitions and settings. Both exit\n"
               "with 6 when something is missing or differs afterwards.\n"
               "With --json: {\"topics\": [{\"topic\", \"finding\": created, ok, differs or missing, \"difference\"}, ...]}.\n",
    .examples = "  trainyard topics create --kafka-brokers kafka-1:9092,kafka-2:9092 --replication-factor 3\n"
                "  trainyard topics check\n",
    .run = run,
};
