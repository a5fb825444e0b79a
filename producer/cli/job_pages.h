// The jobs of an organization from JobService.ListJobs, as many pages as are wanted. Blocks; one thread.
#pragma once

#include "producer/cli/job.h"
#include "producer/cli/rpc.h"
#include "trainyard/v1/job_service.pb-c.h"

typedef Trainyard__V1__Job TyJob;

// What may stand before = in --filter of list.
extern const char *const ty_job_page_keys[];

struct ty_job_pages {
    Trainyard__V1__ListJobsReply **replies;
    size_t count;
    char *next; // the token of what follows; NULL: nothing does
};

// Fills in what the texts of --filter ask for; both are borrowed for as long as the request is used. now_us: since 1970.
// TY_EINVALID names the filter. What it has made goes with ty_job_request_done, also after an error.
struct ty_job_request {
    Trainyard__V1__ListJobsRequest request;
    Google__Protobuf__Timestamp times[4];
    Viam__App__Mltraining__V1__TrainingStatus *statuses;
    Trainyard__V1__ListJobsRequest__LabelsEntry *labels, **label_pointers;
};
int ty_job_request_init(struct ty_job_request *request, char *const *filters, uint64_t now_us, struct ty_err *err) TY_MUST_USE;
void ty_job_request_done(struct ty_job_request *request);

// limit 0: all. The request's page token is where it begins. TY_EUNIMPLEMENTED: the responder is older than that service.
int ty_job_pages_read(struct ty_rpc_client *client, Trainyard__V1__ListJobsRequest *request, size_t limit,
                      struct ty_job_pages *ret_pages, struct ty_err *err) TY_MUST_USE;
void ty_job_pages_done(struct ty_job_pages *pages);
