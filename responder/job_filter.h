// Which jobs a list has, and in which order: what ListJobs asks for, checked, and held against a job's record. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/record.h"
#include "core/state.h"
#include "responder/list_token.h"
#include "trainyard/v1/job_service.pb-c.h"

// Borrows from the request it was made of.
struct ty_job_filter {
    const char *organization_id, *model_name, *dataset_id; // "": any
    enum ty_list_order order;
    bool oldest_first;
    unsigned states; // bits 1 << state; 0: all
    struct {
        uint64_t since_us, before_us; // 0: none
    } created, ended;
    Trainyard__V1__ListJobsRequest__LabelsEntry *const *labels;
    size_t label_count;
};

// TY_EINVALID names the field.
int ty_job_filter_init(struct ty_job_filter *ret_filter, const Trainyard__V1__ListJobsRequest *request,
                       struct ty_err *err) TY_MUST_USE;
// The stock list's: all jobs of an organization in one state (0: all), newest first.
void ty_job_filter_init_stock(struct ty_job_filter *ret_filter, const char *organization_id, int status);

// What of it an index serves; after, limit and max_bytes are not set. Borrows the organization.
void ty_job_filter_query(const struct ty_job_filter *filter, struct ty_list_query *ret_query);
// All of it, but for the organization.
bool ty_job_filter_fits(const struct ty_job_filter *filter, const struct ty_record *record);
// The same for all requests of one list, whatever the order of their labels and states.
void ty_job_filter_digest(const struct ty_job_filter *filter, uint8_t out[TY_LIST_DIGEST_BYTES]);
