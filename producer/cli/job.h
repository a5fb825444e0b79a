// A job as the program shows it: one JSON object with the same fields always, a block of lines, a row of a table.
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "producer/cli/rpc.h"
#include "producer/cli/table.h"
#include "trainyard/v1/command.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

typedef Viam__App__Mltraining__V1__TrainingJobMetadata TyJobMetadata;

// The fields of ty_job_json, as --help has them.
#define TY_JOB_JSON_HELP                                                                                                   \
    "  id, status (PENDING, IN_PROGRESS, CANCELING, COMPLETED, FAILED, CANCELED), organization_id, dataset_id,\n"          \
    "  model_name, model_version, synced_model_id, is_custom_job, registry_item_id, registry_item_version,\n"              \
    "  container_version, arguments {key: value}, model_type, model_framework, tags [], created_on, last_modified,\n"      \
    "  training_started, training_ended (RFC 3339, UTC), error_status {code, name, message}.\n"                            \
    "  What is not set is null; no field is ever left out.\n"

// A new reference. What is not set is null (texts, times, enums), [] or {}; all names are there always.
json_t *ty_job_json(const TyJobMetadata *job);
// retry_of: the id of the job that it does again; waits_for: why it has not begun; "": none.
void ty_job_print(const TyJobMetadata *job, const char *retry_of, const char *waits_for, int64_t now_us, FILE *out, bool use_color);

// The table of list.
struct ty_table *ty_job_table_new(void);
void ty_job_table_add(struct ty_table *table, const TyJobMetadata *job, int64_t now_us);

// "COMPLETED"; "UNKNOWN(9)" in static memory for a status that this program does not know.
const char *ty_job_status(const TyJobMetadata *job);
enum ty_color ty_job_color(const TyJobMetadata *job);
bool ty_job_is_terminal(const TyJobMetadata *job);
// 0, TY_EXIT_FAILED or TY_EXIT_CANCELED of a job that has ended.
int ty_job_exit(const TyJobMetadata *job);

// GetTrainingJob. Free with ty_job_free; ret_job->metadata is not NULL.
typedef Viam__App__Mltraining__V1__GetTrainingJobResponse TyJobAnswer;
int ty_job_fetch(struct ty_rpc_client *client, const char *id, TyJobAnswer **ret_answer, struct ty_err *err) TY_MUST_USE;
void ty_job_free(TyJobAnswer *answer);
// What was asked of the job that was fetched last beside its request; the caller's, freed with
// trainyard__v1__job_options__free_unpacked. TY_EPRECONDITION: they are too large to be told; TY_EUNIMPLEMENTED: the responder
// is of a version that does not tell them; TY_EDATALOSS.
int ty_job_options(const struct ty_rpc_client *client, Trainyard__V1__JobOptions **ret_options, struct ty_err *err) TY_MUST_USE;
