// The standard health service: SERVING as long as the job store is there and the server is not stopping.
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "responder/service_internal.h"

#define FIELD_STATUS 1

typedef Grpc__Health__V1__HealthCheckRequest Request;

enum {
    SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
    NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
    SERVICE_UNKNOWN = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

// One open Watch, in its call's scratch area.
struct ty_watcher {
    struct ty_rpc *rpc;
    bool is_known;
    int told; // 0: nothing so far
    struct ty_watcher *next, **at;
};

_Static_assert(sizeof(struct ty_watcher) <= TY_RPC_SCRATCH_BYTES, "a watcher fits a call");

static bool is_known(const char *name)
{
    return !*name || !strcmp(name, TY_SERVICE_NAME) || !strcmp(name, TY_LOG_SERVICE_NAME) || !strcmp(name, TY_JOB_SERVICE_NAME);
}

static int current(const struct ty_service *service)
{
    return ty_state_is_up(service->state) && !service->stopping ? SERVING : NOT_SERVING;
}

static void encode(int status, struct ty_buf *out)
{
    ty_buf_add_tag_varint(out, FIELD_STATUS, (uint64_t)status);
}

void ty_health_on_check(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    struct ty_err err;
    TY_BUF(answer);
    if (!is_known(((const Request *)message)->service)) {
        ty_err_set(&err, TY_ENOTFOUND, "there is no such service");
        ty_rpc_fail(rpc, &err);
        return;
    }
    encode(current(ty_rpc_context(rpc)), &answer);
    ty_rpc_reply(rpc, answer.data, answer.len);
}

// While a message is on its way this does nothing; on_sent comes here again.
static void tell(struct ty_watcher *watcher)
{
    int status = watcher->is_known ? current(ty_rpc_context(watcher->rpc)) : SERVICE_UNKNOWN;
    TY_BUF(answer);
    if (status == watcher->told)
        return;
    encode(status, &answer);
    if (ty_rpc_send(watcher->rpc, answer.data, answer.len))
        watcher->told = status;
}

void ty_health_on_watch(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    struct ty_service *service = ty_rpc_context(rpc);
    struct ty_watcher *watcher = ty_rpc_scratch(rpc);
    if (watcher->rpc)
        return; // a second request on the same stream
    *watcher = (struct ty_watcher){
        .rpc = rpc,
        .is_known = is_known(((const Request *)message)->service),
        .next = service->watchers,
        .at = &service->watchers,
    };
    if (watcher->next)
        watcher->next->at = &watcher->next;
    service->watchers = watcher;
    tell(watcher);
}

void ty_health_on_sent(struct ty_rpc *rpc)
{
    tell(ty_rpc_scratch(rpc));
}

void ty_health_on_watch_done(struct ty_rpc *rpc)
{
    struct ty_watcher *watcher = ty_rpc_scratch(rpc);
    if (!watcher->rpc)
        return;
    *watcher->at = watcher->next;
    if (watcher->next)
        watcher->next->at = watcher->at;
}

void ty_health_tell(struct ty_service *service)
{
    for (struct ty_watcher *watcher = service->watchers; watcher; watcher = watcher->next)
        tell(watcher);
}
