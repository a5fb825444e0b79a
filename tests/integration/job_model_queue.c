// The model's ready queues: one of each organization, and what operators set for them.
#include "tests/integration/job_model.h"

void model_set_rule(struct model *model, const struct model_rule *rule)
{
    if (rule->is_pause)
        model->paused[rule->organization] = !rule->is_lifted;
    else
        model->limits[rule->organization] = rule->is_lifted ? 0 : rule->limit + 1;
}

unsigned model_room(const struct model *model, unsigned organization)
{
    unsigned set = model->limits[organization] ? model->limits[organization] : model->limits[MODEL_ANY], running = 0;
    if (model->paused[organization] || model->paused[MODEL_ANY])
        return 0;
    if (set <= 1)
        return MODEL_JOBS;
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *job = &model->jobs[i];
        running += job->organization == organization && (job->state == TY_JOB_IN_PROGRESS || job->state == TY_JOB_CANCELING);
    }
    return running < set - 1 ? set - 1 - running : 0;
}

// The first of an organization's ready jobs in a pool; -1: none.
static int first_of(const struct model *model, unsigned organization, unsigned pool)
{
    int first = -1;
    for (int i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *job = &model->jobs[i];
        if (job->state == TY_JOB_PENDING && job->organization == organization && job->pool == pool && !job->in_backoff &&
            !model_is_overdue(job) &&
            (first < 0 || job->ready < model->jobs[first].ready))
            first = i;
    }
    return first;
}

int model_next(const struct model *model, const struct model_site *site, int chosen)
{
    int next = -1;
    for (unsigned p = 0; p < site->pool_count && next < 0; p++)
        for (unsigned o = 0; o < MODEL_ORGANIZATIONS; o++) {
            int first = model_room(model, o) ? first_of(model, o, site->pools[p]) : -1;
            if (first >= 0 && (next < 0 || first == chosen))
                next = first;
        }
    return next;
}
