// What the verbs that publish have in common: a client of libtrainyard, its errors as ours, the receipt on stdout. Block.
#pragma once

#include "producer/cli/follow.h"
#include "producer/cli/verb.h"
#include "producer/trainyard.h"

// A client for --kafka-brokers and its kin; freed with trainyard_client_free. TY_EINVALID on a property that is refused.
int ty_publish_open(const struct ty_cli *cli, struct trainyard_client **ret_client, struct ty_err *err) TY_MUST_USE;
// Turns an error of the library into ours. Where nobody can say whether the command was published, the message says so and
// names the job.
int ty_publish_error(const struct ty_cli *cli, const struct trainyard_error *error,
                     const struct trainyard_receipt *receipt, struct ty_err *err);
// The receipt as JSON: id, partition, offset. A new reference.
json_t *ty_publish_json(const struct trainyard_receipt *receipt);
// cancel and delete: publishes one command for each job of the arguments.
typedef int (*ty_publish_control_fn)(struct trainyard_client *client, const char *job_id, const char *traceparent,
                                     int timeout_ms, struct trainyard_receipt *ret_receipt, struct trainyard_error *error);
int ty_publish_control(struct ty_cli *cli, ty_publish_control_fn fn, const char *done, struct ty_err *err) TY_MUST_USE;
