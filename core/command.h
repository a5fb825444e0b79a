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
    struct ty_buf options;    // serialized JobOptions, defaults and unknown fields left out, labels sorted by key
    uint8_t digest[16];       // SHA-256, first 16 bytes, of the canonical command; see ty_spec_build
    char *container;          // resolved key, owned
    enum ty_runner runner;
    uint8_t priority;
    uint32_t max_attempts;    // 0: the site's default
    uint32_t max_wait_s;      // 0: it waits for a worker as long as it takes
};

struct ty_command {
    enum ty_command_kind kind;
    struct ty_id job_id;
    uint8_t command_id[16];
    Trainyard__V1__JobCommand *message; // owned
};

// The road in for a Kafka record. topic_kind says what the topic carries; a command of another kind is TY_EINVALID, and
// so are: an empty value, a failed wire check, another format_version, a job id that is no UUID or not the key, a command
// id of other than 16 bytes (none at all counts as 16 zeros), a missing command, request ids that differ from job_id
// (cancel, delete: request id may be empty). In every error *ret_has_id says whether ret_command->job_id could be read all
// the same, from the key or else from the message (message is NULL then); it is false for a command of another kind,
// which says nothing about a job that this topic could have started, and for a higher format_version than ours, which a
// newer program may still be given.
enum ty_topic_kind { TY_TOPIC_SUBMIT, TY_TOPIC_CANCEL, TY_TOPIC_DELETE, TY_TOPIC_SETTINGS }; // settings: see core/rule.h
int ty_command_decode(enum ty_topic_kind topic_kind, const uint8_t *key, size_t key_len, const uint8_t *value,
                      size_t value_len, struct ty_command *ret_command, bool *ret_has_id,
                      struct ty_err *err) TY_MUST_USE;
void ty_command_done(struct ty_command *command);

// Publisher's side: packs an envelope into out. request is the Viam message of that kind; options may be NULL.
void ty_command_encode(enum ty_command_kind kind, const struct ty_id *job_id, const uint8_t command_id[16],
                       uint64_t issued_at_us, const char *issuer, const Trainyard__V1__JobOptions *options,
                       const ProtobufCMessage *request, struct ty_buf *out);

// Checks a submit of either kind against the API's rules and limits.h (messages name the field: "model_name is empty") and
// builds its spec. Exactly one of managed and custom is not NULL; options may be NULL. Errors: TY_EINVALID, the message
// always valid UTF-8 and without a percent sign (clients print it as a format). created_us is the record's or, before
// there is a record, the wall time.
// Custom: container_version empty becomes the default container's key in the metadata. Managed: the catalogue's trainer
// decides; framework 0 becomes the default trainer's framework; is_custom_job false; registry_item_id stays empty, the
// worker asks the catalogue again.
// Of a map key that comes twice the last entry counts. The digest is that of a JobCommand with nothing but the request as it
// was asked (before the catalogue) and the options without the idempotency key, serialized again with map entries sorted by
// key and unknown fields left out: it is the same for any encoding of the same request and changes with nothing else. A
// field that is added later and unset leaves old digests as they are.
int ty_spec_build(const struct ty_catalog *catalog, const struct ty_id *job_id, uint64_t created_us,
                  const Viam__App__Mltraining__V1__SubmitTrainingJobRequest *managed,
                  const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom,
                  const Trainyard__V1__JobOptions *options, struct ty_spec *ret_spec,
                  struct ty_err *err) TY_MUST_USE;
// The checks of ty_spec_build that need no catalogue, for those who publish: whether there is a trainer or a container of
// that kind is then the service's to say. TY_EINVALID.
int ty_spec_check(const Viam__App__Mltraining__V1__SubmitTrainingJobRequest *managed,
                  const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom,
                  const Trainyard__V1__JobOptions *options, struct ty_err *err) TY_MUST_USE;
// The spec of a submit that was refused but has an id: whatever fields fit their limits, so that the FAILED job can be
// listed and says why. Both requests NULL: only the id is known. container is NULL and options are empty.
void ty_spec_build_refused(const struct ty_id *job_id, uint64_t created_us,
                           const Viam__App__Mltraining__V1__SubmitTrainingJobRequest *managed,
                           const Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest *custom,
                           struct ty_spec *ret_spec);
void ty_spec_done(struct ty_spec *spec);

// One check for names that become path parts (dataset_id, organization_id, model name, version, script name): no slash or
// backslash, no leading ".", no control bytes, valid UTF-8, within max bytes, not empty. field names it in the error.
int ty_name_check(const char *field, const char *text, size_t max_bytes, struct ty_err *err) TY_MUST_USE;
