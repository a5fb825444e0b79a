// core/progress: whatever is printed, what is kept is bounded and can be read; the same lines in two goes give the same.
#include <jansson.h>

#include "core/progress.h"
#include "core/progress_rule.h"
#include "core/wire.h"
#include "tests/fuzz/fuzz.h"
#include "trainyard/v1/job_service.pb-c.h"

#define MOST_BYTES (96 * 1024)

static struct ty_progress_rules *rules(void)
{
    static struct ty_progress_rules *loaded;
    struct ty_err err;
    if (loaded)
        return loaded;
    json_t *list = json_loads("[{\"pattern\": \"^Epoch ([0-9]+)/([0-9]+)\", \"step\": 1, \"steps\": 2},"
                              " {\"pattern\": \"([a-z]+): ([0-9.e+-]+)\", \"metrics\": {\"value\": 2}}]", 0, NULL);
    REQUIRE(list && ty_progress_rules_new(list, &loaded, &err) == 0);
    json_decref(list);
    return loaded;
}

// Lines are cut at each newline, and a byte before each says how much later it came.
static struct ty_progress *read_all(const uint8_t *data, size_t size, struct ty_buf *out)
{
    struct ty_progress *progress = ty_progress_new(1, rules());
    uint64_t time_us = UINT64_C(1700000000000000);
    while (size) {
        const uint8_t *end = memchr(data, '\n', size);
        size_t len = end ? (size_t)(end - data) : size;
        TY_BUF(line);
        if (len)
            time_us += (uint64_t)*data * 10000;
        if (len > 1) // what the splitter gives is valid UTF-8 without control characters
            ty_utf8_repair((const char *)data + 1, len - 1, &line);
        ty_progress_line(progress, time_us, ty_buf_text(&line), line.len);
        data += len + (end != NULL);
        size -= len + (end != NULL);
    }
    ty_progress_encode(progress, out);
    return progress;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TY_BUF(once);
    TY_BUF(twice);
    ProtobufCMessage *message;
    struct ty_err err;
    struct ty_progress *progress = read_all(data, size, &once);
    REQUIRE(!ty_progress_is_new(progress));
    ty_progress_free(progress);
    REQUIRE(once.len <= MOST_BYTES);
    REQUIRE(ty_wire_unpack(&trainyard__v1__job_progress__descriptor, once.data, once.len, &message, &err) == 0);
    const Trainyard__V1__JobProgress *told = (const void *)message;
    REQUIRE(told->n_metrics <= TY_PROGRESS_METRICS);
    REQUIRE(!told->_fraction_case || (told->fraction >= 0 && told->fraction <= 1));
    for (size_t i = 0; i < told->n_metrics; i++) {
        const Trainyard__V1__Metric *metric = told->metrics[i];
        REQUIRE(metric->n_values <= TY_PROGRESS_POINTS && metric->n_values == metric->n_steps && metric->n_values == metric->n_times_ms);
        REQUIRE(strlen(metric->name) > 0 && strlen(metric->name) <= TY_PROGRESS_NAME_BYTES);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    ty_progress_free(read_all(data, size, &twice));
    REQUIRE(once.len == twice.len && !memcmp(once.data, twice.data, once.len));
    return 0;
}
