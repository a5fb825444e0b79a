// core/record: the bytes of a job as the store keeps it, and what clients see of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/record.h"
#include "core/wire.h"

#define CREATED_US UINT64_C(1700000000123456)
#define AT_STATE 1 // places of the layout that the tests turn wrong; schemas/redis/README.md has them all
#define AT_METADATA_LEN 20
#define AT_OPTIONS_LEN 24
#define AT_POOL_LEN 114
#define AT_READY 120

typedef Viam__App__Mltraining__V1__TrainingJobMetadata Metadata;

static struct ty_catalog *catalog;

static void encode_waiting(uint32_t max_wait_s, uint32_t priority, uint64_t created_us, enum ty_job_reason reason, const char *message,
                           struct ty_buf *out)
{
    Viam__App__Mltraining__V1__SubmitCustomTrainingJobRequest request =
        VIAM__APP__MLTRAINING__V1__SUBMIT_CUSTOM_TRAINING_JOB_REQUEST__INIT;
    Trainyard__V1__JobOptions options = TRAINYARD__V1__JOB_OPTIONS__INIT;
    struct ty_spec spec;
    struct ty_err err;
    request.organization_id = (char *)(uintptr_t) "acme";
    request.dataset_id = (char *)(uintptr_t) "digits";
    request.model_name = (char *)(uintptr_t) "acme"; // the organization's bytes once more
    request.model_version = (char *)(uintptr_t) "1";
    request.registry_item_id = (char *)(uintptr_t) "acme:digits";
    options.priority = priority;
    options.max_attempts = 5;
    options.max_wait_s = max_wait_s;
    assert_int_equal(ty_spec_build(catalog, &(struct ty_id){{7}}, created_us, NULL, &request, &options, &spec, &err), 0);
    ty_record_encode_new(&spec, created_us, true, reason, message, out);
    ty_spec_done(&spec);
}

static void encode(uint32_t priority, uint64_t created_us, enum ty_job_reason reason, const char *message, struct ty_buf *out)
{
    encode_waiting(0, priority, created_us, reason, message, out);
}

static void decode(const struct ty_buf *bytes, struct ty_record *ret_record)
{
    struct ty_err err;
    if (ty_record_decode(bytes->data, bytes->len, ret_record, &err) < 0)
        fail_msg("%s", err.message);
}

static Metadata *metadata_of(const struct ty_record *record)
{
    TY_BUF(bytes);
    ProtobufCMessage *message;
    struct ty_err err;
    ty_record_metadata(record, &bytes);
    if (ty_wire_unpack(&viam__app__mltraining__v1__training_job_metadata__descriptor, bytes.data, bytes.len, &message, &err) < 0)
        fail_msg("%s", err.message);
    return (Metadata *)message;
}

static void free_metadata(Metadata *metadata)
{
    protobuf_c_message_free_unpacked(&metadata->base, NULL);
}

static void a_new_job_is_pending(void **state)
{
    TY_BUF(bytes);
    struct ty_record record;
    size_t len;
    (void)state;
    encode(3, CREATED_US, TY_REASON_NONE, NULL, &bytes);
    decode(&bytes, &record);
    assert_int_equal(record.state, TY_JOB_PENDING);
    assert_int_equal(record.flags, TY_FLAG_CUSTOM);
    assert_int_equal(record.priority, 3);
    assert_int_equal(record.max_attempts, 5);
    assert_int_equal(record.version, 1);
    assert_int_equal(record.attempt, 0);
    assert_int_equal(record.created_us, CREATED_US);
    assert_int_equal(record.modified_us, CREATED_US);
    assert_int_equal(record.started_us, 0);
    assert_int_equal(record.ended_us, 0);
    assert_int_equal(record.tail_len, 0);
    assert_false(ty_record_is_terminal(&record));
    assert_int_equal(record.pool_len, strlen(ty_catalog_container(catalog, "")->key));
    assert_memory_equal(record.pool, ty_catalog_container(catalog, "")->key, record.pool_len);
    ty_record_worker(&record, &len);
    assert_int_equal(len, 0);
    Metadata *metadata = metadata_of(&record);
    assert_string_equal(metadata->id, "07000000-0000-0000-0000-000000000000");
    assert_int_equal(metadata->status, TY_JOB_PENDING);
    assert_int_equal(metadata->created_on->nanos, 123456000);
    assert_null(metadata->error_status);
    assert_null(metadata->training_started);
    assert_null(metadata->training_ended);
    free_metadata(metadata);
}

static void a_refused_job_says_why(void **state)
{
    TY_BUF(bytes);
    TY_BUF(long_message);
    struct ty_record record;
    (void)state;
    encode(0, CREATED_US, TY_REASON_REFUSED, "model_name is empty", &bytes);
    decode(&bytes, &record);
    assert_int_equal(record.state, TY_JOB_FAILED);
    assert_int_equal(record.reason, TY_REASON_REFUSED);
    assert_true(ty_record_is_terminal(&record));
    assert_int_equal(record.ended_us, CREATED_US);
    assert_int_equal(record.pool_len, 0); // no queue has it
    Metadata *metadata = metadata_of(&record);
    assert_string_equal(metadata->error_status->message, "model_name is empty");
    assert_int_equal(metadata->error_status->code, 3);
    free_metadata(metadata);
    // Any length, any bytes.
    while (long_message.len < 3 * TY_LIMIT_ERROR_MESSAGE_BYTES)
        ty_buf_add_text(&long_message, "\xe2\x82\xac\xff");
    ty_buf_clear(&bytes);
    encode(0, CREATED_US, TY_REASON_REFUSED, ty_buf_text(&long_message), &bytes);
    decode(&bytes, &record);
    metadata = metadata_of(&record);
    size_t len = strlen(metadata->error_status->message);
    assert_in_range(len, TY_LIMIT_ERROR_MESSAGE_BYTES - 3, TY_LIMIT_ERROR_MESSAGE_BYTES);
    free_metadata(metadata);
}

static uint64_t ready_of(uint32_t priority, uint64_t created_us)
{
    TY_BUF(bytes);
    uint64_t ready = 0;
    encode(priority, created_us, TY_REASON_NONE, NULL, &bytes);
    for (int i = 7; i >= 0; i--)
        ready = ready << 8 | bytes.data[AT_READY + i];
    return ready;
}

static void the_queue_goes_by_priority_then_age(void **state)
{
    const uint64_t year_us = UINT64_C(31536000000000);
    (void)state;
    assert_true(ready_of(0, CREATED_US) < ready_of(0, CREATED_US + 1));
    assert_true(ready_of(1, CREATED_US + 10 * year_us) < ready_of(0, CREATED_US));
    assert_true(ready_of(7, CREATED_US + 10 * year_us) < ready_of(6, CREATED_US));
    // Scores of sorted sets are doubles.
    assert_true(ready_of(0, CREATED_US + 20 * year_us) < UINT64_C(1) << 53);
    assert_true(ready_of(0, 0) <= ready_of(0, 1)); // clocks that are nonsense do no harm
}

static void later_tail_entries_win_and_unknown_ones_are_skipped(void **state)
{
    TY_BUF(bytes);
    TY_BUF(patch);
    struct ty_record record;
    size_t len, offset = 0, count = 0;
    uint8_t type;
    const uint8_t *entry;
    (void)state;
    encode(0, CREATED_US, TY_REASON_NONE, NULL, &bytes);
    const char *workers[] = {"first", "second"};
    for (size_t i = 0; i < 2; i++) {
        ty_buf_add(&bytes, (const uint8_t[]){TY_TAIL_WORKER, (uint8_t)strlen(workers[i]), 0}, 3);
        ty_buf_add_text(&bytes, workers[i]);
        ty_buf_add(&bytes, "\x63\x02\x00??", 5); // of a newer program
        ty_buf_clear(&patch);
        ty_patch_model(&patch, workers[i]);
        ty_patch_script_version(&patch, "1.2");
        ty_buf_add(&bytes, (const uint8_t[]){TY_TAIL_METADATA, (uint8_t)patch.len, 0}, 3);
        ty_buf_add(&bytes, patch.data, patch.len);
    }
    decode(&bytes, &record);
    const char *worker = ty_record_worker(&record, &len);
    assert_int_equal(len, 6);
    assert_memory_equal(worker, "second", 6);
    while (ty_record_tail_next(&record, &offset, &type, &entry, &len))
        count++;
    assert_int_equal(count, 6);
    Metadata *metadata = metadata_of(&record);
    assert_string_equal(metadata->synced_model_id, "second");
    assert_string_equal(metadata->registry_item_version, "1.2");
    free_metadata(metadata);
    // An entry that is cut off is none, and what stands before it counts.
    ty_buf_add(&bytes, (const uint8_t[]){TY_TAIL_WORKER, 9, 0, 'c', 'u', 't'}, 6);
    decode(&bytes, &record);
    worker = ty_record_worker(&record, &len);
    assert_memory_equal(worker, "second", 6);
}

static void the_last_back_off_counts_while_the_job_is_pending(void **state)
{
    TY_BUF(bytes);
    struct ty_record record;
    static const uint8_t later[] = {TY_TAIL_BACKOFF, 12, 0, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0, 0, 7, 0, 0, 0};
    static const uint8_t at_once[] = {TY_TAIL_BACKOFF, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t short_one[] = {TY_TAIL_BACKOFF, 4, 0, 1, 1, 1, 1};
    (void)state;
    encode(0, CREATED_US, TY_REASON_NONE, NULL, &bytes);
    decode(&bytes, &record);
    assert_int_equal(ty_record_due_us(&record), 0);
    ty_buf_add(&bytes, later, sizeof later);
    ty_buf_add(&bytes, short_one, sizeof short_one); // is none
    decode(&bytes, &record);
    assert_int_equal(ty_record_due_us(&record), UINT64_C(0x060504030201));
    record.state = TY_JOB_IN_PROGRESS;
    assert_int_equal(ty_record_due_us(&record), 0);
    ty_buf_add(&bytes, at_once, sizeof at_once);
    decode(&bytes, &record);
    assert_int_equal(ty_record_due_us(&record), 0);
}

static void a_wait_that_has_a_limit_is_in_the_tail(void **state)
{
    TY_BUF(endless);
    TY_BUF(bytes);
    TY_BUF(longest);
    TY_BUF(refused);
    struct ty_record record, other;
    static const uint8_t short_one[] = {TY_TAIL_WAIT, 4, 0, 1, 1, 1, 1};
    (void)state;
    encode(0, CREATED_US, TY_REASON_NONE, NULL, &endless);
    decode(&endless, &other);
    assert_int_equal(ty_record_wait_end_us(&other), 0);
    assert_int_equal(other.tail_len, 0);
    encode_waiting(60, 0, CREATED_US, TY_REASON_NONE, NULL, &bytes);
    ty_buf_add(&bytes, short_one, sizeof short_one); // is none
    decode(&bytes, &record);
    assert_int_equal(ty_record_wait_end_us(&record), CREATED_US + 60000000);
    assert_true(memcmp(record.digest, other.digest, sizeof record.digest)); // another limit is another submit
    record.state = TY_JOB_FAILED;
    assert_int_equal(ty_record_wait_end_us(&record), 0);
    record.state = TY_JOB_PENDING;
    record.attempt = 1;
    assert_int_equal(ty_record_wait_end_us(&record), 0);
    encode_waiting(UINT32_MAX, 0, CREATED_US, TY_REASON_NONE, NULL, &longest);
    decode(&longest, &record);
    assert_true(ty_record_wait_end_us(&record) == CREATED_US + UINT32_MAX * UINT64_C(1000000));
    assert_true(ty_record_wait_end_us(&record) < UINT64_C(1) << 53); // exact as a score
    encode_waiting(60, 0, CREATED_US, TY_REASON_REFUSED, "no", &refused);
    decode(&refused, &record);
    size_t offset = 0, len;
    uint8_t type;
    const uint8_t *entry;
    while (ty_record_tail_next(&record, &offset, &type, &entry, &len))
        assert_int_not_equal(type, TY_TAIL_WAIT);
}

static void bytes_that_are_no_record(void **state)
{
    TY_BUF(bytes);
    struct ty_record record;
    struct ty_err err;
    (void)state;
    encode(0, CREATED_US, TY_REASON_NONE, NULL, &bytes);
    for (size_t len = 0; len < TY_RECORD_HEADER_BYTES; len++)
        assert_int_equal(ty_record_decode(bytes.data, len, &record, &err), -TY_EDATALOSS);
    for (size_t len = TY_RECORD_HEADER_BYTES; len < bytes.len; len++)
        assert_int_equal(ty_record_decode(bytes.data, len, &record, &err), -TY_EDATALOSS);
    static const struct {
        size_t at;
        uint8_t byte;
        enum ty_code code;
    } wrongs[] = {{0, 2, TY_EPRECONDITION}, {0, 255, TY_EPRECONDITION}, {AT_STATE, 7, TY_EDATALOSS},
                  {AT_METADATA_LEN + 3, 0xff, TY_EDATALOSS}, {AT_OPTIONS_LEN + 3, 0xff, TY_EDATALOSS},
                  {AT_POOL_LEN + 1, 0xff, TY_EDATALOSS}};
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        uint8_t kept = bytes.data[wrongs[i].at];
        bytes.data[wrongs[i].at] = wrongs[i].byte;
        assert_int_equal(ty_record_decode(bytes.data, bytes.len, &record, &err), -(int)wrongs[i].code);
        bytes.data[wrongs[i].at] = kept;
    }
    decode(&bytes, &record);
}

static void names_are_there_for_every_number(void **state)
{
    (void)state;
    assert_string_equal(ty_state_name(TY_JOB_IN_PROGRESS), "IN_PROGRESS");
    assert_string_equal(ty_stage_name(TY_STAGE_TRAIN), "train");
    assert_string_equal(ty_reason_name(TY_REASON_WORKER_LOST), "worker_lost");
    for (unsigned i = 0; i < TY_REASONS; i++)
        assert_string_not_equal(ty_reason_name(i), "unknown");
    assert_string_equal(ty_reason_name(255), "unknown");
    assert_string_equal(ty_stage_name(255), "unknown");
    assert_string_equal(ty_state_name((enum ty_job_state)99), "unknown");
}

static int set_up(void **state)
{
    struct ty_err err;
    (void)state;
    return ty_catalog_load(NULL, &catalog, &err);
}

static int tear_down(void **state)
{
    (void)state;
    ty_catalog_free(catalog);
    return 0;
}

static void names_that_are_none_are_not_added(void **state)
{
    TY_BUF(patch);
    char text[TY_LIMIT_NAME_BYTES + 2];
    (void)state;
    ty_patch_script_version(&patch, "1.\xff");
    ty_patch_model(&patch, "acme/\xc3");
    memset(text, 'v', sizeof text);
    text[sizeof text - 1] = 0;
    ty_patch_script_version(&patch, text);
    assert_int_equal(patch.len, 0);
    text[TY_LIMIT_NAME_BYTES] = 0;
    ty_patch_script_version(&patch, text);
    assert_true(patch.len > TY_LIMIT_NAME_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_job_is_pending),
        cmocka_unit_test(a_refused_job_says_why),
        cmocka_unit_test(the_queue_goes_by_priority_then_age),
        cmocka_unit_test(later_tail_entries_win_and_unknown_ones_are_skipped),
        cmocka_unit_test(the_last_back_off_counts_while_the_job_is_pending),
        cmocka_unit_test(names_that_are_none_are_not_added),
        cmocka_unit_test(a_wait_that_has_a_limit_is_in_the_tail),
        cmocka_unit_test(bytes_that_are_no_record),
        cmocka_unit_test(names_are_there_for_every_number),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
