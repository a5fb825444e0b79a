#include "responder/settings.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

#define AT(member) offsetof(struct ty_responder_settings, member)

static const struct ty_setting rows[] = {
    {.key = "listen", .environment = "TRAINYARD_LISTEN", .type = TY_SETTING_TEXT, .offset = AT(listen),
     .fallback = "127.0.0.1:8480", .unit = "",
     .help = "Address and port to serve gRPC on; port 0 takes a free one."},
    {.key = "port-file", .environment = NULL, .type = TY_SETTING_TEXT, .offset = AT(port_file), .unit = "",
     .help = "File to write host:port to once the server listens."},
    {.key = "http-listen", .environment = "TRAINYARD_HTTP_LISTEN", .type = TY_SETTING_TEXT, .offset = AT(http_listen),
     .fallback = "off", .unit = "",
     .help = "Address and port to serve HTTP/1.1 on (gRPC-Web, JSON, events, /healthz, /readyz), as 127.0.0.1:8481; off: not."},
    {.key = "http-port-file", .environment = NULL, .type = TY_SETTING_TEXT, .offset = AT(http_port_file), .unit = "",
     .help = "File to write host:port of HTTP to once it is served."},
    {.key = "http-origin", .environment = "TRAINYARD_HTTP_ORIGINS", .type = TY_SETTING_LIST, .offset = AT(http_origins),
     .unit = "",
     .help = "An origin whose pages may call over HTTP (CORS), as https://app.example.com, or * for all; may be repeated."},
    {.key = "http-max-connections", .environment = "TRAINYARD_HTTP_MAX_CONNECTIONS", .type = TY_SETTING_INT,
     .offset = AT(http_max_connections), .min = 1, .max = 20000, .fallback = "2048", .unit = "",
     .help = "HTTP connections at once; more wait until one is closed. Each may hold 32 KiB."},
    {.key = "http-max-per-address", .environment = "TRAINYARD_HTTP_MAX_PER_ADDRESS", .type = TY_SETTING_INT,
     .offset = AT(http_max_per_address), .min = 1, .max = 20000, .fallback = "256", .unit = "",
     .help = "HTTP connections of one address at once; more are closed. Behind a proxy, all have the proxy's."},
    {.key = "insecure", .environment = "TRAINYARD_INSECURE", .type = TY_SETTING_BOOL, .offset = AT(insecure),
     .fallback = "false", .unit = "",
     .help = "Listen on other addresses than loopback without TLS, or without asking clients who they are."},
    {.key = "tls-cert", .environment = "TRAINYARD_TLS_CERT", .type = TY_SETTING_TEXT, .offset = AT(tls_cert), .unit = "",
     .help = "File with the certificate chain in PEM, the server's own first: gRPC and HTTP are served over TLS (1.2 and 1.3). "
             "It and tls-key are read again when they change, and at SIGHUP."},
    {.key = "tls-key", .environment = "TRAINYARD_TLS_KEY", .type = TY_SETTING_TEXT, .offset = AT(tls_key), .unit = "",
     .help = "File with the private key of tls-cert, in PEM, without a passphrase."},
    {.key = "tls-client-ca", .environment = "TRAINYARD_TLS_CLIENT_CA", .type = TY_SETTING_TEXT,
     .offset = AT(tls_client_ca), .unit = "",
     .help = "File with certificates in PEM; only clients are served whose own certificate comes from one of them."},
    {.key = "auth", .environment = "TRAINYARD_AUTH", .type = TY_SETTING_CHOICE, .offset = AT(auth), .choices = "none|keys",
     .fallback = "none", .unit = "", .help = "Who may call. none: everybody, for all organizations; keys: who has logged in with a key (trainyard keys)."},
    {.key = "token-secret-file", .environment = "TRAINYARD_TOKEN_SECRET_FILE", .type = TY_SETTING_TEXT, .offset = AT(token_secret_file),
     .unit = "", .help = "File with what access tokens are signed with, one secret a line, the first signs; the same for all responders. Without it a "
                         "random secret of this process is used. It is read again when it has changed."},
    {.key = "token-hours", .environment = "TRAINYARD_TOKEN_HOURS", .type = TY_SETTING_INT, .offset = AT(token_hours), .min = 1, .max = 87600,
     .fallback = "720", .unit = "hours", .help = "How long an access token is good. Clients do not renew theirs."},
    {.key = "failed-logins", .environment = "TRAINYARD_FAILED_LOGINS", .type = TY_SETTING_INT, .offset = AT(failed_logins), .min = 0,
     .max = 1000000, .fallback = "60", .unit = "a minute",
     .help = "Failed log-ins from one address, and of one key, after which more are answered with RESOURCE_EXHAUSTED; 0: no limit."},
    {.key = "default-organization", .environment = "TRAINYARD_DEFAULT_ORGANIZATION", .type = TY_SETTING_TEXT, .offset = AT(default_organization),
     .fallback = "default", .unit = "", .help = "With auth none: the organization that ListOrganizations tells clients they are in."},
    {.key = "redis", .environment = "TRAINYARD_REDIS", .type = TY_SETTING_TEXT, .offset = AT(redis),
     .fallback = "redis://127.0.0.1:6379", .unit = "",
     .help = "The job store: redis://[user:password@]host:port[/database], rediss:// for TLS where hiredis has it, or unix:///path."},
    {.key = "redis-password-file", .environment = "TRAINYARD_REDIS_PASSWORD_FILE", .type = TY_SETTING_TEXT,
     .offset = AT(redis_password_file), .unit = "",
     .help = "File with the password of the user in redis (redis://user@host), or of the default user."},
    {.key = "redis-timeout-ms", .environment = "TRAINYARD_REDIS_TIMEOUT_MS", .type = TY_SETTING_INT,
     .offset = AT(redis_timeout_ms), .min = 50, .max = 4000, .fallback = "2000", .unit = "ms",
     .help = "How long one command may take before the store counts as away."},
    {.key = "shards", .environment = "TRAINYARD_SHARDS", .type = TY_SETTING_INT, .offset = AT(shards), .min = 1,
     .max = 64, .fallback = "1", .unit = "", .help = "Control shards of the job store, as it was made with."},
    {.key = "store-budget-bytes", .environment = "TRAINYARD_STORE_BUDGET_BYTES", .type = TY_SETTING_INT,
     .offset = AT(store_budget_bytes), .min = 0, .max = INT64_C(1) << 50, .fallback = "0", .unit = "bytes",
     .help = "Memory that the job store may take; 0: Redis' maxmemory."},
    {.key = "store-admit-percent", .environment = "TRAINYARD_STORE_ADMIT_PERCENT", .type = TY_SETTING_INT,
     .offset = AT(store_admit_percent), .min = 1, .max = 100, .fallback = "75", .unit = "%",
     .help = "Of that budget, from where on submits are answered with RESOURCE_EXHAUSTED."},
    {.key = "max-followers", .environment = "TRAINYARD_MAX_FOLLOWERS", .type = TY_SETTING_INT, .offset = AT(max_followers),
     .min = 0, .max = 10000, .fallback = "1000", .unit = "",
     .help = "How many logs are followed at once; more are answered with RESOURCE_EXHAUSTED. Each may hold 300 KiB."},
    {.key = "kafka-brokers", .environment = "TRAINYARD_KAFKA_BROKERS", .type = TY_SETTING_TEXT,
     .offset = AT(kafka_brokers), .fallback = "127.0.0.1:9092", .unit = "",
     .help = "Kafka bootstrap servers, host:port[,host:port]."},
    {.key = "topic-prefix", .environment = "TRAINYARD_TOPIC_PREFIX", .type = TY_SETTING_TEXT,
     .offset = AT(topic_prefix), .fallback = "mltraining.", .unit = "", .help = "Prefix of every topic's name."},
    {.key = "kafka-property", .environment = "TRAINYARD_KAFKA_PROPERTIES", .type = TY_SETTING_LIST,
     .offset = AT(kafka_properties), .unit = "",
     .help = "A librdkafka property as key=value (TLS, SASL), or key.file=PATH for a secret that stands in a file; may be repeated."},
    {.key = "signing-key-file", .environment = "TRAINYARD_SIGNING_KEY_FILE", .type = TY_SETTING_TEXT,
     .offset = AT(signing_key_file), .unit = "",
     .help = "File with the key that commands are signed with, of organization \"*\" (trainyard keys create --org \"*\" --signing); see require-signatures of the worker."},
    {.key = "catalog-dir", .environment = "TRAINYARD_CATALOG_DIR", .type = TY_SETTING_TEXT,
     .offset = AT(catalog_dir), .unit = "",
     .help = "Directory of containers.json and trainers.json in place of the built-in ones."},
    {.key = "log-level", .environment = "TRAINYARD_LOG_LEVEL", .type = TY_SETTING_CHOICE, .offset = AT(log_level),
     .choices = "debug|info|warn|error", .fallback = "info", .unit = "", .help = "Lowest level that is logged."},
    {.key = "log-format", .environment = "TRAINYARD_LOG_FORMAT", .type = TY_SETTING_CHOICE, .offset = AT(log_format),
     .choices = "text|json", .fallback = "text", .unit = "", .help = "How a line of the log on stderr looks."},
};

const struct ty_settings_table ty_responder_settings_table = {
    .program = "trainyard-responder",
    .summary = "serves the MLTrainingService API: answers from Redis, turns submits and cancels into Kafka commands",
    .rows = rows,
    .count = sizeof rows / sizeof *rows,
};

bool ty_responder_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (!strcmp(host, "localhost"))
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static bool is_set(const char *text)
{
    return text && *text;
}

static int check_tls(const struct ty_responder_settings *settings, struct ty_err *err)
{
    if (is_set(settings->tls_cert) != is_set(settings->tls_key))
        return ty_err_set(err, TY_EINVALID, "--tls-%s is set, --tls-%s is not: TLS needs both",
                          is_set(settings->tls_cert) ? "cert" : "key", is_set(settings->tls_cert) ? "key" : "cert");
    if (is_set(settings->tls_client_ca) && !is_set(settings->tls_cert))
        return ty_err_set(err, TY_EINVALID, "--tls-client-ca is set, --tls-cert and --tls-key are not: there is no TLS");
    return 0;
}

// Not on loopback: whoever listens on the way must not read along, and who calls must be known.
static int check_exposed(const struct ty_responder_settings *settings, const char *flag, const char *text, struct ty_err *err)
{
    bool has_tls = is_set(settings->tls_cert), knows_clients = settings->auth != TY_AUTH_NONE || is_set(settings->tls_client_ca);
    if (settings->insecure || (has_tls && knows_clients))
        return 0;
    return ty_err_set(err, TY_EINVALID,
                      "%s: \"%.128s\" is not a loopback address, and %s; others are served so only with --insecure",
                      flag, text,
                      has_tls         ? "nobody is asked who they are (--auth keys, --tls-client-ca)"
                      : knows_clients ? "there is no TLS (--tls-cert, --tls-key)"
                                      : "there is neither TLS (--tls-cert, --tls-key) nor are clients asked who they are (--auth keys)");
}

static int split_address(const struct ty_responder_settings *settings, const char *flag, const char *text, char **ret_host,
                         unsigned *ret_port, struct ty_err *err)
{
    const char *colon = strrchr(text, ':');
    size_t host_len = colon ? (size_t)(colon - text) : 0;
    char *end = NULL;
    unsigned long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
    bool is_bracketed = host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']';
    if (!end || *end || port > 65535 || !host_len || (!is_bracketed && memchr(text, ':', host_len)))
        return ty_err_set(err, TY_EINVALID, "%s: \"%.128s\" is not of the form host:port or [address]:port", flag, text);
    char *host = ty_xasprintf("%.*s", (int)(host_len - 2 * is_bracketed), text + is_bracketed);
    if (check_tls(settings, err) < 0 || (!ty_responder_is_loopback(host) && check_exposed(settings, flag, text, err) < 0)) {
        free(host);
        return -(int)err->code;
    }
    *ret_host = host;
    *ret_port = (unsigned)port;
    return 0;
}

int ty_responder_listen_address(const struct ty_responder_settings *settings, char **ret_host, unsigned *ret_port,
                                struct ty_err *err)
{
    return split_address(settings, "--listen", settings->listen, ret_host, ret_port, err);
}

int ty_responder_http_address(const struct ty_responder_settings *settings, char **ret_host, unsigned *ret_port,
                              struct ty_err *err)
{
    if (strcmp(settings->http_listen, "off") != 0)
        return split_address(settings, "--http-listen", settings->http_listen, ret_host, ret_port, err);
    *ret_host = NULL;
    *ret_port = 0;
    return 0;
}
