// AppService.ListOrganizations: the one organization of the caller, which has no other name than its id.
#include <string.h>

#include "responder/access.h"
#include "responder/service_internal.h"
#include "viam/app/v1/app.pb-c.h"

enum { FIELD_ORGANIZATIONS = 1, ORGANIZATION_ID = 1, ORGANIZATION_NAME = 2 };

void ty_organizations_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    struct ty_service *service = ty_rpc_context(rpc);
    const char *id = ty_access_organization(service->access, rpc);
    TY_BUF(organization);
    TY_BUF(answer);
    (void)message;
    ty_buf_add_tag_bytes(&organization, ORGANIZATION_ID, id, strlen(id));
    ty_buf_add_tag_bytes(&organization, ORGANIZATION_NAME, id, strlen(id));
    ty_buf_add_tag_bytes(&answer, FIELD_ORGANIZATIONS, organization.data, organization.len);
    ty_rpc_reply(rpc, answer.data, answer.len);
}
