// The watch over the consumer. A partition stands still: all start again, as after everything else that went wrong. It stands still
// again: every other time a new consumer takes the place of the old one, whatever had got stuck in it. Each try is given twice the time
// of the one before, so that a partition that cannot be cured from here (a broker that does not give it out) costs the others, which
// start again too, and the group, which must be joined anew, less and less.
//
// A thread that is not heard of cannot be helped: it may be stuck inside librdkafka, and waiting for its end would stop the loop too.
// The intake is ill then, which whoever watches the ready file sees.
#include <inttypes.h>

#include "core/log.h"
#include "worker/intake/intake_internal.h"

#define LAST_DOUBLING 4
// What a verdict needs besides the patience: the watch looks each second, Kafka may take as long to answer, and there is a second look.
#define VERDICT_MS 8000
#define LEAVE_MS 5000
#define RENEW_AGAIN_MS 1000

void ty_intake_set_ill(struct ty_intake *intake, bool *flag, bool is_ill)
{
    if (*flag == is_ill)
        return;
    *flag = is_ill;
    intake->ills += is_ill ? 1 : (size_t)-1;
    if (intake->health_fn && intake->ills == (is_ill ? 1 : 0))
        intake->health_fn(intake->health_context, !is_ill);
}

static void on_calm(void *context)
{
    struct ty_intake *intake = context;
    if (intake->is_reopening || (intake->assignment && !intake->turn)) {
        ty_loop_set_timer(intake->loop, &intake->calm, VERDICT_MS, on_calm, intake); // nothing is watched at the moment
        return;
    }
    intake->cures = 0;
    intake->consumer_options.patience_ms = intake->stall_ms;
    ty_consumer_set_patience(intake->consumer, intake->stall_ms);
    ty_log(TY_LOG_INFO, "intake.flows", TY_KV("message", "no partition stands still any more"));
    ty_intake_set_ill(intake, &intake->is_stalled, false);
}

void ty_intake_await_calm(struct ty_intake *intake)
{
    if (intake->is_stalled)
        ty_loop_set_timer(intake->loop, &intake->calm, intake->consumer_options.patience_ms + VERDICT_MS, on_calm, intake);
}

static void reopen(struct ty_intake *intake)
{
    intake->is_reopening = true;
    intake->figures.reopened++;
    ty_log(TY_LOG_WARN, "intake.reopened", TY_KV("message", "another start did not help: a new consumer is made"));
    ty_consumer_close(intake->consumer, LEAVE_MS);
}

static void cure(void *context)
{
    struct ty_intake *intake = context;
    if (intake->is_stopping || intake->is_reopening)
        return;
    unsigned doublings = intake->cures < LAST_DOUBLING ? intake->cures : LAST_DOUBLING;
    uint64_t patience_ms = intake->stall_ms << doublings;
    intake->cures++;
    intake->consumer_options.patience_ms = patience_ms;
    ty_consumer_set_patience(intake->consumer, patience_ms);
    ty_intake_await_calm(intake);
    if (intake->cures % 2)
        ty_intake_restart(intake);
    else
        reopen(intake);
}

void ty_intake_on_stalled(void *context, size_t at, const struct ty_stall *stall)
{
    struct ty_intake *intake = context;
    const struct ty_claimed_partition *claimed = intake->partitions[at].claimed;
    if (!intake->turn || intake->is_stopping || intake->is_reopening)
        return; // it starts again in any case
    intake->figures.stalls++;
    if (ty_log_limit_take(&intake->stall_log))
        ty_log(TY_LOG_ERROR, "intake.stalled", TY_KV("topic", "%s", ty_topic_kind_name(claimed->kind)),
               TY_KV("partition", "%" PRId32, claimed->number), TY_KV("next", "%" PRId64, stall->next),
               TY_KV("end", "%" PRId64, stall->end), TY_KV("quiet_ms", "%" PRIu64, stall->quiet_ms),
               TY_KV("message", "%s", "Kafka has more of the partition and nothing comes: it is started again"));
    ty_loop_set_timer(intake->loop, &intake->cure, 0, cure, intake); // once for all that stand still
    ty_intake_set_ill(intake, &intake->is_stalled, true);
}

void ty_intake_listen(struct ty_intake *intake)
{
    uint64_t silent_ms = intake->consumer && !intake->is_left ? ty_consumer_silent_ms(intake->consumer) : 0;
    bool is_silent = silent_ms >= intake->stall_ms;
    if (is_silent == intake->is_silent)
        return;
    if (is_silent)
        ty_log(TY_LOG_ERROR, "intake.consumer_silent", TY_KV("silent_ms", "%" PRIu64, silent_ms),
               TY_KV("message", "%s", "the consumer's thread hangs: no commands are taken meanwhile"));
    else
        ty_log(TY_LOG_INFO, "intake.consumer_heard");
    ty_intake_set_ill(intake, &intake->is_silent, is_silent);
}

// Not inside the old consumer's callback.
static void on_renewal(void *context)
{
    struct ty_intake *intake = context;
    struct ty_err err;
    ty_intake_let_assignment_go(intake); // where the group was not left in time
    ty_consumer_free(intake->consumer);
    intake->consumer = NULL;
    if (ty_intake_open_consumer(intake, &err) < 0) {
        ty_log(TY_LOG_ERROR, "intake.not_reopened", TY_KV("message", "%s", err.message));
        ty_loop_set_timer(intake->loop, &intake->renewal, RENEW_AGAIN_MS, on_renewal, intake);
        return;
    }
    intake->is_reopening = intake->is_left = false;
}

bool ty_intake_renew(struct ty_intake *intake)
{
    if (!intake->is_reopening || intake->is_stopping)
        return false;
    ty_loop_set_timer(intake->loop, &intake->renewal, 0, on_renewal, intake);
    return true;
}

void ty_intake_watch_done(struct ty_intake *intake)
{
    ty_loop_clear_timer(intake->loop, &intake->cure);
    ty_loop_clear_timer(intake->loop, &intake->calm);
    ty_loop_clear_timer(intake->loop, &intake->renewal);
}
