// producer/topics: the shipped topics load; errors in a file name line and member.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "producer/topics.h"

static const struct ty_topic *topic_of(const struct ty_topics *topics, const char *name)
{
    for (size_t i = 0; i < ty_topics_count(topics); i++)
        if (!strcmp(ty_topics_at(topics, i)->name, name))
            return ty_topics_at(topics, i);
    fail_msg("no topic %s", name);
    return NULL;
}

static const char *setting_of(const struct ty_topic *topic, const char *name)
{
    for (size_t i = 0; i < topic->setting_count; i++)
        if (!strcmp(topic->settings[i].name, name))
            return topic->settings[i].value;
    fail_msg("%s: no setting %s", topic->name, name);
    return NULL;
}

static void the_shipped_topics(void **state)
{
    (void)state;
    static const char *const commands[] = {"submit", "cancel", "delete"};
    struct ty_topics *topics;
    struct ty_err err;
    char size[16], larger[16];
    assert_int_equal(ty_topics_load(NULL, &topics, &err), 0);
    assert_string_equal(ty_topics_prefix(topics), "mltraining.");
    assert_int_equal(ty_topics_count(topics), 6);
    snprintf(size, sizeof size, "%d", TY_LIMIT_COMMAND_BYTES);
    snprintf(larger, sizeof larger, "%d", TY_LIMIT_COMMAND_BYTES + TY_LIMIT_DEAD_LETTER_EXTRA_BYTES);
    for (size_t i = 0; i < 3; i++) {
        const struct ty_topic *topic = topic_of(topics, commands[i]);
        assert_string_equal(setting_of(topic, "message.timestamp.type"), "LogAppendTime");
        assert_string_equal(setting_of(topic, "max.message.bytes"), size);
        assert_string_equal(topic->readers[0], "worker intake");
        assert_string_equal(topic->writers[2], "any upstream service");
        assert_null(topic->writers[3]);
    }
    assert_string_equal(setting_of(topic_of(topics, "dead-letter"), "max.message.bytes"), larger);
    assert_string_equal(setting_of(topic_of(topics, "events"), "cleanup.policy"), "compact");
    assert_int_equal(topic_of(topics, "settings")->partitions, 1);
    ty_topics_free(topics);
}

static void from_a_file(void **state)
{
    (void)state;
    struct ty_topics *topics;
    struct ty_err err;
    assert_int_equal(ty_topics_load(TY_SOURCE_DIR "/schemas/topics.json", &topics, &err), 0);
    assert_int_equal(ty_topics_count(topics), 6);
    ty_topics_free(topics);
    assert_int_equal(ty_topics_load("/no/such/topics.json", &topics, &err), -TY_ENOTFOUND);
    assert_string_equal(err.message, "/no/such/topics.json: there is no such file");
    assert_int_equal(ty_topics_load("/", &topics, &err), -TY_ESYSTEM);
}

#define TOPIC(members) "{\"format\": 1, \"prefix\": \"p.\", \"topics\": [\n{" members "}]}"
#define REST "\"key\":\"k\",\"value\":\"v\",\"writers\":[],\n\"readers\":[]"

static void refuse(const char *text, const char *message)
{
    struct ty_topics *topics;
    struct ty_err err;
    assert_int_equal(ty_topics_parse("t.json", text, strlen(text), &topics, &err), -TY_EINVALID);
    assert_string_equal(err.message, message);
}

static void errors_name_the_place(void **state)
{
    (void)state;
    struct ty_topics *topics;
    struct ty_err err;
    refuse("", "t.json:1:1: '[' or '{' expected near end of file");
    refuse("{\n\"format\": 1,,}", "t.json:2:13: string or '}' expected near ','");
    refuse("[]", "t.json:1: not an object");
    refuse("{}", "t.json:1: format: is missing");
    refuse("{\n\"format\": 2}", "t.json:2: format: not 1, the one format that this version reads");
    refuse("{\"format\": 1}", "t.json:1: prefix: is missing");
    refuse("{\"format\": 1,\n\"prefix\": \"a b\"}", "t.json:2: prefix: has other characters than letters, digits and ._-");
    refuse("{\"format\": 1, \"prefix\": \"p\"}", "t.json:1: topics: is missing");
    refuse("{\"format\": 1, \"prefix\": \"p\",\n\"topics\": 1}", "t.json:2: topics: not a list");
    refuse("{\"format\": 1, \"prefix\": \"p\",\n\"other\": 1}", "t.json:2: other: there is no such member");
    refuse(TOPIC(""), "t.json:2: topics[0].name: is missing");
    refuse(TOPIC("\"name\": 1"), "t.json:2: topics[0].name: not a text");
    refuse(TOPIC("\"name\": \"a/b\"," REST), "t.json:2: topics[0].name: has other characters than letters, digits and ._-");
    refuse(TOPIC("\"name\": \"a\"," REST), "t.json:2: topics[0].partitions: is missing");
    refuse(TOPIC("\"name\": \"a\"," REST ",\n\"partitions\": 0"),
           "t.json:4: topics[0].partitions: not a number from 1 to 10000");
    refuse(TOPIC("\"name\": \"a\"," REST ",\n\"partitions\": 1.5"),
           "t.json:4: topics[0].partitions: not a number from 1 to 10000");
    refuse(TOPIC("\"name\": \"a\"," REST ", \"partitions\": 1"), "t.json:2: topics[0].config: is missing");
    refuse(TOPIC("\"name\": \"a\"," REST ", \"partitions\": 1,\n\"config\": {\n\"retention.ms\": 7}"),
           "t.json:5: topics[0].config.retention.ms: not a text");
    refuse(TOPIC("\"name\": \"a\"," REST ", \"partitions\": 1,\"config\": {}}, {\"name\":\"a\"," REST),
           "t.json:3: topics[1].name: stands on another topic already");
    assert_int_equal(ty_topics_parse("t.json", TOPIC("\"name\": \"a\"," REST ", \"partitions\": 1,\"config\": {}"),
                                     strlen(TOPIC("\"name\": \"a\"," REST ", \"partitions\": 1,\"config\": {}")), &topics, &err),
                     0);
    ty_topics_free(topics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_topics),
        cmocka_unit_test(from_a_file),
        cmocka_unit_test(errors_name_the_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
