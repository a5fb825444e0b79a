// The job that all figures are about: a custom job of the container under test, its request of spec_bytes bytes.
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "core/record.h"
#include "tests/bench/bench.h"

typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Request;

#define REQUEST_INIT VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT
#define ENTRY_INIT VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__ARGUMENTS_ENTRY__INIT

struct job {
    Request request;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry entry;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry *entries[1];
    char version[24], padding[TY_LIMIT_ARGUMENT_VALUE_BYTES];
};

struct ty_id bench_job_id(const struct bench_options *options, int64_t index)
{
    char key[32];
    snprintf(key, sizeof key, "%lld", (long long)index);
    return ty_id_from_key(options->organization, key);
}

static void init(struct job *job, const struct bench_options *options, int64_t index)
{
    job->request = (Request)REQUEST_INIT;
    job->entry = (typeof(job->entry))ENTRY_INIT;
    job->entries[0] = &job->entry;
    snprintf(job->version, sizeof job->version, "v%lld", (long long)index);
    job->padding[0] = 0;
    job->request.dataset_id = (char *)"66c3a1f0d2b94e5f8a7b6c5d";
    job->request.registry_item_id = (char *)"trainyard:digits";
    job->request.registry_item_version = (char *)"1";
    job->request.organization_id = options->organization;
    job->request.model_name = (char *)"digits";
    job->request.model_version = job->version;
    job->request.container_version = options->container;
    job->request.n_arguments = 1;
    job->request.arguments = job->entries;
    job->entry.key = (char *)"labels";
    job->entry.value = job->padding;
    size_t len = protobuf_c_message_get_packed_size(&job->request.base), size = (size_t)options->spec_bytes;
    if (size > len && size - len < sizeof job->padding) {
        memset(job->padding, 'x', size - len);
        job->padding[size - len] = 0;
    }
}

void bench_job_command(const struct bench_options *options, int64_t index, struct ty_buf *out)
{
    struct job job;
    uint8_t command_id[16] = {0};
    init(&job, options, index);
    struct ty_id id = bench_job_id(options, index);
    memcpy(command_id, &index, sizeof index);
    ty_command_encode(TY_COMMAND_SUBMIT_CUSTOM, &id, command_id, ty_clock_wall_us(), "trainyard-bench", NULL,
                      &job.request.base, out);
}

int bench_job_record(const struct bench_options *options, const struct ty_catalog *catalog, int64_t index,
                     struct ty_buf *out, struct ty_err *err)
{
    struct job job;
    struct ty_spec spec;
    init(&job, options, index);
    struct ty_id id = bench_job_id(options, index);
    uint64_t now = ty_clock_wall_us();
    if (ty_spec_build(catalog, &id, now, NULL, &job.request, NULL, &spec, err) < 0)
        return -(int)err->code;
    ty_record_encode_new(&spec, now, true, TY_REASON_NONE, NULL, out);
    ty_spec_done(&spec);
    return 0;
}
