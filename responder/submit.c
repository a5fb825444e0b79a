// SubmitTrainingJob and SubmitCustomTrainingJob: check, publish, apply, answer. What Kafka has acknowledged is a job, so
// from there on the answer is its id, whatever happens to the store.
#include <string.h>

#include "core/clock.h"
#include "responder/access.h"
#include "responder/request_options.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define FIELD_ID 1

typedef Viam__App__Mltraining__V1__SubmitTrainingJobRequest Managed;
typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Custom;

enum phase { CHECKING, PUBLISHING, APPLYING };

struct submit {
    enum phase phase;
    enum ty_command_kind kind;
    struct ty_id id;
    struct ty_spec spec;
    struct ty_request_options options;
    struct ty_buf record;
    ProtobufCMessage *request; // a copy, owned, while an earlier job of the same key is looked for
};

_Static_assert(sizeof(struct submit) <= TY_RPC_SCRATCH_BYTES, "submit fits a call");

static void reply(struct ty_rpc *rpc)
{
    const struct submit *submit = ty_rpc_scratch(rpc);
    char id[TY_ID_TEXT_BYTES];
    TY_BUF(answer);
    ty_buf_add_tag_bytes(&answer, FIELD_ID, ty_id_format(&submit->id, id), TY_ID_TEXT_BYTES - 1);
    ty_rpc_reply(rpc, answer.data, answer.len);
}

static void refuse_other_body(struct ty_rpc *rpc)
{
    struct ty_err err;
    ty_err_set(&err, TY_EEXISTS, "another job was submitted with this idempotency-key");
    ty_rpc_fail(rpc, &err);
}

// Nobody can say whether the job is there: the client gets its id to look for it, or to submit again under the same key.
static void fail_unknown(struct ty_rpc *rpc, const struct ty_err *err)
{
    const struct submit *submit = ty_rpc_scratch(rpc);
    char id[TY_ID_TEXT_BYTES];
    struct ty_err ours = *err;
    ours.code = TY_EUNAVAILABLE;
    ty_rpc_add_trailing(rpc, "trainyard-job-id", ty_id_format(&submit->id, id));
    ty_rpc_fail(rpc, &ours);
}

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct ty_rpc *rpc = context;
    (void)gap;
    (void)stored;
    if (!err && count == 1 && results[0] == TY_APPLY_CONFLICT)
        refuse_other_body(rpc);
    else
        reply(rpc);
    ty_rpc_release(rpc);
}

static void on_published(struct ty_rpc *rpc, bool unknown, const struct ty_err *err)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct submit *submit = ty_rpc_scratch(rpc);
    if (err && unknown) {
        fail_unknown(rpc, err);
    } else if (err) {
        ty_rpc_fail(rpc, err);
    } else {
        // Also when the call has been given up meanwhile: the job exists.
        struct ty_apply command = {
            .kind = (int)submit->kind,
            .job_id = submit->id,
            .record = submit->record.data,
            .record_len = submit->record.len,
            .organization_id = submit->spec.organization_id,
        };
        submit->phase = APPLYING;
        ty_rpc_hold(rpc);
        ty_state_apply(service->state, &command, 1, NULL, on_applied, rpc);
    }
}

static void publish(struct ty_rpc *rpc, const ProtobufCMessage *request)
{
    struct submit *submit = ty_rpc_scratch(rpc);
    submit->phase = PUBLISHING;
    ty_service_publish(rpc, submit->kind, &submit->id, submit->options.is_set ? &submit->options.message : NULL, request,
                       on_published);
}

static void on_earlier(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    struct submit *submit = ty_rpc_scratch(rpc);
    if (err)
        ty_service_store_failed(rpc, err);
    else if (ty_rpc_is_answered(rpc))
        ; // too late: nothing was published, and nothing will be
    else if (!record)
        publish(rpc, submit->request);
    else if (memcmp(record->digest, submit->spec.digest, sizeof record->digest) != 0)
        refuse_other_body(rpc);
    else
        reply(rpc);
    ty_rpc_release(rpc);
}

static int prepare(struct ty_rpc *rpc, const Managed *managed, const Custom *custom, struct ty_err *err)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct submit *submit = ty_rpc_scratch(rpc);
    uint64_t now_us = ty_clock_wall_us();
    if (ty_request_options_read(rpc, &submit->options, err) < 0)
        return -(int)err->code;
    const char *key = submit->options.idempotency_key;
    submit->id = key ? ty_id_from_key(managed ? managed->organization_id : custom->organization_id, key) : ty_id_new();
    if (ty_spec_build(service->catalog, &submit->id, now_us, managed, custom,
                      submit->options.is_set ? &submit->options.message : NULL, &submit->spec, err) < 0)
        return -(int)err->code;
    ty_record_encode_new(&submit->spec, now_us, custom != NULL, TY_REASON_NONE, NULL, &submit->record);
    return 0;
}

static ProtobufCMessage *copy_message(const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    TY_BUF(bytes);
    protobuf_c_message_pack(message, ty_buf_reserve(&bytes, len));
    return protobuf_c_message_unpack(message->descriptor, NULL, len, bytes.data);
}

static void start(struct ty_rpc *rpc, const Managed *managed, const Custom *custom)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct submit *submit = ty_rpc_scratch(rpc);
    const ProtobufCMessage *request = managed ? &managed->base : &custom->base;
    struct ty_err err;
    submit->kind = managed ? TY_COMMAND_SUBMIT : TY_COMMAND_SUBMIT_CUSTOM;
    if (prepare(rpc, managed, custom, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!ty_access_needs_organization(rpc, submit->spec.organization_id) || !ty_service_needs_store(rpc))
        return;
    if (ty_store_memory_admit(service->memory, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (!submit->options.idempotency_key) {
        publish(rpc, request);
        return;
    }
    submit->request = copy_message(request);
    ty_rpc_hold(rpc);
    ty_state_get(service->state, &submit->id, on_earlier, rpc);
}

void ty_submit_on_managed(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    start(rpc, (const Managed *)message, NULL);
}

void ty_submit_on_custom(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    start(rpc, NULL, (const Custom *)message);
}

void ty_submit_on_timeout(struct ty_rpc *rpc)
{
    const struct submit *submit = ty_rpc_scratch(rpc);
    struct ty_err err;
    if (submit->phase == APPLYING) {
        reply(rpc);
    } else if (submit->phase == PUBLISHING) {
        ty_err_set(&err, TY_EUNAVAILABLE, "Kafka has not acknowledged the job in time; whether it was written is not known");
        fail_unknown(rpc, &err);
    }
}

void ty_submit_on_done(struct ty_rpc *rpc)
{
    struct submit *submit = ty_rpc_scratch(rpc);
    if (submit->request)
        protobuf_c_message_free_unpacked(submit->request, NULL);
    ty_request_options_done(&submit->options);
    ty_spec_done(&submit->spec);
    ty_buf_done(&submit->record);
}
