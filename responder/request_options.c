#include "responder/request_options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/wire.h"

#define PREFIX "trainyard-"

typedef Trainyard__V1__JobOptions Options;
typedef Trainyard__V1__JobOptions__LabelsEntry Label;

static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
    {PREFIX "priority", offsetof(Options, priority)},
    {PREFIX "max-runtime-s", offsetof(Options, max_runtime_s)},
    {PREFIX "max-wait-s", offsetof(Options, max_wait_s)},
    {PREFIX "max-attempts", offsetof(Options, max_attempts)},
};

static int take_long(const char *key, const char *value, uint64_t *number, struct ty_err *err)
{
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || errno)
        return ty_err_set(err, TY_EINVALID, "metadata %s: not a whole number", key);
    *number = parsed;
    return 0;
}

static int take_number(const char *key, const char *value, uint32_t *number, struct ty_err *err)
{
    uint64_t parsed = 0;
    if (take_long(key, value, &parsed, err) < 0)
        return -(int)err->code;
    if (parsed > UINT32_MAX)
        return ty_err_set(err, TY_EINVALID, "metadata %s: more than 4294967295", key);
    *number = (uint32_t)parsed;
    return 0;
}

// 1: not an option about resources.
static int take_resource(struct ty_request_options *options, const char *key, const char *value, struct ty_err *err)
{
    Trainyard__V1__Resources *resources = options->resources;
    int rc = 1;
    if (!strcmp(key, PREFIX "cpu-millis"))
        rc = take_number(key, value, &resources->cpu_millis, err);
    else if (!strcmp(key, PREFIX "gpus"))
        rc = take_number(key, value, &resources->gpus, err);
    else if (!strcmp(key, PREFIX "memory-bytes"))
        rc = take_long(key, value, &resources->memory_bytes, err);
    if (rc == 0)
        options->message.resources = resources;
    return rc;
}

static int take_code(const char *key, const char *value, uint32_t *codes, size_t *count, struct ty_err *err)
{
    if (*count == TY_LIMIT_EXIT_CODES)
        return ty_err_set(err, TY_EINVALID, "metadata %s: more than %d exit codes", key, TY_LIMIT_EXIT_CODES);
    return take_number(key, value, &codes[(*count)++], err);
}

static int take_text(const char *key, const char *value, char **text, struct ty_err *err)
{
    if (*text)
        return ty_err_set(err, TY_EINVALID, "metadata %s: is given twice", key);
    *text = ty_xstrdup(value);
    return 0;
}

// 1: not an option about retries.
static int take_retry(struct ty_request_options *options, const char *key, const char *value, struct ty_err *err)
{
    Trainyard__V1__RetryPolicy *retry = &options->retry;
    int rc = 0;
    if (!strcmp(key, PREFIX "retry-on-error")) {
        retry->on_error = !strcmp(value, "true");
        if (!retry->on_error && strcmp(value, "false") != 0)
            rc = ty_err_set(err, TY_EINVALID, "metadata %s: neither true nor false", key);
    } else if (!strcmp(key, PREFIX "retry-exit-code")) {
        rc = take_code(key, value, options->exit_codes, &retry->n_exit_codes, err);
    } else if (!strcmp(key, PREFIX "no-retry-exit-code")) {
        rc = take_code(key, value, options->no_retry_exit_codes, &retry->n_no_retry_exit_codes, err);
    } else if (!strcmp(key, PREFIX "retry-base-ms")) {
        rc = take_number(key, value, &retry->base_ms, err);
    } else if (!strcmp(key, PREFIX "retry-max-ms")) {
        rc = take_number(key, value, &retry->max_ms, err);
    } else if (!strcmp(key, PREFIX "retry-of")) {
        rc = take_text(key, value, &options->retry_of, err);
        if (rc == 0)
            options->message.retry_of = options->retry_of;
        return rc;
    } else {
        return 1;
    }
    retry->exit_codes = options->exit_codes;
    retry->no_retry_exit_codes = options->no_retry_exit_codes;
    options->message.retry = retry;
    return rc;
}

static int take_label(struct ty_request_options *options, const char *key, const char *value, struct ty_err *err)
{
    const char *equals = strchr(value, '=');
    size_t count = options->message.n_labels;
    if (!equals || equals == value)
        return ty_err_set(err, TY_EINVALID, "metadata %s: not of the form key=value", key);
    if (count == TY_LIMIT_LABELS)
        return ty_err_set(err, TY_EINVALID, "metadata %s: more than %d labels", key, TY_LIMIT_LABELS);
    for (size_t i = 0; i < count; i++)
        if (!strncmp(options->labels[i].key, value, (size_t)(equals - value)) &&
            !options->labels[i].key[equals - value])
            return ty_err_set(err, TY_EINVALID, "metadata %s: a label is given twice", key);
    Label *label = &options->labels[count];
    trainyard__v1__job_options__labels_entry__init(label);
    label->key = ty_xasprintf("%.*s", (int)(equals - value), value);
    label->value = ty_xstrdup(equals + 1);
    options->label_pointers[count] = label;
    options->message.n_labels = count + 1;
    return 0;
}

static int take_key(struct ty_request_options *options, const char *value, struct ty_err *err)
{
    if (!*value)
        return ty_err_set(err, TY_EINVALID, "metadata idempotency-key: is empty");
    if (strlen(value) > TY_LIMIT_NAME_BYTES)
        return ty_err_set(err, TY_EINVALID, "metadata idempotency-key: has %zu bytes; at most %d are allowed",
                          strlen(value), TY_LIMIT_NAME_BYTES);
    if (options->idempotency_key)
        return ty_err_set(err, TY_EINVALID, "metadata idempotency-key: is given twice");
    options->idempotency_key = ty_xstrdup(value);
    options->message.idempotency_key = options->idempotency_key;
    return 0;
}

int ty_request_options_take(struct ty_request_options *options, const char *key, const char *value, struct ty_err *err)
{
    bool is_key = !strcmp(key, "idempotency-key");
    if (!is_key && strncmp(key, PREFIX, strlen(PREFIX)) != 0)
        return 0;
    if (!ty_utf8_is_valid(value, strlen(value)))
        return ty_err_set(err, TY_EINVALID, "metadata %s: invalid UTF-8", key);
    options->is_set = true;
    if (is_key)
        return take_key(options, value, err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key))
            return take_number(key, value, (uint32_t *)((char *)&options->message + numbers[i].offset), err);
    int rc = take_retry(options, key, value, err);
    if (rc > 0)
        rc = take_resource(options, key, value, err);
    if (rc <= 0)
        return rc;
    if (!strcmp(key, PREFIX "label"))
        return take_label(options, key, value, err);
    if (strcmp(key, PREFIX "on-lost-lease") != 0)
        return ty_err_set(err, TY_EINVALID, "metadata %.64s: there is no such option", key);
    if (strcmp(value, "continue") != 0 && strcmp(value, "stop") != 0)
        return ty_err_set(err, TY_EINVALID, "metadata %s: neither continue nor stop", key);
    options->message.on_lost_lease = *value == 'c' ? TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_CONTINUE
                                                   : TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP;
    return 0;
}

void ty_request_options_init(struct ty_request_options *options)
{
    *options = (struct ty_request_options){0};
    trainyard__v1__job_options__init(&options->message);
    trainyard__v1__retry_policy__init(&options->retry);
    options->resources = ty_xcalloc(1, sizeof *options->resources);
    trainyard__v1__resources__init(options->resources);
    options->labels = ty_xcalloc(TY_LIMIT_LABELS, sizeof *options->labels);
    options->label_pointers = ty_xcalloc(TY_LIMIT_LABELS, sizeof(Label *));
    options->message.labels = options->label_pointers;
    options->exit_codes = ty_xcalloc(TY_LIMIT_EXIT_CODES, sizeof *options->exit_codes);
    options->no_retry_exit_codes = ty_xcalloc(TY_LIMIT_EXIT_CODES, sizeof *options->no_retry_exit_codes);
}

int ty_request_options_read(const struct ty_rpc *rpc, struct ty_request_options *ret_options, struct ty_err *err)
{
    const char *key, *value;
    size_t key_len, value_len;
    ty_request_options_init(ret_options);
    for (size_t i = 0; ty_rpc_metadata(rpc, i, &key, &key_len, &value, &value_len); i++) {
        if (value_len && memchr(value, 0, value_len))
            continue; // HTTP/2 lets no NUL through
        char *key_text TY_FREE = ty_xasprintf("%.*s", (int)key_len, key);
        char *value_text TY_FREE = ty_xasprintf("%.*s", (int)value_len, value);
        if (ty_request_options_take(ret_options, key_text, value_text, err) < 0)
            return -(int)err->code;
    }
    return 0;
}

void ty_request_options_done(struct ty_request_options *options)
{
    for (size_t i = 0; i < options->message.n_labels; i++) {
        free(options->labels[i].key);
        free(options->labels[i].value);
    }
    free(options->resources);
    free(options->labels);
    free(options->label_pointers);
    free(options->idempotency_key);
    free(options->retry_of);
    free(options->exit_codes);
    free(options->no_retry_exit_codes);
    *options = (struct ty_request_options){0};
}

const char *ty_request_traceparent(const struct ty_rpc *rpc, char out[TY_TRACEPARENT_BYTES])
{
    const char *key, *value;
    size_t key_len, value_len;
    for (size_t i = 0; ty_rpc_metadata(rpc, i, &key, &key_len, &value, &value_len); i++) {
        if (key_len != strlen("traceparent") || memcmp(key, "traceparent", key_len) != 0)
            continue;
        if (value_len != TY_TRACEPARENT_BYTES - 1 || memcmp(value, "00-", 3) != 0)
            return NULL;
        memcpy(out, value, value_len);
        out[value_len] = 0;
        return strspn(out, "0123456789abcdef-") == value_len ? out : NULL;
    }
    return NULL;
}
