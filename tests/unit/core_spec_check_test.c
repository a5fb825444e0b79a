// core/command: the checks of a publisher, who has no catalogue, are those of the service but for what only it knows.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/command.h"

typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;
typedef Trainyard__V1__JobOptions Options;

static struct ty_catalog *catalog;

static Managed a_managed(void)
{
    static char *tags[] = {(char *)"one"};
    Managed managed = VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    managed.organization_id = managed.dataset_id = managed.model_name = managed.model_version = (char *)"x";
    managed.model_type = VIAM__APP__MLTRAINING__V1__MODEL_TYPE__MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION;
    managed.tags = tags;
    managed.n_tags = 1;
    return managed;
}

static Custom a_custom(void)
{
    Custom custom = VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    custom.organization_id = custom.dataset_id = custom.model_name = custom.model_version = (char *)"x";
    custom.registry_item_id = (char *)"org:script";
    return custom;
}

// Both the check and the build refuse, and say the same.
static void refused(const Managed *managed, const Custom *custom, const Options *options, const char *message)
{
    struct ty_err err;
    struct ty_spec spec;
    struct ty_id id = {{0}};
    assert_int_equal(ty_spec_check(managed, custom, options, &err), -TY_EINVALID);
    assert_string_equal(err.message, message);
    assert_int_equal(ty_spec_build(catalog, &id, 0, managed, custom, options, &spec, &err), -TY_EINVALID);
    assert_string_equal(err.message, message);
}

static void same_rules(void **state)
{
    (void)state;
    Managed managed = a_managed();
    Custom custom = a_custom();
    Options options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    managed.n_tags = 0;
    refused(&managed, NULL, NULL, "tags is empty; name at least one label to learn");
    managed = a_managed();
    managed.model_name = (char *)"a/b";
    refused(&managed, NULL, NULL, "model_name has a slash or backslash");
    custom.registry_item_id = (char *)"script";
    refused(NULL, &custom, NULL, "registry_item_id is not of the form prefix:name");
    custom = a_custom();
    options.priority = 8;
    refused(NULL, &custom, &options, "options.priority is 8; 0 to 7 are allowed");
}

static void what_only_the_service_knows(void **state)
{
    (void)state;
    struct ty_err err;
    struct ty_spec spec;
    struct ty_id id = {{0}};
    Managed managed = a_managed();
    Custom custom = a_custom();
    managed.model_framework = VIAM__APP__MLTRAINING__V1__MODEL_FRAMEWORK__MODEL_FRAMEWORK_PYTORCH;
    custom.container_version = (char *)"no:such";
    assert_int_equal(ty_spec_check(&managed, NULL, NULL, &err), 0);
    assert_int_equal(ty_spec_check(NULL, &custom, NULL, &err), 0);
    assert_int_equal(ty_spec_build(catalog, &id, 0, &managed, NULL, NULL, &spec, &err), -TY_EINVALID);
    assert_int_equal(ty_spec_build(catalog, &id, 0, NULL, &custom, NULL, &spec, &err), -TY_EINVALID);
}

static int load(void **state)
{
    (void)state;
    struct ty_err err;
    return ty_catalog_load(NULL, &catalog, &err);
}

static int unload(void **state)
{
    (void)state;
    ty_catalog_free(catalog);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_rules),
        cmocka_unit_test(what_only_the_service_knows),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
