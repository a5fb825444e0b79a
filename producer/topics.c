#include "producer/topics.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/json_place.h"
#include "schemas/schemas.h"

#define TOPICS_FORMAT 1
#define BUILT_IN "topics.json"
#define FILE_BYTES (1024 * 1024) // more is not a list of topics but a mistake
#define PARTITIONS_MAX 10000
#define NAME_BYTES 249 // Kafka's limit for a topic's whole name

struct ty_topics {
    json_t *json; // owns the texts
    const char *prefix;
    struct ty_topic *topics;
    size_t count;
};

struct source {
    const char *name; // in errors
    const char *text;
    size_t len;
    struct ty_err *err;
};

// Where a check stands: at the top (index < 0), in a topic, or in a topic's config.
struct place {
    const struct source *source;
    long index;
    bool in_config;
    const json_t *object;
};

static int fail(const struct place *place, const char *member, const char *what)
{
    struct ty_json_step steps[4];
    size_t count = 0;
    TY_BUF(path);
    if (place->index >= 0) {
        steps[count++] = (struct ty_json_step){.member = "topics"};
        steps[count++] = (struct ty_json_step){.index = (size_t)place->index};
        ty_buf_add_format(&path, "topics[%ld]", place->index);
    }
    if (place->in_config) {
        steps[count++] = (struct ty_json_step){.member = "config"};
        ty_buf_add_text(&path, ".config");
    }
    if (*member) {
        steps[count++] = (struct ty_json_step){.member = member};
        ty_buf_add_format(&path, "%s%.128s", path.len ? "." : "", member);
    }
    const struct source *source = place->source;
    return ty_err_set(source->err, TY_EINVALID, "%s:%zu: %s%s%s", source->name,
                      ty_json_line(source->text, source->len, steps, count), ty_buf_text(&path), path.len ? ": " : "", what);
}

static int check_members(const struct place *place, const char *const *known)
{
    if (!json_is_object(place->object))
        return fail(place, "", "not an object");
    for (void *iter = json_object_iter((json_t *)place->object); iter;
         iter = json_object_iter_next((json_t *)place->object, iter)) {
        const char *key = json_object_iter_key(iter);
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return fail(place, key, "there is no such member");
    }
    return 0;
}

static int need_text(const struct place *place, const char *member, const char **ret)
{
    const json_t *value = json_object_get(place->object, member);
    if (!value)
        return fail(place, member, "is missing");
    if (!json_is_string(value) || !json_string_length(value))
        return fail(place, member, "not a text");
    *ret = json_string_value(value);
    return 0;
}

static bool is_topic_name(const char *name)
{
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(name);
}

// A list of texts, NULL behind the last; the texts stay the JSON's.
static int need_texts(const struct place *place, const char *member, char ***ret)
{
    const json_t *list = json_object_get(place->object, member);
    if (!json_is_array(list))
        return fail(place, member, list ? "not a list" : "is missing");
    *ret = ty_xcalloc(json_array_size(list) + 1, sizeof **ret);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        if (!json_is_string(entry) || !json_string_length(entry))
            return fail(place, member, "an entry is not a text");
        (*ret)[i] = (char *)json_string_value(entry);
    }
    return 0;
}

static int load_config(const struct place *topic_place, struct ty_topic *topic)
{
    struct place place = *topic_place;
    json_t *config = json_object_get(topic_place->object, "config");
    if (!json_is_object(config))
        return fail(topic_place, "config", config ? "not an object" : "is missing");
    place.in_config = true;
    place.object = config;
    topic->settings = ty_xcalloc(json_object_size(config), sizeof *topic->settings);
    for (void *iter = json_object_iter(config); iter; iter = json_object_iter_next(config, iter)) {
        struct ty_topic_setting *setting = &topic->settings[topic->setting_count++];
        setting->name = json_object_iter_key(iter);
        if (need_text(&place, setting->name, &setting->value) < 0)
            return -TY_EINVALID;
    }
    return 0;
}

static int load_topic(struct ty_topics *topics, const struct place *place, struct ty_topic *topic)
{
    static const char *const known[] = {"name", "key", "value", "writers", "readers", "partitions", "config", NULL};
    if (check_members(place, known) < 0 || need_text(place, "name", &topic->name) < 0 ||
        need_text(place, "key", &topic->key) < 0 || need_text(place, "value", &topic->value) < 0 ||
        need_texts(place, "writers", &topic->writers) < 0 || need_texts(place, "readers", &topic->readers) < 0)
        return -TY_EINVALID;
    if (!is_topic_name(topic->name))
        return fail(place, "name", "has other characters than letters, digits and ._-");
    if (strlen(topics->prefix) + strlen(topic->name) > NAME_BYTES)
        return fail(place, "name", "is too long");
    for (size_t i = 0; i < topics->count; i++)
        if (&topics->topics[i] != topic && !strcmp(topics->topics[i].name, topic->name))
            return fail(place, "name", "stands on another topic already");
    const json_t *partitions = json_object_get(place->object, "partitions");
    if (!json_is_integer(partitions) || json_integer_value(partitions) < 1 ||
        json_integer_value(partitions) > PARTITIONS_MAX)
        return fail(place, "partitions", partitions ? "not a number from 1 to 10000" : "is missing");
    topic->partitions = (int)json_integer_value(partitions);
    return load_config(place, topic);
}

static int load(struct ty_topics *topics, const struct source *source)
{
    static const char *const known[] = {"format", "about", "prefix", "topics", NULL};
    struct place place = {.source = source, .index = -1, .object = topics->json};
    if (check_members(&place, known) < 0)
        return -TY_EINVALID;
    const json_t *format = json_object_get(topics->json, "format");
    if (!json_is_integer(format) || json_integer_value(format) != TOPICS_FORMAT)
        return fail(&place, "format", format ? "not 1, the one format that this version reads" : "is missing");
    if (need_text(&place, "prefix", &topics->prefix) < 0)
        return -TY_EINVALID;
    if (!is_topic_name(topics->prefix))
        return fail(&place, "prefix", "has other characters than letters, digits and ._-");
    const json_t *list = json_object_get(topics->json, "topics");
    if (!json_is_array(list))
        return fail(&place, "topics", list ? "not a list" : "is missing");
    topics->topics = ty_xcalloc(json_array_size(list), sizeof *topics->topics);
    for (size_t i = 0; i < json_array_size(list); i++) {
        place.index = (long)i;
        place.object = json_array_get(list, i);
        topics->count++;
        if (load_topic(topics, &place, &topics->topics[i]) < 0)
            return -TY_EINVALID;
    }
    return 0;
}

int ty_topics_parse(const char *name, const char *text, size_t len, struct ty_topics **ret_topics, struct ty_err *err)
{
    struct source source = {.name = name, .text = text, .len = len, .err = err};
    json_error_t json_err;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &json_err);
    if (!json)
        return ty_err_set(err, TY_EINVALID, "%s:%d:%d: %s", name, json_err.line > 0 ? json_err.line : 1,
                          json_err.column > 0 ? json_err.column : 1, json_err.text);
    struct ty_topics *topics = ty_xcalloc(1, sizeof *topics);
    topics->json = json;
    if (load(topics, &source) < 0) {
        ty_topics_free(topics);
        return -TY_EINVALID;
    }
    *ret_topics = topics;
    return 0;
}

static int read_file(const char *path, struct ty_buf *out, struct ty_err *err)
{
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT)
        return ty_err_set(err, TY_ENOTFOUND, "%s: there is no such file", path);
    if (!file)
        return ty_err_errno(err, errno, "%s", path);
    size_t got = 1;
    while (got && out->len <= FILE_BYTES) {
        got = fread(ty_buf_reserve(out, 65536), 1, 65536, file);
        out->len += got;
    }
    int rc = 0;
    if (ferror(file))
        rc = ty_err_errno(err, errno, "%s", path);
    else if (out->len > FILE_BYTES)
        rc = ty_err_set(err, TY_EINVALID, "%s: more than %d bytes", path, FILE_BYTES);
    fclose(file);
    return rc;
}

int ty_topics_load(const char *path, struct ty_topics **ret_topics, struct ty_err *err)
{
    TY_BUF(text);
    if (!path)
        return ty_topics_parse(BUILT_IN, (const char *)ty_schema_topics, ty_schema_topics_len, ret_topics, err);
    int rc = read_file(path, &text, err);
    return rc < 0 ? rc : ty_topics_parse(path, ty_buf_text(&text), text.len, ret_topics, err);
}

void ty_topics_free(struct ty_topics *topics)
{
    if (!topics)
        return;
    for (size_t i = 0; i < topics->count; i++) {
        free(topics->topics[i].writers);
        free(topics->topics[i].readers);
        free(topics->topics[i].settings);
    }
    free(topics->topics);
    json_decref(topics->json);
    free(topics);
}

const char *ty_topics_prefix(const struct ty_topics *topics)
{
    return topics->prefix;
}

size_t ty_topics_count(const struct ty_topics *topics)
{
    return topics->count;
}

const struct ty_topic *ty_topics_at(const struct ty_topics *topics, size_t index)
{
    return &topics->topics[index];
}
