// What the actions of trainyard dead-letters share: which letters --filter fits, and a letter as JSON.
#pragma once

#include "producer/cli/filter.h"
#include "producer/cli/verb.h"
#include "producer/letters_replay.h"
#include "producer/topic_reader.h"

struct ty_letters_options {
    struct ty_cli_common common;
    char **filters;
    bool dry_run, yes;
    int64_t limit;
};

#define TY_LETTERS_KEYS_HELP                                                                                               \
    "  reason=TEXT, topic=submit, cancel or delete, command=submit, submit-custom, cancel, delete or none (it does not\n"   \
    "  decode), job=ID, stub=yes or no, since=TIME and until=TIME: when the letter was written, as an age (90s, 15m, 12h,\n" \
    "  30d) or as 2026-11-24T18:42:24Z. A value that ends in * stands for all that begin so. Different keys must all fit,\n"  \
    "  of one key given twice either.\n"

struct ty_letters_filter {
    struct ty_filters filters;
    uint64_t since_us, until_us; // until: not itself
};
// TY_EINVALID names the key.
int ty_letters_filter_parse(char *const *texts, uint64_t now_us, struct ty_letters_filter *ret_filter, struct ty_err *err) TY_MUST_USE;
bool ty_letters_filter_allows(const struct ty_letters_filter *filter, const struct ty_topic_record *letter,
                              const struct ty_dead_letter_view *view);

// The fields of ty_letters_json, as --help has them.
#define TY_LETTERS_JSON_HELP                                                                                               \
    "  partition, offset, time (of the letter), origin {topic, partition, offset, time}, command, job, reason, stub,\n"    \
    "  replay_of (the letter that it was published again from). What is not known is null.\n"
// A new reference.
json_t *ty_letters_json(const struct ty_topic_record *letter, const struct ty_dead_letter_view *view);

// The actions. places: PARTITION/OFFSET, count of them. The exit code, or a negative error.
int ty_letters_list(struct ty_cli *cli, const struct ty_letters_options *options, struct ty_err *err) TY_MUST_USE;
int ty_letters_show(struct ty_cli *cli, const struct ty_place *place, struct ty_err *err) TY_MUST_USE;
int ty_letters_replay(struct ty_cli *cli, const struct ty_letters_options *options, const struct ty_place *places, size_t count,
                      struct ty_err *err) TY_MUST_USE;
// Opens the topic with the settings of cli; errors say which brokers were asked.
int ty_letters_connect(const struct ty_cli *cli, struct ty_topic_reader **ret_reader, struct ty_err *err) TY_MUST_USE;
struct ty_kafka_options ty_letters_kafka(const struct ty_cli *cli);
// After an error of reading or publishing: adds what Kafka's client complained of.
int ty_letters_trouble(const struct ty_cli *cli, struct ty_err *err);
