// The store has taken the end of an attempt. It stands when Kafka has it too (the settled script says so), and only then is
// what the attempt left behind of no use any more, and may its model get the public name: a store that goes back before
// that is told again.
#include <inttypes.h>
#include <stdlib.h>

#include "core/log.h"
#include "core/state_outbox.h"
#include "worker/run/run_internal.h"

#define AT_ONCE 256u                                    // attempts in one call, and of a shard in one look
#define FIRST_MS 100u                                   // until the second look, then twice as long each time
#define MOST_MS 1000u
#define LOG_EVERY_MS 60000u
#define LIMIT_MS (UINT64_C(8) * 24 * 3600 * 1000) // longer than Kafka keeps commands: nobody will ever ask

static void look(void *context);

// The attempts of one call, each held.
struct asked {
    struct ty_run *run;
    size_t count;
    struct ty_attempt *attempts[AT_ONCE];
};

static void take_answer(struct ty_attempt *attempt, enum ty_settled settled)
{
    uint64_t now_ms = ty_loop_now_ms(attempt->run->loop);
    if (attempt->state != TY_ATTEMPT_SETTLING)
        return;
    switch (settled) {
    case TY_SETTLED: ty_attempt_on(attempt, TY_ATTEMPT_ON_SETTLED); break;
    case TY_SETTLED_TELL_AGAIN: ty_attempt_on(attempt, TY_ATTEMPT_ON_TELL_AGAIN); break;
    case TY_SETTLED_OTHER: ty_attempt_on(attempt, TY_ATTEMPT_ON_OTHER_END); break;
    default:
        if (now_ms - attempt->settling_since_ms > LIMIT_MS)
            ty_attempt_on(attempt, TY_ATTEMPT_ON_OTHER_END);
        break;
    }
}

static void on_settled(void *context, const struct ty_err *err, const int *results, size_t count)
{
    struct asked *asked = context;
    struct ty_run *run = asked->run;
    bool is_alive = ty_run_release(run);
    for (size_t i = 0; i < asked->count; i++) {
        if (is_alive && !err && i < count)
            take_answer(asked->attempts[i], (enum ty_settled)results[i]);
        ty_attempt_release(asked->attempts[i]);
    }
    free(asked);
}

// Those that were not asked about in this round; false: there are more of them.
static bool ask(struct ty_run *run, unsigned shard)
{
    struct ty_settling settling[AT_ONCE];
    struct asked *asked = ty_xcalloc(1, sizeof *asked);
    struct ty_attempt *attempt = run->attempts;
    asked->run = run;
    for (; attempt && asked->count < AT_ONCE; attempt = attempt->next) {
        enum ty_finish_action action = attempt->verdict.action;
        if (attempt->state != TY_ATTEMPT_SETTLING || attempt->shard != shard || attempt->settle_round == run->settle_round)
            continue;
        attempt->settle_round = run->settle_round;
        settling[asked->count] = (struct ty_settling){
            .id = attempt->ticket.id, .token = attempt->ticket.token, .attempt = attempt->ticket.attempt,
            .fence = attempt->ticket.fence,
            .is_given_back = action == TY_FINISH_HAND_BACK || action == TY_FINISH_RETRY,
        };
        asked->attempts[asked->count++] = ty_attempt_hold(attempt);
    }
    if (!asked->count) {
        free(asked);
        return true;
    }
    ty_run_hold(run);
    ty_state_settled(run->state, shard, settling, asked->count, on_settled, asked);
    return !attempt;
}

static void log_many(struct ty_run *run)
{
    uint64_t now_ms = ty_loop_now_ms(run->loop), oldest_ms = now_ms;
    if (now_ms - run->settle_logged_ms < LOG_EVERY_MS)
        return;
    for (const struct ty_attempt *attempt = run->attempts; attempt; attempt = attempt->next)
        if (attempt->state == TY_ATTEMPT_SETTLING && attempt->settling_since_ms < oldest_ms)
            oldest_ms = attempt->settling_since_ms;
    if (now_ms - oldest_ms < LOG_EVERY_MS)
        return;
    run->settle_logged_ms = now_ms;
    ty_log(TY_LOG_WARN, "run.settling", TY_KV("attempts", "%u", run->settling),
           TY_KV("oldest_s", "%" PRIu64, (now_ms - oldest_ms) / 1000),
           TY_KV("error", "%s", "Kafka does not have how they ended: is a worker with the role intake there, and the topic events?"));
}

static void look(void *context)
{
    struct ty_run *run = context;
    if (!run->settling)
        return;
    run->settle_looked_ms = ty_loop_now_ms(run->loop);
    run->settle_ms = run->settle_ms ? 2 * run->settle_ms : FIRST_MS;
    if (run->settle_ms > MOST_MS)
        run->settle_ms = MOST_MS;
    ty_loop_set_timer(run->loop, &run->settle_timer, run->settle_ms, look, run);
    bool is_whole = true;
    for (unsigned shard = 0; run->up && shard < ty_state_shards(run->state); shard++)
        is_whole = ask(run, shard) && is_whole;
    run->settle_round += is_whole;
    log_many(run);
}

void ty_settle_soon(struct ty_run *run)
{
    uint64_t now_ms = ty_loop_now_ms(run->loop), due_ms = run->settle_looked_ms + FIRST_MS;
    run->settle_ms = 0;
    ty_loop_set_timer(run->loop, &run->settle_timer, due_ms > now_ms ? due_ms - now_ms : 0, look, run);
}

void ty_settle_stop(struct ty_run *run)
{
    ty_loop_clear_timer(run->loop, &run->settle_timer);
}
