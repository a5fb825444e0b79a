#include "core/catalog.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/buf.h"
#include "schemas/schemas.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define CATALOG_FORMAT 1

struct ty_catalog {
    json_t *containers_json, *trainers_json; // own the texts
    struct ty_container *containers;
    struct ty_trainer *trainers;
    size_t container_count, trainer_count;
    const struct ty_container *fallback;
    struct ty_buf trainers_text;
};

// Where a check stands, for its error.
struct place {
    const char *file;
    char path[128];
    struct ty_err *err;
};

static int fail(const struct place *place, const char *member, const char *what)
{
    return ty_err_set(place->err, TY_EINVALID, "%s: %s%s%s: %s", place->file, place->path,
                      *place->path && *member ? "." : "", member, what);
}

static int refuse_unknown(const struct place *place, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;
    if (!json_is_object(object))
        return fail(place, "", "not an object");
    json_object_foreach((json_t *)object, key, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key))
            i++;
        if (!known[i])
            return fail(place, key, "there is no such member");
    }
    return 0;
}

static int get_text(const struct place *place, const json_t *object, const char *member, bool required, const char **ret)
{
    const json_t *value = json_object_get(object, member);
    if (!value && !required) {
        *ret = "";
        return 0;
    }
    if (!json_is_string(value))
        return fail(place, member, value ? "not a text" : "is missing");
    if (required && !*json_string_value(value))
        return fail(place, member, "is empty");
    *ret = json_string_value(value);
    return 0;
}

static int get_flag(const struct place *place, const json_t *object, const char *member, bool *ret)
{
    const json_t *value = json_object_get(object, member);
    if (value && !json_is_boolean(value))
        return fail(place, member, "neither true nor false");
    *ret = json_is_true(value);
    return 0;
}

static int get_time(const struct place *place, const json_t *object, const char *member, int64_t *ret)
{
    const char *text;
    struct tm tm = {0};
    if (get_text(place, object, member, true, &text) < 0)
        return -(int)place->err->code;
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (!end || *end)
        return fail(place, member, "not an RFC 3339 time in UTC, such as 2028-06-30T00:00:00Z");
    *ret = timegm(&tm);
    return 0;
}

static int load_json(const char *dir, const char *file, const unsigned char *built_in, size_t len, json_t **ret,
                     struct ty_err *err)
{
    json_error_t json_err;
    char *path TY_FREE = dir ? ty_xasprintf("%s/%s", dir, file) : NULL;
    json_t *json = path ? json_load_file(path, JSON_REJECT_DUPLICATES, &json_err)
                        : json_loadb((const char *)built_in, len, JSON_REJECT_DUPLICATES, &json_err);
    if (!json && json_err.line < 0)
        return ty_err_set(err, TY_ENOTFOUND, "%s: %s", path ? path : file, json_err.text);
    if (!json)
        return ty_err_set(err, TY_EINVALID, "%s:%d:%d: %s", path ? path : file, json_err.line, json_err.column, json_err.text);
    *ret = json;
    return 0;
}

// Checks the frame {"format": 1, ..., "<list>": [...]} and gives the list.
static int get_list(const struct place *place, const json_t *json, const char *const *known, const char *list_name,
                    const json_t **ret_list)
{
    if (refuse_unknown(place, json, known) < 0)
        return -(int)place->err->code;
    const json_t *format = json_object_get(json, "format");
    if (!json_is_integer(format) || json_integer_value(format) != CATALOG_FORMAT)
        return fail(place, "format", "must be 1");
    *ret_list = json_object_get(json, list_name);
    if (!json_is_array(*ret_list))
        return fail(place, list_name, "is missing or not a list");
    return 0;
}

static int load_container(const struct place *place, const json_t *json, struct ty_container *c)
{
    static const char *const known[] = {"key", "uri", "framework", "description", "eol", "runner", "python",
                                        "install", "wheels", "hidden", NULL};
    const char *runner, *install;
    if (refuse_unknown(place, json, known) < 0 || get_text(place, json, "key", true, &c->key) < 0 ||
        get_text(place, json, "uri", true, &c->uri) < 0 || get_text(place, json, "framework", false, &c->framework) < 0 ||
        get_text(place, json, "description", false, &c->description) < 0 || get_time(place, json, "eol", &c->eol_s) < 0 ||
        get_text(place, json, "runner", true, &runner) < 0 || get_text(place, json, "python", false, &c->python) < 0 ||
        get_text(place, json, "install", false, &install) < 0 || get_text(place, json, "wheels", false, &c->wheels) < 0 ||
        get_flag(place, json, "hidden", &c->hidden) < 0)
        return -(int)place->err->code;
    if (!strcmp(runner, "process"))
        c->runner = TY_RUNNER_PROCESS;
    else if (!strcmp(runner, "container"))
        c->runner = TY_RUNNER_CONTAINER;
    else if (!strcmp(runner, "null"))
        c->runner = TY_RUNNER_NULL;
    else
        return fail(place, "runner", "none of process, container, null");
    if (c->runner == TY_RUNNER_PROCESS && *c->python != '/')
        return fail(place, "python", "must be an absolute path");
    if (*install && strcmp(install, "offline") && strcmp(install, "online"))
        return fail(place, "install", "neither offline nor online");
    c->online_install = !strcmp(install, "online");
    c->wheels = *c->wheels ? c->wheels : NULL;
    return 0;
}

static int load_containers(struct ty_catalog *catalog, const char *file, struct ty_err *err)
{
    static const char *const known[] = {"format", "about", "default", "containers", NULL};
    struct place place = {.file = file, .err = err};
    const json_t *list, *json = catalog->containers_json;
    const char *fallback;
    if (get_list(&place, json, known, "containers", &list) < 0 || get_text(&place, json, "default", true, &fallback) < 0)
        return -(int)err->code;
    size_t count = json_array_size(list);
    catalog->containers = ty_xcalloc(count + 1, sizeof *catalog->containers);
    for (size_t i = 0; i < count; i++) {
        struct ty_container *c = &catalog->containers[i];
        snprintf(place.path, sizeof place.path, "containers[%zu]", i);
        if (load_container(&place, json_array_get(list, i), c) < 0)
            return -(int)err->code;
        if (ty_catalog_container(catalog, c->key))
            return fail(&place, "key", "this key stands twice");
        catalog->container_count++;
        if (!strcmp(c->key, fallback))
            catalog->fallback = c;
    }
    *place.path = 0;
    if (!catalog->fallback || catalog->fallback->hidden)
        return fail(&place, "default", "names no container of the list that is shown");
    return 0;
}

static int get_enum(const struct place *place, const json_t *json, const char *member,
                    const ProtobufCEnumDescriptor *descriptor, int *ret)
{
    const char *name;
    if (get_text(place, json, member, true, &name) < 0)
        return -(int)place->err->code;
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(descriptor, name);
    if (!value || value->value == 0)
        return fail(place, member, "not a value of the API's enum");
    *ret = value->value;
    return 0;
}

static int load_trainer(struct ty_catalog *catalog, const struct place *place, const json_t *json, struct ty_trainer *t)
{
    static const char *const known[] = {"model_type", "model_framework", "default", "script", "script_version",
                                        "container", "description", NULL};
    if (refuse_unknown(place, json, known) < 0 ||
        get_enum(place, json, "model_type", &viam__app__mltraining__v1__model_type__descriptor, &t->model_type) < 0 ||
        get_enum(place, json, "model_framework", &viam__app__mltraining__v1__model_framework__descriptor,
                 &t->model_framework) < 0 ||
        get_flag(place, json, "default", &t->is_default) < 0 || get_text(place, json, "script", true, &t->script) < 0 ||
        get_text(place, json, "script_version", false, &t->script_version) < 0 ||
        get_text(place, json, "container", true, &t->container) < 0 ||
        get_text(place, json, "description", false, &t->description) < 0)
        return -(int)place->err->code;
    if (!strchr(t->script, ':'))
        return fail(place, "script", "not of the form prefix:name");
    const struct ty_container *container = ty_catalog_container(catalog, t->container);
    if (!container || container->runner == TY_RUNNER_NULL)
        return fail(place, "container", "containers.json has no such container");
    if (ty_catalog_trainer(catalog, t->model_type, t->model_framework))
        return fail(place, "model_framework", "a trainer for this type and framework stands before");
    if (t->is_default && ty_catalog_trainer(catalog, t->model_type, 0))
        return fail(place, "default", "the model type has a default trainer before");
    return 0;
}

static void name_trainer(struct ty_buf *out, const struct ty_trainer *t)
{
    const char *type = protobuf_c_enum_descriptor_get_value(&viam__app__mltraining__v1__model_type__descriptor, t->model_type)->name;
    const char *framework =
        protobuf_c_enum_descriptor_get_value(&viam__app__mltraining__v1__model_framework__descriptor, t->model_framework)->name;
    ty_buf_add_format(out, "%s%s with %s", out->len ? ", " : "", type, framework);
}

static int load_trainers(struct ty_catalog *catalog, const char *file, struct ty_err *err)
{
    static const char *const known[] = {"format", "about", "trainers", NULL};
    struct place place = {.file = file, .err = err};
    const json_t *list;
    if (get_list(&place, catalog->trainers_json, known, "trainers", &list) < 0)
        return -(int)err->code;
    size_t count = json_array_size(list);
    catalog->trainers = ty_xcalloc(count + 1, sizeof *catalog->trainers);
    for (size_t i = 0; i < count; i++) {
        snprintf(place.path, sizeof place.path, "trainers[%zu]", i);
        if (load_trainer(catalog, &place, json_array_get(list, i), &catalog->trainers[i]) < 0)
            return -(int)err->code;
        name_trainer(&catalog->trainers_text, &catalog->trainers[i]);
        catalog->trainer_count++;
    }
    return 0;
}

int ty_catalog_load(const char *dir, struct ty_catalog **ret_catalog, struct ty_err *err)
{
    struct ty_catalog *catalog = ty_xcalloc(1, sizeof *catalog);
    int rc = load_json(dir, "containers.json", ty_schema_containers, ty_schema_containers_len, &catalog->containers_json, err);
    if (rc == 0)
        rc = load_containers(catalog, "containers.json", err);
    if (rc == 0)
        rc = load_json(dir, "trainers.json", ty_schema_trainers, ty_schema_trainers_len, &catalog->trainers_json, err);
    if (rc == 0)
        rc = load_trainers(catalog, "trainers.json", err);
    if (rc < 0) {
        ty_catalog_free(catalog);
        return rc;
    }
    *ret_catalog = catalog;
    return 0;
}

void ty_catalog_free(struct ty_catalog *catalog)
{
    if (!catalog)
        return;
    json_decref(catalog->containers_json);
    json_decref(catalog->trainers_json);
    free(catalog->containers);
    free(catalog->trainers);
    ty_buf_done(&catalog->trainers_text);
    free(catalog);
}

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
        const struct ty_trainer *t = &catalog->trainers[i];
        if (t->model_type == model_type && (model_framework ? t->model_framework == model_framework : t->is_default))
            return t;
    }
    return NULL;
}

const char *ty_catalog_trainers_text(const struct ty_catalog *catalog)
{
    return catalog->trainer_count ? ty_buf_text((struct ty_buf *)&catalog->trainers_text) : "none";
}
