// Lists in pages, over a real store: filters at random held against a small model, pages while jobs come, change and go, and the
// stock list that is cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/record.h"
#include "tests/integration/redis_server.h"
#include "tests/integration/responder_fixture.h"
#include "tests/integration/responder_kafka.h"
#include "tests/integration/responder_store.h"
#include "trainyard/v1/job_service.pb-c.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

#define PROGRAM TY_BINARY_DIR "/bin/trainyard-responder"
#define JOBS "/trainyard.v1.JobService/"
#define MODEL_JOBS 600
#define BEGIN_US UINT64_C(1700000000000000)

enum { OK = 0, INVALID_ARGUMENT = 3, NOT_FOUND = 5 };

typedef Trainyard__V1__ListJobsRequest Request;
typedef Trainyard__V1__ListJobsRequest__LabelsEntry Label;
typedef Trainyard__V1__ListJobsReply Reply;
typedef Google__Protobuf__Timestamp Time;

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
    redis_server_trust(redis, 4);
    kafka = mock_kafka_new();
    process = responder_process_new(PROGRAM, redis_server_url(redis), mock_kafka_brokers(kafka), args);
    client = rpc_client_new(responder_process_address(process));
    responder_process_await_store(process);
    store = store_new(redis_server_url(redis), 4);
    return 0;
}

static int tear_down(void **state)
{
    uint64_t took_ms;
    (void)state;
    store_free(store);
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

static void call(const char *path, const ProtobufCMessage *request, const char *const *metadata, struct rpc_answer *answer)
{
    TY_BUF(bytes);
    size_t len = protobuf_c_message_get_packed_size(request);
    protobuf_c_message_pack(request, ty_buf_reserve(&bytes, len + 1));
    rpc_call(client, path, bytes.data, len, metadata, 0, answer);
}

static Reply *list(const Request *request)
{
    struct rpc_answer answer;
    call(JOBS "ListJobs", &request->base, NULL, &answer);
    if (answer.status != OK)
        fail_msg("ListJobs: status %d: %s", answer.status, answer.message);
    Reply *reply = trainyard__v1__list_jobs_reply__unpack(NULL, answer.bytes.len, answer.bytes.data);
    assert_non_null(reply);
    rpc_answer_done(&answer);
    return reply;
}

static void free_message(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static void refused(const char *path, const ProtobufCMessage *request, const char *const *metadata, int status, const char *words)
{
    struct rpc_answer answer;
    call(path, request, metadata, &answer);
    if (answer.status != status || !strstr(answer.message, words))
        fail_msg("%s: status %d \"%s\", not %d \"%s\"", path, answer.status, answer.message, status, words);
    rpc_answer_done(&answer);
}

static void control(const char *method, const char *id)
{
    char path[128];
    struct rpc_answer answer;
    TY_BUF(bytes);
    ty_buf_add_tag_bytes(&bytes, 1, id, strlen(id));
    snprintf(path, sizeof path, RPC_TRAINING "%s", method);
    rpc_call(client, path, bytes.data, bytes.len, NULL, 0, &answer);
    if (answer.status != OK)
        fail_msg("%s: status %d: %s", method, answer.status, answer.message);
    rpc_answer_done(&answer);
}

static uint64_t us_of(const Time *time)
{
    return time ? (uint64_t)time->seconds * 1000000 + (uint64_t)time->nanos / 1000 : 0;
}

// ---- the model ----

struct job {
    char id[TY_ID_TEXT_BYTES];
    uint64_t created_us, ended_us;
    int status;
    const char *model, *dataset, *team, *run;
};

static struct job jobs[MODEL_JOBS];
static uint64_t seed;

static unsigned below(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

static const char *const models[] = {"m", "digits", "mm"}, *const datasets[] = {"d1", "d2"};
static const char *const teams[] = {"red", "blue", NULL}, *const runs[] = {"7", "8", NULL};

static void remember(struct job *job, const struct store_job *from, const struct ty_id *id)
{
    *job = (struct job){.created_us = from->created_us, .status = TY_JOB_PENDING, .model = from->model_name,
                        .dataset = from->dataset_id, .team = from->label, .run = from->other};
    ty_id_format(id, job->id);
}

// What the store says of the end of a job, which only the store's clock knows.
static void look(struct job *job)
{
    Trainyard__V1__GetJobRequest request = TRAINYARD__V1__GET_JOB_REQUEST__INIT;
    struct rpc_answer answer;
    request.id = job->id;
    call(JOBS "GetJob", &request.base, NULL, &answer);
    assert_int_equal(answer.status, OK);
    Trainyard__V1__GetJobReply *reply = trainyard__v1__get_job_reply__unpack(NULL, answer.bytes.len, answer.bytes.data);
    assert_non_null(reply);
    job->status = (int)reply->job->metadata->status;
    job->ended_us = us_of(reply->job->metadata->training_ended);
    free_message(reply);
    rpc_answer_done(&answer);
}

static struct store_job draw(void)
{
    // Many of the same time, and no order of arrival.
    return (struct store_job){.organization_id = "acme", .model_name = models[below(3)],
                              .created_us = BEGIN_US + below(40) * UINT64_C(1000000), .dataset_id = datasets[below(2)],
                              .label = teams[below(3)], .other = runs[below(3)]};
}

static void make_jobs(void)
{
    static struct store_job from[MODEL_JOBS];
    static struct ty_id ids[MODEL_JOBS];
    enum { RUN = 24 };
    seed = 4711;
    for (size_t i = 0; i < MODEL_JOBS; i++)
        from[i] = draw();
    for (size_t i = 0; i < RUN; i++) { // one at a time, so that it is the one that is claimed
        struct store_attempt attempt;
        store_submit(store, &from[i], 1, &ids[i]);
        store_claim(store, &ids[i], &attempt);
        if (i % 4)
            store_finish(store, &attempt, i % 4 == 1 ? TY_FINISH_FAILED : TY_FINISH_COMPLETED);
    }
    store_submit(store, from + RUN, MODEL_JOBS - RUN, ids + RUN);
    for (size_t i = 0; i < MODEL_JOBS; i++) {
        remember(&jobs[i], &from[i], &ids[i]);
        if (i >= RUN && i % 3 == 0)
            control("CancelTrainingJob", jobs[i].id);
        if (i < RUN || i % 3 == 0)
            look(&jobs[i]);
    }
}

static struct {
    Request request;
    Time created_since, created_before, ended_since, ended_before;
    Viam__App__Mltraining__V1__TrainingStatus statuses[2];
    Label labels[2], *label_pointers[2];
} asked;

static void set_time(Time *time, Time **place, uint64_t time_us)
{
    google__protobuf__timestamp__init(time);
    time->seconds = (int64_t)(time_us / 1000000);
    time->nanos = (int32_t)(time_us % 1000000 * 1000);
    *place = time;
}

static void add_label(const char *key, const char *value)
{
    Label *label = &asked.labels[asked.request.n_labels];
    trainyard__v1__list_jobs_request__labels_entry__init(label);
    label->key = (char *)key;
    label->value = (char *)value;
    asked.label_pointers[asked.request.n_labels++] = label;
}

static void ask_for(const char *organization)
{
    Request *request = &asked.request;
    trainyard__v1__list_jobs_request__init(request);
    request->organization_id = (char *)organization;
    request->labels = asked.label_pointers;
    request->statuses = asked.statuses;
}

static void draw_request(void)
{
    Request *request = &asked.request;
    ask_for("acme");
    request->limit = 1 + below(below(2) ? 10 : 300);
    request->oldest_first = below(2) != 0;
    request->order = below(3);
    for (size_t n = below(4) ? below(3) : 0; request->n_statuses < n;)
        asked.statuses[request->n_statuses++] = 1 + below(6);
    if (below(3) == 0)
        request->model_name = (char *)models[below(3)];
    if (below(3) == 0)
        request->dataset_id = (char *)datasets[below(2)];
    if (below(3) == 0)
        add_label("team", teams[below(2)]);
    if (below(4) == 0)
        add_label("run", runs[below(2)]);
    if (below(4) == 0)
        set_time(&asked.created_since, &request->created_since, BEGIN_US + below(40) * UINT64_C(1000000));
    if (below(4) == 0)
        set_time(&asked.created_before, &request->created_before, BEGIN_US + below(40) * UINT64_C(1000000));
    if (below(4) == 0)
        set_time(&asked.ended_since, &request->ended_since, jobs[below(MODEL_JOBS)].ended_us);
    if (below(4) == 0)
        set_time(&asked.ended_before, &request->ended_before, jobs[below(MODEL_JOBS)].ended_us);
}

static bool is_one_of(const char *wanted, const char *is)
{
    return !*wanted || !strcmp(wanted, is);
}

static bool fits(const struct job *job)
{
    const Request *request = &asked.request;
    bool is_state = !request->n_statuses, wants_end = request->ended_since || request->ended_before || request->order == 2;
    for (size_t i = 0; i < request->n_statuses; i++)
        is_state = is_state || (int)request->statuses[i] == job->status;
    for (size_t i = 0; i < request->n_labels; i++) {
        const char *value = *request->labels[i]->key == 't' ? job->team : job->run;
        if (!value || strcmp(value, request->labels[i]->value) != 0)
            return false;
    }
    return is_state && is_one_of(request->model_name, job->model) && is_one_of(request->dataset_id, job->dataset) &&
           (!request->created_since || job->created_us >= us_of(request->created_since)) &&
           (!request->created_before || job->created_us < us_of(request->created_before)) && (!wants_end || job->ended_us) &&
           (!request->ended_since || job->ended_us >= us_of(request->ended_since)) &&
           (!request->ended_before || job->ended_us < us_of(request->ended_before));
}

static int in_order(const void *a, const void *b)
{
    const struct job *x = *(const struct job *const *)a, *y = *(const struct job *const *)b;
    uint64_t left = asked.request.order == 2 ? x->ended_us : x->created_us;
    uint64_t right = asked.request.order == 2 ? y->ended_us : y->created_us;
    int way = asked.request.oldest_first ? 1 : -1;
    if (left != right)
        return left < right ? -way : way;
    return strcmp(x->id, y->id) * way;
}

// All pages of what is asked; ids of the jobs in their order.
static size_t read_pages(char (*ids)[TY_ID_TEXT_BYTES], size_t max, size_t *ret_pages, void (*between)(void))
{
    size_t count = 0;
    char token[128] = "";
    *ret_pages = 0;
    do {
        asked.request.page_token = token;
        Reply *reply = list(&asked.request);
        assert_true(reply->n_jobs <= (asked.request.limit ? asked.request.limit : 100));
        assert_false(reply->partial);
        for (size_t i = 0; i < reply->n_jobs; i++) {
            assert_true(count < max);
            snprintf(ids[count++], TY_ID_TEXT_BYTES, "%s", reply->jobs[i]->metadata->id);
        }
        // A page that is not the last one is full.
        if (*reply->next_page_token)
            assert_int_equal(reply->n_jobs, asked.request.limit ? asked.request.limit : 100);
        snprintf(token, sizeof token, "%s", reply->next_page_token);
        free_message(reply);
        ++*ret_pages;
        if (between)
            between();
    } while (*token);
    asked.request.page_token = token;
    return count;
}

static void test_filters_at_random_give_what_the_model_gives(void **state)
{
    static char ids[MODEL_JOBS][TY_ID_TEXT_BYTES];
    static const struct job *wanted[MODEL_JOBS];
    size_t pages, empty = 0, all_pages = 0;
    (void)state;
    make_jobs();
    for (unsigned round = 0; round < 300; round++) {
        size_t count = 0;
        draw_request();
        for (size_t i = 0; i < MODEL_JOBS; i++)
            if (fits(&jobs[i]))
                wanted[count++] = &jobs[i];
        qsort(wanted, count, sizeof *wanted, in_order);
        size_t got = read_pages(ids, MODEL_JOBS, &pages, NULL);
        if (got != count)
            fail_msg("round %u: %zu jobs, the model has %zu", round, got, count);
        for (size_t i = 0; i < count; i++)
            if (strcmp(ids[i], wanted[i]->id) != 0)
                fail_msg("round %u: job %zu is %s, the model has %s", round, i, ids[i], wanted[i]->id);
        empty += !count;
        all_pages += pages;
    }
    assert_in_range(empty, 1, 200); // the draws are of both kinds
    assert_true(all_pages > 600);
}

// ---- while jobs come, change and go ----

static struct job moving[MODEL_JOBS];
static size_t moving_count, gone_count;
static bool is_gone[MODEL_JOBS];

static void stir(void)
{
    for (unsigned n = 0; n < 3; n++) {
        unsigned i = below((unsigned)moving_count);
        if (is_gone[i])
            continue;
        if (moving[i].status == TY_JOB_PENDING) {
            control("CancelTrainingJob", moving[i].id);
            moving[i].status = TY_JOB_CANCELED;
        } else {
            control("DeleteCompletedTrainingJob", moving[i].id);
            is_gone[i] = true;
            gone_count++;
        }
    }
    for (unsigned n = 0; n < 2 && moving_count < MODEL_JOBS; n++) {
        struct store_job from = draw();
        struct ty_id id;
        from.organization_id = "moving";
        store_submit(store, &from, 1, &id);
        remember(&moving[moving_count++], &from, &id);
    }
}

static void check_moving(const char (*ids)[TY_ID_TEXT_BYTES], size_t count, size_t had)
{
    for (size_t i = 0; i < had; i++) {
        size_t times = 0;
        for (size_t j = 0; j < count; j++)
            times += !strcmp(ids[j], moving[i].id);
        if (times > 1 || (!is_gone[i] && times != 1))
            fail_msg("job %zu (%s, created %" PRIu64 ") is there %zu times", i, is_gone[i] ? "gone" : "there", moving[i].created_us,
                     times);
    }
}

static void test_no_job_is_missed_or_twice_while_they_move(void **state)
{
    enum { FIRST = 200 };
    static struct store_job from[FIRST];
    static struct ty_id ids[FIRST];
    static char got[MODEL_JOBS][TY_ID_TEXT_BYTES];
    size_t pages;
    (void)state;
    seed = 99;
    for (size_t i = 0; i < FIRST; i++) {
        from[i] = draw();
        from[i].organization_id = "moving";
    }
    store_submit(store, from, FIRST, ids);
    for (size_t i = 0; i < FIRST; i++)
        remember(&moving[moving_count++], &from[i], &ids[i]);
    for (unsigned round = 0; round < 4; round++) {
        size_t had = moving_count;
        ask_for("moving");
        asked.request.limit = 7;
        asked.request.oldest_first = round % 2;
        size_t count = read_pages(got, MODEL_JOBS, &pages, stir);
        check_moving((const char (*)[TY_ID_TEXT_BYTES])got, count, had);
    }
    assert_true(gone_count > 10 && moving_count > FIRST + 50);
}

// In the order of their ends, oldest first, a list is a feed: what ends later comes behind the place of the token.
static void test_the_ended_are_a_feed(void **state)
{
    static char got[MODEL_JOBS][TY_ID_TEXT_BYTES];
    struct store_job from = {.organization_id = "feed", .model_name = "m", .created_us = BEGIN_US};
    struct ty_id ids[5];
    char text[TY_ID_TEXT_BYTES];
    size_t pages;
    (void)state;
    for (size_t i = 0; i < 5; i++)
        store_submit(store, &from, 1, &ids[i]);
    ask_for("feed");
    asked.request.order = TRAINYARD__V1__JOB_ORDER__JOB_ORDER_ENDED;
    asked.request.oldest_first = true;
    assert_int_equal(read_pages(got, MODEL_JOBS, &pages, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        control("CancelTrainingJob", ty_id_format(&ids[3 - i], text));
    asked.request.limit = 2;
    Reply *reply = list(&asked.request);
    assert_int_equal(reply->n_jobs, 2);
    assert_string_equal(reply->jobs[0]->metadata->id, ty_id_format(&ids[3], text));
    // The job that the token names leaves the store, and two more come behind it.
    control("DeleteCompletedTrainingJob", ty_id_format(&ids[2], text));
    control("CancelTrainingJob", ty_id_format(&ids[4], text));
    asked.request.page_token = reply->next_page_token;
    asked.request.limit = 10;
    Reply *rest = list(&asked.request);
    assert_int_equal(rest->n_jobs, 3);
    assert_string_equal(rest->jobs[0]->metadata->id, ty_id_format(&ids[1], text));
    assert_string_equal(rest->jobs[2]->metadata->id, ty_id_format(&ids[4], text));
    assert_string_equal(rest->next_page_token, "");
    free_message(rest);
    free_message(reply);
}

// ---- what is refused, and what is bounded ----

static void test_a_token_leads_on_in_its_own_list_only(void **state)
{
    (void)state;
    ask_for("acme");
    asked.request.limit = 5;
    Reply *reply = list(&asked.request);
    char token[128];
    snprintf(token, sizeof token, "%s", reply->next_page_token);
    free_message(reply);
    asked.request.page_token = token;
    asked.request.limit = 6; // no part of it
    reply = list(&asked.request);
    free_message(reply);
    asked.request.model_name = (char *)"m";
    refused(JOBS "ListJobs", &asked.request.base, NULL, INVALID_ARGUMENT, "page_token: of another list");
    asked.request.model_name = (char *)"";
    asked.request.organization_id = (char *)"moving";
    refused(JOBS "ListJobs", &asked.request.base, NULL, INVALID_ARGUMENT, "page_token: of another list");
    token[7] ^= 1;
    refused(JOBS "ListJobs", &asked.request.base, NULL, INVALID_ARGUMENT, "page_token: not a token");
    ask_for("acme");
    asked.request.limit = 1001;
    refused(JOBS "ListJobs", &asked.request.base, NULL, INVALID_ARGUMENT, "limit: 1001");
    ask_for("");
    refused(JOBS "ListJobs", &asked.request.base, NULL, INVALID_ARGUMENT, "organization_id");
    Trainyard__V1__GetJobRequest get = TRAINYARD__V1__GET_JOB_REQUEST__INIT;
    get.id = (char *)"0d3ba45b-6e6d-4a80-8c9f-1d0f2f3f4a5b";
    refused(JOBS "GetJob", &get.base, NULL, NOT_FOUND, "no job");
}

static void test_a_page_has_its_bytes_and_its_looks(void **state)
{
    enum { LARGE = 12, MANY = 12000 };
    static struct store_job from[MANY];
    static struct ty_id ids[MANY];
    (void)state;
    for (size_t i = 0; i < LARGE; i++)
        from[i] = (struct store_job){.organization_id = "large", .model_name = "m", .created_us = BEGIN_US + i, .padding = 200 * 1024};
    store_submit(store, from, LARGE, ids);
    ask_for("large");
    Reply *reply = list(&asked.request);
    assert_in_range(reply->n_jobs, 4, 6);
    assert_false(reply->partial);
    assert_true(*reply->next_page_token);
    free_message(reply);

    // Nothing fits, and no index says so: each page says how far it came, and the last one that this is all.
    for (size_t i = 0; i < MANY; i++)
        from[i] = (struct store_job){.organization_id = "many", .model_name = i == 17 ? "rare" : "m", .created_us = BEGIN_US + i};
    store_submit(store, from, MANY, ids);
    ask_for("many");
    asked.request.model_name = (char *)"rare";
    char token[128] = "";
    size_t pages = 0, found = 0, examined = 0;
    uint64_t before = UINT64_MAX;
    do {
        asked.request.page_token = token;
        reply = list(&asked.request);
        assert_true(reply->examined <= TY_LIMIT_LIST_SCAN_JOBS);
        assert_int_equal(reply->partial, *reply->next_page_token != 0);
        assert_true(us_of(reply->scanned_to) < before);
        before = us_of(reply->scanned_to);
        pages++;
        found += reply->n_jobs;
        examined += reply->examined;
        snprintf(token, sizeof token, "%s", reply->next_page_token);
        free_message(reply);
    } while (*token);
    assert_true(pages >= MANY / TY_LIMIT_LIST_SCAN_JOBS + 1);
    assert_int_equal(found, 1);
    assert_int_equal(examined, MANY);
    assert_int_equal(before, BEGIN_US);
}

// ---- the stock list that is cut ----

static Viam__App__Mltraining__V1__ListTrainingJobsResponse *stock(const char *token, char *trailing, size_t size)
{
    Viam__App__Mltraining__V1__ListTrainingJobsRequest request = VIAM__APP__MLTRAINING__V1__LIST_TRAINING_JOBS_REQUEST__INIT;
    const char *const metadata[] = {"trainyard-page-token", token, NULL};
    struct rpc_answer answer;
    request.organization_id = (char *)"cut";
    call(RPC_TRAINING "ListTrainingJobs", &request.base, token ? metadata : NULL, &answer);
    if (answer.status != OK)
        fail_msg("ListTrainingJobs: status %d: %s", answer.status, answer.message);
    assert_true(answer.bytes.len <= TY_LIMIT_LIST_BYTES);
    snprintf(trailing, size, "%s", answer.trailing);
    Viam__App__Mltraining__V1__ListTrainingJobsResponse *response =
        viam__app__mltraining__v1__list_training_jobs_response__unpack(NULL, answer.bytes.len, answer.bytes.data);
    assert_non_null(response);
    rpc_answer_done(&answer);
    return response;
}

static bool find_token(const char *trailing, char *token, size_t size)
{
    const char *at = strstr(trailing, "trainyard-next-page-token: ");
    if (!at)
        return false;
    at += strlen("trainyard-next-page-token: ");
    snprintf(token, size, "%.*s", (int)strcspn(at, "\n"), at);
    return true;
}

// 300 jobs of 200 KiB are 60 MB, in three answers of at most 24 MiB; nothing between them is lost, by either road.
static void test_a_stock_list_that_is_cut_goes_on(void **state)
{
    enum { COUNT = 300 };
    static struct store_job from[COUNT];
    static struct ty_id ids[COUNT];
    char trailing[1024], token[128], first[128], id[TY_ID_TEXT_BYTES];
    size_t at = COUNT, answers = 0;
    (void)state;
    for (size_t i = 0; i < COUNT; i++)
        from[i] = (struct store_job){.organization_id = "cut", .model_name = "m", .created_us = BEGIN_US + i, .padding = 200 * 1024};
    store_submit(store, from, COUNT, ids);
    bool more = false;
    do {
        Viam__App__Mltraining__V1__ListTrainingJobsResponse *response = stock(more ? token : NULL, trailing, sizeof trailing);
        for (size_t i = 0; i < response->n_jobs; i++)
            assert_string_equal(response->jobs[i]->id, ty_id_format(&ids[--at], id));
        free_message(response);
        more = find_token(trailing, token, sizeof token);
        assert_int_equal(more, strstr(trailing, "trainyard-list-truncated: true\n") != NULL);
        if (!answers++)
            snprintf(first, sizeof first, "%s", token);
    } while (more);
    assert_int_equal(at, 0);
    assert_int_equal(answers, 3);

    // The same token in ListJobs.
    ask_for("cut");
    asked.request.page_token = first;
    Reply *reply = list(&asked.request);
    Viam__App__Mltraining__V1__ListTrainingJobsResponse *second = stock(first, trailing, sizeof trailing);
    assert_true(reply->n_jobs > 0);
    assert_string_equal(reply->jobs[0]->metadata->id, second->jobs[0]->id);
    free_message(second);
    free_message(reply);

    const char *const bad[] = {"trainyard-page-token", "AAAA", NULL};
    Viam__App__Mltraining__V1__ListTrainingJobsRequest request = VIAM__APP__MLTRAINING__V1__LIST_TRAINING_JOBS_REQUEST__INIT;
    request.organization_id = (char *)"cut";
    refused(RPC_TRAINING "ListTrainingJobs", &request.base, bad, INVALID_ARGUMENT, "metadata trainyard-page-token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters_at_random_give_what_the_model_gives),
        cmocka_unit_test(test_no_job_is_missed_or_twice_while_they_move),
        cmocka_unit_test(test_the_ended_are_a_feed),
        cmocka_unit_test(test_a_token_leads_on_in_its_own_list_only),
        cmocka_unit_test(test_a_page_has_its_bytes_and_its_looks),
        cmocka_unit_test(test_a_stock_list_that_is_cut_goes_on),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
