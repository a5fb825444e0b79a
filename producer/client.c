// Clients: from a request to Kafka's answer, waited for or called back.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"
#include "core/kafka.h"
#include "core/wire.h"
#include "producer/library.h"
#include "producer/request.h"
#include "producer/trainyard.h"

#define DEFAULT_PREFIX "mltraining."
#define ISSUER_BYTES 128
#define PREFIX_BYTES 200 // of a topic's name Kafka takes 249 bytes
// The publisher answers for every command within its delivery time of 4 s; this is for the case that it does not.
#define PATIENCE_MS 30000

struct trainyard_client {
    struct ty_publisher *publisher;
    char *issuer;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t in_flight; // guarded by lock
};

// One command on its way. Freed by its delivery.
struct flight {
    struct trainyard_client *client;
    struct ty_id job_id;
    trainyard_done_fn fn;
    void *context;
};

// A call that waits, and its delivery, which may come later than the call's timeout: the last of the two frees it.
struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t done;
    unsigned users;
    bool is_done;
    struct trainyard_receipt receipt;
    struct trainyard_error error;
};

// A waiting call inside a callback would wait for its own thread.
static _Thread_local unsigned callback_depth;

// ---- errors and receipts ----

static int give_error(const struct ty_err *err, bool unknown, struct trainyard_error *error)
{
    int code = err ? ty_code_grpc(err->code) : TRAINYARD_OK;
    if (error) {
        *error = (struct trainyard_error){.code = code, .retriable = err && err->retriable, .unknown = unknown};
        if (err) {
            size_t len = ty_utf8_cut(err->message, strlen(err->message), sizeof error->message - 1);
            memcpy(error->message, err->message, len);
        }
    }
    return -code;
}

static struct trainyard_receipt make_receipt(const struct ty_id *job_id, int32_t partition, int64_t offset)
{
    struct trainyard_receipt receipt = {.partition = partition, .offset = offset};
    if (job_id)
        ty_id_format(job_id, receipt.job_id);
    return receipt;
}

// ---- waiting ----

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

static struct timespec deadline_after(int timeout_ms)
{
    uint64_t at_ms = ty_clock_mono_ms() + (uint64_t)(timeout_ms < 0 ? PATIENCE_MS : timeout_ms);
    return (struct timespec){.tv_sec = (time_t)(at_ms / 1000), .tv_nsec = (long)(at_ms % 1000 * 1000000)};
}

static int refuse_in_callback(struct ty_err *err)
{
    return callback_depth ? ty_err_set(err, TY_EPRECONDITION, "a call that waits cannot be made inside a callback") : 0;
}

// ---- clients ----

static int check_prefix(const char *prefix, struct ty_err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (strlen(prefix) > PREFIX_BYTES)
        return ty_err_set(err, TY_EINVALID, "topic_prefix has %zu bytes; at most %d are allowed", strlen(prefix), PREFIX_BYTES);
    if (prefix[strspn(prefix, allowed)])
        return ty_err_set(err, TY_EINVALID, "topic_prefix has other characters than letters, digits and ._-");
    return 0;
}

static int check_options(const struct trainyard_client_options *options, struct ty_err *err)
{
    size_t issuer_len = options->issuer ? strlen(options->issuer) : 0;
    if (!options->brokers || !*options->brokers)
        return ty_err_set(err, TY_EINVALID, "brokers is empty");
    if (issuer_len > ISSUER_BYTES)
        return ty_err_set(err, TY_EINVALID, "issuer has %zu bytes; at most %d are allowed", issuer_len, ISSUER_BYTES);
    if (issuer_len && !ty_utf8_is_valid(options->issuer, issuer_len))
        return ty_err_set(err, TY_EINVALID, "issuer is not valid UTF-8");
    return options->topic_prefix ? check_prefix(options->topic_prefix, err) : 0;
}

static void destroy(struct trainyard_client *client)
{
    pthread_cond_destroy(&client->idle);
    pthread_mutex_destroy(&client->lock);
    free(client->issuer);
    free(client);
}

static int make_client(const struct trainyard_client_options *from, struct trainyard_client **ret_client, struct ty_err *err)
{
    struct trainyard_client_options options;
    if (ty_request_copy(&options, sizeof options, offsetof(struct trainyard_client_options, properties) + sizeof(char **),
                        from, "trainyard_client_options", "TRAINYARD_CLIENT_OPTIONS_INIT", err) < 0 ||
        check_options(&options, err) < 0)
        return -TY_EINVALID;
    if (!ret_client)
        return ty_err_set(err, TY_EINVALID, "ret_client is NULL");
    struct ty_kafka_options kafka = {
        .brokers = options.brokers,
        .client_id = options.client_id,
        .topic_prefix = options.topic_prefix ? options.topic_prefix : DEFAULT_PREFIX,
        .properties = (char **)options.properties,
        .signing_key_file = options.signing_key_file,
    };
    struct trainyard_client *client = ty_xcalloc(1, sizeof *client);
    client->issuer = ty_xstrdup(options.issuer ? options.issuer : "");
    pthread_mutex_init(&client->lock, NULL);
    init_condition(&client->idle);
    int rc = ty_publisher_new(&kafka, &client->publisher, err);
    if (rc < 0) {
        if (err->code == TY_ENOTFOUND) // a file that an option names: the option is wrong
            err->code = TY_EINVALID;
        destroy(client);
        return -(int)err->code;
    }
    *ret_client = client;
    return 0;
}

int trainyard_client_new(const struct trainyard_client_options *options, struct trainyard_client **ret_client,
                         struct trainyard_error *error)
{
    struct ty_err err;
    ty_library_init();
    return give_error(make_client(options, ret_client, &err) < 0 ? &err : NULL, false, error);
}

size_t trainyard_client_in_flight(const struct trainyard_client *client)
{
    struct trainyard_client *locked = (struct trainyard_client *)client;
    pthread_mutex_lock(&locked->lock);
    size_t count = locked->in_flight;
    pthread_mutex_unlock(&locked->lock);
    return count;
}

int trainyard_client_flush(struct trainyard_client *client, int timeout_ms, struct trainyard_error *error)
{
    struct ty_err err;
    struct timespec deadline = deadline_after(timeout_ms);
    if (refuse_in_callback(&err) < 0)
        return give_error(&err, false, error);
    pthread_mutex_lock(&client->lock);
    int failed = 0;
    while (client->in_flight && !failed)
        failed = pthread_cond_timedwait(&client->idle, &client->lock, &deadline);
    size_t left = client->in_flight;
    pthread_mutex_unlock(&client->lock);
    if (left)
        ty_err_set(&err, TY_EDEADLINE, "%zu commands are still in flight", left);
    return give_error(left ? &err : NULL, false, error);
}

void trainyard_client_free(struct trainyard_client *client, int timeout_ms)
{
    if (!client)
        return;
    ty_publisher_free(client->publisher, timeout_ms < 0 ? PATIENCE_MS : timeout_ms);
    destroy(client);
}

// ---- publishing ----

static void leave(struct trainyard_client *client)
{
    pthread_mutex_lock(&client->lock);
    if (!--client->in_flight)
        pthread_cond_broadcast(&client->idle);
    pthread_mutex_unlock(&client->lock);
}

static void on_published(void *context, int32_t partition, int64_t offset, bool unknown, const struct ty_err *err)
{
    struct flight *flight = context;
    struct trainyard_receipt receipt = make_receipt(&flight->job_id, partition, offset);
    struct trainyard_error error;
    give_error(err, err && unknown, &error);
    callback_depth++;
    flight->fn(flight->context, &receipt, err ? &error : NULL);
    callback_depth--;
    leave(flight->client);
    free(flight);
}

static int publish(struct trainyard_client *client, const struct ty_request *request, trainyard_done_fn fn, void *context,
                   struct ty_err *err)
{
    struct flight *flight = ty_xmalloc(sizeof *flight);
    *flight = (struct flight){.client = client, .job_id = request->job_id, .fn = fn, .context = context};
    pthread_mutex_lock(&client->lock);
    client->in_flight++;
    pthread_mutex_unlock(&client->lock);
    int rc = ty_publisher_send(client->publisher, request->topic, &request->job_id, request->record.data,
                               request->record.len, request->traceparent, on_published, flight, err);
    if (rc < 0) {
        leave(client);
        free(flight);
    }
    return rc;
}

// Takes the request where preparing it went well (rc 0).
static int finish_async(struct trainyard_client *client, int rc, struct ty_request *request, trainyard_done_fn fn,
                        void *context, char *ret_job_id, struct ty_err *err, struct trainyard_error *error)
{
    if (rc < 0)
        return give_error(err, false, error);
    if (ret_job_id)
        ty_id_format(&request->job_id, ret_job_id);
    rc = fn ? publish(client, request, fn, context, err) : ty_err_set(err, TY_EINVALID, "fn is NULL");
    ty_request_done(request);
    return give_error(rc < 0 ? err : NULL, false, error);
}

static struct waiter *waiter_new(void)
{
    struct waiter *waiter = ty_xcalloc(1, sizeof *waiter);
    pthread_mutex_init(&waiter->lock, NULL);
    init_condition(&waiter->done);
    waiter->users = 2;
    return waiter;
}

static void waiter_drop(struct waiter *waiter, unsigned users)
{
    pthread_mutex_lock(&waiter->lock);
    bool is_last = !(waiter->users -= users);
    pthread_mutex_unlock(&waiter->lock);
    if (!is_last)
        return;
    pthread_cond_destroy(&waiter->done);
    pthread_mutex_destroy(&waiter->lock);
    free(waiter);
}

static void on_waited(void *context, const struct trainyard_receipt *receipt, const struct trainyard_error *error)
{
    struct waiter *waiter = context;
    pthread_mutex_lock(&waiter->lock);
    waiter->receipt = *receipt;
    if (error)
        waiter->error = *error;
    waiter->is_done = true;
    pthread_cond_signal(&waiter->done);
    pthread_mutex_unlock(&waiter->lock);
    waiter_drop(waiter, 1);
}

// Returns the answer's code, or the timeout's.
static int await(struct waiter *waiter, int timeout_ms, struct trainyard_receipt *receipt, struct trainyard_error *error)
{
    struct ty_err err;
    struct timespec deadline = deadline_after(timeout_ms);
    pthread_mutex_lock(&waiter->lock);
    int failed = 0;
    while (!waiter->is_done && !failed)
        failed = pthread_cond_timedwait(&waiter->done, &waiter->lock, &deadline);
    bool is_done = waiter->is_done;
    struct trainyard_error answer = waiter->error;
    if (is_done)
        *receipt = waiter->receipt;
    pthread_mutex_unlock(&waiter->lock);
    if (!is_done) {
        ty_err_set(&err, TY_EDEADLINE, "Kafka has not answered yet; the command may still be published");
        return give_error(&err, true, error);
    }
    if (error)
        *error = answer;
    return -answer.code;
}

static int finish_sync(struct trainyard_client *client, int rc, struct ty_request *request, int timeout_ms,
                       struct trainyard_receipt *ret_receipt, struct ty_err *err, struct trainyard_error *error)
{
    struct trainyard_receipt receipt = make_receipt(rc < 0 ? NULL : &request->job_id, -1, -1);
    int result;
    if (rc < 0) {
        result = give_error(err, false, error);
    } else if (refuse_in_callback(err) < 0) {
        result = give_error(err, false, error);
        ty_request_done(request);
    } else {
        struct waiter *waiter = waiter_new();
        if (publish(client, request, on_waited, waiter, err) < 0) {
            waiter_drop(waiter, 2);
            result = give_error(err, false, error);
        } else {
            result = await(waiter, timeout_ms, &receipt, error);
            waiter_drop(waiter, 1);
        }
        ty_request_done(request);
    }
    if (ret_receipt)
        *ret_receipt = receipt;
    return result;
}

// ---- commands ----

int trainyard_submit(struct trainyard_client *client, const struct trainyard_managed_job *job, int timeout_ms,
                     struct trainyard_receipt *ret_receipt, struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_managed(job, client->issuer, &request, &err);
    return finish_sync(client, rc, &request, timeout_ms, ret_receipt, &err, error);
}

int trainyard_submit_custom(struct trainyard_client *client, const struct trainyard_custom_job *job, int timeout_ms,
                            struct trainyard_receipt *ret_receipt, struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_custom(job, client->issuer, &request, &err);
    return finish_sync(client, rc, &request, timeout_ms, ret_receipt, &err, error);
}

int trainyard_cancel(struct trainyard_client *client, const char *job_id, const char *traceparent, int timeout_ms,
                     struct trainyard_receipt *ret_receipt, struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_control(TY_COMMAND_CANCEL, job_id, traceparent, client->issuer, &request, &err);
    return finish_sync(client, rc, &request, timeout_ms, ret_receipt, &err, error);
}

int trainyard_delete(struct trainyard_client *client, const char *job_id, const char *traceparent, int timeout_ms,
                     struct trainyard_receipt *ret_receipt, struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_control(TY_COMMAND_DELETE, job_id, traceparent, client->issuer, &request, &err);
    return finish_sync(client, rc, &request, timeout_ms, ret_receipt, &err, error);
}

int trainyard_submit_async(struct trainyard_client *client, const struct trainyard_managed_job *job, trainyard_done_fn fn,
                           void *context, char ret_job_id[TRAINYARD_ID_BYTES], struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_managed(job, client->issuer, &request, &err);
    return finish_async(client, rc, &request, fn, context, ret_job_id, &err, error);
}

int trainyard_submit_custom_async(struct trainyard_client *client, const struct trainyard_custom_job *job,
                                  trainyard_done_fn fn, void *context, char ret_job_id[TRAINYARD_ID_BYTES],
                                  struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_custom(job, client->issuer, &request, &err);
    return finish_async(client, rc, &request, fn, context, ret_job_id, &err, error);
}

int trainyard_cancel_async(struct trainyard_client *client, const char *job_id, const char *traceparent,
                           trainyard_done_fn fn, void *context, struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_control(TY_COMMAND_CANCEL, job_id, traceparent, client->issuer, &request, &err);
    return finish_async(client, rc, &request, fn, context, NULL, &err, error);
}

int trainyard_delete_async(struct trainyard_client *client, const char *job_id, const char *traceparent,
                           trainyard_done_fn fn, void *context, struct trainyard_error *error)
{
    struct ty_err err;
    struct ty_request request;
    int rc = ty_request_control(TY_COMMAND_DELETE, job_id, traceparent, client->issuer, &request, &err);
    return finish_async(client, rc, &request, fn, context, NULL, &err, error);
}
