// Submits: their checks, and what the store keeps of them.
#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/command.h"
#include "core/limits.h"
#include "core/wire.h"

typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;
typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;
typedef Viam__App__Mltraining__V1__TrainingJobMetadata__ArgumentsEntry Argument;

// Foreign text for an error message: short, printable, and without the percent sign, since clients print messages as formats.
static const char *quoted(const char *text, char out[80])
{
    size_t len = ty_utf8_cut(text, strlen(text), 64), at = 0;
    out[at++] = '"';
    for (size_t i = 0; i < len; i++)
        out[at++] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f || text[i] == '%' ? '?' : text[i];
    out[at++] = '"';
    out[at] = 0;
    return out;
}

static int check_length(const char *field, const char *text, size_t max, struct ty_err *err)
{
    size_t len = strlen(text);
    if (len > max)
        return ty_err_set(err, TY_EINVALID, "%s has %zu bytes; at most %zu are allowed", field, len, max);
    return 0;
}

int ty_name_check(const char *field, const char *text, size_t max_bytes, struct ty_err *err)
{
    if (!*text)
        return ty_err_set(err, TY_EINVALID, "%s is empty", field);
    if (check_length(field, text, max_bytes, err) < 0)
        return -(int)err->code;
    if (*text == '.')
        return ty_err_set(err, TY_EINVALID, "%s starts with a dot", field);
    for (const char *c = text; *c; c++)
        if (*c == '/' || *c == '\\' || (unsigned char)*c < 0x20 || *c == 0x7f)
            return ty_err_set(err, TY_EINVALID, "%s has a slash, backslash or control character", field);
    return 0;
}

static int check_options(const Trainyard__V1__JobOptions *options, struct ty_err *err)
{
    if (!options)
        return 0;
    if (options->priority > TY_LIMIT_PRIORITY)
        return ty_err_set(err, TY_EINVALID, "options.priority is %u; 0 to %d are allowed", options->priority, TY_LIMIT_PRIORITY);
    if (options->max_attempts > TY_LIMIT_ATTEMPTS)
        return ty_err_set(err, TY_EINVALID, "options.max_attempts is %u; at most %d are allowed", options->max_attempts,
                          TY_LIMIT_ATTEMPTS);
    if (!protobuf_c_enum_descriptor_get_value(&trainyard__v1__on_lost_lease__descriptor, (int)options->on_lost_lease))
        return ty_err_set(err, TY_EINVALID, "options.on_lost_lease: %d is no value of it", (int)options->on_lost_lease);
    if (options->n_labels > TY_LIMIT_LABELS)
        return ty_err_set(err, TY_EINVALID, "options.labels: %zu are more than %d", options->n_labels, TY_LIMIT_LABELS);
    for (size_t i = 0; i < options->n_labels; i++)
        if (!*options->labels[i]->key || check_length("options.labels: a key", options->labels[i]->key, TY_LIMIT_ID_BYTES, err) < 0 ||
            check_length("options.labels: a value", options->labels[i]->value, TY_LIMIT_NAME_BYTES, err) < 0)
            return *options->labels[i]->key ? -(int)err->code : ty_err_set(err, TY_EINVALID, "options.labels: an empty key");
    return check_length("options.idempotency_key", options->idempotency_key, TY_LIMIT_NAME_BYTES, err);
}

static int check_common(const char *organization, const char *dataset, const char *name, const char *version,
                        struct ty_err *err)
{
    if (ty_name_check("organization_id", organization, TY_LIMIT_ID_BYTES, err) < 0 ||
        ty_name_check("dataset_id", dataset, TY_LIMIT_ID_BYTES, err) < 0 ||
        ty_name_check("model_name", name, TY_LIMIT_NAME_BYTES, err) < 0 ||
        ty_name_check("model_version", version, TY_LIMIT_NAME_BYTES, err) < 0)
        return -(int)err->code;
    return 0;
}

static int check_tags(const Managed *request, struct ty_err *err)
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
        if (check_length(field, request->tags[i], TY_LIMIT_TAG_BYTES, err) < 0)
            return -(int)err->code;
        for (size_t j = 0; j < i; j++)
            if (!strcmp(request->tags[i], request->tags[j]))
                return ty_err_set(err, TY_EINVALID, "%s repeats tags[%zu]", field, j);
        total += strlen(request->tags[i]);
    }
    return total > TY_LIMIT_SPEC_BYTES ? ty_err_set(err, TY_EINVALID, "tags: more than %d bytes in all", TY_LIMIT_SPEC_BYTES) : 0;
}

static int check_managed(const struct ty_catalog *catalog, const Managed *request, const struct ty_trainer **ret_trainer,
                         struct ty_err *err)
{
    if (check_common(request->organization_id, request->dataset_id, request->model_name, request->model_version, err) < 0 ||
        check_tags(request, err) < 0)
        return -(int)err->code;
    const ProtobufCEnumValue *type = protobuf_c_enum_descriptor_get_value(
        &viam__app__mltraining__v1__model_type__descriptor, (int)request->model_type);
    const ProtobufCEnumValue *framework = protobuf_c_enum_descriptor_get_value(
        &viam__app__mltraining__v1__model_framework__descriptor, (int)request->model_framework);
    if (!type)
        return ty_err_set(err, TY_EINVALID, "model_type: %d is no value of it", (int)request->model_type);
    if (!framework)
        return ty_err_set(err, TY_EINVALID, "model_framework: %d is no value of it", (int)request->model_framework);
    if (!type->value)
        return ty_err_set(err, TY_EINVALID, "model_type is not specified");
    *ret_trainer = ty_catalog_trainer(catalog, type->value, framework->value);
    if (!*ret_trainer)
        return ty_err_set(err, TY_EINVALID, "no trainer is installed for %s with %s; installed: %s", type->name,
                          framework->value ? framework->name : "a default framework", ty_catalog_trainers_text(catalog));
    return 0;
}

static int check_argument(const char *key, const char *value, struct ty_err *err)
{
    static const char *const reserved[] = {"dataset_file", "model_output_directory", "binary_data_file",
                                           "tabular_data_file", "sequences_file"};
    char shown[80];
    if (!*key)
        return ty_err_set(err, TY_EINVALID, "arguments: an empty key");
    if (check_length("arguments: a key", key, TY_LIMIT_ARGUMENT_KEY_BYTES, err) < 0)
        return -(int)err->code;
    for (const char *c = key; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_' && *c != '-')
            return ty_err_set(err, TY_EINVALID, "arguments: key %s has other characters than letters, digits, _ and -",
                              quoted(key, shown));
    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (!strcmp(key, reserved[i]))
            return ty_err_set(err, TY_EINVALID, "arguments: key %s is reserved", quoted(key, shown));
    char field[TY_LIMIT_ARGUMENT_KEY_BYTES + 16];
    snprintf(field, sizeof field, "arguments[%s]", key);
    return check_length(field, value, TY_LIMIT_ARGUMENT_VALUE_BYTES, err);
}

static int unknown_container(const struct ty_catalog *catalog, const char *key, struct ty_err *err)
{
    char shown[80];
    TY_BUF(known);
    for (size_t i = 0; i < ty_catalog_container_count(catalog); i++)
        if (!ty_catalog_container_at(catalog, i)->hidden)
            ty_buf_add_format(&known, "%s%s", known.len ? ", " : "", ty_catalog_container_at(catalog, i)->key);
    return ty_err_set(err, TY_EINVALID, "container_version: there is no container %s; known: %s", quoted(key, shown),
                      ty_buf_text(&known));
}

static int check_custom(const struct ty_catalog *catalog, const Custom *request, const struct ty_container **ret_container,
                        struct ty_err *err)
{
    const char *colon = strchr(request->registry_item_id, ':');
    size_t total = 0;
    if (check_common(request->organization_id, request->dataset_id, request->model_name, request->model_version, err) < 0 ||
        ty_name_check("registry_item_id", request->registry_item_id, TY_LIMIT_NAME_BYTES, err) < 0)
        return -(int)err->code;
    if (!colon || colon == request->registry_item_id || !colon[1] || colon[1] == '.' || strchr(colon + 1, ':'))
        return ty_err_set(err, TY_EINVALID, "registry_item_id is not of the form prefix:name");
    if (*request->registry_item_version &&
        ty_name_check("registry_item_version", request->registry_item_version, TY_LIMIT_NAME_BYTES, err) < 0)
        return -(int)err->code;
    if (check_length("container_version", request->container_version, TY_LIMIT_NAME_BYTES, err) < 0)
        return -(int)err->code;
    if (request->n_arguments > TY_LIMIT_ARGUMENTS)
        return ty_err_set(err, TY_EINVALID, "arguments has %zu entries; at most %d are allowed", request->n_arguments,
                          TY_LIMIT_ARGUMENTS);
    for (size_t i = 0; i < request->n_arguments; i++) {
        if (check_argument(request->arguments[i]->key, request->arguments[i]->value, err) < 0)
            return -(int)err->code;
        total += strlen(request->arguments[i]->key) + strlen(request->arguments[i]->value);
    }
    if (total > TY_LIMIT_SPEC_BYTES)
        return ty_err_set(err, TY_EINVALID, "arguments: more than %d bytes in all", TY_LIMIT_SPEC_BYTES);
    *ret_container = ty_catalog_container(catalog, request->container_version);
    return *ret_container ? 0 : unknown_container(catalog, request->container_version, err);
}

// ---- canonical maps ----

static int by_key(const void *a, const void *b)
{
    // Every map entry that protobuf-c generates is {base, key, value}.
    const Argument *const *left = a, *const *right = b;
    int order = strcmp((*left)->key, (*right)->key);
    return order ? order : (left > right) - (left < right);
}

// A sorted copy of the pointers; of equal keys only the last as received stays, as protobuf has it. *count is updated.
static Argument **sorted(Argument **entries, size_t *count)
{
    Argument **out = ty_xcalloc(*count + 1, sizeof *out);
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        size_t same = 0;
        while (same < kept && strcmp(out[same]->key, entries[i]->key))
            same++;
        out[same] = entries[i];
        kept += same == kept;
    }
    qsort(out, kept, sizeof *out, by_key);
    *count = kept;
    return out;
}

static void hash_text(EVP_MD_CTX *hash, const char *text)
{
    // With its NUL, so that neighbours cannot run together.
    EVP_DigestUpdate(hash, text, strlen(text) + 1);
}

static void hash_number(EVP_MD_CTX *hash, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    hash_text(hash, text);
}

static void hash_options(EVP_MD_CTX *hash, const Trainyard__V1__JobOptions *options)
{
    static const Trainyard__V1__JobOptions none = TRAINYARD__V1__JOB_OPTIONS__INIT;
    const Trainyard__V1__JobOptions *o = options ? options : &none;
    hash_number(hash, o->priority);
    hash_number(hash, o->max_runtime_s);
    hash_number(hash, o->max_wait_s);
    hash_number(hash, o->max_attempts);
    hash_number(hash, (uint64_t)o->on_lost_lease);
    size_t count = o->n_labels;
    Argument **labels = sorted((Argument **)o->labels, &count);
    hash_number(hash, count);
    for (size_t i = 0; i < count; i++) {
        hash_text(hash, labels[i]->key);
        hash_text(hash, labels[i]->value);
    }
    free(labels);
    hash_number(hash, o->resources ? o->resources->cpu_millis : 0);
    hash_number(hash, o->resources ? o->resources->memory_bytes : 0);
    hash_number(hash, o->resources ? o->resources->gpus : 0);
}

// The same for the same request in any encoding; unknown fields and the idempotency key do not count.
static void digest(const Managed *managed, const Custom *custom, const Trainyard__V1__JobOptions *options, uint8_t out[16])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    unsigned char full[EVP_MAX_MD_SIZE];
    if (!hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        abort();
    if (managed) {
        hash_text(hash, "managed");
        hash_text(hash, managed->organization_id);
        hash_text(hash, managed->dataset_id);
        hash_text(hash, managed->model_name);
        hash_text(hash, managed->model_version);
        hash_number(hash, (uint64_t)managed->model_type);
        hash_number(hash, (uint64_t)managed->model_framework);
        hash_number(hash, managed->n_tags);
        for (size_t i = 0; i < managed->n_tags; i++)
            hash_text(hash, managed->tags[i]);
    } else {
        size_t count = custom->n_arguments;
        Argument **arguments = sorted((Argument **)custom->arguments, &count);
        hash_text(hash, "custom");
        hash_text(hash, custom->organization_id);
        hash_text(hash, custom->dataset_id);
        hash_text(hash, custom->model_name);
        hash_text(hash, custom->model_version);
        hash_text(hash, custom->registry_item_id);
        hash_text(hash, custom->registry_item_version);
        hash_text(hash, custom->container_version);
        hash_number(hash, count);
        for (size_t i = 0; i < count; i++) {
            hash_text(hash, arguments[i]->key);
            hash_text(hash, arguments[i]->value);
        }
        free(arguments);
    }
    hash_options(hash, options);
    EVP_DigestFinal_ex(hash, full, NULL);
    EVP_MD_CTX_free(hash);
    memcpy(out, full, 16);
}

// ---- the spec ----

static void pack(const ProtobufCMessage *message, struct ty_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, ty_buf_reserve(out, len));
    out->len += len;
}

static void pack_metadata(Metadata *metadata, const struct ty_id *job_id, uint64_t created_us, struct ty_buf *out)
{
    char id[TY_ID_TEXT_BYTES];
    Google__Protobuf__Timestamp created = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    created.seconds = (int64_t)(created_us / 1000000);
    created.nanos = (int32_t)(created_us % 1000000 * 1000);
    metadata->id = (char *)ty_id_format(job_id, id);
    metadata->created_on = &created;
    pack(&metadata->base, out);
}

static void pack_options(const Trainyard__V1__JobOptions *options, struct ty_buf *out)
{
    if (!options)
        return;
    Trainyard__V1__JobOptions known = *options;
    known.base.n_unknown_fields = 0;
    pack(&known.base, out);
}

static void managed_metadata(const Managed *request, int framework, Metadata *metadata)
{
    metadata->organization_id = request->organization_id;
    metadata->dataset_id = request->dataset_id;
    metadata->model_name = request->model_name;
    metadata->model_version = request->model_version;
    metadata->model_type = request->model_type;
    metadata->model_framework = (Viam__App__Mltraining__V1__ModelFramework)framework;
    metadata->n_tags = request->n_tags;
    metadata->tags = request->tags;
}

static void custom_metadata(const Custom *request, const char *container, Argument **arguments, size_t count, Metadata *metadata)
{
    metadata->is_custom_job = true;
    metadata->organization_id = request->organization_id;
    metadata->dataset_id = request->dataset_id;
    metadata->model_name = request->model_name;
    metadata->model_version = request->model_version;
    metadata->registry_item_id = request->registry_item_id;
    metadata->registry_item_version = request->registry_item_version;
    metadata->container_version = (char *)container;
    metadata->n_arguments = count;
    metadata->arguments = arguments;
}

static void fill(struct ty_spec *spec, const struct ty_id *job_id, uint64_t created_us, const Managed *managed,
                 const Custom *custom, int framework, const char *container, const Trainyard__V1__JobOptions *options)
{
    Metadata metadata = VIAM__APP__MLTRAINING__V1__TRAINING_JOB_METADATA__INIT;
    size_t count = custom ? custom->n_arguments : 0;
    // The entries of both map types are the same generated shape.
    Argument **arguments = custom ? sorted((Argument **)custom->arguments, &count) : NULL;
    Argument *entries = ty_xcalloc(count + 1, sizeof *entries);
    for (size_t i = 0; i < count; i++) {
        viam__app__mltraining__v1__training_job_metadata__arguments_entry__init(&entries[i]);
        entries[i].key = arguments[i]->key;
        entries[i].value = arguments[i]->value;
        arguments[i] = &entries[i];
    }
    if (managed)
        managed_metadata(managed, framework, &metadata);
    else
        custom_metadata(custom, container, arguments, count, &metadata);
    spec->organization_id = ty_xstrdup(metadata.organization_id);
    pack_metadata(&metadata, job_id, created_us, &spec->metadata);
    pack_options(options, &spec->options);
    digest(managed, custom, options, spec->digest);
    free(arguments);
    free(entries);
}

int ty_spec_build(const struct ty_catalog *catalog, const struct ty_id *job_id, uint64_t created_us, const Managed *managed,
                  const Custom *custom, const Trainyard__V1__JobOptions *options, struct ty_spec *ret_spec, struct ty_err *err)
{
    const struct ty_trainer *trainer = NULL;
    const struct ty_container *container = NULL;
    int rc = managed ? check_managed(catalog, managed, &trainer, err) : check_custom(catalog, custom, &container, err);
    if (rc < 0 || check_options(options, err) < 0)
        return -(int)err->code;
    if (trainer)
        container = ty_catalog_container(catalog, trainer->container);
    *ret_spec = (struct ty_spec){.container = ty_xstrdup(container->key), .runner = container->runner};
    if (options) {
        ret_spec->priority = (uint8_t)options->priority;
        ret_spec->max_attempts = options->max_attempts;
    }
    fill(ret_spec, job_id, created_us, managed, custom, trainer ? trainer->model_framework : 0, container->key, options);
    return 0;
}

static char *within(char *text, size_t max)
{
    return strlen(text) <= max ? text : (char *)"";
}

void ty_spec_build_refused(const struct ty_id *job_id, uint64_t created_us, const Managed *managed, const Custom *custom,
                           struct ty_spec *ret_spec)
{
    *ret_spec = (struct ty_spec){0};
    if (managed) {
        Managed copy = *managed;
        copy.organization_id = within(copy.organization_id, TY_LIMIT_ID_BYTES);
        copy.dataset_id = within(copy.dataset_id, TY_LIMIT_ID_BYTES);
        copy.model_name = within(copy.model_name, TY_LIMIT_NAME_BYTES);
        copy.model_version = within(copy.model_version, TY_LIMIT_NAME_BYTES);
        copy.n_tags = 0;
        fill(ret_spec, job_id, created_us, &copy, NULL, (int)copy.model_framework, "", NULL);
        digest(managed, NULL, NULL, ret_spec->digest);
    } else if (custom) {
        Custom copy = *custom;
        copy.organization_id = within(copy.organization_id, TY_LIMIT_ID_BYTES);
        copy.dataset_id = within(copy.dataset_id, TY_LIMIT_ID_BYTES);
        copy.model_name = within(copy.model_name, TY_LIMIT_NAME_BYTES);
        copy.model_version = within(copy.model_version, TY_LIMIT_NAME_BYTES);
        copy.registry_item_id = within(copy.registry_item_id, TY_LIMIT_NAME_BYTES);
        copy.registry_item_version = within(copy.registry_item_version, TY_LIMIT_NAME_BYTES);
        copy.n_arguments = 0;
        fill(ret_spec, job_id, created_us, NULL, &copy, 0, within(copy.container_version, TY_LIMIT_NAME_BYTES), NULL);
        digest(NULL, custom, NULL, ret_spec->digest);
    } else {
        Metadata metadata = VIAM__APP__MLTRAINING__V1__TRAINING_JOB_METADATA__INIT;
        ret_spec->organization_id = ty_xstrdup("");
        pack_metadata(&metadata, job_id, created_us, &ret_spec->metadata);
    }
}

void ty_spec_done(struct ty_spec *spec)
{
    free(spec->organization_id);
    free(spec->container);
    ty_buf_done(&spec->metadata);
    ty_buf_done(&spec->options);
    *spec = (struct ty_spec){0};
}
