// From bytes on any road (Kafka record, RPC) to a checked command, and from there to what the store keeps. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"
#include "core/catalog.h"
#include "core/err.h"
#include "core/id.h"
#include "trainyard/v1/command.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define TY_COMMAND_FORMAT 1

enum ty_command_kind { TY_COMMAND_SUBMIT, TY_COMMAND_SUBMIT_CUSTOM, TY_COMMAND_CANCEL, TY_COMMAND_DELETE };

// What a submit becomes: everything the store keeps of it, ready to copy.
struct ty_spec {
    char *organization_id;    // owned
    struct ty_buf metadata;   // a serialized partial TrainingJobMetadata: all immutable fields, created_on among them, no status
    struct ty_buf options;    // serialized JobOptions, defaults left out
    uint8_t digest[16];       // SHA-256, first 16 bytes, of the canonical request and options (map entries sorted by key)
    char *container;          // resolved key, owned
    enum ty_runner runner;
    uint8_t priority;
    uint32_t max_attempts;    // 0: the site's default
};

struct ty_command {
    enum ty_command_kind kind;
    struct ty_id job_id;
    uint8_t command_id[16];
    Trainyard__V1__JobCommand *message; // owned
};

// The road in for a Kafka record. topic_kind says what the topic carries; a command of another kind is TY_EINVALID, and
// so are: an empty value, a failed wire check, another format_version, a job id that is no UUID or not the key, a missing
// command, request ids that differ from job_id (cancel, delete: request id may be empty). In every error
// *ret_has_id says whether ret_command->job_id could be read all the same (message is NULL then).
enum ty_topic_kind { TY_TOPIC_SUBMIT, TY_TOPIC_CANCEL, TY_TOPIC_DELETE };
int ty_command_decode(enum ty_topic_kind topic_kind, const uint8_t *key, size_t key_len, const uint8_t *value,
                      size_t value_len, struct ty_command *ret_command, bool *ret_has_id,
                      struct ty_err *err) TY_MUST_USE;
void ty_command_done(struct ty_command *command);

// Publisher's side: packs an envelope into out. request is the Viam message of that kind; options may be NULL.
void ty_command_encode(enum ty_command_kind kind, const struct ty_id *job_id, const uint8_t command_id[16],
                       uint64_t issued_at_us, const char *issuer, const Trainyard__V1__JobOptions *options,
                       const ProtobufCMessage *request, struct ty_buf *out);

// Checks a submit of either kind against contract.md §7 and limits.h (messages name the field: "model_name is empty") and
// builds its spec. Errors: TY_EINVALID. created_us is the record's or, before there is a record, the wall time.
// Custom: container_version empty becomes the default container's key in the metadata. Managed: the catalogue's trainer
// decides; framework 0 becomes the default trainer's framework; is_custom_job false.
int ty_spec_build(const struct ty_catalog *catalog, const struct ty_id *job_id, uint64_t created_us,
                  const Viam__App__Mltraining__V1__SubmitTrainingJobRequest *managed,
                  const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom,
                  const Trainyard__V1__JobOptions *options, struct ty_spec *ret_spec,
                  struct ty_err *err) TY_MUST_USE;
// The spec of a submit that was refused but has an id: whatever fields fit their limits, so that the FAILED job can be
// listed and says why.
void ty_spec_build_refused(const struct ty_id *job_id, uint64_t created_us,
                           const Viam__App__Mltraining__V1__SubmitTrainingJobRequest *managed,
                           const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom,
                           struct ty_spec *ret_spec);
void ty_spec_done(struct ty_spec *spec);

// One check for names that become path parts (dataset_id, organization_id, model name, version, script name): no "/", no
// leading ".", no control bytes, within max bytes, not empty. field names it in the error.
int ty_name_check(const char *field, const char *text, size_t max_bytes, struct ty_err *err) TY_MUST_USE;
