#include "core/kafka.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/buf.h"
#include "core/file.h"
#include "core/log.h"

#define FILE_ENDING ".file"

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk;
    ty_log(level <= 3 ? TY_LOG_ERROR : level <= 5 ? TY_LOG_WARN : TY_LOG_DEBUG, "kafka.client",
           TY_KV("facility", "%s", facility), TY_KV("message", "%s", text));
}

static int set(rd_kafka_conf_t *conf, const char *key, const char *value, struct ty_err *err)
{
    char text[512];
    if (rd_kafka_conf_set(conf, key, value, text, sizeof text) != RD_KAFKA_CONF_OK)
        return ty_err_set(err, TY_EINVALID, "Kafka property %s: %s", key, text);
    return 0;
}

// KEY.file=PATH: the value of KEY is what the file holds, without the line's end behind it. So a secret needs to stand in no
// command line, environment or settings file.
static int set_from_file(rd_kafka_conf_t *conf, char *key, const char *path, struct ty_err *err)
{
    struct ty_buf secret TY_CLEANUP(ty_file_forget) = {0};
    if (ty_file_read(path, TY_KAFKA_SECRET_BYTES, &secret, err) < 0)
        return ty_err_prefix(err, "Kafka property %s", key);
    while (secret.len && (secret.data[secret.len - 1] == '\n' || secret.data[secret.len - 1] == '\r'))
        secret.len--;
    const char *text = ty_buf_text(&secret);
    if (!secret.len || strlen(text) != secret.len)
        return ty_err_set(err, TY_EINVALID, "Kafka property %s: %s: the file is empty, or no text", key, path);
    key[strlen(key) - strlen(FILE_ENDING)] = 0;
    return set(conf, key, text, err);
}

static int set_property(rd_kafka_conf_t *conf, const char *property, struct ty_err *err)
{
    const char *equals = strchr(property, '=');
    char key[128];
    // What is misspelt may be a secret: no more of it is shown than could be a key.
    if (!equals || equals == property || (size_t)(equals - property) >= sizeof key)
        return ty_err_set(err, TY_EINVALID, "Kafka property \"%.*s...\": expected key=value",
                          (int)strspn(property, "abcdefghijklmnopqrstuvwxyz."), property);
    snprintf(key, sizeof key, "%.*s", (int)(equals - property), property);
    size_t len = strlen(key), ending = strlen(FILE_ENDING);
    if (len > ending && !strcmp(key + len - ending, FILE_ENDING))
        return set_from_file(conf, key, equals + 1, err);
    return set(conf, key, equals + 1, err);
}

static int set_all(rd_kafka_conf_t *conf, ty_kafka_setting *settings, struct ty_err *err)
{
    int rc = 0;
    for (; rc == 0 && settings && (*settings)[0]; settings++)
        rc = set(conf, (*settings)[0], (*settings)[1], err);
    return rc;
}

int ty_kafka_conf(const struct ty_kafka_options *options, ty_kafka_setting *defaults, ty_kafka_setting *fixed,
                  rd_kafka_conf_t **ret_conf, struct ty_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    int rc = set(conf, "bootstrap.servers", options->brokers, err);
    if (rc == 0)
        rc = set(conf, "client.id", options->client_id ? options->client_id : "trainyard", err);
    if (rc == 0)
        rc = set(conf, "log.connection.close", "false", err);
    if (rc == 0)
        rc = set(conf, "reconnect.backoff.max.ms", "1000", err);
    if (rc == 0)
        rc = set_all(conf, defaults, err);
    for (char **property = options->properties; rc == 0 && property && *property; property++)
        rc = set_property(conf, *property, err);
    if (rc == 0)
        rc = set_all(conf, fixed, err);
    if (rc < 0) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    *ret_conf = conf;
    return 0;
}

int ty_kafka_handle(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_handle, struct ty_err *err)
{
    char text[512];
    *ret_handle = rd_kafka_new(type, conf, text, sizeof text);
    if (*ret_handle)
        return 0;
    rd_kafka_conf_destroy(conf);
    return ty_err_set(err, TY_EINVALID, "Kafka: %s", text);
}

static enum ty_code code_of(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG: return TY_EINVALID;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return TY_EEXHAUSTED;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return TY_EPERMISSION;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION: return TY_EUNAUTHENTICATED;
    default: return TY_EUNAVAILABLE;
    }
}

int ty_kafka_err(struct ty_err *err, rd_kafka_resp_err_t code, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ty_err_set(err, code_of(code), "%s: %s", text, rd_kafka_err2str(code));
}
