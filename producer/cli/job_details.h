// What JobService.GetJob knows of a job beyond Viam's messages, as the program shows it. Blocks; one thread.
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "core/buf.h"
#include "producer/cli/rpc.h"
#include "trainyard/v1/job_service.pb-c.h"

typedef Trainyard__V1__GetJobReply TyJobDetails;
typedef Trainyard__V1__JobProgress TyJobProgress;

// The fields of ty_job_details_json, as --help has them.
#define TY_JOB_DETAILS_HELP                                                                                                \
    "  labels {key: value}, attempt, stage, reason, worker, losses, errors, wait_until (when a pending job fails if no worker has\n" \
    "  taken it, or null), and progress, null where the script has told none:\n"                                            \
    "  {attempt, time, fraction, step, steps, message, metrics {name: {value, step, time, least, greatest, count}}}.\n"

int ty_job_details_get(struct ty_rpc_client *client, const char *id, TyJobDetails **ret_details, struct ty_err *err) TY_MUST_USE;
// NULL where the responder is of a version before that service, or it does not answer.
TyJobDetails *ty_job_details_fetch(struct ty_rpc_client *client, const char *id);
void ty_job_details_free(TyJobDetails *details);

// Adds the fields to a job's JSON. details NULL: all of them null.
void ty_job_details_json(const TyJobDetails *details, json_t *job);
// A new reference; progress NULL: null.
json_t *ty_job_progress_json(const TyJobProgress *progress);
// Appends "40 %, step 12 of 30, loss 0.25: epoch 2"; nothing where nothing was told.
void ty_job_progress_words(const TyJobProgress *progress, struct ty_buf *out);
// Lines for people, behind those of the job.
void ty_job_details_print(const TyJobDetails *details, FILE *out, bool use_color);
