// core/spec: what a submit must hold, what the store keeps of it, and that the digest knows the same request again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/command.h"
#include "core/limits.h"
#include "core/wire.h"

typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry Argument;
typedef Trainyard__V1__JobOptions Options;

#define TEXT(literal) ((char *)(uintptr_t)(literal))
#define CREATED_US UINT64_C(1700000000123456)

static struct ty_catalog *catalog;
static const struct ty_id id = {{1, 2, 3}};
static char long_text[TY_LIMIT_ARGUMENT_VALUE_BYTES + 2];

static const char *repeated(size_t len)
{
    return long_text + sizeof long_text - 1 - len;
}

static void init_custom(Custom *custom)
{
    *custom = (Custom)VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    custom->organization_id = TEXT("acme");
    custom->dataset_id = TEXT("digits");
    custom->model_name = TEXT("model");
    custom->model_version = TEXT("1");
    custom->registry_item_id = TEXT("acme:digits");
}

static void init_managed(Managed *managed)
{
    static char *tags[] = {TEXT("a"), TEXT("b")};
    *managed = (Managed)VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    managed->organization_id = TEXT("acme");
    managed->dataset_id = TEXT("digits");
    managed->model_name = TEXT("model");
    managed->model_version = TEXT("1");
    managed->model_type = VIAM__APP__MLTRAINING__V1__MODEL_TYPE__MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION;
    managed->tags = tags;
    managed->n_tags = 2;
}

static void build(const Managed *managed, const Custom *custom, const Options *options, const char *says)
{
    struct ty_spec spec;
    struct ty_err err = {0};
    int rc = ty_spec_build(catalog, &id, CREATED_US, managed, custom, options, &spec, &err);
    if (rc != (says ? -TY_EINVALID : 0) || (says && !strstr(err.message, says)))
        fail_msg("\"%s\" was expected: %d, %s", says ? says : "no error", rc, err.message);
    if (says && (strchr(err.message, '%') || !ty_utf8_is_valid(err.message, strlen(err.message))))
        fail_msg("not fit for clients: %s", err.message);
    if (rc == 0)
        ty_spec_done(&spec);
}

// ---- rules ----

static void each_text_field_is_checked(void **state)
{
    static const struct {
        size_t offset;
        const char *field;
        size_t max;
        bool may_be_empty;
    } fields[] = {
        {offsetof(Custom, organization_id), "organization_id", TY_LIMIT_ID_BYTES, false},
        {offsetof(Custom, dataset_id), "dataset_id", TY_LIMIT_ID_BYTES, false},
        {offsetof(Custom, model_name), "model_name", TY_LIMIT_NAME_BYTES, false},
        {offsetof(Custom, model_version), "model_version", TY_LIMIT_NAME_BYTES, false},
        {offsetof(Custom, registry_item_version), "registry_item_version", TY_LIMIT_NAME_BYTES, true},
    };
    static const struct {
        const char *text, *says;
    } faults[] = {{"../x", "starts with a dot"}, {".", "starts with a dot"}, {"a/b", "slash or backslash"},
                  {"a\\b", "slash or backslash"}, {"a\nb", "control character"}, {"a\x7f", "control character"},
                  {"a\xff", "not valid UTF-8"}, {"%s%n\xc3", "not valid UTF-8"}};
    char says[128];
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        Custom custom;
        init_custom(&custom);
        char **field = (char **)((char *)&custom + fields[i].offset);
        snprintf(says, sizeof says, "%s is empty", fields[i].field);
        *field = TEXT("");
        build(NULL, &custom, NULL, fields[i].may_be_empty ? NULL : says);
        *field = TEXT(repeated(fields[i].max));
        build(NULL, &custom, NULL, NULL);
        *field = TEXT(repeated(fields[i].max + 1));
        snprintf(says, sizeof says, "%s has %zu bytes; at most %zu are allowed", fields[i].field, fields[i].max + 1,
                 fields[i].max);
        build(NULL, &custom, NULL, says);
        *field = TEXT("ü €"); // any letters
        build(NULL, &custom, NULL, NULL);
        for (size_t j = 0; j < sizeof faults / sizeof *faults; j++) {
            snprintf(says, sizeof says, "%s %s", fields[i].field, strstr(faults[j].says, "starts") ? "starts" : "");
            *field = TEXT(faults[j].text);
            build(NULL, &custom, NULL, faults[j].says);
        }
    }
}

static void the_script_and_its_container_are_checked(void **state)
{
    static const char *const ids[] = {"acme", ":x", "acme:", "a:b:c", "a:../x", "a/b:c", "a:.b", "", ":"};
    Custom custom;
    (void)state;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        init_custom(&custom);
        custom.registry_item_id = TEXT(ids[i]);
        build(NULL, &custom, NULL, "registry_item_id");
    }
    init_custom(&custom);
    custom.container_version = TEXT("no:such%d");
    build(NULL, &custom, NULL, "container_version: there is no container \"no:such?d\"; known: ");
}

static void arguments_are_checked(void **state)
{
    static const struct {
        const char *key, *value, *says;
    } cases[] = {
        {"epochs", "3", NULL}, {"learning-rate_2", "", NULL}, {"", "x", "arguments has an empty key"},
        {"a b", "x", "other characters"}, {"a=b", "x", "other characters"}, {"--help", "x", NULL},
        {"dataset_file", "x", "reserved for the service"}, {"model_output_directory", "x", "reserved for the service"},
        {"k", "a\xff", "arguments[\"k\"] is not valid UTF-8"}, {"k", "line\nline", NULL},
    };
    Custom custom;
    Argument items[TY_LIMIT_ARGUMENTS + 1], *list[TY_LIMIT_ARGUMENTS + 1];
    char keys[TY_LIMIT_ARGUMENTS + 1][8];
    (void)state;
    init_custom(&custom);
    custom.arguments = list;
    for (size_t i = 0; i <= TY_LIMIT_ARGUMENTS; i++) {
        viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__init(&items[i]);
        list[i] = &items[i];
    }
    custom.n_arguments = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        items[0].key = TEXT(cases[i].key);
        items[0].value = TEXT(cases[i].value);
        build(NULL, &custom, NULL, cases[i].says);
    }
    items[0].key = TEXT(repeated(TY_LIMIT_ARGUMENT_KEY_BYTES + 1));
    build(NULL, &custom, NULL, "a key has 129 bytes");
    items[0].key = TEXT("k");
    items[0].value = TEXT(repeated(TY_LIMIT_ARGUMENT_VALUE_BYTES));
    build(NULL, &custom, NULL, NULL);
    items[0].value = TEXT(repeated(TY_LIMIT_ARGUMENT_VALUE_BYTES + 1));
    build(NULL, &custom, NULL, "arguments[\"k\"] has 65537 bytes");
    for (size_t i = 0; i <= TY_LIMIT_ARGUMENTS; i++) {
        snprintf(keys[i], sizeof keys[i], "k%zu", i);
        items[i].key = keys[i];
        items[i].value = TEXT("v");
    }
    custom.n_arguments = TY_LIMIT_ARGUMENTS;
    build(NULL, &custom, NULL, NULL);
    custom.n_arguments++;
    build(NULL, &custom, NULL, "arguments has 257 entries");
    custom.n_arguments = 5;
    for (size_t i = 0; i < 5; i++)
        items[i].value = TEXT(repeated(TY_LIMIT_ARGUMENT_VALUE_BYTES));
    build(NULL, &custom, NULL, "bytes in all");
}

static void managed_jobs_are_checked(void **state)
{
    Managed managed;
    char *tags[] = {TEXT("a"), TEXT("b"), TEXT("a")};
    (void)state;
    init_managed(&managed);
    build(&managed, NULL, NULL, NULL);
    managed.model_type = VIAM__APP__MLTRAINING__V1__MODEL_TYPE__MODEL_TYPE_UNSPECIFIED;
    build(&managed, NULL, NULL, "model_type is not specified");
    managed.model_type = (Viam__App__Mltraining__V1__ModelType)99;
    build(&managed, NULL, NULL, "model_type: there is no value 99");
    managed.model_type = VIAM__APP__MLTRAINING__V1__MODEL_TYPE__MODEL_TYPE_OBJECT_DETECTION;
    build(&managed, NULL, NULL, "no trainer is installed for object detection");
    init_managed(&managed);
    managed.model_framework = (Viam__App__Mltraining__V1__ModelFramework)99;
    build(&managed, NULL, NULL, "model_framework: there is no value 99");
    init_managed(&managed);
    managed.n_tags = 0;
    build(&managed, NULL, NULL, "tags is empty");
    managed.tags = tags;
    managed.n_tags = 3;
    build(&managed, NULL, NULL, "tags[2] is the same as tags[0]");
    tags[2] = TEXT("");
    build(&managed, NULL, NULL, "tags[2] is empty");
    tags[2] = TEXT("x\ny");
    build(&managed, NULL, NULL, "tags[2] has a control character");
    tags[2] = TEXT(repeated(TY_LIMIT_TAG_BYTES + 1));
    build(&managed, NULL, NULL, "tags[2] has 257 bytes");
}

static void options_are_checked(void **state)
{
    Custom custom;
    Options options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Trainyard__V1__JobOptions__LabelsEntry label = TRAINYARD__V1__JOB_OPTIONS__LABELS_ENTRY__INIT, *labels[] = {&label};
    (void)state;
    init_custom(&custom);
    options.priority = TY_LIMIT_PRIORITY;
    options.max_attempts = TY_LIMIT_ATTEMPTS;
    build(NULL, &custom, &options, NULL);
    options.priority++;
    build(NULL, &custom, &options, "options.priority is 8");
    options.priority = 0;
    options.max_attempts++;
    build(NULL, &custom, &options, "options.max_attempts is 101");
    options.max_attempts = 0;
    options.on_lost_lease = (Trainyard__V1__OnLostLease)3;
    build(NULL, &custom, &options, "options.on_lost_lease: there is no value 3");
    options.on_lost_lease = TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP;
    options.labels = labels;
    options.n_labels = 1;
    build(NULL, &custom, &options, "options.labels has an empty key");
    label.key = TEXT("team%d");
    label.value = TEXT(repeated(TY_LIMIT_LABEL_VALUE_BYTES + 1));
    build(NULL, &custom, &options, "options.labels[\"team?d\"] has 257 bytes");
    label.value = TEXT("vision");
    build(NULL, &custom, &options, NULL);
    options.idempotency_key = TEXT(repeated(TY_LIMIT_IDEMPOTENCY_KEY_BYTES + 1));
    build(NULL, &custom, &options, "options.idempotency_key has 257 bytes");
}

// ---- what is kept ----

static void the_catalogue_fills_what_was_left_open(void **state)
{
    Managed managed;
    Custom custom;
    struct ty_spec spec;
    struct ty_err err;
    ProtobufCMessage *message;
    (void)state;
    init_custom(&custom);
    assert_int_equal(ty_spec_build(catalog, &id, CREATED_US, NULL, &custom, NULL, &spec, &err), 0);
    assert_string_equal(spec.container, ty_catalog_container(catalog, "")->key);
    assert_string_equal(spec.organization_id, "acme");
    assert_int_equal(ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, spec.metadata.data,
                                    spec.metadata.len, &message, &err), 0);
    const Viam__App__Mltraining__V1__TrainingJobMetadata *metadata =
        (const Viam__App__Mltraining__V1__TrainingJobMetadata *)message;
    assert_string_equal(metadata->container_version, spec.container);
    assert_true(metadata->is_custom_job);
    assert_int_equal(metadata->created_on->seconds, 1700000000);
    assert_int_equal(metadata->created_on->nanos, 123456000);
    protobuf_c_message_free_unpacked(message, NULL);
    ty_spec_done(&spec);
    init_managed(&managed);
    assert_int_equal(ty_spec_build(catalog, &id, CREATED_US, &managed, NULL, NULL, &spec, &err), 0);
    assert_int_equal(ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, spec.metadata.data,
                                    spec.metadata.len, &message, &err), 0);
    metadata = (const Viam__App__Mltraining__V1__TrainingJobMetadata *)message;
    assert_int_equal(metadata->model_framework, ty_catalog_trainer(catalog, (int)managed.model_type, 0)->model_framework);
    assert_false(metadata->is_custom_job);
    assert_int_equal(metadata->n_tags, 2);
    protobuf_c_message_free_unpacked(message, NULL);
    ty_spec_done(&spec);
}

static void digest_of(const Custom *custom, const Options *options, const struct ty_id *job_id, uint64_t created_us,
                      uint8_t out[16])
{
    struct ty_spec spec;
    struct ty_err err;
    assert_int_equal(ty_spec_build(catalog, job_id, created_us, NULL, custom, options, &spec, &err), 0);
    memcpy(out, spec.digest, 16);
    ty_spec_done(&spec);
}

static void the_digest_is_of_what_was_asked(void **state)
{
    Custom custom;
    Options options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Argument items[3], *list[] = {&items[0], &items[1], &items[2]}, *turned[] = {&items[1], &items[0]};
    Argument *twice[] = {&items[2], &items[0], &items[1]};
    uint8_t first[16], next[16];
    (void)state;
    for (size_t i = 0; i < 3; i++)
        viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__init(&items[i]);
    items[0].key = TEXT("a"), items[0].value = TEXT("1");
    items[1].key = TEXT("b"), items[1].value = TEXT("2");
    items[2].key = TEXT("a"), items[2].value = TEXT("other");
    init_custom(&custom);
    custom.arguments = list;
    custom.n_arguments = 2;
    digest_of(&custom, NULL, &id, CREATED_US, first);
    // The same, encoded otherwise, at another time, under another key.
    custom.arguments = turned;
    digest_of(&custom, NULL, &(struct ty_id){{9}}, CREATED_US + 5, next);
    assert_memory_equal(first, next, 16);
    custom.arguments = twice; // the last of a key counts
    custom.n_arguments = 3;
    digest_of(&custom, NULL, &id, CREATED_US, next);
    assert_memory_equal(first, next, 16);
    custom.arguments = list;
    custom.n_arguments = 2;
    options.idempotency_key = TEXT("key");
    digest_of(&custom, &options, &id, CREATED_US, next);
    assert_memory_equal(first, next, 16);
    Trainyard__V1__Resources nothing = TRAINYARD__V1__RESOURCES__INIT;
    options.resources = &nothing;
    digest_of(&custom, &options, &id, CREATED_US, next);
    assert_memory_equal(first, next, 16);
    // What makes a difference.
    options.priority = 1;
    digest_of(&custom, &options, &id, CREATED_US, next);
    assert_memory_not_equal(first, next, 16);
    items[1].value = TEXT("3");
    digest_of(&custom, NULL, &id, CREATED_US, next);
    assert_memory_not_equal(first, next, 16);
    items[1].value = TEXT("2");
    custom.model_version = TEXT("2");
    digest_of(&custom, NULL, &id, CREATED_US, next);
    assert_memory_not_equal(first, next, 16);
}

// Options that came later, unset, leave the digests as they were when jobs with them were stored: this one is the SHA-256 of
// bytes that were put together by hand, {options (6): {priority: 1, max_attempts: 2}, submit_custom (11): ...}.
static void an_old_digest_stands(void **state)
{
    static const uint8_t stored[16] = {
        0x1e, 0x33, 0xa3, 0x6a, 0x9e, 0xf2, 0xab, 0x49, 0x59, 0xd8, 0x19, 0x01, 0x33, 0x99, 0x61, 0xaf};
    Custom custom;
    Options options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Trainyard__V1__RetryPolicy retry = TRAINYARD__V1__RETRY_POLICY__INIT;
    uint8_t digest[16], next[16];
    (void)state;
    init_custom(&custom);
    options.priority = 1;
    options.max_attempts = 2;
    digest_of(&custom, &options, &id, CREATED_US, digest);
    assert_memory_equal(digest, stored, 16);
    options.retry = &retry; // asks for nothing
    digest_of(&custom, &options, &id, CREATED_US, digest);
    assert_memory_equal(digest, stored, 16);
    // Lists of codes are sets.
    uint32_t codes[] = {3, 75, 3}, turned[] = {75, 3};
    retry.exit_codes = codes;
    retry.n_exit_codes = 3;
    digest_of(&custom, &options, &id, CREATED_US, digest);
    assert_memory_not_equal(digest, stored, 16);
    retry.exit_codes = turned;
    retry.n_exit_codes = 2;
    digest_of(&custom, &options, &id, CREATED_US, next);
    assert_memory_equal(digest, next, 16);
    options.retry_of = TEXT("00000000-0000-4000-8000-000000000001");
    digest_of(&custom, &options, &id, CREATED_US, next);
    assert_memory_not_equal(digest, next, 16);
}

static void retries_are_checked(void **state)
{
    Custom custom;
    Options options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    Trainyard__V1__RetryPolicy retry = TRAINYARD__V1__RETRY_POLICY__INIT;
    uint32_t codes[TY_LIMIT_EXIT_CODES + 1], wrong[] = {1, 256};
    (void)state;
    init_custom(&custom);
    for (uint32_t i = 0; i < TY_LIMIT_EXIT_CODES + 1; i++)
        codes[i] = i + 1;
    options.retry = &retry;
    options.retry_of = TEXT("00000000-0000-4000-8000-000000000001");
    retry.on_error = true;
    retry.no_retry_exit_codes = codes;
    retry.n_no_retry_exit_codes = TY_LIMIT_EXIT_CODES;
    retry.base_ms = retry.max_ms = TY_LIMIT_BACKOFF_MS;
    build(NULL, &custom, &options, NULL);
    retry.on_error = false;
    build(NULL, &custom, &options, "options.retry.no_retry_exit_codes says nothing without on_error");
    retry.on_error = true;
    retry.n_no_retry_exit_codes++;
    build(NULL, &custom, &options, "options.retry.no_retry_exit_codes has 33 entries; at most 32 are allowed");
    retry.n_no_retry_exit_codes = 1;
    retry.exit_codes = wrong;
    retry.n_exit_codes = 2;
    build(NULL, &custom, &options, "options.retry.exit_codes: 256 is no exit code; 1 to 255 are allowed");
    retry.n_exit_codes = 1;
    build(NULL, &custom, &options, "options.retry: 1 is in both lists of exit codes");
    retry.n_exit_codes = 0;
    retry.max_ms++;
    build(NULL, &custom, &options, "options.retry.max_ms is 86400001; at most 86400000 are allowed");
    retry.max_ms = 0;
    options.retry_of = TEXT("the last one");
    build(NULL, &custom, &options, "options.retry_of is not a UUID");
}

static void a_refused_submit_keeps_what_is_fit(void **state)
{
    Custom custom;
    struct ty_spec spec;
    struct ty_err err;
    (void)state;
    init_custom(&custom);
    custom.organization_id = TEXT("../acme");
    custom.model_name = TEXT(repeated(TY_LIMIT_NAME_BYTES + 1));
    custom.dataset_id = TEXT("a\xff");
    ty_spec_build_refused(&id, CREATED_US, NULL, &custom, &spec);
    ProtobufCMessage *message;
    assert_int_equal(ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, spec.metadata.data,
                                    spec.metadata.len, &message, &err), 0);
    const Viam__App__Mltraining__V1__TrainingJobMetadata *metadata =
        (const Viam__App__Mltraining__V1__TrainingJobMetadata *)message;
    assert_string_equal(metadata->organization_id, "");
    assert_string_equal(metadata->model_name, "");
    assert_string_equal(metadata->dataset_id, "");
    assert_string_equal(metadata->model_version, "1");
    assert_null(spec.container);
    protobuf_c_message_free_unpacked(message, NULL);
    ty_spec_done(&spec);
    ty_spec_build_refused(&id, CREATED_US, NULL, NULL, &spec);
    assert_true(spec.metadata.len > 0);
    ty_spec_done(&spec);
}

static int set_up(void **state)
{
    struct ty_err err;
    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    return ty_catalog_load(NULL, &catalog, &err);
}

static int tear_down(void **state)
{
    (void)state;
    ty_catalog_free(catalog);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_text_field_is_checked),
        cmocka_unit_test(the_script_and_its_container_are_checked),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(managed_jobs_are_checked),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(the_catalogue_fills_what_was_left_open),
        cmocka_unit_test(the_digest_is_of_what_was_asked),
        cmocka_unit_test(an_old_digest_stands),
        cmocka_unit_test(retries_are_checked),
        cmocka_unit_test(a_refused_submit_keeps_what_is_fit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
