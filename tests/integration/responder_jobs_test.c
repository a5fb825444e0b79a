// What the RPCs do with good input: a job is readable at once with no worker alive, commands are on Kafka before the answer,
// the rules of cancel and delete, idempotency keys, lists over several shards, log pages.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/limits.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "tests/integration/responder_store.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define SHARDS 4

enum { OK = 0, ALREADY_EXISTS = 6, NOT_FOUND = 5, FAILED_PRECONDITION = 9 };

typedef Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest Submit;
typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *process;
static struct rpc_client *client;
static struct store *store;

static int set_up(void **state)
{
    static const char *const args[] = {"--shards", "4", NULL};
    (void)state;
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, SHARDS);
    kafka = mock_kafka_new();
    process = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), args);
    client = rpc_client_new(responder_process_address(process));
    responder_process_await_store(process);
    store = store_new(redis_server_url(redis), SHARDS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_free(store);
    uint64_t took_ms;
    rpc_client_free(client);
    int status = responder_process_stop(process, &took_ms); // a sanitizer speaks up here
    if (status != 0)
        print_error("exit %d: %s\n", status, responder_process_log(process));
    responder_process_free(process);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    return status;
}

// ---- calls ----

static void call_with(const char *method, const ProtobufCMessage *request, const char *const *metadata,
                      struct rpc_answer *answer)
{
    char path[128];
    TY_BUF(bytes);
    size_t len = protobuf_c_message_get_packed_size(request);
    protobuf_c_message_pack(request, ty_buf_reserve(&bytes, len));
    snprintf(path, sizeof path, RPC_TRAINING "%s", method);
    rpc_call(client, path, bytes.data, len, metadata, 0, answer);
}

static void *expect_ok(const char *method, const ProtobufCMessage *request, const char *const *metadata,
                       const ProtobufCMessageDescriptor *response)
{
    struct rpc_answer answer;
    call_with(method, request, metadata, &answer);
    if (answer.status != OK || !answer.has_message)
        fail_msg("%s: status %d: %s", method, answer.status, answer.message);
    ProtobufCMessage *message = protobuf_c_message_unpack(response, NULL, answer.bytes.len, answer.bytes.data);
    assert_non_null(message);
    rpc_answer_done(&answer);
    return message;
}

static void expect_status(const char *method, const ProtobufCMessage *request, const char *const *metadata, int status)
{
    struct rpc_answer answer;
    call_with(method, request, metadata, &answer);
    if (answer.status != status)
        fail_msg("%s: status %d \"%s\" instead of %d", method, answer.status, answer.message, status);
    rpc_answer_done(&answer);
}

static void free_message(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

// All requests with nothing but an id have the same generated shape.
static void id_request(Viam__App__Mltraining__V1__GetTrainingJobRequest *request,
                       const ProtobufCMessageDescriptor *descriptor, const char *id)
{
    protobuf_c_message_init(descriptor, request);
    request->id = (char *)id;
}

static Viam__App__Mltraining__V1__GetTrainingJobResponse *get(const char *id)
{
    Viam__App__Mltraining__V1__GetTrainingJobRequest request;
    id_request(&request, &viam__app__mltraining__v1__get_training_job_request__descriptor, id);
    Viam__App__Mltraining__V1__GetTrainingJobResponse *response =
        expect_ok("GetTrainingJob", &request.base, NULL, &viam__app__mltraining__v1__get_training_job_response__descriptor);
    assert_non_null(response->metadata);
    return response;
}

static void expect_get_status(const char *id, int status)
{
    Viam__App__Mltraining__V1__GetTrainingJobRequest request;
    id_request(&request, &viam__app__mltraining__v1__get_training_job_request__descriptor, id);
    expect_status("GetTrainingJob", &request.base, NULL, status);
}

static void control(const char *method, const char *id, int status)
{
    Viam__App__Mltraining__V1__GetTrainingJobRequest request;
    id_request(&request,
               *method == 'C' ? &viam__app__mltraining__v1__cancel_training_job_request__descriptor
                              : &viam__app__mltraining__v1__delete_completed_training_job_request__descriptor,
               id);
    expect_status(method, &request.base, NULL, status);
}

static void expect_state(const char *id, int state)
{
    Viam__App__Mltraining__V1__GetTrainingJobResponse *response = get(id);
    assert_int_equal(response->metadata->status, state);
    free_message(response);
}

static void init_submit(Submit *request, const char *organization)
{
    viam__app__mltraining__v1__submit_custom_training_job_request__init(request);
    request->organization_id = (char *)organization;
    request->dataset_id = (char *)"digits";
    request->model_name = (char *)"reader";
    request->model_version = (char *)"2026-01-01";
    request->registry_item_id = (char *)"acme:digits";
}

static void submit(const Submit *request, const char *const *metadata, char ret_id[TY_ID_TEXT_BYTES])
{
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobResponse *response =
        expect_ok("SubmitCustomTrainingJob", &request->base, metadata,
                  &viam__app__mltraining__v1__submit_custom_training_job_response__descriptor);
    snprintf(ret_id, TY_ID_TEXT_BYTES, "%s", response->id);
    assert_int_equal(strlen(ret_id), TY_ID_TEXT_BYTES - 1);
    free_message(response);
}

// ---- submit ----

struct published {
    const char *id;
    size_t matches;
    char *arguments_value;
    uint32_t priority;
};

static void on_published(void *context, const struct ty_command *command)
{
    struct published *published = context;
    if (strcmp(command->message->job_id, published->id) != 0)
        return;
    published->matches++;
    published->priority = command->message->options ? command->message->options->priority : 0;
    if (command->kind == TY_COMMAND_SUBMIT_CUSTOM && command->message->submit_custom->n_arguments) {
        free(published->arguments_value);
        published->arguments_value = ty_xstrdup(command->message->submit_custom->arguments[0]->value);
    }
}

static size_t count_published(const char *topic, enum ty_topic_kind kind, const char *id)
{
    struct published published = {.id = id};
    mock_kafka_read(kafka, topic, kind, on_published, &published);
    free(published.arguments_value);
    return published.matches;
}

static void test_read_your_write(void **state)
{
    Submit request;
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest__ArgumentsEntry argument, *arguments[] = {&argument};
    static const char *const metadata[] = {"trainyard-priority", "3", "viam_client", "test;v0;v0", NULL};
    char id[TY_ID_TEXT_BYTES];
    uint64_t before_us = ty_clock_wall_us();
    (void)state;
    init_submit(&request, "acme");
    viam__app__mltraining__v1__submit_custom_training_job_request__arguments_entry__init(&argument);
    argument.key = (char *)"epochs";
    argument.value = (char *)"ten, or \"so\" = \xc3\xa9\n";
    request.arguments = arguments;
    request.n_arguments = 1;
    request.registry_item_version = (char *)"v7";
    submit(&request, metadata, id);

    Viam__App__Mltraining__V1__GetTrainingJobResponse *response = get(id);
    const Metadata *job = response->metadata;
    assert_string_equal(job->id, id);
    assert_int_equal(job->status, 1);
    assert_string_equal(job->organization_id, "acme");
    assert_string_equal(job->dataset_id, "digits");
    assert_string_equal(job->model_name, "reader");
    assert_string_equal(job->model_version, "2026-01-01");
    assert_string_equal(job->registry_item_id, "acme:digits");
    assert_string_equal(job->registry_item_version, "v7");
    assert_true(*job->container_version != 0);
    assert_true(job->is_custom_job);
    assert_int_equal(job->n_arguments, 1);
    assert_string_equal(job->arguments[0]->key, "epochs");
    assert_string_equal(job->arguments[0]->value, argument.value);
    assert_non_null(job->created_on);
    assert_non_null(job->last_modified);
    assert_in_range((uint64_t)job->created_on->seconds, before_us / 1000000, ty_clock_wall_us() / 1000000);
    assert_null(job->training_started);
    assert_null(job->training_ended);
    assert_null(job->error_status);
    free_message(response);

    struct published published = {.id = id};
    mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, on_published, &published);
    assert_int_equal(published.matches, 1);
    assert_int_equal(published.priority, 3);
    assert_string_equal(published.arguments_value, argument.value);
    free(published.arguments_value);
}

static void test_managed_job(void **state)
{
    Viam__App__Mltraining__V1__SubmitTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_TRAINING_JOB_REQUEST__INIT;
    char *tags[] = {(char *)"one", (char *)"two"};
    (void)state;
    request.organization_id = (char *)"acme";
    request.dataset_id = (char *)"digits";
    request.model_name = (char *)"reader";
    request.model_version = (char *)"1";
    request.model_type = 1;
    request.tags = tags;
    request.n_tags = 2;
    Viam__App__Mltraining__V1__SubmitTrainingJobResponse *submitted =
        expect_ok("SubmitTrainingJob", &request.base, NULL,
                  &viam__app__mltraining__v1__submit_training_job_response__descriptor);
    Viam__App__Mltraining__V1__GetTrainingJobResponse *response = get(submitted->id);
    assert_int_equal(response->metadata->model_type, 1);
    assert_false(response->metadata->is_custom_job);
    assert_int_equal(response->metadata->n_tags, 2);
    assert_string_equal(response->metadata->tags[1], "two");
    assert_int_equal(count_published("submit", TY_TOPIC_SUBMIT, submitted->id), 1);
    free_message(response);
    free_message(submitted);
}

static void test_two_submits_are_two_jobs_unless_they_share_a_key(void **state)
{
    static const char *const key[] = {"idempotency-key", "nightly-1", NULL};
    Submit request, other, elsewhere;
    char first[TY_ID_TEXT_BYTES], second[TY_ID_TEXT_BYTES], third[TY_ID_TEXT_BYTES];
    (void)state;
    init_submit(&request, "acme");
    submit(&request, NULL, first);
    submit(&request, NULL, second);
    assert_string_not_equal(first, second);

    submit(&request, key, first);
    submit(&request, key, second);
    assert_string_equal(first, second);
    assert_int_equal(count_published("submit", TY_TOPIC_SUBMIT, first), 1);

    init_submit(&other, "acme");
    other.model_name = (char *)"another";
    expect_status("SubmitCustomTrainingJob", &other.base, key, ALREADY_EXISTS);
    init_submit(&elsewhere, "other-organization");
    submit(&elsewhere, key, third);
    assert_string_not_equal(first, third);
}

// ---- cancel and delete ----

static void test_cancel_and_delete_by_state(void **state)
{
    Submit request;
    struct ty_id job_id;
    struct store_attempt attempt;
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES];
    (void)state;
    redis_server_empty(redis, SHARDS);
    init_submit(&request, "acme");

    submit(&request, NULL, id); // pending
    control("DeleteCompletedTrainingJob", id, FAILED_PRECONDITION);
    control("CancelTrainingJob", id, OK);
    expect_state(id, TY_JOB_CANCELED);
    control("CancelTrainingJob", id, FAILED_PRECONDITION);
    assert_int_equal(count_published("cancel", TY_TOPIC_CANCEL, id), 1);
    control("DeleteCompletedTrainingJob", id, OK);
    assert_int_equal(count_published("delete", TY_TOPIC_DELETE, id), 1);
    expect_get_status(id, NOT_FOUND);
    control("DeleteCompletedTrainingJob", id, NOT_FOUND);
    control("CancelTrainingJob", id, NOT_FOUND);

    submit(&request, NULL, id); // running
    assert_int_equal(ty_id_parse(id, &job_id, &err), 0);
    store_claim(store, &job_id, &attempt);
    expect_state(id, TY_JOB_IN_PROGRESS);
    control("DeleteCompletedTrainingJob", id, FAILED_PRECONDITION);
    control("CancelTrainingJob", id, OK);
    expect_state(id, TY_JOB_CANCELING);
    control("CancelTrainingJob", id, OK);
    control("DeleteCompletedTrainingJob", id, FAILED_PRECONDITION);
    store_finish(store, &attempt, TY_FINISH_CANCELED);
    expect_state(id, TY_JOB_CANCELED);

    submit(&request, NULL, id); // failed
    assert_int_equal(ty_id_parse(id, &job_id, &err), 0);
    store_claim(store, &job_id, &attempt);
    store_finish(store, &attempt, TY_FINISH_FAILED);
    Viam__App__Mltraining__V1__GetTrainingJobResponse *response = get(id);
    assert_int_equal(response->metadata->status, TY_JOB_FAILED);
    assert_non_null(response->metadata->error_status);
    assert_non_null(response->metadata->training_started); // no renewal said so, but only a script that ran has an exit status
    assert_non_null(response->metadata->training_ended);
    free_message(response);
    control("CancelTrainingJob", id, FAILED_PRECONDITION);
    control("DeleteCompletedTrainingJob", id, OK);
    expect_get_status(id, NOT_FOUND);
}

// ---- list ----

static Viam__App__Mltraining__V1__ListTrainingJobsResponse *list(const char *organization, int status, char *ret_trailing)
{
    Viam__App__Mltraining__V1__ListTrainingJobsRequest request =
        VIAM__APP__MLTRAINING__V1__LIST_TRAINING_JOBS_REQUEST__INIT;
    struct rpc_answer answer;
    request.organization_id = (char *)organization;
    request.status = (Viam__App__Mltraining__V1__TrainingStatus)status;
    call_with("ListTrainingJobs", &request.base, NULL, &answer);
    if (answer.status != OK)
        fail_msg("ListTrainingJobs: status %d: %s", answer.status, answer.message);
    assert_true(answer.bytes.len <= TY_LIMIT_LIST_BYTES);
    if (ret_trailing)
        snprintf(ret_trailing, sizeof answer.trailing, "%s", answer.trailing);
    Viam__App__Mltraining__V1__ListTrainingJobsResponse *response =
        viam__app__mltraining__v1__list_training_jobs_response__unpack(NULL, answer.bytes.len, answer.bytes.data);
    assert_non_null(response);
    rpc_answer_done(&answer);
    return response;
}

struct expected {
    uint64_t created_us;
    char id[TY_ID_TEXT_BYTES];
};

static int newest_first(const void *a, const void *b)
{
    const struct expected *left = a, *right = b;
    if (left->created_us != right->created_us)
        return left->created_us < right->created_us ? 1 : -1;
    return strcmp(right->id, left->id);
}

static void test_list_is_whole_and_in_order_over_shards(void **state)
{
    enum { COUNT = 2500 };
    static struct store_job jobs[COUNT];
    static struct ty_id ids[COUNT];
    static struct expected expected[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) // many jobs of the same time, and no order of arrival
        jobs[i] = (struct store_job){.organization_id = "big-list", .model_name = "m", .created_us = UINT64_C(1700000000000000) + (i * 7919 % COUNT) / 40 * 1000000, .padding = 0};
    store_submit(store, jobs, COUNT, ids);
    for (size_t i = 0; i < COUNT; i++) {
        expected[i].created_us = jobs[i].created_us;
        ty_id_format(&ids[i], expected[i].id);
    }
    qsort(expected, COUNT, sizeof *expected, newest_first);
    Viam__App__Mltraining__V1__ListTrainingJobsResponse *response = list("big-list", 0, NULL);
    assert_int_equal(response->n_jobs, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_string_equal(response->jobs[i]->id, expected[i].id);
    free_message(response);

    control("CancelTrainingJob", expected[17].id, OK);
    response = list("big-list", TY_JOB_CANCELED, NULL);
    assert_int_equal(response->n_jobs, 1);
    assert_string_equal(response->jobs[0]->id, expected[17].id);
    free_message(response);
    response = list("big-list", TY_JOB_PENDING, NULL);
    assert_int_equal(response->n_jobs, COUNT - 1);
    free_message(response);
}

static void test_list_of_nothing(void **state)
{
    (void)state;
    Viam__App__Mltraining__V1__ListTrainingJobsResponse *response = list("nobody", 0, NULL);
    assert_int_equal(response->n_jobs, 0);
    free_message(response);
}

static void test_a_list_that_is_too_large_says_so(void **state)
{
    enum { COUNT = 140 };
    static struct store_job jobs[COUNT];
    static struct ty_id ids[COUNT];
    char trailing[1024], wanted[64];
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        jobs[i] = (struct store_job){.organization_id = "large", .model_name = "m", .created_us = UINT64_C(1700000000000000) + i, .padding = 200 * 1024};
    store_submit(store, jobs, COUNT, ids);
    Viam__App__Mltraining__V1__ListTrainingJobsResponse *response = list("large", 0, trailing);
    assert_in_range(response->n_jobs, 100, COUNT - 1);
    snprintf(wanted, sizeof wanted, "trainyard-list-total-returned: %zu\n", response->n_jobs);
    assert_non_null(strstr(trailing, "trainyard-list-truncated: true\n"));
    assert_non_null(strstr(trailing, wanted));
    char newest[TY_ID_TEXT_BYTES];
    assert_string_equal(response->jobs[0]->id, ty_id_format(&ids[COUNT - 1], newest));
    free_message(response);
    response = list("big-list", 0, trailing);
    assert_null(strstr(trailing, "truncated"));
    free_message(response);
}

// ---- logs ----

typedef Viam__App__Mltraining__V1__GetTrainingJobLogsResponse Logs;

static Logs *logs(const char *id, const char *token)
{
    Viam__App__Mltraining__V1__GetTrainingJobLogsRequest request =
        VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST__INIT;
    request.id = (char *)id;
    if (token) {
        request._page_token_case = VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST___PAGE_TOKEN_PAGE_TOKEN;
        request.page_token = (char *)token;
    }
    return expect_ok("GetTrainingJobLogs", &request.base, NULL,
                     &viam__app__mltraining__v1__get_training_job_logs_response__descriptor);
}

// Reads all pages; each message must be "<label> <number>" counting on from first, labels as given in turn.
static size_t read_all(const char *id, const char *const *labels, const size_t *counts, size_t *ret_pages)
{
    char token[128] = "";
    size_t total = 0, at = 0, in_label = 0;
    *ret_pages = 0;
    do {
        Logs *page = logs(id, *token ? token : NULL);
        for (size_t i = 0; i < page->n_logs; i++, total++, in_label++) {
            char label[16];
            if (in_label == counts[at]) {
                at++;
                in_label = 0;
            }
            if (sscanf(page->logs[i]->message, "%15s", label) != 1 || strcmp(label, labels[at]) != 0)
                fail_msg("entry %zu: \"%.40s\"", total, page->logs[i]->message);
            assert_int_equal(strtoull(page->logs[i]->message + strlen(label), NULL, 10), page->logs[i]->time->nanos);
            assert_string_equal(page->logs[i]->level, "INFO");
        }
        snprintf(token, sizeof token, "%s", page->next_page_token);
        free_message(page);
        assert_in_range(++*ret_pages, 1, 1000);
    } while (*token);
    return total;
}

static void test_log_pages(void **state)
{
    static const char *const labels[] = {"first", "long", "again"};
    static const size_t counts[] = {2500, 300, 1000};
    Submit request;
    struct ty_id job_id;
    struct store_attempt attempt;
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES];
    size_t pages;
    (void)state;
    redis_server_empty(redis, SHARDS);
    init_submit(&request, "acme");
    submit(&request, NULL, id);
    assert_int_equal(ty_id_parse(id, &job_id, &err), 0);

    Logs *page = logs(id, NULL); // no attempt so far
    assert_int_equal(page->n_logs, 0);
    assert_string_equal(page->next_page_token, "");
    free_message(page);

    store_claim(store, &job_id, &attempt);
    store_log(store, &attempt, "first", 2500, 0);
    page = logs(id, "");
    assert_int_equal(page->n_logs, TY_LIMIT_LOG_PAGE_ENTRIES);
    assert_true(*page->next_page_token != 0);
    free_message(page);
    // The last page has no token although the job is running.
    assert_int_equal(read_all(id, labels, counts, &pages), 2500);
    assert_int_equal(pages, 3);

    store_log(store, &attempt, "long", 300, 16000); // pages end by their bytes
    assert_int_equal(read_all(id, labels, counts, &pages), 2800);
    assert_in_range(pages, 6, 12);

    store_finish(store, &attempt, TY_FINISH_RETRY);
    store_claim(store, &job_id, &attempt);
    assert_int_equal(attempt.attempt, 2);
    store_log(store, &attempt, "again", 1000, 0);
    assert_int_equal(read_all(id, labels, counts, &pages), 3800);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
    assert_int_equal(read_all(id, labels, counts, &pages), 3800);
}

static void test_a_token_stays_good_while_the_log_grows(void **state)
{
    Submit request;
    struct ty_id job_id;
    struct store_attempt attempt;
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES], token[128];
    (void)state;
    redis_server_empty(redis, SHARDS);
    init_submit(&request, "acme");
    submit(&request, NULL, id);
    assert_int_equal(ty_id_parse(id, &job_id, &err), 0);
    store_claim(store, &job_id, &attempt);
    store_log(store, &attempt, "x", 1001, 0);
    Logs *page = logs(id, NULL);
    snprintf(token, sizeof token, "%s", page->next_page_token);
    free_message(page);
    store_log(store, &attempt, "x", 10, 0);
    page = logs(id, token);
    assert_int_equal(page->n_logs, 11);
    assert_int_equal(page->logs[0]->time->nanos, 1000);
    assert_string_equal(page->next_page_token, "");
    free_message(page);
}

// A job that prints faster than its reader reads has a last page all the same, until it has ended: then all of the log is there.
static void test_a_reading_ends_where_the_log_ended(void **state)
{
    Submit request;
    struct ty_id job_id;
    struct store_attempt attempt;
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES], token[128];
    (void)state;
    redis_server_empty(redis, SHARDS);
    init_submit(&request, "acme");
    submit(&request, NULL, id);
    assert_int_equal(ty_id_parse(id, &job_id, &err), 0);
    store_claim(store, &job_id, &attempt);
    store_log(store, &attempt, "x", 1001, 0);
    Logs *page = logs(id, NULL);
    snprintf(token, sizeof token, "%s", page->next_page_token);
    free_message(page);
    store_log(store, &attempt, "x", 3000, 0);
    page = logs(id, token);
    assert_int_equal(page->n_logs, 1000);
    assert_string_equal(page->next_page_token, "");
    free_message(page);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
    page = logs(id, token);
    assert_int_equal(page->n_logs, 1000);
    assert_string_not_equal(page->next_page_token, "");
    free_message(page);
}

// What the last page says in trailing metadata; fails unless it has `count` entries. Returns whether the log has ended.
static bool last_page(const char *id, char token[128], size_t count)
{
    Viam__App__Mltraining__V1__GetTrainingJobLogsRequest request =
        VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST__INIT;
    struct rpc_answer answer;
    request.id = (char *)id;
    request._page_token_case = VIAM__APP__MLTRAINING__V1__GET_TRAINING_JOB_LOGS_REQUEST___PAGE_TOKEN_PAGE_TOKEN;
    request.page_token = token;
    call_with("GetTrainingJobLogs", &request.base, NULL, &answer);
    if (answer.status != OK)
        fail_msg("GetTrainingJobLogs: status %d: %s", answer.status, answer.message);
    Logs *page =
        viam__app__mltraining__v1__get_training_job_logs_response__unpack(NULL, answer.bytes.len, answer.bytes.data);
    assert_non_null(page);
    assert_int_equal(page->n_logs, count);
    assert_string_equal(page->next_page_token, "");
    free_message(page);
    const char *position = strstr(answer.trailing, "trainyard-log-position: ");
    bool is_false = strstr(answer.trailing, "trainyard-log-ended: false\n") != NULL;
    assert_non_null(position);
    assert_true(is_false || strstr(answer.trailing, "trainyard-log-ended: true\n"));
    assert_int_equal(sscanf(position, "trainyard-log-position: %127s", token), 1);
    rpc_answer_done(&answer);
    return !is_false;
}

static void test_a_log_can_be_followed_from_where_it_ended(void **state)
{
    Submit request;
    struct ty_id job_id;
    struct store_attempt attempt;
    struct ty_err err;
    char id[TY_ID_TEXT_BYTES], token[128] = "", start[128] = "";
    (void)state;
    redis_server_empty(redis, SHARDS);
    init_submit(&request, "acme");
    submit(&request, NULL, id);
    assert_int_equal(ty_id_parse(id, &job_id, &err), 0);
    assert_false(last_page(id, token, 0)); // before its log is open
    store_claim(store, &job_id, &attempt);
    store_log(store, &attempt, "x", 5, 0);
    assert_false(last_page(id, token, 5));
    assert_false(last_page(id, token, 0));
    store_log(store, &attempt, "x", 3, 0);
    assert_false(last_page(id, token, 3));

    store_log_end(store, &attempt);
    assert_false(last_page(id, token, 0)); // the attempt's log has ended, the job has not
    store_finish(store, &attempt, TY_FINISH_RETRY);
    store_claim(store, &job_id, &attempt);
    store_log(store, &attempt, "y", 2, 0);
    store_finish(store, &attempt, TY_FINISH_COMPLETED);
    assert_false(last_page(id, token, 2)); // the job has ended, its log has not
    store_log(store, &attempt, "y", 1, 0);
    store_log_end(store, &attempt);
    assert_true(last_page(id, token, 1));
    assert_true(last_page(id, token, 0));
    assert_true(last_page(id, start, 11));

    submit(&request, NULL, id);
    control("CancelTrainingJob", id, OK); // it never ran
    start[0] = 0;
    assert_true(last_page(id, start, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_your_write),
        cmocka_unit_test(test_managed_job),
        cmocka_unit_test(test_two_submits_are_two_jobs_unless_they_share_a_key),
        cmocka_unit_test(test_list_is_whole_and_in_order_over_shards),
        cmocka_unit_test(test_list_of_nothing),
        cmocka_unit_test(test_a_list_that_is_too_large_says_so),
        cmocka_unit_test(test_cancel_and_delete_by_state),
        cmocka_unit_test(test_log_pages),
        cmocka_unit_test(test_a_token_stays_good_while_the_log_grows),
        cmocka_unit_test(test_a_reading_ends_where_the_log_ended),
        cmocka_unit_test(test_a_log_can_be_followed_from_where_it_ended),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
