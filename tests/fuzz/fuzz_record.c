// core/record: any bytes of the store decode or are refused; the reader of the tail and the metadata stay within them.
#include "core/record.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_record record;
    struct ty_err err = {0};
    int rc = ty_record_decode(data, size, &record, &err);
    REQUIRE(rc == 0 || rc == -TY_EDATALOSS || rc == -TY_EPRECONDITION);
    if (rc < 0)
        return 0;
    TY_BUF(metadata);
    size_t offset = 0, len, total = 0;
    uint8_t type;
    const uint8_t *bytes;
    while (ty_record_tail_next(&record, &offset, &type, &bytes, &len)) {
        REQUIRE(offset <= record.tail_len && len <= record.tail_len);
        for (size_t i = 0; i < len; i++)
            total += bytes[i];
    }
    ty_record_metadata(&record, &metadata);
    const char *worker = ty_record_worker(&record, &len);
    for (size_t i = 0; i < len; i++)
        total += (size_t)worker[i];
    REQUIRE(ty_state_name(record.state) && ty_stage_name(record.stage) && ty_reason_name(record.reason));
    REQUIRE(ty_record_is_terminal(&record) == (record.state >= TY_JOB_COMPLETED && record.state <= TY_JOB_CANCELED));
    REQUIRE(total <= SIZE_MAX);
    return 0;
}
