// trainyard pause, resume and limit: what operators set for the queues, published to the topic settings.
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/kafka.h"
#include "core/rule.h"
#include "producer/cli/kafka_trouble.h"
#include "producer/cli/verb.h"

#define TOPIC "settings"
#define ISSUER "trainyard " TY_VERSION
#define PATIENCE_MS 10000 // the publisher gives up after 4 s

struct options {
    struct ty_cli_common common;
    bool all;
    // of limit
    bool none;
    int64_t max_running;
};
#define AT(member) offsetof(struct options, member)

#define ALL_ROW(text)                                                                                                          \
    {.key = "all", .type = TY_SETTING_BOOL, .offset = AT(all), .fallback = "false", .unit = "", .help = text}

static const struct ty_setting pause_rows[] = {
    ALL_ROW("In place of organizations: no job starts at all."),
};
static const struct ty_setting resume_rows[] = {
    ALL_ROW("In place of organizations: takes back `pause --all`; what was paused one by one stays so."),
};
static const struct ty_setting limit_rows[] = {
    ALL_ROW("In place of organizations: for each that has no limit of its own."),
    {.key = "max-running", .type = TY_SETTING_INT, .offset = AT(max_running), .min = -1, .max = TY_RULE_RUNNING_MAX, .fallback = "-1",
     .unit = "jobs", .help = "How many of an organization's jobs may run at a time; 0: as many as there is room for."},
    {.key = "none", .type = TY_SETTING_BOOL, .offset = AT(none), .fallback = "false", .unit = "",
     .help = "Takes the limit back, so that the one for all counts."},
};

// What every record of one call has in common.
struct change {
    enum ty_rule_kind kind;
    bool is_set;
    uint32_t max_running;
    const char *done; // "paused"
};

// One record on its way. Callbacks come on the publisher's thread, and all of them before it is freed.
struct flight {
    const char *organization;
    char *name;
    int32_t partition;
    int64_t offset;
    bool unknown;
    struct ty_err err;
};

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct flight *flight = context;
    flight->partition = partition;
    flight->offset = offset;
    flight->unknown = unknown;
    flight->err = err ? *err : (struct ty_err){.code = TY_OK};
}

static int send_all(struct ty_publisher *publisher, const struct change *change, struct flight *flights, size_t count, struct ty_err *err)
{
    TY_BUF(value);
    if (change->is_set)
        ty_rule_encode(change->max_running, ty_clock_wall_us(), ISSUER, &value);
    for (size_t i = 0; i < count; i++) {
        ty_err_set(&flights[i].err, TY_EUNAVAILABLE, "Kafka has not answered");
        flights[i].unknown = true;
        if (ty_publisher_send_raw(publisher, TOPIC, flights[i].name, strlen(flights[i].name), change->is_set ? value.data : NULL,
                                  value.len, NULL, on_published, &flights[i], err) < 0)
            return -(int)err->code;
    }
    return 0;
}

static int report(struct ty_cli *cli, const struct change *change, const struct flight *flights, size_t count, struct ty_err *err)
{
    json_t *records = json_array();
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        const struct flight *flight = &flights[i];
        if (flight->err.code != TY_OK) {
            if (rc == 0) {
                ty_err_set(err, flight->err.code, "%.100s: %.200s%s", flight->organization, flight->err.message,
                           flight->unknown ? "; whether it was published is not known, and doing it again does no harm" : "");
                ty_kafka_trouble_explain(cli->common->kafka_brokers, err);
            }
            rc = -(int)err->code;
            continue;
        }
        json_array_append_new(records, json_pack("{s:s, s:i, s:I}", "key", flight->name, "partition", (int)flight->partition, "offset",
                                                 (json_int_t)flight->offset));
        if (!cli->common->json)
            ty_cli_note(cli, "%s: %s", strcmp(flight->organization, TY_RULE_ALL) ? flight->organization : "all", change->done);
    }
    if (cli->common->json)
        ty_cli_put_json(cli, json_pack("{s:O}", "rules", records), false);
    json_decref(records);
    return rc;
}

static int publish(struct ty_cli *cli, const struct change *change, struct flight *flights, size_t count, struct ty_err *err)
{
    struct ty_kafka_options kafka = {.brokers = cli->common->kafka_brokers, .client_id = "trainyard-cli",
                                     .topic_prefix = cli->common->topic_prefix, .properties = cli->common->kafka_properties};
    struct ty_publisher *publisher;
    if (ty_publisher_new(&kafka, &publisher, err) < 0)
        return -(int)err->code;
    int rc = send_all(publisher, change, flights, count, err);
    ty_publisher_free(publisher, PATIENCE_MS);
    return rc < 0 ? rc : report(cli, change, flights, count, err);
}

static int change_all(struct ty_cli *cli, const struct change *change, bool all, struct ty_err *err)
{
    if (all == (cli->count > 0))
        return ty_err_set(err, TY_EINVALID, all ? "--all: takes no organizations besides" : "no organization is named, nor --all");
    size_t count = all ? 1 : (size_t)cli->count, made = 0;
    struct flight *flights = ty_xcalloc(count, sizeof *flights);
    int rc = 0;
    for (; rc == 0 && made < count; made++) {
        flights[made].organization = all ? TY_RULE_ALL : cli->arguments[made];
        rc = ty_rule_name(change->kind, flights[made].organization, &flights[made].name, err);
        if (rc == 0 && !all && !strcmp(flights[made].organization, TY_RULE_ALL))
            rc = ty_err_set(err, TY_EINVALID, "organization: %s is no name; --all is for all of them", TY_RULE_ALL);
    }
    if (rc == 0)
        rc = publish(cli, change, flights, count, err);
    for (size_t i = 0; i < made; i++)
        free(flights[i].name);
    free(flights);
    return rc;
}

static int run_pause(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    static const struct change change = {.kind = TY_RULE_PAUSE, .is_set = true, .done = "paused; what runs goes on"};
    return change_all(cli, &change, ((const struct options *)options)->all, err);
}

static int run_resume(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    static const struct change change = {.kind = TY_RULE_PAUSE, .done = "resumed"};
    return change_all(cli, &change, ((const struct options *)options)->all, err);
}

static int run_limit(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *asked = options;
    bool has_limit = asked->max_running >= 0;
    if (asked->none == has_limit)
        return ty_err_set(err, TY_EINVALID, "one of --max-running and --none is needed");
    struct change change = {.kind = TY_RULE_LIMIT, .is_set = has_limit, .max_running = has_limit ? (uint32_t)asked->max_running : 0,
                            .done = has_limit ? "limited" : "has no limit of its own any more"};
    return change_all(cli, &change, asked->all, err);
}

#define JSON_HELP "With --json: {\"rules\": [{\"key\", \"partition\", \"offset\"}]}, one for each that Kafka has.\n"

const struct ty_cli_verb ty_cli_pause = {
    .name = "pause",
    .summary = "starts no more jobs of an organization, or of all",
    .arguments = "[ORGANIZATION]...",
    .max_arguments = INT32_MAX,
    .needs = TY_CLI_NEEDS_KAFKA,
    .rows = pause_rows,
    .row_count = sizeof pause_rows / sizeof *pause_rows,
    .options_bytes = sizeof(struct options),
    .details = "Jobs that run go on; submits are taken, and wait. It is kept in Kafka until `resume`, whatever becomes of the job store.\n" JSON_HELP,
    .examples = "  trainyard pause acme\n"
                "  trainyard pause --all\n",
    .run = run_pause,
};

const struct ty_cli_verb ty_cli_resume = {
    .name = "resume",
    .summary = "takes a pause back",
    .arguments = "[ORGANIZATION]...",
    .max_arguments = INT32_MAX,
    .needs = TY_CLI_NEEDS_KAFKA,
    .rows = resume_rows,
    .row_count = sizeof resume_rows / sizeof *resume_rows,
    .options_bytes = sizeof(struct options),
    .details = "An organization's pause and that of all are two things: its jobs start when neither stands.\n" JSON_HELP,
    .examples = "  trainyard resume acme\n"
                "  trainyard resume --all\n",
    .run = run_resume,
};

const struct ty_cli_verb ty_cli_limit = {
    .name = "limit",
    .summary = "sets how many jobs of an organization may run at a time",
    .arguments = "[ORGANIZATION]...",
    .max_arguments = INT32_MAX,
    .needs = TY_CLI_NEEDS_KAFKA,
    .rows = limit_rows,
    .row_count = sizeof limit_rows / sizeof *limit_rows,
    .options_bytes = sizeof(struct options),
    .details = "Jobs above a new limit go on; none starts until fewer run. A job that is being canceled runs until it has ended.\n"
               "Where the job store has several shards, a limit is that of each of them.\n" JSON_HELP,
    .examples = "  trainyard limit acme --max-running 20\n"
                "  trainyard limit --all --max-running 5\n"
                "  trainyard limit acme --none\n",
    .run = run_limit,
};
