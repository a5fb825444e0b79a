#include "deploy/devbroker/settings.h"

#include <stddef.h>

#define AT(member) offsetof(struct ty_devbroker_settings, member)

static const struct ty_setting rows[] = {
    {.key = "port-file", .environment = NULL, .type = TY_SETTING_TEXT, .offset = AT(port_file), .unit = "",
     .help = "File to write host:port to once the broker listens; the port is always a free one of 127.0.0.1."},
    {.key = "topics", .environment = "TRAINYARD_TOPICS", .type = TY_SETTING_TEXT, .offset = AT(topics), .unit = "",
     .help = "Topics to make, in the form of schemas/topics.json, in place of the built-in ones."},
    {.key = "topic-prefix", .environment = "TRAINYARD_TOPIC_PREFIX", .type = TY_SETTING_TEXT,
     .offset = AT(topic_prefix), .unit = "", .help = "Prefix of every topic's name in place of the topics' own."},
    {.key = "log-level", .environment = "TRAINYARD_LOG_LEVEL", .type = TY_SETTING_CHOICE, .offset = AT(log_level),
     .choices = "debug|info|warn|error", .fallback = "info", .unit = "", .help = "Lowest level that is logged."},
    {.key = "log-format", .environment = "TRAINYARD_LOG_FORMAT", .type = TY_SETTING_CHOICE, .offset = AT(log_format),
     .choices = "text|json", .fallback = "text", .unit = "", .help = "How a line of the log on stderr looks."},
};

const struct ty_settings_table ty_devbroker_settings_table = {
    .program = "trainyard-devbroker",
    .summary = "a Kafka broker for trying out and for tests: all in memory, never for work",
    .rows = rows,
    .count = sizeof rows / sizeof *rows,
};
