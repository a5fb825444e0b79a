// What a submit must hold to be taken.
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "core/spec_internal.h"
#include "core/wire.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define QUOTED_BYTES 80
#define SHOWN_BYTES 64

// Foreign text for an error message: short, and without the percent sign, since clients print messages as formats.
// Control characters and invalid UTF-8 are ty_err_set's business.
static const char *quoted(const char *text, char out[QUOTED_BYTES])
{
    size_t len = strlen(text), shown = ty_utf8_cut(text, len, SHOWN_BYTES);
    snprintf(out, QUOTED_BYTES, "\"%.*s%s\"", (int)shown, text, shown < len ? "..." : "");
    for (char *c = out; *c; c++)
        if (*c == '%' || *c == '\n' || *c == '\t')
            *c = '?';
    return out;
}

static int check_text(const char *field, const char *text, size_t max, struct ty_err *err)
{
    size_t len = strlen(text);
    if (len > max)
        return ty_err_set(err, TY_EINVALID, "%s has %zu bytes; at most %zu are allowed", field, len, max);
    if (!ty_utf8_is_valid(text, len))
        return ty_err_set(err, TY_EINVALID, "%s is not valid UTF-8", field);
    return 0;
}

static bool has_control(const char *text)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return true;
    return false;
}

int ty_name_check(const char *field, const char *text, size_t max_bytes, struct ty_err *err)
{
    if (!*text)
        return ty_err_set(err, TY_EINVALID, "%s is empty", field);
    if (check_text(field, text, max_bytes, err) < 0)
        return -TY_EINVALID;
    if (*text == '.')
        return ty_err_set(err, TY_EINVALID, "%s starts with a dot", field);
    if (strpbrk(text, "/\\"))
        return ty_err_set(err, TY_EINVALID, "%s has a slash or backslash", field);
    if (has_control(text))
        return ty_err_set(err, TY_EINVALID, "%s has a control character", field);
    return 0;
}

static int check_names(const char *organization, const char *dataset, const char *name, const char *version,
                       struct ty_err *err)
{
    if (ty_name_check("organization_id", organization, TY_LIMIT_ID_BYTES, err) < 0 ||
        ty_name_check("dataset_id", dataset, TY_LIMIT_ID_BYTES, err) < 0 ||
        ty_name_check("model_name", name, TY_LIMIT_NAME_BYTES, err) < 0 ||
        ty_name_check("model_version", version, TY_LIMIT_NAME_BYTES, err) < 0)
        return -TY_EINVALID;
    return 0;
}

static int check_total(const char *field, size_t total, struct ty_err *err)
{
    if (total > TY_LIMIT_SPEC_BYTES)
        return ty_err_set(err, TY_EINVALID, "%s has %zu bytes in all; at most %d are allowed", field, total,
                          TY_LIMIT_SPEC_BYTES);
    return 0;
}

// ---- options ----

static int check_labels(const struct ty_entries *labels, struct ty_err *err)
{
    char shown[QUOTED_BYTES], field[QUOTED_BYTES + 32];
    if (labels->count > TY_LIMIT_LABELS)
        return ty_err_set(err, TY_EINVALID, "options.labels has %zu entries; at most %d are allowed", labels->count,
                          TY_LIMIT_LABELS);
    for (size_t i = 0; i < labels->count; i++) {
        const Entry *label = labels->list[i];
        if (!*label->key)
            return ty_err_set(err, TY_EINVALID, "options.labels has an empty key");
        if (check_text("options.labels: a key", label->key, TY_LIMIT_LABEL_KEY_BYTES, err) < 0)
            return -TY_EINVALID;
        snprintf(field, sizeof field, "options.labels[%s]", quoted(label->key, shown));
        if (check_text(field, label->value, TY_LIMIT_LABEL_VALUE_BYTES, err) < 0)
            return -TY_EINVALID;
    }
    return 0;
}

static int check_codes(const char *field, const uint32_t *codes, size_t count, struct ty_err *err)
{
    if (count > TY_LIMIT_EXIT_CODES)
        return ty_err_set(err, TY_EINVALID, "options.retry.%s has %zu entries; at most %d are allowed", field, count,
                          TY_LIMIT_EXIT_CODES);
    for (size_t i = 0; i < count; i++)
        if (codes[i] < 1 || codes[i] > 255)
            return ty_err_set(err, TY_EINVALID, "options.retry.%s: %u is no exit code; 1 to 255 are allowed", field, codes[i]);
    return 0;
}

static int check_back_off(const char *field, uint32_t ms, struct ty_err *err)
{
    if (ms > TY_LIMIT_BACKOFF_MS)
        return ty_err_set(err, TY_EINVALID, "options.retry.%s is %u; at most %d are allowed", field, ms, TY_LIMIT_BACKOFF_MS);
    return 0;
}

static int check_retry(const Trainyard__V1__RetryPolicy *retry, struct ty_err *err)
{
    if (!retry)
        return 0;
    if (check_codes("exit_codes", retry->exit_codes, retry->n_exit_codes, err) < 0 ||
        check_codes("no_retry_exit_codes", retry->no_retry_exit_codes, retry->n_no_retry_exit_codes, err) < 0 ||
        check_back_off("base_ms", retry->base_ms, err) < 0 || check_back_off("max_ms", retry->max_ms, err) < 0)
        return -TY_EINVALID;
    if (retry->n_no_retry_exit_codes && !retry->on_error)
        return ty_err_set(err, TY_EINVALID, "options.retry.no_retry_exit_codes says nothing without on_error");
    for (size_t i = 0; i < retry->n_exit_codes; i++)
        for (size_t j = 0; j < retry->n_no_retry_exit_codes; j++)
            if (retry->exit_codes[i] == retry->no_retry_exit_codes[j])
                return ty_err_set(err, TY_EINVALID, "options.retry: %u is in both lists of exit codes", retry->exit_codes[i]);
    return 0;
}

int ty_spec_check_options(const Options *options, const struct ty_entries *labels, struct ty_err *err)
{
    if (options->priority > TY_LIMIT_PRIORITY)
        return ty_err_set(err, TY_EINVALID, "options.priority is %u; 0 to %d are allowed", options->priority,
                          TY_LIMIT_PRIORITY);
    if (options->max_attempts > TY_LIMIT_ATTEMPTS)
        return ty_err_set(err, TY_EINVALID, "options.max_attempts is %u; at most %d are allowed", options->max_attempts,
                          TY_LIMIT_ATTEMPTS);
    if (!protobuf_c_enum_descriptor_get_value(&trainyard__v1__on_lost_lease__descriptor, (int)options->on_lost_lease))
        return ty_err_set(err, TY_EINVALID, "options.on_lost_lease: there is no value %d", (int)options->on_lost_lease);
    struct ty_id retry_of;
    if (*options->retry_of && ty_id_parse(options->retry_of, &retry_of, err) < 0)
        return ty_err_set(err, TY_EINVALID, "options.retry_of is not a UUID");
    if (check_labels(labels, err) < 0 || check_retry(options->retry, err) < 0)
        return -TY_EINVALID;
    return check_text("options.idempotency_key", options->idempotency_key, TY_LIMIT_IDEMPOTENCY_KEY_BYTES, err);
}

// ---- managed ----

int ty_spec_check_tags(const Managed *request, struct ty_err *err)
{
    size_t total = 0;
    if (!request->n_tags)
        return ty_err_set(err, TY_EINVALID, "tags is empty; name at least one label to learn");
    if (request->n_tags > TY_LIMIT_TAGS)
        return ty_err_set(err, TY_EINVALID, "tags has %zu entries; at most %d are allowed", request->n_tags, TY_LIMIT_TAGS);
    for (size_t i = 0; i < request->n_tags; i++) {
        char field[32];
        snprintf(field, sizeof field, "tags[%zu]", i);
        if (!*request->tags[i])
            return ty_err_set(err, TY_EINVALID, "%s is empty", field);
        if (check_text(field, request->tags[i], TY_LIMIT_TAG_BYTES, err) < 0)
            return -TY_EINVALID;
        // Models keep their labels one a line.
        if (has_control(request->tags[i]))
            return ty_err_set(err, TY_EINVALID, "%s has a control character", field);
        for (size_t j = 0; j < i; j++)
            if (!strcmp(request->tags[i], request->tags[j]))
                return ty_err_set(err, TY_EINVALID, "%s is the same as tags[%zu]", field, j);
        total += strlen(request->tags[i]);
    }
    return check_total("tags", total, err);
}

static int check_enum(const char *field, const ProtobufCEnumDescriptor *descriptor, int number, struct ty_err *err)
{
    if (!protobuf_c_enum_descriptor_get_value(descriptor, number))
        return ty_err_set(err, TY_EINVALID, "%s: there is no value %d", field, number);
    return 0;
}

int ty_spec_check_managed(const struct ty_catalog *catalog, const Managed *request, const struct ty_trainer **ret_trainer,
                          struct ty_err *err)
{
    int type = (int)request->model_type, framework = (int)request->model_framework;
    if (check_names(request->organization_id, request->dataset_id, request->model_name, request->model_version, err) < 0 ||
        check_enum("model_type", &viam__app__mltraining__v1__model_type__descriptor, type, err) < 0 ||
        check_enum("model_framework", &viam__app__mltraining__v1__model_framework__descriptor, framework, err) < 0)
        return -TY_EINVALID;
    if (!type)
        return ty_err_set(err, TY_EINVALID, "model_type is not specified");
    if (ty_spec_check_tags(request, err) < 0)
        return -TY_EINVALID;
    *ret_trainer = catalog ? ty_catalog_trainer(catalog, type, framework) : NULL;
    if (*ret_trainer || !catalog)
        return 0;
    TY_BUF(pair);
    ty_catalog_add_pair(&pair, type, framework);
    return ty_err_set(err, TY_EINVALID, "no trainer is installed for %s; installed: %s", ty_buf_text(&pair),
                      ty_catalog_trainers_text(catalog));
}

// ---- custom ----

static int check_argument(const Entry *argument, struct ty_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    static const char *const reserved[] = {"dataset_file", "model_output_directory", "binary_data_file", "tabular_data_file",
                                           "sequences_file"};
    char shown[QUOTED_BYTES], field[QUOTED_BYTES + 16];
    const char *key = argument->key;
    if (!*key)
        return ty_err_set(err, TY_EINVALID, "arguments has an empty key");
    if (check_text("arguments: a key", key, TY_LIMIT_ARGUMENT_KEY_BYTES, err) < 0)
        return -TY_EINVALID;
    if (key[strspn(key, allowed)])
        return ty_err_set(err, TY_EINVALID, "arguments: key %s has other characters than letters, digits, _ and -",
                          quoted(key, shown));
    for (size_t i = 0; i < COUNT(reserved); i++)
        if (!strcmp(key, reserved[i]))
            return ty_err_set(err, TY_EINVALID, "arguments: key %s is reserved for the service", quoted(key, shown));
    snprintf(field, sizeof field, "arguments[%s]", quoted(key, shown));
    return check_text(field, argument->value, TY_LIMIT_ARGUMENT_VALUE_BYTES, err);
}

int ty_spec_check_arguments(const struct ty_entries *arguments, struct ty_err *err)
{
    size_t total = 0;
    if (arguments->count > TY_LIMIT_ARGUMENTS)
        return ty_err_set(err, TY_EINVALID, "arguments has %zu entries; at most %d are allowed", arguments->count,
                          TY_LIMIT_ARGUMENTS);
    for (size_t i = 0; i < arguments->count; i++) {
        if (check_argument(arguments->list[i], err) < 0)
            return -TY_EINVALID;
        total += strlen(arguments->list[i]->key) + strlen(arguments->list[i]->value);
    }
    return check_total("arguments", total, err);
}

// Exactly "prefix:name", each of them fit for a path.
static int check_registry_item(const char *id, struct ty_err *err)
{
    const char *colon = strchr(id, ':');
    if (ty_name_check("registry_item_id", id, TY_LIMIT_NAME_BYTES, err) < 0)
        return -TY_EINVALID;
    if (!colon || colon == id || !colon[1] || strchr(colon + 1, ':'))
        return ty_err_set(err, TY_EINVALID, "registry_item_id is not of the form prefix:name");
    return ty_name_check("registry_item_id: the name behind the colon", colon + 1, TY_LIMIT_NAME_BYTES, err);
}

static int check_container(const struct ty_catalog *catalog, const char *key, const struct ty_container **ret_container,
                           struct ty_err *err)
{
    if (check_text("container_version", key, TY_LIMIT_NAME_BYTES, err) < 0)
        return -TY_EINVALID;
    *ret_container = catalog ? ty_catalog_container(catalog, key) : NULL;
    if (*ret_container || !catalog)
        return 0;
    char shown[QUOTED_BYTES];
    TY_BUF(known);
    for (size_t i = 0; i < ty_catalog_container_count(catalog); i++)
        if (!ty_catalog_container_at(catalog, i)->hidden)
            ty_buf_add_format(&known, "%s%s", known.len ? ", " : "", ty_catalog_container_at(catalog, i)->key);
    return ty_err_set(err, TY_EINVALID, "container_version: there is no container %s; known: %s", quoted(key, shown),
                      ty_buf_text(&known));
}

int ty_spec_check_custom(const struct ty_catalog *catalog, const Custom *request, const struct ty_entries *arguments,
                         const struct ty_container **ret_container, struct ty_err *err)
{
    if (check_names(request->organization_id, request->dataset_id, request->model_name, request->model_version, err) < 0 ||
        check_registry_item(request->registry_item_id, err) < 0)
        return -TY_EINVALID;
    if (*request->registry_item_version &&
        ty_name_check("registry_item_version", request->registry_item_version, TY_LIMIT_NAME_BYTES, err) < 0)
        return -TY_EINVALID;
    if (check_container(catalog, request->container_version, ret_container, err) < 0)
        return -TY_EINVALID;
    return ty_spec_check_arguments(arguments, err);
}
