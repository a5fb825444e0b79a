#include "deploy/devbroker/devbroker.h"

#include <errno.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/buf.h"
#include "core/log.h"
#include "producer/topics.h"

const char *const ty_devbroker_limits[] = {
    "It keeps everything in memory, and at most 5 MiB or 100,000 records a partition: then it drops the oldest silently.",
    "The first member of a consumer group waits 3 seconds to join.",
    "A fetch that waits is not woken by a new record: set fetch.wait.max.ms to 10 or less in clients of this broker.",
    "It knows no retention, compaction, size limits or access rights, and topics cannot be created by command: it makes "
    "one, with 4 partitions, for whoever names it.",
    NULL,
};

struct ty_devbroker {
    rd_kafka_t *host; // the client in whose name the cluster runs; owns it
    rd_kafka_mock_cluster_t *cluster;
    char *address;
};

static void on_log(const rd_kafka_t *host, int level, const char *facility, const char *text)
{
    (void)host;
    ty_log(level <= 3 ? TY_LOG_WARN : TY_LOG_DEBUG, "devbroker.library", TY_KV("facility", "%s", facility),
           TY_KV("message", "%s", text));
}

static int start_cluster(struct ty_devbroker *broker, struct ty_err *err)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", text, sizeof text) != RD_KAFKA_CONF_OK ||
        !(broker->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text))) {
        rd_kafka_conf_destroy(conf);
        return ty_err_set(err, TY_ESYSTEM, "librdkafka's mock cluster does not start: %s", text);
    }
    broker->cluster = rd_kafka_handle_mock_cluster(broker->host);
    broker->address = ty_xstrdup(rd_kafka_mock_cluster_bootstraps(broker->cluster));
    return 0;
}

static int make_topics(struct ty_devbroker *broker, const struct ty_topics *topics, const char *prefix,
                       struct ty_err *err)
{
    int rc = 0;
    if (!prefix)
        prefix = ty_topics_prefix(topics);
    for (size_t i = 0; rc == 0 && i < ty_topics_count(topics); i++) {
        const struct ty_topic *topic = ty_topics_at(topics, i);
        char *name TY_FREE = ty_xasprintf("%s%s", prefix, topic->name);
        rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(broker->cluster, name, topic->partitions, 1);
        if (code)
            rc = ty_err_set(err, TY_ESYSTEM, "the topic %s cannot be made: %s", name, rd_kafka_err2str(code));
    }
    return rc;
}

// The port file is written aside and renamed: whoever sees it sees all of it. It is opened before anything starts, so that
// what cannot be written is refused while there is nothing to end.
struct port_file {
    const char *path;
    char *aside;
    int fd;
};

static int port_file_open(struct port_file *file, struct ty_err *err)
{
    if (!file->path)
        return 0;
    file->aside = ty_xasprintf("%s.%d", file->path, (int)getpid());
    file->fd = open(file->aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return file->fd < 0 ? ty_err_errno(err, errno, "--port-file: %s", file->aside) : 0;
}

static int port_file_write(struct port_file *file, const char *address, struct ty_err *err)
{
    if (!file->path)
        return 0;
    bool written = dprintf(file->fd, "%s\n", address) > 0;
    if (!written || rename(file->aside, file->path) < 0)
        return ty_err_errno(err, errno, "--port-file: %s", file->path);
    return 0;
}

static void port_file_done(struct port_file *file, bool is_written)
{
    if (file->fd >= 0)
        close(file->fd);
    if (file->aside && !is_written)
        unlink(file->aside);
    free(file->aside);
}

int ty_devbroker_new(const struct ty_devbroker_settings *settings, struct ty_devbroker **ret_broker, struct ty_err *err)
{
    struct ty_devbroker *broker = ty_xcalloc(1, sizeof *broker);
    struct port_file file = {.path = settings->port_file, .fd = -1};
    struct ty_topics *topics = NULL;
    int rc = ty_topics_load(settings->topics, &topics, err);
    if (rc == 0)
        rc = port_file_open(&file, err);
    if (rc == 0)
        rc = start_cluster(broker, err);
    if (rc == 0)
        rc = make_topics(broker, topics, settings->topic_prefix, err);
    if (rc == 0)
        rc = port_file_write(&file, broker->address, err);
    port_file_done(&file, rc == 0);
    ty_topics_free(topics);
    if (rc < 0)
        ty_devbroker_free(broker);
    else
        *ret_broker = broker;
    return rc;
}

void ty_devbroker_free(struct ty_devbroker *broker)
{
    if (!broker)
        return;
    if (broker->host)
        rd_kafka_destroy(broker->host);
    free(broker->address);
    free(broker);
}

const char *ty_devbroker_address(const struct ty_devbroker *broker)
{
    return broker->address;
}

void ty_devbroker_print_version(FILE *out)
{
    fprintf(out, "trainyard-devbroker %s\nlibrdkafka %s\n", TY_VERSION, rd_kafka_version_str());
}
