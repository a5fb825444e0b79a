#include "producer/cli/common.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define AT(member) offsetof(struct ty_cli_common, member)

const struct ty_setting ty_cli_common_rows[] = {
    {.key = "json", .type = TY_SETTING_BOOL, .offset = AT(json), .fallback = "false", .unit = "",
     .help = "Prints JSON in place of text for people."},
    {.key = "color", .environment = "TRAINYARD_COLOR", .type = TY_SETTING_CHOICE, .offset = AT(color),
     .choices = "auto|always|never", .fallback = "auto", .unit = "",
     .help = "Colours; auto means on a terminal, and not when NO_COLOR is set."},
    {.key = "server", .environment = "TRAINYARD_SERVER", .type = TY_SETTING_TEXT, .offset = AT(server),
     .fallback = "127.0.0.1:8480", .unit = "", 
     .help = "The responder: host:port or [address]:port, or https://host[:port] for TLS."},
    {.key = "tls", .environment = "TRAINYARD_TLS", .type = TY_SETTING_BOOL, .offset = AT(tls), .fallback = "false", .unit = "",
     .help = "TLS to the responder, as with https://; its certificate must be for the name in --server."},
    {.key = "tls-ca", .environment = "TRAINYARD_TLS_CA", .type = TY_SETTING_TEXT, .offset = AT(tls_ca), .unit = "",
     .help = "File with the certificates in PEM that the responder's must come from; by default the system's. Implies TLS."},
    {.key = "tls-cert", .environment = "TRAINYARD_TLS_CLIENT_CERT", .type = TY_SETTING_TEXT, .offset = AT(tls_cert),
     .unit = "", .help = "File with this client's own certificate in PEM, for a responder that asks for one. Implies TLS."},
    {.key = "tls-key", .environment = "TRAINYARD_TLS_CLIENT_KEY", .type = TY_SETTING_TEXT, .offset = AT(tls_key),
     .unit = "", .help = "File with the private key of tls-cert."},
    {.key = "token", .environment = "TRAINYARD_TOKEN", .type = TY_SETTING_TEXT, .offset = AT(token), .unit = "",
     .help = "Bearer token sent to the responder; better given by the environment, which ps does not show."},
    {.key = "api-key-id", .environment = "TRAINYARD_API_KEY_ID", .type = TY_SETTING_TEXT, .offset = AT(api_key_id), .unit = "",
     .help = "The id of the key to log in to the responder with, where there is no token."},
    {.key = "api-key", .environment = "TRAINYARD_API_KEY", .type = TY_SETTING_TEXT, .offset = AT(api_key), .unit = "",
     .help = "Its secret; better given by the environment, which ps does not show."},
    {.key = "timeout-ms", .environment = "TRAINYARD_TIMEOUT_MS", .type = TY_SETTING_INT, .offset = AT(timeout_ms),
     .min = 100, .max = 600000, .fallback = "10000", .unit = "ms",
     .help = "How long one call of the responder, or the work of topics, may take, connecting included; of "
             "dead-letters, rules and keys each wait for Kafka."},
    {.key = "kafka-brokers", .environment = "TRAINYARD_KAFKA_BROKERS", .type = TY_SETTING_TEXT,
     .offset = AT(kafka_brokers), .fallback = "127.0.0.1:9092", .unit = "",
     .help = "Kafka bootstrap servers, host:port[,host:port]."},
    {.key = "topic-prefix", .environment = "TRAINYARD_TOPIC_PREFIX", .type = TY_SETTING_TEXT, .offset = AT(topic_prefix),
     .fallback = "mltraining.", .unit = "", .help = "Prefix of every topic's name."},
    {.key = "kafka-property", .environment = "TRAINYARD_KAFKA_PROPERTIES", .type = TY_SETTING_LIST,
     .offset = AT(kafka_properties), .unit = "", .help = "A librdkafka property as key=value (TLS, SASL), or key.file=PATH for a secret that stands in a file; may be repeated."},
    {.key = "signing-key-file", .environment = "TRAINYARD_SIGNING_KEY_FILE", .type = TY_SETTING_TEXT,
     .offset = AT(signing_key_file), .unit = "",
     .help = "File with the key that commands are signed with, as keys create --signing makes it."},
};
const size_t ty_cli_common_count = sizeof ty_cli_common_rows / sizeof *ty_cli_common_rows;

static bool is_needed(const struct ty_setting *row, unsigned needs)
{
    bool is_kafka = !strncmp(row->key, "kafka-", 6) || !strcmp(row->key, "signing-key-file") || !strcmp(row->key, "topic-prefix");
    bool is_server = !strcmp(row->key, "server") || !strcmp(row->key, "token") || !strncmp(row->key, "tls", 3) ||
                     !strncmp(row->key, "api-key", 7);
    bool is_time = !strcmp(row->key, "timeout-ms");
    return (!is_kafka || needs & TY_CLI_NEEDS_KAFKA) && (!is_server || needs & TY_CLI_NEEDS_SERVER) &&
           (!is_time || needs & (TY_CLI_NEEDS_SERVER | TY_CLI_TAKES_TIME));
}

void ty_cli_settings_init(struct ty_cli_settings *settings, const struct ty_cli_verb *verb, bool needed_only)
{
    size_t count = verb->row_count;
    settings->rows = ty_xcalloc(verb->row_count + ty_cli_common_count, sizeof *settings->rows);
    if (count)
        memcpy(settings->rows, verb->rows, count * sizeof *settings->rows);
    for (size_t i = 0; i < ty_cli_common_count; i++)
        if (!needed_only || is_needed(&ty_cli_common_rows[i], verb->needs))
            settings->rows[count++] = ty_cli_common_rows[i];
    settings->program = ty_xasprintf("trainyard %s", verb->name);
    settings->table = (struct ty_settings_table){
        .program = settings->program, .summary = verb->summary, .rows = settings->rows, .count = count};
}

void ty_cli_settings_done(struct ty_cli_settings *settings)
{
    free(settings->rows);
    free(settings->program);
}
