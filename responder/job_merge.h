// An organization's jobs in one order, merged over the shards page by page as they are asked for: what every list is made of. It
// holds the call that it works for while the store is asked; loop thread.
#pragma once

#include "core/state.h"
#include "responder/service.h"

struct ty_job_merge;

struct ty_job_merge_options {
    struct ty_rpc *rpc;
    struct ty_list_query query;  // but for limit and max_bytes; what it points to stays until the merge is freed
    // Appends what the answer is to have of a job; nothing where it does not fit. The record is borrowed.
    void (*encode)(void *context, const struct ty_claimed *job, struct ty_buf *out);
    // The store has answered, and ty_job_merge_next knows more. Does not come when the call has failed, which is done here, or
    // the client has left.
    void (*on_ready)(void *context);
    void *context;
};

struct ty_job_merge *ty_job_merge_new(const struct ty_job_merge_options *options);
void ty_job_merge_free(struct ty_job_merge *merge);

struct ty_merged {
    struct ty_list_cursor place;
    const void *bytes; // what encode has appended; borrowed until the next call
    size_t len;        // 0: it does not fit
};
enum ty_merge_step {
    TY_MERGE_JOB,  // the first in order, looked at only: ty_job_merge_take goes on to the next
    TY_MERGE_WAIT, // the store is being asked; on_ready comes
    TY_MERGE_END,
};
enum ty_merge_step ty_job_merge_next(struct ty_job_merge *merge, struct ty_merged *ret_job);
void ty_job_merge_take(struct ty_job_merge *merge);
