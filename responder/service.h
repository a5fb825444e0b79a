// The RPCs: what they need in common, and their table. Everything runs on the loop's thread; nothing blocks.
#pragma once

#include <stdbool.h>

#include "core/buf.h"
#include "core/catalog.h"
#include "core/kafka.h"
#include "core/loop.h"
#include "core/state.h"
#include "core/store_memory.h"
#include "responder/rpc.h"
#include "responder/reflection.h"

#define TY_SERVICE_NAME "viam.app.mltraining.v1.MLTrainingService"
#define TY_LOG_SERVICE_NAME "trainyard.v1.LogService"
#define TY_JOB_SERVICE_NAME "trainyard.v1.JobService"

struct ty_access;
struct ty_log_feeds;
struct ty_watcher;

struct ty_service {
    struct ty_loop *loop;
    struct ty_state *state;
    struct ty_store_memory *memory;
    struct ty_publisher *publisher;
    struct ty_access *access;
    const struct ty_catalog *catalog;
    struct ty_reflection *reflection;
    struct ty_buf containers;      // the answer to ListSupportedContainers
    struct ty_buf scratch;         // for answers that are built and sent in one go
    struct ty_err store_err;       // why the store is away
    struct ty_watcher *watchers;   // open Health/Watch streams
    struct ty_log_feeds *feeds;    // the logs that are followed
    unsigned followers, max_followers;
    bool stopping;
};

// Fills in what follows from loop, state, publisher and catalog, which the caller has set.
int ty_service_init(struct ty_service *service, struct ty_err *err) TY_MUST_USE;
void ty_service_done(struct ty_service *service);
// For ty_state_new: tells the health watchers.
void ty_service_on_store(void *context, bool up, const struct ty_err *err);
// From here on the health service answers NOT_SERVING.
void ty_service_stop(struct ty_service *service);

// For /readyz: whether the job store is there and the program does not stop; err says why not. context: the service.
bool ty_service_is_ready(void *context, struct ty_err *err);

// The table for a transport; the service is its context.
extern const struct ty_rpc_method ty_service_methods[];
extern const size_t ty_service_method_count;

// ---- for the handlers ----

// False after having answered UNAVAILABLE because the store is away.
bool ty_service_needs_store(struct ty_rpc *rpc);
// Fails the call with an error of the store; a store that is too slow is as good as away.
void ty_service_store_failed(struct ty_rpc *rpc, const struct ty_err *err);
// The job id of a request. False after having answered: INVALID_ARGUMENT when it is empty or too long, NOT_FOUND when
// it cannot be the id of a job (ids are opaque to clients).
bool ty_service_job_id(struct ty_rpc *rpc, const char *text, struct ty_id *ret_id);
void ty_service_no_such_job(struct ty_rpc *rpc);

// The value of a key of the request metadata, as text and at most size - 1 bytes of it. False: the key was not sent.
bool ty_service_metadata(const struct ty_rpc *rpc, const char *name, char *out, size_t size);

// Publishes one command and comes back on the loop's thread; holds the call meanwhile. What could not even be queued
// fails the call and fn does not come.
typedef void (*ty_service_published_fn)(struct ty_rpc *rpc, bool unknown, const struct ty_err *err);
void ty_service_publish(struct ty_rpc *rpc, enum ty_command_kind kind, const struct ty_id *id,
                        const Trainyard__V1__JobOptions *options, const ProtobufCMessage *request,
                        ty_service_published_fn fn);
