// responder/job_filter: which requests are refused, which are one list, and what a filter lets through that no index serves.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/limits.h"
#include "responder/job_filter.h"

typedef Trainyard__V1__ListJobsRequest Request;
typedef Trainyard__V1__ListJobsRequest__LabelsEntry Label;
typedef Google__Protobuf__Timestamp Time;

static Request request;
static Label labels[TY_LIMIT_LABELS + 1], *label_pointers[TY_LIMIT_LABELS + 1];
static Time times[4];
static Viam__App__Mltraining__V1__TrainingStatus statuses[2];

static int set_up(void **state)
{
    (void)state;
    trainyard__v1__list_jobs_request__init(&request);
    request.organization_id = (char *)"acme";
    request.labels = label_pointers;
    request.statuses = statuses;
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        trainyard__v1__list_jobs_request__labels_entry__init(&labels[i]);
        label_pointers[i] = &labels[i];
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        google__protobuf__timestamp__init(&times[i]);
    return 0;
}

static void add_label(const char *key, const char *value)
{
    Label *label = label_pointers[request.n_labels++];
    label->key = (char *)key;
    label->value = (char *)value;
}

static struct ty_job_filter taken(void)
{
    struct ty_job_filter filter;
    struct ty_err err;
    if (ty_job_filter_init(&filter, &request, &err) < 0)
        fail_msg("%s", err.message);
    return filter;
}

static void assert_refused(const char *words)
{
    struct ty_job_filter filter;
    struct ty_err err;
    assert_int_equal(ty_job_filter_init(&filter, &request, &err), -TY_EINVALID);
    if (strncmp(err.message, words, strlen(words)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", err.message, words);
}

static void test_what_is_refused_names_the_field(void **state)
{
    request.organization_id = (char *)"";
    assert_refused("organization_id");
    set_up(state);
    request.model_name = (char *)"../m";
    assert_refused("model_name");
    set_up(state);
    request.dataset_id = (char *)"a/b";
    assert_refused("dataset_id");
    set_up(state);
    statuses[0] = 1;
    statuses[1] = 7;
    request.n_statuses = 2;
    assert_refused("statuses[1]: 7");
    statuses[0] = 0; // no state at all is every state, but 0 is none
    assert_refused("statuses[0]");
    set_up(state);
    request.order = 3;
    assert_refused("order: 3");
    set_up(state);
    request.ended_before = &times[0];
    times[0].nanos = -1;
    assert_refused("ended_before");
    times[0].nanos = 1000000000;
    assert_refused("ended_before");
    times[0] = (Time)GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    times[0].seconds = INT64_MAX;
    assert_refused("ended_before");
    set_up(state);
    add_label("team", "a");
    add_label("team", "a");
    assert_refused("labels: \"team\" is given twice");
    set_up(state);
    request.n_labels = TY_LIMIT_LABELS + 1;
    assert_refused("labels: 33 of them");
}

static void test_times_go_to_the_index_of_their_order(void **state)
{
    struct ty_list_query query;
    (void)state;
    request.created_since = &times[0];
    request.created_before = &times[1];
    request.ended_since = &times[2];
    request.ended_before = &times[3];
    for (int i = 0; i < 4; i++)
        times[i].seconds = 100 * (i + 1);
    times[3].nanos = 1500; // 1.5 µs: what ended at 1 µs is before it
    struct ty_job_filter filter = taken();
    ty_job_filter_query(&filter, &query);
    assert_int_equal(query.order, TY_LIST_CREATED);
    assert_int_equal(query.least_us, 100000000);
    assert_int_equal(query.most_us, 199999999);
    request.order = TRAINYARD__V1__JOB_ORDER__JOB_ORDER_ENDED;
    filter = taken();
    ty_job_filter_query(&filter, &query);
    assert_int_equal(query.order, TY_LIST_ENDED);
    assert_int_equal(query.least_us, 300000000);
    assert_int_equal(query.most_us, 400000001);
    // What one time says of the other: a job ends after it was created.
    request.created_since->seconds = 350;
    filter = taken();
    ty_job_filter_query(&filter, &query);
    assert_int_equal(query.least_us, 350000000);
    request.order = TRAINYARD__V1__JOB_ORDER__JOB_ORDER_CREATED;
    request.created_before = NULL;
    filter = taken();
    ty_job_filter_query(&filter, &query);
    assert_int_equal(query.most_us, 400000001);
}

static void digest_of(uint8_t out[TY_LIST_DIGEST_BYTES])
{
    struct ty_job_filter filter = taken();
    ty_job_filter_digest(&filter, out);
}

static void assert_another(const uint8_t before[TY_LIST_DIGEST_BYTES], bool is_another, const char *what)
{
    uint8_t now[TY_LIST_DIGEST_BYTES];
    digest_of(now);
    if ((memcmp(before, now, sizeof now) != 0) != is_another)
        fail_msg("%s", what);
}

static void test_one_list_is_one_digest(void **state)
{
    uint8_t first[TY_LIST_DIGEST_BYTES];
    (void)state;
    add_label("team", "a");
    add_label("run", "7");
    statuses[0] = 1;
    statuses[1] = 4;
    request.n_statuses = 2;
    digest_of(first);
    request.limit = 7;
    request.page_token = (char *)"x";
    label_pointers[0] = &labels[1];
    label_pointers[1] = &labels[0];
    statuses[0] = 4;
    statuses[1] = 1;
    assert_another(first, false, "the order of labels and states, the limit and the token are no part of a list");
    labels[0].value = (char *)"b";
    assert_another(first, true, "a label's value");
    labels[0].value = (char *)"a";
    request.n_labels = 1;
    assert_another(first, true, "a label");
    request.n_labels = 2;
    request.model_name = (char *)"m";
    assert_another(first, true, "the model");
    request.model_name = (char *)"";
    request.dataset_id = (char *)"m";
    assert_another(first, true, "the data set");
    request.dataset_id = (char *)"";
    request.oldest_first = true;
    assert_another(first, true, "the direction");
    request.oldest_first = false;
    request.order = TRAINYARD__V1__JOB_ORDER__JOB_ORDER_ENDED;
    assert_another(first, true, "the order");
    request.order = TRAINYARD__V1__JOB_ORDER__JOB_ORDER_CREATED;
    assert_another(first, false, "the order when it is the default");
    request.ended_since = &times[0];
    assert_another(first, true, "a time");
    request.ended_since = NULL;
    request.organization_id = (char *)"acmea";
    assert_another(first, true, "the organization");
}

static void test_the_stock_list_is_one_of_ours(void **state)
{
    uint8_t ours[TY_LIST_DIGEST_BYTES], stock[TY_LIST_DIGEST_BYTES];
    struct ty_job_filter filter;
    (void)state;
    digest_of(ours);
    ty_job_filter_init_stock(&filter, "acme", 0);
    ty_job_filter_digest(&filter, stock);
    assert_memory_equal(ours, stock, sizeof ours);
    statuses[0] = 4;
    request.n_statuses = 1;
    digest_of(ours);
    ty_job_filter_init_stock(&filter, "acme", 4);
    ty_job_filter_digest(&filter, stock);
    assert_memory_equal(ours, stock, sizeof ours);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_what_is_refused_names_the_field, set_up),
        cmocka_unit_test_setup(test_times_go_to_the_index_of_their_order, set_up),
        cmocka_unit_test_setup(test_one_list_is_one_digest, set_up),
        cmocka_unit_test_setup(test_the_stock_list_is_one_of_ours, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
