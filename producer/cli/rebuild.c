// trainyard rebuild: the job store made again from Kafka.
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/state_outbox.h"
#include "producer/cli/verb.h"

#define LOOK_MS 300
#define SAY_EVERY_MS 5000
#define NOBODY_MS 20000 // longer than a worker's lease of a shard: then none is at work
#define SHARDS_MAX 64

struct options {
    struct ty_cli_common common;
    char *redis;
    int64_t shards, max_wait_s;
    bool without_commands;
};

static const struct ty_setting rows[] = {
    {.key = "redis", .environment = "TRAINYARD_REDIS", .type = TY_SETTING_TEXT, .offset = offsetof(struct options, redis),
     .fallback = "redis://127.0.0.1:6379", .unit = "",
     .help = "The job store: redis://[user:password@]host:port[/database] or unix:///path."},
    {.key = "shards", .environment = "TRAINYARD_SHARDS", .type = TY_SETTING_INT, .offset = offsetof(struct options, shards),
     .min = 1, .max = SHARDS_MAX, .fallback = "1", .unit = "", .help = "Control shards of the job store, as it was made with."},
    {.key = "max-wait-s", .type = TY_SETTING_INT, .offset = offsetof(struct options, max_wait_s), .min = 0, .max = 604800,
     .fallback = "3600", .unit = "s", .help = "How long to wait for the end; 0: not at all."},
    {.key = "without-commands", .type = TY_SETTING_BOOL, .offset = offsetof(struct options, without_commands), .fallback = "false",
     .unit = "", .help = "Reads nothing anew: jobs that wait for cancels, deletes and rules that no worker can read start without."},
};

// One pass over all shards.
struct pass {
    struct ty_loop *loop;
    struct ty_state *state;
    unsigned out; // answers to come
    unsigned waiting, unowned;
    uint64_t passed;
    bool up, failed;
    struct ty_err err;
};

static void on_up(void *context, bool up, const struct ty_err *err)
{
    struct pass *pass = context;
    pass->up = up;
    if (!up && err) {
        pass->err = *err;
        pass->failed = err->code == TY_EPRECONDITION; // it will never fit
    }
}

static void on_rebuild(void *context, const struct ty_err *err, const struct ty_rebuild *rebuild)
{
    struct pass *pass = context;
    pass->out--;
    if (err) {
        pass->err = *err;
        pass->failed = true;
        return;
    }
    pass->waiting += rebuild->replay != TY_REPLAY_NONE;
    pass->unowned += rebuild->replay != TY_REPLAY_NONE && !rebuild->has_publisher;
    pass->passed += rebuild->passed;
}

static int wait_up(struct pass *pass, uint64_t timeout_ms, struct ty_err *err)
{
    uint64_t until_ms = ty_clock_mono_ms() + timeout_ms;
    while (!pass->up && !pass->failed && ty_clock_mono_ms() < until_ms)
        if (ty_loop_run_once(pass->loop, 50, err) < 0)
            return -(int)err->code;
    if (pass->up)
        return 0;
    if (pass->err.code == TY_OK)
        return ty_err_set(err, TY_EUNAVAILABLE, "the job store does not answer");
    *err = pass->err;
    return -(int)err->code;
}

static int ask_all(struct pass *pass, unsigned shards, enum ty_rebuild_ask ask, struct ty_err *err)
{
    pass->waiting = pass->unowned = 0;
    pass->passed = 0;
    pass->failed = false;
    pass->out = shards;
    for (unsigned shard = 0; shard < shards; shard++)
        ty_state_rebuild(pass->state, shard, ask, on_rebuild, pass);
    while (pass->out) // each call has its own deadline
        if (ty_loop_run_once(pass->loop, 50, err) < 0)
            return -(int)err->code;
    if (!pass->failed)
        return 0;
    *err = pass->err;
    return -(int)err->code;
}

static int wait_done(struct ty_cli *cli, struct pass *pass, unsigned shards, uint64_t max_wait_ms, struct ty_err *err)
{
    uint64_t start_ms = ty_clock_mono_ms(), said_ms = start_ms, owned_ms = start_ms;
    while (pass->waiting) {
        uint64_t now_ms = ty_clock_mono_ms(), look_ms = now_ms + LOOK_MS;
        if (!pass->unowned)
            owned_ms = now_ms;
        if (now_ms - owned_ms >= NOBODY_MS)
            return ty_err_set(err, TY_EUNAVAILABLE, "no worker with the role intake is at work; it begins when one comes");
        if (now_ms - start_ms >= max_wait_ms)
            return ty_err_set(err, TY_EUNAVAILABLE, "it is not done after %" PRIu64 " s, and goes on without this program",
                              max_wait_ms / 1000);
        if (now_ms - said_ms >= SAY_EVERY_MS) {
            said_ms = now_ms;
            ty_cli_note(cli, "%" PRIu64 " records of events are passed", pass->passed);
        }
        while (ty_clock_mono_ms() < look_ms)
            if (ty_loop_run_once(pass->loop, 50, err) < 0)
                return -(int)err->code;
        // A store that is away for a moment is asked again.
        if (ask_all(pass, shards, TY_REBUILD_LOOK, err) < 0 && err->code != TY_EUNAVAILABLE && err->code != TY_EDEADLINE)
            return -(int)err->code;
        pass->waiting = pass->failed ? 1 : pass->waiting;
    }
    return 0;
}

static int rebuild(struct ty_cli *cli, const struct options *options, struct pass *pass, struct ty_err *err)
{
    unsigned shards = (unsigned)options->shards;
    int rc = wait_up(pass, (uint64_t)cli->common->timeout_ms, err);
    if (rc == 0)
        rc = ask_all(pass, shards, options->without_commands ? TY_REBUILD_WAIVE : TY_REBUILD_ASK, err);
    if (rc == 0 && options->max_wait_s == 0) {
        ty_cli_note(cli, "asked; the workers with the role intake do it");
        return 0;
    }
    if (rc == 0)
        rc = wait_done(cli, pass, shards, (uint64_t)options->max_wait_s * 1000, err);
    if (rc < 0)
        return rc;
    if (cli->common->json)
        ty_cli_put_json(cli, json_pack("{s:I}", "passed", (json_int_t)pass->passed), false);
    else
        fprintf(cli->out, "the job store has all that the events say: %" PRIu64 " records passed\n", pass->passed);
    return 0;
}

static int run(struct ty_cli *cli, const void *options, struct ty_err *err)
{
    const struct options *asked = options;
    struct pass pass = {.loop = ty_loop_new(err)};
    struct ty_state_options state = {.redis_url = asked->redis, .shards = (unsigned)asked->shards,
                                     .command_ms = (uint64_t)cli->common->timeout_ms};
    if (!pass.loop)
        return -(int)err->code;
    int rc = ty_state_new(pass.loop, &state, on_up, &pass, &pass.state, err);
    if (rc < 0 && err->code == TY_EINVALID)
        ty_err_prefix(err, "--redis");
    if (rc == 0)
        rc = rebuild(cli, asked, &pass, err);
    ty_state_free(pass.state);
    ty_loop_free(pass.loop);
    return rc;
}

const struct ty_cli_verb ty_cli_rebuild = {
    .name = "rebuild",
    .summary = "makes the job store again from what Kafka has",
    .arguments = "",
    .needs = TY_CLI_TAKES_TIME,
    .rows = rows,
    .row_count = sizeof rows / sizeof *rows,
    .options_bytes = sizeof(struct options),
    .details = "The workers with the role intake do it: they read the topic events from its beginning, then the commands, and bring\n"
               "the store to where those are. Nothing is claimed until the events are read; jobs that run go on. What the store\n"
               "has already does not change, so that it may be asked for at any time, and again. Log lines are not in Kafka:\n"
               "those that the store has lost are lost, but of attempts whose worker still has them.\n"
               "After it, and after a store that went back, jobs wait until the cancels, deletes and rules are read, too. Where that\n"
               "cannot be (events.commands_missing in a worker's log names the partition), --without-commands has them start: what\n"
               "is missing then comes late, and a job may run that was canceled.\n"
               "With --json: {\"passed\": records of events}.\n",
    .examples = "  trainyard rebuild --redis redis://redis-1:6379\n"
                "  trainyard rebuild --max-wait-s 0\n"
                "  trainyard rebuild --without-commands\n",
    .run = run,
};
