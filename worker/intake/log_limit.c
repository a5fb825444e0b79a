#include "worker/intake/log_limit.h"

#include "core/clock.h"

#define WINDOW_MS 10000
#define LINES 20

bool ty_log_limit_take(struct ty_log_limit *limit)
{
    uint64_t now_ms = ty_clock_mono_ms();
    if (!limit->window_ms || now_ms - limit->window_ms >= WINDOW_MS) {
        limit->window_ms = now_ms;
        limit->taken = 0;
    }
    if (limit->taken < LINES) {
        limit->taken++;
        return true;
    }
    limit->skipped++;
    return false;
}

uint64_t ty_log_limit_skipped(struct ty_log_limit *limit)
{
    uint64_t skipped = limit->skipped;
    limit->skipped = 0;
    return skipped;
}
