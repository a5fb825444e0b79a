// trainyard keys: makes and revokes access keys, by records of the topic settings.
#include "producer/cli/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/command.h"
#include "core/kafka.h"
#include "core/limits.h"
#include "core/rule.h"
#include "core/signature.h"
#include "producer/cli/kafka_trouble.h"
#include "producer/cli/letters.h"

#define PATIENCE_MS 10000 // the publisher gives up after 4 s
#define AT(member) offsetof(struct ty_keys_options, member)

static const struct ty_setting rows[] = {
    {.key = "org", .environment = "TRAINYARD_ORG", .type = TY_SETTING_TEXT, .offset = AT(org), .unit = "",
     .help = "create: the organization that the key is of. list: shows this one's only."},
    {.key = "role", .type = TY_SETTING_CHOICE, .offset = AT(role), .choices = "read|submit|owner", .fallback = "submit", .unit = "",
     .help = "create: what the key may do. read: get, list and logs; submit: and submit and cancel; owner: and delete."},
    {.key = "comment", .type = TY_SETTING_TEXT, .offset = AT(comment), .unit = "", .help = "create: what the key is for, for people."},
    {.key = "signing", .type = TY_SETTING_BOOL, .offset = AT(signing), .fallback = "false", .unit = "",
     .help = "create: an Ed25519 key that signs commands on Kafka, in place of one to log in with."},
    {.key = "out", .type = TY_SETTING_TEXT, .offset = AT(out), .unit = "",
     .help = "create: writes the secret into this new file, which only its owner may read, in place of printing it."},
    {.key = "all", .type = TY_SETTING_BOOL, .offset = AT(all), .fallback = "false", .unit = "", .help = "list: shows revoked keys too."},
};

// ---- one record ----

// Callbacks come on the publisher's thread, and before it is freed.
struct flight {
    bool unknown;
    struct ty_err err;
};

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct flight *flight = context;
    (void)partition, (void)offset;
    flight->unknown = unknown;
    flight->err = err ? *err : (struct ty_err){.code = TY_OK};
}

int ty_keys_publish(struct ty_cli *cli, const struct ty_key *key, struct ty_err *err)
{
    struct ty_kafka_options kafka = ty_letters_kafka(cli);
    struct ty_publisher *publisher;
    struct flight flight = {.unknown = true};
    char name[TY_KEY_NAME_BYTES];
    TY_BUF(value);
    ty_err_set(&flight.err, TY_EUNAVAILABLE, "Kafka has not answered");
    ty_key_encode(key, TY_KEYS_ISSUER, &value);
    ty_key_name(&key->id, key->is_revocation, name);
    if (ty_publisher_new(&kafka, &publisher, err) < 0)
        return -(int)err->code;
    int rc = ty_publisher_send_raw(publisher, TY_KEYS_TOPIC, name, strlen(name), value.data, value.len, NULL, on_published, &flight, err);
    ty_publisher_free(publisher, PATIENCE_MS);
    if (rc < 0 || flight.err.code == TY_OK)
        return rc;
    ty_err_set(err, flight.err.code, "%.300s%s", flight.err.message,
               !flight.unknown         ? ""
               : key->is_revocation ? "; whether it was published is not known, and doing it again does no harm"
                                    : "; whether it was published is not known: look at `trainyard keys list`, and revoke the key that nobody has");
    ty_kafka_trouble_explain(cli->common->kafka_brokers, err);
    return -(int)err->code;
}

// ---- create ----

// The file is there before the key is: a secret that could not be kept is of no use. Removed again when the key is not made.
static int open_out(const char *path, int *ret_fd, struct ty_err *err)
{
    *ret_fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*ret_fd >= 0)
        return 0;
    return errno == EEXIST ? ty_err_set(err, TY_EINVALID, "--out %.200s: is there already", path) : ty_err_errno(err, errno, "--out %.200s", path);
}

static int write_out(int fd, const char *path, const struct ty_buf *secret, struct ty_err *err)
{
    for (size_t done = 0; done < secret->len;) {
        ssize_t n = write(fd, secret->data + done, secret->len - done);
        if (n < 0 && errno != EINTR)
            return ty_err_errno(err, errno, "--out %.200s", path);
        done += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) < 0 ? ty_err_errno(err, errno, "--out %.200s", path) : 0;
}

static void make_secret(struct ty_key *key, struct ty_buf *secret)
{
    char text[TY_KEY_SECRET_TEXT];
    if (key->kind == TY_KEY_SIGNING) {
        char id[TY_ID_TEXT_BYTES];
        ty_buf_add_format(secret, TY_SIGNER_ID_LINE "%s\n", ty_id_format(&key->id, id)); // PEM may have lines before it
        ty_ed25519_new(key->proof, secret);
        return;
    }
    ty_key_new_secret(text);
    ty_key_hash(text, strlen(text), key->proof);
    ty_buf_add_text(secret, text);
    ty_crypto_wipe(text, sizeof text);
}

static void tell_made(struct ty_cli *cli, const struct ty_keys_options *options, const struct ty_key *key, struct ty_buf *secret)
{
    char id[TY_ID_TEXT_BYTES];
    const char *shown = options->out ? NULL : ty_buf_text(secret);
    ty_id_format(&key->id, id);
    if (cli->common->json) {
        ty_cli_put_json(cli, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?}", "id", id, "kind",
                                       key->kind == TY_KEY_API ? "api" : "signing", "organization", key->organization, "role",
                                       ty_key_role_name(key->role), "comment", key->comment, "secret", shown, "file", options->out),
                        false);
        return;
    }
    fprintf(cli->out, "id      %s\n", id);
    if (!shown)
        ty_cli_note(cli, "the secret is in %s", options->out);
    else if (key->kind == TY_KEY_API)
        fprintf(cli->out, "secret  %s\n", shown);
    else
        fputs(shown, cli->out);
    ty_cli_note(cli, "%s key of %s, role %s. The secret is kept nowhere else and cannot be shown again.",
                key->kind == TY_KEY_API ? "API" : "signing", key->organization, ty_key_role_name(key->role));
}

static int make(struct ty_cli *cli, const struct ty_keys_options *options, struct ty_key *key, struct ty_err *err)
{
    struct ty_buf secret = {0};
    int fd = -1, rc = options->out ? open_out(options->out, &fd, err) : 0;
    if (rc == 0) {
        make_secret(key, &secret);
        if (fd >= 0 && key->kind == TY_KEY_API)
            ty_buf_add_byte(&secret, '\n');
        rc = fd >= 0 ? write_out(fd, options->out, &secret, err) : 0;
        if (rc == 0)
            rc = ty_keys_publish(cli, key, err);
        if (rc == 0)
            tell_made(cli, options, key, &secret);
        else if (fd >= 0)
            (void)unlink(options->out);
    }
    if (fd >= 0)
        close(fd);
    ty_crypto_wipe(secret.data, secret.len);
    ty_buf_done(&secret);
    return rc;
}

static int create_key(struct ty_cli *cli, const struct ty_keys_options *options, struct ty_err *err)
{
    struct ty_key key = {.id = ty_id_new(), .issued_at_us = ty_clock_wall_us(), .role = (enum ty_key_role)(options->role + 1),
                         .kind = options->signing ? TY_KEY_SIGNING : TY_KEY_API};
    const char *comment = options->comment ? options->comment : "";
    if (cli->count > 1)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": create takes no more arguments", cli->arguments[1]);
    if (ty_cli_require("org", options->org, err) < 0 || ty_name_check("--org", options->org, TY_LIMIT_ID_BYTES, err) < 0)
        return -TY_EINVALID;
    if (!strcmp(options->org, TY_RULE_ALL) && !options->signing)
        return ty_err_set(err, TY_EINVALID, "--org: %s is no name; an API key is of one organization", TY_RULE_ALL);
    if (strlen(comment) > TY_KEY_COMMENT_BYTES)
        return ty_err_set(err, TY_EINVALID, "--comment: has %zu bytes; at most %d are allowed", strlen(comment), TY_KEY_COMMENT_BYTES);
    snprintf(key.organization, sizeof key.organization, "%s", options->org);
    snprintf(key.comment, sizeof key.comment, "%s", comment);
    return make(cli, options, &key, err);
}

// ---- revoke ----

// All are looked up first, so that a typing error revokes nothing and is not taken for a success.
static int check_known(const struct ty_cli *cli, const struct ty_key_list *list, const struct ty_id *ids, struct ty_err *err)
{
    for (int i = 1; i < cli->count; i++)
        if (!ty_keys_find(list, &ids[i]))
            return ty_err_set(err, TY_ENOTFOUND, "%.64s: there is no such key; nothing was revoked", cli->arguments[i]);
    return 0;
}

static int revoke_all(struct ty_cli *cli, const struct ty_id *ids, struct ty_err *err)
{
    json_t *told = json_array();
    int rc = 0;
    for (int i = 1; rc == 0 && i < cli->count; i++) {
        struct ty_key key = {.id = ids[i], .is_revocation = true, .issued_at_us = ty_clock_wall_us()};
        char id[TY_ID_TEXT_BYTES];
        rc = ty_keys_publish(cli, &key, err);
        if (rc < 0) {
            ty_err_prefix(err, "%.64s", cli->arguments[i]);
            break;
        }
        json_array_append_new(told, json_string(ty_id_format(&key.id, id)));
        if (!cli->common->json)
            ty_cli_note(cli, "%s: revoked", id);
    }
    if (cli->common->json)
        ty_cli_put_json(cli, json_pack("{s:O}", "revoked", told), false);
    json_decref(told);
    return rc;
}

static int revoke_keys(struct ty_cli *cli, struct ty_err *err)
{
    struct ty_key_list list = {0};
    struct ty_err bad;
    if (cli->count < 2)
        return ty_err_set(err, TY_EINVALID, "no key is named; usage: trainyard keys revoke ID...");
    struct ty_id *ids TY_FREE = ty_xcalloc((size_t)cli->count, sizeof *ids);
    for (int i = 1; i < cli->count; i++)
        if (ty_id_parse(cli->arguments[i], &ids[i], &bad) < 0)
            return ty_err_set(err, TY_EINVALID, "\"%.64s\": is no key's id, which is a UUID", cli->arguments[i]);
    int rc = ty_keys_read(cli, &list, err);
    if (rc == 0)
        rc = check_known(cli, &list, ids, err);
    if (rc == 0)
        rc = revoke_all(cli, ids, err);
    free(list.keys);
    return rc;
}

// ---- the verb ----

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const char *action = cli->arguments[0];
    if (!strcmp(action, "create"))
        return create_key(cli, options, err);
    if (!strcmp(action, "list"))
        return ty_keys_list(cli, options, err);
    if (!strcmp(action, "revoke"))
        return revoke_keys(cli, err);
    return ty_err_set(err, TY_EINVALID, "\"%.64s\": neither create nor list nor revoke", action);
}

const struct ty_cli_verb ty_cli_keys = {
    .name = "keys",
    .summary = "makes, lists and revokes the keys that programs and people log in with",
    .arguments = "create|list|revoke [ID]...",
    .min_arguments = 1,
    .max_arguments = INT32_MAX,
    .needs = TY_CLI_NEEDS_KAFKA | TY_CLI_TAKES_TIME | TY_CLI_NEEDS_KEYS,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct ty_keys_options),
    .details =
        "create prints the key's id and its secret, once Kafka has the key. The secret is shown this once: of it only a hash is kept, of\n"
        "a signing key its public half. revoke is confirmed once Kafka has it, and every responder refuses the key and all tokens that\n"
        "were given for it within seconds, for ever; there is no way back. Who may write to Kafka's topic settings may do all of this.\n"
        "With --json, create: {\"id\", \"kind\": api or signing, \"organization\", \"role\", \"comment\", \"secret\", \"file\"}; revoke:\n"
        "{\"revoked\": [ID, ...]}; list: {\"keys\": [{\"id\", \"kind\", \"organization\", \"role\", \"comment\", \"created\", \"revoked\": when, or\n"
        "null}], \"ignored\": records that are no keys}; of a key of which only the revocation is there, all but id and revoked are null.\n",
    .examples = "  trainyard keys create --org acme --role owner --comment \"the nightly runs\"\n"
                "  trainyard keys create --org acme --signing --out acme-signing.pem\n"
                "  trainyard keys list --org acme\n"
                "  trainyard keys revoke 1b4e28ba-2fa1-4ed2-983f-0016d3cca427\n",
    .run = run,
};
