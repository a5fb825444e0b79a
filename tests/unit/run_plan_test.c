// worker/run/plan: what a job's record becomes for the supervisor.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/catalog.h"
#include "core/command.h"
#include "worker/exec/protocol.h"
#include "worker/run/plan.h"

typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry Argument;
typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;

static struct ty_catalog *catalog;
static const struct ty_id id = {{1, 2, 3}};
static const struct ty_token token = {{0xab, 0xcd}};

static int setup(void **state)
{
    struct ty_err err;
    (void)state;
    return ty_catalog_load(NULL, &catalog, &err);
}

static int teardown(void **state)
{
    (void)state;
    ty_catalog_free(catalog);
    return 0;
}

static struct ty_plan_options options(void)
{
    return (struct ty_plan_options){
        .dir = "/var/w/jobs/j-2", .store_dir = "/store", .stage_path = "/bin/stage", .boot_id = "boot", .id = "j",
        .attempt = 2, .fence = 77, .token = &token, .grace_ms = 5000, .max_runtime_ms = 9000, .lost_lease_limit_ms = 60000, .spool_limit_bytes = 1000,
        .install_timeout_ms = 1, .prepare_timeout_ms = 2, .collect_timeout_ms = 3};
}

// The plan as text, its entries ended by "\n".
static char *plan_of(const Managed *managed, const Custom *custom, const Trainyard__V1__JobOptions *asked, uint8_t flags,
                     int *ret_rc)
{
    struct ty_spec spec;
    struct ty_err err;
    struct ty_record record;
    struct ty_job job;
    struct ty_plan_options how = options();
    TY_BUF(bytes);
    TY_BUF(plan);
    assert_int_equal(ty_spec_build(catalog, &id, 1, managed, custom, asked, &spec, &err), 0);
    ty_record_encode_new(&spec, 1, custom != NULL, TY_REASON_NONE, NULL, &bytes);
    ty_spec_done(&spec);
    assert_int_equal(ty_record_decode(bytes.data, bytes.len, &record, &err), 0);
    record.flags |= flags;
    assert_int_equal(ty_job_read(&record, catalog, &job, &err), 0);
    int rc = ty_plan_build(&job, &how, &plan, &err);
    ty_job_done(&job);
    if (ret_rc)
        *ret_rc = rc;
    for (size_t i = 0; i < plan.len; i++)
        if (!plan.data[i])
            plan.data[i] = '\n';
    return ty_xstrdup(ty_buf_text(&plan));
}

static void assert_has(const char *plan, const char *text)
{
    if (!strstr(plan, text))
        fail_msg("\"%s\" is missing in:\n%s", text, plan);
}

static void custom_job(void **state)
{
    (void)state;
    Custom request = VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Argument entries[3], *pointers[3];
    static const char *const pairs[][2] = {{"num_epochs", "3"}, {"Alpha", "it's \"b\" $c"}, {"labels", "'x y'"}};
    for (size_t i = 0; i < 3; i++) {
        viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__init(&entries[i]);
        entries[i].key = (char *)pairs[i][0];
        entries[i].value = (char *)pairs[i][1];
        pointers[i] = &entries[i];
    }
    request.organization_id = (char *)"acme";
    request.dataset_id = (char *)"digits";
    request.model_name = (char *)"m";
    request.model_version = (char *)"v 1";
    request.registry_item_id = (char *)"acme:trainer";
    request.arguments = pointers;
    request.n_arguments = 3;
    char *plan TY_FREE = plan_of(NULL, &request, NULL, 0, NULL);
    assert_ptr_equal(strstr(plan, "format=1\njob=j\nattempt=2\nfence=77\ntoken=abcd000000"), plan);
    assert_has(plan, "\nboot_id=boot\ngrace_ms=5000\nmax_runtime_ms=9000\non_lost_lease=continue\nlost_lease_limit_ms=60000\nspool_limit_bytes=1000\n");
    assert_has(plan, "\nenv=PYTHONPATH=/var/w/jobs/j-2/site\nenv=PYTHONUNBUFFERED=1\n");
    assert_has(plan, "\nenv=TRAINYARD_FENCE=77\n");
    assert_has(plan, "\nstep=prepare\ntimeout_ms=2\narg=/bin/stage\narg=prepare\narg=--store\narg=/store\narg=--job-dir\n"
                     "arg=/var/w/jobs/j-2\narg=--organization\narg=acme\narg=--model\narg=m\narg=--model-version\narg=v 1\n"
                     "arg=--dataset\narg=digits\narg=--script\narg=acme:trainer\nstep=install\n");
    assert_has(plan, "\narg=-m\narg=pip\narg=install\narg=--no-cache-dir\narg=--no-index\narg=--no-build-isolation\n"
                     "arg=--no-deps\narg=--target\narg=/var/w/jobs/j-2/site\narg=/var/w/jobs/j-2/script\n");
    assert_has(plan, "\nstep=train\ntimeout_ms=0\ncwd=/store/datasets/digits\narg=/usr/bin/python3\narg=-m\narg=model.training\n"
                     "arg=--dataset_file=/store/datasets/digits/dataset.jsonl\n"
                     "arg=--model_output_directory=/var/w/jobs/j-2/output\n"
                     "arg=--Alpha=it's \"b\" $c\narg=--labels='x y'\narg=--num_epochs=3\nstep=collect\n");
    assert_has(plan, "\narg=--job\narg=j\narg=--fence\narg=77\n");
}

static void asked_options(void **state)
{
    (void)state;
    Custom request = VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Trainyard__V1__JobOptions asked = TRAINYARD__V1__JOB_OPTIONS__INIT;
    request.organization_id = request.dataset_id = request.model_name = request.model_version = (char *)"x";
    request.registry_item_id = (char *)"acme:trainer";
    request.registry_item_version = (char *)"7";
    asked.max_runtime_s = 4;
    asked.on_lost_lease = TRAINYARD__V1__ON_LOST_LEASE__ON_LOST_LEASE_STOP;
    char *plan TY_FREE = plan_of(NULL, &request, &asked, 0, NULL);
    assert_has(plan, "\nmax_runtime_ms=4000\non_lost_lease=stop\n");
    assert_has(plan, "\narg=--script-version\narg=7\nstep=install\n");
}

static void managed_job(void **state)
{
    (void)state;
    Managed request = VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    char *tags[] = {(char *)"zero", (char *)"my tag", (char *)"it's"};
    request.organization_id = request.dataset_id = request.model_name = request.model_version = (char *)"x";
    request.model_type = VIAM__APP__MLTRAINING__V1__MODEL_TYPE__MODEL_TYPE_SINGLE_LABEL_CLASSIFICATION;
    request.tags = tags;
    request.n_tags = 3;
    char *plan TY_FREE = plan_of(&request, NULL, NULL, 0, NULL);
    assert_has(plan, "\narg=--script\narg=trainyard:image-classification-onnx\nstep=install\n");
    assert_has(plan, "\narg=--labels=zero 'my tag' 'it'\"'\"'s'\narg=--model_type=single_label\nstep=collect\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(custom_job),
        cmocka_unit_test(asked_options),
        cmocka_unit_test(managed_job),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
