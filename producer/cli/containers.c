// trainyard containers: what a custom job may name with --container.
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "producer/cli/verb.h"
#include "producer/cli/when.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

typedef Viam__App__Mltraining__V1__ListSupportedContainersRequest Request;
typedef Viam__App__Mltraining__V1__ListSupportedContainersResponse Response;
typedef Viam__App__Mltraining__V1__ListSupportedContainersResponse__ContainerMapEntry Entry;
typedef Viam__App__Mltraining__V1__Container Container;

struct options {
    struct ty_cli_common common;
};

static int by_key(const void *a, const void *b)
{
    return strcmp((*(const Entry *const *)a)->key, (*(const Entry *const *)b)->key);
}

static json_t *to_json(const Container *container)
{
    char day[TY_WHEN_BYTES];
    json_t *object = json_object();
    json_object_set_new(object, "key", json_string(container->key));
    json_object_set_new(object, "uri", json_string(container->uri));
    json_object_set_new(object, "framework", json_string(container->framework));
    json_object_set_new(object, "description", json_string(container->description));
    json_object_set_new(object, "end_of_life",
                        container->eol ? json_string(ty_when_rfc3339(ty_when_us(container->eol), day)) : json_null());
    return object;
}

static void put_json(const struct ty_cli *cli, const Response *response)
{
    json_t *array = json_array();
    for (size_t i = 0; i < response->n_container_map; i++)
        if (response->container_map[i]->value)
            json_array_append_new(array, to_json(response->container_map[i]->value));
    ty_cli_put_json(cli, json_pack("{s:o}", "containers", array), false);
}

static void add_row(struct ty_table *table, const Container *container, int64_t now_us)
{
    char day[TY_WHEN_BYTES] = "-";
    bool is_over = container->eol && ty_when_us(container->eol) < now_us;
    if (container->eol)
        ty_when_day(ty_when_us(container->eol), day);
    ty_table_add(table, TY_COLOR_BOLD, container->key);
    ty_table_add(table, TY_COLOR_NONE, *container->framework ? container->framework : "-");
    ty_table_add(table, is_over ? TY_COLOR_RED : TY_COLOR_NONE, day);
    ty_table_add(table, TY_COLOR_NONE, container->uri);
    ty_table_add(table, TY_COLOR_NONE, container->description);
}

static void print(const struct ty_cli *cli, const Response *response)
{
    static const char *const headers[] = {"CONTAINER", "FRAMEWORK", "END OF LIFE", "IMAGE", "DESCRIPTION"};
    int64_t now_us = (int64_t)ty_clock_wall_us();
    struct ty_table *table = ty_table_new(headers, sizeof headers / sizeof *headers);
    for (size_t i = 0; i < response->n_container_map; i++)
        if (response->container_map[i]->value)
            add_row(table, response->container_map[i]->value, now_us);
    ty_table_print(table, cli->out, cli->color);
    ty_table_free(table);
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    Request request = VIAM__APP__MLTRAINING__V1__LIST_SUPPORTED_CONTAINERS_REQUEST__INIT;
    struct ty_rpc_client *client;
    ProtobufCMessage *message;
    (void)options;
    if (ty_cli_connect(cli, &client, err) < 0)
        return -(int)err->code;
    int rc = ty_rpc_client_call(client, "ListSupportedContainers", &request.base,
                                &viam__app__mltraining__v1__list_supported_containers_response__descriptor, &message, err);
    ty_rpc_client_free(client);
    if (rc < 0)
        return rc;
    Response *response = (Response *)message;
    if (response->n_container_map)
        qsort(response->container_map, response->n_container_map, sizeof *response->container_map, by_key);
    if (cli->common->json)
        put_json(cli, response);
    else
        print(cli, response);
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}

const struct ty_cli_verb ty_cli_containers = {
    .name = "containers",
    .summary = "lists the containers that a custom job may run in",
    .arguments = "",
    .needs = TY_CLI_NEEDS_SERVER,
    .options_bytes = sizeof(struct options),
    .details = "With --json: {\"containers\": [...]}, each with key, uri, framework, description, end_of_life (RFC 3339 or null).\n",
    .examples = "  trainyard containers\n"
                "  trainyard containers --json | jq -r '.containers[].key'\n",
    .run = run,
};
