// CancelTrainingJob and DeleteCompletedTrainingJob: the stored state decides whether they are allowed; then publish,
// apply, answer.
#include "responder/access.h"
#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

struct control {
    enum ty_command_kind kind;
    bool published;
    struct ty_id id;
    char id_text[TY_ID_TEXT_BYTES];
};

_Static_assert(sizeof(struct control) <= TY_RPC_SCRATCH_BYTES, "control fits a call");

static void on_applied(void *context, const struct ty_err *err, bool gap, int64_t stored, const int *results, size_t count)
{
    struct ty_rpc *rpc = context;
    // Kafka has the command: an intake applies what the store could not take now.
    (void)err;
    (void)gap;
    (void)stored;
    (void)results;
    (void)count;
    ty_rpc_reply(rpc, NULL, 0);
    ty_rpc_release(rpc);
}

static void on_published(struct ty_rpc *rpc, bool unknown, const struct ty_err *err)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct control *control = ty_rpc_scratch(rpc);
    (void)unknown; // repeating a cancel or a delete does no harm
    if (err) {
        ty_rpc_fail(rpc, err);
        return;
    }
    struct ty_apply command = {.kind = (int)control->kind, .job_id = control->id};
    control->published = true;
    ty_rpc_hold(rpc);
    ty_state_apply(service->state, &command, 1, NULL, on_applied, rpc);
}

static void publish(struct ty_rpc *rpc)
{
    struct control *control = ty_rpc_scratch(rpc);
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel =
        VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__DeleteCompletedTrainingJobRequest delete_ =
        VIAM__APP__MLTRAINING__V1__DELETE_COMPLETED_TRAINING_JOB_REQUEST__INIT;
    cancel.id = delete_.id = control->id_text;
    ty_service_publish(rpc, control->kind, &control->id, NULL,
                       control->kind == TY_COMMAND_CANCEL ? &cancel.base : &delete_.base, on_published);
}

static void refuse(struct ty_rpc *rpc, const struct ty_record *record, const char *why)
{
    struct ty_err err;
    ty_err_set(&err, TY_EPRECONDITION, "the job is %s; %s", ty_state_name(record->state), why);
    ty_rpc_fail(rpc, &err);
}

static void on_job(void *context, const struct ty_err *err, const struct ty_record *record)
{
    struct ty_rpc *rpc = context;
    struct control *control = ty_rpc_scratch(rpc);
    bool is_cancel = control->kind == TY_COMMAND_CANCEL;
    if (err)
        ty_service_store_failed(rpc, err);
    else if (ty_rpc_is_answered(rpc))
        ; // too late
    else if (!record || !ty_access_may_see_job(rpc, record))
        ty_service_no_such_job(rpc);
    else if (is_cancel && ty_record_is_terminal(record))
        refuse(rpc, record, "only a job that has not ended can be canceled");
    else if (!is_cancel && !ty_record_is_terminal(record))
        refuse(rpc, record, "only a job that has ended can be deleted");
    else if (is_cancel && record->state == TY_JOB_CANCELING)
        ty_rpc_reply(rpc, NULL, 0);
    else
        publish(rpc);
    ty_rpc_release(rpc);
}

static void start(struct ty_rpc *rpc, enum ty_command_kind kind, const char *id)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct control *control = ty_rpc_scratch(rpc);
    if (!ty_service_job_id(rpc, id, &control->id) || !ty_service_needs_store(rpc))
        return;
    control->kind = kind;
    ty_id_format(&control->id, control->id_text);
    ty_rpc_hold(rpc);
    ty_state_get(service->state, &control->id, on_job, rpc);
}

void ty_control_on_cancel(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    start(rpc, TY_COMMAND_CANCEL, ((const Viam__App__Mltraining__V1__CancelTrainingJobRequest *)message)->id);
}

void ty_control_on_delete(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    start(rpc, TY_COMMAND_DELETE, ((const Viam__App__Mltraining__V1__DeleteCompletedTrainingJobRequest *)message)->id);
}

void ty_control_on_timeout(struct ty_rpc *rpc)
{
    const struct control *control = ty_rpc_scratch(rpc);
    if (control->published)
        ty_rpc_reply(rpc, NULL, 0);
}
