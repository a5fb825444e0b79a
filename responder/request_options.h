// What a submit may ask for beside the Viam request, taken from the call's request metadata (docs/jobs.md has the
// table for clients):
//   idempotency-key              the same key and organization give the same job
//   trainyard-priority           0 to 7
//   trainyard-max-runtime-s, trainyard-max-wait-s, trainyard-max-attempts
//   trainyard-on-lost-lease      continue | stop
//   trainyard-label              key=value, once a label
//   trainyard-cpu-millis, trainyard-memory-bytes, trainyard-gpus
//   trainyard-retry-on-error     true | false
//   trainyard-retry-exit-code, trainyard-no-retry-exit-code      1 to 255, once a code
//   trainyard-retry-base-ms, trainyard-retry-max-ms
//   trainyard-retry-of           the id of the job that this one does again
//   traceparent                  passed on as a header of the Kafka record
// Other keys that start with "trainyard-" are refused, so that a misspelt option does not pass unseen; all else is ignored.
#pragma once

#include <stdbool.h>

#include "core/err.h"
#include "responder/rpc.h"
#include "trainyard/v1/command.pb-c.h"

#define TY_TRACEPARENT_BYTES 56

// options.message is ready for ty_spec_build and ty_command_encode; it borrows from the rest.
struct ty_request_options {
    Trainyard__V1__JobOptions message;
    bool is_set; // any of them; pass NULL on otherwise
    char *idempotency_key, *retry_of;
    Trainyard__V1__RetryPolicy retry;
    Trainyard__V1__Resources *resources;
    uint32_t *exit_codes, *no_retry_exit_codes;
    Trainyard__V1__JobOptions__LabelsEntry *labels;
    Trainyard__V1__JobOptions__LabelsEntry **label_pointers;
};

// TY_EINVALID names the metadata key. Call ty_request_options_done in every case.
int ty_request_options_read(const struct ty_rpc *rpc, struct ty_request_options *ret_options,
                            struct ty_err *err) TY_MUST_USE;
// One entry; key is one of the above. Pure: what ty_request_options_read is made of. Unknown keys are left alone but for
// those of our own prefix.
int ty_request_options_take(struct ty_request_options *options, const char *key, const char *value,
                            struct ty_err *err) TY_MUST_USE;
void ty_request_options_init(struct ty_request_options *options);
void ty_request_options_done(struct ty_request_options *options);

// The call's traceparent when it looks like one (W3C trace context, version 00), NULL otherwise.
const char *ty_request_traceparent(const struct ty_rpc *rpc, char out[TY_TRACEPARENT_BYTES]);
