// ListSupportedContainers: the same answer for everybody, made once.
#include <stdlib.h>
#include <string.h>

#include "responder/service_internal.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

typedef Viam__App__Mltraining__V1__Container Container;
typedef Viam__App__Mltraining__V1__ListSupportedContainersResponse__ContainerMapEntry Entry;

void ty_containers_build(const struct ty_catalog *catalog, struct ty_buf *out)
{
    Viam__App__Mltraining__V1__ListSupportedContainersResponse response =
        VIAM__APP__MLTRAINING__V1__LIST_SUPPORTED_CONTAINERS_RESPONSE__INIT;
    size_t count = ty_catalog_container_count(catalog);
    Entry *entries = ty_xcalloc(count + 1, sizeof *entries);
    Container *containers = ty_xcalloc(count + 1, sizeof *containers);
    Google__Protobuf__Timestamp *ends = ty_xcalloc(count + 1, sizeof *ends);
    response.container_map = ty_xcalloc(count + 1, sizeof *response.container_map);
    for (size_t i = 0; i < count; i++) {
        const struct ty_container *from = ty_catalog_container_at(catalog, i);
        if (from->hidden)
            continue;
        google__protobuf__timestamp__init(&ends[i]);
        ends[i].seconds = from->eol_s;
        viam__app__mltraining__v1__container__init(&containers[i]);
        containers[i].key = (char *)from->key;
        containers[i].uri = (char *)from->uri;
        containers[i].framework = (char *)from->framework;
        containers[i].description = (char *)from->description;
        containers[i].eol = &ends[i];
        viam__app__mltraining__v1__list_supported_containers_response__container_map_entry__init(&entries[i]);
        entries[i].key = (char *)from->key;
        entries[i].value = &containers[i];
        response.container_map[response.n_container_map++] = &entries[i];
    }
    size_t len = protobuf_c_message_get_packed_size(&response.base);
    ty_buf_clear(out);
    protobuf_c_message_pack(&response.base, ty_buf_reserve(out, len));
    out->len = len;
    free(response.container_map);
    free(entries);
    free(containers);
    free(ends);
}

void ty_containers_on_request(struct ty_rpc *rpc, const ProtobufCMessage *message)
{
    const struct ty_service *service = ty_rpc_context(rpc);
    (void)message;
    ty_rpc_reply(rpc, service->containers.data, service->containers.len);
}
