// AuthService.Authenticate: a key's secret for an access token. An authorization header is passed over: some clients log in twice,
// the second time with the token of the first.
#include "proto/rpc/v1/auth.pb-c.h"
#include "responder/access.h"
#include "responder/service_internal.h"

#define FIELD_ACCESS_TOKEN 1
#define PEER_BYTES 128

void ty_authenticate_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const Proto__Rpc__V1__AuthenticateRequest *request = (const void *)message;
    struct ty_service *service = ty_rpc_context(rpc);
    char peer[PEER_BYTES];
    struct ty_err err;
    TY_BUF(token);
    TY_BUF(answer);
    if (!request->credentials) {
        ty_err_set(&err, TY_EINVALID, "credentials are missing");
        ty_rpc_fail(rpc, &err);
        return;
    }
    if (ty_access_log_in(service->access, ty_rpc_peer(rpc, peer, sizeof peer), request->entity, request->credentials->type,
                         request->credentials->payload, &token, &err) < 0) {
        ty_rpc_fail(rpc, &err);
        return;
    }
    ty_buf_add_tag_bytes(&answer, FIELD_ACCESS_TOKEN, token.data, token.len);
    ty_rpc_reply(rpc, answer.data, answer.len);
}
