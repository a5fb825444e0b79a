// The breaker of one partition: whether its records are mostly no commands at all, which is an outage (a producer with another
// schema, another program's topic, a format that this worker does not know yet) and not bad input. Pure: no I/O, no clock, and no record.
//
// CLOSED: every record goes on; the last TY_BREAKER_WINDOW are counted, and where of at least TY_BREAKER_LEAST of them the share
// that failed is reached by one that fails, it opens. OPEN: nothing goes on for hold_ms. TRIAL: at most TY_BREAKER_TRIAL records go on, the bad ones
// as dead letters; where the share failed again it opens for twice as long, up to TY_BREAKER_LAST_MS, else it closes.
//
// What stands in Kafka does not become better by waiting: were the records of a trial held back too, whatever is behind them (a
// cancel) would be held for ever. So a trial always passes: the way through bad records is slow and sure, and a short burst of them
// costs a second. The time does not fall back to the first one before a whole window has passed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TY_BREAKER_WINDOW 64
#define TY_BREAKER_LEAST 32
#define TY_BREAKER_TRIAL_RECORDS 32
#define TY_BREAKER_FIRST_MS 1000
#define TY_BREAKER_LAST_MS 60000

enum ty_breaker_state { TY_BREAKER_CLOSED, TY_BREAKER_OPEN, TY_BREAKER_TRIAL };

struct ty_breaker {
    enum ty_breaker_state state;
    unsigned percent;  // that opens it; 0: it never opens
    uint64_t failures; // the window, a bit a record, the latest lowest
    unsigned count;    // of records in it
    uint64_t hold_ms;  // of the next opening
};

void ty_breaker_init(struct ty_breaker *breaker, unsigned percent);
// The next record of a closed one. True: it is open now; the record is to be held.
bool ty_breaker_add(struct ty_breaker *breaker, bool failed);
// The time is over: OPEN becomes TRIAL.
void ty_breaker_try(struct ty_breaker *breaker);
// What came of a trial: `failed` of `count` records, at least one. True: it is open again, else it is closed.
bool ty_breaker_judge(struct ty_breaker *breaker, size_t failed, size_t count);
// How long the opening that has just been is to last; the next one gets twice that.
uint64_t ty_breaker_take_hold_ms(struct ty_breaker *breaker);
