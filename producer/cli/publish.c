#include "producer/cli/publish.h"

#include <string.h>

#include "producer/cli/kafka_trouble.h"

// What is in flight when the program ends was waited for already; this only lets the connection close in order.
#define CLOSE_MS 100

int ty_publish_open(const struct ty_cli *cli, struct trainyard_client **ret_client, struct ty_err *err)
{
    struct trainyard_client_options options = TRAINYARD_CLIENT_OPTIONS_INIT;
    struct trainyard_error error;
    options.brokers = cli->common->kafka_brokers;
    options.issuer = "trainyard " TY_VERSION;
    options.client_id = "trainyard-cli";
    options.topic_prefix = cli->common->topic_prefix;
    options.signing_key_file = cli->common->signing_key_file;
    options.properties = (const char *const *)cli->common->kafka_properties;
    if (trainyard_client_new(&options, ret_client, &error) < 0)
        return ty_publish_error(cli, &error, NULL, err);
    return 0;
}

int ty_publish_error(const struct ty_cli *cli, const struct trainyard_error *error,
                     const struct trainyard_receipt *receipt, struct ty_err *err)
{
    enum ty_code code = ty_code_from_grpc(error->code);
    if (error->unknown && receipt)
        ty_err_set(err, code, "%s; whether job %s was published is not known", error->message, receipt->job_id);
    else
        ty_err_set(err, code, "%s", error->message);
    if (code == TY_EUNAVAILABLE || code == TY_EDEADLINE || code == TY_EUNAUTHENTICATED || code == TY_EPERMISSION)
        ty_kafka_trouble_explain(cli->common->kafka_brokers, err);
    return -(int)err->code;
}

json_t *ty_publish_json(const struct trainyard_receipt *receipt)
{
    return json_pack("{s:s, s:i, s:I}", "id", receipt->job_id, "partition", (int)receipt->partition, "offset",
                     (json_int_t)receipt->offset);
}

static int publish_all(struct ty_cli *cli, struct trainyard_client *client, ty_publish_control_fn fn, const char *done,
                       json_t *receipts, struct ty_err *err)
{
    for (int i = 0; i < cli->count; i++) {
        struct trainyard_receipt receipt;
        struct trainyard_error error;
        if (fn(client, cli->arguments[i], NULL, TRAINYARD_WAIT, &receipt, &error) < 0) {
            ty_publish_error(cli, &error, &receipt, err);
            return ty_err_prefix(err, "%.64s", cli->arguments[i]);
        }
        json_array_append_new(receipts, ty_publish_json(&receipt));
        if (!cli->common->json)
            ty_cli_note(cli, "job %s: %s", receipt.job_id, done);
    }
    return 0;
}

int ty_publish_control(struct ty_cli *cli, ty_publish_control_fn fn, const char *done, struct ty_err *err)
{
    struct trainyard_client *client;
    if (ty_publish_open(cli, &client, err) < 0)
        return -(int)err->code;
    json_t *receipts = json_array();
    int rc = publish_all(cli, client, fn, done, receipts, err);
    trainyard_client_free(client, CLOSE_MS);
    // Also after an error: these were published.
    if (cli->common->json)
        ty_cli_put_json(cli, json_pack("{s:O}", "commands", receipts), false);
    json_decref(receipts);
    return rc;
}
