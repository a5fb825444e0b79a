// Log-in and organizations, on real servers: every RPC by every role and organization, what a token must look like, revocation on
// every responder and beside a store that goes back, rotation of secrets, and failed log-ins. Numbers are those of the
// compatibility checklist.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/key.h"
#include "proto/rpc/v1/auth.pb-c.h"
#include "tests/integration/apart.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "tests/integration/state_client.h"
#include "viam/app/v1/app.pb-c.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define AUTHENTICATE "/proto.rpc.v1.AuthService/Authenticate"
#define ORGANIZATIONS "/viam.app.v1.AppService/ListOrganizations"
#define FOLLOW "/trainyard.v1.LogService/Follow"
#define SHARDS 4
#define RESPONDERS 2
#define FIRST_SECRET "the-first-secret-of-forty-characters-or-so"
#define SECOND_SECRET "the-second-secret-of-forty-characters-or-so"

enum { OK = 0, INVALID_ARGUMENT = 3, NOT_FOUND = 5, PERMISSION_DENIED = 7, EXHAUSTED = 8, FAILED_PRECONDITION = 9, UNIMPLEMENTED = 12,
       UNAVAILABLE = 14, UNAUTHENTICATED = 16 };

static struct redis_server *redis;
static struct mock_kafka *kafka;
static struct responder_process *processes[RESPONDERS], *open_process;
static struct rpc_client *clients[RESPONDERS], *open_client;
static struct state_client store;
static char secret_file[] = "/tmp/trainyard-secrets-XXXXXX";

// ---- set-up ----

static void write_secrets(const char *text)
{
    char aside[64];
    snprintf(aside, sizeof aside, "%s.new", secret_file);
    int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
    assert_int_equal(rename(aside, secret_file), 0);
}

static int set_up(void **state)
{
    const char *const args[] = {"--shards", "4", "--auth", "keys", "--token-secret-file", secret_file, "--failed-logins", "1000", NULL};
    const char *const open_args[] = {"--shards", "4", "--default-organization", "acme", NULL};
    (void)state;
    close(mkstemp(secret_file));
    write_secrets(FIRST_SECRET "\n");
    redis = redis_server_new(NULL);
    redis_server_start(redis);
    redis_server_trust(redis, SHARDS);
    kafka = mock_kafka_new();
    state_client_open(&store, redis, SHARDS);
    for (int i = 0; i < RESPONDERS; i++) {
        processes[i] = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), args);
        clients[i] = rpc_client_new(responder_process_address(processes[i]));
        responder_process_await_store(processes[i]);
    }
    open_process = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), open_args);
    open_client = rpc_client_new(responder_process_address(open_process));
    responder_process_await_store(open_process);
    return 0;
}

static int stop(struct responder_process *process, struct rpc_client *client)
{
    uint64_t took_ms;
    rpc_client_free(client);
    int status = responder_process_stop(process, &took_ms); // a sanitizer speaks up here
    if (status != 0)
        print_error("exit %d: %s\n", status, responder_process_log(process));
    responder_process_free(process);
    return status;
}

static int tear_down(void **state)
{
    (void)state;
    int status = stop(open_process, open_client);
    for (int i = 0; i < RESPONDERS; i++)
        status |= stop(processes[i], clients[i]);
    state_client_close(&store);
    mock_kafka_free(kafka);
    redis_server_free(redis);
    unlink(secret_file);
    return status;
}

// ---- keys ----

struct login {
    struct ty_key key;
    char id[TY_ID_TEXT_BYTES], secret[TY_KEY_SECRET_TEXT];
    char bearer[TY_KEY_VALUE_BYTES]; // "Bearer ..."
};

static void put(const struct ty_key *key)
{
    char name[TY_KEY_NAME_BYTES];
    TY_BUF(value);
    ty_key_encode(key, "test", &value);
    struct ty_apply apply = {.kind = TY_APPLY_KEY, .organization_id = ty_key_name(&key->id, key->is_revocation, name),
                             .record = value.data, .record_len = value.len};
    assert_int_equal(state_apply(&store, &apply, 1, NULL).code, TY_OK);
}

static struct login new_login(const char *organization, enum ty_key_role role)
{
    struct login login = {.key = {.id = ty_id_new(), .issued_at_us = 1, .role = role}};
    snprintf(login.key.organization, sizeof login.key.organization, "%s", organization);
    ty_key_new_secret(login.secret);
    ty_key_hash(login.secret, strlen(login.secret), login.key.proof);
    ty_id_format(&login.key.id, login.id);
    put(&login.key);
    STATE_RAW(&store, NULL, "HSET", "{ty:0}:m", "replay", "done");
    return login;
}

static void revoke_key(const struct login *login)
{
    put(&(struct ty_key){.id = login->key.id, .is_revocation = true, .issued_at_us = 2});
}

// ---- calls ----

static void pack(const ProtobufCMessage *message, struct ty_buf *out)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, ty_buf_reserve(out, len));
    out->len += len;
}

// The status; the token or the message in ret_text.
static int authenticate(struct rpc_client *client, const char *entity, const char *type, const char *payload, const char *const *metadata,
                        char *ret_text, size_t size)
{
    Proto__Rpc__V1__AuthenticateRequest request = PROTO__RPC__V1__AUTHENTICATE_REQUEST__INIT;
    Proto__Rpc__V1__Credentials credentials = PROTO__RPC__V1__CREDENTIALS__INIT;
    struct rpc_answer answer;
    TY_BUF(bytes);
    request.entity = (char *)entity;
    credentials.type = (char *)type;
    credentials.payload = (char *)payload;
    if (type)
        request.credentials = &credentials;
    pack(&request.base, &bytes);
    rpc_call(client, AUTHENTICATE, bytes.data, bytes.len, metadata, 0, &answer);
    int status = answer.status;
    snprintf(ret_text, size, "%s", answer.message);
    if (status == OK) {
        Proto__Rpc__V1__AuthenticateResponse *response =
            proto__rpc__v1__authenticate_response__unpack(NULL, answer.bytes.len, answer.bytes.data);
        assert_non_null(response);
        assert_true(*response->access_token);
        snprintf(ret_text, size, "%s", response->access_token);
        proto__rpc__v1__authenticate_response__free_unpacked(response, NULL);
    }
    rpc_answer_done(&answer);
    return status;
}

static int try_log_in(struct rpc_client *client, struct login *login)
{
    snprintf(login->bearer, sizeof login->bearer, "Bearer ");
    return authenticate(client, login->id, "api-key", login->secret, NULL, login->bearer + 7, sizeof login->bearer - 7);
}

#define AWAIT(condition)                                                                                                   \
    do {                                                                                                                   \
        uint64_t end_ = ty_clock_mono_ms() + 30000;                                                                        \
        while (!(condition)) {                                                                                             \
            if (ty_clock_mono_ms() > end_)                                                                                 \
                fail_msg("waited in vain for: %s", #condition);                                                            \
            poll(NULL, 0, 10);                                                                                             \
        }                                                                                                                  \
    } while (0)

static void log_in(struct login *login)
{
    struct login probe = *login;
    AWAIT(try_log_in(clients[0], &probe) == OK);
    *login = probe;
    for (int i = 1; i < RESPONDERS; i++)
        AWAIT(try_log_in(clients[i], &probe) == OK);
}

static struct login logged_in(const char *organization, enum ty_key_role role)
{
    struct login login = new_login(organization, role);
    log_in(&login);
    return login;
}

static int call(struct rpc_client *client, const char *path, const struct ty_buf *request, const char *bearer)
{
    const char *const metadata[] = {"authorization", bearer, NULL};
    struct rpc_answer answer;
    rpc_call(client, path, request->data, request->len, bearer ? metadata : NULL, 0, &answer);
    int status = answer.status;
    rpc_answer_done(&answer);
    return status;
}

// ---- requests ----

enum ask { OF_JOB, OF_ENDED_JOB, OF_LIST, OF_SUBMIT, OF_SUBMIT_MANAGED, OF_NOTHING };

static void add_text(struct ty_buf *out, uint32_t field, const char *text)
{
    ty_buf_add_tag_bytes(out, field, text, strlen(text));
}

// A request about a job of acme, or that names acme.
static void make_request(enum ask ask, struct ty_buf *out)
{
    char id[TY_ID_TEXT_BYTES];
    struct ty_id job = ty_id_new();
    switch (ask) {
    case OF_JOB:
    case OF_ENDED_JOB:
        assert_int_equal(state_submit(&store, &job, &(struct state_job){.organization = "acme"}), TY_APPLIED);
        if (ask == OF_ENDED_JOB)
            assert_int_equal(state_control(&store, TY_COMMAND_CANCEL, &job), TY_APPLIED);
        add_text(out, 1, ty_id_format(&job, id));
        break;
    case OF_LIST: add_text(out, 1, "acme"); break;
    case OF_SUBMIT:
        add_text(out, 1, "digits");
        add_text(out, 2, "acme:digits");
        add_text(out, 3, "acme");
        add_text(out, 4, "reader");
        add_text(out, 5, "1");
        break;
    case OF_SUBMIT_MANAGED:
        add_text(out, 2, "acme");
        add_text(out, 3, "reader");
        add_text(out, 4, "1");
        ty_buf_add_tag_varint(out, 5, 1);
        add_text(out, 6, "one");
        add_text(out, 7, "digits");
        break;
    case OF_NOTHING: break;
    }
}

static const struct row {
    const char *path;
    enum ask ask;
    enum ty_key_role role; // that is enough
    int other;             // the answer to an owner of another organization
} table[] = {
    {RPC_TRAINING "GetTrainingJob", OF_JOB, TY_ROLE_READ, NOT_FOUND},
    {RPC_TRAINING "GetTrainingJobLogs", OF_JOB, TY_ROLE_READ, NOT_FOUND},
    {RPC_TRAINING "ListTrainingJobs", OF_LIST, TY_ROLE_READ, PERMISSION_DENIED},
    {"/trainyard.v1.JobService/GetJob", OF_JOB, TY_ROLE_READ, NOT_FOUND},
    {"/trainyard.v1.JobService/ListJobs", OF_LIST, TY_ROLE_READ, PERMISSION_DENIED},
    {RPC_TRAINING "ListSupportedContainers", OF_NOTHING, TY_ROLE_READ, OK},
    {ORGANIZATIONS, OF_NOTHING, TY_ROLE_READ, OK},
    {RPC_TRAINING "SubmitCustomTrainingJob", OF_SUBMIT, TY_ROLE_SUBMIT, PERMISSION_DENIED},
    {RPC_TRAINING "SubmitTrainingJob", OF_SUBMIT_MANAGED, TY_ROLE_SUBMIT, PERMISSION_DENIED},
    {RPC_TRAINING "CancelTrainingJob", OF_JOB, TY_ROLE_SUBMIT, NOT_FOUND},
    {RPC_TRAINING "DeleteCompletedTrainingJob", OF_ENDED_JOB, TY_ROLE_OWNER, NOT_FOUND},
};

static void expect(const struct row *row, const char *who, const char *bearer, int status)
{
    TY_BUF(request);
    make_request(row->ask, &request);
    int got = call(clients[1], row->path, &request, bearer);
    if (got != status)
        fail_msg("%s by %s: %d, not %d", row->path, who, got, status);
}

// Checklist 12, 28.
static void every_rpc_by_role_and_organization(void **state)
{
    struct login logins[TY_ROLE_OWNER + 1], other = logged_in("other", TY_ROLE_OWNER), revoked = logged_in("acme", TY_ROLE_OWNER);
    (void)state;
    for (enum ty_key_role role = TY_ROLE_READ; role <= TY_ROLE_OWNER; role++)
        logins[role] = logged_in("acme", role);
    revoke_key(&revoked);
    TY_BUF(list);
    make_request(OF_LIST, &list);
    AWAIT(call(clients[1], RPC_TRAINING "ListTrainingJobs", &list, revoked.bearer) == UNAUTHENTICATED);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct row *row = &table[i];
        expect(row, "nobody", NULL, UNAUTHENTICATED);
        expect(row, "a stranger", "Bearer eyJhbGciOiJub25lIn0.e30.", UNAUTHENTICATED);
        expect(row, "who was revoked", revoked.bearer, UNAUTHENTICATED);
        expect(row, "the owner of another organization", other.bearer, row->other);
        for (enum ty_key_role role = TY_ROLE_READ; role <= TY_ROLE_OWNER; role++)
            expect(row, ty_key_role_name(role), logins[role].bearer, role < row->role ? PERMISSION_DENIED : OK);
    }
}

// Another's job is as one that is not there, to the letter.
static void anothers_job_is_as_none(void **state)
{
    struct login other = logged_in("other", TY_ROLE_OWNER);
    const char *const metadata[] = {"authorization", other.bearer, "trainyard-explain", "true", NULL};
    struct rpc_answer theirs, none;
    TY_BUF(job);
    TY_BUF(nothing);
    char id[TY_ID_TEXT_BYTES];
    struct ty_id unknown = ty_id_new();
    (void)state;
    make_request(OF_JOB, &job);
    add_text(&nothing, 1, ty_id_format(&unknown, id));
    rpc_call(clients[0], RPC_TRAINING "GetTrainingJob", job.data, job.len, metadata, 0, &theirs);
    rpc_call(clients[0], RPC_TRAINING "GetTrainingJob", nothing.data, nothing.len, metadata, 0, &none);
    assert_int_equal(theirs.status, NOT_FOUND);
    assert_int_equal(none.status, NOT_FOUND);
    assert_string_equal(theirs.message, none.message);
    assert_string_equal(theirs.trailing, none.trailing);
    rpc_answer_done(&theirs);
    rpc_answer_done(&none);
}

// Checklist 12: exactly one header, "Bearer " in that case.
static void a_header_is_exactly_one_bearer(void **state)
{
    struct login login = logged_in("acme", TY_ROLE_READ);
    char lower[sizeof login.bearer], wide[sizeof login.bearer + 8];
    (void)state;
    snprintf(lower, sizeof lower, "bearer %s", login.bearer + 7);
    snprintf(wide, sizeof wide, "Bearer  %s", login.bearer + 7);
    const struct {
        const char *metadata[8];
        int status;
    } cases[] = {
        {{"authorization", login.bearer, NULL}, OK},
        {{"viam_client", "typescript;v0.61.1;v0", "authorization", login.bearer, "trace-id", "1", NULL}, OK},
        {{NULL}, UNAUTHENTICATED},
        {{"authorization", login.bearer, "authorization", login.bearer, NULL}, UNAUTHENTICATED},
        {{"authorization", lower, NULL}, UNAUTHENTICATED},
        {{"authorization", wide, NULL}, UNAUTHENTICATED},
        {{"authorization", login.bearer + 7, NULL}, UNAUTHENTICATED},
        {{"authorization", "Bearer", NULL}, UNAUTHENTICATED},
        {{"authorization", "Bearer ", NULL}, UNAUTHENTICATED},
        {{"authorization", "", NULL}, UNAUTHENTICATED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct rpc_answer answer;
        rpc_call(clients[0], ORGANIZATIONS, "", 0, cases[i].metadata, 0, &answer);
        if (answer.status != cases[i].status)
            fail_msg("case %zu: %d %s", i, answer.status, answer.message);
        rpc_answer_done(&answer);
    }
}

// ---- logging in ----

// Checklist 10, 11.
static void what_a_log_in_takes(void **state)
{
    struct login login = logged_in("acme", TY_ROLE_READ), signing = {.key = {.id = ty_id_new(), .role = TY_ROLE_OWNER, .kind = TY_KEY_SIGNING}};
    const char *const with_header[] = {"authorization", login.bearer, NULL};
    char text[2048], upper[TY_ID_TEXT_BYTES];
    (void)state;
    assert_int_equal(authenticate(clients[0], login.id, "api-key", login.secret, with_header, text, sizeof text), OK);
    assert_int_equal(authenticate(clients[0], login.id, NULL, NULL, NULL, text, sizeof text), INVALID_ARGUMENT);
    assert_int_equal(authenticate(clients[0], login.id, "", login.secret, NULL, text, sizeof text), INVALID_ARGUMENT);
    assert_int_equal(authenticate(clients[0], login.id, "password", login.secret, NULL, text, sizeof text), INVALID_ARGUMENT);
    assert_int_equal(authenticate(clients[0], login.id, "robot-secret", login.secret, NULL, text, sizeof text), UNIMPLEMENTED);
    snprintf(upper, sizeof upper, "%s", login.id);
    for (char *c = upper; *c; c++)
        *c = *c >= 'a' && *c <= 'f' ? (char)(*c - 32) : *c;
    assert_int_equal(authenticate(clients[0], upper, "api-key", login.secret, NULL, text, sizeof text), OK);
    // A signing key is none to log in with, not even by its own public half.
    snprintf(signing.key.organization, sizeof signing.key.organization, "acme");
    ty_key_hash("x", 1, signing.key.proof);
    ty_id_format(&signing.key.id, signing.id);
    put(&signing.key);
    struct login after = logged_in("acme", TY_ROLE_READ); // which is read after it
    assert_int_equal(authenticate(clients[0], signing.id, "api-key", "x", NULL, text, sizeof text), UNAUTHENTICATED);
    assert_int_equal(call(clients[0], ORGANIZATIONS, &(struct ty_buf){0}, after.bearer), OK);
}

static void wait_until_it_can_say(struct rpc_client *client, struct login *login)
{
    uint64_t end = ty_clock_mono_ms() + 60000;
    while (try_log_in(client, login) == UNAVAILABLE && ty_clock_mono_ms() < end)
        poll(NULL, 0, 10);
    assert_int_equal(try_log_in(client, login), OK);
}

// One answer for whatever is wrong, and then that it was too often.
static void failed_log_ins_are_limited(void **state)
{
    const char *const args[] = {"--shards", "4", "--auth", "keys", "--token-secret-file", secret_file, "--failed-logins", "3", NULL};
    struct login login = new_login("acme", TY_ROLE_READ), revoked = new_login("acme", TY_ROLE_READ);
    char wrong[3][256], text[256];
    (void)state;
    revoke_key(&revoked);
    // Until it has read the keys this one says that it cannot say, which is no failure. These are in the store only.
    struct responder_process *process = responder_process_new(PROGRAM, redis_server_url(redis), "127.0.0.1:1", args);
    struct rpc_client *client = rpc_client_new(responder_process_address(process));
    assert_int_equal(try_log_in(client, &login), UNAVAILABLE);
    wait_until_it_can_say(client, &login);
    assert_int_equal(authenticate(client, login.id, "api-key", "wrong", NULL, wrong[0], sizeof wrong[0]), UNAUTHENTICATED);
    assert_int_equal(authenticate(client, "anybody at all", "api-key", "wrong", NULL, wrong[1], sizeof wrong[1]), UNAUTHENTICATED);
    assert_int_equal(authenticate(client, revoked.id, "api-key", revoked.secret, NULL, wrong[2], sizeof wrong[2]), UNAUTHENTICATED);
    assert_string_equal(wrong[0], wrong[1]);
    assert_string_equal(wrong[0], wrong[2]);
    assert_int_equal(authenticate(client, login.id, "api-key", "wrong", NULL, text, sizeof text), EXHAUSTED);
    assert_int_equal(try_log_in(client, &login), EXHAUSTED); // the address has had its failures
    const char *log = responder_process_log(process);
    assert_non_null(strstr(log, "access.login_failed"));
    assert_non_null(strstr(log, login.id));
    assert_null(strstr(log, revoked.secret)); // what was tried is in no log
    assert_int_equal(stop(process, client), 0);
}

// Checklist 15.
static void organizations_are_those_of_the_key(void **state)
{
    struct login login = logged_in("acme", TY_ROLE_READ);
    const char *const metadata[] = {"authorization", login.bearer, NULL};
    struct rpc_client *const both[] = {clients[0], open_client};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rpc_answer answer;
        rpc_call(both[i], ORGANIZATIONS, "", 0, i ? NULL : metadata, 0, &answer);
        assert_int_equal(answer.status, OK);
        Viam__App__V1__ListOrganizationsResponse *response =
            viam__app__v1__list_organizations_response__unpack(NULL, answer.bytes.len, answer.bytes.data);
        assert_non_null(response);
        assert_int_equal(response->n_organizations, 1);
        assert_string_equal(response->organizations[0]->id, "acme");
        assert_string_equal(response->organizations[0]->name, "acme");
        viam__app__v1__list_organizations_response__free_unpacked(response, NULL);
        rpc_answer_done(&answer);
    }
}

// Checklist 12, 14: without authentication any header is as good as none, and logging in works.
static void without_authentication_everybody_may(void **state)
{
    static const char *const types[] = {"api-key", "robot-secret"};
    char text[2048];
    (void)state;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(authenticate(open_client, "anybody", types[i], "anything", NULL, text, sizeof text), OK);
    assert_int_equal(authenticate(open_client, "anybody", "password", "anything", NULL, text, sizeof text), INVALID_ARGUMENT);
    assert_int_equal(authenticate(open_client, "anybody", NULL, NULL, NULL, text, sizeof text), INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        static const char *const bearers[] = {NULL, "Bearer x", "nonsense"};
        for (size_t j = 0; j < 3; j++) {
            TY_BUF(request);
            make_request(table[i].ask, &request);
            assert_int_equal(call(open_client, table[i].path, &request, bearers[j]), OK);
        }
    }
}

// ---- over time ----

// On every responder, also on one that is started only then; and with the store gone back to before it.
static void a_revocation_holds(void **state)
{
    struct login login = logged_in("acme", TY_ROLE_OWNER), last;
    struct ty_buf nothing = {0};
    (void)state;
    assert_string_equal(redis_server_ask(redis, "SAVE"), "+OK\r\n");
    revoke_key(&login);
    for (int i = 0; i < RESPONDERS; i++)
        AWAIT(call(clients[i], ORGANIZATIONS, &nothing, login.bearer) == UNAUTHENTICATED);
    redis_server_kill(redis);
    STATE_UNTIL(&store, !store.up && !ty_redis_is_up(store.redis));
    redis_server_start(redis);
    STATE_UNTIL(&store, store.up && ty_redis_is_up(store.redis));
    char name[TY_KEY_NAME_BYTES];
    assert_int_equal(STATE_RAW(&store, NULL, "HEXISTS", "{ty:0}:a", ty_key_name(&login.key.id, true, name)).integer, 0); // it did go back
    last = logged_in("acme", TY_ROLE_READ); // the keys of this store have been read
    for (int i = 0; i < RESPONDERS; i++) {
        struct login again = login;
        assert_int_equal(call(clients[i], ORGANIZATIONS, &nothing, login.bearer), UNAUTHENTICATED);
        assert_int_equal(call(clients[i], ORGANIZATIONS, &nothing, last.bearer), OK);
        assert_int_equal(try_log_in(clients[i], &again), UNAUTHENTICATED);
    }
}

// With Kafka away the store's word is enough, but not before that is known; and while the store is being made again nobody can say.
static void without_kafka_the_store_is_asked(void **state)
{
    const char *const args[] = {"--shards", "4", "--auth", "keys", "--token-secret-file", secret_file, "--failed-logins", "3", NULL};
    struct login login = logged_in("acme", TY_ROLE_OWNER), again = login;
    struct ty_buf nothing = {0};
    (void)state;
    struct responder_process *process = responder_process_new(PROGRAM, redis_server_url(redis), "127.0.0.1:1", args);
    struct rpc_client *client = rpc_client_new(responder_process_address(process));
    assert_int_equal(call(client, ORGANIZATIONS, &nothing, login.bearer), UNAVAILABLE);
    wait_until_it_can_say(client, &again);
    assert_int_equal(call(client, ORGANIZATIONS, &nothing, login.bearer), OK);
    STATE_RAW(&store, NULL, "HSET", "{ty:0}:m", "replay", "needed");
    AWAIT(call(client, ORGANIZATIONS, &nothing, login.bearer) == UNAVAILABLE);
    assert_int_equal(try_log_in(client, &again), UNAVAILABLE);
    assert_int_equal(call(client, ORGANIZATIONS, &nothing, NULL), UNAUTHENTICATED);
    assert_int_equal(call(clients[0], ORGANIZATIONS, &nothing, login.bearer), OK); // which has Kafka's word
    STATE_RAW(&store, NULL, "HSET", "{ty:0}:m", "replay", "done");
    AWAIT(call(client, ORGANIZATIONS, &nothing, login.bearer) == OK);
    assert_int_equal(stop(process, client), 0);
}

// A log that is followed ends with the key, and another's is not even begun.
static void a_follower_is_cut_off(void **state)
{
    struct login login = logged_in("acme", TY_ROLE_READ), other = logged_in("other", TY_ROLE_OWNER);
    const char *const metadata[] = {"authorization", login.bearer, NULL}, *const others[] = {"authorization", other.bearer, NULL};
    TY_BUF(request);
    TY_BUF(message);
    (void)state;
    make_request(OF_JOB, &request);
    struct rpc_stream *stream = rpc_stream_open_with(clients[0], FOLLOW, others);
    rpc_stream_send(stream, request.data, request.len);
    assert_false(rpc_stream_receive(stream, &message));
    assert_int_equal(rpc_stream_end(stream, false), NOT_FOUND);
    stream = rpc_stream_open_with(clients[0], FOLLOW, NULL);
    rpc_stream_send(stream, request.data, request.len);
    assert_int_equal(rpc_stream_end(stream, false), UNAUTHENTICATED);
    stream = rpc_stream_open_with(clients[0], FOLLOW, metadata);
    rpc_stream_send(stream, request.data, request.len);
    assert_true(rpc_stream_receive(stream, &message)); // it is followed
    revoke_key(&login);
    while (rpc_stream_receive(stream, &message))
        continue;
    assert_int_equal(rpc_stream_end(stream, false), UNAUTHENTICATED);
}

// The steps of docs/access.md, with responders that run.
static void secrets_are_rotated(void **state)
{
    struct login old = logged_in("acme", TY_ROLE_READ), new = old;
    struct ty_buf nothing = {0};
    (void)state;
    write_secrets(FIRST_SECRET "\n" SECOND_SECRET "\n");
    write_secrets(SECOND_SECRET "\n" FIRST_SECRET "\n");
    for (int i = 0; i < RESPONDERS; i++)
        AWAIT(try_log_in(clients[i], &new) == OK && strncmp(new.bearer, old.bearer, 90) != 0);
    for (int i = 0; i < RESPONDERS; i++) {
        assert_int_equal(call(clients[i], ORGANIZATIONS, &nothing, old.bearer), OK);
        assert_int_equal(call(clients[i], ORGANIZATIONS, &nothing, new.bearer), OK);
    }
    write_secrets("too short\n"); // which changes nothing
    write_secrets(SECOND_SECRET "\n");
    for (int i = 0; i < RESPONDERS; i++) {
        AWAIT(call(clients[i], ORGANIZATIONS, &nothing, old.bearer) == UNAUTHENTICATED);
        assert_int_equal(call(clients[i], ORGANIZATIONS, &nothing, new.bearer), OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rpc_by_role_and_organization),
        cmocka_unit_test(anothers_job_is_as_none),
        cmocka_unit_test(a_header_is_exactly_one_bearer),
        cmocka_unit_test(what_a_log_in_takes),
        cmocka_unit_test(failed_log_ins_are_limited),
        cmocka_unit_test(organizations_are_those_of_the_key),
        cmocka_unit_test(without_authentication_everybody_may),
        cmocka_unit_test(a_revocation_holds),
        cmocka_unit_test(without_kafka_the_store_is_asked),
        cmocka_unit_test(a_follower_is_cut_off),
        cmocka_unit_test(secrets_are_rotated),
    };
    return apart_run("who may do what", tests, set_up, tear_down);
}
