// The program as a whole: one store connection, and the roles that were asked for. Loop thread only.
#pragma once

#include "core/err.h"
#include "core/loop.h"
#include "worker/settings.h"

struct ty_worker;

// Connects to store and Kafka in the background; neither need be there. TY_EINVALID: a wrong setting or catalogue;
// TY_EEXISTS: another worker has the work directory. Free with ty_worker_free.
int ty_worker_start(struct ty_loop *loop, const struct ty_worker_settings *settings, struct ty_worker **ret_worker,
                    struct ty_err *err) TY_MUST_USE;
// Drains: no more commands, no more claims; running jobs have --drain-ms, then they are stopped and handed back. A second
// call does not wait for jobs. Stops the loop when done.
void ty_worker_stop(struct ty_worker *worker);
// After the loop has stopped: 0, or why it could not go on (TY_EPRECONDITION: the store was made with another format or
// shard count).
int ty_worker_failure(const struct ty_worker *worker, struct ty_err *err) TY_MUST_USE;
// Logs what has been done since the start.
void ty_worker_report(const struct ty_worker *worker);
void ty_worker_free(struct ty_worker *worker);
// "librdkafka 2.0.2" and so on, as far as this program has them.
void ty_worker_print_version(FILE *out);
