// The handlers that the table in service.c names; each file has one RPC or one pair of them.
#pragma once

#include "responder/service.h"

void ty_get_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);

void ty_list_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_list_on_done(struct ty_rpc *rpc);

void ty_job_list_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_job_list_on_done(struct ty_rpc *rpc);

void ty_job_get_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_job_get_on_done(struct ty_rpc *rpc);

void ty_logs_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_logs_on_done(struct ty_rpc *rpc);

void ty_follow_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_follow_on_sent(struct ty_rpc *rpc);
void ty_follow_on_done(struct ty_rpc *rpc);

void ty_submit_on_managed(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_submit_on_custom(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_submit_on_timeout(struct ty_rpc *rpc);
void ty_submit_on_done(struct ty_rpc *rpc);

void ty_control_on_cancel(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_control_on_delete(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_control_on_timeout(struct ty_rpc *rpc);

void ty_authenticate_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_organizations_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);

void ty_containers_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_containers_build(const struct ty_catalog *catalog, struct ty_buf *out);

void ty_health_on_check(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_health_on_watch(struct ty_rpc *rpc, const ProtobufCMessage *message);
void ty_health_on_sent(struct ty_rpc *rpc);
void ty_health_on_watch_done(struct ty_rpc *rpc);
void ty_health_tell(struct ty_service *service);

void ty_reflection_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message);
