#include "responder/service.h"

#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "responder/log_feed.h"
#include "responder/request_options.h"
#include "responder/service_internal.h"
#include "proto/rpc/v1/auth.pb-c.h"
#include "trainyard/v1/job_service.pb-c.h"
#include "trainyard/v1/log_service.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"
#include "viam/app/v1/app.pb-c.h"

#define TRAINING(method) "/" TY_SERVICE_NAME "/" method
#define JOBS(method) "/" TY_JOB_SERVICE_NAME "/" method
#define TRAINING_TYPES(name) \
    .request = &viam__app__mltraining__v1__##name##_request__descriptor, \
    .response = &viam__app__mltraining__v1__##name##_response__descriptor
#define HEALTH_TYPES \
    .request = &grpc__health__v1__health_check_request__descriptor, \
    .response = &grpc__health__v1__health_check_response__descriptor
// Both versions of the reflection service have the same messages.
#define REFLECTION_TYPES \
    .request = &grpc__reflection__v1__server_reflection_request__descriptor, \
    .response = &grpc__reflection__v1__server_reflection_response__descriptor

const struct ty_rpc_method ty_service_methods[] = {
    {.path = TRAINING("GetTrainingJob"), .access = TY_NEEDS_READ, TRAINING_TYPES(get_training_job), .on_request = ty_get_on_request},
    {.path = TRAINING("ListTrainingJobs"), .access = TY_NEEDS_READ, TRAINING_TYPES(list_training_jobs), .tells_closed = true, .is_heavy = true,
     .on_request = ty_list_on_request, .on_done = ty_list_on_done},
    {.path = TRAINING("GetTrainingJobLogs"), .access = TY_NEEDS_READ, TRAINING_TYPES(get_training_job_logs),
     .on_request = ty_logs_on_request, .on_done = ty_logs_on_done},
    {.path = "/" TY_LOG_SERVICE_NAME "/Follow", .access = TY_NEEDS_READ, .request = &trainyard__v1__follow_request__descriptor,
     .response = &trainyard__v1__follow_reply__descriptor, .is_stream = true, .takes_one = true,
     .on_request = ty_follow_on_request, .on_sent = ty_follow_on_sent, .on_done = ty_follow_on_done},
    {.path = JOBS("ListJobs"), .access = TY_NEEDS_READ, .request = &trainyard__v1__list_jobs_request__descriptor,
     .response = &trainyard__v1__list_jobs_reply__descriptor, .tells_closed = true, .is_heavy = true, .on_request = ty_job_list_on_request,
     .on_done = ty_job_list_on_done},
    {.path = JOBS("GetJob"), .access = TY_NEEDS_READ, .request = &trainyard__v1__get_job_request__descriptor,
     .response = &trainyard__v1__get_job_reply__descriptor, .on_request = ty_job_get_on_request, .on_done = ty_job_get_on_done},
    {.path = TRAINING("ListSupportedContainers"), .access = TY_NEEDS_READ, TRAINING_TYPES(list_supported_containers),
     .on_request = ty_containers_on_request},
    {.path = TRAINING("SubmitTrainingJob"), .access = TY_NEEDS_SUBMIT, TRAINING_TYPES(submit_training_job),
     .on_request = ty_submit_on_managed, .on_timeout = ty_submit_on_timeout, .on_done = ty_submit_on_done},
    {.path = TRAINING("SubmitCustomTrainingJob"), .access = TY_NEEDS_SUBMIT, TRAINING_TYPES(submit_custom_training_job),
     .on_request = ty_submit_on_custom, .on_timeout = ty_submit_on_timeout, .on_done = ty_submit_on_done},
    {.path = TRAINING("CancelTrainingJob"), .access = TY_NEEDS_SUBMIT, TRAINING_TYPES(cancel_training_job),
     .on_request = ty_control_on_cancel, .on_timeout = ty_control_on_timeout},
    {.path = TRAINING("DeleteCompletedTrainingJob"), .access = TY_NEEDS_OWNER, TRAINING_TYPES(delete_completed_training_job),
     .on_request = ty_control_on_delete, .on_timeout = ty_control_on_timeout},
    {.path = "/proto.rpc.v1.AuthService/Authenticate", .access = TY_NEEDS_NOTHING,
     .request = &proto__rpc__v1__authenticate_request__descriptor, .response = &proto__rpc__v1__authenticate_response__descriptor,
     .on_request = ty_authenticate_on_request},
    {.path = "/viam.app.v1.AppService/ListOrganizations", .access = TY_NEEDS_READ,
     .request = &viam__app__v1__list_organizations_request__descriptor,
     .response = &viam__app__v1__list_organizations_response__descriptor, .on_request = ty_organizations_on_request},
    {.path = "/grpc.health.v1.Health/Check", .access = TY_NEEDS_NOTHING, HEALTH_TYPES, .on_request = ty_health_on_check},
    {.path = "/grpc.health.v1.Health/Watch", .access = TY_NEEDS_NOTHING, HEALTH_TYPES, .is_stream = true, .on_request = ty_health_on_watch,
     .on_sent = ty_health_on_sent, .on_done = ty_health_on_watch_done},
    {.path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", .access = TY_NEEDS_NOTHING, REFLECTION_TYPES, .is_stream = true,
     .on_request = ty_reflection_on_request},
    {.path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", .access = TY_NEEDS_NOTHING, REFLECTION_TYPES, .is_stream = true,
     .on_request = ty_reflection_on_request},
};
const size_t ty_service_method_count = sizeof ty_service_methods / sizeof *ty_service_methods;

int ty_service_init(struct ty_service *service, struct ty_err *err)
{
    ty_err_set(&service->store_err, TY_EUNAVAILABLE, "no connection so far");
    ty_containers_build(service->catalog, &service->containers);
    service->reflection = ty_reflection_new(ty_proto_descriptors, ty_proto_descriptors_len, err);
    return service->reflection ? 0 : -(int)err->code;
}

void ty_service_done(struct ty_service *service)
{
    ty_reflection_free(service->reflection);
    ty_log_feeds_free(service->feeds);
    ty_buf_done(&service->containers);
    ty_buf_done(&service->scratch);
}

void ty_service_on_store(void *context, bool up, const struct ty_err *err)
{
    struct ty_service *service = context;
    if (up)
        ty_log(TY_LOG_INFO, "store.up");
    else if (strcmp(service->store_err.message, err->message) != 0)
        ty_log(TY_LOG_WARN, "store.down", TY_KV("error", "%s", err->message));
    if (service->memory)
        ty_store_memory_on_store(service->memory, up);
    service->store_err = up ? (struct ty_err){.code = TY_OK} : *err;
    ty_health_tell(service);
}

void ty_service_stop(struct ty_service *service)
{
    service->stopping = true;
    ty_health_tell(service);
}

bool ty_service_is_ready(void *context, struct ty_err *err)
{
    const struct ty_service *service = context;
    if (service->stopping)
        ty_err_set(err, TY_EUNAVAILABLE, "the server is stopping");
    else if (!ty_state_is_up(service->state))
        ty_err_set(err, TY_EUNAVAILABLE, "the job store is away: %s", service->store_err.message);
    else
        return true;
    return false;
}

// ---- for the handlers ----

bool ty_service_needs_store(struct ty_rpc *rpc)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_err err;
    if (ty_state_is_up(service->state))
        return true;
    ty_err_set(&err, TY_EUNAVAILABLE, "the job store is away: %s", service->store_err.message);
    ty_rpc_fail(rpc, &err);
    return false;
}

void ty_service_store_failed(struct ty_rpc *rpc, const struct ty_err *err)
{
    struct ty_err ours = *err;
    ty_err_prefix(&ours, "the job store");
    if (ours.code == TY_EDEADLINE)
        ours.code = TY_EUNAVAILABLE;
    if (ours.code == TY_EINTERNAL || ours.code == TY_EDATALOSS || ours.code == TY_EPRECONDITION) {
        ty_log(TY_LOG_ERROR, "store.failed", TY_KV("error", "%s", err->message));
        if (ours.code == TY_EPRECONDITION) // of the store, not of what the client asks for
            ours.code = TY_EINTERNAL;
    }
    ty_rpc_fail(rpc, &ours);
}

bool ty_service_job_id(struct ty_rpc *rpc, const char *text, struct ty_id *ret_id)
{
    struct ty_err err;
    size_t len = strlen(text);
    if (len && len <= TY_LIMIT_ID_BYTES && ty_id_parse(text, ret_id, &err) == 0)
        return true;
    if (!len)
        ty_err_set(&err, TY_EINVALID, "id is empty");
    else if (len > TY_LIMIT_ID_BYTES)
        ty_err_set(&err, TY_EINVALID, "id has %zu bytes; at most %d are allowed", len, TY_LIMIT_ID_BYTES);
    else
        ty_err_set(&err, TY_ENOTFOUND, "there is no job of this id");
    ty_rpc_fail(rpc, &err);
    return false;
}

void ty_service_no_such_job(struct ty_rpc *rpc)
{
    struct ty_err err;
    ty_err_set(&err, TY_ENOTFOUND, "there is no job of this id");
    ty_rpc_fail(rpc, &err);
}

bool ty_service_metadata(const struct ty_rpc *rpc, const char *name, char *out, size_t size)
{
    const char *key, *value;
    size_t key_len, len;
    for (size_t i = 0; ty_rpc_metadata(rpc, i, &key, &key_len, &value, &len); i++) {
        if (key_len != strlen(name) || memcmp(key, name, key_len) != 0)
            continue;
        if (len > size - 1)
            len = size - 1;
        memcpy(out, value, len);
        out[len] = 0;
        return true;
    }
    return false;
}

// ---- publishing ----

// A delivery report on its way from the publisher's thread to the loop.
struct report {
    struct ty_loop *loop;
    struct ty_rpc *rpc;
    ty_service_published_fn fn;
    bool unknown, failed;
    struct ty_err err;
};

static void on_report(void *context)
{
    struct report *report = context;
    report->fn(report->rpc, report->unknown, report->failed ? &report->err : NULL);
    ty_rpc_release(report->rpc);
    free(report);
}

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct report *report = context;
    (void)partition;
    (void)offset;
    report->unknown = unknown;
    report->failed = err != NULL;
    if (err)
        report->err = *err;
    ty_loop_post(report->loop, on_report, report);
}

void ty_service_publish(struct ty_rpc *rpc, enum ty_command_kind kind, const struct ty_id *id,
                        const Trainyard__V1__JobOptions *options, const ProtobufCMessage *request,
                        ty_service_published_fn fn)
{
    static const char *const topics[] = {"submit", "submit", "cancel", "delete"};
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_err err;
    struct ty_id command_id = ty_id_new();
    char traceparent[TY_TRACEPARENT_BYTES];
    TY_BUF(value);
    ty_command_encode(kind, id, command_id.bytes, ty_clock_wall_us(), "trainyard-responder", options, request, &value);
    struct report *report = ty_xcalloc(1, sizeof *report);
    *report = (struct report){.loop = service->loop, .rpc = rpc, .fn = fn};
    ty_rpc_hold(rpc);
    if (ty_publisher_send(service->publisher, topics[kind], id, value.data, value.len,
                          ty_request_traceparent(rpc, traceparent), on_published, report, &err) == 0)
        return;
    free(report);
    ty_rpc_fail(rpc, &err);
    ty_rpc_release(rpc);
}
