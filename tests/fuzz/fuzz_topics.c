// producer/topics: any text is a list of topics whose members can all be read, or is refused with its place.
#include "core/wire.h"
#include "producer/topics.h"
#include "tests/fuzz/fuzz.h"

static size_t text_len(const char *text)
{
    REQUIRE(text && *text && ty_utf8_is_valid(text, strlen(text)));
    return strlen(text);
}

static void require_topic(const struct ty_topic *topic, const char *prefix)
{
    size_t sum = text_len(topic->key) + text_len(topic->value);
    REQUIRE(strlen(prefix) + text_len(topic->name) <= 249);
    REQUIRE(topic->partitions >= 1 && topic->partitions <= 10000);
    for (char **name = topic->writers; *name; name++)
        sum += text_len(*name);
    for (char **name = topic->readers; *name; name++)
        sum += text_len(*name);
    for (size_t i = 0; i < topic->setting_count; i++)
        sum += strlen(topic->settings[i].name) + text_len(topic->settings[i].value);
    REQUIRE(sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_topics *topics = NULL;
    struct ty_err err = {0};
    int rc = ty_topics_parse("topics.json", (const char *)data, size, &topics, &err);
    if (rc < 0) {
        REQUIRE(rc == -TY_EINVALID && !topics && !strncmp(err.message, "topics.json:", 12));
        REQUIRE(ty_utf8_is_valid(err.message, strlen(err.message)));
        return 0;
    }
    for (size_t i = 0; i < ty_topics_count(topics); i++)
        require_topic(ty_topics_at(topics, i), ty_topics_prefix(topics));
    ty_topics_free(topics);
    return 0;
}
