#include "core/rule.h"

#include <stdlib.h>
#include <string.h>

#include "core/command.h"
#include "core/limits.h"
#include "core/wire.h"
#include "trainyard/v1/rule.pb-c.h"

static const char *const prefixes[] = {[TY_RULE_PAUSE] = "pause/", [TY_RULE_LIMIT] = "limit/"};
#define KINDS (sizeof prefixes / sizeof *prefixes)
#define PREFIX_BYTES 6

int ty_rule_name(enum ty_rule_kind kind, const char *organization, char **ret_name, struct ty_err *err)
{
    if (strcmp(organization, TY_RULE_ALL) != 0 && ty_name_check("organization", organization, TY_LIMIT_NAME_BYTES, err) < 0)
        return -(int)err->code;
    *ret_name = ty_xasprintf("%s%s", prefixes[kind], organization);
    return 0;
}

static int read_key(const uint8_t *key, size_t key_len, struct ty_rule *rule, struct ty_err *err)
{
    char organization[TY_LIMIT_NAME_BYTES + 1];
    size_t kind = 0;
    while (kind < KINDS && (key_len < PREFIX_BYTES || memcmp(key, prefixes[kind], PREFIX_BYTES) != 0))
        kind++;
    if (kind == KINDS)
        return ty_err_set(err, TY_EINVALID, "key: is neither \"pause/ORGANIZATION\" nor \"limit/ORGANIZATION\", nor that of an access key");
    size_t len = key_len - PREFIX_BYTES;
    if (len > TY_LIMIT_NAME_BYTES)
        return ty_err_set(err, TY_EINVALID, "key: the organization has %zu bytes; at most %d are allowed", len, TY_LIMIT_NAME_BYTES);
    if (memchr(key, 0, key_len))
        return ty_err_set(err, TY_EINVALID, "key: has a zero byte");
    memcpy(organization, key + PREFIX_BYTES, len);
    organization[len] = 0;
    rule->kind = (enum ty_rule_kind)kind;
    return ty_rule_name(rule->kind, organization, &rule->name, err) < 0 ? ty_err_prefix(err, "key") : 0;
}

static int read_value(const uint8_t *value, size_t value_len, struct ty_rule *rule, struct ty_err *err)
{
    ProtobufCMessage *message;
    if (!value_len)
        return ty_err_set(err, TY_EINVALID, "value: is empty; a null value takes a rule back");
    if (value_len > TY_LIMIT_COMMAND_BYTES)
        return ty_err_set(err, TY_EINVALID, "value: has %zu bytes; at most %d are allowed", value_len, TY_LIMIT_COMMAND_BYTES);
    if (ty_wire_unpack(&trainyard__v1__queue_rule__descriptor, value, value_len, &message, err) < 0)
        return -(int)err->code;
    Trainyard__V1__QueueRule *told = (Trainyard__V1__QueueRule *)message;
    uint32_t format = told->format_version, most = told->max_running;
    trainyard__v1__queue_rule__free_unpacked(told, NULL);
    if (format != TY_RULE_FORMAT)
        return ty_err_set(err, TY_EINVALID, "format_version: %u is not %d", format, TY_RULE_FORMAT);
    if (most > TY_RULE_RUNNING_MAX)
        return ty_err_set(err, TY_EINVALID, "max_running: %u is more than %u", most, TY_RULE_RUNNING_MAX);
    rule->is_set = true;
    rule->max_running = most;
    return 0;
}

int ty_rule_decode(const uint8_t *key, size_t key_len, const uint8_t *value, size_t value_len, struct ty_rule *ret_rule,
                   struct ty_err *err)
{
    struct ty_rule rule = {0};
    int rc = read_key(key, key_len, &rule, err);
    if (rc == 0 && value)
        rc = read_value(value, value_len, &rule, err);
    if (rc < 0)
        ty_rule_done(&rule);
    *ret_rule = rule;
    return rc;
}

void ty_rule_done(struct ty_rule *rule)
{
    free(rule->name);
    *rule = (struct ty_rule){0};
}

void ty_rule_encode(uint32_t max_running, uint64_t issued_at_us, const char *issuer, struct ty_buf *out)
{
    Trainyard__V1__QueueRule message = TRAINYARD__V1__QUEUE_RULE__INIT;
    Google__Protobuf__Timestamp issued = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    issued.seconds = (int64_t)(issued_at_us / 1000000);
    issued.nanos = (int32_t)(issued_at_us % 1000000 * 1000);
    message.format_version = TY_RULE_FORMAT;
    message.issued_at = &issued;
    message.issuer = (char *)issuer;
    message.max_running = max_running;
    size_t len = trainyard__v1__queue_rule__get_packed_size(&message);
    ty_buf_reserve(out, len);
    trainyard__v1__queue_rule__pack(&message, out->data + out->len);
    out->len += len;
}
