// trainyard keys list: the keys as Kafka has them.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "producer/cli/keys.h"
#include "producer/cli/letters.h"
#include "producer/cli/when.h"

struct ty_listed_key *ty_keys_find(const struct ty_key_list *list, const struct ty_id *id)
{
    for (size_t i = 0; i < list->count; i++)
        if (ty_id_equal(&list->keys[i].key.id, id))
            return &list->keys[i];
    return NULL;
}

static int add(void *context, const struct ty_topic_record *record, struct ty_err *err)
{
    struct ty_key_list *list = context;
    struct ty_key key;
    struct ty_err why;
    (void)err;
    if (!record->key || !ty_key_is_name(record->key, record->key_len))
        return 0; // a rule
    if (ty_key_decode(record->key, record->key_len, record->value, record->value_len, &key, &why) < 0) {
        list->ignored++; // as the intake does, which leaves a dead letter
        return 0;
    }
    struct ty_listed_key *listed = ty_keys_find(list, &key.id);
    if (!listed) {
        if (list->count == list->cap) {
            list->cap = list->cap ? 2 * list->cap : 64;
            list->keys = ty_xrealloc(list->keys, list->cap * sizeof *list->keys);
        }
        listed = &list->keys[list->count++];
        *listed = (struct ty_listed_key){.key.id = key.id};
    }
    if (key.is_revocation) {
        listed->is_revoked = true;
        listed->revoked_us = key.issued_at_us;
    } else {
        listed->is_made = true;
        listed->key = key;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct ty_listed_key *first = a, *second = b;
    int by_name = strcmp(first->key.organization, second->key.organization);
    if (by_name)
        return by_name;
    return first->key.issued_at_us < second->key.issued_at_us ? -1 : first->key.issued_at_us > second->key.issued_at_us;
}

int ty_keys_read(struct ty_cli *cli, struct ty_key_list *ret_list, struct ty_err *err)
{
    struct ty_kafka_options kafka = ty_letters_kafka(cli);
    struct ty_topic_reader *reader;
    *ret_list = (struct ty_key_list){0};
    if (ty_topic_reader_open(&kafka, TY_KEYS_TOPIC, (int)cli->common->timeout_ms, &reader, err) < 0)
        return ty_letters_trouble(cli, err);
    int rc = ty_topic_reader_each(reader, 0, add, ret_list, err);
    ty_topic_reader_close(reader);
    if (rc < 0)
        return ty_letters_trouble(cli, err);
    if (ret_list->count)
        qsort(ret_list->keys, ret_list->count, sizeof *ret_list->keys, compare);
    return 0;
}

static bool is_shown(const struct ty_listed_key *listed, const struct ty_keys_options *options)
{
    return (options->all || !listed->is_revoked) && (!options->org || !*options->org || !strcmp(options->org, listed->key.organization));
}

static const char *kind_of(const struct ty_key *key)
{
    return key->kind == TY_KEY_API ? "api" : "signing";
}

static void print(const struct ty_cli *cli, const struct ty_key_list *list, const struct ty_keys_options *options)
{
    static const char *const headers[] = {"ID", "ORGANIZATION", "ROLE", "KIND", "CREATED", "REVOKED", "COMMENT"};
    struct ty_table *table = ty_table_new(headers, sizeof headers / sizeof *headers);
    size_t shown = 0;
    for (size_t i = 0; i < list->count; i++) {
        const struct ty_listed_key *listed = &list->keys[i];
        char id[TY_ID_TEXT_BYTES], when[TY_WHEN_BYTES];
        if (!is_shown(listed, options))
            continue;
        shown++;
        ty_table_add(table, TY_COLOR_NONE, ty_id_format(&listed->key.id, id));
        ty_table_add(table, TY_COLOR_NONE, listed->key.organization);
        ty_table_add(table, TY_COLOR_NONE, listed->is_made ? ty_key_role_name(listed->key.role) : "");
        ty_table_add(table, TY_COLOR_NONE, listed->is_made ? kind_of(&listed->key) : "");
        ty_table_add(table, TY_COLOR_NONE, listed->is_made ? ty_when_utc((int64_t)listed->key.issued_at_us, when) : "");
        ty_table_add(table, TY_COLOR_RED, listed->is_revoked ? ty_when_utc((int64_t)listed->revoked_us, when) : "");
        ty_table_add(table, TY_COLOR_NONE, listed->key.comment);
    }
    if (shown)
        ty_table_print(table, cli->out, cli->color);
    else
        ty_cli_note(cli, "no keys%s", options->all ? "" : " in force");
    if (list->ignored)
        ty_cli_note(cli, "%" PRIu64 " of the topic's records are no keys; see trainyard dead-letters", list->ignored);
    ty_table_free(table);
}

static json_t *time_or_null(bool is_set, uint64_t time_us)
{
    char when[TY_WHEN_BYTES];
    return is_set ? json_string(ty_when_millis((int64_t)time_us, when)) : json_null();
}

static void put(const struct ty_cli *cli, const struct ty_key_list *list, const struct ty_keys_options *options)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const struct ty_listed_key *listed = &list->keys[i];
        const struct ty_key *key = &listed->key;
        char id[TY_ID_TEXT_BYTES];
        bool is_made = listed->is_made;
        if (is_shown(listed, options))
            json_array_append_new(keys, json_pack("{s:s, s:s?, s:s?, s:s?, s:s?, s:o, s:o}", "id", ty_id_format(&key->id, id),
                "kind", is_made ? kind_of(key) : NULL, "organization", is_made ? key->organization : NULL,
                "role", is_made ? ty_key_role_name(key->role) : NULL, "comment", is_made ? key->comment : NULL,
                "created", time_or_null(is_made, key->issued_at_us), "revoked", time_or_null(listed->is_revoked, listed->revoked_us)));
    }
    ty_cli_put_json(cli, json_pack("{s:o, s:I}", "keys", keys, "ignored", (json_int_t)list->ignored), false);
}

int ty_keys_list(struct ty_cli *cli, const struct ty_keys_options *options, struct ty_err *err)
{
    struct ty_key_list list;
    if (cli->count > 1)
        return ty_err_set(err, TY_EINVALID, "\"%.64s\": list takes no more arguments", cli->arguments[1]);
    int rc = ty_keys_read(cli, &list, err);
    if (rc == 0 && cli->common->json)
        put(cli, &list, options);
    else if (rc == 0)
        print(cli, &list, options);
    free(list.keys);
    return rc;
}
