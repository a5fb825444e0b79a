// Topics on a real cluster, through librdkafka's admin client. Everything blocks, within one deadline.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "producer/topics.h"

// What the cluster has under a topic's name.
struct found {
    char *name; // whole
    bool exists, created;
    int partitions, replicas; // replicas: of the partition that has fewest
};

struct admin {
    const struct ty_topics *topics;
    const struct ty_topics_run *run;
    rd_kafka_t *kafka;
    rd_kafka_queue_t *queue;
    uint64_t deadline_ms;
    struct found *found; // as many as there are topics
    size_t differences;
    struct ty_err *err;
};

static int left_ms(const struct admin *admin)
{
    uint64_t now_ms = ty_clock_mono_ms();
    return now_ms < admin->deadline_ms ? (int)(admin->deadline_ms - now_ms) : 0;
}

static void report(struct admin *admin, enum ty_topics_finding finding, size_t index, const char *text)
{
    if (finding == TY_TOPICS_DIFFERS || finding == TY_TOPICS_MISSING)
        admin->differences++;
    if (admin->run->fn)
        admin->run->fn(admin->run->context, finding, admin->found[index].name, text);
}

// ---- opening ----

static int admin_open(struct admin *admin)
{
    rd_kafka_conf_t *conf;
    const char *prefix = admin->run->kafka->topic_prefix;
    size_t count = ty_topics_count(admin->topics);
    if (ty_kafka_conf(admin->run->kafka, NULL, NULL, &conf, admin->err) < 0 ||
        ty_kafka_handle(RD_KAFKA_PRODUCER, conf, &admin->kafka, admin->err) < 0)
        return -(int)admin->err->code;
    admin->queue = rd_kafka_queue_new(admin->kafka);
    admin->found = ty_xcalloc(count, sizeof *admin->found);
    for (size_t i = 0; i < count; i++)
        admin->found[i].name = ty_xasprintf("%s%s", prefix ? prefix : ty_topics_prefix(admin->topics),
                                            ty_topics_at(admin->topics, i)->name);
    return 0;
}

static void admin_close(struct admin *admin)
{
    for (size_t i = 0; admin->found && i < ty_topics_count(admin->topics); i++)
        free(admin->found[i].name);
    free(admin->found);
    if (admin->queue)
        rd_kafka_queue_destroy(admin->queue);
    if (admin->kafka)
        rd_kafka_destroy(admin->kafka);
}

static struct found *find(struct admin *admin, const char *name)
{
    for (size_t i = 0; i < ty_topics_count(admin->topics); i++)
        if (!strcmp(admin->found[i].name, name))
            return &admin->found[i];
    return NULL;
}

// ---- looking ----

static void take_metadata(struct found *found, const struct rd_kafka_metadata_topic *topic)
{
    found->exists = true;
    found->partitions = topic->partition_cnt;
    found->replicas = topic->partition_cnt ? topic->partitions[0].replica_cnt : 0;
    for (int i = 1; i < topic->partition_cnt; i++)
        if (topic->partitions[i].replica_cnt < found->replicas)
            found->replicas = topic->partitions[i].replica_cnt;
}

// All topics are asked for: asking for one by its name makes some brokers create it.
static int look(struct admin *admin)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_resp_err_t code = rd_kafka_metadata(admin->kafka, 1, NULL, &metadata, left_ms(admin));
    if (code)
        return ty_kafka_err(admin->err, code, "Kafka at %s does not answer", admin->run->kafka->brokers);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        struct found *found = find(admin, metadata->topics[i].topic);
        if (found && metadata->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            take_metadata(found, &metadata->topics[i]);
    }
    rd_kafka_metadata_destroy(metadata);
    return 0;
}

// ---- asking the admin API ----

static rd_kafka_AdminOptions_t *make_options(struct admin *admin, rd_kafka_admin_op_t op)
{
    char text[256];
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(admin->kafka, op);
    int timeout_ms = left_ms(admin);
    // Refused only outside of 0 to an hour; the wait for the answer has the deadline in any case.
    (void)!rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof text);
    if (op == RD_KAFKA_ADMIN_OP_CREATETOPICS)
        (void)!rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, text, sizeof text);
    return options;
}

static int await(struct admin *admin, const char *what, rd_kafka_event_t **ret_event)
{
    // The library answers after its own request timeout; the margin lets that answer, which says more, come first.
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, left_ms(admin) + 1000);
    if (!event)
        return ty_err_set(admin->err, TY_EUNAVAILABLE, "Kafka at %s: %s: no answer in time", admin->run->kafka->brokers, what);
    if (rd_kafka_event_error(event)) {
        int rc = ty_kafka_err(admin->err, rd_kafka_event_error(event), "Kafka at %s: %s: %s", admin->run->kafka->brokers, what,
                              rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
        return rc;
    }
    *ret_event = event;
    return 0;
}

// ---- creating ----

static rd_kafka_NewTopic_t *new_topic(struct admin *admin, size_t index)
{
    char text[256];
    const struct ty_topic *topic = ty_topics_at(admin->topics, index);
    int replicas = admin->run->replication_factor ? admin->run->replication_factor : -1;
    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(admin->found[index].name, topic->partitions, replicas, text, sizeof text);
    if (!made) {
        ty_err_set(admin->err, TY_EINVALID, "%s: %s", admin->found[index].name, text);
        return NULL;
    }
    for (size_t i = 0; i < topic->setting_count; i++)
        (void)!rd_kafka_NewTopic_set_config(made, topic->settings[i].name, topic->settings[i].value);
    return made;
}

// A topic that somebody else made meanwhile is one that existed.
static int take_results(struct admin *admin, const rd_kafka_CreateTopics_result_t *result)
{
    size_t count;
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &count);
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(topics[i]);
        const char *name = rd_kafka_topic_result_name(topics[i]);
        if (!code)
            find(admin, name)->created = true;
        else if (code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS && rc == 0)
            rc = ty_kafka_err(admin->err, code, "topic %s cannot be created: %s", name,
                              rd_kafka_topic_result_error_string(topics[i]));
    }
    return rc;
}

static int create_missing(struct admin *admin)
{
    size_t count = 0;
    int rc = 0;
    rd_kafka_NewTopic_t **fresh TY_FREE = ty_xcalloc(ty_topics_count(admin->topics), sizeof(rd_kafka_NewTopic_t *));
    for (size_t i = 0; rc == 0 && i < ty_topics_count(admin->topics); i++) {
        if (admin->found[i].exists)
            continue;
        fresh[count] = new_topic(admin, i);
        if (fresh[count])
            count++;
        else
            rc = -TY_EINVALID;
    }
    if (rc == 0 && count) {
        rd_kafka_event_t *event;
        rd_kafka_AdminOptions_t *options = make_options(admin, RD_KAFKA_ADMIN_OP_CREATETOPICS);
        rd_kafka_CreateTopics(admin->kafka, fresh, count, options, admin->queue);
        rd_kafka_AdminOptions_destroy(options);
        rc = await(admin, "creating topics", &event);
        if (rc == 0) {
            rc = take_results(admin, rd_kafka_event_CreateTopics_result(event));
            rd_kafka_event_destroy(event);
        }
    }
    rd_kafka_NewTopic_destroy_array(fresh, count);
    return rc;
}

// ---- comparing ----

static void differ(struct admin *admin, size_t index, const char *what, const char *is, const char *described, bool *same)
{
    char *text TY_FREE = ty_xasprintf("%s: %s, described as %s", what, is, described);
    *same = false;
    report(admin, TY_TOPICS_DIFFERS, index, text);
}

static void compare_number(struct admin *admin, size_t index, const char *what, int is, int described, bool *same)
{
    char is_text[16], described_text[16];
    snprintf(is_text, sizeof is_text, "%d", is);
    snprintf(described_text, sizeof described_text, "%d", described);
    if (is != described)
        differ(admin, index, what, is_text, described_text, same);
}

static const char *entry_value(const rd_kafka_ConfigResource_t *resource, const char *name)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++)
        if (!strcmp(rd_kafka_ConfigEntry_name(entries[i]), name))
            return rd_kafka_ConfigEntry_value(entries[i]);
    return NULL;
}

static void compare(struct admin *admin, size_t index, const rd_kafka_ConfigResource_t *resource)
{
    const struct ty_topic *topic = ty_topics_at(admin->topics, index);
    const struct found *found = &admin->found[index];
    bool same = true;
    compare_number(admin, index, "partitions", found->partitions, topic->partitions, &same);
    if (admin->run->replication_factor)
        compare_number(admin, index, "replication factor", found->replicas, admin->run->replication_factor, &same);
    for (size_t i = 0; i < topic->setting_count; i++) {
        const struct ty_topic_setting *setting = &topic->settings[i];
        const char *value = entry_value(resource, setting->name);
        if (!value || strcmp(value, setting->value) != 0)
            differ(admin, index, setting->name, value ? value : "not set", setting->value, &same);
    }
    if (same)
        report(admin, TY_TOPICS_MATCHES, index, "");
}

// The answer has the resources in the order they were asked for.
static int compare_all(struct admin *admin, const rd_kafka_DescribeConfigs_result_t *result, const size_t *indexes,
                       size_t count)
{
    size_t answered;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(result, &answered);
    if (answered != count)
        return ty_err_set(admin->err, TY_EUNAVAILABLE, "Kafka described %zu topics of %zu", answered, count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resources[i]);
        if (code)
            return ty_kafka_err(admin->err, code, "topic %s cannot be described: %s", rd_kafka_ConfigResource_name(resources[i]),
                                rd_kafka_ConfigResource_error_string(resources[i]));
        compare(admin, indexes[i], resources[i]);
    }
    return 0;
}

// Describes every topic that was there before, and reports on it.
static int compare_existing(struct admin *admin)
{
    size_t total = ty_topics_count(admin->topics), count = 0;
    rd_kafka_event_t *event;
    size_t *indexes TY_FREE = ty_xcalloc(total, sizeof *indexes);
    rd_kafka_ConfigResource_t **resources TY_FREE = ty_xcalloc(total, sizeof(rd_kafka_ConfigResource_t *));
    for (size_t i = 0; i < total; i++)
        if (admin->found[i].exists && !admin->found[i].created) {
            resources[count] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, admin->found[i].name);
            indexes[count++] = i;
        }
    if (!count)
        return 0;
    rd_kafka_AdminOptions_t *options = make_options(admin, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_DescribeConfigs(admin->kafka, resources, count, options, admin->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy_array(resources, count);
    int rc = await(admin, "describing topics", &event);
    if (rc < 0)
        return rc;
    rc = compare_all(admin, rd_kafka_event_DescribeConfigs_result(event), indexes, count);
    rd_kafka_event_destroy(event);
    return rc;
}

static void report_rest(struct admin *admin)
{
    for (size_t i = 0; i < ty_topics_count(admin->topics); i++)
        if (admin->found[i].created)
            report(admin, TY_TOPICS_CREATED, i, "");
        else if (!admin->found[i].exists)
            report(admin, TY_TOPICS_MISSING, i, "");
}

static bool one_is_unseen(const struct admin *admin)
{
    for (size_t i = 0; i < ty_topics_count(admin->topics); i++)
        if (!admin->found[i].exists && !admin->found[i].created)
            return true;
    return false;
}

static int work(struct admin *admin, bool may_create)
{
    int rc = look(admin);
    if (rc == 0 && may_create)
        rc = create_missing(admin);
    if (rc == 0 && may_create && one_is_unseen(admin))
        rc = look(admin);
    if (rc == 0)
        rc = compare_existing(admin);
    if (rc == 0)
        report_rest(admin);
    return rc;
}

static int run_admin(const struct ty_topics *topics, const struct ty_topics_run *run, bool may_create,
                     size_t *ret_differences, struct ty_err *err)
{
    struct admin admin = {
        .topics = topics, .run = run, .deadline_ms = ty_clock_mono_ms() + (uint64_t)run->timeout_ms, .err = err};
    int rc = admin_open(&admin);
    if (rc == 0)
        rc = work(&admin, may_create);
    if (rc == 0)
        *ret_differences = admin.differences;
    admin_close(&admin);
    return rc;
}

int ty_topics_create(const struct ty_topics *topics, const struct ty_topics_run *run, size_t *ret_differences,
                     struct ty_err *err)
{
    return run_admin(topics, run, true, ret_differences, err);
}

int ty_topics_check(const struct ty_topics *topics, const struct ty_topics_run *run, size_t *ret_differences,
                    struct ty_err *err)
{
    return run_admin(topics, run, false, ret_differences, err);
}
