// trainyard rules: the pauses and limits in force, as Kafka keeps them.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/rule.h"
#include "producer/cli/letters.h"
#include "producer/cli/when.h"

#define TOPIC "settings"

struct options {
    struct ty_cli_common common;
};

// One record of a rule. The latest of a name counts, in the order of the offsets: a key has one partition.
struct told {
    struct ty_rule rule;
    struct ty_place place;
    uint64_t time_us;
};

struct list {
    struct told *told;
    size_t count, cap;
    uint64_t ignored; // records that are no rules
};

static int add(void *context, const struct ty_topic_record *record, struct ty_err *err)
{
    struct list *list = context;
    struct told told = {.place = record->place, .time_us = record->time_us};
    (void)err;
    struct ty_err why;
    if (ty_rule_decode(record->key, record->key_len, record->value, record->value_len, &told.rule, &why) < 0) {
        list->ignored++; // as the intake does, which leaves a dead letter
        return 0;
    }
    if (list->count == list->cap) {
        list->cap = list->cap ? 2 * list->cap : 64;
        list->told = ty_xrealloc(list->told, list->cap * sizeof *list->told);
    }
    list->told[list->count++] = told;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct told *first = a, *second = b;
    int by_name = strcmp(first->rule.name, second->rule.name);
    if (by_name)
        return by_name;
    return first->place.offset < second->place.offset ? -1 : first->place.offset > second->place.offset;
}

// What stands, by name; the rest goes.
static void keep_latest(struct list *list)
{
    size_t kept = 0;
    if (list->count)
        qsort(list->told, list->count, sizeof *list->told, compare);
    for (size_t i = 0; i < list->count; i++) {
        bool is_latest = i + 1 == list->count || strcmp(list->told[i].rule.name, list->told[i + 1].rule.name) != 0;
        if (is_latest && list->told[i].rule.is_set)
            list->told[kept++] = list->told[i];
        else
            ty_rule_done(&list->told[i].rule);
    }
    list->count = kept;
}

static const char *organization_of(const struct ty_rule *rule)
{
    return strchr(rule->name, '/') + 1;
}

static const char *kind_of(const struct ty_rule *rule)
{
    return rule->kind == TY_RULE_PAUSE ? "pause" : "limit";
}

static void print(const struct ty_cli *cli, const struct list *list)
{
    static const char *const headers[] = {"ORGANIZATION", "RULE", "SET"};
    struct ty_table *table = ty_table_new(headers, sizeof headers / sizeof *headers);
    for (size_t i = 0; i < list->count; i++) {
        const struct told *told = &list->told[i];
        const char *organization = organization_of(&told->rule);
        char text[64], when[TY_WHEN_BYTES];
        if (told->rule.kind == TY_RULE_PAUSE)
            snprintf(text, sizeof text, "paused");
        else if (told->rule.max_running)
            snprintf(text, sizeof text, "at most %" PRIu32 " running", told->rule.max_running);
        else
            snprintf(text, sizeof text, "no limit");
        ty_table_add(table, TY_COLOR_NONE, strcmp(organization, TY_RULE_ALL) ? organization : "(all)");
        ty_table_add(table, told->rule.kind == TY_RULE_PAUSE ? TY_COLOR_YELLOW : TY_COLOR_NONE, text);
        ty_table_add(table, TY_COLOR_NONE, told->time_us ? ty_when_utc((int64_t)told->time_us, when) : "");
    }
    if (list->count)
        ty_table_print(table, cli->out, cli->color);
    else
        ty_cli_note(cli, "no rules: nothing is paused or limited");
    if (list->ignored)
        ty_cli_note(cli, "%" PRIu64 " of the topic's records are no rules; see trainyard dead-letters", list->ignored);
    ty_table_free(table);
}

static void put(const struct ty_cli *cli, const struct list *list)
{
    json_t *rules = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct told *told = &list->told[i];
        const char *organization = organization_of(&told->rule);
        char when[TY_WHEN_BYTES];
        bool is_all = !strcmp(organization, TY_RULE_ALL);
        json_array_append_new(rules, json_pack("{s:s, s:s, s:o, s:o, s:o, s:i, s:I}", "key", told->rule.name, "kind", kind_of(&told->rule),
            "organization", is_all ? json_null() : json_string(organization),
            "max_running", told->rule.kind == TY_RULE_LIMIT ? json_integer(told->rule.max_running) : json_null(),
            "time", told->time_us ? json_string(ty_when_millis((int64_t)told->time_us, when)) : json_null(),
            "partition", (int)told->place.partition, "offset", (json_int_t)told->place.offset));
    }
    ty_cli_put_json(cli, json_pack("{s:o, s:I}", "rules", rules, "ignored", (json_int_t)list->ignored), false);
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    struct ty_kafka_options kafka = ty_letters_kafka(cli);
    struct ty_topic_reader *reader;
    struct list list = {0};
    (void)options;
    if (ty_topic_reader_open(&kafka, TOPIC, (int)cli->common->timeout_ms, &reader, err) < 0)
        return ty_letters_trouble(cli, err);
    int rc = ty_topic_reader_each(reader, 0, add, &list, err);
    keep_latest(&list);
    if (rc < 0)
        ty_letters_trouble(cli, err);
    else if (cli->common->json)
        put(cli, &list);
    else
        print(cli, &list);
    for (size_t i = 0; i < list.count; i++)
        ty_rule_done(&list.told[i].rule);
    free(list.told);
    ty_topic_reader_close(reader);
    return rc;
}

const struct ty_cli_verb ty_cli_rules = {
    .name = "rules",
    .summary = "lists the pauses and limits in force",
    .arguments = "",
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_TAKES_TIME | TY_CLI_NEEDS_RULES,
    .options_bytes = sizeof(struct options),
    .details =
        "They are read from Kafka, which is where `pause`, `resume` and `limit` write them; the job store has them a moment later, and\n"
        "gets them from there again when it was lost. (all): for each organization that has none of its own; a pause of all stands\n"
        "beside that of an organization.\n"
        "With --json: {\"rules\": [{\"key\", \"kind\": pause or limit, \"organization\": null is all, \"max_running\": of a limit, 0 is\n"
        "none; \"time\", \"partition\", \"offset\"}], \"ignored\": records that are no rules}.\n",
    .examples = "  trainyard rules\n",
    .run = run,
};
