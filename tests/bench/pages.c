// A log read back as a client reads it: GetTrainingJobLogs page by page, each line looked at, then its pages at random.
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "tests/bench/bench.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define METHOD "/viam.app.mltraining.v1.MLTrainingService/GetTrainingJobLogs"

typedef Viam__App__Mltraining__V1__GetTrainingJobLogsResponse Page;

struct reading {
    const struct bench_options *options;
    grpc_channel *channel;
    grpc_completion_queue *queue;
    char id[TY_ID_TEXT_BYTES];
    char **tokens; // of the pages but for the first
    size_t token_count;
    int64_t lines, missing; // numbered lines in order; entries that stand for others
    struct bench_samples walk, random;
};

static grpc_byte_buffer *make_request(const struct reading *reading, const char *token)
{
    TY_BUF(bytes);
    ty_buf_add_tag_bytes(&bytes, 1, reading->id, strlen(reading->id));
    if (token)
        ty_buf_add_tag_bytes(&bytes, 2, token, strlen(token));
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static Page *unpack(grpc_byte_buffer *reply)
{
    grpc_byte_buffer_reader reader;
    if (!reply || !grpc_byte_buffer_reader_init(&reader, reply))
        return NULL;
    grpc_slice all = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    Page *page = viam__app__mltraining__v1__get_training_job_logs_response__unpack(NULL, GRPC_SLICE_LENGTH(all),
                                                                                   GRPC_SLICE_START_PTR(all));
    grpc_slice_unref(all);
    return page;
}

// One page; its time until the reply is here goes to samples.
static int ask(struct reading *reading, const char *token, struct bench_samples *samples, Page **ret_page, struct ty_err *err)
{
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details, method = grpc_slice_from_static_string(METHOD);
    grpc_byte_buffer *request = make_request(reading, token), *reply = NULL;
    grpc_op ops[6] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE},
                      {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}, {.op = GRPC_OP_RECV_INITIAL_METADATA},
                      {.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_STATUS_ON_CLIENT}};
    grpc_metadata_array_init(&initial);
    grpc_metadata_array_init(&trailing);
    uint64_t start_us = ty_clock_mono_us();
    grpc_call *call = grpc_channel_create_call(reading->channel, NULL, GRPC_PROPAGATE_DEFAULTS, reading->queue, method, NULL,
                                               gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    ops[1].data.send_message.send_message = request;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &initial;
    ops[4].data.recv_message.recv_message = &reply;
    ops[5].data.recv_status_on_client.trailing_metadata = &trailing;
    ops[5].data.recv_status_on_client.status = &status;
    ops[5].data.recv_status_on_client.status_details = &details;
    grpc_call_start_batch(call, ops, 6, call, NULL);
    grpc_completion_queue_next(reading->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    bench_samples_add(samples, (double)(ty_clock_mono_us() - start_us) / 1000);
    *ret_page = status == GRPC_STATUS_OK ? unpack(reply) : NULL;
    int rc = 0;
    if (!*ret_page)
        rc = ty_err_set(err, TY_EUNAVAILABLE, "GetTrainingJobLogs: status %d: %.*s", (int)status, (int)GRPC_SLICE_LENGTH(details),
                        (const char *)GRPC_SLICE_START_PTR(details));
    grpc_byte_buffer_destroy(request);
    grpc_byte_buffer_destroy(reply);
    grpc_metadata_array_destroy(&initial);
    grpc_metadata_array_destroy(&trailing);
    grpc_slice_unref(details);
    grpc_call_unref(call);
    return rc;
}

// Lines "line <number> ..." come in order, each once; others are the worker's.
static int look_at(struct reading *reading, const Page *page, struct ty_err *err)
{
    for (size_t i = 0; i < page->n_logs; i++) {
        const char *message = page->logs[i]->message;
        reading->missing += strstr(message, " left out here") != NULL;
        if (strncmp(message, "line ", 5) != 0)
            continue;
        int64_t number = strtoll(message + 5, NULL, 10);
        if (number != reading->lines && !reading->missing)
            return ty_err_set(err, TY_EDATALOSS, "line %" PRId64 " comes where %" PRId64 " should", number, reading->lines);
        reading->lines++;
    }
    return 0;
}

static int walk(struct reading *reading, struct ty_err *err)
{
    const char *token = NULL;
    for (bool more = true; more;) {
        Page *page;
        if (ask(reading, token, &reading->walk, &page, err) < 0)
            return -(int)err->code;
        int rc = look_at(reading, page, err);
        more = *page->next_page_token;
        if (more) {
            reading->tokens = ty_xrealloc(reading->tokens, (reading->token_count + 1) * sizeof *reading->tokens);
            token = reading->tokens[reading->token_count++] = ty_xstrdup(page->next_page_token);
        }
        viam__app__mltraining__v1__get_training_job_logs_response__free_unpacked(page, NULL);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int jump(struct reading *reading, struct ty_err *err)
{
    unsigned seed = 1;
    for (int64_t i = 0; i < reading->options->count && reading->token_count; i++) {
        Page *page;
        if (ask(reading, reading->tokens[(size_t)rand_r(&seed) % reading->token_count], &reading->random, &page, err) < 0)
            return -(int)err->code;
        viam__app__mltraining__v1__get_training_job_logs_response__free_unpacked(page, NULL);
    }
    return 0;
}

int bench_read_log(const struct bench_options *options, struct ty_err *err)
{
    struct reading reading = {.options = options};
    struct ty_id id = bench_job_id(options, options->first);
    ty_id_format(&id, reading.id);
    grpc_init();
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    reading.channel = grpc_channel_create(options->address, credentials, NULL);
    grpc_channel_credentials_release(credentials);
    reading.queue = grpc_completion_queue_create_for_next(NULL);
    uint64_t start_us = ty_clock_mono_us();
    int rc = walk(&reading, err);
    double seconds = (double)(ty_clock_mono_us() - start_us) / 1e6;
    if (rc == 0)
        rc = jump(&reading, err);
    if (rc == 0)
        printf("{\"lines\": %" PRId64 ", \"missing\": %" PRId64 ", \"pages\": %zu, \"seconds\": %.6f, \"rate\": %.1f, "
               "\"walk_p50_ms\": %.3f, \"walk_p99_ms\": %.3f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
               reading.lines, reading.missing, reading.token_count + 1, seconds, (double)reading.lines / seconds,
               bench_samples_percentile(&reading.walk, 50), bench_samples_percentile(&reading.walk, 99),
               bench_samples_percentile(&reading.random, 50), bench_samples_percentile(&reading.random, 99));
    grpc_channel_destroy(reading.channel);
    grpc_completion_queue_shutdown(reading.queue);
    grpc_completion_queue_destroy(reading.queue);
    grpc_shutdown();
    for (size_t i = 0; i < reading.token_count; i++)
        free(reading.tokens[i]);
    free(reading.tokens);
    bench_samples_done(&reading.walk);
    bench_samples_done(&reading.random);
    return rc;
}
