// The table of commands (schemas/commands.json) held against the query responder: each row by RPC, and sequences by
// both roads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/integration/command_table.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *process;
static struct rpc_client *rpc;
static struct state_client client;
static struct command_table table;
static char key[32]; // the idempotency key of the row's job

static int call(const char *method, const ProtobufCMessage *request, const char *const *metadata, char *ret_id)
{
    struct rpc_answer answer;
    char path[128];
    TY_BUF(bytes);
    size_t len = protobuf_c_message_get_packed_size(request);
    protobuf_c_message_pack(request, ty_buf_reserve(&bytes, len));
    snprintf(path, sizeof path, RPC_TRAINING "%s", method);
    rpc_call(rpc, path, bytes.data, len, metadata, 0, &answer);
    int status = answer.status;
    if (status == 0 && ret_id) { // field 1, a UUID
        assert_int_equal(answer.bytes.len, 2 + TY_ID_TEXT_BYTES - 1);
        snprintf(ret_id, TY_ID_TEXT_BYTES, "%.*s", TY_ID_TEXT_BYTES - 1, (const char *)answer.bytes.data + 2);
    }
    rpc_answer_done(&answer);
    return status;
}

static int submit(enum table_command which, const struct ty_id *id)
{
    const char *const metadata[] = {"idempotency-key", key, NULL};
    char wanted[TY_ID_TEXT_BYTES], got[TY_ID_TEXT_BYTES] = "";
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    request.organization_id = (char *)"acme";
    request.dataset_id = (char *)"digits";
    request.model_name = (char *)(which == TABLE_SUBMIT ? "digits" : "other") /* as command_table_apply */;
    request.model_version = (char *)"1";
    request.registry_item_id = (char *)"acme:digits";
    int status = call("SubmitCustomTrainingJob", &request.base, metadata, got);
    if (status == 0)
        assert_string_equal(got, ty_id_format(id, wanted));
    return status;
}

static int command(enum table_command which, const struct ty_id *id)
{
    char text[TY_ID_TEXT_BYTES];
    if (which <= TABLE_SUBMIT_OTHER)
        return submit(which, id);
    Viam__App__Mltraining__V1__CancelTrainingJobRequest cancel = VIAM__APP__MLTRAINING__V1__CANCEL_TRAINING_JOB_REQUEST__INIT;
    Viam__App__Mltraining__V1__DeleteCompletedTrainingJobRequest delete_ =
        VIAM__APP__MLTRAINING__V1__DELETE_COMPLETED_TRAINING_JOB_REQUEST__INIT;
    ty_id_format(id, text);
    cancel.id = delete_.id = text;
    return which == TABLE_CANCEL ? call("CancelTrainingJob", &cancel.base, NULL, NULL)
                                 : call("DeleteCompletedTrainingJob", &delete_.base, NULL, NULL);
}

static void submit_first(void *context, const struct ty_id *id)
{
    (void)context;
    assert_int_equal(submit(TABLE_SUBMIT, id), 0);
}

// Nothing is left to claim for the next one.
static void clear(const struct ty_id *id, const struct state_claim *claim)
{
    state_control(&client, TY_COMMAND_DELETE, id);
    if (claim->attempt)
        state_finish(&client, claim, TY_FINISH_CANCELED, TY_REASON_CANCELED);
}

static void every_row_is_what_the_responder_does(void **state)
{
    (void)state;
    for (unsigned at = 0; at < COMMAND_STATES * TABLE_COMMANDS; at++) {
        enum table_command which = at % TABLE_COMMANDS;
        unsigned from = at / TABLE_COMMANDS;
        struct table_cell cell = table.rpc[from][which];
        struct state_claim claim = {0};
        snprintf(key, sizeof key, "row-%u", at);
        struct ty_id id = ty_id_from_key("acme", key);
        command_table_reach(&table, &client, from, &id, submit_first, NULL, &claim);
        int status = command(which, &id);
        unsigned next = command_table_look(&table, &client, &id);
        if (status != cell.answer || next != cell.next)
            fail_msg("%s, %s: the responder answers %d and the job is %s; the table says %d and %s", table.states[from],
                     command_table_name(which), status, table.states[next], cell.answer, table.states[cell.next]);
        clear(&id, &claim);
    }
}

// Both roads in turn, from nothing: with the same seed the same sequences.
static void both_roads_together_come_to_what_the_table_says(void **state)
{
    enum { SEQUENCES = 600, LENGTH = 6 };
    uint64_t random = 20261126;
    (void)state;
    for (unsigned number = 0; number < SEQUENCES; number++) {
        char said[LENGTH * 24] = "";
        snprintf(key, sizeof key, "mixed-%u", number);
        struct ty_id id = ty_id_from_key("acme", key);
        struct table_reading reading = {command_table_state(&table, "UNKNOWN"), TABLE_COMMANDS};
        struct state_claim claim = {0};
        for (unsigned at = 0; at < LENGTH; at++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            enum table_command which = random >> 33 & 3;
            bool by_rpc = random >> 35 & 1;
            // A worker takes the job of every other sequence as soon as there is one.
            if (number % 2 && reading.state == command_table_state(&table, "PENDING")) {
                claim = state_claim_one(&client, &id, STATE_LEASE_MS);
                reading.state = command_table_state(&table, "IN_PROGRESS");
            }
            snprintf(said + strlen(said), sizeof said - strlen(said), " %s by %s", command_table_name(which), by_rpc ? "RPC" : "Kafka");
            int answer = by_rpc ? command(which, &id) : command_table_apply(&client, which, &id, NULL);
            struct table_cell cell = command_table_cell(&table, by_rpc, reading, which);
            reading = command_table_read(&table, by_rpc, reading, which);
            unsigned next = command_table_look(&table, &client, &id);
            if (answer != cell.answer || next != reading.state)
                fail_msg("%s: the answer was %d and the job is %s; the table says %d and %s", said, answer, table.states[next],
                         cell.answer, table.states[reading.state]);
        }
        clear(&id, &claim);
    }
}

static int setup(void **state)
{
    (void)state;
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, 1);
    kafka = mock_kafka_new();
    process = responder_process_new(TY_BINARY_DIR "/bin/trainyard-responder", redis_server_url(redis), mock_kafka_brokers(kafka), NULL);
    rpc = rpc_client_new(responder_process_address(process));
    responder_process_await_store(process);
    state_client_open(&client, redis, 1);
    command_table_load(&table);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    uint64_t took_ms;
    state_client_close(&client);
    rpc_client_free(rpc);
    int status = responder_process_stop(process, &took_ms);
    responder_process_free(process);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_what_the_responder_does),
        cmocka_unit_test(both_roads_together_come_to_what_the_table_says),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
