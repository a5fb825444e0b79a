// core/event: any bytes of Kafka become a record that decodes, or are refused; and that record's event is the same job again.
#include <string.h>

#include "core/event.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ty_id key = {{0}};
    struct ty_event event, again;
    struct ty_record record, second;
    struct ty_err err = {0};
    TY_BUF(bytes);
    // The job of the corpus' events: 00000000-0000-4000-8000-000000000001.
    key.bytes[6] = 0x40;
    key.bytes[8] = 0x80;
    key.bytes[15] = 1;
    int rc = ty_event_decode(&key, data, size, &event, &err);
    REQUIRE(rc == 0 || rc == -TY_EDATALOSS || rc == -TY_EPRECONDITION);
    if (rc < 0)
        return 0;
    if (!event.is_deleted) {
        REQUIRE(ty_record_decode(event.record.data, event.record.len, &record, &err) == 0);
        if (ty_event_encode(&record, event.epoch, &bytes, &err) == 0) {
            REQUIRE(ty_event_decode(&key, bytes.data, bytes.len, &again, &err) == 0);
            REQUIRE(ty_record_decode(again.record.data, again.record.len, &second, &err) == 0);
            REQUIRE(record.state == second.state && record.version == second.version && record.attempt == second.attempt);
            ty_event_done(&again);
        }
    }
    ty_event_done(&event);
    return 0;
}
