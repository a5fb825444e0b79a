// LogService.Follow against real Redis: where it begins, what it sends, when it ends, and what becomes of slow and many
// followers, of a store that goes, and of a responder that stops.
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
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "tests/integration/responder_store.h"
#include "trainyard/v1/log_service.pb-c.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define FOLLOW "/trainyard.v1.LogService/Follow"
#define START_S UINT64_C(1700000000)

enum { OK = 0, CANCELLED = 1, INVALID_ARGUMENT = 3, NOT_FOUND = 5, RESOURCE_EXHAUSTED = 8, UNAVAILABLE = 14 };

typedef Trainyard__V1__FollowRequest Request;
typedef Trainyard__V1__FollowReply Reply;
typedef Trainyard__V1__LogRecord Record;

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *process;
static struct rpc_client *client;
static struct store *store;

static void start_responder(void)
{
    static const char *const args[] = {"--max-followers", "30", NULL};
    process = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), args);
    client = rpc_client_new(responder_process_address(process));
    responder_process_await_store(process);
}

static void stop_responder(void)
{
    uint64_t took_ms;
    rpc_client_free(client);
    int status = responder_process_stop(process, &took_ms); // a sanitizer speaks up here
    if (status != 0)
        fail_msg("exit %d: %s", status, responder_process_log(process));
    responder_process_free(process);
}

static int set_up(void **state)
{
    (void)state;
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, 1);
    kafka = mock_kafka_new();
    start_responder();
    store = store_new(redis_server_url(redis), 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_free(store);
    stop_responder();
    mock_kafka_free(kafka);
    redis_server_free(redis);
    return 0;
}

// ---- a job, and who follows it ----

struct job {
    struct ty_id id;
    char text[TY_ID_TEXT_BYTES];
    struct store_attempt attempt;
};

static void submit(struct job *job)
{
    struct store_job submitted = {.organization_id = "acme", .model_name = "reader", .created_us = ty_clock_wall_us()};
    redis_server_empty(redis, 1);
    store_submit(store, &submitted, 1, &job->id);
    ty_id_format(&job->id, job->text);
}

static void submit_and_claim(struct job *job)
{
    submit(job);
    store_claim(store, &job->id, &job->attempt);
}

struct follower {
    struct rpc_stream *stream;
    char position[128]; // of the latest reply
    size_t count;       // records so far
    uint32_t attempt;   // of the latest record
    uint64_t sequence;
    char message[128];
    bool ended, complete;
    int status;
};

static void follow(struct follower *follower, const Request *request)
{
    TY_BUF(bytes);
    size_t len = trainyard__v1__follow_request__get_packed_size(request);
    trainyard__v1__follow_request__pack(request, ty_buf_reserve(&bytes, len)); // the position may be the follower's own
    *follower = (struct follower){.stream = rpc_stream_open(client, FOLLOW)};
    rpc_stream_send(follower->stream, bytes.data, len);
    rpc_stream_half_close(follower->stream);
}

// The entries of the tests say their own sequence numbers: "line 17 ...".
static void take_record(struct follower *follower, const Record *record)
{
    const char *number = strchr(record->entry->message, ' ');
    assert_non_null(number);
    assert_int_equal(strtoull(number + 1, NULL, 10), record->sequence);
    if (record->attempt < follower->attempt || (record->attempt == follower->attempt && follower->count && record->sequence <= follower->sequence))
        fail_msg("(%u, %" PRIu64 ") after (%u, %" PRIu64 ")", record->attempt, record->sequence, follower->attempt, follower->sequence);
    follower->attempt = record->attempt;
    follower->sequence = record->sequence;
    snprintf(follower->message, sizeof follower->message, "%s", record->entry->message);
    follower->count++;
}

// The next reply; false at the end of the stream. Returns how many records it had in *ret_count.
static bool next_reply(struct follower *follower, size_t *ret_count)
{
    TY_BUF(bytes);
    if (!rpc_stream_receive(follower->stream, &bytes))
        return false;
    Reply *reply = trainyard__v1__follow_reply__unpack(NULL, bytes.len, bytes.data);
    assert_non_null(reply);
    assert_false(follower->ended);
    for (size_t i = 0; i < reply->n_records; i++)
        take_record(follower, reply->records[i]);
    snprintf(follower->position, sizeof follower->position, "%s", reply->position);
    if (reply->end) {
        follower->ended = true;
        follower->complete = reply->end->complete;
        follower->status = (int)reply->end->status;
    }
    *ret_count = reply->n_records;
    trainyard__v1__follow_reply__free_unpacked(reply, NULL);
    return true;
}

static void follow_until(struct follower *follower, size_t count)
{
    size_t got;
    while (follower->count < count)
        if (!next_reply(follower, &got))
            fail_msg("the stream has ended after %zu of %zu records, with status %d", follower->count, count,
                     rpc_stream_end(follower->stream, false));
    assert_int_equal(follower->count, count);
}

static int follow_to_end(struct follower *follower)
{
    size_t got;
    while (next_reply(follower, &got))
        continue;
    return rpc_stream_end(follower->stream, false);
}

static void leave(struct follower *follower)
{
    assert_int_equal(rpc_stream_end(follower->stream, true), CANCELLED);
}

static Request request_of(const struct job *job)
{
    Request request = TRAINYARD__V1__FOLLOW_REQUEST__INIT;
    request.id = (char *)job->text;
    return request;
}

static Request request_after(const struct job *job, const struct follower *follower)
{
    Request request = request_of(job);
    request.start_case = TRAINYARD__V1__FOLLOW_REQUEST__START_POSITION;
    request.position = (char *)follower->position;
    return request;
}

static Request request_tail(const struct job *job, uint32_t tail, bool until_now)
{
    Request request = request_of(job);
    request.start_case = TRAINYARD__V1__FOLLOW_REQUEST__START_TAIL;
    request.tail = tail;
    request.until_now = until_now;
    return request;
}

// ---- the whole way ----

static void test_from_before_the_start_to_the_end(void **state)
{
    struct job job;
    struct follower follower;
    size_t count;
    (void)state;
    submit(&job);
    Request request = request_of(&job);
    follow(&follower, &request);
    assert_true(next_reply(&follower, &count)); // at once: there is such a job
    assert_int_equal(count, 0);
    store_claim(store, &job.id, &job.attempt);
    store_log(store, &job.attempt, "line", 1, 0);
    follow_until(&follower, 1);
    store_log(store, &job.attempt, "line", 2500, 0);
    follow_until(&follower, 2501);
    store_log_end(store, &job.attempt);
    store_finish(store, &job.attempt, TY_FINISH_RETRY);
    store_claim(store, &job.id, &job.attempt); // the stream goes on with the next attempt
    store_log(store, &job.attempt, "again", 3, 0);
    follow_until(&follower, 2504);
    assert_int_equal(follower.attempt, 2);
    assert_int_equal(follower.sequence, 2);
    store_finish(store, &job.attempt, TY_FINISH_FAILED); // the job has ended, its log goes on
    store_log(store, &job.attempt, "again", 1, 0);
    follow_until(&follower, 2505);
    store_log_end(store, &job.attempt);
    assert_int_equal(follow_to_end(&follower), OK);
    assert_true(follower.ended && follower.complete);
    assert_int_equal(follower.status, TY_JOB_FAILED);

    follow(&follower, &request); // of a job that has ended: all of it at once
    assert_int_equal(follow_to_end(&follower), OK);
    assert_int_equal(follower.count, 2505);
    assert_true(follower.ended && follower.complete);
}

static void test_a_position_goes_on_where_it_was_given(void **state)
{
    struct job job;
    struct follower first, second;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 1700, 0);
    Request request = request_of(&job);
    follow(&first, &request);
    follow_until(&first, 1700);
    leave(&first);
    store_log(store, &job.attempt, "line", 40, 0);
    request = request_after(&job, &first);
    follow(&second, &request);
    follow_until(&second, 40);
    assert_int_equal(second.sequence, 1739);
    leave(&second);
}

static void test_a_log_without_its_end(void **state)
{
    struct job job;
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 3, 0);
    store_finish(store, &job.attempt, TY_FINISH_FAILED);
    Request request = request_of(&job);
    request.rest_ms = 1;
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), OK);
    assert_int_equal(follower.count, 3);
    assert_true(follower.ended);
    assert_false(follower.complete);
}

static void test_a_job_that_goes(void **state)
{
    struct job job, other = {.text = "ffffffff-ffff-4fff-8fff-ffffffffffff"};
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 3, 0);
    Request request = request_of(&other);
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), NOT_FOUND);
    request = request_of(&job);
    follow(&follower, &request);
    follow_until(&follower, 3);
    store_finish(store, &job.attempt, TY_FINISH_COMPLETED); // the end of its log is waited for
    struct rpc_answer answer;
    TY_BUF(bytes);
    ty_buf_add_tag_bytes(&bytes, 1, job.text, strlen(job.text));
    rpc_call(client, RPC_TRAINING "DeleteCompletedTrainingJob", bytes.data, bytes.len, NULL, 0, &answer);
    assert_int_equal(answer.status, OK);
    rpc_answer_done(&answer);
    assert_int_equal(follow_to_end(&follower), NOT_FOUND);
    assert_false(follower.ended);
}

static void test_bad_requests(void **state)
{
    struct job job;
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    Request request = request_of(&job);
    request.minimum_level = (char *)"loud";
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), INVALID_ARGUMENT);
    snprintf(follower.position, sizeof follower.position, "not a position");
    request = request_after(&job, &follower);
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), INVALID_ARGUMENT);
    request = request_of(&job);
    request.id = (char *)"";
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), INVALID_ARGUMENT);
}

// ---- where it begins, and what is left out ----

static void expect_tail(const struct job *job, uint32_t tail, size_t count, uint64_t last)
{
    struct follower follower;
    Request request = request_tail(job, tail, true);
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), OK);
    assert_int_equal(follower.count, count);
    assert_false(follower.ended); // the job goes on
    if (count)
        assert_int_equal(follower.sequence, last);
}

static void test_tails(void **state)
{
    struct job job;
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    expect_tail(&job, 5, 0, 0);
    store_log(store, &job.attempt, "line", 1500, 0);
    store_log_end(store, &job.attempt);
    store_finish(store, &job.attempt, TY_FINISH_RETRY);
    store_claim(store, &job.id, &job.attempt);
    store_log(store, &job.attempt, "again", 10, 0);
    expect_tail(&job, 0, 0, 0);
    expect_tail(&job, 1, 1, 9);
    expect_tail(&job, 10, 10, 9);
    expect_tail(&job, 11, 11, 9);
    expect_tail(&job, 1400, 1400, 9);
    expect_tail(&job, 5000, 1510, 9);
    Request request = request_tail(&job, 2, false); // and what comes
    follow(&follower, &request);
    follow_until(&follower, 2);
    store_log(store, &job.attempt, "again", 5, 0);
    follow_until(&follower, 7);
    assert_int_equal(follower.sequence, 14);
    leave(&follower);
}

static size_t count_since(const struct job *job, uint64_t since_us, const char *level)
{
    Google__Protobuf__Timestamp since = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    struct follower follower;
    Request request = request_of(job);
    since.seconds = (int64_t)(since_us / 1000000);
    since.nanos = (int32_t)(since_us % 1000000 * 1000);
    request.since = since_us ? &since : NULL;
    request.minimum_level = (char *)level;
    request.until_now = true;
    follow(&follower, &request);
    assert_int_equal(follow_to_end(&follower), OK);
    return follower.count;
}

static void test_since_and_level(void **state)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", "critical"};
    enum { FIRST = 600, SECOND = 1400 };
    struct job job;
    char message[32];
    (void)state;
    submit_and_claim(&job);
    for (unsigned i = 0; i < FIRST + SECOND; i++) { // one a second, of two attempts
        if (i == FIRST) {
            store_finish(store, &job.attempt, TY_FINISH_RETRY);
            store_claim(store, &job.id, &job.attempt);
        }
        snprintf(message, sizeof message, "line %" PRIu64, job.attempt.next);
        // Neighbours are not quite in order, as lines of two streams are not.
        store_log_one(store, &job.attempt, levels[i % 5], (START_S + i + (i % 2 ? 3 : 0)) * 1000000, message);
    }
    assert_int_equal(count_since(&job, 0, ""), 2000);
    assert_int_equal(count_since(&job, 0, "info"), 1600);
    assert_int_equal(count_since(&job, 0, "critical"), 400);
    for (unsigned from = 0; from < 2000; from += 133) {
        size_t wanted = 0, warned = 0;
        for (unsigned i = 0; i < FIRST + SECOND; i++) {
            bool is_in = i + (i % 2 ? 3 : 0) >= from;
            wanted += is_in;
            warned += is_in && i % 5 >= 2;
        }
        assert_int_equal(count_since(&job, (START_S + from) * 1000000, ""), wanted);
        assert_int_equal(count_since(&job, (START_S + from) * 1000000, "warn"), warned);
    }
    assert_int_equal(count_since(&job, (START_S + 5000) * 1000000, ""), 0);
}

// ---- many, and slow ones ----

static uint64_t script_calls(void)
{
    const char *info = redis_server_ask(redis, "INFO commandstats");
    const char *calls = info ? strstr(info, "cmdstat_evalsha:calls=") : NULL;
    return calls ? strtoull(calls + strlen("cmdstat_evalsha:calls="), NULL, 10) : 0;
}

static void test_many_followers_share_their_reads(void **state)
{
    enum { MANY = 30, STEPS = 20 };
    static struct follower followers[MANY], refused;
    struct job job;
    (void)state;
    submit_and_claim(&job);
    Request request = request_of(&job);
    for (size_t i = 0; i < MANY; i++)
        follow(&followers[i], &request);
    store_log(store, &job.attempt, "line", 1, 0);
    for (size_t i = 0; i < MANY; i++)
        follow_until(&followers[i], 1);
    uint64_t before = script_calls();
    for (size_t n = 0; n < STEPS; n++) {
        store_log(store, &job.attempt, "line", 1, 0);
        for (size_t i = 0; i < MANY; i++)
            follow_until(&followers[i], n + 2);
    }
    uint64_t calls = script_calls() - before;
    print_message("%d followers, %d appends: %" PRIu64 " calls of the store\n", MANY, STEPS, calls);
    assert_in_range(calls, 2 * STEPS, 8 * STEPS); // the appends among them
    follow(&refused, &request);
    assert_int_equal(follow_to_end(&refused), RESOURCE_EXHAUSTED);
    for (size_t i = 0; i < MANY; i++)
        leave(&followers[i]);
    // Whoever left makes room, as soon as the server knows it.
    for (int status = RESOURCE_EXHAUSTED; status == RESOURCE_EXHAUSTED;) {
        size_t count;
        follow(&refused, &request);
        status = next_reply(&refused, &count) ? OK : rpc_stream_end(refused.stream, false);
    }
    leave(&refused);
}

static size_t resident_kib(void)
{
    char path[64], line[256];
    size_t kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", responder_process_pid(process));
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %zu", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib;
}

static void test_a_slow_follower_holds_nothing_up(void **state)
{
    struct job job;
    struct follower slow, quick;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 1, 0);
    Request request = request_of(&job);
    follow(&slow, &request);
    follow(&quick, &request);
    follow_until(&quick, 1);
    size_t before = resident_kib();
    for (size_t i = 1; i <= 40; i++) { // 40 MB go by while it takes nothing
        store_log(store, &job.attempt, "line", 1000, 1000);
        follow_until(&quick, 1 + 1000 * i);
    }
    size_t grown = resident_kib() - before;
    print_message("40 MB past a follower that takes nothing: %zu KiB more\n", grown);
#ifndef __SANITIZE_ADDRESS__ // which keeps what was freed
    assert_true(grown < 16384);
#endif
    follow_until(&slow, 40001); // it is all there, each once
    store_log_end(store, &job.attempt);
    store_finish(store, &job.attempt, TY_FINISH_COMPLETED);
    assert_int_equal(follow_to_end(&slow), OK);
    assert_int_equal(follow_to_end(&quick), OK);
    assert_true(slow.complete && quick.complete);
}

// ---- what goes away ----

static void test_a_store_that_goes_and_comes(void **state)
{
    struct job job;
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 1100, 0);
    redis_server_ask(redis, "SAVE");
    Request request = request_of(&job);
    follow(&follower, &request);
    follow_until(&follower, 1100);
    store_free(store);
    redis_server_kill(redis);
    assert_int_equal(follow_to_end(&follower), UNAVAILABLE);
    redis_server_start(redis);
    store = store_new(redis_server_url(redis), 1);
    struct follower again;
    for (int status = UNAVAILABLE; status == UNAVAILABLE;) { // until the responder has found it
        size_t count;
        request = request_after(&job, &follower);
        follow(&again, &request);
        status = next_reply(&again, &count) ? OK : rpc_stream_end(again.stream, false);
    }
    store_log(store, &job.attempt, "line", 50, 0);
    follow_until(&again, 50);
    assert_int_equal(again.sequence, 1149);
    leave(&again);
}

// The store has lost what a follower had, and gets it again under the same numbers.
static void test_a_store_that_goes_back(void **state)
{
    struct job job;
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 10, 0);
    Request request = request_of(&job);
    follow(&follower, &request);
    follow_until(&follower, 10);
    char command[128], *at = command + sprintf(command, "LTRIM {");
    for (size_t i = 0; i < sizeof job.id.bytes; i++)
        at += sprintf(at, "%02x", job.id.bytes[i]);
    sprintf(at, "}:l:1 0 3");
    redis_server_ask(redis, command);
    job.attempt.next = 4;
    store_log(store, &job.attempt, "line", 5, 0);
    store_log(store, &job.attempt, "line", 5, 0);
    follow_until(&follower, 14);
    assert_int_equal(follower.sequence, 13);
    leave(&follower);
}

static void test_a_responder_that_stops(void **state)
{
    struct job job;
    struct follower follower;
    (void)state;
    submit_and_claim(&job);
    store_log(store, &job.attempt, "line", 5, 0);
    Request request = request_of(&job);
    follow(&follower, &request);
    follow_until(&follower, 5);
    responder_process_tell(process);
    assert_int_equal(follow_to_end(&follower), UNAVAILABLE); // now, and not when its grace is over
    stop_responder();
    start_responder();
    request = request_after(&job, &follower);
    follow(&follower, &request);
    store_log(store, &job.attempt, "line", 5, 0);
    follow_until(&follower, 5);
    assert_int_equal(follower.sequence, 9);
    leave(&follower);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_before_the_start_to_the_end),
        cmocka_unit_test(test_a_position_goes_on_where_it_was_given),
        cmocka_unit_test(test_a_log_without_its_end),
        cmocka_unit_test(test_a_job_that_goes),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_tails),
        cmocka_unit_test(test_since_and_level),
        cmocka_unit_test(test_many_followers_share_their_reads),
        cmocka_unit_test(test_a_slow_follower_holds_nothing_up),
        cmocka_unit_test(test_a_store_that_goes_and_comes),
        cmocka_unit_test(test_a_store_that_goes_back),
        cmocka_unit_test(test_a_responder_that_stops),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
