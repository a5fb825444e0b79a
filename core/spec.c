// Submits: what the store keeps of them.
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/spec_internal.h"
#include "core/wire.h"

typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;
typedef Trainyard__V1__JobCommand Command;

// protobuf-c makes the same shape of every map<string, string>, which is why one type serves them all here.
#define SAME_SHAPE(type)                                                                                                    \
    _Static_assert(sizeof(type) == sizeof(Entry) && offsetof(type, key) == offsetof(Entry, key) &&                          \
                       offsetof(type, value) == offsetof(Entry, value),                                                    \
                   "a map entry of another shape")
SAME_SHAPE(Viam__App__Mltraining__V1__TrainingJobMetadata__ArgumentsEntry);
SAME_SHAPE(Trainyard__V1__JobOptions__LabelsEntry);

// ---- canonical maps and options ----

struct slot {
    const Entry *entry;
    size_t order;
};

static int by_key_then_order(const void *left, const void *right)
{
    const struct slot *a = left, *b = right;
    int order = strcmp(a->entry->key, b->entry->key);
    return order ? order : (a->order > b->order) - (a->order < b->order);
}

void ty_entries_init(struct ty_entries *entries, Entry *const *from, size_t count,
                     const ProtobufCMessageDescriptor *descriptor)
{
    struct slot *slots TY_FREE = ty_xcalloc(count, sizeof *slots);
    *entries = (struct ty_entries){.items = ty_xcalloc(count, sizeof *entries->items),
                                   .list = ty_xcalloc(count, sizeof *entries->list)};
    for (size_t i = 0; i < count; i++)
        slots[i] = (struct slot){from[i], i};
    qsort(slots, count, sizeof *slots, by_key_then_order);
    for (size_t i = 0; i < count; i++) {
        if (i + 1 < count && !strcmp(slots[i].entry->key, slots[i + 1].entry->key))
            continue;
        Entry *item = &entries->items[entries->count];
        protobuf_c_message_init(descriptor, item);
        item->key = slots[i].entry->key;
        item->value = slots[i].entry->value;
        entries->list[entries->count++] = item;
    }
}

void ty_entries_done(struct ty_entries *entries)
{
    free(entries->items);
    free(entries->list);
}

struct canonical_options {
    Options message;
    Trainyard__V1__Resources resources;
    Trainyard__V1__RetryPolicy retry;
    struct ty_entries labels;
};

static void strip_unknown(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    message->unknown_fields = NULL;
}

static int by_number(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

// A list of codes is a set: sorted, each once, in memory of its own.
static void canonical_codes(uint32_t **codes, size_t *count)
{
    uint32_t *sorted = ty_xcalloc(*count + 1, sizeof *sorted);
    size_t kept = 0;
    if (*count)
        memcpy(sorted, *codes, *count * sizeof *sorted);
    qsort(sorted, *count, sizeof *sorted, by_number);
    for (size_t i = 0; i < *count; i++)
        if (!i || sorted[i] != sorted[i - 1])
            sorted[kept++] = sorted[i];
    *codes = sorted;
    *count = kept;
}

static void retry_init(struct canonical_options *options)
{
    static const Trainyard__V1__RetryPolicy none = TRAINYARD__V1__RETRY_POLICY__INIT;
    options->retry = options->message.retry ? *options->message.retry : none;
    strip_unknown(&options->retry.base);
    canonical_codes(&options->retry.exit_codes, &options->retry.n_exit_codes);
    canonical_codes(&options->retry.no_retry_exit_codes, &options->retry.n_no_retry_exit_codes);
    // A policy that asks for nothing is the same as none.
    bool asks = protobuf_c_message_get_packed_size(&options->retry.base) > 0;
    options->message.retry = asks ? &options->retry : NULL;
}

static void options_init(struct canonical_options *options, const Options *from)
{
    static const Options none = TRAINYARD__V1__JOB_OPTIONS__INIT;
    options->message = from ? *from : none;
    strip_unknown(&options->message.base);
    ty_entries_init(&options->labels, (Entry *const *)options->message.labels, options->message.n_labels,
                    &trainyard__v1__job_options__labels_entry__descriptor);
    options->message.labels = (Trainyard__V1__JobOptions__LabelsEntry **)options->labels.list;
    options->message.n_labels = options->labels.count;
    retry_init(options);
    if (!options->message.resources)
        return;
    options->resources = *options->message.resources;
    strip_unknown(&options->resources.base);
    // Resources that ask for nothing are the same as none.
    bool asks = protobuf_c_message_get_packed_size(&options->resources.base) > 0;
    options->message.resources = asks ? &options->resources : NULL;
}

static void options_done(struct canonical_options *options)
{
    ty_entries_done(&options->labels);
    free(options->retry.exit_codes);
    free(options->retry.no_retry_exit_codes);
}

// ---- serializing ----

static void pack(const ProtobufCMessage *message, struct ty_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, ty_buf_reserve(out, len));
    out->len += len;
}

// Looked up once: EVP_sha256() would be looked up again, under a lock, in each digest.
static const EVP_MD *sha256;

static void find_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256)
        abort(); // libcrypto without SHA-256, or without memory
}

static void hash_command(const Command *command, uint8_t out[16])
{
    unsigned char full[EVP_MAX_MD_SIZE];
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    TY_BUF(bytes);
    pack(&command->base, &bytes);
    pthread_once(&once, find_sha256);
    if (EVP_Digest(bytes.data, bytes.len, full, NULL, sha256, NULL) != 1)
        abort(); // no memory
    memcpy(out, full, 16);
}

static void digest(const Managed *managed, const Custom *custom, const struct ty_entries *arguments,
                   const struct canonical_options *options, uint8_t out[16])
{
    Command command = TRAINYARD__V1__JOB_COMMAND__INIT;
    Managed managed_copy;
    Custom custom_copy;
    Options options_copy = options->message;
    options_copy.idempotency_key = (char *)"";
    // Options that ask for nothing are the same as none.
    if (protobuf_c_message_get_packed_size(&options_copy.base) > 0)
        command.options = &options_copy;
    if (managed) {
        managed_copy = *managed;
        strip_unknown(&managed_copy.base);
        command.command_case = TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT;
        command.submit = &managed_copy;
    } else {
        custom_copy = *custom;
        strip_unknown(&custom_copy.base);
        custom_copy.arguments = arguments->list;
        custom_copy.n_arguments = arguments->count;
        command.command_case = TRAINYARD__V1__JOB_COMMAND__COMMAND_SUBMIT_CUSTOM;
        command.submit_custom = &custom_copy;
    }
    hash_command(&command, out);
}

static void metadata_init(Metadata *metadata, const Managed *managed, const Custom *custom)
{
    *metadata = (Metadata)VIAM__APP__MLTRAINING__V1__TRAINING_JOB_METADATA__INIT;
    if (managed) {
        metadata->organization_id = managed->organization_id;
        metadata->dataset_id = managed->dataset_id;
        metadata->model_name = managed->model_name;
        metadata->model_version = managed->model_version;
        metadata->model_type = managed->model_type;
        metadata->model_framework = managed->model_framework;
        metadata->tags = managed->tags;
        metadata->n_tags = managed->n_tags;
    } else if (custom) {
        metadata->is_custom_job = true;
        metadata->organization_id = custom->organization_id;
        metadata->dataset_id = custom->dataset_id;
        metadata->model_name = custom->model_name;
        metadata->model_version = custom->model_version;
        metadata->registry_item_id = custom->registry_item_id;
        metadata->registry_item_version = custom->registry_item_version;
        metadata->container_version = custom->container_version;
    }
}

// Adds what every job has, and the arguments (none when from is NULL), and serializes.
static void metadata_finish(Metadata *metadata, const struct ty_id *job_id, uint64_t created_us,
                            const struct ty_entries *from, struct ty_spec *spec)
{
    char id[TY_ID_TEXT_BYTES];
    Google__Protobuf__Timestamp created = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    struct ty_entries arguments;
    ty_entries_init(&arguments, from ? from->list : NULL, from ? from->count : 0,
                    &viam__app__mltraining__v1__training_job_metadata__arguments_entry__descriptor);
    created.seconds = (int64_t)(created_us / 1000000);
    created.nanos = (int32_t)(created_us % 1000000 * 1000);
    metadata->id = (char *)ty_id_format(job_id, id);
    metadata->created_on = &created;
    metadata->arguments = (Viam__App__Mltraining__V1__TrainingJobMetadata__ArgumentsEntry **)arguments.list;
    metadata->n_arguments = arguments.count;
    pack(&metadata->base, &spec->metadata);
    spec->organization_id = ty_xstrdup(metadata->organization_id);
    ty_entries_done(&arguments);
}

// ---- specs ----

static void arguments_init(struct ty_entries *arguments, const Custom *custom)
{
    ty_entries_init(arguments, custom ? custom->arguments : NULL, custom ? custom->n_arguments : 0,
                    &viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__descriptor);
}

int ty_spec_build(const struct ty_catalog *catalog, const struct ty_id *job_id, uint64_t created_us, const Managed *managed,
                  const Custom *custom, const Options *options, struct ty_spec *ret_spec, struct ty_err *err)
{
    const struct ty_trainer *trainer = NULL;
    const struct ty_container *container = NULL;
    struct ty_entries arguments;
    struct canonical_options canonical;
    arguments_init(&arguments, custom);
    options_init(&canonical, options);
    int rc = managed ? ty_spec_check_managed(catalog, managed, &trainer, err)
                     : ty_spec_check_custom(catalog, custom, &arguments, &container, err);
    if (rc == 0)
        rc = ty_spec_check_options(&canonical.message, &canonical.labels, err);
    if (rc == 0) {
        Metadata metadata;
        metadata_init(&metadata, managed, custom);
        if (trainer) {
            container = ty_catalog_container(catalog, trainer->container);
            metadata.model_framework = (Viam__App__Mltraining__V1__ModelFramework)trainer->model_framework;
        } else {
            metadata.container_version = (char *)container->key;
        }
        struct ty_spec spec = {.container = ty_xstrdup(container->key),
                               .runner = container->runner,
                               .priority = (uint8_t)canonical.message.priority,
                               .max_attempts = canonical.message.max_attempts,
                               .max_wait_s = canonical.message.max_wait_s};
        metadata_finish(&metadata, job_id, created_us, &arguments, &spec);
        pack(&canonical.message.base, &spec.options);
        digest(managed, custom, &arguments, &canonical, spec.digest);
        *ret_spec = spec;
    }
    options_done(&canonical);
    ty_entries_done(&arguments);
    return rc;
}

int ty_spec_check(const Managed *managed, const Custom *custom, const Options *options, struct ty_err *err)
{
    const struct ty_trainer *trainer;
    const struct ty_container *container;
    struct ty_entries arguments;
    struct canonical_options canonical;
    arguments_init(&arguments, custom);
    options_init(&canonical, options);
    int rc = managed ? ty_spec_check_managed(NULL, managed, &trainer, err)
                     : ty_spec_check_custom(NULL, custom, &arguments, &container, err);
    if (rc == 0)
        rc = ty_spec_check_options(&canonical.message, &canonical.labels, err);
    options_done(&canonical);
    ty_entries_done(&arguments);
    return rc;
}

static void drop_unfit(char **text, size_t max)
{
    size_t len = strlen(*text);
    if (len > max || !ty_utf8_is_valid(*text, len))
        *text = (char *)"";
}

static void drop_unknown_values(Metadata *metadata)
{
    if (!protobuf_c_enum_descriptor_get_value(&viam__app__mltraining__v1__model_type__descriptor,
                                              (int)metadata->model_type))
        metadata->model_type = VIAM__APP__MLTRAINING__V1__MODEL_TYPE__MODEL_TYPE_UNSPECIFIED;
    if (!protobuf_c_enum_descriptor_get_value(&viam__app__mltraining__v1__model_framework__descriptor,
                                              (int)metadata->model_framework))
        metadata->model_framework = VIAM__APP__MLTRAINING__V1__MODEL_FRAMEWORK__MODEL_FRAMEWORK_UNSPECIFIED;
}

void ty_spec_build_refused(const struct ty_id *job_id, uint64_t created_us, const Managed *managed, const Custom *custom,
                           struct ty_spec *ret_spec)
{
    Metadata metadata;
    struct ty_err ignored;
    struct ty_entries arguments;
    struct canonical_options none;
    *ret_spec = (struct ty_spec){0};
    arguments_init(&arguments, custom);
    options_init(&none, NULL);
    metadata_init(&metadata, managed, custom);
    // An organization by whose name nobody could list the job is none.
    if (ty_name_check("organization_id", metadata.organization_id, TY_LIMIT_ID_BYTES, &ignored) < 0)
        metadata.organization_id = (char *)"";
    drop_unfit(&metadata.dataset_id, TY_LIMIT_ID_BYTES);
    drop_unfit(&metadata.model_name, TY_LIMIT_NAME_BYTES);
    drop_unfit(&metadata.model_version, TY_LIMIT_NAME_BYTES);
    drop_unfit(&metadata.registry_item_id, TY_LIMIT_NAME_BYTES);
    drop_unfit(&metadata.registry_item_version, TY_LIMIT_NAME_BYTES);
    drop_unfit(&metadata.container_version, TY_LIMIT_NAME_BYTES);
    drop_unknown_values(&metadata);
    if (managed && ty_spec_check_tags(managed, &ignored) < 0)
        metadata.n_tags = 0;
    bool keep = ty_spec_check_arguments(&arguments, &ignored) == 0;
    metadata_finish(&metadata, job_id, created_us, keep ? &arguments : NULL, ret_spec);
    if (managed || custom)
        digest(managed, custom, &arguments, &none, ret_spec->digest);
    options_done(&none);
    ty_entries_done(&arguments);
}

void ty_spec_done(struct ty_spec *spec)
{
    free(spec->organization_id);
    free(spec->container);
    ty_buf_done(&spec->metadata);
    ty_buf_done(&spec->options);
    *spec = (struct ty_spec){0};
}
