// Commands into the store, and where partitions begin: apply and attach.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"
#include "core/state_internal.h"

// ---- apply ----

// A batch may touch several shards and scripts; its callback comes when all of its calls have answered.
struct ty_apply_batch {
    ty_apply_fn fn;
    void *context;
    size_t count;
    size_t calls_left;
    bool gap;
    int64_t stored;
    struct ty_err err; // code TY_OK: none
    int results[];
};

struct apply_part {
    struct ty_state *state;
    struct ty_apply_batch *batch;
    enum ty_script script;
    size_t count;
    size_t *places; // index of each command in the batch
    struct ty_id *ids;
};

static void batch_done_one(struct ty_apply_batch *batch)
{
    if (--batch->calls_left)
        return;
    bool failed = batch->err.code != TY_OK;
    batch->fn(batch->context, failed ? &batch->err : NULL, !failed && batch->gap, batch->stored, batch->results,
              batch->count);
    free(batch);
}

static void take_results(struct apply_part *part, const struct ty_redis_reply *reply)
{
    for (size_t i = 0; i < part->count; i++) {
        int *result = &part->batch->results[part->places[i]];
        if (part->script != TY_SCRIPT_CONTROL) {
            *result = part->script == TY_SCRIPT_RULES ? TY_APPLIED : reply->items[2].bytes[i];
            continue;
        }
        *result = (int)reply->items[2 + i * 2].integer;
        int64_t attempt = reply->items[3 + i * 2].integer;
        if (*result == TY_APPLY_DELETED || attempt < 0)
            ty_state_end_log(part->state, &part->ids[i], attempt);
    }
}

static bool is_whole(const struct apply_part *part, const struct ty_redis_reply *reply)
{
    if (part->script == TY_SCRIPT_RULES)
        return true;
    if (part->script == TY_SCRIPT_CONTROL)
        return reply->count >= 2 + part->count * 2;
    return reply->count >= 3 && reply->items[2].type == TY_REDIS_BYTES && reply->items[2].len == part->count;
}

static void on_applied(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct apply_part *part = context;
    struct ty_apply_batch *batch = part->batch;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 2, &err) < 0) {
        batch->err = err;
    } else if (reply->items[0].integer < 0) {
        int64_t stored = reply->items[1].integer;
        batch->stored = batch->gap && batch->stored < stored ? batch->stored : stored;
        batch->gap = true;
    } else if (!is_whole(part, reply)) {
        ty_err_set(&batch->err, TY_EINTERNAL, "Redis: an answer is missing");
    } else {
        take_results(part, reply);
    }
    free(part->places);
    free(part->ids);
    free(part);
    batch_done_one(batch);
}

static void add_watermark(struct ty_args *args, const struct ty_watermark *mark, const char *incarnation,
                          char name[80])
{
    if (!mark) {
        for (int i = 0; i < 4; i++)
            ty_args_add_text(args, "");
        return;
    }
    snprintf(name, 80, "%s/%d", mark->topic, mark->partition);
    ty_args_add_text(args, name);
    ty_args_add_text(args, incarnation);
    ty_args_add_u64(args, (uint64_t)mark->expected);
    ty_args_add_u64(args, (uint64_t)mark->next);
}

// The script of a command, and with it of a part of the batch.
static enum ty_script script_of(const struct ty_apply *command)
{
    switch (command->kind) {
    case TY_COMMAND_CANCEL:
    case TY_COMMAND_DELETE: return TY_SCRIPT_CONTROL;
    case TY_APPLY_RULE:
    case TY_APPLY_KEY: return TY_SCRIPT_RULES;
    default: return TY_SCRIPT_SUBMIT;
    }
}

static bool belongs(const struct ty_state *state, const struct ty_apply *command, unsigned shard, enum ty_script script)
{
    if (script_of(command) != script)
        return false;
    switch (command->kind) {
    case TY_APPLY_RULE: return true;
    case TY_APPLY_KEY: return shard == 0; // whoever asks for keys asks in one place
    default: return ty_state_shard_of(state, &command->job_id) == shard;
    }
}

static void add_command(struct ty_args *args, const struct ty_apply *command)
{
    if (command->kind == TY_APPLY_RULE || command->kind == TY_APPLY_KEY) {
        ty_args_add_text(args, command->organization_id);
        ty_args_add(args, command->record_len ? command->record : "", command->record_len);
        ty_args_add_u64(args, (uint64_t)command->offset);
    } else {
        ty_args_add(args, command->job_id.bytes, sizeof command->job_id.bytes);
        ty_args_add_text(args, command->kind == TY_COMMAND_DELETE ? "d" : "c");
        ty_args_add_text(args, command->organization_id ? command->organization_id : "");
    }
}

// Sends the commands of one shard and one script; an empty call goes out only to move the watermark on.
static void apply_part(struct ty_state *state, struct ty_apply_batch *batch, const struct ty_apply *commands,
                       unsigned shard, enum ty_script script, const struct ty_watermark *mark)
{
    struct apply_part *part = ty_xcalloc(1, sizeof *part);
    batch->calls_left++;
    part->state = state;
    part->batch = batch;
    part->script = script;
    part->places = ty_xcalloc(batch->count + 1, sizeof *part->places);
    part->ids = ty_xcalloc(batch->count + 1, sizeof *part->ids);
    struct ty_args args;
    char name[80], key[24];
    ty_state_args(state, shard, &args);
    ty_args_add_u64(&args, state->options.tombstone_ms);
    add_watermark(&args, mark, state->incarnation[shard], name);
    if (script == TY_SCRIPT_SUBMIT)
        ty_args_add_u64(&args, mark ? state->options.horizon_ms : 0);
    for (size_t i = 0; i < batch->count; i++) {
        if (!belongs(state, &commands[i], shard, script))
            continue;
        part->places[part->count] = i;
        part->ids[part->count++] = commands[i].job_id;
        if (script != TY_SCRIPT_SUBMIT)
            add_command(&args, &commands[i]);
    }
    struct ty_err err;
    if (script == TY_SCRIPT_SUBMIT &&
        ty_state_add_submits(state, shard, commands, part->places, part->count, &args, &err) < 0) {
        ty_args_done(&args);
        on_applied(part, NULL, &err);
        return;
    }
    ty_state_meta_key(state, shard, key);
    ty_state_eval(state, script, key, &args, on_applied, part);
}

void ty_state_apply(struct ty_state *state, const struct ty_apply *commands, size_t count,
                    const struct ty_watermark *watermark, ty_apply_fn fn, void *context)
{
    static const enum ty_script scripts[] = {TY_SCRIPT_SUBMIT, TY_SCRIPT_CONTROL, TY_SCRIPT_RULES};
    struct ty_apply_batch *batch = ty_xcalloc(1, sizeof *batch + count * sizeof batch->results[0]);
    batch->fn = fn;
    batch->context = context;
    batch->count = count;
    batch->calls_left = 1; // held until all calls are out
    for (unsigned shard = 0; shard < state->options.shards; shard++) {
        bool is_out = false;
        // Each call carries the watermark, since a gap must refuse all of them; a partition holds one kind of command, so
        // there is only one call then.
        for (size_t s = 0; s < sizeof scripts / sizeof *scripts; s++) {
            size_t i = 0;
            while (i < count && !belongs(state, &commands[i], shard, scripts[s]))
                i++;
            if (i == count)
                continue;
            apply_part(state, batch, commands, shard, scripts[s], watermark);
            is_out = true;
        }
        if (!is_out && watermark)
            apply_part(state, batch, commands, shard, TY_SCRIPT_CONTROL, watermark);
    }
    batch_done_one(batch);
}

// ---- attach ----

// One attach asks every shard; its callback comes when all have answered.
struct attach_call {
    ty_attach_fn fn;
    void *context;
    size_t shards_left;
    int64_t stored;
    bool cluster_changed;
    struct ty_err err; // code TY_OK: none
};

struct attach_part {
    struct ty_state *state;
    struct attach_call *attach;
    unsigned shard;
};

static void on_attached(void *context, const struct ty_redis_reply *reply, const struct ty_err *cause)
{
    struct attach_part *part = context;
    struct attach_call *attach = part->attach;
    struct ty_err err;
    if (ty_state_check_array(reply, cause, 3, &err) < 0) {
        attach->err = err;
    } else if (reply->items[1].type != TY_REDIS_BYTES) {
        ty_err_set(&attach->err, TY_EINTERNAL, "Redis: an incarnation that is none");
    } else {
        int64_t stored = reply->items[0].integer;
        attach->stored = stored < attach->stored ? stored : attach->stored;
        attach->cluster_changed = attach->cluster_changed || reply->items[2].integer != 0;
        snprintf(part->state->incarnation[part->shard], sizeof part->state->incarnation[0], "%s",
                 reply->items[1].bytes);
    }
    free(part);
    if (--attach->shards_left)
        return;
    attach->fn(attach->context, attach->err.code != TY_OK ? &attach->err : NULL, attach->stored,
               attach->cluster_changed);
    free(attach);
}

void ty_state_attach(struct ty_state *state, const char *cluster_id, const char *topic, int32_t partition,
                     ty_attach_fn fn, void *context)
{
    struct attach_call *attach = ty_xcalloc(1, sizeof *attach);
    attach->fn = fn;
    attach->context = context;
    attach->shards_left = state->options.shards;
    attach->stored = INT64_MAX;
    char name[80], fresh[TY_ID_TEXT_BYTES];
    struct ty_id id = ty_id_new();
    ty_id_format(&id, fresh);
    snprintf(name, sizeof name, "%s/%d", topic, partition);
    for (unsigned shard = 0; shard < state->options.shards; shard++) {
        struct attach_part *part = ty_xcalloc(1, sizeof *part);
        *part = (struct attach_part){.state = state, .attach = attach, .shard = shard};
        struct ty_args args;
        char key[24];
        ty_state_args(state, shard, &args);
        ty_args_add_text(&args, cluster_id);
        ty_args_add_text(&args, name);
        ty_args_add_text(&args, fresh);
        ty_state_meta_key(state, shard, key);
        ty_state_eval(state, TY_SCRIPT_ATTACH, key, &args, on_attached, part);
    }
}
