#include "responder/job_filter.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "core/command.h"
#include "core/limits.h"
#include "core/wire.h"
#include "viam/app/mltraining/v1/ml_training.pb-c.h"

typedef Trainyard__V1__ListJobsRequest Request;
typedef Trainyard__V1__ListJobsRequest__LabelsEntry Label;

enum { META_DATASET = 11, META_MODEL = 13, OPTIONS_LABELS = 6, LABEL_KEY = 1, LABEL_VALUE = 2 };

#define LATEST_S INT64_C(253402300799) // the end of the year 9999, as google.protobuf.Timestamp has it

// ---- from the request ----

static int take_time(const char *name, const Google__Protobuf__Timestamp *time, uint64_t *ret_us, struct ty_err *err)
{
    *ret_us = 0;
    if (!time)
        return 0;
    if (time->seconds < 0 || time->seconds > LATEST_S || time->nanos < 0 || time->nanos > 999999999)
        return ty_err_set(err, TY_EINVALID, "%s: not a time from 1970 to 9999", name);
    // Up to the next microsecond, which is all that the store knows: what lies before 12.5 µs are 12 and less.
    *ret_us = (uint64_t)time->seconds * 1000000 + ((uint64_t)time->nanos + 999) / 1000;
    if (!*ret_us)
        *ret_us = 1; // no job is of before
    return 0;
}

static int take_states(const Request *request, unsigned *ret_states, struct ty_err *err)
{
    *ret_states = 0;
    for (size_t i = 0; i < request->n_statuses; i++) {
        int status = (int)request->statuses[i];
        if (status < TY_JOB_PENDING || status > TY_JOB_CANCELING)
            return ty_err_set(err, TY_EINVALID, "statuses[%zu]: %d is no state of a job", i, status);
        *ret_states |= 1u << status;
    }
    return 0;
}

static int check_labels(const Request *request, struct ty_err *err)
{
    if (request->n_labels > TY_LIMIT_LABELS)
        return ty_err_set(err, TY_EINVALID, "labels: %zu of them; a job has at most %d", request->n_labels, TY_LIMIT_LABELS);
    for (size_t i = 0; i < request->n_labels; i++)
        for (size_t j = 0; j < i; j++)
            if (!strcmp(request->labels[i]->key, request->labels[j]->key))
                return ty_err_set(err, TY_EINVALID, "labels: \"%.64s\" is given twice", request->labels[i]->key);
    return 0;
}

static int check_text(const char *name, const char *text, size_t max, struct ty_err *err)
{
    return *text ? ty_name_check(name, text, max, err) : 0;
}

int ty_job_filter_init(struct ty_job_filter *ret_filter, const Request *request, struct ty_err *err)
{
    struct ty_job_filter filter = {.organization_id = request->organization_id, .model_name = request->model_name,
                                   .dataset_id = request->dataset_id, .oldest_first = request->oldest_first,
                                   .labels = request->labels, .label_count = request->n_labels};
    if (ty_name_check("organization_id", request->organization_id, TY_LIMIT_ID_BYTES, err) < 0 ||
        check_text("model_name", request->model_name, TY_LIMIT_NAME_BYTES, err) < 0 ||
        check_text("dataset_id", request->dataset_id, TY_LIMIT_ID_BYTES, err) < 0 ||
        take_states(request, &filter.states, err) < 0 || check_labels(request, err) < 0 ||
        take_time("created_since", request->created_since, &filter.created.since_us, err) < 0 ||
        take_time("created_before", request->created_before, &filter.created.before_us, err) < 0 ||
        take_time("ended_since", request->ended_since, &filter.ended.since_us, err) < 0 ||
        take_time("ended_before", request->ended_before, &filter.ended.before_us, err) < 0)
        return -(int)err->code;
    switch ((int)request->order) {
    case TRAINYARD__V1__JOB_ORDER__JOB_ORDER_UNSPECIFIED:
    case TRAINYARD__V1__JOB_ORDER__JOB_ORDER_CREATED: filter.order = TY_LIST_CREATED; break;
    case TRAINYARD__V1__JOB_ORDER__JOB_ORDER_ENDED: filter.order = TY_LIST_ENDED; break;
    default: return ty_err_set(err, TY_EINVALID, "order: %d is no value of it", (int)request->order);
    }
    *ret_filter = filter;
    return 0;
}

void ty_job_filter_init_stock(struct ty_job_filter *ret_filter, const char *organization_id, int status)
{
    *ret_filter = (struct ty_job_filter){.organization_id = organization_id, .model_name = "", .dataset_id = "",
                                         .states = status ? 1u << status : 0};
}

// ---- the index ----

void ty_job_filter_query(const struct ty_job_filter *filter, struct ty_list_query *ret_query)
{
    uint64_t since_us = filter->created.since_us, before_us = filter->created.before_us;
    if (filter->order == TY_LIST_ENDED) {
        since_us = filter->ended.since_us;
        before_us = filter->ended.before_us;
        // What was created later has not ended before.
        if (filter->created.since_us > since_us)
            since_us = filter->created.since_us;
    } else if (filter->ended.before_us && (!before_us || filter->ended.before_us < before_us)) {
        before_us = filter->ended.before_us;
    }
    *ret_query = (struct ty_list_query){.organization_id = filter->organization_id, .order = filter->order,
                                        .oldest_first = filter->oldest_first, .states = filter->states, .least_us = since_us,
                                        .most_us = before_us > 1 ? before_us - 1 : before_us};
}

// ---- a job ----

// The value of the last of a field in bytes that were checked once; false: it is not there.
static bool find_text(const uint8_t *bytes, size_t len, uint32_t number, const uint8_t **ret_text, size_t *ret_len)
{
    size_t at = 0, found_len;
    uint32_t field;
    const uint8_t *found;
    bool is_there = false;
    while (ty_wire_next(bytes, len, &at, &field, &found, &found_len))
        if (field == number && found) {
            *ret_text = found;
            *ret_len = found_len;
            is_there = true;
        }
    return is_there;
}

static bool has_text(const uint8_t *bytes, size_t len, uint32_t number, const char *wanted)
{
    const uint8_t *text = (const uint8_t *)"";
    size_t text_len = 0;
    find_text(bytes, len, number, &text, &text_len);
    return text_len == strlen(wanted) && !memcmp(text, wanted, text_len);
}

static bool has_label(const struct ty_record *record, const Label *label)
{
    size_t at = 0, len;
    uint32_t field;
    const uint8_t *entry;
    while (ty_wire_next(record->options, record->options_len, &at, &field, &entry, &len))
        if (field == OPTIONS_LABELS && entry && has_text(entry, len, LABEL_KEY, label->key))
            return has_text(entry, len, LABEL_VALUE, label->value);
    return false;
}

static bool is_within(uint64_t time_us, uint64_t since_us, uint64_t before_us)
{
    return time_us >= since_us && (!before_us || time_us < before_us);
}

bool ty_job_filter_fits(const struct ty_job_filter *filter, const struct ty_record *record)
{
    if (filter->states && !(filter->states & 1u << record->state))
        return false;
    if (!is_within(record->created_us, filter->created.since_us, filter->created.before_us))
        return false;
    if ((filter->ended.since_us || filter->ended.before_us || filter->order == TY_LIST_ENDED) &&
        (!record->ended_us || !is_within(record->ended_us, filter->ended.since_us, filter->ended.before_us)))
        return false;
    if (*filter->model_name && !has_text(record->metadata, record->metadata_len, META_MODEL, filter->model_name))
        return false;
    if (*filter->dataset_id && !has_text(record->metadata, record->metadata_len, META_DATASET, filter->dataset_id))
        return false;
    for (size_t i = 0; i < filter->label_count; i++)
        if (!has_label(record, filter->labels[i]))
            return false;
    return true;
}

// ---- the digest ----

static int by_key(const void *a, const void *b)
{
    return strcmp((*(Label *const *)a)->key, (*(Label *const *)b)->key);
}

static void add_text(struct ty_buf *out, const char *text)
{
    ty_buf_add(out, text, strlen(text) + 1);
}

void ty_job_filter_digest(const struct ty_job_filter *filter, uint8_t out[TY_LIST_DIGEST_BYTES])
{
    TY_BUF(bytes);
    uint8_t full[EVP_MAX_MD_SIZE];
    Label *labels[TY_LIMIT_LABELS] = {0};
    add_text(&bytes, filter->organization_id);
    add_text(&bytes, filter->model_name);
    add_text(&bytes, filter->dataset_id);
    ty_buf_add_format(&bytes, "%d %d %u %llu %llu %llu %llu", (int)filter->order, filter->oldest_first, filter->states,
                      (unsigned long long)filter->created.since_us, (unsigned long long)filter->created.before_us,
                      (unsigned long long)filter->ended.since_us, (unsigned long long)filter->ended.before_us);
    if (filter->label_count)
        memcpy(labels, filter->labels, filter->label_count * sizeof *labels);
    qsort(labels, filter->label_count, sizeof *labels, by_key);
    for (size_t i = 0; i < filter->label_count; i++) {
        ty_buf_add_byte(&bytes, ' ');
        add_text(&bytes, labels[i]->key);
        add_text(&bytes, labels[i]->value);
    }
    memset(full, 0, sizeof full);
    if (EVP_Digest(bytes.data, bytes.len, full, NULL, EVP_sha256(), NULL) != 1)
        abort(); // without SHA-256 nothing of the project works
    memcpy(out, full, TY_LIST_DIGEST_BYTES);
}
