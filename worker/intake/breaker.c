#include "worker/intake/breaker.h"

void ty_breaker_init(struct ty_breaker *breaker, unsigned percent)
{
    *breaker = (struct ty_breaker){.percent = percent, .hold_ms = TY_BREAKER_FIRST_MS};
}

static bool is_outage(const struct ty_breaker *breaker, size_t failed, size_t count)
{
    return failed * 100 >= breaker->percent * count;
}

static void start_window(struct ty_breaker *breaker, enum ty_breaker_state state)
{
    breaker->state = state;
    breaker->failures = 0;
    breaker->count = 0;
}

bool ty_breaker_add(struct ty_breaker *breaker, bool failed)
{
    if (!breaker->percent)
        return false;
    breaker->failures = breaker->failures << 1 | failed;
    if (breaker->count < TY_BREAKER_WINDOW)
        breaker->count++;
    if (failed && breaker->count >= TY_BREAKER_LEAST &&
        is_outage(breaker, (size_t)__builtin_popcountll(breaker->failures), breaker->count)) {
        start_window(breaker, TY_BREAKER_OPEN);
        return true;
    }
    if (breaker->count == TY_BREAKER_WINDOW)
        breaker->hold_ms = TY_BREAKER_FIRST_MS;
    return false;
}

void ty_breaker_try(struct ty_breaker *breaker)
{
    breaker->state = TY_BREAKER_TRIAL;
}

bool ty_breaker_judge(struct ty_breaker *breaker, size_t failed, size_t count)
{
    start_window(breaker, is_outage(breaker, failed, count) ? TY_BREAKER_OPEN : TY_BREAKER_CLOSED);
    return breaker->state == TY_BREAKER_OPEN;
}

uint64_t ty_breaker_take_hold_ms(struct ty_breaker *breaker)
{
    uint64_t hold_ms = breaker->hold_ms;
    breaker->hold_ms = hold_ms * 2 < TY_BREAKER_LAST_MS ? hold_ms * 2 : TY_BREAKER_LAST_MS;
    return hold_ms;
}
