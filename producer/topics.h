// The Kafka topics as schemas/topics.json has them, and what makes and checks them on a real cluster: the work behind
// `trainyard topics`. Internal to this room; blocks, for an operator's program with one thread.
#pragma once

#include <stddef.h>

#include "core/err.h"
#include "core/kafka.h"

struct ty_topic_setting {
    const char *name; // "retention.ms"
    const char *value;
};

struct ty_topic {
    const char *name; // short: "submit"
    const char *key, *value;   // what they are, for people
    char **writers, **readers; // NULL-terminated
    int partitions;
    struct ty_topic_setting *settings;
    size_t setting_count;
};

struct ty_topics;

// path NULL: the topics built into the program. TY_EINVALID on anything wrong in it, with the place:
// "topics.json:9: topics[0].partitions: not a number from 1 to 10000"; TY_ENOTFOUND, TY_ESYSTEM when it cannot be read.
// Owner frees with ty_topics_free.
int ty_topics_load(const char *path, struct ty_topics **ret_topics, struct ty_err *err) TY_MUST_USE;
// The same from a text in memory, which may be freed after the call; name stands in errors. TY_EINVALID.
int ty_topics_parse(const char *name, const char *text, size_t len, struct ty_topics **ret_topics,
                    struct ty_err *err) TY_MUST_USE;
void ty_topics_free(struct ty_topics *topics);

// "mltraining.": the prefix when nobody sets another one.
const char *ty_topics_prefix(const struct ty_topics *topics);
size_t ty_topics_count(const struct ty_topics *topics);
const struct ty_topic *ty_topics_at(const struct ty_topics *topics, size_t index);

enum ty_topics_finding {
    TY_TOPICS_CREATED, // made by this call
    TY_TOPICS_MATCHES, // there, and as described
    TY_TOPICS_DIFFERS, // there, and in one thing other than described; text says in what
    TY_TOPICS_MISSING, // not there
};
// One line of a report. topic is the full name. text is "" but for TY_TOPICS_DIFFERS: "partitions: 3, described as 8",
// "retention.ms: 86400000, described as 604800000".
typedef void (*ty_topics_line_fn)(void *context, enum ty_topics_finding finding, const char *topic, const char *text);

struct ty_topics_run {
    const struct ty_kafka_options *kafka; // topic_prefix NULL: the file's
    int replication_factor;               // 0: on create the cluster's default, on check not compared
    int timeout_ms;                       // for the whole call
    ty_topics_line_fn fn;                 // called on the calling thread; may be NULL
    void *context;
};

// Makes what is missing; topics that exist are left as they are and reported as matching or differing, never changed.
// *ret_differences (written in success only) counts the DIFFERS lines: another replication factor or more partitions can
// only be given by hand. Errors: TY_EUNAVAILABLE (no broker answers in time), TY_EPERMISSION, TY_EUNAUTHENTICATED,
// TY_EINVALID (a property or setting that is refused; the message names the topic). Running it again is harmless.
int ty_topics_create(const struct ty_topics *topics, const struct ty_topics_run *run, size_t *ret_differences,
                     struct ty_err *err) TY_MUST_USE;
// Compares only. *ret_differences counts the MISSING and DIFFERS lines. Errors as above.
int ty_topics_check(const struct ty_topics *topics, const struct ty_topics_run *run, size_t *ret_differences,
                    struct ty_err *err) TY_MUST_USE;
