// What is told of a walk, and the whole state held against the model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/record.h"
#include "tests/integration/state_walk.h"

#define HISTORY 30 // events of a job that are told when it is not as it must be
#define LINE 112

struct walk walk;
static char history[MODEL_JOBS][HISTORY][LINE];
static unsigned told[MODEL_JOBS];

// ---- chance ----

uint64_t walk_draw(void)
{
    walk.random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = walk.random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

unsigned walk_below(unsigned n)
{
    return (unsigned)(walk_draw() % n);
}

bool walk_by_chance(unsigned percent)
{
    return walk_below(100) < percent;
}

void walk_draw_bytes(uint8_t bytes[16])
{
    uint64_t parts[2] = {walk_draw(), walk_draw() | 1};
    memcpy(bytes, parts, 16);
}

// ---- what is told when something is wrong ----

void walk_note(unsigned job, const char *format, ...)
{
    char *line = history[job][told[job]++ % HISTORY];
    int n = snprintf(line, LINE, "%" PRIu64 " ", walk.events_done);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + n, (size_t)(LINE - n), format, arguments);
    va_end(arguments);
}

void walk_wrong(unsigned job, const char *format, ...)
{
    const struct model_job *m = &walk.model.jobs[job];
    unsigned first = told[job] > HISTORY ? told[job] - HISTORY : 0;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (unsigned i = first; i < told[job]; i++)
        print_message("  %s\n", history[job][i % HISTORY]);
    print_message("  model: exists %d state %d stage %u reason %u flags %u attempt %u losses %u errors %u lease %u version %" PRIu64 "\n",
                  m->exists, (int)m->state, m->stage, m->reason, m->flags, m->attempt, m->losses, m->errors, m->lease_ms, m->version);
    fail_msg("seed %" PRIu64 ", event %" PRIu64 ", job %u: %s", walk.seed, walk.events_done, job, text);
    abort();
}

void walk_check(unsigned job, const char *what, uint64_t is, uint64_t must)
{
    if (is != must)
        walk_wrong(job, "%s: the store says %" PRIu64 ", the model %" PRIu64, what, is, must);
}

void walk_check_no(const struct ty_err *err)
{
    if (err)
        fail_msg("seed %" PRIu64 ": %s", walk.seed, err->message);
}

unsigned walk_job_of(const struct ty_id *id)
{
    for (unsigned i = 0; i < MODEL_JOBS; i++)
        if (ty_id_equal(&walk.ids[i], id))
            return i;
    fail_msg("seed %" PRIu64 ": a job that nobody submitted", walk.seed);
    return 0;
}

const char *walk_key(const char *format, ...)
{
    static char keys[8][128];
    static unsigned next;
    char *key = keys[next++ % 8];
    int n = snprintf(key, sizeof keys[0], "{ty:%u}:", walk.shard);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(key + n, sizeof keys[0] - (size_t)n, format, arguments);
    va_end(arguments);
    return key;
}

// ---- patches ----

struct walk_said walk_said_of(const struct model_patch *patch)
{
    struct walk_said said = {0};
    unsigned n = patch->error_number;
    switch (patch->error) {
    case MODEL_ERROR_NONE: break;
    case MODEL_ERROR_TOLD:
        said.error_code = 1 + (int)(n % 16);
        snprintf(said.error, sizeof said.error, "what went wrong: № %u%.*s", n, (int)(n % 100),
                 "...................................................................................................");
        break;
    case MODEL_ERROR_REFUSED:
        said.error_code = 3;
        snprintf(said.error, sizeof said.error, "refused by the test");
        break;
    case MODEL_ERROR_WAITED:
        said.error_code = 4;
        snprintf(said.error, sizeof said.error, "waited 1 s for a worker, as long as max_wait allows");
        break;
    case MODEL_ERROR_LOST:
        said.error_code = 14;
        snprintf(said.error, sizeof said.error,
                 "worker lost: no heartbeat for one lease, and no attempt is left after %u lost workers and %u errors", n, patch->errors);
        break;
    case MODEL_ERROR_QUARANTINED:
        said.error_code = 10;
        snprintf(said.error, sizeof said.error,
                 "quarantined: its worker was lost %u time%s while an attempt of it ran, which is as often as max-losses allows", n,
                 n == 1 ? "" : "s");
        break;
    }
    if (patch->model)
        snprintf(said.model, sizeof said.model, "digits-%u", patch->model);
    if (patch->version)
        snprintf(said.version, sizeof said.version, "2.%u", patch->version);
    return said;
}

void walk_add_patch(const struct model_patch *patch, struct ty_buf *out)
{
    struct walk_said said = walk_said_of(patch);
    if (*said.error)
        ty_patch_error(out, said.error_code, said.error);
    if (*said.model)
        ty_patch_model(out, said.model);
    if (*said.version)
        ty_patch_script_version(out, said.version);
}

// ---- the whole state ----

// Of all, then for each organization.
enum place { BACKOFF, LEASES, OUT, NULLS, UNLINKED, ENDED, HELD, DISOWNED, LIMITED, PLACES };
enum place_of { QUEUE, ENDED_OF = QUEUE + MODEL_POOLS, INDEX, PLACES_OF = INDEX + 7 };

static bool places[PLACES][MODEL_JOBS];
static bool places_of[MODEL_ORGANIZATIONS][PLACES_OF][MODEL_JOBS];
static bool is_record[MODEL_JOBS];

static void on_members(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    bool *place = context;
    walk_check_no(err);
    for (size_t i = 0; i < reply->count; i++) {
        struct ty_id id;
        assert_int_equal(reply->items[i].len, sizeof id);
        memcpy(&id, reply->items[i].bytes, sizeof id);
        place[walk_job_of(&id)] = true;
    }
    walk.on_way--;
}

static void check_text(unsigned i, const char *what, const char *is, const char *must)
{
    if (strcmp(is, must))
        walk_wrong(i, "%s: the store says \"%s\", the model \"%s\"", what, is, must);
}

// What a client is told of the job.
static void check_metadata(unsigned i, const struct ty_record *r)
{
    const struct model_job *job = &walk.model.jobs[i];
    struct walk_said must = walk_said_of(&job->patch);
    char name[24];
    TY_BUF(bytes);
    ty_record_metadata(r, &bytes);
    Viam__App__Mltraining__V1__TrainingJobMetadata *is =
        viam__app__mltraining__v1__training_job_metadata__unpack(NULL, bytes.len, bytes.data);
    if (!is)
        walk_wrong(i, "its metadata cannot be read");
    snprintf(name, sizeof name, "m%u", job->body);
    check_text(i, "organization", is->organization_id, walk_organization(job->organization));
    check_text(i, "model name", is->model_name, name);
    walk_check(i, "code of the error", is->error_status ? (uint64_t)is->error_status->code : 0, (uint64_t)must.error_code);
    check_text(i, "error", is->error_status ? is->error_status->message : "", must.error);
    check_text(i, "synced model", is->synced_model_id, must.model);
    check_text(i, "version of the script", is->registry_item_version, must.version);
    viam__app__mltraining__v1__training_job_metadata__free_unpacked(is, NULL);
}

static void check_record(unsigned i, const struct ty_record *r)
{
    const struct model_job *job = &walk.model.jobs[i];
    walk_check(i, "state", r->state, job->state);
    walk_check(i, "stage", r->stage, job->stage);
    walk_check(i, "reason", r->reason, job->reason);
    walk_check(i, "flags", r->flags & ~TY_FLAG_CUSTOM, job->flags & ~TY_FLAG_CUSTOM);
    walk_check(i, "attempt", r->attempt, job->attempt);
    walk_check(i, "losses", r->worker_losses, job->losses);
    walk_check(i, "errors", r->errors, job->errors);
    walk_check(i, "version", r->version, job->version);
    walk_check(i, "has ended", r->ended_us != 0, job->has_ended);
    walk_check(i, "has started", r->started_us != 0, job->has_started);
    if (job->state == TY_JOB_TOMBSTONE)
        return;
    walk_check(i, "lease_ms", r->lease_ms, job->lease_ms);
    walk_check(i, "ready", r->ready, job->ready);
    walk_check(i, "max_attempts", r->max_attempts, job->max_attempts);
    walk_check(i, "fence", r->fence, job->fence);
    walk_check(i, "the token", (uint64_t)memcmp(&r->token, &job->token, 16), 0);
    check_metadata(i, r);
}

static void on_record(void *context, const struct ty_redis_reply *reply, const struct ty_err *err)
{
    unsigned i = (unsigned)((bool *)context - is_record);
    struct ty_record record;
    struct ty_err bad;
    walk_check_no(err);
    walk_check(i, "whether it is there", reply->type == TY_REDIS_BYTES, walk.model.jobs[i].exists);
    if (reply->type == TY_REDIS_BYTES) {
        if (ty_record_decode(reply->bytes, reply->len, &record, &bad) < 0)
            walk_wrong(i, "%s", bad.message);
        check_record(i, &record);
    }
    walk.on_way--;
}

static void ask_members(const char *key, bool *place)
{
    const char *words[] = {"ZRANGE", key, "0", "-1"};
    size_t lens[] = {6, strlen(key), 1, 2};
    memset(place, 0, MODEL_JOBS * sizeof *place);
    walk.on_way++;
    ty_redis_command(walk.client->redis, 4, words, lens, on_members, place);
}

static void check_places(void)
{
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const struct model_job *job = &walk.model.jobs[i];
        bool is_pending = job->state == TY_JOB_PENDING;
        walk_check(i, "in back-off", places[BACKOFF][i], is_pending && job->in_backoff);
        walk_check(i, "among those that wait only so long", places[LIMITED][i], model_is_limited(job));
        walk_check(i, "among the held", places[HELD][i], job->is_held && !model_is_disowned(job));
        walk_check(i, "among the disowned", places[DISOWNED][i], model_is_disowned(job));
        walk_check(i, "among the leases", places[LEASES][i], (job->state == TY_JOB_IN_PROGRESS || job->state == TY_JOB_CANCELING) && !job->is_held);
        walk_check(i, "in the outbox", places[OUT][i], job->in_outbox);
        walk_check(i, "among the null records", places[NULLS][i], job->in_nulls);
        walk_check(i, "among the ended", places[ENDED][i], job->exists && model_is_terminal(job));
        walk_check(i, "among the unlinked", places[UNLINKED][i], job->in_unlinked);
        for (unsigned o = 0; o < MODEL_ORGANIZATIONS; o++) {
            bool is_its = job->exists && job->organization == o;
            for (unsigned p = 0; p < MODEL_POOLS; p++) {
                bool is_in_it = is_its && job->pool == p;
                if (!is_in_it || !model_is_overdue(job)) // a claim may have come upon it, or not
                    walk_check(i, "in the queue", places_of[o][QUEUE + p][i], is_in_it && is_pending && !job->in_backoff && !job->is_held);
            }
            walk_check(i, "among the ended of an organization", places_of[o][ENDED_OF][i], is_its && model_is_terminal(job));
            for (int s = TY_JOB_PENDING; s <= TY_JOB_CANCELING; s++)
                walk_check(i, "in the index of a state", places_of[o][INDEX + s][i], is_its && job->state == (enum ty_job_state)s);
        }
        walk.states[job->state]++;
    }
}

static void check_fact(const char *field, uint64_t must)
{
    struct state_raw raw = STATE_RAW(walk.client, NULL, "HGET", walk_key("m"), field);
    uint64_t is = raw.type == TY_REDIS_BYTES ? strtoull(raw.text, NULL, 10) : 0;
    walk_check(0, field, is, must);
}

void walk_compare(void)
{
    static const char *const names[PLACES] = {"d", "l", "o", "x", "u", "e", "h", "z", "i"};
    char key[128];
    for (int i = 0; i < PLACES; i++)
        ask_members(walk_key("%s", names[i]), places[i]);
    for (unsigned o = 0; o < MODEL_ORGANIZATIONS; o++) {
        const char *organization = walk_organization(o);
        for (unsigned p = 0; p < MODEL_POOLS; p++)
            ask_members(walk_key("f:%s|%s", walk_pool(p), organization), places_of[o][QUEUE + p]);
        ask_members(walk_key("t:%s", organization), places_of[o][ENDED_OF]);
        for (int s = TY_JOB_PENDING; s <= TY_JOB_CANCELING; s++)
            ask_members(walk_key("s:%d:%s", s, organization), places_of[o][INDEX + s]);
    }
    for (unsigned i = 0; i < MODEL_JOBS; i++) {
        const char *words[] = {"GET", key};
        int n = snprintf(key, sizeof key, "%s", walk_key("j:"));
        memcpy(key + n, &walk.ids[i], sizeof walk.ids[i]);
        size_t lens[] = {3, (size_t)n + sizeof walk.ids[i]};
        walk.on_way++;
        ty_redis_command(walk.client->redis, 2, words, lens, on_record, &is_record[i]);
    }
    walk_wait_all();
    check_places();
    check_fact("gaps", walk.model.gaps);
    check_fact("retired", walk.model.retired);
    check_fact("stale_refused", walk.model.stale_refused);
    check_fact("leases_taken", walk.model.leases_taken);
    check_fact("quarantined", walk.model.quarantined);
    check_fact("rollbacks", walk.model.rollbacks);
    check_fact("epoch", walk.model.epoch);
}
