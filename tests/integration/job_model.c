#include "tests/integration/job_model.h"

#include <string.h>

#include "core/record.h"

static const struct ty_token no_token;

void model_init(struct model *model)
{
    memset(model, 0, sizeof *model);
    model->publisher = -1;
    model->mark = -1;
}

bool model_is_terminal(const struct model_job *job)
{
    return job->state == TY_JOB_COMPLETED || job->state == TY_JOB_FAILED || job->state == TY_JOB_CANCELED;
}

static bool same_token(const struct ty_token *a, const struct ty_token *b)
{
    return !memcmp(a, b, sizeof *a);
}

// No attempt has it any more: it ends when Kafka knows that.
bool model_is_disowned(const struct model_job *job)
{
    return ((job->state == TY_JOB_PENDING || job->state == TY_JOB_CANCELING) && job->reason == TY_REASON_NO_ATTEMPT_LEFT) ||
           (job->state == TY_JOB_PENDING && (job->reason == TY_REASON_QUARANTINED || job->reason == TY_REASON_WAIT_LIMIT));
}

static bool is_owner(const struct model_site *site, const struct model_job *job, const struct ty_token *token, uint32_t attempt)
{
    return job->attempt == attempt && !model_is_disowned(job) && (site->ignores_tokens || same_token(&job->token, token));
}

static bool is_restored_owner(const struct model_job *job, uint32_t attempt, uint64_t fence)
{
    return !model_is_disowned(job) && same_token(&job->token, &no_token) && attempt > 0 && job->attempt == attempt && job->fence == fence;
}

static bool was_given_back(const struct model_job *job)
{
    return (job->state == TY_JOB_PENDING || job->state == TY_JOB_CANCELING) && job->lease_ms == 0;
}

// Every change of a job.
static void change(struct model_site *site, struct model_job *job)
{
    job->version++;
    job->stamp = ++site->last_stamp;
    job->has_ended = job->has_ended || model_is_terminal(job);
    job->in_outbox = true;
    if (job->state != TY_JOB_PENDING)
        job->in_backoff = false;
    if (job->state != TY_JOB_CANCELING)
        job->is_held = false;
}

static void disown(struct model_site *site, struct model_job *job, unsigned reason)
{
    if (job->state == TY_JOB_IN_PROGRESS)
        job->state = TY_JOB_PENDING;
    job->reason = reason;
    job->stage = TY_STAGE_NONE;
    job->lease_ms = 0;
    job->token = no_token;
    job->fence++;
    change(site, job);
    job->is_held = true;
}

// What was asked of a job is done to it; one that somebody may have whom the store forgot is held.
static void cancel(const struct model *model, struct model_site *site, struct model_job *job)
{
    bool is_unsure = model->must_replay || (model->has_been_back && job->version == 1); // in a walk all jobs are of long ago
    if (model_is_disowned(job)) {
        change(site, job);
        job->is_held = true;
        return;
    }
    if (job->state == TY_JOB_PENDING || job->state == TY_JOB_IN_PROGRESS) {
        job->is_held = job->state == TY_JOB_PENDING && is_unsure;
        job->state = job->state == TY_JOB_PENDING && !is_unsure ? TY_JOB_CANCELED : TY_JOB_CANCELING;
        job->reason = TY_REASON_CANCELED;
    }
    change(site, job);
}

static void to_tombstone(struct model_job *job, unsigned flags, uint64_t version)
{
    *job = (struct model_job){.exists = true, .flags = flags, .attempt = job->attempt, .version = version,
                              .in_outbox = job->in_outbox, .in_nulls = job->in_nulls, .is_null_due = job->is_null_due};
}

// A terminal job that was to be deleted goes.
static void forget(struct model_job *job)
{
    to_tombstone(job, job->flags | TY_FLAG_CANCEL | TY_FLAG_DELETE, job->version + 1);
    job->in_outbox = job->in_nulls = true;
    job->is_null_due = false;
}

// ---- commands ----

bool model_advance(struct model *model, int64_t expected, int64_t next)
{
    if (model->watermark < expected) {
        model->gaps++;
        model->must_replay = true;
        return false;
    }
    if (next > model->watermark)
        model->watermark = next;
    return true;
}

enum ty_applied model_submit(struct model *model, struct model_site *site, const struct model_submit *submit)
{
    struct model_job *job = &model->jobs[submit->job], old = *job;
    if (old.exists && old.state != TY_JOB_TOMBSTONE)
        return old.body == submit->body ? TY_APPLY_DUPLICATE : TY_APPLY_CONFLICT;
    unsigned asked = old.flags | old.asked[submit->organization];
    if (asked & TY_FLAG_DELETE)
        return TY_APPLY_NOOP;
    *job = (struct model_job){.exists = true, .state = TY_JOB_PENDING, .version = 1, .body = submit->body, .ready = submit->ready,
                              .organization = submit->organization, .pool = submit->pool, .max_attempts = submit->max_attempts, .in_outbox = true,
                              .in_nulls = old.in_nulls, .is_null_due = old.is_null_due};
    job->wait = submit->is_refused ? MODEL_WAIT_ANY : submit->wait;
    job->stamp = UINT64_C(1) << 63 | submit->ready; // the same submit once more has the same times
    if (submit->is_refused) {
        job->state = TY_JOB_FAILED;
        job->reason = TY_REASON_REFUSED;
        job->has_ended = true;
        job->patch.error = MODEL_ERROR_REFUSED;
    } else if (asked) { // it was canceled before it came
        job->flags = TY_FLAG_CANCEL;
        cancel(model, site, job);
    }
    return TY_APPLIED;
}

enum ty_applied model_control(struct model *model, struct model_site *site, unsigned number, bool deletes, unsigned organization)
{
    struct model_job *job = &model->jobs[number], old = *job;
    unsigned flags = deletes ? TY_FLAG_CANCEL | TY_FLAG_DELETE : TY_FLAG_CANCEL;
    bool is_bound = organization != MODEL_ANY;
    if (!job->exists || job->state == TY_JOB_TOMBSTONE) {
        if (((job->flags | (is_bound ? job->asked[organization] : 0)) & flags) == flags)
            return TY_APPLY_NOOP;
        to_tombstone(job, is_bound ? job->flags : job->flags | flags, job->version);
        memcpy(job->asked, old.asked, sizeof job->asked);
        if (is_bound)
            job->asked[organization] |= (uint8_t)flags;
        return TY_APPLY_TOMBSTONE;
    }
    if (is_bound && organization != job->organization)
        return TY_APPLY_FOREIGN;
    if (model_is_terminal(job)) {
        if (!deletes)
            return TY_APPLY_NOOP;
        forget(job);
        return TY_APPLY_DELETED;
    }
    if ((job->state == TY_JOB_CANCELING || model_is_disowned(job)) && (job->flags & flags) == flags)
        return TY_APPLY_NOOP;
    job->flags |= flags;
    cancel(model, site, job);
    if (model_is_terminal(job) && deletes) {
        forget(job);
        return TY_APPLY_DELETED;
    }
    return TY_APPLIED;
}

// ---- attempts ----

// A store whose clock is behind what a caller has seen went back.
static bool must_wait(struct model *model, const struct model_site *site)
{
    if (site->seen_tick[site->client] > model->tick) {
        model->tick = site->seen_tick[site->client];
        model->must_replay = true;
        model->rollbacks++;
    }
    return model->must_replay;
}

unsigned model_claim(struct model *model, struct model_site *site, const struct ty_token *token, unsigned max, uint32_t lease_ms,
                     const unsigned *taken, unsigned taken_count, unsigned ret_jobs[MODEL_CLAIM_JOBS], bool *ret_repeated)
{
    unsigned count = 0;
    *ret_repeated = false;
    if (must_wait(model, site))
        return 0;
    for (unsigned i = 0; i < model->claim_count; i++) {
        const struct model_claim *claim = &model->claims[i];
        if (!same_token(&claim->token, token))
            continue;
        *ret_repeated = true;
        for (unsigned k = 0; k < claim->count; k++) {
            const struct model_job *job = &model->jobs[claim->jobs[k]];
            if (job->exists && same_token(&job->token, token) && !model_is_terminal(job) && !was_given_back(job))
                ret_jobs[count++] = claim->jobs[k];
        }
        return count;
    }
    for (int i; count < max && (i = model_next(model, site, count < taken_count ? (int)taken[count] : -1)) >= 0; count++) {
        struct model_job *job = &model->jobs[i];
        job->state = TY_JOB_IN_PROGRESS;
        job->stage = TY_STAGE_CLAIMED;
        job->reason = TY_REASON_NONE;
        job->token = *token;
        job->attempt++;
        job->lease_ms = lease_ms;
        change(site, job);
        ret_jobs[count] = (unsigned)i;
    }
    if (count && model->claim_count < MODEL_CLAIMS) {
        struct model_claim *claim = &model->claims[model->claim_count++];
        *claim = (struct model_claim){.token = *token, .count = count};
        memcpy(claim->jobs, ret_jobs, count * sizeof *ret_jobs);
    }
    return count;
}

// Whether it adds anything.
static bool add_patch(struct model_job *job, const struct model_patch *patch)
{
    if (patch->error) {
        job->patch.error = patch->error;
        job->patch.error_number = patch->error_number;
    }
    if (patch->model)
        job->patch.model = patch->model;
    if (patch->version)
        job->patch.version = patch->version;
    return patch->error || patch->model || patch->version;
}

// The attempt that was taken for lost speaks again.
static void take_loss_back(struct model_job *job)
{
    if (job->state == TY_JOB_PENDING && !was_given_back(job) && job->reason == TY_REASON_WORKER_LOST && job->losses > 0)
        job->losses--;
}

enum ty_renewed model_renew(struct model *model, struct model_site *site, unsigned number, const struct ty_renewal *renewal,
                            const struct model_patch *patch)
{
    struct model_job *job = &model->jobs[number];
    if (!job->exists)
        return TY_RENEW_UNKNOWN;
    if (job->state == TY_JOB_TOMBSTONE)
        return job->flags & TY_FLAG_DELETE ? TY_RENEW_DELETED : TY_RENEW_UNKNOWN;
    bool is_back = is_restored_owner(job, renewal->attempt, renewal->fence);
    bool owner = is_back || is_owner(site, job, &renewal->token, renewal->attempt);
    bool is_newer = renewal->attempt > job->attempt && renewal->fence > job->fence && !model_is_disowned(job);
    bool has_changed = is_back;
    if ((job->state == TY_JOB_PENDING && owner && !was_given_back(job)) || (!model_is_terminal(job) && is_newer)) {
        if (owner)
            take_loss_back(job);
        if (job->state != TY_JOB_CANCELING) {
            job->state = TY_JOB_IN_PROGRESS;
            job->reason = TY_REASON_NONE;
        }
        job->token = renewal->token;
        job->attempt = renewal->attempt;
        job->fence = renewal->fence;
        job->lease_ms = renewal->lease_ms;
        has_changed = true;
    } else if (!owner || was_given_back(job) || (job->state != TY_JOB_IN_PROGRESS && job->state != TY_JOB_CANCELING)) {
        if (!(owner && model_is_terminal(job)))
            model->stale_refused++;
        return TY_RENEW_LOST;
    }
    job->is_held = false;
    if (is_back)
        job->token = renewal->token;
    if (renewal->stage && renewal->stage != job->stage) {
        job->stage = renewal->stage;
        job->has_started = job->has_started || job->stage >= TY_STAGE_TRAIN;
        has_changed = true;
    }
    if (add_patch(job, patch))
        has_changed = true;
    if (has_changed)
        change(site, job);
    return job->state == TY_JOB_CANCELING ? TY_RENEW_CANCEL : TY_RENEWED;
}

enum early_end { AGAIN, NO_ATTEMPT_LEFT, QUARANTINE };

static enum early_end count_early_end(const struct model_site *site, struct model_job *job, bool is_loss)
{
    uint32_t limit = job->max_attempts ? job->max_attempts : site->max_attempts;
    if (is_loss)
        job->losses++;
    else
        job->errors++;
    if (is_loss && site->max_losses && job->losses >= site->max_losses)
        return QUARANTINE;
    return job->losses + job->errors >= limit ? NO_ATTEMPT_LEFT : AGAIN;
}

// To the queue, now or later.
static void queue_again(struct model_job *job, bool backs_off)
{
    job->stage = TY_STAGE_NONE;
    job->is_kept_back = backs_off;
}

// What becomes of a job whose attempt ended early, but for the reason of one that is tried again.
static void end_early(struct model *model, const struct model_site *site, struct model_job *job, enum early_end end, unsigned reason)
{
    if (job->state == TY_JOB_CANCELING) {
        job->state = TY_JOB_CANCELED;
        job->reason = TY_REASON_CANCELED;
    } else if (end == AGAIN) {
        job->state = TY_JOB_PENDING;
        job->reason = reason;
        queue_again(job, site->backs_off);
    } else {
        job->state = TY_JOB_FAILED;
        job->reason = end == QUARANTINE ? TY_REASON_QUARANTINED : reason;
        model->quarantined += end == QUARANTINE;
        if (end == QUARANTINE)
            add_patch(job, &(struct model_patch){.error = MODEL_ERROR_QUARANTINED, .error_number = job->losses});
    }
}

// A reason that only an attempt has that had begun to train.
static bool is_of_training(unsigned reason)
{
    return reason == TY_REASON_SCRIPT_EXIT || reason == TY_REASON_SIGNAL || reason == TY_REASON_EMPTY_OUTPUT ||
           reason == TY_REASON_COLLECT_FAILED;
}

static void end_attempt(struct model *model, const struct model_site *site, struct model_job *job, const struct ty_finish *finish,
                        const struct model_patch *patch)
{
    // Read before a loss is taken back: an attempt that was lost after it had started has started.
    bool has_started = job->stage > TY_STAGE_CLAIMED || job->reason == TY_REASON_WORKER_LOST;
    take_loss_back(job);
    job->has_started = job->has_started || is_of_training(finish->reason);
    switch (finish->action) {
    case TY_FINISH_COMPLETED:
    case TY_FINISH_COMPLETED_MODEL:
        job->state = TY_JOB_COMPLETED;
        job->reason = finish->reason;
        job->has_started = true;
        break;
    case TY_FINISH_FAILED:
        job->state = TY_JOB_FAILED;
        job->reason = finish->reason;
        break;
    case TY_FINISH_CANCELED:
        job->state = TY_JOB_CANCELED;
        job->reason = TY_REASON_CANCELED;
        break;
    case TY_FINISH_HAND_BACK:
        job->reason = finish->reason;
        if (job->state == TY_JOB_CANCELING) {
            job->state = TY_JOB_CANCELED;
            job->reason = TY_REASON_CANCELED;
        } else {
            job->state = TY_JOB_PENDING;
            queue_again(job, false);
        }
        break;
    case TY_FINISH_RETRY:
        end_early(model, site, job, count_early_end(site, job, has_started && finish->reason == TY_REASON_WORKER_LOST), finish->reason);
        break;
    }
    if (job->state == TY_JOB_COMPLETED || (job->state == TY_JOB_FAILED && job->reason != TY_REASON_QUARANTINED))
        add_patch(job, patch);
}

static enum ty_finished refuse(struct model *model)
{
    model->stale_refused++;
    return TY_FINISH_STALE;
}

static enum ty_finished tell_late(struct model *model, const struct model_job *job, enum ty_finish_action action)
{
    bool completes = action == TY_FINISH_COMPLETED || action == TY_FINISH_COMPLETED_MODEL;
    return completes && job->state != TY_JOB_COMPLETED ? refuse(model) : TY_FINISH_ALREADY;
}

enum ty_finished model_finish(struct model *model, struct model_site *site, unsigned number, const struct ty_finish *finish,
                              const struct model_patch *patch)
{
    struct model_job *job = &model->jobs[number];
    bool is_coming = model->has_publisher && model->must_replay;
    if (!job->exists)
        return is_coming ? TY_FINISH_LATER : TY_FINISH_UNKNOWN;
    if (job->state == TY_JOB_TOMBSTONE)
        return job->flags & TY_FLAG_DELETE ? TY_FINISH_ALREADY : is_coming ? TY_FINISH_LATER : TY_FINISH_UNKNOWN;
    if (model_is_disowned(job))
        return refuse(model);
    if (is_coming)
        return TY_FINISH_LATER;
    if (!is_owner(site, job, &finish->token, finish->attempt)) {
        if (same_token(&job->token, &no_token) && finish->attempt > 0 && finish->attempt == job->attempt)
            return model_is_terminal(job) ? tell_late(model, job, finish->action) : TY_FINISH_UNKNOWN;
        if (!model_is_terminal(job) && finish->attempt > job->attempt)
            return TY_FINISH_UNKNOWN;
        return refuse(model);
    }
    if (model_is_terminal(job))
        return tell_late(model, job, finish->action);
    if (was_given_back(job))
        return TY_FINISH_ALREADY;
    end_attempt(model, site, job, finish, patch);
    change(site, job);
    if (finish->action == TY_FINISH_COMPLETED_MODEL)
        job->in_unlinked = true;
    if (job->state == TY_JOB_PENDING) {
        job->lease_ms = 0;
        job->in_backoff = job->is_kept_back;
    } else if (job->flags & TY_FLAG_DELETE) {
        forget(job);
        return TY_FINISH_DELETED;
    }
    return TY_FINISHED;
}

// ---- the lease clock ----

bool model_tick(struct model *model, struct model_site *site)
{
    bool waits = must_wait(model, site);
    model->tick = ++site->ticks;
    if (model->has_publisher)
        site->seen_tick[site->client] = model->tick;
    return !waits;
}

void model_back_off_ends(struct model *model, unsigned job)
{
    model->jobs[job].in_backoff = false;
}

bool model_is_limited(const struct model_job *job)
{
    return job->state == TY_JOB_PENDING && !job->attempt && job->wait != MODEL_WAIT_ANY && !model_is_disowned(job);
}

bool model_is_overdue(const struct model_job *job)
{
    return model_is_limited(job) && job->wait == MODEL_WAIT_OVER;
}

void model_end_wait(struct model *model, struct model_site *site, unsigned number)
{
    struct model_job *job = &model->jobs[number];
    if (model->has_publisher) {
        disown(site, job, TY_REASON_WAIT_LIMIT);
        return;
    }
    job->state = TY_JOB_FAILED;
    job->reason = TY_REASON_WAIT_LIMIT;
    job->patch.error = MODEL_ERROR_WAITED;
    change(site, job);
}

bool model_end_held(struct model *model, struct model_site *site, unsigned number)
{
    struct model_job *job = &model->jobs[number];
    if (!model_is_disowned(job)) {
        disown(site, job, TY_REASON_NO_ATTEMPT_LEFT);
        return false;
    }
    if (job->in_outbox)
        return false;
    if (job->state == TY_JOB_CANCELING) {
        job->state = TY_JOB_CANCELED;
        job->reason = TY_REASON_CANCELED;
    } else {
        job->state = TY_JOB_FAILED;
        job->patch.error_number = job->losses;
        if (job->reason == TY_REASON_WAIT_LIMIT) {
            job->patch.error = MODEL_ERROR_WAITED;
        } else if (job->reason == TY_REASON_QUARANTINED) {
            job->patch.error = MODEL_ERROR_QUARANTINED;
            model->quarantined++;
        } else {
            job->patch.error = MODEL_ERROR_LOST;
            job->patch.errors = job->errors;
            job->reason = TY_REASON_WORKER_LOST;
        }
    }
    change(site, job);
    if (job->flags & TY_FLAG_DELETE)
        forget(job);
    return true;
}

void model_expire(struct model *model, struct model_site *site, unsigned number)
{
    struct model_job *job = &model->jobs[number];
    bool has_started = job->stage > TY_STAGE_CLAIMED;
    enum early_end end = has_started ? count_early_end(site, job, true) : AGAIN;
    model->leases_taken++;
    if (model->has_publisher && (job->state == TY_JOB_CANCELING || end != AGAIN)) {
        disown(site, job, job->state == TY_JOB_IN_PROGRESS && end == QUARANTINE ? TY_REASON_QUARANTINED : TY_REASON_NO_ATTEMPT_LEFT);
        return;
    }
    end_early(model, site, job, end, has_started ? TY_REASON_WORKER_LOST : TY_REASON_NOT_STARTED);
    if (job->state == TY_JOB_FAILED && end == NO_ATTEMPT_LEFT) {
        job->patch.error = MODEL_ERROR_LOST;
        job->patch.error_number = job->losses;
        job->patch.errors = job->errors;
    }
    change(site, job);
    job->in_backoff = job->state == TY_JOB_PENDING && job->is_kept_back;
    if (job->state != TY_JOB_PENDING && (job->flags & TY_FLAG_DELETE))
        forget(job);
}

bool model_retire(struct model *model, unsigned number)
{
    struct model_job *job = &model->jobs[number];
    if (!job->exists || !model_is_terminal(job) || job->in_outbox || job->in_unlinked)
        return false;
    forget(job);
    model->retired++;
    return true;
}

void model_forget(struct model *model, unsigned number)
{
    struct model_job *job = &model->jobs[number];
    *job = (struct model_job){.in_nulls = job->in_nulls, .is_null_due = job->in_nulls, .in_outbox = job->in_outbox};
}

// ---- events ----

bool model_outbox(struct model *model, int publisher)
{
    if (model->publisher >= 0 && model->publisher != publisher)
        return false;
    model->publisher = publisher;
    model->has_publisher = true;
    return true;
}

void model_outbox_read(struct model *model, struct model_site *site, uint64_t stamp_us, const bool is_null[MODEL_JOBS])
{
    bool has_any = false;
    (void)site;
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        struct model_job *job = &model->jobs[i];
        if (is_null[i] && job->exists && job->state != TY_JOB_TOMBSTONE)
            job->in_outbox = true; // the null record ends what was before
        if (!job->exists)
            job->in_outbox = false;
        has_any = has_any || is_null[i] || job->in_outbox;
    }
    if (has_any)
        model->read_us = stamp_us;
}

enum ty_published_result model_published(struct model *model, int publisher, uint64_t stamp_us, int64_t expected, int64_t next,
                                         const struct model_change *changes, size_t count, const unsigned *nulls,
                                         size_t null_count)
{
    if (model->publisher != publisher)
        return TY_PUBLISHED_LOST;
    if (model->read_us != stamp_us || model->mark != expected)
        return TY_PUBLISHED_GAP;
    model->mark = next;
    for (size_t i = 0; i < count; i++) {
        struct model_job *job = &model->jobs[changes[i].job];
        if (!job->exists || (job->version == changes[i].version && job->stamp == changes[i].stamp))
            job->in_outbox = false;
    }
    for (size_t i = 0; i < null_count; i++)
        if (model->jobs[nulls[i]].is_null_due) // else it is of a deletion that came meanwhile
            model->jobs[nulls[i]].in_nulls = model->jobs[nulls[i]].is_null_due = false;
    return TY_PUBLISHED;
}

enum ty_settled model_settled(const struct model *model, const struct model_site *site, unsigned number,
                              const struct ty_settling *settling)
{
    const struct model_job *job = &model->jobs[number];
    bool stands = !model->has_publisher || !job->in_outbox;
    bool owner = is_owner(site, job, &settling->token, settling->attempt) ||
                 is_restored_owner(job, settling->attempt, settling->fence);
    if (!job->exists)
        return TY_SETTLED_NOT_YET;
    if (job->state == TY_JOB_TOMBSTONE)
        return (job->flags & TY_FLAG_DELETE) && stands ? TY_SETTLED : TY_SETTLED_NOT_YET;
    if (model_is_terminal(job))
        return !stands ? TY_SETTLED_NOT_YET : owner ? TY_SETTLED : TY_SETTLED_OTHER;
    if (owner && was_given_back(job))
        return stands ? TY_SETTLED : TY_SETTLED_NOT_YET;
    if (owner || (settling->attempt > job->attempt && !model_is_disowned(job)))
        return TY_SETTLED_TELL_AGAIN;
    return settling->is_given_back ? TY_SETTLED : TY_SETTLED_NOT_YET;
}

static bool restore_deletion(struct model_job *job, uint64_t version)
{
    bool is_gone = job->exists && job->state == TY_JOB_TOMBSTONE && (job->flags & TY_FLAG_DELETE);
    if (is_gone && job->version >= version)
        return false;
    to_tombstone(job, TY_FLAG_DELETE, job->exists && job->version > version ? job->version : version);
    job->in_outbox = false;
    job->is_null_due = job->in_nulls && job->is_null_due;
    job->in_nulls = true;
    return true;
}

// The job is as the event says; then what was asked of it is done to it.
static void take_event(const struct model *model, struct model_site *site, struct model_job *job, const struct model_job *event)
{
    struct model_job old = *job;
    unsigned flags = event->flags | old.flags | old.asked[event->organization];
    *job = *event;
    job->in_outbox = false;
    job->in_nulls = old.in_nulls;
    job->is_null_due = old.is_null_due;
    job->token = old.exists && old.state != TY_JOB_TOMBSTONE && old.attempt == event->attempt && old.fence == event->fence
                     ? old.token
                     : no_token;
    job->flags = flags;
    job->is_held = (job->state == TY_JOB_CANCELING && !job->lease_ms) || model_is_disowned(job);
    job->in_backoff = job->state == TY_JOB_PENDING && job->is_kept_back && !model_is_disowned(job);
    job->in_unlinked = job->state == TY_JOB_COMPLETED;
    if ((flags & TY_FLAG_CANCEL) && (job->state == TY_JOB_PENDING || job->state == TY_JOB_IN_PROGRESS)) {
        cancel(model, site, job);
    } else if (flags != event->flags) {
        job->in_outbox = true;
    }
    if (model_is_terminal(job) && (flags & TY_FLAG_DELETE))
        forget(job);
}

static bool restore(const struct model *model, struct model_site *site, struct model_job *job, enum model_event_kind kind, const struct model_job *event)
{
    bool is_gone = job->exists && job->state == TY_JOB_TOMBSTONE && (job->flags & TY_FLAG_DELETE);
    if (kind == MODEL_EVENT_DELETED)
        return restore_deletion(job, event->version);
    if (kind == MODEL_EVENT_NULL) {
        if (is_gone)
            *job = (struct model_job){0};
        return false;
    }
    if (is_gone && job->version > event->version)
        return false;
    if (job->exists && job->version == event->version && job->state == event->state && job->stamp == event->stamp)
        return false;
    // An end that Kafka knows; else an end that the record has; else the later fence; else the higher version, and of two the event.
    if (job->exists && job->state != TY_JOB_TOMBSTONE && !model_is_terminal(event)) {
        bool is_later = !model_is_disowned(event) && (job->fence > event->fence || (job->fence == event->fence && job->version > event->version));
        if (model_is_terminal(job) || is_later) {
            if (job->version > event->version)
                return false;
            job->version = event->version;
            change(site, job);
            return true;
        }
    }
    take_event(model, site, job, event);
    return true;
}

bool model_restore(struct model *model, struct model_site *site, unsigned number, enum model_event_kind kind,
                   const struct model_job *event)
{
    bool has_changed = restore(model, site, &model->jobs[number], kind, event);
    model->has_restored = model->has_restored || has_changed;
    return has_changed;
}

void model_replayed(struct model *model)
{
    model->epoch += model->has_restored;
    model->has_restored = false;
    model->has_been_back = model->has_been_back || (model->must_replay && model->mark > 0);
    model->must_replay = false;
}
