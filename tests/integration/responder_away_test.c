// Redis or Kafka away, hanging or coming back: no call waits longer than 5 seconds, answers say what is known, and the
// program starts without either of them and ends in time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/limits.h"
#include "tests/integration/apart.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define HEALTH_CHECK "/grpc.health.v1.Health/Check"
#define NOBODY "127.0.0.1:1" // tcpmux: nothing listens there
#define SUBMIT "SubmitCustomTrainingJob"

enum { OK = 0, CANCELLED = 1, DEADLINE_EXCEEDED = 4, NOT_FOUND = 5, UNAVAILABLE = 14 };

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *process;
static struct rpc_client *client;

static int set_up(void **state)
{
    (void)state;
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, 1);
    kafka = mock_kafka_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rpc_client_free(client);
    responder_process_free(process);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    redis = NULL;
    kafka = NULL;
    process = NULL;
    client = NULL;
    return 0;
}

static void start(const char *redis_url, const char *brokers)
{
    process = responder_process_new(PROGRAM, redis_url, brokers, NULL);
    client = rpc_client_new(responder_process_address(process));
}

static void add_submit(struct ty_buf *out)
{
    static const char *const fields[] = {NULL, "digits", "a:b", "acme", "reader", "1"};
    for (uint32_t i = 1; i < sizeof fields / sizeof *fields; i++)
        ty_buf_add_tag_bytes(out, i, fields[i], strlen(fields[i]));
}

static void call(const char *method, const struct ty_buf *request, struct rpc_answer *answer)
{
    char path[128];
    snprintf(path, sizeof path, RPC_TRAINING "%s", method);
    rpc_call(client, path, request->data, request->len, NULL, 0, answer);
    if (answer->took_ms >= TY_LIMIT_RPC_MS) // the machine is busy: what is waited for here does not come at all
        print_message("%s took %llu ms\n", method, (unsigned long long)answer->took_ms);
}

static void expect(const char *method, const struct ty_buf *request, int status, const char *words)
{
    struct rpc_answer answer;
    call(method, request, &answer);
    if (answer.status != status || (words && !strstr(answer.message, words)))
        fail_msg("%s: status %d \"%s\" instead of %d", method, answer.status, answer.message, status);
    rpc_answer_done(&answer);
}

static int health(void)
{
    struct rpc_answer answer;
    rpc_call(client, HEALTH_CHECK, "", 0, NULL, 0, &answer);
    assert_int_equal(answer.status, OK);
    assert_int_equal(answer.bytes.len, 2);
    int status = answer.bytes.data[1];
    rpc_answer_done(&answer);
    return status;
}

static void wait_health(int wanted)
{
    uint64_t deadline = ty_clock_mono_ms() + 60000;
    while (health() != wanted)
        if (ty_clock_mono_ms() > deadline)
            fail_msg("the health stays %d", health());
}

// The id in a submit's answer.
static void submit(struct ty_buf *ret_id_request)
{
    TY_BUF(request);
    struct rpc_answer answer;
    add_submit(&request);
    call(SUBMIT, &request, &answer);
    if (answer.status != OK)
        fail_msg("submit: status %d: %s", answer.status, answer.message);
    ty_buf_clear(ret_id_request);
    ty_buf_add(ret_id_request, answer.bytes.data, answer.bytes.len); // id is field 1 on both sides
    rpc_answer_done(&answer);
}

static void expect_all_unavailable(const struct ty_buf *id_request)
{
    static const char *const methods[] = {"GetTrainingJob", "GetTrainingJobLogs", "CancelTrainingJob",
                                          "DeleteCompletedTrainingJob", "ListTrainingJobs"};
    TY_BUF(request);
    add_submit(&request);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        expect(methods[i], id_request, UNAVAILABLE, "store");
    expect(SUBMIT, &request, UNAVAILABLE, "store");
    TY_BUF(nothing);
    expect("ListSupportedContainers", &nothing, OK, NULL); // needs no store
}

// ---- Redis ----

static void test_redis_goes_and_comes_back(void **state)
{
    TY_BUF(id);
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    redis_server_kill(redis);
    wait_health(2);
    expect_all_unavailable(&id);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), 1); // nothing published without it
    redis_server_start(redis);
    wait_health(1);
    expect("GetTrainingJob", &id, UNAVAILABLE, "made again"); // that server kept nothing, and nobody has looked what it should have
    redis_server_trust(redis, 1);
    expect("GetTrainingJob", &id, NOT_FOUND, NULL);
    submit(&id);
    expect("GetTrainingJob", &id, OK, NULL);
}

static void test_redis_hangs(void **state)
{
    TY_BUF(id);
    unsigned statuses[17];
    uint64_t slowest_ms;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    redis_server_pause(redis);
    rpc_call_many(client, RPC_TRAINING "GetTrainingJob", id.data, id.len, 500, statuses, &slowest_ms);
    assert_int_equal(statuses[UNAVAILABLE], 500);
    print_message("500 calls: the slowest took %llu ms\n", (unsigned long long)slowest_ms);
    expect_all_unavailable(&id);
    redis_server_resume(redis);
    wait_health(1);
    expect("GetTrainingJob", &id, OK, NULL);
}

static void test_redis_fails_after_kafka_acknowledged(void **state)
{
    TY_BUF(request);
    struct rpc_answer answer;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    TY_BUF(id);
    submit(&id); // the producer knows the topic from here on
    redis_server_pause(redis); // nobody has noticed when the submit comes
    add_submit(&request);
    call(SUBMIT, &request, &answer);
    assert_int_equal(answer.status, OK);
    assert_int_equal(answer.bytes.len, 38);
    rpc_answer_done(&answer);
    assert_int_equal(mock_kafka_read(kafka, "submit", TY_TOPIC_SUBMIT, NULL, NULL), 2);
    redis_server_resume(redis);
}

// ---- Kafka ----

static void test_kafka_is_away(void **state)
{
    TY_BUF(request);
    struct rpc_answer answer;
    (void)state;
    start(redis_server_url(redis), NOBODY);
    wait_health(1); // answering needs no Kafka
    add_submit(&request);
    call(SUBMIT, &request, &answer);
    assert_int_equal(answer.status, UNAVAILABLE);
    rpc_answer_done(&answer);
    TY_BUF(unknown);
    ty_buf_add_tag_bytes(&unknown, 1, "00000000-0000-4000-8000-000000000000", 36);
    expect("GetTrainingJob", &unknown, NOT_FOUND, NULL);
}

static void test_kafka_hangs_and_the_outcome_is_unknown(void **state)
{
    TY_BUF(request);
    TY_BUF(id);
    struct rpc_answer answer;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    mock_kafka_set_delay(kafka, 20000);
    add_submit(&request);
    call(SUBMIT, &request, &answer);
    assert_int_equal(answer.status, UNAVAILABLE);
    const char *line = strstr(answer.trailing, "trainyard-job-id: ");
    assert_non_null(line);
    assert_int_equal(strcspn(line + 18, "\n"), 36);
    rpc_answer_done(&answer);
    expect("CancelTrainingJob", &id, UNAVAILABLE, NULL);
}

static void test_kafka_refuses(void **state)
{
    TY_BUF(request);
    TY_BUF(id);
    struct rpc_answer answer;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    mock_kafka_refuse_produce(kafka, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    add_submit(&request);
    call(SUBMIT, &request, &answer);
    assert_int_equal(answer.status, 7); // PERMISSION_DENIED
    assert_null(strstr(answer.trailing, "trainyard-job-id"));
    // The producer believes the broker until it has asked it again.
    for (uint64_t deadline = ty_clock_mono_ms() + 60000; answer.status != OK;) {
        rpc_answer_done(&answer);
        if (ty_clock_mono_ms() > deadline)
            fail_msg("submits stay refused");
        call(SUBMIT, &request, &answer);
    }
    expect("GetTrainingJob", &answer.bytes, OK, NULL);
    rpc_answer_done(&answer);
}

// ---- clients ----

static void test_starts_without_either_and_serves_when_they_come(void **state)
{
    TY_BUF(request);
    (void)state;
    redis_server_stop(redis);
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    assert_int_equal(health(), 2);
    add_submit(&request);
    expect(SUBMIT, &request, UNAVAILABLE, "store");
    redis_server_start(redis);
    wait_health(1);
    expect(SUBMIT, &request, OK, NULL);
}

static void test_deadlines_and_leaving_clients(void **state)
{
    TY_BUF(id);
    struct rpc_answer answer;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    redis_server_pause(redis);
    rpc_call(client, RPC_TRAINING "GetTrainingJob", id.data, id.len, NULL, 300, &answer);
    assert_true(answer.status == DEADLINE_EXCEEDED || answer.status == UNAVAILABLE);
    rpc_answer_done(&answer);
    for (int i = 0; i < 200; i++)
        rpc_call_cancel(client, RPC_TRAINING "ListTrainingJobs", id.data, id.len);
    redis_server_resume(redis);
    wait_health(1);
    expect("GetTrainingJob", &id, OK, NULL);
}

static int connect_bare(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    to.sin_port = htons((uint16_t)atoi(strchr(address, ':') + 1));
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

static void test_connections_that_say_nothing_or_nonsense(void **state)
{
    int fds[50];
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    for (size_t i = 0; i < 50; i++)
        fds[i] = connect_bare(responder_process_address(process));
    for (size_t i = 0; i < 50; i += 2)
        if (write(fds[i], "\x16\x03\x01\x02\x00GET / HTTP/1.1\r\n\r\n", 23) < 0)
            fail_msg("write: %s", strerror(errno));
    wait_health(1);
    for (size_t i = 0; i < 50; i++)
        close(fds[i]);
    wait_health(1);
}

static void test_ends_in_time_with_calls_running(void **state)
{
    TY_BUF(id);
    uint64_t took_ms;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    struct rpc_stream *watch = rpc_stream_open(client, "/grpc.health.v1.Health/Watch");
    TY_BUF(message);
    rpc_stream_send(watch, "", 0);
    rpc_stream_half_close(watch);
    assert_true(rpc_stream_receive(watch, &message));
    assert_int_equal(message.data[1], 1);
    int bare = connect_bare(responder_process_address(process));
    rpc_stream_expect(watch);
    int status = responder_process_stop(process, &took_ms);
    if (status != 0)
        fail_msg("exit %d: %s", status, responder_process_log(process));
    print_message("ended after %llu ms\n", (unsigned long long)took_ms); // the watch and the bare connection would stay for ever
    assert_true(rpc_stream_receive(watch, &message));
    assert_int_equal(message.data[1], 2); // NOT_SERVING came before the end
    assert_false(rpc_stream_receive(watch, &message));
    assert_int_equal(rpc_stream_end(watch, false), UNAVAILABLE);
    close(bare);
}

static void test_ends_in_time_while_kafka_hangs(void **state)
{
    TY_BUF(id);
    TY_BUF(request);
    uint64_t took_ms;
    (void)state;
    start(redis_server_url(redis), mock_kafka_brokers(kafka));
    wait_health(1);
    submit(&id);
    mock_kafka_set_delay(kafka, 20000);
    add_submit(&request);
    rpc_call_cancel(client, RPC_TRAINING SUBMIT, request.data, request.len);
    int status = responder_process_stop(process, &took_ms);
    if (status != 0)
        fail_msg("exit %d: %s", status, responder_process_log(process));
    assert_true(took_ms < 20000); // before Kafka answers
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_redis_goes_and_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redis_hangs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_redis_fails_after_kafka_acknowledged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kafka_is_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kafka_hangs_and_the_outcome_is_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kafka_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_starts_without_either_and_serves_when_they_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deadlines_and_leaving_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_connections_that_say_nothing_or_nonsense, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_in_time_with_calls_running, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ends_in_time_while_kafka_hangs, set_up, tear_down),
    };
    return apart_run("a responder without Redis or Kafka", tests, NULL, NULL);
}
