#include "core/catalog.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/command.h"
#include "core/json_place.h"
#include "core/limits.h"
#include "core/progress_rule.h"
#include "schemas/schemas.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define CATALOG_FORMAT 1
#define CONTAINERS_FILE "containers.json"
#define TRAINERS_FILE "trainers.json"
#define FILE_BYTES (4 * 1024 * 1024) // more is not a catalogue but a mistake

static const ProtobufCEnumDescriptor *const model_types = &viam__app__mltraining__v1__model_type__descriptor;
static const ProtobufCEnumDescriptor *const model_frameworks = &viam__app__mltraining__v1__model_framework__descriptor;

struct ty_catalog {
    json_t *containers_json, *trainers_json; // own the texts
    struct ty_container *containers;
    struct ty_trainer *trainers;
    size_t container_count, trainer_count;
    const struct ty_container *fallback;
    char *trainers_text;
};

// A file while it is checked.
struct source {
    const char *name; // in errors
    const char *text;
    size_t len;
    const json_t *json;
    struct ty_err *err;
};

// Where a check stands: at the top (list NULL) or in an entry of a list.
struct place {
    const struct source *source;
    const char *list;
    size_t index;
    const json_t *object;
};

// ---- errors and single members ----

static int fail(const struct place *place, const char *member, const char *what)
{
    struct ty_json_step steps[3];
    size_t count = 0;
    TY_BUF(path);
    if (place->list) {
        steps[count++] = (struct ty_json_step){.member = place->list};
        steps[count++] = (struct ty_json_step){.index = place->index};
        ty_buf_add_format(&path, "%s[%zu]%s", place->list, place->index, *member ? "." : ": ");
    }
    if (*member) {
        steps[count++] = (struct ty_json_step){.member = member};
        ty_buf_add_format(&path, "%.128s: ", member);
    }
    const struct source *source = place->source;
    return ty_err_set(source->err, TY_EINVALID, "%s:%zu: %s%s", source->name,
                      ty_json_line(source->text, source->len, steps, count), path.len ? ty_buf_text(&path) : "", what);
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

static int get_text(const struct place *place, const char *member, const char **ret)
{
    const json_t *value = json_object_get(place->object, member);
    *ret = value && json_is_string(value) ? json_string_value(value) : "";
    return value && !json_is_string(value) ? fail(place, member, "not a text") : 0;
}

static int need_text(const struct place *place, const char *member, const char **ret)
{
    if (!json_object_get(place->object, member))
        return fail(place, member, "is missing");
    if (get_text(place, member, ret) < 0)
        return -TY_EINVALID;
    return **ret ? 0 : fail(place, member, "is empty");
}

static int get_flag(const struct place *place, const char *member, bool *ret)
{
    const json_t *value = json_object_get(place->object, member);
    if (value && !json_is_boolean(value))
        return fail(place, member, "neither true nor false");
    *ret = json_is_true(value);
    return 0;
}

static int get_path(const struct place *place, const char *member, const char **ret)
{
    if (get_text(place, member, ret) < 0)
        return -TY_EINVALID;
    return !**ret || **ret == '/' ? 0 : fail(place, member, "not an absolute path");
}

// Keys stand in error messages, in the names of Redis keys and on command lines.
static int need_key(const struct place *place, const char *member, const char **ret)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/@+-";
    if (need_text(place, member, ret) < 0)
        return -TY_EINVALID;
    if (strlen(*ret) > TY_LIMIT_NAME_BYTES)
        return fail(place, member, "is too long");
    return (*ret)[strspn(*ret, allowed)] ? fail(place, member, "has other characters than letters, digits and ._:/@+-") : 0;
}

// ---- times ----

static bool take_digits(const char **at, size_t count, int low, int high, int *ret)
{
    int value = 0;
    for (size_t i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (**at - '0');
    }
    *ret = value;
    return value >= low && value <= high;
}

static bool take_char(const char **at, char c)
{
    bool is_there = **at == c;
    *at += is_there;
    return is_there;
}

// "Z" or "+01:00"; *ret_s is what the local time is ahead.
static bool take_zone(const char **at, int *ret_s)
{
    int hours, minutes, sign = **at == '-' ? -1 : 1;
    *ret_s = 0;
    if (take_char(at, 'Z') || take_char(at, 'z'))
        return true;
    if (!take_char(at, '+') && !take_char(at, '-'))
        return false;
    if (!take_digits(at, 2, 0, 23, &hours) || !take_char(at, ':') || !take_digits(at, 2, 0, 59, &minutes))
        return false;
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

// RFC 3339, to the second.
static bool parse_time(const char *at, int64_t *ret_s)
{
    struct tm tm = {0};
    int zone_s;
    bool is_date = take_digits(&at, 4, 1, 9999, &tm.tm_year) && take_char(&at, '-') && take_digits(&at, 2, 1, 12, &tm.tm_mon) &&
                   take_char(&at, '-') && take_digits(&at, 2, 1, 31, &tm.tm_mday) && (take_char(&at, 'T') || take_char(&at, 't'));
    if (!is_date || !take_digits(&at, 2, 0, 23, &tm.tm_hour) || !take_char(&at, ':') ||
        !take_digits(&at, 2, 0, 59, &tm.tm_min) || !take_char(&at, ':') || !take_digits(&at, 2, 0, 59, &tm.tm_sec))
        return false;
    if (take_char(&at, '.')) {
        size_t digits = strspn(at, "0123456789");
        if (!digits)
            return false;
        at += digits;
    }
    if (!take_zone(&at, &zone_s) || *at)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon--;
    int day = tm.tm_mday;
    *ret_s = timegm(&tm) - zone_s;
    return tm.tm_mday == day; // timegm carries 31 February over into March
}

static int need_time(const struct place *place, const char *member, int64_t *ret)
{
    const char *text;
    if (need_text(place, member, &text) < 0)
        return -TY_EINVALID;
    return parse_time(text, ret) ? 0 : fail(place, member, "not an RFC 3339 time, such as 2028-06-30T00:00:00Z");
}

// ---- containers ----

// Checks the frame {"format": 1, ..., "<list>": [...]} and gives the list.
static int get_list(const struct place *top, const char *const *known, const char *name, const json_t **ret_list)
{
    if (check_members(top, known) < 0)
        return -TY_EINVALID;
    const json_t *format = json_object_get(top->object, "format");
    if (!json_is_integer(format) || json_integer_value(format) != CATALOG_FORMAT)
        return fail(top, "format", format ? "not 1, the one format that this version reads" : "is missing");
    *ret_list = json_object_get(top->object, name);
    return json_is_array(*ret_list) ? 0 : fail(top, name, *ret_list ? "not a list" : "is missing");
}

static int load_runner(const struct place *place, struct ty_container *container)
{
    static const char *const names[] = {
        [TY_RUNNER_PROCESS] = "process", [TY_RUNNER_CONTAINER] = "container", [TY_RUNNER_NULL] = "null"};
    const char *runner = "", *install = "", *wheels = "";
    if (need_text(place, "runner", &runner) < 0 || get_path(place, "python", &container->python) < 0 ||
        get_text(place, "install", &install) < 0 || get_path(place, "wheels", &wheels) < 0)
        return -TY_EINVALID;
    size_t kind = 0;
    while (kind < sizeof names / sizeof *names && strcmp(names[kind], runner) != 0)
        kind++;
    if (kind == sizeof names / sizeof *names)
        return fail(place, "runner", "none of process, container, null");
    container->runner = (enum ty_runner)kind;
    if (container->runner == TY_RUNNER_PROCESS && !*container->python)
        return fail(place, "python", "is missing: runner process needs an interpreter");
    if (*install && strcmp(install, "offline") != 0 && strcmp(install, "online") != 0)
        return fail(place, "install", "neither offline nor online");
    container->online_install = strcmp(install, "online") == 0;
    container->wheels = *wheels ? wheels : NULL;
    return 0;
}

static int load_container(const struct place *place, struct ty_container *container)
{
    static const char *const known[] = {"key",    "uri",    "framework", "description", "eol",
                                        "runner", "python", "install",   "wheels",      "hidden", "progress", NULL};
    if (check_members(place, known) < 0 || need_key(place, "key", &container->key) < 0 ||
        need_text(place, "uri", &container->uri) < 0 || get_text(place, "framework", &container->framework) < 0 ||
        get_text(place, "description", &container->description) < 0 || need_time(place, "eol", &container->eol_s) < 0 ||
        get_flag(place, "hidden", &container->hidden) < 0 || load_runner(place, container) < 0)
        return -TY_EINVALID;
    return 0;
}

static int load_progress(const struct place *place, struct ty_container *container)
{
    const json_t *list = json_object_get(place->object, "progress");
    struct ty_err err;
    if (!list || ty_progress_rules_new(list, &container->progress, &err) == 0)
        return 0;
    return fail(place, "progress", err.message);
}

static int load_containers(struct ty_catalog *catalog, const struct source *source)
{
    static const char *const known[] = {"format", "about", "default", "containers", NULL};
    struct place top = {.source = source, .object = source->json};
    const json_t *list;
    const char *fallback;
    if (get_list(&top, known, "containers", &list) < 0 || need_text(&top, "default", &fallback) < 0)
        return -TY_EINVALID;
    catalog->containers = ty_xcalloc(json_array_size(list), sizeof *catalog->containers);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct place place = {.source = source, .list = "containers", .index = i, .object = json_array_get(list, i)};
        struct ty_container *container = &catalog->containers[i];
        if (load_container(&place, container) < 0)
            return -TY_EINVALID;
        if (ty_catalog_container(catalog, container->key))
            return fail(&place, "key", "stands on another container already");
        catalog->container_count++; // what it has more is freed with it
        if (load_progress(&place, container) < 0)
            return -TY_EINVALID;
    }
    catalog->fallback = ty_catalog_container(catalog, fallback);
    if (!catalog->fallback)
        return fail(&top, "default", "no container has this key");
    return catalog->fallback->hidden ? fail(&top, "default", "names a hidden container") : 0;
}

// ---- trainers ----

static int need_enum(const struct place *place, const char *member, const ProtobufCEnumDescriptor *descriptor, int *ret)
{
    const char *name;
    if (need_text(place, member, &name) < 0)
        return -TY_EINVALID;
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(descriptor, name);
    if (!value)
        return fail(place, member, "not a value of the API's enum");
    if (!value->value)
        return fail(place, member, "must not be the unspecified value");
    *ret = value->value;
    return 0;
}

static int load_script(const struct place *place, struct ty_trainer *trainer)
{
    struct ty_err ignored;
    if (need_key(place, "script", &trainer->script) < 0 || get_text(place, "script_version", &trainer->script_version) < 0)
        return -TY_EINVALID;
    const char *colon = strchr(trainer->script, ':');
    if (!colon || colon == trainer->script || strchr(colon + 1, ':') ||
        ty_name_check("name", trainer->script, TY_LIMIT_NAME_BYTES, &ignored) < 0 ||
        ty_name_check("name", colon + 1, TY_LIMIT_NAME_BYTES, &ignored) < 0)
        return fail(place, "script", "not of the form prefix:name");
    if (*trainer->script_version &&
        ty_name_check("version", trainer->script_version, TY_LIMIT_NAME_BYTES, &ignored) < 0)
        return fail(place, "script_version", "cannot be a file name");
    return 0;
}

static int load_trainer(struct ty_catalog *catalog, const struct place *place, struct ty_trainer *trainer)
{
    static const char *const known[] = {"model_type",     "model_framework", "default",     "script",
                                        "script_version", "container",       "description", NULL};
    if (check_members(place, known) < 0 || need_enum(place, "model_type", model_types, &trainer->model_type) < 0 ||
        need_enum(place, "model_framework", model_frameworks, &trainer->model_framework) < 0 ||
        get_flag(place, "default", &trainer->is_default) < 0 || load_script(place, trainer) < 0 ||
        need_text(place, "container", &trainer->container) < 0 ||
        get_text(place, "description", &trainer->description) < 0)
        return -TY_EINVALID;
    const struct ty_container *container = ty_catalog_container(catalog, trainer->container);
    if (!container)
        return fail(place, "container", "no container of " CONTAINERS_FILE " has this key");
    if (container->runner == TY_RUNNER_NULL)
        return fail(place, "container", "this container runs nothing");
    if (ty_catalog_trainer(catalog, trainer->model_type, trainer->model_framework))
        return fail(place, "model_framework", "an earlier trainer serves this type and framework");
    if (trainer->is_default && ty_catalog_trainer(catalog, trainer->model_type, 0))
        return fail(place, "default", "an earlier trainer is this model type's default");
    return 0;
}

// "MODEL_TYPE_OBJECT_DETECTION" gives "object detection", "MODEL_FRAMEWORK_ONNX" gives "ONNX".
static void add_value(struct ty_buf *out, const ProtobufCEnumDescriptor *descriptor, int number, bool is_type)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    if (!value) {
        ty_buf_add_format(out, "%d", number);
        return;
    }
    const char *name = value->name + strlen(is_type ? "MODEL_TYPE_" : "MODEL_FRAMEWORK_");
    for (; *name; name++) {
        char lower = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : ' ';
        ty_buf_add_byte(out, (uint8_t)(is_type ? lower : *name));
    }
}

void ty_catalog_add_pair(struct ty_buf *out, int model_type, int model_framework)
{
    add_value(out, model_types, model_type, true);
    ty_buf_add_text(out, " -> ");
    if (model_framework)
        add_value(out, model_frameworks, model_framework, false);
    else
        ty_buf_add_text(out, "any framework");
}

static char *describe_trainers(const struct ty_catalog *catalog)
{
    TY_BUF(text);
    for (size_t i = 0; i < catalog->trainer_count; i++) {
        const struct ty_trainer *trainer = &catalog->trainers[i];
        ty_buf_add_text(&text, i ? ", " : "");
        ty_catalog_add_pair(&text, trainer->model_type, trainer->model_framework);
        ty_buf_add_format(&text, " (%s)", trainer->script);
    }
    return ty_xstrdup(text.len ? ty_buf_text(&text) : "none");
}

static int load_trainers(struct ty_catalog *catalog, const struct source *source)
{
    static const char *const known[] = {"format", "about", "trainers", NULL};
    struct place place = {.source = source, .object = source->json};
    const json_t *list;
    if (get_list(&place, known, "trainers", &list) < 0)
        return -TY_EINVALID;
    catalog->trainers = ty_xcalloc(json_array_size(list), sizeof *catalog->trainers);
    place.list = "trainers";
    for (place.index = 0; place.index < json_array_size(list); place.index++) {
        place.object = json_array_get(list, place.index);
        if (load_trainer(catalog, &place, &catalog->trainers[place.index]) < 0)
            return -TY_EINVALID;
        catalog->trainer_count++;
    }
    // Most clients leave the framework out, so every type that is served has to have an answer for that.
    for (place.index = 0; place.index < catalog->trainer_count; place.index++)
        if (!ty_catalog_trainer(catalog, catalog->trainers[place.index].model_type, 0))
            return fail(&place, "default", "no trainer of this model type is its default");
    catalog->trainers_text = describe_trainers(catalog);
    return 0;
}

// ---- loading ----

static int parse_json(struct source *source, json_t **ret)
{
    json_error_t json_err;
    json_t *json = json_loadb(source->text, source->len, JSON_REJECT_DUPLICATES, &json_err);
    if (!json)
        return ty_err_set(source->err, TY_EINVALID, "%s:%d:%d: %s", source->name, json_err.line > 0 ? json_err.line : 1,
                          json_err.column > 0 ? json_err.column : 1, json_err.text);
    *ret = json;
    source->json = json;
    return 0;
}

static int parse(struct source *containers, struct source *trainers, struct ty_catalog **ret_catalog)
{
    struct ty_catalog *catalog = ty_xcalloc(1, sizeof *catalog);
    if (parse_json(containers, &catalog->containers_json) < 0 || load_containers(catalog, containers) < 0 ||
        parse_json(trainers, &catalog->trainers_json) < 0 || load_trainers(catalog, trainers) < 0) {
        ty_catalog_free(catalog);
        return -TY_EINVALID;
    }
    *ret_catalog = catalog;
    return 0;
}

int ty_catalog_parse(const char *containers, size_t containers_len, const char *trainers, size_t trainers_len,
                     struct ty_catalog **ret_catalog, struct ty_err *err)
{
    struct source first = {.name = CONTAINERS_FILE, .text = containers, .len = containers_len, .err = err};
    struct source second = {.name = TRAINERS_FILE, .text = trainers, .len = trainers_len, .err = err};
    return parse(&first, &second, ret_catalog);
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

int ty_catalog_load(const char *dir, struct ty_catalog **ret_catalog, struct ty_err *err)
{
    if (!dir)
        return ty_catalog_parse((const char *)ty_schema_containers, ty_schema_containers_len,
                                (const char *)ty_schema_trainers, ty_schema_trainers_len, ret_catalog, err);
    TY_BUF(containers);
    TY_BUF(trainers);
    char *first_path TY_FREE = ty_xasprintf("%s/%s", dir, CONTAINERS_FILE);
    char *second_path TY_FREE = ty_xasprintf("%s/%s", dir, TRAINERS_FILE);
    if (read_file(first_path, &containers, err) < 0 || read_file(second_path, &trainers, err) < 0)
        return -(int)err->code;
    struct source first = {.name = first_path, .text = ty_buf_text(&containers), .len = containers.len, .err = err};
    struct source second = {.name = second_path, .text = ty_buf_text(&trainers), .len = trainers.len, .err = err};
    return parse(&first, &second, ret_catalog);
}

void ty_catalog_free(struct ty_catalog *catalog)
{
    if (!catalog)
        return;
    json_decref(catalog->containers_json);
    json_decref(catalog->trainers_json);
    for (size_t i = 0; i < catalog->container_count; i++)
        ty_progress_rules_free(catalog->containers[i].progress);
    free(catalog->containers);
    free(catalog->trainers);
    free(catalog->trainers_text);
    free(catalog);
}

// ---- looking up ----

size_t ty_catalog_container_count(const struct ty_catalog *catalog)
{
    return catalog->container_count;
}

const struct ty_container *ty_catalog_container_at(const struct ty_catalog *catalog, size_t index)
{
    return &catalog->containers[index];
}

const struct ty_container *ty_catalog_container(const struct ty_catalog *catalog, const char *key)
{
    if (!key || !*key)
        return catalog->fallback;
    for (size_t i = 0; i < catalog->container_count; i++)
        if (!strcmp(catalog->containers[i].key, key))
            return &catalog->containers[i];
    return NULL;
}

const struct ty_trainer *ty_catalog_trainer(const struct ty_catalog *catalog, int model_type, int model_framework)
{
    for (size_t i = 0; i < catalog->trainer_count; i++) {
        const struct ty_trainer *trainer = &catalog->trainers[i];
        if (trainer->model_type == model_type &&
            (model_framework ? trainer->model_framework == model_framework : trainer->is_default))
            return trainer;
    }
    return NULL;
}

const char *ty_catalog_trainers_text(const struct ty_catalog *catalog)
{
    return catalog->trainers_text;
}
