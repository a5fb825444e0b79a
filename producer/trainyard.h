/* libtrainyard: publish commands of Trainyard's training-job service to Kafka.
 *
 * A client connects to Kafka, checks each command as the service will, publishes it idempotently, and tells when Kafka
 * has acknowledged it. From then on the command is kept: a worker may be hours away. The job id is known at once.
 *
 * Threads: every function may be called from any thread, also at the same time on the same client, but for
 * trainyard_client_free, after which nobody may use the client. Callbacks come on a thread of the library or from within
 * trainyard_client_free; they must not block, may start further asynchronous commands (not while the client is being
 * freed), and must not free the client or call a function that waits.
 * A client does not survive fork(): make it in the child. Where memory runs out the library aborts the process.
 *
 * Ownership: texts, arrays and structs that are passed in are read before the call returns and stay the caller's. What a
 * callback is given is valid until the callback returns.
 *
 * Growing: structs that are passed in start with `size`. Initialise them with their _INIT macro (or zero them and set
 * size to sizeof), and a program compiled against this header works with every later library of the same soname. New
 * members come at the end, and zero means "as before". A program compiled against a newer header than the library is
 * refused with TRAINYARD_INVALID_ARGUMENT only where it sets a member that the library does not know.
 *
 * Errors: functions return 0 or the negative of a trainyard_code. `error` may be NULL. */
#ifndef TRAINYARD_H
#define TRAINYARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRAINYARD_VERSION_MAJOR 0
#define TRAINYARD_VERSION_MINOR 1
#define TRAINYARD_VERSION_PATCH 0

#if defined(__GNUC__) || defined(__clang__)
#define TRAINYARD_API __attribute__((visibility("default")))
#define TRAINYARD_CHECK __attribute__((warn_unused_result))
#else
#define TRAINYARD_API
#define TRAINYARD_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs, such as "0.1.0". */
TRAINYARD_API const char *trainyard_version(void);

/* ---- errors ---- */

/* The numbers are those of gRPC statuses, which the service's API answers with too. More may come. */
enum trainyard_code {
    TRAINYARD_OK = 0,
    TRAINYARD_INVALID_ARGUMENT = 3,     /* the command breaks a rule; the message names the field */
    TRAINYARD_DEADLINE_EXCEEDED = 4,    /* timeout_ms passed first */
    TRAINYARD_PERMISSION_DENIED = 7,    /* Kafka refuses this client the topic */
    TRAINYARD_RESOURCE_EXHAUSTED = 8,   /* too many commands are in flight */
    TRAINYARD_FAILED_PRECONDITION = 9,  /* a waiting call inside a callback */
    TRAINYARD_INTERNAL = 13,            /* a fault of the library or the machine */
    TRAINYARD_UNAVAILABLE = 14,         /* Kafka is away, or has not acknowledged in time */
    TRAINYARD_UNAUTHENTICATED = 16      /* Kafka does not accept the credentials */
};

#define TRAINYARD_MESSAGE_BYTES 512

struct trainyard_error {
    int code;                              /* enum trainyard_code; written in every case, TRAINYARD_OK on success */
    bool retriable;                        /* the same call may succeed later */
    bool unknown;                          /* nobody can say whether the command was published. Look for the job, or
                                              publish again under the same job id or idempotency key: that never makes
                                              a second job */
    char message[TRAINYARD_MESSAGE_BYTES]; /* UTF-8, for people, "" on success */
    unsigned char reserved[64];            /* zero */
};

/* "INVALID_ARGUMENT"; "UNKNOWN" for a number that is none. */
TRAINYARD_API const char *trainyard_code_name(int code);

/* ---- the log ---- */

enum trainyard_log_level { TRAINYARD_LOG_DEBUG, TRAINYARD_LOG_INFO, TRAINYARD_LOG_WARN, TRAINYARD_LOG_ERROR };

/* line: one event as key=value text without a newline, NUL-terminated. Comes on any thread; must not block and must not
 * call the library. */
typedef void (*trainyard_log_fn)(void *context, enum trainyard_log_level level, const char *line);

/* Where the library's own log goes, for the whole process: events of at least this level. NULL, and so from the start,
 * is nowhere: the library writes nothing to stderr. Set it before the first client is made; later changes may miss
 * events that are being logged. */
TRAINYARD_API void trainyard_set_log(trainyard_log_fn fn, void *context, enum trainyard_log_level level);

/* ---- clients ---- */

struct trainyard_client;

struct trainyard_client_options {
    size_t size;                   /* sizeof(struct trainyard_client_options) */
    const char *brokers;           /* "host:port[,host:port]"; required */
    const char *issuer;            /* names the program in every command, for audit: at most 128 bytes; NULL: none */
    const char *client_id;         /* names the connection in Kafka's logs and quotas; NULL: "trainyard" */
    const char *topic_prefix;      /* NULL: "mltraining." */
    const char *const *properties; /* NULL, or "key=value" texts with a NULL behind the last one, for librdkafka as they
                                      are: "security.protocol=SASL_SSL", ... What makes publishing idempotent and
                                      acknowledged cannot be changed by them; "key.file=path": the value of key
                                      stands in the file */
    const char *signing_key_file;  /* NULL, or a file as "trainyard keys create --signing" makes it: every command is
                                      signed with it. Read once, here; it must not be readable for others. */
};
#define TRAINYARD_CLIENT_OPTIONS_INIT {sizeof(struct trainyard_client_options), NULL, NULL, NULL, NULL, NULL, NULL}

/* Does not wait for Kafka: a broker that is away shows in the first command. Errors: INVALID_ARGUMENT (no brokers, a
 * property that librdkafka refuses), INTERNAL (no thread can be started). */
TRAINYARD_API int trainyard_client_new(const struct trainyard_client_options *options,
                                       struct trainyard_client **ret_client,
                                       struct trainyard_error *error) TRAINYARD_CHECK;

/* How many commands wait for Kafka's answer. */
TRAINYARD_API size_t trainyard_client_in_flight(const struct trainyard_client *client);

/* Waits until no command is in flight; commands that other threads add meanwhile count too. TRAINYARD_WAIT as timeout
 * ends within seconds of the last command. Errors: DEADLINE_EXCEEDED, FAILED_PRECONDITION (in a callback). */
TRAINYARD_API int trainyard_client_flush(struct trainyard_client *client, int timeout_ms,
                                         struct trainyard_error *error) TRAINYARD_CHECK;

/* Waits at most timeout_ms for what is in flight, then gives up the rest: each of those gets its callback, with
 * error->unknown as the case is, before this returns. No waiting call may be under way. NULL does nothing. */
TRAINYARD_API void trainyard_client_free(struct trainyard_client *client, int timeout_ms);

/* ---- commands ---- */

/* A timeout_ms that waits for Kafka's answer however it ends: a client gives up on a broker after 4 seconds, so the
 * call is bounded. A shorter timeout_ms (0 and up) leaves the command in flight when it passes: DEADLINE_EXCEEDED with
 * error->unknown. */
#define TRAINYARD_WAIT (-1)

#define TRAINYARD_ID_BYTES 37 /* a job id as text, a UUID in lower case, and its NUL */

/* Where a command stands in Kafka. */
struct trainyard_receipt {
    char job_id[TRAINYARD_ID_BYTES]; /* also set in errors once the command had passed the checks; else "" */
    int32_t partition;               /* -1 unless acknowledged */
    int64_t offset;                  /* -1 unless acknowledged */
    unsigned char reserved[64];      /* zero */
};

/* The end of an asynchronous command, exactly once for each that was accepted. error is NULL when Kafka has acknowledged
 * it. */
typedef void (*trainyard_done_fn)(void *context, const struct trainyard_receipt *receipt,
                                  const struct trainyard_error *error);

struct trainyard_pair {
    const char *key;
    const char *value;
};

/* The numbers of the API's enums. */
enum trainyard_model_type {
    TRAINYARD_SINGLE_LABEL_CLASSIFICATION = 1,
    TRAINYARD_MULTI_LABEL_CLASSIFICATION = 2,
    TRAINYARD_OBJECT_DETECTION = 3
};

enum trainyard_framework {
    TRAINYARD_DEFAULT_FRAMEWORK = 0, /* that of the model type's default trainer */
    TRAINYARD_TFLITE = 1,
    TRAINYARD_TENSORFLOW = 2,
    TRAINYARD_PYTORCH = 3,
    TRAINYARD_ONNX = 4
};

enum trainyard_on_lost_lease {
    TRAINYARD_LOST_LEASE_DEFAULT = 0,
    TRAINYARD_LOST_LEASE_CONTINUE = 1, /* runs on, unable to write, until another attempt owns the job */
    TRAINYARD_LOST_LEASE_STOP = 2      /* stops when the lease passes without a renewal */
};

/* What may be asked of any job. Zero and NULL mean the site's default where nothing else is said. */
struct trainyard_job_options {
    size_t size;                         /* sizeof(struct trainyard_job_options) */
    uint32_t priority;                   /* 0 (normal) to 7 (first) */
    uint32_t max_runtime_s;              /* seconds a running attempt may take */
    uint32_t max_wait_s;                 /* seconds the job may wait until a worker first takes it, else it fails; 0: no limit */
    uint32_t max_attempts;               /* counting the first; at most 100 */
    int on_lost_lease;                   /* enum trainyard_on_lost_lease */
    const struct trainyard_pair *labels; /* free labels, at most 32; of a key that comes twice the last entry counts */
    size_t label_count;
    const char *idempotency_key;         /* the job id is made from organization and key: the same key is the same job,
                                            on every road and after any loss. At most 256 bytes. */
    uint32_t cpu_millis;                 /* thousandths of a processor: like the next two recorded, not enforced, since no */
    uint32_t gpus;                       /* worker looks at it */
    uint64_t memory_bytes;
    /* Failures of the job's own are tried again only when they are asked for here, up to max_attempts: */
    bool retry_on_error;                 /* a failed installation, any exit code of the script but 0, 126 and 127, a signal
                                            (as code 128 + its number), being killed for memory (137) */
    const uint32_t *retry_exit_codes;    /* these also without retry_on_error: 1 to 255, at most 32 */
    size_t retry_exit_code_count;
    const uint32_t *no_retry_exit_codes; /* not these, in spite of retry_on_error; at most 32 */
    size_t no_retry_exit_code_count;
    uint32_t retry_base_ms;              /* before any further attempt the job waits a random time: after the nth failure up */
    uint32_t retry_max_ms;               /* to retry_base_ms * 2^(n-1), at most retry_max_ms; a day at most */
    const char *retry_of;                /* the id of a job that has ended and that this one does again, for the record */
};
#define TRAINYARD_JOB_OPTIONS_INIT \
    {sizeof(struct trainyard_job_options), 0, 0, 0, 0, 0, NULL, 0, NULL, 0, 0, 0, false, NULL, 0, NULL, 0, 0, 0, NULL}

/* A managed job: a trainer from the service's catalogue learns from the data set. Texts may be NULL where they are not
 * required. */
struct trainyard_managed_job {
    size_t size;                                 /* sizeof(struct trainyard_managed_job) */
    const char *organization_id;                 /* required, as are the next three: at most 128 bytes (ids) and 240 */
    const char *dataset_id;                      /* (names), none of / \ and control characters, no dot in front */
    const char *model_name;
    const char *model_version;
    int model_type;                              /* enum trainyard_model_type; required */
    int model_framework;                         /* enum trainyard_framework */
    const char *const *tags;                     /* the labels to learn, at least one, each once */
    size_t tag_count;
    const struct trainyard_job_options *options; /* NULL: the defaults */
    const char *job_id;                          /* NULL: a new one, or that of the idempotency key. Set it to publish
                                                    again what may have been published before. */
    const char *traceparent;                     /* W3C trace context, sent as a record header; NULL: none */
};
#define TRAINYARD_MANAGED_JOB_INIT {sizeof(struct trainyard_managed_job), NULL, NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL, NULL}

/* A custom job: runs a training script of the organization's own. */
struct trainyard_custom_job {
    size_t size;                                 /* sizeof(struct trainyard_custom_job) */
    const char *organization_id;                 /* as in a managed job */
    const char *dataset_id;
    const char *model_name;
    const char *model_version;
    const char *registry_item_id;                /* "prefix:name" of the script; required */
    const char *registry_item_version;           /* NULL: the newest */
    const char *container_version;               /* a key of the service's container catalogue; NULL: the default. An
                                                    unknown key is refused by the service: the job is FAILED then. */
    const struct trainyard_pair *arguments;      /* the script gets each as --key=value; at most 256; of a key that comes
                                                    twice the last entry counts */
    size_t argument_count;
    const struct trainyard_job_options *options; /* NULL: the defaults */
    const char *job_id;                          /* as in a managed job */
    const char *traceparent;
};
#define TRAINYARD_CUSTOM_JOB_INIT \
    {sizeof(struct trainyard_custom_job), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL}

/* The calls that wait. ret_receipt may be NULL. Errors of all of them: INVALID_ARGUMENT (nothing was published),
 * RESOURCE_EXHAUSTED (too many in flight; nothing was published), DEADLINE_EXCEEDED, UNAVAILABLE, PERMISSION_DENIED,
 * UNAUTHENTICATED, FAILED_PRECONDITION (called in a callback), INTERNAL. */
TRAINYARD_API int trainyard_submit(struct trainyard_client *client, const struct trainyard_managed_job *job,
                                   int timeout_ms, struct trainyard_receipt *ret_receipt,
                                   struct trainyard_error *error) TRAINYARD_CHECK;
TRAINYARD_API int trainyard_submit_custom(struct trainyard_client *client, const struct trainyard_custom_job *job,
                                          int timeout_ms, struct trainyard_receipt *ret_receipt,
                                          struct trainyard_error *error) TRAINYARD_CHECK;
/* Asks for the job to stop. May come before the submit has arrived, and more than once; on a finished job it does
 * nothing. Whether there is such a job only the query responder can say. traceparent may be NULL. */
TRAINYARD_API int trainyard_cancel(struct trainyard_client *client, const char *job_id, const char *traceparent,
                                   int timeout_ms, struct trainyard_receipt *ret_receipt,
                                   struct trainyard_error *error) TRAINYARD_CHECK;
/* Removes the job and its log: at once when it has finished, else it is canceled first. Its model stays. */
TRAINYARD_API int trainyard_delete(struct trainyard_client *client, const char *job_id, const char *traceparent,
                                   int timeout_ms, struct trainyard_receipt *ret_receipt,
                                   struct trainyard_error *error) TRAINYARD_CHECK;

/* The same without waiting: 0 when the command is on its way, and fn is then called once; in errors (the same, but for
 * DEADLINE_EXCEEDED and FAILED_PRECONDITION) fn is not called and nothing was published. fn may be called before these
 * return. ret_job_id, where there is one, may be NULL; it is set before fn can be called. */
TRAINYARD_API int trainyard_submit_async(struct trainyard_client *client, const struct trainyard_managed_job *job,
                                         trainyard_done_fn fn, void *context, char ret_job_id[TRAINYARD_ID_BYTES],
                                         struct trainyard_error *error) TRAINYARD_CHECK;
TRAINYARD_API int trainyard_submit_custom_async(struct trainyard_client *client, const struct trainyard_custom_job *job,
                                                trainyard_done_fn fn, void *context, char ret_job_id[TRAINYARD_ID_BYTES],
                                                struct trainyard_error *error) TRAINYARD_CHECK;
TRAINYARD_API int trainyard_cancel_async(struct trainyard_client *client, const char *job_id, const char *traceparent,
                                         trainyard_done_fn fn, void *context,
                                         struct trainyard_error *error) TRAINYARD_CHECK;
TRAINYARD_API int trainyard_delete_async(struct trainyard_client *client, const char *job_id, const char *traceparent,
                                         trainyard_done_fn fn, void *context,
                                         struct trainyard_error *error) TRAINYARD_CHECK;

#ifdef __cplusplus
}
#endif

#endif
