// Times as people and programs read them. All in UTC. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "google/protobuf/timestamp.pb-c.h"

#define TY_WHEN_BYTES 40

// Microseconds since 1970 of an API time, within the years 1000 to 9999.
int64_t ty_when_us(const Google__Protobuf__Timestamp *timestamp);
// All return out.
const char *ty_when_rfc3339(int64_t time_us, char out[TY_WHEN_BYTES]); // "2026-11-24T18:42:24.123456Z"
const char *ty_when_millis(int64_t time_us, char out[TY_WHEN_BYTES]);  // "2026-11-24T18:42:24.123Z"
const char *ty_when_utc(int64_t time_us, char out[TY_WHEN_BYTES]);     // "2026-11-24 18:42:24 UTC"
const char *ty_when_day(int64_t time_us, char out[TY_WHEN_BYTES]);     // "2026-11-24"
// "3m ago", "2h ago", "12d ago"; "in 3m" when it lies ahead; "just now" within two seconds.
const char *ty_when_ago(int64_t time_us, int64_t now_us, char out[TY_WHEN_BYTES]);
// "0.4s", "12s", "3m 05s", "1h 02m", "3d 04h"; negative ones count as 0.
const char *ty_when_duration(int64_t duration_us, char out[TY_WHEN_BYTES]);
// Reads "2026-11-24T18:42:24Z" or with a fraction of up to six digits, in UTC, from 1970 on; false for anything else.
bool ty_when_parse(const char *text, uint64_t *ret_us);
// For model versions: "2026-11-24T18-42-24".
const char *ty_when_version(int64_t time_us, char out[TY_WHEN_BYTES]);
