#include "core/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/buf.h"
#include "core/limits.h"

#define NULL_CONTAINER "{\"key\":\"null:1\",\"uri\":\"u\",\"eol\":\"2099-12-31T00:00:00Z\",\"runner\":\"null\",\"hidden\":true}"
#define A_CONTAINER                                                                                                         \
    "{\"key\":\"a:1\",\"uri\":\"img\",\"framework\":\"f\",\"description\":\"d\",\"eol\":\"2028-06-30T00:00:00Z\","           \
    "\"runner\":\"process\",\"python\":\"/usr/bin/python3\",\"install\":\"online\",\"wheels\":\"/w\"}"
#define FRAME(list) "{\"format\":1,\"default\":\"a:1\",\"containers\":[" list "]}"
// One container with one member replaced.
#define WITH(member) FRAME("{\"uri\":\"u\",\"eol\":\"2028-06-30T00:00:00Z\",\"key\":\"a:1\",\"runner\":\"container\"," member "}")
#define WITH_EOL(text) FRAME("{\"uri\":\"u\",\"eol\":\"" text "\",\"key\":\"a:1\",\"runner\":\"container\"}")
#define WITH_KEY(text) FRAME("{\"uri\":\"u\",\"eol\":\"2028-06-30T00:00:00Z\",\"key\":" text ",\"runner\":\"container\"}")
#define CONTAINERS FRAME(A_CONTAINER "," NULL_CONTAINER)

#define TRAINERS(list) "{\"format\":1,\"trainers\":[" list "]}"
#define TRAINER(type, framework, more)                                                                                      \
    "{\"model_type\":\"MODEL_TYPE_" type "\",\"model_framework\":\"MODEL_FRAMEWORK_" framework "\"," more "}"
#define SERVED "\"script\":\"p:n\",\"container\":\"a:1\""
#define NO_TRAINERS TRAINERS("")

static int parse(const char *containers, const char *trainers, struct ty_catalog **ret, struct ty_err *err)
{
    return ty_catalog_parse(containers, strlen(containers), trainers, strlen(trainers), ret, err);
}

static void refuse(const char *containers, const char *trainers, const char *message)
{
    struct ty_catalog *catalog = NULL;
    struct ty_err err;
    int rc = parse(containers, trainers, &catalog, &err);
    if (rc == 0)
        fail_msg("taken instead of \"%s\"", message);
    assert_int_equal(rc, -TY_EINVALID);
    assert_int_equal(err.code, TY_EINVALID);
    assert_string_equal(err.message, message);
}

static void test_built_in(void **state)
{
    struct ty_catalog *catalog;
    struct ty_err err;
    (void)state;
    if (ty_catalog_load(NULL, &catalog, &err) < 0)
        fail_msg("%s", err.message);
    const struct ty_container *fallback = ty_catalog_container(catalog, "");
    assert_ptr_equal(fallback, ty_catalog_container(catalog, NULL));
    assert_string_equal(fallback->key, "python:3.11-sklearn");
    assert_int_equal(fallback->runner, TY_RUNNER_PROCESS);
    assert_string_equal(fallback->python, "/usr/bin/python3");
    assert_false(fallback->online_install);
    assert_null(fallback->wheels);
    assert_false(fallback->hidden);
    assert_true(fallback->eol_s == 1845936000);
    const struct ty_container *null = ty_catalog_container(catalog, "null:1");
    assert_int_equal(null->runner, TY_RUNNER_NULL);
    assert_true(null->hidden);
    assert_null(ty_catalog_container(catalog, "tf:2.15"));
    const struct ty_trainer *trainer = ty_catalog_trainer(catalog, 1, 0);
    assert_ptr_equal(trainer, ty_catalog_trainer(catalog, 1, 4));
    assert_string_equal(trainer->script, "trainyard:image-classification-onnx");
    assert_string_equal(trainer->container, "python:3.11-sklearn");
    assert_null(ty_catalog_trainer(catalog, 1, 1));
    assert_null(ty_catalog_trainer(catalog, 2, 0));
    assert_string_equal(ty_catalog_trainers_text(catalog),
                        "single label classification -> ONNX (trainyard:image-classification-onnx)");
    ty_catalog_free(catalog);
    ty_catalog_free(NULL);
}

static void test_members(void **state)
{
    struct ty_catalog *catalog;
    struct ty_err err;
    (void)state;
    assert_int_equal(parse(CONTAINERS, TRAINERS(TRAINER("OBJECT_DETECTION", "TFLITE", SERVED) ","
                                                TRAINER("OBJECT_DETECTION", "PYTORCH", "\"default\":true,\"script_version\":\"7\","
                                                        "\"description\":\"boxes\"," SERVED)), &catalog, &err), 0);
    assert_int_equal(ty_catalog_container_count(catalog), 2);
    const struct ty_container *container = ty_catalog_container_at(catalog, 0);
    assert_string_equal(container->key, "a:1");
    assert_string_equal(container->uri, "img");
    assert_string_equal(container->framework, "f");
    assert_string_equal(container->description, "d");
    assert_true(container->online_install);
    assert_string_equal(container->wheels, "/w");
    assert_string_equal(ty_catalog_container_at(catalog, 1)->python, "");
    const struct ty_trainer *trainer = ty_catalog_trainer(catalog, 3, 0);
    assert_int_equal(trainer->model_type, 3);
    assert_int_equal(trainer->model_framework, 3);
    assert_true(trainer->is_default);
    assert_string_equal(trainer->script_version, "7");
    assert_string_equal(trainer->description, "boxes");
    assert_string_equal(ty_catalog_trainer(catalog, 3, 1)->script_version, "");
    assert_string_equal(ty_catalog_trainers_text(catalog), "object detection -> TFLITE (p:n), object detection -> PYTORCH (p:n)");
    ty_catalog_free(catalog);
    assert_int_equal(parse(CONTAINERS, NO_TRAINERS, &catalog, &err), 0);
    assert_string_equal(ty_catalog_trainers_text(catalog), "none");
    ty_catalog_free(catalog);
}

static void test_pair(void **state)
{
    TY_BUF(text);
    (void)state;
    ty_catalog_add_pair(&text, 2, 0);
    ty_buf_add_text(&text, "; ");
    ty_catalog_add_pair(&text, 1, 2);
    ty_buf_add_text(&text, "; ");
    ty_catalog_add_pair(&text, 9, -3);
    assert_string_equal(ty_buf_text(&text),
                        "multi label classification -> any framework; single label classification -> TENSORFLOW; 9 -> -3");
}

static void test_containers_refused(void **state)
{
    static const char *const cases[][2] = {
        // No JSON, or not this JSON.
        {"", "containers.json:1:1: '[' or '{' expected near end of file"},
        {"[1,\n 2,\n  x]", "containers.json:3:3: invalid token near 'x'"},
        {"{\"format\":1,\n\"format\":1}", "containers.json:2:8: duplicate object key near '\"format\"'"},
        {"[]", "containers.json:1: not an object"},
        {"{}", "containers.json:1: format: is missing"},
        {"{\"format\":2,\"default\":\"a:1\",\"containers\":[]}",
         "containers.json:1: format: not 1, the one format that this version reads"},
        {"{\"format\":\"1\"}", "containers.json:1: format: not 1, the one format that this version reads"},
        {"{\"format\":1}", "containers.json:1: containers: is missing"},
        {"{\"format\":1,\n\n\"containers\":{}}", "containers.json:3: containers: not a list"},
        {"{\"format\":1,\"containers\":[]}", "containers.json:1: default: is missing"},
        {"{\"format\":1,\"containers\":[],\"default\":1}", "containers.json:1: default: not a text"},
        {"{\"format\":1,\"containers\":[],\n \"kontainers\":[]}", "containers.json:2: kontainers: there is no such member"},
        {FRAME("\n[]"), "containers.json:2: containers[0]: not an object"},
        {FRAME("\n" A_CONTAINER ",\n\n7"), "containers.json:4: containers[1]: not an object"},
        // Members.
        {FRAME("{}"), "containers.json:1: containers[0].key: is missing"},
        {WITH_KEY("\"\""), "containers.json:1: containers[0].key: is empty"},
        {WITH_KEY("3"), "containers.json:1: containers[0].key: not a text"},
        {WITH_KEY("null"), "containers.json:1: containers[0].key: not a text"},
        {WITH_KEY("\"a 1\""), "containers.json:1: containers[0].key: has other characters than letters, digits and ._:/@+-"},
        {WITH_KEY("\"100%\""), "containers.json:1: containers[0].key: has other characters than letters, digits and ._:/@+-"},
        {WITH("\"color\":1"), "containers.json:1: containers[0].color: there is no such member"},
        {WITH("\"hidden\":1"), "containers.json:1: containers[0].hidden: neither true nor false"},
        {WITH("\"framework\":1"), "containers.json:1: containers[0].framework: not a text"},
        {WITH("\"description\":[]"), "containers.json:1: containers[0].description: not a text"},
        {WITH("\"install\":\"maybe\""), "containers.json:1: containers[0].install: neither offline nor online"},
        {WITH("\"wheels\":\"w\""), "containers.json:1: containers[0].wheels: not an absolute path"},
        {WITH("\"python\":\"bin/python\""), "containers.json:1: containers[0].python: not an absolute path"},
        {FRAME("{\"key\":\"a:1\",\"eol\":\"2028-06-30T00:00:00Z\",\"runner\":\"null\"}"),
         "containers.json:1: containers[0].uri: is missing"},
        {FRAME("{\"key\":\"a:1\",\"uri\":\"u\",\"runner\":\"null\"}"), "containers.json:1: containers[0].eol: is missing"},
        {WITH("\n\"progress\":[{\"pattern\":\"(a)\",\"step\":1},{\"pattern\":\"b\",\"step\":1}]"),
         "containers.json:2: containers[0].progress: rule 2: step: not the number of a group of the pattern"},
        {FRAME("{\"key\":\"a:1\",\"uri\":\"u\",\"eol\":\"2028-06-30T00:00:00Z\"}"),
         "containers.json:1: containers[0].runner: is missing"},
        {FRAME("{\"key\":\"a:1\",\"uri\":\"u\",\"eol\":\"2028-06-30T00:00:00Z\",\n\"runner\":\"docker\"}"),
         "containers.json:2: containers[0].runner: none of process, container, null"},
        {FRAME("{\"key\":\"a:1\",\"uri\":\"u\",\"eol\":\"2028-06-30T00:00:00Z\",\"runner\":\"process\"}"),
         "containers.json:1: containers[0].python: is missing: runner process needs an interpreter"},
        // The file as a whole.
        {FRAME(A_CONTAINER ",\n" NULL_CONTAINER ",\n" A_CONTAINER),
         "containers.json:3: containers[2].key: stands on another container already"},
        {"{\"format\":1,\"containers\":[" A_CONTAINER "],\n\"default\":\"b:1\"}",
         "containers.json:2: default: no container has this key"},
        {"{\"format\":1,\"default\":\"null:1\",\"containers\":[" NULL_CONTAINER "]}",
         "containers.json:1: default: names a hidden container"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i][0], NO_TRAINERS, cases[i][1]);
}

static void test_long_key(void **state)
{
    char key[TY_LIMIT_NAME_BYTES + 2];
    struct ty_catalog *catalog;
    struct ty_err err;
    (void)state;
    memset(key, 'k', sizeof key);
    for (size_t len = TY_LIMIT_NAME_BYTES; len <= TY_LIMIT_NAME_BYTES + 1; len++) {
        char *text TY_FREE = ty_xasprintf("{\"format\":1,\"default\":\"%.*s\",\"containers\":[{\"key\":\"%.*s\",\"uri\":\"u\","
                                          "\"runner\":\"null\",\"eol\":\"2028-06-30T00:00:00Z\"}]}",
                                          (int)len, key, (int)len, key);
        if (len > TY_LIMIT_NAME_BYTES) {
            refuse(text, NO_TRAINERS, "containers.json:1: containers[0].key: is too long");
        } else {
            assert_int_equal(parse(text, NO_TRAINERS, &catalog, &err), 0);
            ty_catalog_free(catalog);
        }
    }
}

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } good[] = {
        {WITH_EOL("1970-01-01T00:00:00Z"), 0},
        {WITH_EOL("1969-12-31T23:59:59Z"), -1},
        {WITH_EOL("2028-02-29T12:30:45Z"), 1835440245},
        {WITH_EOL("2028-02-29t12:30:45.999z"), 1835440245},
        {WITH_EOL("2028-02-29T14:00:45+01:30"), 1835440245},
        {WITH_EOL("2028-02-29T04:30:45-08:00"), 1835440245},
        {WITH_EOL("9999-12-31T23:59:59Z"), 253402300799},
    };
    static const char *const bad[] = {
        WITH_EOL("2028-06-30"), WITH_EOL("2028-06-30T00:00:00"), WITH_EOL("2028-06-30 00:00:00Z"),
        WITH_EOL("2028-6-30T00:00:00Z"), WITH_EOL("2028-13-01T00:00:00Z"), WITH_EOL("2028-00-01T00:00:00Z"),
        WITH_EOL("2027-02-29T00:00:00Z"), WITH_EOL("2028-06-31T00:00:00Z"), WITH_EOL("2028-06-30T24:00:00Z"),
        WITH_EOL("2028-06-30T00:60:00Z"), WITH_EOL("2028-06-30T00:00:61Z"), WITH_EOL("2028-06-30T00:00:00.Z"),
        WITH_EOL("2028-06-30T00:00:00+1:00"), WITH_EOL("2028-06-30T00:00:00+24:00"), WITH_EOL("2028-06-30T00:00:00Zulu"),
        WITH_EOL("0000-01-01T00:00:00Z"), WITH_EOL(" 2028-06-30T00:00:00Z"), WITH_EOL("soon"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct ty_catalog *catalog;
        struct ty_err err;
        if (parse(good[i].text, NO_TRAINERS, &catalog, &err) < 0)
            fail_msg("%s: %s", good[i].text, err.message);
        assert_true(ty_catalog_container_at(catalog, 0)->eol_s == good[i].seconds);
        ty_catalog_free(catalog);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refuse(bad[i], NO_TRAINERS, "containers.json:1: containers[0].eol: not an RFC 3339 time, such as 2028-06-30T00:00:00Z");
}

static void test_trainers_refused(void **state)
{
    static const char *const cases[][2] = {
        {"{", "trainers.json:1:1: string or '}' expected near end of file"},
        {"{\"format\":1}", "trainers.json:1: trainers: is missing"},
        {TRAINERS("\n3"), "trainers.json:2: trainers[0]: not an object"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"extra\":1," SERVED)),
         "trainers.json:1: trainers[0].extra: there is no such member"},
        {TRAINERS("{" SERVED "}"), "trainers.json:1: trainers[0].model_type: is missing"},
        {TRAINERS(TRAINER("REGRESSION", "ONNX", SERVED)), "trainers.json:1: trainers[0].model_type: not a value of the API's enum"},
        {TRAINERS(TRAINER("UNSPECIFIED", "ONNX", SERVED)),
         "trainers.json:1: trainers[0].model_type: must not be the unspecified value"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "UNSPECIFIED", SERVED)),
         "trainers.json:1: trainers[0].model_framework: must not be the unspecified value"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"default\":\"yes\"," SERVED)),
         "trainers.json:1: trainers[0].default: neither true nor false"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"container\":\"a:1\"")), "trainers.json:1: trainers[0].script: is missing"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\"name\",\"container\":\"a:1\"")),
         "trainers.json:1: trainers[0].script: not of the form prefix:name"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\":name\",\"container\":\"a:1\"")),
         "trainers.json:1: trainers[0].script: not of the form prefix:name"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\"a:b:c\",\"container\":\"a:1\"")),
         "trainers.json:1: trainers[0].script: not of the form prefix:name"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\"a:../b\",\"container\":\"a:1\"")),
         "trainers.json:1: trainers[0].script: not of the form prefix:name"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script_version\":\"../1\"," SERVED)),
         "trainers.json:1: trainers[0].script_version: cannot be a file name"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\"a:b\"")), "trainers.json:1: trainers[0].container: is missing"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\"a:b\",\n\"container\":\"b:1\"")),
         "trainers.json:2: trainers[0].container: no container of containers.json has this key"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"script\":\"a:b\",\"container\":\"null:1\"")),
         "trainers.json:1: trainers[0].container: this container runs nothing"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", SERVED)),
         "trainers.json:1: trainers[0].default: no trainer of this model type is its default"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"default\":true," SERVED) ",\n" TRAINER("OBJECT_DETECTION", "ONNX", SERVED)),
         "trainers.json:2: trainers[1].model_framework: an earlier trainer serves this type and framework"},
        {TRAINERS(TRAINER("OBJECT_DETECTION", "ONNX", "\"default\":true," SERVED) ",\n"
                  TRAINER("OBJECT_DETECTION", "TFLITE", "\n\"default\":true," SERVED)),
         "trainers.json:3: trainers[1].default: an earlier trainer is this model type's default"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(CONTAINERS, cases[i][0], cases[i][1]);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char *path TY_FREE = ty_xasprintf("%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_directory(void **state)
{
    char dir[] = "/tmp/ty-catalog-XXXXXX", expected[256];
    struct ty_catalog *catalog;
    struct ty_err err;
    (void)state;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(ty_catalog_load(dir, &catalog, &err), -TY_ENOTFOUND);
    snprintf(expected, sizeof expected, "%s/containers.json: there is no such file", dir);
    assert_string_equal(err.message, expected);
    write_file(dir, "containers.json", CONTAINERS);
    assert_int_equal(ty_catalog_load(dir, &catalog, &err), -TY_ENOTFOUND);
    write_file(dir, "trainers.json", NO_TRAINERS);
    assert_int_equal(ty_catalog_load(dir, &catalog, &err), 0);
    assert_int_equal(ty_catalog_container_count(catalog), 2);
    ty_catalog_free(catalog);
    write_file(dir, "trainers.json", "{\"format\":1,\n\"trainers\":7}");
    assert_int_equal(ty_catalog_load(dir, &catalog, &err), -TY_EINVALID);
    snprintf(expected, sizeof expected, "%s/trainers.json:2: trainers: not a list", dir);
    assert_string_equal(err.message, expected);
    char *inside TY_FREE = ty_xasprintf("%s/trainers.json", dir), *outside TY_FREE = ty_xasprintf("%s/containers.json", dir);
    unlink(inside);
    unlink(outside);
    // A directory in the file's place, and a file in the directory's.
    assert_int_equal(mkdir(outside, 0700), 0);
    assert_int_equal(ty_catalog_load(dir, &catalog, &err), -TY_ESYSTEM);
    snprintf(expected, sizeof expected, "%s/containers.json: Is a directory", dir);
    assert_string_equal(err.message, expected);
    rmdir(outside);
    write_file(dir, "containers.json", CONTAINERS);
    assert_int_equal(ty_catalog_load(outside, &catalog, &err), -TY_ESYSTEM);
    unlink(outside);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_built_in), cmocka_unit_test(test_members),           cmocka_unit_test(test_pair),
        cmocka_unit_test(test_times),    cmocka_unit_test(test_containers_refused), cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_trainers_refused), cmocka_unit_test(test_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
