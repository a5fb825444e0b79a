#include "producer/cli/letters.h"

#include <string.h>

#include "producer/cli/kafka_trouble.h"
#include "producer/cli/when.h"

static const char *const keys[] = {"reason", "topic", "command", "job", "stub", "since", "until", NULL};

// An age, or a time.
static int parse_moment(const char *key, const char *text, uint64_t now_us, uint64_t *ret_us, struct ty_err *err)
{
    uint64_t age_s;
    if (ty_when_parse(text, ret_us))
        return 0;
    if (ty_filter_age(key, text, &age_s, err) < 0)
        return ty_err_set(err, TY_EINVALID, "--filter %s: \"%.64s\" is neither an age such as 90s, 15m, 12h or 30d nor a time such as "
                                            "2026-11-24T18:42:24Z", key, text);
    *ret_us = age_s * 1000000 < now_us ? now_us - age_s * 1000000 : 0;
    return 0;
}

// Each must be one of the words, which are NULL-terminated.
static int check_words(const struct ty_filters *filters, const char *key, const char *const *words, struct ty_err *err)
{
    const char *value;
    for (size_t n = 0; (value = ty_filters_get(filters, key, n)); n++) {
        size_t i = 0;
        while (words[i] && strcmp(words[i], value) != 0)
            i++;
        if (!words[i])
            return ty_err_set(err, TY_EINVALID, "--filter %s: \"%.64s\" is none of its values; see --help", key, value);
    }
    return 0;
}

int ty_letters_filter_parse(char *const *texts, uint64_t now_us, struct ty_letters_filter *ret_filter, struct ty_err *err)
{
    static const char *const topics[] = {"submit", "cancel", "delete", NULL}, *const answers[] = {"yes", "no", NULL},
                             *const commands[] = {"submit", "submit-custom", "cancel", "delete", "none", NULL};
    struct ty_letters_filter filter = {.until_us = UINT64_MAX};
    const char *value;
    int rc = ty_filters_parse(texts, keys, &filter.filters, err);
    if (rc == 0)
        rc = check_words(&filter.filters, "topic", topics, err);
    if (rc == 0)
        rc = check_words(&filter.filters, "command", commands, err);
    if (rc == 0)
        rc = check_words(&filter.filters, "stub", answers, err);
    // Of several the one that lets more pass.
    for (size_t n = 0; rc == 0 && (value = ty_filters_get(&filter.filters, "since", n)); n++) {
        uint64_t time_us;
        rc = parse_moment("since", value, now_us, &time_us, err);
        if (rc == 0 && (!n || time_us < filter.since_us))
            filter.since_us = time_us;
    }
    for (size_t n = 0; rc == 0 && (value = ty_filters_get(&filter.filters, "until", n)); n++) {
        uint64_t time_us;
        rc = parse_moment("until", value, now_us, &time_us, err);
        if (rc == 0 && (!n || time_us > filter.until_us))
            filter.until_us = time_us;
    }
    if (rc == 0)
        *ret_filter = filter;
    return rc;
}

bool ty_letters_filter_allows(const struct ty_letters_filter *filter, const struct ty_topic_record *letter,
                              const struct ty_dead_letter_view *view)
{
    const struct ty_filters *filters = &filter->filters;
    char id[TY_ID_TEXT_BYTES] = "";
    if (view->has_job)
        ty_id_format(&view->job, id);
    return letter->time_us >= filter->since_us && letter->time_us < filter->until_us &&
           ty_filters_allow(filters, "reason", view->reason) &&
           ty_filters_allow(filters, "topic", view->is_ours ? ty_dead_letter_topic(view->kind) : "") &&
           ty_filters_allow(filters, "command", view->command) && ty_filters_allow(filters, "job", id) &&
           ty_filters_allow(filters, "stub", view->is_stub ? "yes" : "no");
}

// ---- a letter ----

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *number_or_null(int64_t number)
{
    return number >= 0 ? json_integer(number) : json_null();
}

json_t *ty_letters_json(const struct ty_topic_record *letter, const struct ty_dead_letter_view *view)
{
    char time[TY_WHEN_BYTES] = "", id[TY_ID_TEXT_BYTES] = "";
    if (letter->time_us)
        ty_when_millis((int64_t)letter->time_us, time);
    if (view->has_job)
        ty_id_format(&view->job, id);
    json_t *origin = json_pack("{s:o, s:o, s:o, s:o}", "topic", text_or_null(view->topic), "partition",
                               number_or_null(view->origin.partition), "offset", number_or_null(view->origin.offset), "time",
                               text_or_null(view->time));
    return json_pack("{s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:o}", "partition", (int)letter->place.partition, "offset",
                     (json_int_t)letter->place.offset, "time", text_or_null(time), "origin", origin, "command",
                     !strcmp(view->command, "none") ? json_null() : json_string(view->command), "job", text_or_null(id), "reason",
                     text_or_null(view->reason), "stub", view->is_stub, "replay_of", text_or_null(view->replay_of));
}

// ---- Kafka ----

struct ty_kafka_options ty_letters_kafka(const struct ty_cli *cli)
{
    return (struct ty_kafka_options){.brokers = cli->common->kafka_brokers, .client_id = "trainyard-cli",
                                     .topic_prefix = cli->common->topic_prefix, .properties = cli->common->kafka_properties};
}

int ty_letters_trouble(const struct ty_cli *cli, struct ty_err *err)
{
    if (err->code == TY_EUNAVAILABLE || err->code == TY_EDEADLINE || err->code == TY_EUNAUTHENTICATED || err->code == TY_EPERMISSION)
        ty_kafka_trouble_explain(cli->common->kafka_brokers, err);
    return -(int)err->code;
}

int ty_letters_connect(const struct ty_cli *cli, struct ty_topic_reader **ret_reader, struct ty_err *err)
{
    struct ty_kafka_options kafka = ty_letters_kafka(cli);
    return ty_topic_reader_open(&kafka, "dead-letter", (int)cli->common->timeout_ms, ret_reader, err) < 0 ? ty_letters_trouble(cli, err) : 0;
}
